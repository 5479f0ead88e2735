"""Cancelling something at a checkpoint of one's choice, on either adapter.

A *checkpoint* is where a task gives way to others: what trio and asyncio call so, seen from inside,
as the values that a coroutine yields to its loop. There are two moments to be cancelled at each:
while the task waits, and after that is over, before it goes on. One more is before it all begins.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from types import ModuleType, coroutine
from typing import Any

import trio.testing

import asyncio_net
import sansrelay_asyncio
import sansrelay_trio
import trio
import trio_net
from sansrelay.links import KeepAlive, LinkCause
from sansrelay.websocket import WebSocketLink
from sansrelay_asyncio._socket import connect_stream

__all__ = ["ADAPTERS", "Moment", "Strike", "Struck", "World", "run_world"]

URL = "ws://relay.test/"

LONG = 3600 * 2
"""Seconds, of a clock that jumps, after which what waits is waiting for ever."""

Work = Callable[[], Coroutine[Any, Any, Any]]


class Moment(Enum):
    """When to cancel at a checkpoint."""

    BEFORE = "before it begins"
    WAITING = "while it waits"
    WOKEN = "when it has been woken, and has not gone on yet"


@dataclass(frozen=True, slots=True)
class Strike:
    """Where to cancel. Checkpoints count from 1; BEFORE goes with 0, and with trio: with asyncio it
    is the same as WAITING at the first one."""

    checkpoint: int
    moment: Moment


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of something that was to be cancelled."""

    cancelled: bool
    value: Any = None


@coroutine
def _watched(
    work: Coroutine[Any, Any, Any], at_checkpoint: Callable[[Any], None]
) -> Generator[Any, Any, Any]:
    """Run something, and tell of each of its checkpoints before the loop knows."""
    go_on: Callable[[Any], Any] = work.send
    value: Any = None
    while True:
        try:
            trap = go_on(value)
        except StopIteration as stop:
            return stop.value
        at_checkpoint(trap)
        try:
            value = yield trap
        except BaseException as error:
            go_on, value = work.throw, error
        else:
            go_on = work.send


