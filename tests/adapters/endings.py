"""Rows about the end of a stream: closed, reset, refused."""

from collections.abc import Iterator
from typing import Any

from adapters.loops import PATIENCE
from adapters.streams import MESSAGE
from adapters.table import SMALL, Relay, behaviour
from sansrelay import RelayConfig


@behaviour(
    steps=["done", "done", b"one", False, b"two", "end of stream", "done"],
    harness=["opened, reliable", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def a_close_waits_until_all_is_taken_over(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.send(b"one")
    yield ours.send(b"two")
    closing = ours.later("aclose")
    yield theirs.receive()
    yield closing.is_done
    yield theirs.receive()
    yield theirs.receive()
    yield closing.outcome()


@behaviour(
    steps=[
        "done",
        [b"one", "end of stream"],
        "end of stream",
        "end of stream",
        "ended: closed, by peer",
        "done",
        ("closed here", "closed here", "done"),
        ("done", "done"),
        ("closed, by local", "closed, by peer"),
    ],
    harness=["opened, reliable", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def a_harness_closes(relay: Relay) -> Iterator[object]:
    """The peer gets all messages, and then the end, as often as it asks."""
    ours, theirs = relay.pair()
    yield ours.send(b"one")
    closing = ours.later("aclose")
    yield theirs.receive_all()
    yield theirs.receive()
    yield theirs.receive_nowait()
    yield theirs.send(b"too late")
    yield closing.outcome()
    yield ours.send(b"too late"), ours.receive(), ours.wait_opened()
    yield ours.aclose(), theirs.aclose()
    yield ours.wait_ended(), theirs.wait_ended()


@behaviour(
    steps=["done", [b"one", "end of stream"], "done", ("closed, by peer", "closed, by local")],
    harness=["opened, reliable", "message", "ended: closed, by peer"],
    executor=["opened, reliable", "ended: closed, by local"],
)
def a_handler_that_returns_closes(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield theirs.send(b"one")
    theirs.leave()
    yield ours.receive_all()
    yield ours.aclose()
    yield ours.wait_ended(), theirs.wait_ended()


@behaviour(
    steps=["done", "done", "done", "closed here", "closed, by peer, 2 unknown"],
    harness=["opened, reliable", "message", "ended: closed, by local"],
    executor=["opened, reliable", "ended: closed, by peer, 2 unknown"],
)
def a_close_throws_away_what_was_not_received(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield theirs.send(b"never looked at")
    yield theirs.send(b"this neither")
    ours.wait_arrived(2)
    yield ours.aclose()
    yield ours.receive()
    yield theirs.wait_ended()


@behaviour(
    steps=[
        "done",
        "done",
        b"to us",
        b"to them",
        "done",
        "done",
        ("closed here", "closed here", "done", "done"),
        [b"on its way", "ended: cancelled, by peer"],
        "ended: cancelled, by peer",
    ],
    harness=["opened, reliable", "message", "ended: cancelled, by local, 1 unknown"],
    executor=["opened, reliable", "message", "ended: cancelled, by peer"],
)
def a_reset_ends_both_ends_at_once(relay: Relay) -> Iterator[object]:
    """What came before it is still handed out at the peer, and thrown away here."""
    ours, theirs = relay.pair()
    yield theirs.send(b"to us")
    yield ours.send(b"to them")
    yield ours.receive()
    yield theirs.receive()
    ours.wait_acknowledged(1)
    theirs.wait_acknowledged(1)
    yield ours.send(b"on its way")
    theirs.wait_arrived(2)
    yield ours.reset()
    yield ours.receive(), ours.send(b"x"), ours.wait_opened(), ours.aclose()
    yield theirs.receive_all()
    yield theirs.send(b"x")


@behaviour(
    steps=[
        "done",
        "done",
        "done",
        b"one",
        "done",
        b"an answer, by which ours knows that one was taken",
        "done",
        "ended: tired, by peer, 2 unknown",
        ["ACKNOWLEDGED", "UNKNOWN", "UNKNOWN"],
    ],
    harness=["opened, reliable", "message", "ended: tired, by peer, 2 unknown"],
    executor=["opened, reliable", "message", "ended: tired, by local"],
)
def a_reset_says_what_became_of_each_message(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    for message in (b"one", b"two", b"three"):
        yield ours.send(message)
    yield theirs.receive()
    yield theirs.send(b"an answer, by which ours knows that one was taken")
    yield ours.receive()
    theirs.wait_acknowledged(1)
    theirs.wait_arrived(3)
    yield theirs.reset("tired")
    yield ours.receive()
    yield [ours.raw.ended.outcome(i).name for i in (1, 2, 3)]


@behaviour(
    steps=[
        "misuse: BAD_ARGUMENT",
        "misuse: BAD_ARGUMENT",
        "done",
        b"still there",
        "done",
        "ended: gone fishing, by peer",
        "done",
        "gone fishing, by local",
    ],
    harness=["opened, reliable", "ended: gone fishing, by local"],
    executor=["opened, reliable", "message", "ended: gone fishing, by peer"],
)
def a_reset_for_a_reason_of_ones_own(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.reset(" ")
    yield ours.reset("x" * 257)
    yield ours.send(b"still there")
    yield theirs.receive()
    ours.wait_acknowledged(1)
    yield ours.reset("gone fishing")
    yield theirs.receive()
    yield ours.reset("harmless")
    yield ours.wait_ended()


@behaviour(
    steps=[
        4,
        (False, False),
        "done",
        "ended: enough, by peer, 4 unknown",
        "ended: enough, by peer, 4 unknown",
    ],
    harness=["opened, reliable", "ended: enough, by peer, 4 unknown"],
    executor=["opened, reliable", "message", "ended: enough, by local"],
)
def waiting_tasks_learn_of_a_reset(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=SMALL)
    yield ours.fill(MESSAGE)
    sending, receiving = ours.later("send", MESSAGE), ours.later("receive")
    theirs.wait_arrived(4)
    yield sending.is_done, receiving.is_done
    yield theirs.reset("enough")
    yield sending.outcome()
    yield receiving.outcome()


@behaviour(
    steps=[
        4,
        (False, False),
        "done",
        ("closed here", "closed here"),
        "cancelled, by peer",
    ],
    harness=["opened, reliable", "ended: cancelled, by local, 4 unknown"],
    executor=["opened, reliable", "message", "ended: cancelled, by peer"],
)
def waiting_tasks_learn_of_a_reset_here(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=SMALL)
    yield ours.fill(MESSAGE)
    sending, receiving = ours.later("send", MESSAGE), ours.later("receive")
    theirs.wait_arrived(4)
    yield sending.is_done, receiving.is_done
    yield ours.reset()
    yield sending.outcome(), receiving.outcome()
    yield theirs.wait_ended()


@behaviour(
    steps=[
        4,
        ("closed here", "closed here"),
        (False, False),
        [True, True, True, True],
        "end of stream",
        ("done", "done"),
    ],
    harness=["opened, reliable", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def waiting_tasks_learn_of_a_close_here_before_that_is_done(relay: Relay) -> Iterator[object]:
    """And two tasks may close, and wait for it."""
    ours, theirs = relay.pair(config=SMALL)
    yield ours.fill(MESSAGE)
    sending, receiving = ours.later("send", MESSAGE), ours.later("receive")
    closing = [ours.later("aclose") for _ in range(2)]
    yield sending.outcome(), receiving.outcome()
    yield closing[0].is_done, closing[1].is_done
    yield [theirs.receive() == MESSAGE for _ in range(4)]
    yield theirs.receive()
    yield closing[0].outcome(), closing[1].outcome()


@behaviour(
    steps=[
        "done",
        "cancelled",
        "cancelled, by local, 1 unknown",
        [b"not taken", "ended: cancelled, by peer"],
    ],
    harness=["opened, reliable", "ended: cancelled, by local, 1 unknown"],
    executor=["opened, reliable", "message", "ended: cancelled, by peer"],
)
def a_cancelled_close_resets(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.send(b"not taken")
    theirs.wait_arrived(1)
    yield ours.later("aclose").cancel().outcome()
    yield ours.wait_ended()
    yield theirs.receive_all()


@behaviour(
    steps=["ended: cancelled, by peer", ("done", b"x"), "UP"],
    harness=["opened, reliable", "ended: cancelled, by peer"],
    executor=["opened, reliable", "ended: cancelled, by local", "message"],
    errors=["the handler of stream %s raised"],
)
def a_handler_that_raises_ends_its_own_stream_only(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness()
    first = harness.open_stream()
    first.wait_opened()
    clumsy = executor.accept()
    second = harness.open_stream()
    second.wait_opened()
    steady = executor.accept()
    clumsy.leave(ValueError("a bug of the application"))
    yield first.receive()
    yield second.send(b"x"), steady.receive()
    yield executor.link


@behaviour(
    steps=["misuse: TOO_MANY_STREAMS", ("done", "done"), "end of stream", "done"],
    harness=["opened, reliable", "ended: closed, by peer", "opened, reliable"],
    executor=["opened, reliable", "ended: closed, by local", "opened, reliable"],
)
def a_stream_too_many_for_the_harness(relay: Relay) -> Iterator[object]:
    executor = relay.executor()
    harness = relay.harness(config=RelayConfig(max_streams=2))
    first, second = harness.open_stream(), harness.open_stream()
    yield harness.open_later().outcome()
    yield first.wait_opened(), second.wait_opened()
    executor.accept(second)
    executor.accept(first).leave()
    yield first.receive()
    third = harness.open_stream()
    yield third.wait_opened()
    executor.accept(third)


@behaviour(
    steps=["done", "ended: too_many_streams, by peer", "end of stream", "done"],
    harness=[
        "opened, reliable",
        "ended: too_many_streams, by peer",
        "ended: closed, by peer",
        "opened, reliable",
    ],
    executor=["opened, reliable", "ended: closed, by local", "opened, reliable"],
)
def a_stream_too_many_for_the_executor(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(config=RelayConfig(max_streams=1)), relay.harness()
    first = harness.open_stream()
    yield first.wait_opened()
    theirs = executor.accept()
    yield harness.open_stream().wait_opened()
    theirs.leave()
    yield first.receive()
    third = harness.open_stream()
    yield third.wait_opened()
    executor.accept()


@behaviour(
    steps=[
        "cancelled, by peer",
        "ended: too_many_streams, by peer",
        "done",
    ],
    harness=[
        "opened, reliable",
        "ended: cancelled, by local",
        "opened, reliable",
        "ended: too_many_streams, by peer",
        "opened, reliable",
    ],
    executor=[
        "opened, reliable",
        "ended: cancelled, by peer",
        "opened, reliable",
        "ended: too_many_streams, by local",
        "opened, reliable",
    ],
)
def a_handler_counts_until_it_returns(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(config=RelayConfig(max_streams=1)), relay.harness()
    first = harness.open_stream()
    first.wait_opened()
    theirs = executor.accept()
    first.reset()
    yield theirs.wait_ended()
    yield harness.open_stream().receive()
    theirs.leave()
    executor.loop.run(executor.loop.settle)
    third = harness.open_stream()
    yield third.wait_opened()
    executor.accept(third)


@behaviour(
    steps=[
        "ended: executor_unavailable, by peer",
        ("ended: executor_unavailable, by peer", "ended: executor_unavailable, by peer"),
        "done",
        ("done", b"x"),
    ],
    harness=["ended: executor_unavailable, by peer", "opened, reliable"],
    executor=["opened, reliable", "message"],
)
def without_an_executor(relay: Relay) -> Iterator[object]:
    harness = relay.harness()
    stream = harness.open_stream()
    yield stream.wait_opened()
    yield stream.send(b"x"), stream.receive()
    executor = relay.executor()
    assert relay.middle.has_executor.wait(PATIENCE)
    again = harness.open_stream()
    yield again.wait_opened()
    yield again.send(b"x"), executor.accept().receive()


@behaviour(
    steps=["done", "done", "done", (0, [b"one", b"two", b"in the block"])],
    harness=["opened, reliable", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def a_loop_over_a_stream_ends_when_the_peer_closes(relay: Relay) -> Iterator[object]:
    received: list[bytes] = []

    async def read(stream: Any) -> None:
        received.extend([message async for message in stream])
        async with stream:
            received.append(b"in the block")

    executor = relay.executor(handler=read)
    ours = relay.harness().open_stream()
    for message in (b"one", b"two"):
        yield ours.send(message)
    yield ours.aclose()
    yield executor.wait_for_streams(0), received


@behaviour(
    steps=[[b"x", "end of stream"], None, "closed, by peer"],
    harness=["opened, reliable", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def a_block_closes_its_stream(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness()

    async def talk(raw: Any) -> None:
        async with await raw.open_stream() as stream:
            await stream.send(b"x")

    talking = harness.loop.start(lambda: talk(harness.raw))
    theirs = executor.accept()
    yield theirs.receive_all()
    yield talking.result()
    yield theirs.wait_ended()


@behaviour(
    steps=[
        "done",
        False,
        b"one",
        "done",
        ("done", "closed here"),
        "ended: cancelled, by peer",
    ],
    harness=["opened, reliable", "ended: cancelled, by local, 1 unknown"],
    executor=["opened, reliable", "message", "ended: cancelled, by peer"],
)
def a_message_is_settled_once_the_peer_has_taken_it_over(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.send(b"one")
    waiting = ours.later("wait_settled", 1)
    theirs.wait_arrived(1)
    yield waiting.is_done
    yield theirs.receive()
    yield waiting.outcome()
    ours.send(b"two")
    theirs.wait_arrived(2)
    waiting = ours.later("wait_settled", 2)
    yield ours.reset(), waiting.outcome()
    theirs.wait_ended()
    yield theirs.later("wait_settled", 1).outcome()


@behaviour(
    steps=[(False, False), "done", "done", ("done", "done"), b"still here", "ended: over, by peer"],
    harness=["opened, reliable", "message", "ended: over, by peer"],
    executor=["opened, reliable", "ended: over, by local, 1 unknown"],
)
def the_end_is_waited_for_without_receiving(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    waiting = ours.later("wait_ended"), theirs.later("wait_ended")
    yield waiting[0].is_done, waiting[1].is_done
    yield theirs.send(b"still here")
    ours.wait_arrived(1)
    yield theirs.reset("over")
    yield waiting[0].outcome(), waiting[1].outcome()
    yield ours.receive()
    yield ours.receive()
