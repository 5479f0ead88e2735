"""The nursery that leaves exceptions alone, and the cheap event."""

import pytest
import trio.testing

import trio
from sansrelay_trio._tasks import Wakeup, consists_of, open_background

pytestmark = pytest.mark.trio


class TestOpenBackground:
    async def test_its_tasks_are_cancelled_when_the_block_ends(self) -> None:
        cancelled = trio.Event()

        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.set()

        async with open_background() as nursery:
            nursery.start_soon(task)
            await trio.testing.wait_all_tasks_blocked()
        assert cancelled.is_set()

    async def test_an_error_of_a_task_comes_out_plain(self) -> None:
        async def task() -> None:
            raise ValueError("of the task")

        async def block() -> None:
            async with open_background() as nursery:
                nursery.start_soon(task)
                await trio.sleep_forever()

        with pytest.raises(ValueError, match="of the task"):
            await block()

    @pytest.mark.parametrize(
        ("own", "other", "wanted"),
        [
            (ValueError, KeyError, KeyError),
            (ValueError, KeyboardInterrupt, KeyboardInterrupt),
            (KeyboardInterrupt, KeyError, KeyboardInterrupt),
        ],
    )
    async def test_of_two_exceptions_the_graver_comes_out(
        self,
        own: type[BaseException],
        other: type[BaseException],
        wanted: type[BaseException],
    ) -> None:
        async def task() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise other

        async def block() -> None:
            async with open_background() as nursery:
                nursery.start_soon(task)
                await trio.testing.wait_all_tasks_blocked()
                raise own

        with pytest.raises(wanted):
            await block()

    async def test_cancelling_its_scope_ends_the_block_quietly(self) -> None:
        async with open_background() as nursery:
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    async def test_a_cancellation_from_outside_goes_on_outside(self) -> None:
        with trio.CancelScope() as scope:
            async with open_background() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (KeyError(), True),
        (ValueError(), False),
        (ExceptionGroup("", [KeyError(), ExceptionGroup("", [KeyError()])]), True),
        (ExceptionGroup("", [KeyError(), ValueError()]), False),
    ],
)
async def test_consists_of(error: Exception, wanted: bool) -> None:
    assert consists_of(error, KeyError) is wanted


class TestWakeup:
    async def test_it_wakes_the_waiter_and_is_cleared(self) -> None:
        wakeup = Wakeup()
        woken = 0

        async def waiter() -> None:
            nonlocal woken
            while True:
                await wakeup.wait()
                woken += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiter)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
                wakeup.set()
                wakeup.set()
            await trio.testing.wait_all_tasks_blocked()
            assert woken == 3
            nursery.cancel_scope.cancel()

    async def test_set_before_wait_is_not_lost(self) -> None:
        wakeup = Wakeup()
        wakeup.set()
        with trio.testing.assert_checkpoints():
            await wakeup.wait()

    async def test_a_cancelled_wait_leaves_it_as_it_was(self) -> None:
        wakeup = Wakeup()
        for is_set in (False, True):
            if is_set:
                wakeup.set()
            with trio.CancelScope() as scope:
                scope.cancel()
                await wakeup.wait()
            assert scope.cancelled_caught
        await wakeup.wait()
