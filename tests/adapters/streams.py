"""Rows about one stream: opened, sent to, received from."""

from collections.abc import Iterator

from adapters.table import SMALL, Relay, behaviour
from sansrelay import ProfilePolicy, RelayConfig

KIB = 1024
MIB = 1024 * KIB
MESSAGE = bytes(1000)
"""Four of them fill the buffers of `SMALL`."""


@behaviour(
    steps=["done", "done", b"one", b"two", "done", b"three"],
    harness=["opened, reliable", "message"],
    executor=["opened, reliable", "message"],
)
def messages_go_both_ways_in_order(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.send(b"one")
    yield ours.send(b"two")
    yield theirs.receive()
    yield theirs.receive()
    yield theirs.send(b"three")
    yield ours.receive()


@behaviour(
    steps=[
        "done",
        (b"x", "my own id"),
        "misuse: STREAM_EXISTS",
        "misuse: BAD_ARGUMENT",
        "misuse: BAD_ARGUMENT",
        1,
    ],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def a_stream_keeps_the_id_it_was_given(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness()
    ours = harness.open_stream("my own id")
    yield ours.send(b"x")
    theirs = executor.accept()
    yield theirs.receive(), theirs.raw.stream_id
    yield harness.open_later("my own id").outcome()
    yield harness.open_later("").outcome()
    yield harness.open_later("x" * 129).outcome()
    yield harness.streams_live


@behaviour(
    steps=[
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
        ("done", True),
    ],
    harness=["opened, reliable", "message"],
    executor=["opened, reliable", "message"],
)
def messages_of_all_sizes_come_back(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    for size in (1, 60 * KIB, 60 * KIB + 1, 2 * MIB):
        message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        yield ours.send(message), theirs.receive() == message
        yield theirs.send(message), ours.receive() == message
    largest = bytes(16 * MIB)
    yield ours.send(largest), theirs.receive() == largest


@behaviour(
    steps=[
        "misuse: BAD_ARGUMENT",
        "misuse: BAD_ARGUMENT",
        "misuse: MESSAGE_TOO_LARGE",
        "misuse: MESSAGE_TOO_LARGE",
        "done",
        b"fine",
        1,
    ],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def a_message_that_can_never_be_sent_changes_nothing(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=RelayConfig(max_message_size=MIB))
    for message in (b"", bytes(MIB + 1)):
        yield ours.send(message)
        yield ours.send_nowait(message)
    yield ours.send(b"fine")
    yield theirs.receive()
    yield ours.raw.last_message_id


@behaviour(
    steps=["would wait", "done", b"x", "would wait"],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def there_is_nothing_to_receive_yet(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield theirs.receive_nowait()
    waiting = theirs.later("receive")
    yield ours.send(b"x")
    yield waiting.outcome()
    yield theirs.receive_nowait()


@behaviour(
    steps=["busy", "done", b"x", "done", b"y"],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def one_task_receives_at_a_time(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    waiting = theirs.later("receive")
    yield theirs.receive()
    yield ours.send(b"x")
    yield waiting.outcome()
    yield ours.send(b"y")
    yield theirs.receive()


@behaviour(
    steps=[
        4,
        ("would wait", False),
        [True, True, True, True, True],
        "done",
        ("done", b"now there is room"),
    ],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def a_stream_that_is_not_read_takes_what_its_buffer_holds(relay: Relay) -> Iterator[object]:
    """Four messages of 1000 bytes, and the fifth waits until the reader takes over the first."""
    ours, theirs = relay.pair(config=SMALL)
    yield ours.fill(MESSAGE)
    waiting = ours.later("send", MESSAGE)
    yield ours.send_nowait(b"out of turn"), waiting.is_done
    yield [theirs.receive() == MESSAGE for _ in range(5)]
    yield waiting.outcome()
    yield ours.send_nowait(b"now there is room"), theirs.receive()


@behaviour(
    steps=[4, ("done", True), "would wait"],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message", "opened, reliable", "message"],
)
def a_slow_reader_slows_no_other_stream(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(config=SMALL), relay.harness(config=SMALL)
    slow = harness.open_stream()
    slow.wait_opened()
    unread = executor.accept()
    yield slow.fill(MESSAGE)
    unread.wait_arrived(4)
    quick = harness.open_stream()
    quick.wait_opened()
    theirs = executor.accept()
    for _ in range(10):
        sent, received = quick.send(MESSAGE), theirs.receive()
    yield sent, received == MESSAGE
    yield slow.send_nowait(MESSAGE)


@behaviour(
    steps=[
        4,
        [False, False, False],
        [True, True, True, True],
        [True, True, True],
        ["done", "done", "done"],
    ],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def senders_take_turns_in_the_order_of_their_calls(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=SMALL)
    yield ours.fill(MESSAGE)
    messages = [b"%d" % i + MESSAGE for i in range(3)]
    waiting = [ours.later("send", each) for each in messages]
    yield [each.is_done for each in waiting]
    yield [theirs.receive() == MESSAGE for _ in range(4)]
    yield [theirs.receive() == each for each in messages]
    yield [each.outcome() for each in waiting]


@behaviour(
    steps=[
        "done",
        "BASIC",
        b"one",
        ("done", b"two"),
        "done",
        "ended: cancelled, by peer, 1 unknown",
    ],
    harness=["opened, basic", "message", "ended: cancelled, by local, 1 unknown"],
    executor=["opened, basic", "message", "ended: cancelled, by peer, 1 unknown"],
)
def a_basic_harness_gets_its_messages_through(relay: Relay) -> Iterator[object]:
    executor = relay.executor()
    ours = relay.harness(config=RelayConfig(profile=ProfilePolicy.BASIC)).open_stream()
    yield ours.send(b"one")
    theirs = executor.accept()
    yield theirs.raw.profile.name
    yield theirs.receive()
    yield theirs.send(b"two"), ours.receive()
    yield ours.reset()
    yield theirs.receive()


@behaviour(
    steps=["done", b"one", ("done", b"two"), "BASIC", ("done", "ended: tired, by peer, 1 unknown")],
    harness=["opened, basic", "message", "ended: tired, by peer, 1 unknown"],
    executor=["opened, basic", "message", "ended: tired, by local, 1 unknown"],
)
def a_basic_executor_gets_its_messages_through(relay: Relay) -> Iterator[object]:
    executor = relay.executor(config=RelayConfig(profile=ProfilePolicy.BASIC))
    ours = relay.harness().open_stream()
    yield ours.send(b"one")
    theirs = executor.accept()
    yield theirs.receive()
    yield theirs.send(b"two"), ours.receive()
    yield ours.raw.profile.name
    yield theirs.reset("tired"), ours.receive()


@behaviour(
    steps=["ended: profile_refused, by peer"],
    harness=["opened, basic", "ended: profile_refused, by peer"],
    executor=[],
)
def a_basic_peer_is_refused_where_a_reliable_one_is_asked_for(relay: Relay) -> Iterator[object]:
    relay.executor(config=RelayConfig(profile=ProfilePolicy.RELIABLE))
    ours = relay.harness(config=RelayConfig(profile=ProfilePolicy.BASIC)).open_stream()
    yield ours.receive()  # the opening alone is refused; a message may come before the reset or not
