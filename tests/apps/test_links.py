"""Links of the rendezvous server on loopback: who is let in, the frames that pass, the end."""

import logging
from contextlib import AsyncExitStack

import pytest
import trio.testing
from websockets.exceptions import InvalidStatus

import trio
from rendezvous_kit import SIGNER, ask, close_code, data, dial, frame, resume, serving
from sansrelay import RelayConfig, Role
from sansrelay.codec import encode_frame
from sansrelay.frames import ResetFrame
from sansrelay.links import SUPERSEDED_CODE
from sansrelay.rendezvous import DropCause, RendezvousConfig
from sansrelay_apps.rendezvous import (
    TicketSigner,
)
from sansrelay_apps.rendezvous.links import FAREWELL_TIMEOUT
from sansrelay_apps.rendezvous.tickets import Ticket
from sansrelay_trio import Registry, RelayStream, open_harness, serve_executor

pytestmark = pytest.mark.trio

# -- dialling


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("role=harness", "role=executor"),
        ("role=harness", "role=admin"),
        ("role=harness&", ""),
        ("/relay/box1", "/relay/box2"),
        ("ticket=v1", "ticket=v2"),
        ("ticket=", "other="),
        ("&ticket=", "&ticket=&ticket="),
    ],
)
async def test_a_url_that_was_changed_is_refused(old: str, new: str) -> None:
    async with serving() as place:
        url = await place.url_for(Role.HARNESS)
        assert old in url
        with pytest.raises(InvalidStatus) as refused:
            async with dial(url.replace(old, new)):
                pass
        assert refused.value.response.status_code == 401
        assert b"ticket" in refused.value.response.body


async def test_a_ticket_of_another_rendezvous_is_refused() -> None:
    ticket = Ticket(
        role=Role.HARNESS, executor_id="box1", principal=SIGNER.principal("x"), expires_at=10**12
    )
    forged = TicketSigner(b"x" * 32).issue(ticket)
    async with serving() as place:
        start = f"ws://127.0.0.1:{place.port}/relay/box1?role=harness&ticket="
        with pytest.raises(InvalidStatus) as refused:
            async with dial(start + forged):
                pass
        assert refused.value.response.status_code == 401
        async with dial(start + SIGNER.issue(ticket)):
            pass


async def test_a_url_serves_any_number_of_times_and_survives_a_replacement() -> None:
    async with serving() as place:
        url = await place.url_for(Role.HARNESS)
        async with dial(url), dial(url):
            pass
        async with dial(url):
            assert place.server.stats().harness_links == 1
    async with serving() as other:
        async with dial(url.replace(f":{place.port}/", f":{other.port}/")):
            assert other.server.stats().harness_links == 1


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (RendezvousConfig(max_links=2), 503),
        (RendezvousConfig(max_harness_links=1), 429),
        (RendezvousConfig(max_links_per_principal=1), 429),
    ],
)
async def test_a_link_too_many_is_refused_at_the_upgrade(
    limits: RendezvousConfig, status: int
) -> None:
    async with serving(router=limits) as place:
        url = await place.url_for(Role.HARNESS)
        async with place.link(Role.EXECUTOR), dial(url) as first:
            with pytest.raises(InvalidStatus) as refused:
                async with dial(url):
                    pass
            assert refused.value.response.status_code == status
            await first.aclose()
            # Its place is free again once the server has seen it go.
            while place.server.stats().harness_links:
                await trio.testing.wait_all_tasks_blocked()
            async with dial(url):
                pass


# -- frames


async def test_frames_pass_both_ways_unchanged() -> None:
    async with serving() as place:
        async with place.link(Role.EXECUTOR) as executor, place.link(Role.HARNESS) as harness:
            # An unknown field (15, varint 1) has to survive.
            sent = [resume() + b"\x78\x01", *(data(seq=n, payload=bytes([n])) for n in range(50))]
            for message in sent:
                await harness.send(message)
            assert [await executor.recv() for _ in sent] == sent
            back = [data(seq=n, payload=b"y" * 1000 * n) for n in range(1, 50)]
            for message in back:
                await executor.send(message)
            assert [await harness.recv() for _ in back] == back


async def test_streams_without_an_executor_are_reset_and_served_once_there_is_one() -> None:
    async with serving() as place, place.link(Role.HARNESS) as harness:
        await harness.send(data("early"))
        assert await frame(harness) == ResetFrame("early", 0, 0, "executor_unavailable")
        async with place.link(Role.EXECUTOR) as executor:
            await harness.send(data("late"))
            assert await executor.recv() == data("late")


