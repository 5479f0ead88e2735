"""`serve_executor`: handlers, their errors and their end."""

import logging
from functools import partial
from itertools import pairwise

import pytest
import trio.testing

import trio
from sansrelay import RelayConfig, ResetReason
from sansrelay.codec import encode_frame
from sansrelay.frames import DataFrame, ResetFrame
from sansrelay.http import HttpResponse
from sansrelay.registry import error_response
from sansrelay_trio import (
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
from trio_net import EXECUTOR_URL, LongestPauses, MemoryNet, Relay, echo

pytestmark = pytest.mark.trio


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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.receive)

    with caplog.at_level(logging.WARNING, "sansrelay_trio"):
        await relay.start_executor(handler)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            await trio.testing.wait_all_tasks_blocked()
            stream.reset()
            await trio.testing.wait_all_tasks_blocked()
    assert not caplog.records


async def test_the_same_exceptions_from_elsewhere_are_its_fault(
    relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: RelayStream) -> None:
        raise trio.ClosedResourceError("of another thing")

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
            await trio.testing.wait_all_tasks_blocked()


async def test_a_handler_is_not_cancelled_when_its_stream_ends(relay: Relay) -> None:
    cleaned_up = trio.Event()

    async def handler(stream: RelayStream) -> None:
        try:
            await stream.receive()
        except StreamEnded:
            await trio.lowlevel.checkpoint()
            cleaned_up.set()

    await relay.start_executor(handler)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        await trio.testing.wait_all_tasks_blocked()
        stream.reset()
        await cleaned_up.wait()


async def test_handlers_that_outlive_their_streams_count(relay: Relay) -> None:
    async def stay(stream: RelayStream) -> None:
        await trio.sleep_forever()

    await relay.start_executor(stay, config=RelayConfig(max_streams=3))
    async with relay.harness() as harness:
        for _ in range(3):
            stream = await harness.open_stream()
            await stream.wait_opened()
            await trio.testing.wait_all_tasks_blocked()
            stream.reset()
        late = await harness.open_stream()
        with pytest.raises(StreamEnded) as caught:
            await late.receive()
        assert caught.value.reset.known_reason is ResetReason.TOO_MANY_STREAMS


async def test_a_stream_too_many_may_end_in_the_frame_after_its_first(relay: Relay) -> None:
    async def stay(stream: RelayStream) -> None:
        await trio.sleep_forever()

    def opening(stream_id: str) -> bytes:
        return encode_frame(DataFrame(stream_id, 0, 0, 0, 0, 1, b"x"))

    def reset(stream_id: str) -> bytes:
        return encode_frame(ResetFrame(stream_id, 0, 0, "cancelled"))

    handle = await relay.start_executor(
        stay, config=RelayConfig(max_streams=1, max_ended_streams=1)
    )
    assert relay.router.executor is not None
    await relay.router.executor.send([opening("a")])
    await trio.testing.wait_all_tasks_blocked()
    frames = [reset("a"), opening("b"), reset("b"), opening("c"), reset("c")]
    await relay.router.executor.send(frames)
    await trio.testing.wait_all_tasks_blocked()
    assert handle.link is LinkStatus.UP
    assert handle.stats().links_opened == 1


async def test_cancelled_it_says_that_it_goes_away(relay: Relay) -> None:
    handlers: list[str] = []

    async def handler(stream: RelayStream) -> None:
        try:
            async with stream:
                await trio.sleep_forever()
        finally:
            handlers.append("cancelled")

    async with relay.harness() as harness, trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_executor, handler, EXECUTOR_URL, open_socket=relay.net.open_socket)
        )
        streams = [await harness.open_stream() for _ in range(3)]
        for stream in streams:
            await stream.wait_opened()
        await trio.testing.wait_all_tasks_blocked()
        executor = relay.router.executor
        assert executor is not None
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            for stream in streams:
                with pytest.raises(StreamEnded) as caught:
                    await stream.receive()
                assert caught.value.reset.known_reason is ResetReason.GOING_AWAY
            await trio.testing.wait_all_tasks_blocked()
        assert handlers == ["cancelled"] * 3
        assert executor.link.close_code == 1000


