"""The rendezvous for users' tests, on both libraries: outages of minutes that take no time."""

import asyncio
import functools
import gc
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio.testing

import sansrelay_asyncio
import sansrelay_trio
import trio
from sansrelay import RelayConfig, Role
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import DataFrame, ResetFrame
from sansrelay.rendezvous import RendezvousConfig
from sansrelay.testing import asyncio as on_asyncio
from sansrelay.testing import trio as on_trio
from sansrelay.testing._local import LocalRendezvousBase, Wire
from sansrelay.websocket import WebSocketLink, WebSocketState

MINUTES = 60.0
PATIENT = RelayConfig(resume_timeout=20 * MINUTES)
PATIENT_ROUTES = RendezvousConfig(harness_grace=20 * MINUTES, executor_grace=20 * MINUTES)
REDIAL = 21.0
"""Seconds until both ends have dialled again and compared notes: two pauses of 10 s at most."""

Handler = Callable[[Any], Awaitable[object]]


class Asyncio:
    """The parts of a test that belong to asyncio."""

    adapter: Any = sansrelay_asyncio
    sleep = staticmethod(asyncio.sleep)

    def run(self, main: Callable[[], Any]) -> None:
        on_asyncio.run(main())

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def relay(self, config: RendezvousConfig | None = None) -> Any:
        return on_asyncio.LocalRendezvous(config)

    @asynccontextmanager
    async def executor(self, relay: Any, handler: Handler, **options: Any) -> AsyncGenerator[Any]:
        started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            sansrelay_asyncio.serve_executor(
                handler,
                relay.url(Role.EXECUTOR),
                open_socket=relay.open_socket,
                on_started=started.set_result,
                **options,
            )
        )
        try:
            yield await started
        finally:
            serving.cancel()
            await asyncio.wait([serving])


class Trio:
    """The parts that belong to trio."""

    adapter: Any = sansrelay_trio
    sleep = staticmethod(trio.sleep)

    def run(self, main: Callable[[], Any]) -> None:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    def now(self) -> float:
        return trio.current_time()

    def relay(self, config: RendezvousConfig | None = None) -> Any:
        return on_trio.LocalRendezvous(config)

    @asynccontextmanager
    async def executor(self, relay: Any, handler: Handler, **options: Any) -> AsyncGenerator[Any]:
        serve = functools.partial(
            sansrelay_trio.serve_executor,
            handler,
            relay.url(Role.EXECUTOR),
            open_socket=relay.open_socket,
            **options,
        )
        async with trio.open_nursery() as nursery:
            yield await nursery.start(serve)
            nursery.cancel_scope.cancel()