async def test_a_stream_belongs_to_the_holder_of_its_token() -> None:
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(serving())
        executor = await stack.enter_async_context(place.link(Role.EXECUTOR))
        owner = await stack.enter_async_context(place.link(Role.HARNESS, "h-1"))
        stranger = await stack.enter_async_context(place.link(Role.HARNESS, "h-2"))
        again = await stack.enter_async_context(place.link(Role.HARNESS, "h-1"))
        await owner.send(data(payload=b"mine"))
        assert await executor.recv() == data(payload=b"mine")
        await stranger.send(data(payload=b"not mine"))
        assert await frame(stranger) == ResetFrame("a", 0, 0, "unknown_stream")
        await again.send(data(payload=b"mine too"))
        assert await executor.recv() == data(payload=b"mine too")
        await executor.send(data(payload=b"for the owner"))
        assert await again.recv() == data(payload=b"for the owner")
        assert place.server.stats().dropped == {DropCause.FOREIGN_STREAM: 1}


async def test_when_a_link_goes_the_other_side_is_told() -> None:
    async with serving() as place, place.link(Role.EXECUTOR) as executor:
        async with place.link(Role.HARNESS) as harness:
            await harness.send(data())
            await executor.recv()
        assert await frame(executor) == ResetFrame("a", 0, 0, "harness_disconnected")


async def test_a_reliable_stream_waits_for_its_harness_and_not_for_ever() -> None:
    async with serving(router=RendezvousConfig(harness_grace=0.05)) as place:
        async with place.link(Role.EXECUTOR) as executor:
            async with place.link(Role.HARNESS) as harness:
                await harness.send(resume(next_seq=1, incarnation=1))
                await executor.recv()
                await executor.send(resume(next_seq=1, incarnation=2, peer_incarnation=1))
                await harness.recv()
            assert await frame(executor) == ResetFrame("a", 0, 0, "harness_disconnected")


async def test_a_newer_executor_takes_over() -> None:
    async with serving() as place:
        url = await place.url_for(Role.EXECUTOR)
        async with dial(url) as old, dial(url) as new, place.link(Role.HARNESS) as harness:
            assert await close_code(old) == SUPERSEDED_CODE
            await harness.send(data())
            assert await new.recv() == data()
            assert place.server.stats().executor_links == 1


