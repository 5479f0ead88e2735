"""`RelayStream`, cancelled at each of its checkpoints: nothing is lost, halved or left."""

import pytest
import trio.testing

import trio
from sansrelay import (
    EndedBy,
    Outcome,
    ResetReason,
)
from sansrelay_trio import RelayStream
from trio_net import SMALL, Idle, Relay, cancel_after, echo, expect_nothing, fill, padded

pytestmark = pytest.mark.trio


class TestCancellation:
    async def test_every_operation_is_a_checkpoint(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            with trio.testing.assert_checkpoints():
                stream = await harness.open_stream()
            with trio.testing.assert_checkpoints():
                await stream.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            with trio.testing.assert_checkpoints():
                await stream.receive()
            with trio.testing.assert_checkpoints():
                await stream.wait_opened()
            with trio.testing.assert_checkpoints():
                await stream.aclose()
            with trio.testing.assert_checkpoints():
                await stream.aclose()

    async def test_in_a_cancelled_scope_nothing_is_sent_or_received(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.send(b"one")
            await trio.testing.wait_all_tasks_blocked()
            for operation in (stream.receive, lambda: stream.send(b"two")):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await operation()
                assert scope.cancelled_caught
            assert stream.last_message_id == 1
            assert await stream.receive() == b"one"

    @pytest.mark.parametrize("ticks", range(6))
    async def test_a_cancelled_send_queued_the_whole_message_or_nothing(
        self, relay: Relay, ticks: int
    ) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, ticks, scope)
                    await stream.send(b"perhaps")
                    await trio.sleep_forever()
            sent = stream.last_message_id
            await stream.send(b"surely")
            peer = await idle.accepted()
            received = [await peer.receive() for _ in range(sent + 1)]
            assert received == [b"perhaps"] * sent + [b"surely"]

    async def test_a_send_cancelled_while_it_waits_for_room_queued_nothing(
        self, relay: Relay
    ) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness(SMALL) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            taken = await fill(stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send, padded(b"given up"))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert stream.last_message_id == len(taken)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send, padded(b"after it"))
                peer = await idle.accepted()
                received = [await peer.receive() for _ in range(len(taken) + 1)]
            assert received == [*taken, padded(b"after it")]

    @pytest.mark.parametrize("ticks", range(6))
    async def test_a_cancelled_receive_loses_nothing(self, relay: Relay, ticks: int) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            for i in range(3):
                await stream.send(b"%d" % i)
            await trio.testing.wait_all_tasks_blocked()
            received: list[bytes] = []
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, ticks, scope)
                    received.append(await stream.receive())
                    await trio.sleep_forever()
            received += [await stream.receive() for _ in range(3 - len(received))]
            assert received == [b"0", b"1", b"2"]

    async def test_a_receive_cancelled_while_it_waits_loses_nothing(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_nothing, stream)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await stream.send(b"later")
            assert await stream.receive() == b"later"

    @pytest.mark.parametrize("ticks", range(8))
    async def test_a_cancelled_aclose_resets(self, relay: Relay, ticks: int) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.send(b"not taken")
            await stream.wait_opened()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, ticks, scope)
                    await stream.aclose()
            assert scope.cancelled_caught
            assert stream.ended is not None
            assert stream.ended.known_reason is ResetReason.CANCELLED
            assert stream.ended.by is EndedBy.LOCAL
            assert stream.ended.outcome(1) is Outcome.UNKNOWN
            await trio.testing.wait_all_tasks_blocked()
            peer = await idle.accepted()
            assert peer.ended is not None
            assert peer.ended.known_reason is ResetReason.CANCELLED

    @pytest.mark.parametrize("ticks", range(3))
    async def test_a_cancelled_open_leaves_no_stream_or_a_whole_one(
        self, relay: Relay, ticks: int
    ) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream: RelayStream | None = None
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, ticks, scope)
                    stream = await harness.open_stream()
                    await trio.sleep_forever()
            assert harness.stats().streams_live == (stream is not None)
            if stream is not None:
                await stream.send(b"works")
                assert await stream.receive() == b"works"
