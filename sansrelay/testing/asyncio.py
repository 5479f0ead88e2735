"""For tests on asyncio: a loop whose time jumps, and a rendezvous with links to cut.

Together they make an outage of ten minutes take no time; docs/embedding.md has an example.
`VirtualTimeLoop` is what `trio.testing.MockClock(autojump_threshold=0)` is to trio. Its clock
stands still while anything can run, and jumps to the next timer once all tasks wait::

    from sansrelay.testing.asyncio import run

    async def main():
        await asyncio.sleep(600)
        assert asyncio.get_running_loop().time() == 600

    run(main())

or with any runner that takes a loop factory: `asyncio.Runner(loop_factory=VirtualTimeLoop)`.

What works: tasks, timers, futures, and everything about sockets whose two ends are both on this
loop, where the system hands over at once what was written: socket pairs and Unix sockets, plain or
with TLS on top. Also `asyncio.to_thread`, `run_in_executor` and name look-ups: the clock waits for
them. The same program does the same at the same virtual times in every run.

What needs a `threshold`: sockets whose other end is elsewhere, or that go through TCP. The clock
then lets that much real time pass without news before it jumps. Such programs are as deterministic
as their peers.

What does not work: other threads that call into the loop, child processes, and signals are not
waited for; the clock may jump before they are heard. A thread in `to_thread` that waits for the
loop's time to pass waits for ever. A program that never ends in real time does not end here either,
only faster: `asyncio.timeout` ends it, in virtual time. uvloop has a clock of its own.

This is a tool outside the pure core, and nothing imports it but tests. It is not for production.
"""

import asyncio
import math
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack

from ..connection import Role
from ..rendezvous import RendezvousConfig
from ._local import LocalRendezvousBase

__all__ = ["Deadlock", "LocalRendezvous", "VirtualTimeLoop", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Deadlock(RuntimeError):
    """All tasks wait, there is no timer, and nothing else can wake any of them.

    Comes out of the loop, hence of `asyncio.Runner.run`, which then cancels the tasks. The message
    tells where each of them waits.
    """


class _Stuck(Exception):
    """Nothing is ready, and nothing will be."""


class _JumpingSelector(selectors.DefaultSelector):
    """Passes virtual time where others wait."""

    def __init__(self, start: float, threshold: float) -> None:
        super().__init__()
        self.now = float(start)
        self.threads = 0
        """Pieces of work in threads that will wake the loop. The clock stands still for them."""
        self._threshold = threshold

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        events = super().select(None if self.threads else self._threshold)
        if not events and not self.threads:
            if timeout is None:
                raise _Stuck
            self.now += timeout
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do.

    `start`: what the clock shows at first, in seconds. `threshold`: real seconds without news from
    any socket before a jump. What works on it and what does not is said above. Raises `Deadlock`
    out of `run_forever` and `run_until_complete`. A timer at `math.inf` never fires and does not
    count as something to wait for.
    """

    def __init__(self, *, start: float = 0.0, threshold: float = 0.0) -> None:
        self._jumping = _JumpingSelector(start, threshold)
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time in seconds. It never goes back."""
        now = self._jumping.now
        # asyncio fires timers that are due within a tick of the clock. This one would stand still
        # just before them, and whoever sets a timer again that was early would do so for ever.
        self._clock_resolution = math.ulp(now)
        return now

    def run_forever(self) -> None:
        """Run until `stop`. Raises `Deadlock`."""
        try:
            super().run_forever()
        except _Stuck:
            raise Deadlock(_where_all_wait(self)) from None

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a virtual time; at `math.inf`, never."""
        if when == math.inf:
            # In the queue it would have the clock jump on and on.
            return asyncio.TimerHandle(when, callback, args, self, context)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[Ts]], T],
        *args: *Ts,
    ) -> "asyncio.Future[T]":
        """Run a function in a thread. The clock stands still until it returns or is given up."""
        work = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        work.add_done_callback(self._thread_done)
        return work

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Wait for threads to end. The clock stands still meanwhile."""
        with self._standing_still():
            await super().shutdown_default_executor(*args)

    def _thread_done(self, work: object) -> None:
        self._jumping.threads -= 1

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        self._jumping.threads += 1
        try:
            yield
        finally:
            self._jumping.threads -= 1


def _where_all_wait(loop: asyncio.AbstractEventLoop) -> str:
    lines = ["all tasks wait, and nothing can wake any of them:"]
    for task in sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name):
        for frame in task.get_stack(limit=1):
            code = frame.f_code
            place = f"{code.co_filename}:{frame.f_lineno}"
            lines.append(f"  {task.get_name()} in {code.co_qualname} at {place}")
    return "\n".join(lines)


def run(main: Coroutine[Any, Any, T], *, start: float = 0.0) -> T:
    """Run a coroutine as `asyncio.run` does, on a `VirtualTimeLoop`; returns its result.

    `start` is what the clock shows at first, in seconds. Raises what `main` does, `Deadlock`, and
    `RuntimeError` if a loop runs in this thread already.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(start=start)) as runner:
        return runner.run(main)


class LocalRendezvous(LocalRendezvousBase):
    __doc__ = LocalRendezvousBase.__doc__

    def __init__(self, config: RendezvousConfig | None = None) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._lines: set[_Line] = set()

    async def open_socket(self, host: str, port: int) -> socket.socket:
        """For `open_harness` and `serve_executor`: the connections they use.

        Raises `ConnectionRefusedError` during an outage.
        """
        role = self._dialled(port)
        near, far = socket.socketpair()
        try:
            near.setblocking(False)
            await self._loop.create_connection(lambda: _Line(self, role), sock=far)
        except BaseException:
            near.close()
            far.close()
            raise
        return near

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.restart()  # which leaves no alarm
        for line in list(self._lines):
            await line.gone.wait()

    def _now(self) -> float:
        return self._loop.time()

    def _set_alarm(self, at: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if at is None else self._loop.call_at(at, self._time_passed)


class _Line(asyncio.Protocol):
    """The rendezvous's end of one connection."""

    def __init__(self, relay: LocalRendezvous, role: Role) -> None:
        self._relay = relay
        self._role = role
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._relay._lines.add(self)
        self._wire = self._relay._connect(self._role, transport.write, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._relay._receive(self._wire, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._relay._receive(self._wire, b"")
        self._relay._lines.discard(self)
        self.gone.set()