class Heard(logging.Handler):
    """Sets `event` when certain words are logged."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.event = trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.words in record.getMessage():
            self.event.set()


async def test_a_link_that_is_taken_over_and_takes_nothing_is_cut_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    cut_off = Heard("link 1 (executor, box1) took nothing any more")
    logger = logging.getLogger("sansrelay_apps.rendezvous")
    logger.addHandler(cut_off)
    try:
        async with serving() as place, await place.open() as stuck:
            url = await place.url_for(Role.EXECUTOR)
            await upgrade(stuck, url)
            async with place.link(Role.HARNESS) as harness, trio.open_nursery() as nursery:
                # It is told that its stream is over for each frame after the end. This client can't
                # close while more than a few messages are unread.
                nursery.start_soon(close_code, harness)
                for seq in range(100):
                    await harness.send(data(seq=seq, payload=bytes(100_000)))
                async with dial(url):
                    with trio.fail_after(FAREWELL_TIMEOUT + 1.0):
                        await cut_off.event.wait()
                nursery.cancel_scope.cancel()
    finally:
        logger.removeHandler(cut_off)


async def test_a_text_message_ends_the_link_and_no_other() -> None:
    async with serving() as place:
        async with place.link(Role.EXECUTOR) as executor, place.link(Role.HARNESS) as harness:
            async with place.link(Role.HARNESS) as faulty:
                await faulty.send('{"id": 1}')
                assert await close_code(faulty) == 1003
            await harness.send(b"no frame at all")
            await harness.send(data())
            assert await executor.recv() == data()


async def test_a_reader_that_stops_harms_its_own_streams_only() -> None:
    small = RelayConfig(max_frame_size=256 * 1024, max_message_size=200 * 1024)
    limits = RendezvousConfig(
        relay=small, link_queue_size=1024 * 1024, stream_queue_size=512 * 1024
    )
    async with serving(router=limits) as place:
        async with place.link(Role.EXECUTOR) as executor, place.link(Role.HARNESS) as lively:
            await lively.send(data("lively"))
            await executor.recv()
            async with await place.open() as sleepy:
                await upgrade(sleepy, await place.url_for(Role.HARNESS))
                await sleepy.send_all(masked(data("sleepy")))
                await executor.recv()
                # Its socket and its queue fill up, until the stream is given up.
                sent = 0
                async with trio.open_nursery() as nursery:

                    async def flood() -> None:
                        nonlocal sent
                        while True:
                            await executor.send(data("sleepy", sent, bytes(100_000)))
                            sent += 1

                    nursery.start_soon(flood)
                    ended = await frame(executor)
                    nursery.cancel_scope.cancel()
                assert ended == ResetFrame("sleepy", 0, 0, "slow_consumer")
                await executor.send(data("lively", payload=b"still here"))
                assert await lively.recv() == data("lively", payload=b"still here")


async def upgrade(stream: trio.abc.Stream, url: str) -> None:
    target = "/" + url.split("/", 3)[3]
    await stream.send_all(
        f"GET {target} HTTP/1.1\r\nHost: relay.test\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await stream.receive_some(1)
    assert answer.startswith(b"HTTP/1.1 101 ")


def masked(payload: bytes) -> bytes:
    """One small binary WebSocket message of a client, masked with zeros."""
    assert len(payload) < 126
    return bytes([0x82, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def test_our_own_ends_meet_here() -> None:
    async def shout(stream: RelayStream) -> None:
        async for message in stream:
            await stream.send(message.upper())

    async with serving() as place, trio.open_nursery() as nursery:
        registry = Registry(place.url, "box1", token="token")
        await nursery.start(serve_executor, shout, registry)
        async with open_harness(registry) as harness:
            async with await harness.open_stream() as stream:
                await stream.send(b"x" * 200_000)
                assert await stream.receive() == b"X" * 200_000
        nursery.cancel_scope.cancel()


# -- the end


async def test_a_server_that_stops_says_so_to_everyone() -> None:
    async with serving() as place, await place.open() as probe:
        async with place.link(Role.EXECUTOR) as executor, place.link(Role.HARNESS) as harness:
            harness_url = await place.url_for(Role.HARNESS)
            assert (await ask(probe, "GET", "/readyz")).status == 200
            async with await place.open() as deaf:
                # Never answers a Close frame, so that the server has to wait for it.
                await upgrade(deaf, harness_url)
                place.server.stop()
                assert (await ask(probe, "GET", "/readyz")).status == 503
                assert (await ask(probe, "GET", "/healthz")).status == 200
                refused = await ask(
                    probe,
                    "POST",
                    "/cloud/environment/box1/register",
                    headers=[("Authorization", "Bearer token")],
                )
                assert refused.status == 503
                with pytest.raises(OSError, match="all attempts to connect"):
                    await place.open()
                assert await close_code(executor) == 1001
                assert await close_code(harness) == 1001
                with trio.fail_after(2.5):
                    await place.returned.wait()
                assert (await deaf.receive_some(2)) == b"\x88" + bytes([2 + len(GOODBYE)])
                assert (await deaf.receive_some())[2:] == GOODBYE


GOODBYE = b"the rendezvous is shutting down"


async def test_a_peer_that_takes_nothing_does_not_hold_up_the_end() -> None:
    async with serving() as place, place.link(Role.EXECUTOR) as executor:
        async with await place.open() as stuck:
            await upgrade(stuck, await place.url_for(Role.HARNESS))
            await stuck.send_all(masked(data()))
            await executor.recv()
            for n in range(100):
                await executor.send(data(seq=n, payload=bytes(100_000)))
            place.server.stop()
            with trio.fail_after(2.5):
                await place.returned.wait()


async def test_the_log_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as place:
        url = await place.url_for(Role.HARNESS, "s3cret-token")
        async with place.link(Role.EXECUTOR, "s3cret-token-2") as executor, dial(url) as harness:
            await harness.send(data("evil\nid", payload=b"s3cret-payload"))
            await executor.recv()
            await executor.send(encode_frame(ResetFrame("evil\nid", 0, 0, "evil\nreason")))
            await harness.recv()
        with pytest.raises(InvalidStatus):
            async with dial(url.replace("ticket=v1", "ticket=v2")):
                pass
        await place.ask("GET", "/nowhere?ticket=s3cret-query")
    ours = [record for record in caplog.records if record.name.startswith("sansrelay")]
    text = [record.getMessage() for record in ours]
    assert any("stream evil\N{REPLACEMENT CHARACTER}id opened" in line for line in text)
    assert any("evil\N{REPLACEMENT CHARACTER}reason" in line for line in text)
    assert any("GET /nowhere: status 404" in line for line in text)
    for line in text:
        assert "\n" not in line
        assert "s3cret" not in line
        assert "v1." not in line
