"""`RelayStream`, cancelled wherever it can be: nothing is lost, halved or left."""

import asyncio
from collections.abc import Coroutine

import pytest

from asyncio_net import SMALL, Idle, Relay, after_ticks, all_wait, echo, fill, padded
from sansrelay import EndedBy, Outcome, ResetReason
from sansrelay_asyncio import RelayStream

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def cancelled(work: Coroutine[object, object, object]) -> None:
    """Start something, let it wait, and cancel it."""
    task = asyncio.create_task(work)
    await all_wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def cancelled_after(ticks: int, work: Coroutine[object, object, object]) -> bool:
    """Start something and cancel it after some turns of the loop; whether it was cancelled."""
    task = asyncio.create_task(work)
    await after_ticks(ticks, task)
    await asyncio.wait([task])
    return task.cancelled()


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancelled_send_queued_the_whole_message_or_nothing(
    relay: Relay, ticks: int
) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        was_cancelled = await cancelled_after(ticks, stream.send(b"perhaps"))
        sent = stream.last_message_id
        assert sent == (not was_cancelled)
        await stream.send(b"surely")
        peer = await idle.accepted()
        received = [await peer.receive() for _ in range(sent + 1)]
        assert received == [b"perhaps"] * sent + [b"surely"]


async def test_a_send_cancelled_while_it_waits_for_room_queued_nothing(relay: Relay) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness(SMALL) as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        taken = await fill(stream)
        await cancelled(stream.send(padded(b"given up")))
        assert stream.last_message_id == len(taken)
        async with asyncio.TaskGroup() as group:
            group.create_task(stream.send(padded(b"after it")))
            peer = await idle.accepted()
            received = [await peer.receive() for _ in range(len(taken) + 1)]
        assert received == [*taken, padded(b"after it")]


def cancel_with_news(stream: RelayStream, task: asyncio.Task[None] | asyncio.Task[bytes]) -> None:
    """Cancel a task in the turn in which it is woken, before it runs."""
    notify = stream._core.notify

    def notify_and_cancel() -> None:
        stream._core.notify = notify
        notify()
        task.cancel()

    stream._core.notify = notify_and_cancel


async def test_a_send_cancelled_in_the_turn_in_which_room_appears(relay: Relay) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness(SMALL) as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        taken = await fill(stream)
        task = asyncio.create_task(stream.send(padded(b"given up")))
        await all_wait()
        cancel_with_news(stream, task)
        peer = await idle.accepted()
        received = [await peer.receive() for _ in taken]
        await asyncio.wait([task])
        assert task.cancelled()
        assert stream.last_message_id == len(taken)
        await stream.send(padded(b"after it"))
        assert [*received, await peer.receive()] == [*taken, padded(b"after it")]


@pytest.mark.parametrize("ticks", range(4))
async def test_a_cancelled_receive_loses_nothing(relay: Relay, ticks: int) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        for i in range(3):
            await stream.send(b"%d" % i)
        await all_wait()
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await stream.receive())

        await cancelled_after(ticks, receive())
        received += [await stream.receive() for _ in range(3 - len(received))]
        assert received == [b"0", b"1", b"2"]


async def test_a_receive_cancelled_in_the_turn_in_which_a_message_comes_loses_nothing(
    relay: Relay,
) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        task = asyncio.create_task(stream.receive())
        await all_wait()
        cancel_with_news(stream, task)
        await stream.send(b"one")
        await asyncio.wait([task])
        assert task.cancelled()
        assert await stream.receive() == b"one"


async def test_a_receive_cancelled_while_it_waits_loses_nothing(relay: Relay) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await cancelled(stream.receive())
        await stream.send(b"later")
        assert await stream.receive() == b"later"


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancelled_aclose_resets(relay: Relay, ticks: int) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.send(b"not taken")
        await stream.wait_opened()
        # Before its first turn a task has done nothing that could be undone.
        assert await cancelled_after(ticks + 1, stream.aclose())
        assert stream.ended is not None
        assert stream.ended.known_reason is ResetReason.CANCELLED
        assert stream.ended.by is EndedBy.LOCAL
        assert stream.ended.outcome(1) is Outcome.UNKNOWN
        await all_wait()
        peer = await idle.accepted()
        assert peer.ended is not None
        assert peer.ended.known_reason is ResetReason.CANCELLED


async def test_a_timeout_bounds_aclose(relay: Relay) -> None:
    await relay.start_executor(Idle())
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.send(b"not taken")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await stream.aclose()
        assert stream.ended is not None


@pytest.mark.parametrize("ticks", range(3))
async def test_a_cancelled_open_leaves_no_stream_or_a_whole_one(relay: Relay, ticks: int) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        opened: list[RelayStream] = []

        async def open_one() -> None:
            opened.append(await harness.open_stream())

        await cancelled_after(ticks, open_one())
        assert harness.stats().streams_live == len(opened)
        for stream in opened:
            await stream.send(b"works")
            assert await stream.receive() == b"works"