async def test_a_first_connection_that_fails_is_raised_plain(relay: Relay) -> None:
    relay.router.refusals.append(error_response(404, "unknown", "no such path"))
    with pytest.raises(ConnectError) as caught:
        await serve_executor(echo, EXECUTOR_URL, open_socket=relay.net.open_socket)
    assert caught.value.cause is ConnectCause.DENIED


async def test_a_later_failure_that_is_final_is_raised_plain(
    relay: Relay, autojump_clock: trio.testing.MockClock
) -> None:
    handlers: list[BaseException] = []

    async def handler(stream: RelayStream) -> None:
        try:
            await stream.receive()
        except BaseException as error:
            handlers.append(error)
            raise

    registry = Registry("http://localhost", "box1", token="secret")
    granted = b'{"environment_id": "box1", "url": "%s"}' % EXECUTOR_URL.encode()

    async def revoke(task_status: trio.TaskStatus[None]) -> None:
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            await trio.testing.wait_all_tasks_blocked()
            relay.router.refusals.append(error_response(401, "revoked", "token was revoked"))
            relay.net.cables[1].cut()
            await trio.sleep(20)

    relay.router.refusals.append(HttpResponse(status=200, body=granted))

    async with trio.open_nursery() as nursery:

        class Started(trio.TaskStatus[object]):
            def started(self, value: object = None) -> None:
                nursery.start_soon(revoke, trio.TASK_STATUS_IGNORED)

        with pytest.raises(RegistryRefused, match="token was revoked"):
            await serve_executor(
                handler, registry, open_socket=relay.net.open_socket, task_status=Started()
            )
    [error] = handlers
    assert isinstance(error, StreamEnded)
    assert isinstance(error.__cause__, RegistryRefused)


async def test_no_task_is_left(relay: Relay) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_executor, echo, EXECUTOR_URL, open_socket=relay.net.open_socket)
        )
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_stream_that_comes_while_it_leaves_does_not_keep_it(
    relay: Relay, autojump_clock: trio.testing.MockClock
) -> None:
    async def stay(stream: RelayStream) -> None:
        await trio.sleep_forever()

    # Which of the two tasks runs first, the scheduler decides at random.
    for i in range(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(serve_executor, stay, EXECUTOR_URL, open_socket=relay.net.open_socket)
            )
            await trio.testing.wait_all_tasks_blocked()
            assert relay.router.executor is not None
            # The opening of a basic stream needs no answer.
            opening = encode_frame(DataFrame(f"stream-{i}", 0, 0, 0, 0, 1, b"x"))
            await relay.router.executor.send([opening])
            nursery.cancel_scope.cancel()
    assert trio.current_time() < 30


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
    @pytest.fixture
    def net(self) -> MemoryNet:
        return MemoryNet()

    async def serve(self, nursery: trio.Nursery, net: MemoryNet) -> None:
        nursery.start_soon(partial(serve_http, OnePlace().serve, listeners=[net]))

    async def execute(self, nursery: trio.Nursery, net: MemoryNet) -> None:
        await nursery.start(
            partial(
                serve_executor,
                echo,
                EXECUTOR_URL,
                open_socket=net.open_socket,
                rng=LongestPauses(),
            )
        )

    async def test_two_under_one_id_leave_each_other_more_and_more_time(
        self,
        net: MemoryNet,
        caplog: pytest.LogCaptureFixture,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        async with trio.open_nursery() as nursery:
            await self.serve(nursery, net)
            for _ in range(2):
                await self.execute(nursery, net)
            await trio.sleep(160)
            nursery.cancel_scope.cancel()
        # The first is the second executor's; then each has its turn.
        pauses = [b - a for a, b in pairwise(net.dialled_at)]
        assert pauses == pytest.approx([0, 5, 5, 10, 10, 20, 20, 40, 40], abs=0.1)
        said = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert len(said) == len(pauses)
        assert said[0] == (
            "another process took over this executor's id: give each executor an id of its own; "
            "next attempt in 5.0 s"
        )

    async def test_by_its_own_newer_link_an_executor_has_nothing_to_say(
        self,
        net: MemoryNet,
        caplog: pytest.LogCaptureFixture,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        async with trio.open_nursery() as nursery:
            await self.serve(nursery, net)
            await self.execute(nursery, net)
            net.cables[0].stall()
            await trio.sleep(100)
            nursery.cancel_scope.cancel()
        assert net.dialled_at == pytest.approx([0, 40.1], abs=0.1)
        assert not caplog.records
