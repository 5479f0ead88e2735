"""Small tools: a task group that leaves exceptions alone, a look into groups, a cheap event."""

import asyncio
import math
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager

__all__ = ["Background", "Wakeup", "consists_of", "open_background", "patience"]


class Background:
    """Tasks that serve a block. Made by `open_background`."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something in a task of its own."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """Cancel all tasks."""
        for task in list(self._tasks):
            task.cancel()


@asynccontextmanager
async def open_background() -> AsyncGenerator[Background]:
    """A group of tasks that serve its block, and are cancelled when the block ends.

    An exception of the block comes out as it is, never in a group. Tasks are expected to deal with
    their own errors, so what comes out of one is a bug or an interrupt; it comes out as it is too,
    and before an ordinary exception of the block, which was cancelled because of it.
    """
    own: BaseException | None = None
    raised: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            background = Background(group)
            try:
                yield background
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                # A task group would put it into a group of its own.
                own = error
                raise _BlockRaised from None
            finally:
                background.cancel()
    except BaseExceptionGroup as caught:
        raised = min(caught.exceptions, key=_rank)
    # Outside of the handler, so that neither context nor cause of the exception are touched.
    try:
        if own is not None and (isinstance(raised, _BlockRaised) or not isinstance(own, Exception)):
            raise own
        if raised is not None:
            raise raised
    finally:
        # A frame that holds the exception that holds the frame would be a cycle.
        del own, raised


class _BlockRaised(Exception):
    """Stands in for the block's exception inside the task group."""


def _rank(error: BaseException) -> int:
    """What matters most: an interrupt, an error of a task, the block's own."""
    if isinstance(error, _BlockRaised):
        return 2
    return 1 if isinstance(error, Exception) else 0


def consists_of(error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Whether an exception is of one of these kinds, or a group of nothing else."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


def patience(seconds: float) -> float | None:
    """A time limit as asyncio wants it: not every event loop knows an infinite one."""
    return None if seconds == math.inf else seconds


class Wakeup:
    """A flag that any code sets, and one task waits for and clears.

    Unlike an `asyncio.Event` it is used again and again, so setting it costs next to nothing. A
    wait that is cancelled leaves the flag as it was.
    """

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Let the waiter go on, now or when it comes."""
        self._is_set = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for `set`; returns at once if it was called since the last wait."""
        if not self._is_set:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._is_set = False
