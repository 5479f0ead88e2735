"""Event loops in threads, so that a test can drive several of different kinds, step by step.

A test calls `start` and waits for what comes of it; the loop's own threads do the work. The same
coroutine functions run on each kind: what they need of a loop is in `Loop`.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import trio.testing
import uvloop

import trio

__all__ = ["PATIENCE", "AsyncioLoop", "Event", "Loop", "Pending", "new_loop"]

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a step that does not come to its end fails the test."""


_TURNS = 20
"""Of an asyncio loop: more than any step takes until it waits."""


class Event(Protocol):
    """What the events of trio and asyncio have in common."""

    def set(self) -> object:
        """Let all go on that wait."""
        ...

    async def wait(self) -> object:
        """Wait for `set`."""
        ...


class Pending(Generic[T]):
    """Something that runs on a loop."""

    def __init__(self) -> None:
        self.future: Future[T] = Future()
        self.cancel: Callable[[], None] = lambda: None
        """Cancels it, from any thread; `result` then raises `concurrent.futures.CancelledError`."""

    def result(self) -> T:
        """Wait until it is done; returns or raises what it did."""
        return self.future.result(PATIENCE)

    def wait(self) -> None:
        """Wait until it is done, in whatever way."""
        with suppress(CancelledError):
            self.future.exception(PATIENCE)

    async def run(self, work: Awaitable[T]) -> None:
        """Do it, on the loop."""
        try:
            value = await work
        except (trio.Cancelled, asyncio.CancelledError):
            self.future.cancel()
            raise
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)


class Loop(ABC):
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        """What the loop has to complain about, such as exceptions that nobody looked at."""
        self._running: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._running.result(PATIENCE)

    @property
    @abstractmethod
    def adapter(self) -> Any:
        """`sansrelay_trio` or `sansrelay_asyncio`."""

    @abstractmethod
    def _run(self) -> None: ...

    @abstractmethod
    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Pending[T]:
        """Run something, from any thread."""

    @abstractmethod
    def stop(self) -> None:
        """Cancel all that runs, and end the thread."""

    @abstractmethod
    def event(self) -> Event:
        """A new event, for the tasks of this loop."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Let others run. For the tasks of this loop."""

    @abstractmethod
    async def settle(self) -> None:
        """Let all tasks of this loop go on until they wait. For the tasks of this loop."""

    @abstractmethod
    async def gather(self, *works: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run several at once, until all are done. For the tasks of this loop."""

    @abstractmethod
    def reporting(self, report: Callable[[Any], None]) -> dict[str, object]:
        """The option by which a function of the adapter tells that it is ready."""

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something to its end, from any thread."""
        return self.start(work).result()

    def call(self, function: Callable[[], T]) -> T:
        """Call something that does not wait in the thread of the loop."""

        async def work() -> T:
            return function()

        return self.run(work)


class TrioLoop(Loop):
    """trio."""

    @property
    def adapter(self) -> Any:
        import sansrelay_trio

        return sansrelay_trio

    def _run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._end = trio.Event()
            self._running.set_result(None)
            await self._end.wait()
            self._nursery.cancel_scope.cancel()

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Pending[T]:
        pending: Pending[T] = Pending()
        scope = trio.CancelScope()
        pending.cancel = lambda: self._token.run_sync_soon(scope.cancel)

        async def run() -> None:
            with scope:
                await pending.run(work())

        self._token.run_sync_soon(self._nursery.start_soon, run)
        return pending

    def stop(self) -> None:
        self._token.run_sync_soon(self._end.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def event(self) -> Event:
        return trio.Event()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()

    async def gather(self, *works: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    def reporting(self, report: Callable[[Any], None]) -> dict[str, object]:
        class Status(trio.TaskStatus[Any]):
            def started(self, value: Any = None) -> None:
                report(value)

        return {"task_status": Status()}


class AsyncioLoop(Loop):
    """asyncio, on its own event loop."""

    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = staticmethod(asyncio.new_event_loop)

    @property
    def adapter(self) -> Any:
        import sansrelay_asyncio

        return sansrelay_asyncio

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self.new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))
        self._tasks: set[asyncio.Task[None]] = set()
        self._end = asyncio.Event()
        self._running.set_result(None)
        await self._end.wait()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        self.complaints += [f"left: {task!r}" for task in left]

    def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Pending[T]:
        pending: Pending[T] = Pending()

        async def run() -> None:
            await pending.run(work())

        def begin() -> None:
            task = self._loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            # One that is cancelled before it begins knows nothing of that.
            task.add_done_callback(lambda _: pending.future.cancel())
            cancel.append(task.cancel)

        cancel: list[Callable[[], object]] = []
        pending.cancel = lambda: self._call_soon(lambda: cancel[0]())
        self._call_soon(begin)
        return pending

    def _call_soon(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        self._call_soon(self._end.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def event(self) -> Event:
        return asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def gather(self, *works: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work())

    def reporting(self, report: Callable[[Any], None]) -> dict[str, object]:
        return {"on_started": report}


class UvloopLoop(AsyncioLoop):
    """asyncio, on uvloop."""

    new_event_loop = staticmethod(uvloop.new_event_loop)


_KINDS: dict[str, type[Loop]] = {
    "trio": TrioLoop,
    "asyncio": AsyncioLoop,
    "uvloop": UvloopLoop,
}


def new_loop(kind: str) -> Loop:
    """Start a loop: trio, asyncio or uvloop. `stop` it in the end."""
    return _KINDS[kind]()
