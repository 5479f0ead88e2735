"""`serve_executor`: handlers, their errors and their end."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from itertools import pairwise

import pytest
import pytest_asyncio

from asyncio_net import EXECUTOR_URL, LongestPauses, Relay, all_wait, echo, stay
from sansrelay import RelayConfig, ResetReason
from sansrelay.codec import encode_frame
from sansrelay.frames import DataFrame, ResetFrame
from sansrelay.http import HttpResponse
from sansrelay.registry import error_response
from sansrelay_asyncio import (
    ConnectCause,
    ConnectError,
    LinkStatus,
    Registry,
    RegistryRefused,
    RelayStream,
    ServerConnection,
    StreamEnded,
    WebSocketConnection,
    serve_executor,
    serve_http,
)

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def test_it_reports_once_its_link_is_up(relay: Relay) -> None:
    handle = await relay.start_executor(echo)
    assert handle.link is LinkStatus.UP
    assert handle.failure is None
    assert handle.stats().links_opened == 1


async def test_a_handler_that_returns_closes_its_stream_in_order(relay: Relay) -> None:
    async def greet(stream: RelayStream) -> None:
        await stream.send(b"hello")

    await relay.start_executor(greet)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        assert [message async for message in stream] == [b"hello"]


async def test_a_handler_that_raises_resets_its_own_stream_only(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: RelayStream) -> None:
        async for message in stream:
            if message == b"fail":
                raise RuntimeError("in the handler")
            await stream.send(message)

    await relay.start_executor(handler)
    async with relay.harness() as harness:
        good, bad = await harness.open_stream(), await harness.open_stream()
        await bad.send(b"fail")
        with pytest.raises(StreamEnded) as caught:
            await bad.receive()
        assert caught.value.reset.known_reason is ResetReason.CANCELLED
        await good.send(b"still here")
        assert await good.receive() == b"still here"
    assert bad.stream_id in caplog.text
    assert "in the handler" in caplog.text


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_handler_that_lets_out_the_end_of_its_stream_is_not_at_fault(
    relay: Relay, caplog: pytest.LogCaptureFixture, in_group: bool
) -> None:
    async def handler(stream: RelayStream) -> None:
        if not in_group:
            await stream.receive()
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.receive())

    with caplog.at_level(logging.WARNING, "sansrelay_asyncio"):
        await relay.start_executor(handler)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            await all_wait()
            stream.reset()
            await all_wait()
    assert not caplog.records


async def test_the_same_exceptions_from_elsewhere_are_its_fault(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: RelayStream) -> None:
        raise EOFError("of another thing")

    await relay.start_executor(handler)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        with pytest.raises(StreamEnded):
            await stream.receive()
    assert "of another thing" in caplog.text


async def test_handlers_that_are_done_do_not_count(relay: Relay) -> None:
    await relay.start_executor(echo, config=RelayConfig(max_streams=2))
    async with relay.harness() as harness:
        for _ in range(5):
            async with await harness.open_stream() as stream:
                await stream.send(b"x")
                assert await stream.receive() == b"x"
            await all_wait()


async def test_handlers_that_outlive_their_streams_count(relay: Relay) -> None:
    await relay.start_executor(stay, config=RelayConfig(max_streams=3))
    async with relay.harness() as harness:
        for _ in range(3):
            stream = await harness.open_stream()
            await stream.wait_opened()
            await all_wait()
            stream.reset()
        late = await harness.open_stream()
        with pytest.raises(StreamEnded) as caught:
            await late.receive()
        assert caught.value.reset.known_reason is ResetReason.TOO_MANY_STREAMS


async def test_a_stream_too_many_may_end_in_the_frame_after_its_first(relay: Relay) -> None:
    def opening(stream_id: str) -> bytes:
        return encode_frame(DataFrame(stream_id, 0, 0, 0, 0, 1, b"x"))

    def reset(stream_id: str) -> bytes:
        return encode_frame(ResetFrame(stream_id, 0, 0, "cancelled"))

    handle = await relay.start_executor(
        stay, config=RelayConfig(max_streams=1, max_ended_streams=1)
    )
    assert relay.router.executor is not None
    await relay.router.executor.send([opening("a")])
    await all_wait()
    frames = [reset("a"), opening("b"), reset("b"), opening("c"), reset("c")]
    await relay.router.executor.send(frames)
    await all_wait()
    assert handle.link is LinkStatus.UP
    assert handle.stats().links_opened == 1


async def test_cancelled_it_says_that_it_goes_away(relay: Relay) -> None:
    handlers: list[str] = []

    async def handler(stream: RelayStream) -> None:
        try:
            async with stream:
                await stay(stream)
        finally:
            handlers.append("cancelled")

    await relay.start_executor(handler)
    async with relay.harness() as harness:
        streams = [await harness.open_stream() for _ in range(3)]
        for stream in streams:
            await stream.wait_opened()
        await all_wait()
        executor = relay.router.executor
        assert executor is not None
        relay.executor.cancel()
        for stream in streams:
            with pytest.raises(StreamEnded) as caught:
                await stream.receive()
            assert caught.value.reset.known_reason is ResetReason.GOING_AWAY
        await all_wait()
        assert handlers == ["cancelled"] * 3
        assert executor.link.close_code == 1000


async def test_a_first_connection_that_fails_is_raised_plain(relay: Relay) -> None:
    relay.router.refusals.append(error_response(404, "unknown", "no such path"))
    with pytest.raises(ConnectError) as caught:
        await serve_executor(echo, EXECUTOR_URL, open_socket=relay.net.open_socket)
    assert caught.value.cause is ConnectCause.DENIED


async def test_a_later_failure_that_is_final_is_raised_plain(relay: Relay) -> None:
    errors: list[BaseException] = []

    async def handler(stream: RelayStream) -> None:
        try:
            await stream.receive()
        except BaseException as error:
            errors.append(error)
            raise

    granted = b'{"environment_id": "box1", "url": "%s"}' % EXECUTOR_URL.encode()
    relay.router.refusals.append(HttpResponse(status=200, body=granted))
    registry = Registry("http://localhost", "box1", token="secret")
    started = asyncio.Event()
    serving = asyncio.create_task(
        serve_executor(
            handler,
            registry,
            open_socket=relay.net.open_socket,
            on_started=lambda _: started.set(),
        )
    )
    await started.wait()
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        await all_wait()
        relay.router.refusals.append(error_response(401, "revoked", "token was revoked"))
        relay.net.cables[1].cut()
        with pytest.raises(RegistryRefused, match="token was revoked"):
            await serving
    [error] = errors
    assert isinstance(error, StreamEnded)
    assert isinstance(error.__cause__, RegistryRefused)


async def test_a_stream_that_comes_while_it_leaves_does_not_keep_it(relay: Relay) -> None:
    for i in range(10):
        await relay.start_executor(stay)
        assert relay.router.executor is not None
        # The opening of a basic stream needs no answer.
        opening = encode_frame(DataFrame(f"stream-{i}", 0, 0, 0, 0, 1, b"x"))
        await relay.router.executor.send([opening])
        for _ in range(i):
            await asyncio.sleep(0)
        relay.executor.cancel()
        await asyncio.wait([relay.executor])
    assert asyncio.get_running_loop().time() < 10


class OnePlace:
    """A server with room for one executor: a newer one takes over."""

    def __init__(self) -> None:
        self.link: WebSocketConnection | None = None

    async def serve(self, connection: ServerConnection) -> None:
        await connection.next_request()
        former, self.link = self.link, await connection.accept_websocket()
        if former is not None:
            await former.aclose(4001, "another executor took over this id")
        while True:
            await self.link.receive()


class TestTakenOver:
    @pytest_asyncio.fixture
    async def place(self) -> AsyncGenerator[Relay]:
        place = Relay()
        place.start(serve_http(OnePlace().serve, listeners=[place.net.listener]))
        yield place
        await place.stop()

    async def execute(self, place: Relay) -> None:
        started = asyncio.Event()
        place.start(
            serve_executor(
                echo,
                EXECUTOR_URL,
                open_socket=place.net.open_socket,
                rng=LongestPauses(),
                on_started=lambda _: started.set(),
            )
        )
        await started.wait()

    async def test_two_under_one_id_leave_each_other_more_and_more_time(
        self, place: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(2):
            await self.execute(place)
        await asyncio.sleep(160)
        # The first is the second executor's; then each has its turn.
        pauses = [b - a for a, b in pairwise(place.net.dialled_at)]
        assert pauses == pytest.approx([0, 5, 5, 10, 10, 20, 20, 40, 40], abs=0.1)
        said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert len(said) == len(pauses)
        assert said[0] == (
            "another process took over this executor's id: give each executor an id of its own; "
            "next attempt in 5.0 s"
        )

    async def test_by_its_own_newer_link_an_executor_has_nothing_to_say(
        self, place: Relay, caplog: pytest.LogCaptureFixture
    ) -> None:
        await self.execute(place)
        place.net.cables[0].stall()
        await asyncio.sleep(100)
        assert place.net.dialled_at == pytest.approx([0, 40.1], abs=0.1)
        assert not caplog.records
