"""Links that come and go, seen through `open_harness` over a relay in memory and a mock clock."""

import logging
import random
from collections.abc import Callable

import pytest
import trio.testing

import trio
from sansrelay import EndedBy, Event, RelayConfig, ResetReason, StreamOpened
from sansrelay_trio import (
    Backoff,
    Harness,
    KeepAlive,
    LinkStatus,
    RelayStream,
    StreamEnded,
    open_harness,
)
from trio_net import (
    HARNESS_URL,
    Cable,
    LongestPauses,
    Relay,
    echo,
    refused,
    wait_for,
)

pytestmark = pytest.mark.trio


class TestResuming:
    @pytest.mark.parametrize("seed", range(5))
    async def test_nothing_is_lost_or_repeated_across_cuts(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, seed: int
    ) -> None:
        rng = random.Random(seed)
        await relay.start_executor(echo)
        messages = [b"%d " % i + bytes(rng.randrange(20_000)) for i in range(100)]

        async def cut_often() -> None:
            for _ in range(8):
                await trio.sleep(rng.random())
                if rng.random() < 0.5:
                    for cable in relay.net.cables:
                        cable.stall()
                    await trio.sleep(rng.random() * 0.1)
                relay.net.cut_all()

        async def send(stream: RelayStream) -> None:
            for message in messages:
                await stream.send(message)
                await trio.sleep(rng.random() * 0.05)

        async with relay.harness() as harness, await harness.open_stream() as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_often)
                nursery.start_soon(send, stream)
                assert [await stream.receive() for _ in messages] == messages
            assert harness.stats().links_opened > 3

    async def test_the_link_status_follows(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with relay.harness() as harness:
            states = [harness.link]
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
        states.append(harness.link)
        assert states == [LinkStatus.UP, LinkStatus.DOWN]

    async def test_a_stream_opened_without_a_link_is_announced_on_the_next(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            relay.net.faults.extend([refused()] * 5)
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            stream = await harness.open_stream()
            await stream.send(b"patience")
            assert await stream.receive() == b"patience"

    async def test_a_stream_times_out_while_there_is_no_link(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        await relay.start_executor(echo)
        async with relay.harness(RelayConfig(resume_timeout=60)) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.net.faults.extend([refused()] * 1000)
            relay.net.cut_all()
            start = trio.current_time()
            with pytest.raises(StreamEnded) as caught:
                await stream.receive()
            assert caught.value.reset.known_reason is ResetReason.TIMEOUT
            assert caught.value.reset.by is EndedBy.LOCAL
            assert caught.value.__cause__ is None
            assert trio.current_time() - start == pytest.approx(60, abs=0.1)


async def test_a_link_without_pongs_is_dropped_and_dialled_again(
    relay: Relay, autojump_clock: trio.testing.MockClock
) -> None:
    keepalive = KeepAlive(ping_interval=7, pong_timeout=5)
    async with open_harness(
        HARNESS_URL,
        open_socket=relay.net.open_socket,
        keepalive=keepalive,
        rng=LongestPauses(),
    ) as harness:
        await trio.sleep(100)
        assert harness.stats().links_opened == 1
        stalled_at = trio.current_time()
        relay.net.cables[0].stall()
        await wait_for(harness, LinkStatus.CONNECTING)
        assert 5 <= trio.current_time() - stalled_at <= 12.01
        await wait_for(harness, LinkStatus.UP)
        assert harness.stats().links_opened == 2


async def test_a_link_whose_peer_reads_nothing_is_dropped_and_dialled_again(
    relay: Relay, autojump_clock: trio.testing.MockClock
) -> None:
    await relay.start_executor(echo)
    keepalive = KeepAlive(write_timeout=50)
    async with open_harness(
        HARNESS_URL,
        open_socket=relay.net.open_socket,
        keepalive=keepalive,
        rng=LongestPauses(),
    ) as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        await trio.testing.wait_all_tasks_blocked()
        relay.net.cables[-1].block()
        start = trio.current_time()
        await stream.send(b"x")
        await wait_for(harness, LinkStatus.CONNECTING)
        assert trio.current_time() - start == pytest.approx(50, abs=0.1)
        assert await stream.receive() == b"x"


class TestLeaving:
    @pytest.mark.parametrize("how", ["end", "exception", "cancelled"])
    async def test_live_streams_are_reset_and_the_websocket_closed_in_order(
        self, relay: Relay, how: str
    ) -> None:
        accepted: list[RelayStream] = []

        async def keep(stream: RelayStream) -> None:
            accepted.append(stream)
            await trio.sleep_forever()

        await relay.start_executor(keep)
        closings: list[str] = []
        with trio.CancelScope() as scope:
            try:
                async with relay.harness() as harness:
                    stream = await harness.open_stream()
                    await stream.wait_opened()
                    await trio.testing.wait_all_tasks_blocked()
                    link = relay.router.routes[stream.stream_id].link
                    if how == "exception":
                        raise ValueError("of the block")
                    if how == "cancelled":
                        scope.cancel()
                        await trio.sleep_forever()
            except ValueError:
                closings.append("exception")
        await trio.testing.wait_all_tasks_blocked()
        assert stream.ended is not None
        assert stream.ended.known_reason is ResetReason.CANCELLED
        assert accepted[0].ended is not None
        assert accepted[0].ended.known_reason is ResetReason.CANCELLED
        assert link.close_code == 1000
        assert link.failure is None
        assert closings == (["exception"] if how == "exception" else [])
        with pytest.raises(trio.ClosedResourceError):
            await harness.open_stream()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send(b"too late")

    async def test_no_stream_is_opened_while_it_leaves(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
    ) -> None:
        left = trio.Event()

        async def leave() -> None:
            async with relay.harness() as harness:
                opened.append(harness)
                relay.net.cables[-1].block()
            left.set()

        opened: list[Harness] = []
        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        assert not left.is_set()
        with pytest.raises(trio.ClosedResourceError):
            await opened[0].open_stream()

    @pytest.mark.parametrize("fault", [Cable.stall, Cable.block])
    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_it_takes_a_second_at_most(
        self,
        relay: Relay,
        autojump_clock: trio.testing.MockClock,
        cancelled: bool,
        fault: Callable[[Cable], None],
    ) -> None:
        with trio.CancelScope() as scope:
            async with relay.harness() as harness:
                await harness.open_stream()
                await trio.testing.wait_all_tasks_blocked()
                fault(relay.net.cables[0])
                start = trio.current_time()
                if cancelled:
                    scope.cancel()
        assert trio.current_time() - start == pytest.approx(1)

    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_it_takes_no_time_without_a_link(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, cancelled: bool
    ) -> None:
        with trio.CancelScope() as scope:
            async with relay.harness() as harness:
                await harness.open_stream()
                relay.net.faults.extend([refused()] * 100)
                relay.net.cut_all()
                await wait_for(harness, LinkStatus.CONNECTING)
                await trio.sleep(10)
                start = trio.current_time()
                if cancelled:
                    scope.cancel()
        assert trio.current_time() == start

    async def test_no_task_is_left(self, relay: Relay) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(3):
            async with relay.harness() as harness:
                await harness.open_stream()
                assert trio.lowlevel.current_statistics().tasks_living > before
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


class TestExceptionsOfTheBlock:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: ValueError("plain"),
            lambda: ExceptionGroup("of the user's own", [ValueError(), KeyError()]),
            lambda: BaseExceptionGroup("with an interrupt", [KeyboardInterrupt()]),
            SystemExit,
            trio.EndOfChannel,
        ],
        ids=["exception", "group", "base group", "system exit", "trio's own"],
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

    async def test_an_error_raised_while_cancelled_comes_out_alone(self, relay: Relay) -> None:
        async def raise_while_cancelled(scope: trio.CancelScope) -> None:
            async with relay.harness():
                scope.cancel()
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("in cleanup")

        with trio.CancelScope() as scope, pytest.raises(ValueError, match="in cleanup"):
            await raise_while_cancelled(scope)


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
        with caplog.at_level(logging.ERROR, "sansrelay_trio"):
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
    def broken(self: Backoff, failures: int, rng: random.Random) -> float:
        raise AssertionError("a bug")

    monkeypatch.setattr(Backoff, "delay", broken)

    async def wait_for_it() -> None:
        async with relay.harness():
            relay.net.cut_all()
            await trio.sleep_forever()

    with pytest.raises(AssertionError, match="a bug"):
        await wait_for_it()
