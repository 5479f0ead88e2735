"""Links that come and go, seen through `open_harness` in virtual time."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from asyncio_net import (
    HARNESS_URL,
    Cable,
    LongestPauses,
    Relay,
    all_wait,
    echo,
    now,
    refused,
    stay,
    wait_for,
)
from sansrelay import EndedBy, Event, RelayConfig, ResetReason, StreamOpened
from sansrelay_asyncio import (
    Backoff,
    Harness,
    KeepAlive,
    LinkStatus,
    RelayStream,
    StreamEnded,
    open_harness,
)

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


class TestResuming:
    @pytest.mark.parametrize("seed", range(5))
    async def test_nothing_is_lost_or_repeated_across_cuts(self, relay: Relay, seed: int) -> None:
        rng = random.Random(seed)
        await relay.start_executor(echo)
        messages = [b"%d " % i + bytes(rng.randrange(20_000)) for i in range(100)]

        async def cut_often() -> None:
            for _ in range(8):
                await asyncio.sleep(rng.random())
                if rng.random() < 0.5:
                    for cable in relay.net.cables:
                        cable.stall()
                    await asyncio.sleep(rng.random() * 0.1)
                relay.net.cut_all()

        async def send(stream: RelayStream) -> None:
            for message in messages:
                await stream.send(message)
                await asyncio.sleep(rng.random() * 0.05)

        async with relay.harness() as harness, await harness.open_stream() as stream:
            async with asyncio.TaskGroup() as group:
                group.create_task(cut_often())
                group.create_task(send(stream))
                assert [await stream.receive() for _ in messages] == messages
            assert harness.stats().links_opened > 3

    async def test_the_link_status_follows(self, relay: Relay) -> None:
        async with relay.harness() as harness:
            states = [harness.link]
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
        states.append(harness.link)
        assert states == [LinkStatus.UP, LinkStatus.DOWN]

    async def test_a_stream_opened_without_a_link_is_announced_on_the_next(
        self, relay: Relay
    ) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            relay.net.faults.extend([refused()] * 5)
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            stream = await harness.open_stream()
            await stream.send(b"patience")
            assert await stream.receive() == b"patience"

    async def test_a_stream_times_out_while_there_is_no_link(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness(RelayConfig(resume_timeout=60)) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.net.faults.extend([refused()] * 1000)
            relay.net.cut_all()
            start = now()
            with pytest.raises(StreamEnded) as caught:
                await stream.receive()
            assert caught.value.reset.known_reason is ResetReason.TIMEOUT
            assert caught.value.reset.by is EndedBy.LOCAL
            assert caught.value.__cause__ is None
            assert now() - start == pytest.approx(60, abs=0.1)


async def test_a_link_without_pongs_is_dropped_and_dialled_again(relay: Relay) -> None:
    async with open_harness(
        HARNESS_URL,
        open_socket=relay.net.open_socket,
        keepalive=KeepAlive(ping_interval=7, pong_timeout=5),
        rng=LongestPauses(),
    ) as harness:
        await asyncio.sleep(100)
        assert harness.stats().links_opened == 1
        stalled_at = now()
        relay.net.cables[0].stall()
        await wait_for(harness, LinkStatus.CONNECTING)
        assert 5 <= now() - stalled_at <= 12.01
        await wait_for(harness, LinkStatus.UP)
        assert harness.stats().links_opened == 2


async def test_a_link_whose_peer_reads_nothing_is_dropped_and_dialled_again(relay: Relay) -> None:
    await relay.start_executor(echo)
    async with open_harness(
        HARNESS_URL,
        open_socket=relay.net.open_socket,
        keepalive=KeepAlive(ping_interval=1000, write_timeout=50),
        rng=LongestPauses(),
    ) as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        await all_wait()
        relay.net.cables[-1].block()
        start = now()
        message = bytes(1_000_000)
        await stream.send(message)
        await wait_for(harness, LinkStatus.CONNECTING)
        assert now() - start == pytest.approx(50, abs=0.1)
        assert await stream.receive() == message


class TestLeaving:
    @pytest.mark.parametrize("how", ["end", "exception", "cancelled"])
    async def test_live_streams_are_reset_and_the_websocket_closed_in_order(
        self, relay: Relay, how: str
    ) -> None:
        accepted: list[RelayStream] = []
        streams: list[RelayStream] = []

        async def keep(stream: RelayStream) -> None:
            accepted.append(stream)
            await stay(stream)

        async def use() -> None:
            async with relay.harness() as harness:
                stream = await harness.open_stream()
                streams.append(stream)
                await stream.wait_opened()
                await all_wait()
                if how == "exception":
                    raise ValueError("of the block")
                if how == "cancelled":
                    await stay(stream)
            await stream.send(b"too late")

        await relay.start_executor(keep)
        task = asyncio.create_task(use())
        await asyncio.sleep(0.01)
        [stream] = streams
        link = relay.router.routes[stream.stream_id].link
        task.cancel()
        await asyncio.wait([task])
        await all_wait()
        match how:
            case "end":
                assert isinstance(task.exception(), ConnectionAbortedError)
            case "exception":
                assert isinstance(task.exception(), ValueError)
            case _:
                assert task.cancelled()
        for end in (stream, accepted[0]):
            assert end.ended is not None
            assert end.ended.known_reason is ResetReason.CANCELLED
        assert link.close_code == 1000
        assert link.failure is None

    async def test_no_stream_is_opened_while_it_leaves(self, relay: Relay) -> None:
        opened: list[Harness] = []

        async def leave() -> None:
            async with relay.harness() as harness:
                opened.append(harness)
                relay.net.cables[-1].stall()

        task = asyncio.create_task(leave())
        await asyncio.sleep(0.1)
        assert not task.done()
        with pytest.raises(ConnectionAbortedError):
            await opened[0].open_stream()
        await task

    @pytest.mark.parametrize("fault", [Cable.stall, Cable.block])
    @pytest.mark.parametrize("cancelled", [0, 1, 2])
    async def test_it_takes_a_second_at_most_and_cancelled_again_no_time(
        self, relay: Relay, cancelled: int, fault: Callable[[Cable], None]
    ) -> None:
        async def use() -> None:
            async with relay.harness() as harness:
                await harness.open_stream()
                await all_wait()
                fault(relay.net.cables[0])
                if cancelled:
                    await asyncio.sleep(100)

        task = asyncio.create_task(use())
        await asyncio.sleep(0.01)
        start = now()
        for _ in range(cancelled):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled() == bool(cancelled)
        assert now() - start == pytest.approx(0 if cancelled == 2 else 1, abs=0.02)

    async def test_it_takes_no_time_without_a_link(self, relay: Relay) -> None:
        async with relay.harness() as harness:
            await harness.open_stream()
            relay.net.faults.extend([refused()] * 100)
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            await asyncio.sleep(10)
            start = now()
        assert now() == start


class TestExceptionsOfTheBlock:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: ValueError("plain"),
            lambda: ExceptionGroup("of the user's own", [ValueError(), KeyError()]),
            lambda: BaseExceptionGroup("with an interrupt", [KeyboardInterrupt()]),
            lambda: TimeoutError("of another timeout"),
            EOFError,
        ],
        ids=["exception", "group", "base group", "timeout", "the adapter's own"],
    )
    async def test_they_come_out_as_they_are(
        self, relay: Relay, make: Callable[[], BaseException]
    ) -> None:
        error, cause, context = make(), RuntimeError("cause"), RuntimeError("context")
        error.__cause__, error.__context__ = cause, context
        caught: BaseException | None = None
        try:
            async with relay.harness() as harness:
                await harness.open_stream()
                raise error
        except BaseException as raised:
            caught = raised
        assert caught is error
        assert error.__cause__ is cause
        assert error.__context__ is context

    async def test_a_timeout_around_the_block_works(self, relay: Relay) -> None:
        async def use() -> None:
            async with asyncio.timeout(5), relay.harness():
                await asyncio.sleep(100)

        with pytest.raises(TimeoutError):
            await use()
        assert now() == pytest.approx(5, abs=0.1)


class TestEvents:
    async def test_all_of_them_are_told(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        events: list[Event] = []
        async with open_harness(
            HARNESS_URL, open_socket=relay.net.open_socket, on_event=events.append
        ) as harness:
            stream = await harness.open_stream()
            await stream.send(b"x")
            await stream.receive()
            await stream.aclose()
        names = [type(event).__name__ for event in events]
        assert names[0] == "StreamOpened"
        assert {"DataReceived", "DataAcknowledged", "StreamReset", "LinkLost"} <= set(names)

    async def test_a_hook_that_raises_does_no_harm(
        self, relay: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        def hook(event: Event) -> None:
            if isinstance(event, StreamOpened):
                raise RuntimeError("in the hook")

        await relay.start_executor(echo)
        with caplog.at_level(logging.ERROR, "sansrelay_asyncio"):
            async with open_harness(
                HARNESS_URL, open_socket=relay.net.open_socket, on_event=hook
            ) as harness:
                stream = await harness.open_stream()
                await stream.send(b"x")
                assert await stream.receive() == b"x"
        assert "in the hook" in caplog.text


async def test_a_bug_in_the_adapter_comes_out_plain(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Backoff, failures: int, rng: object) -> float:
        raise AssertionError("a bug")

    monkeypatch.setattr(Backoff, "delay", broken)

    async def wait_for_it() -> None:
        async with relay.harness():
            relay.net.cut_all()
            await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="a bug"):
        await wait_for_it()


async def test_each_step_may_be_a_task_of_its_own(relay: Relay) -> None:
    # So it is in a notebook, where every cell runs in another task of a loop that is there already,
    # and where a web framework starts and stops an application.
    await relay.start_executor(echo)
    cells = AsyncExitStack()

    async def connect() -> Harness:
        return await cells.enter_async_context(relay.harness())

    async def ask(harness: Harness) -> bytes:
        async with await harness.open_stream() as stream:
            await stream.send(b"hello")
            return await stream.receive()

    harness = await asyncio.create_task(connect())
    assert await asyncio.create_task(ask(harness)) == b"hello"
    await asyncio.create_task(cells.aclose())
    with pytest.raises(ConnectionAbortedError):
        await harness.open_stream()
