"""`RelayStream`: a channel of whole messages, over a relay in one process."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from asyncio_net import SMALL, Idle, Relay, all_wait, echo, fill, padded, stay
from sansrelay import (
    EndedBy,
    LocalCause,
    LocalProtocolError,
    Outcome,
    Profile,
    RelayConfig,
    ResetReason,
)
from sansrelay_asyncio import Harness, RelayStream, StreamEnded

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def test_messages_come_back_whole_and_in_order(relay: Relay) -> None:
    await relay.start_executor(echo)
    messages = [b"a", b"b" * 70_000, b"c" * 5_000_000, b"d"]
    async with relay.harness() as harness, await harness.open_stream() as stream:

        async def send() -> None:
            for message in messages:
                await stream.send(message)

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert [await stream.receive() for _ in messages] == messages
        assert stream.profile is Profile.RELIABLE
        assert stream.last_message_id == len(messages)


async def test_streams_do_not_mix(relay: Relay) -> None:
    await relay.start_executor(echo)

    async def talk(harness: Harness, name: bytes) -> None:
        async with await harness.open_stream() as stream:
            for i in range(20):
                await stream.send(b"%s %d" % (name, i))
                assert await stream.receive() == b"%s %d" % (name, i)

    async with relay.harness() as one, relay.harness() as two, asyncio.TaskGroup() as group:
        for harness in (one, two):
            for name in (b"x", b"y", b"z"):
                group.create_task(talk(harness, name))


@pytest.mark.parametrize(
    ("message", "cause"),
    [(b"", LocalCause.BAD_ARGUMENT), (bytes(10_001), LocalCause.MESSAGE_TOO_LARGE)],
)
async def test_a_message_that_can_never_be_sent_is_refused_at_once(
    relay: Relay, message: bytes, cause: LocalCause
) -> None:
    config = RelayConfig(max_message_size=10_000, segment_size=10_000)
    async with relay.harness(config) as harness:
        stream = await harness.open_stream()
        with pytest.raises(LocalProtocolError) as caught:
            await stream.send(message)
        assert caught.value.cause is cause
        assert stream.last_message_id == 0
        await stream.send(b"the stream is none the worse")


async def test_send_waits_for_a_slow_reader(relay: Relay) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness(SMALL) as harness, asyncio.TaskGroup() as group:
        stream = await harness.open_stream()
        await stream.wait_opened()
        taken = await fill(stream)
        assert len(taken) == 4
        group.create_task(stream.send(padded(b"last")))
        await all_wait()
        assert stream.last_message_id == 4
        peer = await idle.accepted()
        assert [await peer.receive() for _ in range(5)] == [*taken, padded(b"last")]


async def test_a_slow_reader_slows_no_other_stream(relay: Relay) -> None:
    async def handler(stream: RelayStream) -> None:
        if await stream.receive() == b"echo":
            await echo(stream)
        await stay(stream)

    await relay.start_executor(handler)
    async with relay.harness(SMALL) as harness:
        slow = await harness.open_stream()
        await slow.send(b"be slow")
        await fill(slow)
        quick = await harness.open_stream()
        await quick.send(b"echo")
        for _ in range(10):
            await quick.send(padded(b"x"))
            assert await quick.receive() == padded(b"x")


async def test_a_reader_that_does_not_read_bounds_what_is_held_for_it(relay: Relay) -> None:
    idle = Idle()
    handle = await relay.start_executor(idle)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        await fill(stream, 50_000)
        window = RelayConfig().send_window_bytes
        assert window // 2 < handle.stats().bytes_held <= window + 50_000


async def test_many_senders_take_turns_in_the_order_of_their_calls(relay: Relay) -> None:
    idle = Idle()
    await relay.start_executor(idle)
    async with relay.harness(SMALL) as harness, asyncio.TaskGroup() as group:
        stream = await harness.open_stream()
        await stream.wait_opened()
        taken = await fill(stream)
        waiting = [padded(b"sender %d" % i) for i in range(5)]
        for message in waiting:
            group.create_task(stream.send(message))
            await all_wait()
        with pytest.raises(asyncio.QueueFull):
            stream.send_nowait(b"would fit, but jumps the queue")
        peer = await idle.accepted()
        received = [await peer.receive() for _ in range(len(taken) + 5)]
        assert received == [*taken, *waiting]


async def test_only_one_task_receives(relay: Relay) -> None:
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        first = asyncio.create_task(stream.receive())
        await all_wait()
        with pytest.raises(RuntimeError, match="another task"):
            await stream.receive()
        first.cancel()
        await asyncio.wait([first])


async def test_nowait_says_that_there_is_nothing(relay: Relay) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        with pytest.raises(asyncio.QueueEmpty):
            stream.receive_nowait()
        stream.send_nowait(b"one")
        await all_wait()
        assert stream.receive_nowait() == b"one"


class TestEnd:
    async def test_a_peer_that_closes_ends_the_iteration_after_all_messages(
        self, relay: Relay
    ) -> None:
        async def count(stream: RelayStream) -> None:
            for i in range(5):
                await stream.send(b"%d" % i)

        await relay.start_executor(count)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            assert [message async for message in stream] == [b"0", b"1", b"2", b"3", b"4"]
            assert stream.ended is not None
            assert stream.ended.by is EndedBy.PEER
            with pytest.raises(EOFError):
                await stream.receive()
            with pytest.raises(StreamEnded):
                await stream.send(b"too late")

    async def test_aclose_waits_until_all_is_taken_over(self, relay: Relay) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness() as harness, asyncio.TaskGroup() as group:
            stream = await harness.open_stream()
            await stream.send(b"one")
            await stream.send(b"two")
            group.create_task(stream.aclose())
            await all_wait()
            assert stream.ended is None
            peer = await idle.accepted()
            assert await peer.receive() == b"one"
            await all_wait()
            assert stream.ended is None
            assert await peer.receive() == b"two"
            with pytest.raises(EOFError):
                await peer.receive()
            assert stream.ended is not None
            assert stream.ended.outcome(2) is Outcome.ACKNOWLEDGED

    async def test_messages_received_before_any_other_end_are_handed_out_first(
        self, relay: Relay
    ) -> None:
        async def give_up(stream: RelayStream) -> None:
            await stream.send(b"one")
            await stream.receive()
            stream.reset("out of paper")

        await relay.start_executor(give_up)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await all_wait()
            await stream.send(b"go")
            await all_wait()
            assert stream.ended is not None
            assert await stream.receive() == b"one"
            with pytest.raises(StreamEnded, match=r"the peer.*out of paper") as caught:
                await stream.receive()
            assert caught.value.reset is stream.ended
            assert caught.value.reset.reason == "out of paper"
            assert isinstance(caught.value, ConnectionError)

    @pytest.mark.parametrize(
        "operation",
        [
            RelayStream.receive,
            lambda stream: stream.send(padded(b"x")),
            RelayStream.wait_opened,
        ],
        ids=["receive", "send", "wait_opened"],
    )
    @pytest.mark.parametrize("when", ["before", "meanwhile"])
    async def test_after_a_local_reset_operations_say_closed(
        self, relay: Relay, operation: Callable[[RelayStream], Awaitable[object]], when: str
    ) -> None:
        # No executor: nothing is received, opened, or acknowledged.
        async with relay.harness(SMALL) as harness, asyncio.TaskGroup() as group:
            stream = await harness.open_stream()
            await fill(stream)
            if when == "before":
                stream.reset()

            async def use() -> None:
                with pytest.raises(ConnectionAbortedError):
                    await operation(stream)

            group.create_task(use())
            await all_wait()
            stream.reset()
            assert stream.ended is not None

    @pytest.mark.parametrize(
        "operation",
        [RelayStream.receive, lambda stream: stream.send(padded(b"x"))],
        ids=["receive", "send"],
    )
    async def test_a_waiting_task_learns_of_the_end(
        self, relay: Relay, operation: Callable[[RelayStream], Awaitable[object]]
    ) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness(SMALL) as harness, asyncio.TaskGroup() as group:
            stream = await harness.open_stream()
            await stream.wait_opened()
            await fill(stream)

            async def use() -> None:
                with pytest.raises(StreamEnded, match="cancelled"):
                    await operation(stream)

            group.create_task(use())
            await all_wait()
            (await idle.accepted()).reset()

    async def test_a_task_that_receives_learns_of_aclose_before_that_is_done(
        self, relay: Relay
    ) -> None:
        idle = Idle()
        await relay.start_executor(idle)
        async with relay.harness() as harness, asyncio.TaskGroup() as group:
            stream = await harness.open_stream()
            await stream.send(b"not taken yet")

            async def use() -> None:
                with pytest.raises(ConnectionAbortedError):
                    await stream.receive()

            told = group.create_task(use())
            await all_wait()
            group.create_task(stream.aclose())
            await told
            assert stream.ended is None
            await (await idle.accepted()).receive()

    async def test_closing_and_resetting_again_is_harmless(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await asyncio.gather(stream.aclose(), stream.aclose())
            ended = stream.ended
            await stream.aclose()
            stream.reset("another reason")
            assert stream.ended is ended
            assert ended is not None
            assert ended.known_reason is ResetReason.CLOSED
            with pytest.raises(ConnectionAbortedError):
                await stream.receive()

    async def test_a_bad_reason_changes_nothing(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            with pytest.raises(LocalProtocolError) as caught:
                stream.reset(" ")
            assert caught.value.cause is LocalCause.BAD_ARGUMENT
            await stream.send(b"alive")
            assert await stream.receive() == b"alive"


async def test_a_stream_opens_once_there_is_an_executor(relay: Relay) -> None:
    async with relay.harness() as harness:
        stream = await harness.open_stream("my-own-id")
        assert stream.stream_id == "my-own-id"
        assert stream.profile is None
        await stream.send(b"early")
        await asyncio.sleep(5)
        await relay.start_executor(echo)
        await stream.wait_opened()
        assert stream.profile is Profile.RELIABLE
        assert await stream.receive() == b"early"


class TestWaits:
    async def test_each_message_is_settled_when_the_peer_has_taken_it_over(
        self, relay: Relay
    ) -> None:
        handler, settled = Idle(), list[int]()
        await relay.start_executor(handler)
        async with relay.harness() as harness:
            stream = await harness.open_stream()

            async def wait(number: int) -> None:
                await stream.wait_settled(number)
                settled.append(number)

            async with asyncio.TaskGroup() as group:
                for number in (2, 1, 2):
                    group.create_task(wait(number))
                for message in (b"one", b"two"):
                    await stream.send(message)
                peer = await handler.accepted()
                await all_wait()
                assert settled == []
                assert await peer.receive() == b"one"
                async with asyncio.timeout(60):
                    while not settled:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                assert settled == [1]
                assert await peer.receive() == b"two"
            assert settled == [1, 2, 2]
            await stream.wait_settled(2)

    async def test_a_message_is_not_settled_by_the_end(self, relay: Relay) -> None:
        handler = Idle()
        await relay.start_executor(handler)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.send(b"x")
            peer = await handler.accepted()
            peer.reset("enough")
            with pytest.raises(StreamEnded, match="enough"):
                await stream.wait_settled(1)
            with pytest.raises(ConnectionAbortedError):
                await peer.wait_settled(1)

    async def test_the_end_is_told_whatever_it_is(self, relay: Relay) -> None:
        handler = Idle()
        await relay.start_executor(handler)
        async with relay.harness() as harness:
            stream = await harness.open_stream()
            await stream.send(b"not received")
            peer = await handler.accepted()
            stream.reset("enough")
            here, there = await stream.wait_ended(), await peer.wait_ended()
            assert (here.reason, here.by) == ("enough", EndedBy.LOCAL)
            assert (there.reason, there.by) == ("enough", EndedBy.PEER)
            assert await peer.receive() == b"not received"