class World(ABC):
    """A relay in this process, in time that jumps, with one harness and one executor on it."""

    adapter: ModuleType
    net: ModuleType
    """`trio_net` or `asyncio_net`, which have the same names."""

    def __init__(self, strike: Strike | None) -> None:
        self._strike = strike
        self.checkpoints = 0
        """Passed so far by what is to be struck."""
        self.relay: Any
        self.harness: Any
        self.idle: Any = self.net.Idle()
        self.next_connection: Callable[[Any], Awaitable[None]] | None = None
        """Handles the next connection to the server, in the router's place."""

    def _is_due(self, moment: Moment) -> bool:
        return self._strike == Strike(self.checkpoints, moment)

    def _let_connections_in(self) -> None:
        usual = self.relay.router.serve

        async def serve(connection: Any) -> None:
            handler, self.next_connection = self.next_connection or usual, None
            await handler(connection)

        self.relay.router.serve = serve

    @asynccontextmanager
    async def open(self, config: Any = None, *, handler: Any = None) -> AsyncGenerator[None]:
        """Start executor and harness. Without a handler, `stream` gets both ends."""
        await self.relay.start_executor(handler or self.idle)
        async with self.relay.harness(config) as self.harness:
            yield

    async def pair(self) -> tuple[Any, Any]:
        """Both ends of a new WebSocket, the client's and the server's."""
        servers: list[Any] = []

        async def serve(connection: Any) -> None:
            await connection.next_request()
            servers.append(await connection.accept_websocket())
            await self.net.Idle()(None)

        self.next_connection = serve
        client = await self.client()
        await client.open()
        await self.settle()
        return client, servers[0]

    async def cause_of(self, work: Work) -> LinkCause | None:
        """Why something found its WebSocket gone; None if it did not."""
        try:
            await work()
        except (sansrelay_trio.LinkClosed, sansrelay_asyncio.LinkClosed) as error:
            return error.cause
        return None

    async def stream(self) -> tuple[Any, Any]:
        """Both ends of a new stream."""
        ours = await self.harness.open_stream()
        await ours.wait_opened()
        return ours, await self.idle.accepted()

    async def check(self) -> None:
        """Whatever was cancelled, streams work, and over the same link as ever."""
        ours, theirs = await self.stream()
        await ours.send(b"still")
        assert await theirs.receive() == b"still"
        await theirs.send(b"alive")
        assert await ours.receive() == b"alive"
        ours.reset()
        stats = self.harness.stats()
        assert stats.links_opened == 1
        assert not stats.dropped

    async def strike(self, work: Work, *, then: Work | None = None) -> Struck:
        """Do something, and cancel it at the checkpoint that it is the turn of, if any.

        `then` is what others do once it waits.
        """
        struck = await self._struck(work, then)
        await self.settle()
        return struck

    @abstractmethod
    async def strike_at_turn(self, turns: int, work: Work) -> bool:
        """Do something, and cancel it after some turns of the loop; tells whether it was."""

    @abstractmethod
    async def _struck(self, work: Work, then: Work | None) -> Struck: ...

    @abstractmethod
    async def client(self) -> Any:
        """A WebSocket's client, before its handshake."""

    @abstractmethod
    async def serve(self, handler: Any = None, target: Any = None) -> None:
        """Serve streams as an executor."""

    @abstractmethod
    def give_up(self) -> None:
        """Cancel what is to be struck."""

    @abstractmethod
    async def settle(self) -> None:
        """Wait until every other task does."""

    @abstractmethod
    async def later(self) -> None:
        """Wait until every patience is over."""

    @abstractmethod
    async def is_closed(self, cable: Any) -> bool:
        """Whether the client let go of its connection."""

    @abstractmethod
    def tasks(self) -> int:
        """How many there are."""

    @abstractmethod
    async def background(self, work: Work) -> None:
        """Run something until the end of the world."""


class _TrioWorld(World, trio.abc.Instrument):
    adapter = sansrelay_trio
    net = trio_net

    def __init__(self, strike: Strike | None, nursery: trio.Nursery) -> None:
        super().__init__(strike)
        self.relay = trio_net.Relay(nursery)
        self._let_connections_in()
        self._nursery = nursery
        self._scope = trio.CancelScope()
        self._awaited: trio.lowlevel.Task | None = None

    async def _struck(self, work: Work, then: Work | None) -> Struck:
        value = None
        async with trio.open_nursery() as nursery:
            if then is not None:
                nursery.start_soon(self._when_settled, then)
            trio.lowlevel.add_instrument(self)
            if self._is_due(Moment.BEFORE):
                self._scope.cancel()
            try:
                with self._scope:
                    value = await _watched(work(), self._at_checkpoint)
            finally:
                trio.lowlevel.remove_instrument(self)
        return Struck(self._scope.cancelled_caught, value)

    async def strike_at_turn(self, turns: int, work: Work) -> bool:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(trio_net.cancel_after, turns, scope)
                await work()
        return scope.cancelled_caught

    def _at_checkpoint(self, _: object) -> None:
        self.checkpoints += 1
        if self._is_due(Moment.WAITING):
            self._scope.cancel()
        elif self._is_due(Moment.WOKEN):
            self._awaited = trio.lowlevel.current_task()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is self._awaited:
            self._awaited = None
            self._scope.cancel()

    async def _when_settled(self, then: Work) -> None:
        await self.settle()
        await then()

    async def client(self) -> Any:
        stream = await self.relay.net.open_socket("relay.test", 80)
        return sansrelay_trio.WebSocketConnection(stream, WebSocketLink.client(URL), KeepAlive())

    async def serve(self, handler: Any = None, target: Any = None) -> None:
        await sansrelay_trio.serve_executor(
            handler or self.idle,
            target or trio_net.EXECUTOR_URL,
            open_socket=self.relay.net.open_socket,
        )

    def give_up(self) -> None:
        self._scope.cancel()

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()

    async def later(self) -> None:
        await trio.sleep(5)

    async def is_closed(self, cable: Any) -> bool:
        try:
            await cable.client.receive_some()
        except trio.ClosedResourceError:
            return True
        return False

    def tasks(self) -> int:
        return trio.lowlevel.current_statistics().tasks_living

    async def background(self, work: Work) -> None:
        self._nursery.start_soon(work)
        await self.settle()


