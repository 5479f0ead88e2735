"""Small tools: a nursery that leaves exceptions alone, a look into groups, a cheap event."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

__all__ = ["Wakeup", "consists_of", "open_background"]


@asynccontextmanager
async def open_background() -> AsyncGenerator[trio.Nursery]:
    """A nursery for tasks that serve its block, and are cancelled when the block ends.

    An exception of the block comes out as it is, never in a group. Tasks are expected to deal with
    their own errors, so what comes out of one is a bug or an interrupt; it comes out as it is too,
    and before an ordinary exception of the block, which was cancelled because of it.
    """
    own: BaseException | None = None
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except trio.Cancelled:
                raise
            except BaseException as error:
                # A nursery would make a copy of a group.
                own = error
                raise _BlockRaised from None
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raised = min(group.exceptions, key=_rank)
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
    """Stands in for the block's exception inside the nursery."""


def _rank(error: BaseException) -> int:
    """What matters most: an interrupt, an error of a task, the block's own, a cancellation.

    Leaving out a `Cancelled` beside an error is what code without a nursery does as well: the
    error takes its place.
    """
    if isinstance(error, trio.Cancelled):
        return 3
    if isinstance(error, _BlockRaised):
        return 2
    return 1 if isinstance(error, Exception) else 0


def consists_of(error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Whether an exception is of one of these kinds, or a group of nothing else."""
    if isinstance(error, ExceptionGroup):
        return error.split(kinds)[1] is None
    return isinstance(error, kinds)


class Wakeup:
    """A flag that any code sets, and one task waits for and clears.

    Unlike a `trio.Event` it is used again and again, so setting it costs next to nothing.
    """

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Let the waiter go on, now or when it comes."""
        self._is_set = True
        if self._waiter is not None:
            trio.lowlevel.reschedule(self._waiter)
            self._waiter = None

    async def wait(self) -> None:
        """Wait for `set`, unless it was called since the last wait. Always a checkpoint."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            self._waiter = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        self._is_set = False

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED
