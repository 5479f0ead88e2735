"""Windows, slow readers, segmentation, and who sends when."""

from collections import Counter
from collections.abc import Callable

import pytest

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    FrameCause,
    FrameRejected,
    LocalCause,
    LocalProtocolError,
    RelayConfig,
    Retransmit,
    Role,
    SendCapacityAvailable,
    StreamReset,
    StreamState,
)
from sansrelay.frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from sansrelay.scheduler import QUANTUM
from sansrelay.testing import RelayPair
from wirekit import (
    OWN,
    PEER,
    SID,
    Wire,
    ack,
    data,
    decode,
    heartbeat,
    of_kind,
    open_end,
    open_opener,
    own_of,
    reset,
    resume,
    seqs,
)

both_roles = pytest.mark.parametrize("role", Role)


def filled(role: Role, messages: int, config: RelayConfig) -> Wire:
    """An open stream with so many messages handed over and all sent that may be."""
    wire = open_end(role, config)
    for _ in range(messages):
        wire.conn.send_data(SID, b"x")
    return wire


# -- the send window


@both_roles
def test_the_window_is_counted_in_segments(role: Role) -> None:
    wire = filled(role, 9, RelayConfig(send_window_segments=4))
    assert seqs(wire.sent()) == [1, 2, 3, 4]
    assert seqs(wire.talk(ack(1))) == [5]
    assert seqs(wire.talk(ack(4, 0b1))) == [6, 7, 8]


@both_roles
def test_the_window_is_counted_in_bytes(role: Role) -> None:
    wire = open_end(role, RelayConfig(send_window_bytes=100))
    for _ in range(5):
        wire.conn.send_data(SID, b"x" * 40)
    assert seqs(wire.sent()) == [1, 2]
    assert seqs(wire.talk(ack(1))) == [3]


@both_roles
def test_one_segment_may_always_be_under_way(role: Role) -> None:
    wire = open_end(role, RelayConfig(send_window_bytes=10))
    wire.conn.send_data(SID, b"x" * 50)
    wire.conn.send_data(SID, b"x" * 50)
    assert seqs(wire.sent()) == [1]
    assert seqs(wire.talk(ack(1))) == [2]


@both_roles
def test_bits_do_not_open_the_window(role: Role) -> None:
    wire = filled(role, 9, RelayConfig(send_window_segments=4))
    wire.sent()
    assert wire.talk(ack(0, 0b1111)) == []


# -- a slow reader, seen by the sender


def slow(report: AckFrame) -> Callable[[Frame], Frame | None]:
    """A peer that answers what it is asked, and whose reader does nothing."""
    return lambda frame: report if isinstance(frame, HeartbeatFrame) else None


@both_roles
def test_what_a_slow_reader_holds_is_not_asked_for_nor_sent_again(role: Role) -> None:
    wire = filled(role, 4, RelayConfig(send_window_segments=4))
    wire.sent()
    wire.give(ack(0, 0b1111))
    sent = wire.timeline(300, slow(ack(0, 0b1111)))
    assert {type(frame) for _, frame in sent} == {HeartbeatFrame}
    assert wire.events() == []
    assert wire.state is StreamState.OPEN


@both_roles
def test_the_sender_probes_a_slow_reader_at_the_pace_of_the_rto(role: Role) -> None:
    wire = filled(role, 1, RelayConfig(initial_rto=1, min_rto=1, max_rto=4))
    wire.sent()
    wire.give(ack(0, 0b1))
    sent = wire.timeline(20, slow(ack(0, 0b1)))
    assert [at for at, _ in sent] == [1, 3, 7, 11, 15, 19]


@both_roles
def test_an_ack_that_stands_still_does_not_end_a_stream(role: Role) -> None:
    wire = filled(role, 2, RelayConfig(resume_timeout=60))
    wire.sent()
    wire.give(ack(0, 0b11))
    wire.timeline(1000, slow(ack(0, 0b11)))
    assert wire.state is StreamState.OPEN
    wire.give(ack(2))
    assert [event.message_id for event in wire.events_of(DataAcknowledged)] == [2]
    assert wire.wait(10) == []


@both_roles
def test_a_resume_that_shows_everything_held_goes_on_with_probes(role: Role) -> None:
    wire = filled(role, 1, RelayConfig(initial_rto=1, min_rto=1))
    wire.sent()
    wire.give(ack(0, 0b1))
    wire.cut()
    wire.join()
    assert wire.talk(resume(1, PEER, own_of(role), True, bits=0b1)) == []
    assert wire.timeline(1) == [(1, heartbeat())]


@both_roles
def test_the_back_off_of_the_probes_ends_when_the_reader_moves(role: Role) -> None:
    wire = filled(role, 1, RelayConfig(initial_rto=1, min_rto=1, max_rto=16))
    wire.sent()
    wire.give(ack(0, 0b1))
    wire.timeline(20, slow(ack(0, 0b1)))
    wire.give(ack(1))
    wire.conn.send_data(SID, b"x")
    assert [at for at, _ in wire.timeline(1.5)] == [20, 21]


@both_roles
def test_a_sender_whose_probes_are_not_answered_asks_and_gives_up_in_the_end(role: Role) -> None:
    wire = filled(role, 1, RelayConfig(resume_timeout=60))
    wire.sent()
    wire.give(ack(0, 0b1))
    frames = wire.wait(61)
    assert isinstance(frames[0], HeartbeatFrame)
    assert {type(frame) for frame in frames[1:-1]} == {ResumeFrame}
    assert frames[-1] == reset("timeout")


@both_roles
def test_what_lies_beyond_the_32_reported_segments_is_not_asked_for_by_timer(role: Role) -> None:
    wire = filled(role, 60, RelayConfig())
    wire.sent()
    wire.give(ack(0, 0xFFFFFFFF))
    assert [type(frame) for frame in wire.wait(0.3)] == [HeartbeatFrame]


@both_roles
def test_what_is_missing_among_the_32_is_asked_for_by_timer(role: Role) -> None:
    wire = filled(role, 60, RelayConfig(reorder_threshold=31))
    wire.sent()
    wire.give(ack(0, 0x7FFFFFFE))
    assert [type(frame) for frame in wire.wait(0.3)] == [ResumeFrame]


# -- a slow reader, seen by the receiver


@both_roles
def test_a_slow_reader_sets_bits_and_withholds_the_ack(role: Role) -> None:
    wire = open_end(role)
    wire.give(*[data(seq) for seq in range(1, 41)])
    assert of_kind(AckFrame, wire.wait(1))[-1] == ack(0, 0xFFFFFFFF)
    assert wire.talk(heartbeat()) == [ack(0, 0xFFFFFFFF)]
    wire.conn.consume(SID, 10)
    assert of_kind(AckFrame, wire.wait(1))[-1] == ack(10, 0x3FFFFFFF)


@both_roles
def test_segments_of_an_incomplete_message_after_a_withheld_one_are_withheld_too(
    role: Role,
) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2, b"a", index=0, count=3), data(3, b"b", index=1, count=3))
    assert wire.wait(1) == [ack(0, 0b111)]
    wire.conn.consume(SID, 1)
    assert wire.wait(1) == [ack(3)]
    wire.give(data(4, b"c", index=2, count=3))
    assert wire.wait(1) == [ack(3, 0b1)]
    wire.conn.consume(SID, 1)
    assert wire.wait(1) == [ack(4)]


@both_roles
def test_a_stream_beyond_its_receive_window_in_bytes_drops_and_counts(role: Role) -> None:
    wire = open_end(role, RelayConfig(receive_window_bytes=100, segment_size=50))
    wire.give(*[data(seq, b"x" * 50) for seq in (1, 2, 3)])
    assert wire.conn.stats().dropped == {FrameCause.WINDOW_OVERRUN: 1}
    assert wire.wait(1) == [ack(0, 0b11)]
    wire.conn.consume(SID, 1)
    wire.give(data(3, b"x" * 50))
    assert wire.wait(1) == [ack(1, 0b11)]


def test_the_receive_buffer_of_a_connection_is_shared_and_each_stream_still_moves() -> None:
    config = RelayConfig(receive_buffer_size=800, max_message_size=100, segment_size=50)
    wire = Wire(Role.HARNESS, config)
    for sid in "ab":
        wire.conn.open_stream(sid)
        wire.give(resume(1, PEER, OWN, sid=sid))
    wire.give(data(1, b"x" * 80, sid="a"))
    # b has nothing and is next in order; a has something that is not read.
    wire.give(data(1, b"y" * 50, sid="b"))
    wire.give(data(2, b"x" * 50, sid="a"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}
    assert [event.stream_id for event in wire.events_of(DataReceived)] == ["a", "b"]
    wire.conn.consume("a", 1)
    wire.give(data(2, b"x" * 50, sid="a"))
    assert [event.stream_id for event in wire.events_of(DataReceived)] == ["a"]
    wire.conn.reset_stream("a")
    wire.conn.reset_stream("b")
    assert wire.conn.stats().bytes_held == 0


# -- both together


def slow_pair(config: RelayConfig) -> RelayPair:
    """A pair with one open stream, whose executor does not read."""
    pair = RelayPair(config=config)
    pair.harness.conn.open_stream(SID)
    assert pair.run(1, until=lambda: pair.executor.conn.stream_state(SID) is StreamState.OPEN)
    pair.executor.reading = False
    return pair


def test_a_slow_reader_closes_the_window_and_nothing_is_lost_or_repeated() -> None:
    config = RelayConfig(send_window_segments=8, send_window_bytes=1 << 20, resume_timeout=100)
    pair = slow_pair(config)
    sent = [b"%d" % number for number in range(50)]
    for message in sent:
        pair.harness.conn.send_data(SID, message)
    pair.run(1000)
    received = pair.executor.received[SID]
    assert received == sent[:8]
    assert pair.harness.ended == {}
    assert pair.harness.conn.stats().segments_sent == 8
    for reads in range(1, 6):
        pair.executor.read()
        pair.run(100)
        assert len(received) == 8 * (reads + 1)
    pair.executor.reading = True
    pair.executor.read()
    assert pair.run(100, until=lambda: received == sent)
    assert pair.harness.events_of(Retransmit) == []
    assert pair.executor.conn.stats().duplicates_dropped == 0


def test_a_slow_reader_does_not_slow_other_streams() -> None:
    pair = slow_pair(RelayConfig(send_window_segments=8))
    pair.harness.conn.open_stream("fast")
    for _ in range(50):
        pair.harness.conn.send_data(SID, b"x")
    pair.run(1)
    for _ in range(50):
        pair.harness.conn.send_data("fast", b"x")

    def served() -> bool:
        unread = len(pair.executor.received.get("fast", []))
        pair.executor.conn.consume("fast", unread - consumed[0])
        consumed[0] = unread
        return unread == 50

    consumed = [0]
    assert pair.run(2, until=served)
    assert len(pair.executor.received[SID]) == 8


def test_a_message_larger_than_every_window_does_not_deadlock() -> None:
    config = RelayConfig(
        segment_size=100,
        send_window_segments=4,
        send_window_bytes=400,
        receive_window_segments=8,
        receive_window_bytes=800,
    )
    pair = slow_pair(config)
    large = bytes(range(256)) * 40
    pair.harness.conn.send_data(SID, large)
    assert pair.run(60, until=lambda: pair.executor.received.get(SID) == [large])
    pair.harness.conn.send_data(SID, large)
    pair.run(60)
    # The second waits until the first is read.
    assert len(pair.executor.received[SID]) == 1
    pair.executor.read()
    assert pair.run(60, until=lambda: pair.executor.received[SID] == [large, large])


# -- the send buffer


@both_roles
def test_a_message_is_taken_if_it_fits_the_capacity(role: Role) -> None:
    config = RelayConfig(send_buffer_size=100, max_message_size=1000, segment_size=1000)
    wire = open_end(role, config)
    assert wire.conn.send_capacity(SID) == 1000
    wire.conn.send_data(SID, b"x" * 70)
    assert wire.conn.send_capacity(SID) == 30
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.send_data(SID, b"x" * 31)
    assert caught.value.cause is LocalCause.NO_CAPACITY
    wire.conn.send_data(SID, b"x" * 30)
    assert wire.conn.send_capacity(SID) == 0


@both_roles
def test_an_empty_buffer_takes_one_message_of_any_size(role: Role) -> None:
    config = RelayConfig(send_buffer_size=100, max_message_size=1000, segment_size=1000)
    wire = open_end(role, config)
    wire.conn.send_data(SID, b"x" * 1000)
    assert wire.conn.send_capacity(SID) == 0


@both_roles
def test_the_buffer_is_limited_in_messages_too(role: Role) -> None:
    wire = filled(role, 3, RelayConfig(send_buffer_messages=3))
    assert wire.conn.send_capacity(SID) == 0
    wire.sent()
    wire.give(ack(1))
    assert wire.conn.send_capacity(SID) > 0


@both_roles
def test_capacity_is_told_when_the_buffer_falls_to_half_and_when_it_is_empty(role: Role) -> None:
    wire = open_end(role, RelayConfig(send_buffer_size=100))
    for _ in range(10):
        wire.conn.send_data(SID, b"x" * 10)
    wire.sent()
    told = []
    for number in range(1, 11):
        wire.give(ack(number))
        if wire.events_of(SendCapacityAvailable):
            told.append(number)
    assert told == [5, 10]


# -- segmentation


@both_roles
def test_messages_are_cut_towards_a_reliable_peer(role: Role) -> None:
    wire = open_end(role, RelayConfig(segment_size=10))
    wire.conn.send_data(SID, b"abcdefghij")
    wire.conn.send_data(SID, b"abcdefghijk")
    assert wire.sent() == [
        data(1, b"abcdefghij"),
        data(2, b"abcdefghij", index=0, count=2),
        data(3, b"k", index=1, count=2),
    ]


@both_roles
def test_segments_are_joined_whatever_their_order(role: Role) -> None:
    wire = open_end(role)
    parts = [data(seq, b"%d" % seq, index=seq - 1, count=4) for seq in range(1, 5)]
    for index in (2, 0, 3, 1):
        wire.give(parts[index])
    assert [event.data for event in wire.events_of(DataReceived)] == [b"1234"]


@both_roles
@pytest.mark.parametrize(
    "frames",
    [
        [data(1, b"a", index=1, count=2)],
        [data(1, b"a", index=0, count=3), data(2, b"b", index=2, count=3)],
        [data(1, b"a", index=0, count=3), data(2, b"b", index=1, count=4)],
        [data(1, b"a", index=0, count=3), data(2, b"b")],
        [data(2, b"b", index=0, count=2), data(1, b"a", index=0, count=2)],
    ],
)
def test_a_segment_that_does_not_continue_its_message_resets_its_stream(
    role: Role, frames: list[DataFrame]
) -> None:
    wire = open_end(role)
    sent = wire.talk(*frames)
    assert sent[-1]._replace(ack=0, ack_bits=0) == reset("protocol_error")
    events = wire.events()
    assert isinstance(events[-2], FrameRejected)
    assert events[-2].cause is FrameCause.SEGMENT_MISMATCH
    assert isinstance(events[-1], StreamReset)
    assert wire.conn.stats().bytes_held == 0


@both_roles
@pytest.mark.parametrize(
    "frames",
    [
        [data(1, b"x" * 101)],
        [data(1, b"x" * 50, index=0, count=3)],
        [data(1, b"x" * 49, index=0, count=3), data(2, b"x" * 52, index=1, count=3)],
        [data(1, b"x", index=0, count=2**32 - 1)],
        [
            data(1, b"x" * 40, index=0, count=3),
            data(2, b"x" * 40, index=1, count=3),
            data(3, b"x" * 40, index=2, count=3),
        ],
    ],
)
def test_a_message_beyond_the_limit_resets_its_stream(role: Role, frames: list[DataFrame]) -> None:
    wire = open_end(role, RelayConfig(max_message_size=100, segment_size=100))
    sent = wire.talk(*frames)
    assert sent[-1]._replace(ack=0, ack_bits=0) == reset("message_too_large")
    assert wire.events_of(DataReceived) == []
    assert wire.conn.stats().bytes_held == 0


def test_a_bad_frame_on_one_stream_leaves_the_others_alone() -> None:
    wire = open_opener()
    wire.conn.open_stream("other")
    wire.give(resume(1, PEER, OWN, sid="other"))
    wire.give(data(1, b"x", index=1, count=2), data(1, b"fine", sid="other"))
    assert wire.conn.stream_state("other") is StreamState.OPEN
    assert [event.data for event in wire.events_of(DataReceived)] == [b"fine"]


# -- who sends when


def several(names: str, config: RelayConfig | None = None) -> Wire:
    """Open streams of a harness."""
    wire = Wire(Role.HARNESS, config)
    for sid in names:
        wire.conn.open_stream(sid)
        wire.give(resume(1, PEER, OWN, sid=sid))
    wire.sent()
    wire.events()
    return wire


def test_control_goes_before_data_and_resets_before_all() -> None:
    wire = several("abcd")
    for sid in "abcd":
        wire.conn.send_data(sid, b"x" * 1000)
    wire.conn.open_stream("e")
    wire.give(resume(1, PEER, OWN, sid="b"))
    wire.conn.reset_stream("d")
    kinds = [(type(frame).__name__, frame.stream_id) for frame in wire.sent()]
    assert kinds == [
        ("ResetFrame", "d"),
        ("ResumeFrame", "e"),
        ("ResumeFrame", "b"),
        ("DataFrame", "a"),
        ("DataFrame", "b"),
        ("DataFrame", "c"),
    ]


def test_a_drain_stops_once_it_has_reached_its_bytes() -> None:
    wire = several("a")
    for _ in range(10):
        wire.conn.send_data("a", b"x" * 1000)
    one = len(wire.conn.frames_to_send(0, 1)[0])
    assert one > 1000
    assert len(wire.conn.frames_to_send(0, 2 * one)) == 2
    assert len(wire.conn.frames_to_send(0, 2 * one + 1)) == 3
    assert wire.conn.frames_to_send(0, 0) == []
    assert len(wire.sent()) == 4
    assert wire.sent() == []


def test_what_is_most_urgent_is_chosen_at_each_drain_anew() -> None:
    wire = several("ab")
    for _ in range(10):
        wire.conn.send_data("a", b"x" * 1000)
    wire.sent(max_bytes=1)
    wire.give(heartbeat(sid="b"))
    assert wire.sent(max_bytes=1) == [ack(0, sid="b")]


def test_streams_share_the_link_by_bytes() -> None:
    config = RelayConfig(
        segment_size=16 * 1024, send_window_bytes=1 << 30, send_window_segments=10_000
    )
    wire = several("ab", config)
    for _ in range(30):
        wire.conn.send_data("a", b"x" * 60_000)
    for _ in range(1000):
        wire.conn.send_data("b", b"x" * 1000)
    sizes: Counter[str] = Counter()
    while sizes.total() < 12 * QUANTUM:
        (raw,) = wire.conn.frames_to_send(0, 1)
        sizes[decode(raw).stream_id] += len(raw)
    assert sizes["a"] == pytest.approx(sizes["b"], abs=2 * QUANTUM)


def test_a_stream_that_comes_late_is_served_within_a_round() -> None:
    wire = several("abcz")
    for sid in "abc":
        for _ in range(30):
            wire.conn.send_data(sid, b"x" * 30_000)
    wire.sent(max_bytes=10_000)
    wire.conn.send_data("z", b"urgent")
    frames = wire.sent(max_bytes=3 * QUANTUM + 60_000)
    assert "z" in {frame.stream_id for frame in frames}


def test_a_message_of_many_quanta_goes_out_whole_where_it_must() -> None:
    wire = Wire(Role.HARNESS)
    for sid in "ab":
        wire.conn.open_stream(sid)
        wire.conn.send_data(sid, b"x" * 10 * QUANTUM)
    sent = of_kind(DataFrame, wire.sent())
    assert [(frame.stream_id, len(frame.payload)) for frame in sent] == [
        ("a", 10 * QUANTUM),
        ("b", 10 * QUANTUM),
    ]


@both_roles
def test_an_answer_and_a_question_may_be_owed_at_once(role: Role) -> None:
    wire = open_end(role)
    wire.cut()
    wire.conn.link_opened(wire.clock())
    wire.give(resume(1, PEER, own_of(role)))
    # Its question is our answer, so ours is not asked any more.
    assert wire.sent() == [resume(1, own_of(role), PEER, True)]