class _AsyncioWorld(World):
    adapter = sansrelay_asyncio
    net = asyncio_net

    def __init__(self, strike: Strike | None) -> None:
        super().__init__(strike)
        self.relay = asyncio_net.Relay()
        self._let_connections_in()
        self._task: asyncio.Task[Any]

    async def _struck(self, work: Work, then: Work | None) -> Struck:
        async def watched() -> Any:
            return await _watched(work(), self._at_checkpoint)

        self._task = asyncio.create_task(watched())
        if then is not None:
            await self.settle()
            await then()
        await asyncio.wait([self._task])
        if self._task.cancelled():
            return Struck(True)
        return Struck(False, self._task.result())

    async def strike_at_turn(self, turns: int, work: Work) -> bool:
        task = asyncio.create_task(work())
        await asyncio_net.after_ticks(turns, task)
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        return task.cancelled()

    def _at_checkpoint(self, trap: Any) -> None:
        self.checkpoints += 1
        if self._is_due(Moment.WAITING) or (trap is None and self._is_due(Moment.WOKEN)):
            self._task.cancel()
        elif self._is_due(Moment.WOKEN):
            # Called before the task is told: it learns of both at once.
            trap.add_done_callback(lambda _: self._task.cancel())

    async def client(self) -> Any:
        sock = await self.relay.net.open_socket("relay.test", 80)
        stream = await connect_stream(sock, ssl_context=None, server_hostname="relay.test")
        link = WebSocketLink.client(URL)
        return sansrelay_asyncio.WebSocketConnection(stream, link, KeepAlive())

    async def serve(self, handler: Any = None, target: Any = None) -> None:
        await sansrelay_asyncio.serve_executor(
            handler or self.idle,
            target or asyncio_net.EXECUTOR_URL,
            open_socket=self.relay.net.open_socket,
        )

    def give_up(self) -> None:
        self._task.cancel()

    async def settle(self) -> None:
        await asyncio_net.all_wait()

    async def later(self) -> None:
        await asyncio.sleep(5)

    async def is_closed(self, cable: Any) -> bool:
        # Cables here are made of sockets, which can be counted.
        return True

    def tasks(self) -> int:
        return len(asyncio.all_tasks())

    async def background(self, work: Work) -> None:
        self.relay.start(work())
        await self.settle()


def _run_trio(play: Callable[[World], Awaitable[None]], strike: Strike | None) -> int:
    async def main() -> int:
        async with trio.open_nursery() as nursery:
            world = _TrioWorld(strike, nursery)
            await world.relay.start()
            with trio.fail_after(LONG):
                await play(world)
            nursery.cancel_scope.cancel()
        return world.checkpoints

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def _run_asyncio(play: Callable[[World], Awaitable[None]], strike: Strike | None) -> int:
    complaints: list[Any] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        world = _AsyncioWorld(strike)
        await world.relay.start_server()
        try:
            async with asyncio.timeout(LONG):
                await play(world)
        finally:
            await world.relay.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return world.checkpoints

    with asyncio.Runner(loop_factory=asyncio_net.VirtualTimeLoop) as runner:
        checkpoints = runner.run(main())
    assert complaints == []
    return checkpoints


ADAPTERS = {"trio": _run_trio, "asyncio": _run_asyncio}


def run_world(
    adapter: str, play: Callable[[World], Awaitable[None]], strike: Strike | None = None
) -> int:
    """Play something in a world of its own; returns how many checkpoints it had to be struck at."""
    return ADAPTERS[adapter](play, strike)
