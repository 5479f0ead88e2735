"""The task group that leaves exceptions alone, and the cheap event."""

import asyncio

import pytest

from asyncio_net import all_wait
from sansrelay_asyncio._tasks import Wakeup, consists_of, open_background

pytestmark = [
    pytest.mark.asyncio(loop_factories=["virtual"]),
    pytest.mark.usefixtures("complaints"),
]


class TestOpenBackground:
    async def test_its_tasks_are_cancelled_when_the_block_ends(self) -> None:
        async with open_background() as tasks:
            task = tasks.start(asyncio.sleep(1000))
            await all_wait()
        assert task.cancelled()

    async def test_an_error_of_a_task_comes_out_plain(self) -> None:
        async def fail() -> None:
            raise ValueError("of the task")

        async def block() -> None:
            async with open_background() as tasks:
                tasks.start(fail())
                await asyncio.sleep(1000)

        with pytest.raises(ValueError, match="of the task"):
            await block()
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0

    async def test_of_two_errors_that_of_the_task_comes_out(self) -> None:
        async def fail() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                raise KeyError("of the task")

        async def block() -> None:
            async with open_background() as tasks:
                tasks.start(fail())
                await all_wait()
                raise ValueError("of the block")

        with pytest.raises(KeyError):
            await block()

    @pytest.mark.parametrize("raises", [False, True])
    async def test_a_cancellation_goes_on_outside_unless_an_error_takes_its_place(
        self, raises: bool
    ) -> None:
        async def block() -> None:
            async with open_background() as tasks:
                tasks.start(asyncio.sleep(1000))
                try:
                    await asyncio.sleep(1000)
                finally:
                    if raises:
                        raise ValueError("in cleanup")

        task = asyncio.create_task(block())
        await all_wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() is not raises
        assert not raises or isinstance(task.exception(), ValueError)


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
        wakeup, woken = Wakeup(), 0

        async def waiter() -> None:
            nonlocal woken
            while True:
                await wakeup.wait()
                woken += 1

        task = asyncio.create_task(waiter())
        for _ in range(3):
            await all_wait()
            wakeup.set()
            wakeup.set()
        await all_wait()
        assert woken == 3
        task.cancel()
        await asyncio.wait([task])

    async def test_a_cancelled_wait_leaves_it_as_it_was(self) -> None:
        wakeup = Wakeup()
        task = asyncio.create_task(wakeup.wait())
        await all_wait()
        wakeup.set()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await wakeup.wait()