class LongestPauses(random.Random):
    """Each pause as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        return b


On = Asyncio | Trio
both = pytest.mark.parametrize("on", [Asyncio(), Trio()], ids=["asyncio", "trio"])


def harness(on: On, relay: Any, **options: Any) -> Any:
    return on.adapter.open_harness(
        relay.url(Role.HARNESS), open_socket=relay.open_socket, **options
    )


async def shout(stream: Any) -> None:
    async for message in stream:
        await stream.send(message.upper())


@both
@pytest.mark.parametrize("silent", [False, True], ids=["told", "silent"])
@pytest.mark.parametrize(
    "roles", [(), (Role.HARNESS,), (Role.EXECUTOR,)], ids=["both", "harness", "executor"]
)
def test_a_stream_outlives_ten_minutes_without_a_link(
    on: On, roles: tuple[Role, ...], silent: bool
) -> None:
    heard_at: list[float] = []

    async def listen(stream: Any) -> None:
        async for message in stream:
            heard_at.append(on.now())
            await stream.send(message.upper())

    async def main() -> None:
        async with (
            on.relay(PATIENT_ROUTES) as relay,
            on.executor(relay, listen, config=PATIENT) as executor,
            harness(on, relay, config=PATIENT) as ours,
            await ours.open_stream() as stream,
        ):
            await stream.send(b"before")
            assert await stream.receive() == b"BEFORE"
            lost_at = on.now()
            with relay.outage(*roles, silent=silent):
                await stream.send(b"during")
                await on.sleep(10 * MINUTES)
                for end, role in ((ours, Role.HARNESS), (executor, Role.EXECUTOR)):
                    is_up = end.link is on.adapter.LinkStatus.UP
                    assert is_up is (bool(roles) and role not in roles)
            assert await stream.receive() == b"DURING"
            assert 10 * MINUTES < heard_at[1] - lost_at < 10 * MINUTES + REDIAL
            await stream.send(b"after")
            assert await stream.receive() == b"AFTER"
            assert (ours.stats().links_opened > 1) is (Role.HARNESS in (roles or Role))
            assert (executor.stats().links_opened > 1) is (Role.EXECUTOR in (roles or Role))

    on.run(main)


@both
@pytest.mark.parametrize("silent", [False, True], ids=["told", "silent"])
def test_the_rendezvous_keeps_time_for_those_who_stay_away(on: On, silent: bool) -> None:
    ends: list[tuple[str, float]] = []

    async def listen(stream: Any) -> None:
        assert await stream.receive() == b"hello"
        try:
            await stream.receive()
        except on.adapter.StreamEnded as ended:
            ends.append((ended.reset.reason, on.now()))

    async def main() -> None:
        async with (
            on.relay() as relay,
            on.executor(relay, listen, config=PATIENT),
            harness(on, relay, config=PATIENT) as ours,
        ):
            stream = await ours.open_stream()
            await stream.send(b"hello")
            await stream.wait_opened()
            await on.sleep(1.0)
            lost_at = on.now()
            with relay.outage(Role.HARNESS, silent=silent):
                await on.sleep(10 * MINUTES)
            ((reason, ended_at),) = ends
            assert reason == "harness_disconnected"
            grace, keepalive = RendezvousConfig().harness_grace, on.adapter.KeepAlive()
            # The harness finds out by a ping, closes, and only then is missed.
            at_least = keepalive.pong_timeout if silent else 0.0
            at_most = at_least + keepalive.ping_interval if silent else 0.01
            assert lost_at + grace + at_least <= ended_at <= lost_at + grace + at_most

    on.run(main)


@both
@pytest.mark.parametrize("fault", ["cut", "restart"])
def test_a_stream_outlives_a_cut_and_a_rendezvous_that_is_replaced(on: On, fault: str) -> None:
    async def main() -> None:
        async with (
            on.relay() as relay,
            on.executor(relay, shout) as executor,
            harness(on, relay) as ours,
            await ours.open_stream() as stream,
        ):
            await stream.wait_opened()
            for number in range(5):
                await stream.send(b"m%d" % number)
                getattr(relay, fault)()
                assert await stream.receive() == b"M%d" % number
            assert ours.stats().links_opened == executor.stats().links_opened == 6

    on.run(main)


@both
@pytest.mark.parametrize("restart", [True, False])
def test_a_rendezvous_that_is_replaced_has_forgotten_all(on: On, restart: bool) -> None:
    async def ask(relay: Any) -> bytes | None:
        async with on.executor(relay, shout), harness(on, relay) as ours:
            stream = await ours.open_stream("the same id")
            await stream.send(b"hello")
            async for message in stream:
                await stream.aclose()
                return message  # type: ignore[no-any-return]
        return None

    async def main() -> None:
        async with on.relay() as relay:
            assert await ask(relay) == b"HELLO"
            if restart:
                relay.restart()
            assert await ask(relay) == (b"HELLO" if restart else None)

    on.run(main)


@both
def test_who_dials_during_an_outage_is_refused(on: On) -> None:
    async def main() -> None:
        async with on.relay() as relay:
            with relay.outage():
                with relay.outage(Role.HARNESS):
                    pass
                with pytest.raises(on.adapter.ConnectError) as caught:
                    async with harness(on, relay):
                        pass
                assert caught.value.cause is on.adapter.ConnectCause.REFUSED
            async with harness(on, relay):
                pass

    on.run(main)


@both
def test_a_second_executor_takes_over(on: On) -> None:
    # Else the first one dials again at once, and takes over in its turn.
    slow = on.adapter.Backoff(first=1 * MINUTES, cap=1 * MINUTES)

    async def main() -> None:
        async with (
            on.relay() as relay,
            on.executor(relay, shout, backoff=slow, rng=LongestPauses(1)) as first,
            harness(on, relay) as ours,
        ):
            async with on.executor(relay, shout) as second:
                await on.sleep(0.01)
                assert first.link is on.adapter.LinkStatus.CONNECTING
                async with await ours.open_stream() as stream:
                    await stream.send(b"hello")
                    assert await stream.receive() == b"HELLO"
                assert second.stats().frames_received > 0

    on.run(main)


@both
def test_a_link_too_many_is_refused(on: On) -> None:
    async def main() -> None:
        async with on.relay(RendezvousConfig(max_harness_links=1)) as relay:
            async with harness(on, relay):
                with pytest.raises(on.adapter.ConnectError) as caught:
                    async with harness(on, relay):
                        pass
                assert caught.value.status == 503

    on.run(main)


@both
def test_there_is_no_registry(on: On) -> None:
    async def main() -> None:
        async with on.relay() as relay:
            registry = on.adapter.Registry("http://localhost:1", "box", token="secret")
            with pytest.raises(on.adapter.ConnectError) as caught:
                async with on.adapter.open_harness(registry, open_socket=relay.open_socket):
                    pass
            assert caught.value.status == 404

    on.run(main)


@both
def test_links_that_are_left_over_are_closed_with_it(on: On) -> None:
    # What is not closed warns when it is collected, and warnings are errors.
    async def main() -> None:
        async with on.relay() as relay:
            client = await relay.open_socket("localhost", 1)
            if isinstance(on, Trio):
                tasks = trio.lowlevel.current_statistics().tasks_living
        if isinstance(on, Asyncio):
            assert client.recv(1) == b""
            with pytest.raises(BrokenPipeError):
                client.send(b"x")
            client.close()
        else:
            assert await client.receive_some() == b""
            with pytest.raises(trio.BrokenResourceError):
                await client.send_all(b"x")
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks - 1

    on.run(main)
    gc.collect()


@pytest.mark.parametrize("ticks", range(4))
def test_an_attempt_to_connect_can_be_cancelled(ticks: int) -> None:
    async def main() -> None:
        async with on_asyncio.LocalRendezvous() as relay:
            attempt = asyncio.create_task(relay.open_socket("localhost", 1))
            for _ in range(ticks):
                await asyncio.sleep(0)
            attempt.cancel()
            with suppress(asyncio.CancelledError):
                (await attempt).close()

    on_asyncio.run(main())
    gc.collect()


class Bare(LocalRendezvousBase):
    """Without a loop, and with one connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.hung_up = 0
        self.wire = self.dial()

    def dial(self) -> Wire:
        return self._connect(Role.HARNESS, self.written.append, self._hung_up)

    def _hung_up(self) -> None:
        self.hung_up += 1

    def _now(self) -> float:
        return 0.0

    def _set_alarm(self, at: float | None) -> None:
        pass

    def send(self, data: bytes) -> bytes:
        """What is answered to some bytes."""
        self.written.clear()
        self._receive(self.wire, data)
        return b"".join(self.written)


def opened() -> tuple[Bare, WebSocketLink]:
    relay = Bare()
    client = WebSocketLink.client(relay.url(Role.HARNESS))
    # A request may come in pieces.
    request = client.bytes_to_send()
    assert relay.send(request[:10]) == b""
    client.receive_bytes(relay.send(request[10:]))
    assert client.state is WebSocketState.OPEN
    return relay, client


def test_a_frame_without_an_executor_is_answered() -> None:
    relay, client = opened()
    client.send_message(encode_frame(DataFrame("s", 0, 0, 0, 0, 1, b"x")))
    client.receive_bytes(relay.send(client.bytes_to_send()))
    (frame,) = client.messages()
    assert decode_frame(frame, RelayConfig()) == ResetFrame("s", 0, 0, "executor_unavailable")


def test_nothing_is_sent_behind_a_close_frame() -> None:
    relay, client = opened()
    client.send_message(encode_frame(DataFrame("s", 0, 0, 0, 0, 1, b"x")))
    client.close()
    client.receive_bytes(relay.send(client.bytes_to_send()))
    assert client.messages() == []
    assert client.state is WebSocketState.CLOSED
    assert client.failure is None
    assert relay.hung_up == 1
    assert relay.send(b"more") == b""


def test_an_outage_that_begins_during_the_dialling_counts() -> None:
    relay = Bare()
    with relay.outage(Role.EXECUTOR):
        relay.dial()
        assert relay.hung_up == 0
    with relay.outage(Role.HARNESS):
        assert relay.hung_up == 2
        relay.dial()
        assert relay.hung_up == 3
