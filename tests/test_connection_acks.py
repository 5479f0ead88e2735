"""When an ack goes out, what it says, and what becomes of the peer's."""

import pytest

from sansrelay import (
    AckCause,
    AckDue,
    DataAcknowledged,
    DataReceived,
    FrameCause,
    FrameRejected,
    LocalProtocolError,
    RelayConfig,
    Role,
    SendCapacityAvailable,
    StreamState,
)
from sansrelay.frames import DataFrame, Frame
from wirekit import (
    ACCEPTED,
    PEER,
    SID,
    Wire,
    ack,
    assert_timers_exact,
    data,
    heartbeat,
    of_kind,
    open_acceptor,
    open_end,
    own_of,
    reset,
    resume,
    seqs,
)

both_roles = pytest.mark.parametrize("role", Role)


def take(wire: Wire, *frames: DataFrame) -> list[Frame]:
    """Segments arrive and the application takes over each message at once."""
    out: list[Frame] = []
    for frame in frames:
        wire.give(frame)
        for event in wire.events_of(DataReceived):
            wire.conn.consume(event.stream_id, 1)
        out += wire.sent()
    return out


def causes(wire: Wire) -> list[AckCause]:
    """Why acks fell due, over the whole test."""
    wire.events()
    return [event.cause for event in wire.log if isinstance(event, AckDue)]


# -- when


@both_roles
def test_an_ack_waits_for_its_delay(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_delay=0.025))
    assert take(wire, data(1)) == []
    assert wire.timeline(1) == [(0.025, ack(1))]
    assert causes(wire) == [AckCause.DELAY]


@both_roles
def test_the_delay_runs_from_the_first_segment(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_delay=0.025))
    take(wire, data(1))
    wire.wait(0.02)
    take(wire, data(2))
    assert wire.timeline(1) == [(0.025, ack(2))]


@both_roles
def test_an_ack_rides_on_data(role: Role) -> None:
    wire = open_end(role)
    take(wire, data(1), data(2))
    wire.conn.send_data(SID, b"reply")
    assert wire.sent() == [data(1, b"reply", ack=2)]
    wire.give(ack(1))
    assert wire.wait(10) == []
    assert causes(wire) == []


@both_roles
def test_an_ack_that_is_due_at_once_still_rides_on_data_that_can_go(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"reply")
    wire.give(data(2))
    assert wire.sent() == [data(1, b"reply", bits=0b10)]
    assert causes(wire) == [AckCause.GAP]


def test_an_ack_does_not_wait_for_data_that_is_not_needed_any_more() -> None:
    wire = open_acceptor()
    wire.give(resume(1, PEER, sid="z"), resume(1, PEER, ACCEPTED + 1, True, sid="z"))
    for _ in range(6):
        wire.conn.send_data(SID, b"x" * 40_000)
        wire.conn.send_data("z", b"z" * 40_000)
    wire.sent()
    wire.give(ack(0, 0b11110, sid="z"), ack(0, 0b11110))
    # Both repeat their first segment; an ack falls due, and the link takes one frame only.
    wire.give(data(2))
    (frame,) = wire.sent(max_bytes=1)
    assert isinstance(frame, DataFrame)
    assert frame.stream_id == "z"
    # Then the segment that the ack meant to ride on turns out to be there.
    wire.give(ack(1, 0b1111))
    assert wire.sent() == [ack(0, 0b10)]


@both_roles
def test_an_ack_goes_out_at_once_on_a_gap(role: Role) -> None:
    wire = open_end(role)
    assert take(wire, data(2)) == [ack(0, 0b10)]
    assert take(wire, data(4)) == [ack(0, 0b1010)]
    # While there is one, every segment is reported; so is the one that closes it.
    assert take(wire, data(3)) == [ack(0, 0b1110)]
    assert take(wire, data(1)) == [ack(4)]
    assert causes(wire) == [AckCause.GAP] * 4


@both_roles
def test_an_ack_goes_out_at_once_on_a_duplicate(role: Role) -> None:
    wire = open_end(role)
    take(wire, data(1))
    wire.wait(1)
    assert take(wire, data(1)) == [ack(1)]
    assert causes(wire) == [AckCause.DELAY, AckCause.DUPLICATE]
    assert wire.conn.stats().duplicates_dropped == 1


@both_roles
def test_acks_of_duplicates_are_rate_limited(role: Role) -> None:
    wire = open_end(role, RelayConfig(duplicate_ack_interval=0.01, ack_delay=0.025))
    take(wire, data(1))
    wire.wait(1)
    flood = [data(1)] * 100
    assert take(wire, *flood) == [ack(1)]
    assert [round(at - 1, 6) for at, _ in wire.timeline(1)] == [0.025]
    assert take(wire, *flood) == [ack(1)]


@both_roles
def test_an_ack_goes_out_after_so_many_segments(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_segments=4))
    assert take(wire, *[data(seq) for seq in range(1, 10)]) == [ack(4), ack(8)]
    assert causes(wire) == [AckCause.COUNT, AckCause.COUNT]


@both_roles
def test_an_ack_goes_out_after_so_many_bytes(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_bytes=100))
    frames = take(wire, data(1, b"x" * 60), data(2, b"x" * 39), data(3, b"x"), data(4, b"x"))
    assert frames == [ack(3)]
    assert causes(wire) == [AckCause.COUNT]


@both_roles
def test_an_ack_counts_from_the_last_report_of_any_kind(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_segments=4))
    take(wire, data(1), data(2), data(3))
    wire.conn.send_data(SID, b"x")
    assert [frame.ack for frame in of_kind(DataFrame, wire.sent())] == [3]
    assert take(wire, data(4), data(5), data(6)) == []


@both_roles
def test_segments_of_an_incomplete_message_are_acknowledged_as_they_come(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_segments=2))
    parts = [data(seq, b"x", index=seq - 1, count=5) for seq in range(1, 6)]
    assert take(wire, *parts) == [ack(2), ack(4)]


@both_roles
def test_a_heartbeat_is_answered_by_an_ack_at_once(role: Role) -> None:
    wire = open_end(role)
    assert wire.talk(heartbeat()) == [ack(0)]
    wire.give(data(1))
    assert wire.talk(heartbeat()) == [ack(0, 0b1)]
    assert causes(wire) == [AckCause.HEARTBEAT] * 2


@both_roles
def test_an_ack_is_not_acknowledged(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(ack(1)) == []
    assert wire.wait(29) == []


@both_roles
def test_what_was_due_when_the_link_went_is_said_by_the_resume(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(2))
    wire.cut()
    wire.conn.consume(SID, 0)
    assert wire.join() == [resume(1, own_of(role), PEER, bits=0b10)]
    assert wire.talk(resume(3, PEER, own_of(role), True)) == []
    assert wire.wait(29) == []


@both_roles
def test_what_is_consumed_while_there_is_no_link_is_said_by_the_resume(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_segments=1))
    wire.give(data(1))
    wire.cut()
    wire.conn.consume(SID, 1)
    assert wire.join() == [resume(1, own_of(role), PEER, ack=1)]
    assert wire.talk(resume(2, PEER, own_of(role), True)) == []
    assert causes(wire) == []


# -- what it says


@both_roles
def test_acknowledged_means_taken_over_by_the_application(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2), data(3))
    assert wire.wait(0.1) == [ack(0, 0b111)]
    wire.conn.consume(SID, 2)
    assert wire.wait(0.1) == [ack(2, 0b1)]
    wire.conn.consume(SID, 1)
    assert wire.wait(0.1) == [ack(3)]


@both_roles
def test_bits_tell_what_came_early(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(3), data(33), data(34))
    assert wire.sent() == [ack(0, 1 | 1 << 2)]
    wire.conn.consume(SID, 1)
    assert wire.wait(0.1) == [ack(1, 0b10 | 1 << 31)]


@both_roles
def test_a_segment_beyond_the_receive_window_is_dropped_and_counted(role: Role) -> None:
    wire = open_end(role, RelayConfig(receive_window_segments=4))
    assert wire.talk(data(5)) == []
    assert wire.conn.stats().dropped == {FrameCause.WINDOW_OVERRUN: 1}
    assert wire.talk(data(4)) == [ack(0, 0b1000)]


# -- what becomes of the peer's


@both_roles
def test_a_message_is_acknowledged_by_the_ack_never_by_a_bit(role: Role) -> None:
    wire = open_end(role)
    for _ in range(3):
        wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(ack(0, 0b111))
    assert wire.events() == []
    wire.give(ack(2, 0b1))
    assert wire.events_of(DataAcknowledged) == [DataAcknowledged(stream_id=SID, message_id=2)]
    wire.give(ack(3))
    assert wire.events() == [
        DataAcknowledged(stream_id=SID, message_id=3),
        SendCapacityAvailable(stream_id=SID),
    ]


@both_roles
def test_a_message_is_acknowledged_with_its_last_segment(role: Role) -> None:
    wire = open_end(role, RelayConfig(segment_size=10))
    wire.conn.send_data(SID, b"x" * 25)
    wire.conn.send_data(SID, b"y" * 25)
    assert seqs(wire.sent()) == [1, 2, 3, 4, 5, 6]
    wire.give(ack(2))
    assert wire.events_of(DataAcknowledged) == []
    wire.give(ack(5))
    assert wire.events_of(DataAcknowledged) == [DataAcknowledged(stream_id=SID, message_id=1)]


@both_roles
@pytest.mark.parametrize(
    "carrier", [ack(1), heartbeat(1), data(1, ack=1), data(7, ack=1), reset("closed", ack=1)]
)
def test_acks_are_taken_from_every_frame(role: Role, carrier: Frame) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(carrier)
    assert wire.events_of(DataAcknowledged) == [DataAcknowledged(stream_id=SID, message_id=1)]


@both_roles
@pytest.mark.parametrize(
    ("number", "bits"), [(3, 0), (2, 1), (1, 2), (0, 4), (0, 1 << 31), (2**32 - 1, 0)]
)
def test_an_ack_beyond_what_was_sent_is_counted_and_ignored(
    role: Role, number: int, bits: int
) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    assert wire.talk(ack(number, bits)) == []
    (rejected,) = wire.events()
    assert isinstance(rejected, FrameRejected)
    assert (rejected.stream_id, rejected.cause) == (SID, FrameCause.ACK_BEYOND_SENT)
    assert wire.conn.stats().dropped == {FrameCause.ACK_BEYOND_SENT: 1}
    assert wire.state is StreamState.OPEN
    wire.give(ack(2))
    assert wire.events_of(DataAcknowledged) == [DataAcknowledged(stream_id=SID, message_id=2)]


@both_roles
def test_the_data_under_a_bad_ack_is_taken_all_the_same(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1, b"x", ack=9))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"x"]
    assert wire.conn.stats().messages_received == 1


@both_roles
def test_an_older_ack_takes_nothing_back(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    wire.give(ack(2), ack(1), ack(0, 0b11))
    assert [event.message_id for event in wire.events_of(DataAcknowledged)] == [2]
    assert wire.wait(29) == []


# -- the round trip


@both_roles
def test_the_first_report_measures_the_round_trip_be_it_a_bit_or_an_ack(role: Role) -> None:
    for report in (ack(1), ack(0, 0b1)):
        wire = open_end(role, RelayConfig(initial_rto=5, min_rto=0.2))
        wire.conn.send_data(SID, b"x")
        wire.sent()
        wire.clock.advance(0.2)
        wire.give(report)
        wire.conn.send_data(SID, b"y")
        # RFC 6298: 0.2 s, and four times half of it.
        assert [round(at, 6) for at, _ in wire.timeline(0.7)][:2] == [0.2, 0.8]


@both_roles
def test_a_measurement_may_bring_the_timer_nearer(role: Role) -> None:
    wire = open_end(role, RelayConfig(initial_rto=5, min_rto=0.2))
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    wire.clock.advance(0.2)
    wire.give(ack(1))
    assert_timers_exact(wire.conn)
    assert [round(at, 6) for at, _ in wire.timeline(1)] == [0.8]


@both_roles
def test_a_segment_that_was_sent_twice_measures_nothing(role: Role) -> None:
    wire = open_end(role, RelayConfig(initial_rto=5, min_rto=0.2, max_rto=10))
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(resume(1, PEER, own_of(role)))
    wire.cut()
    wire.join()
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True))) == [1]
    wire.clock.advance(0.2)
    wire.give(ack(1))
    wire.conn.send_data(SID, b"y")
    assert [round(at, 6) for at, _ in wire.timeline(5)] == [0.2, 5.2]


@both_roles
def test_a_withheld_ack_does_not_measure_the_reader(role: Role) -> None:
    wire = open_end(role, RelayConfig(initial_rto=5, min_rto=0.2))
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.clock.advance(0.2)
    wire.give(ack(0, 0b1))
    wire.clock.advance(0.3)
    wire.give(ack(1))
    wire.conn.send_data(SID, b"y")
    assert [round(at, 6) for at, _ in wire.timeline(0.7)] == [0.5, 1.1]


@both_roles
def test_a_round_trip_counts_from_the_moment_of_sending(role: Role) -> None:
    wire = open_end(role, RelayConfig(initial_rto=5, min_rto=0.2))
    wire.clock.advance(7)
    wire.conn.send_data(SID, b"m")
    wire.sent()
    wire.clock.advance(0.4)
    wire.give(ack(1))
    wire.conn.send_data(SID, b"n")
    wire.sent()
    # The first measurement of RFC 6298: R + 4 R/2.
    assert wire.conn.next_timeout() == pytest.approx(wire.clock() + 1.2)


# -- consuming


@both_roles
def test_more_messages_than_were_received_can_not_be_consumed(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2, b"x", index=0, count=2), data(4))
    with pytest.raises(LocalProtocolError):
        wire.conn.consume(SID, 2)
    wire.conn.consume(SID, 1)
    wire.give(data(3, b"y", index=1, count=2))
    wire.conn.consume(SID, 2)


@both_roles
def test_consuming_makes_an_ack_due_once_there_is_enough_to_say(role: Role) -> None:
    wire = open_end(role, RelayConfig(ack_after_segments=2))
    wire.give(data(1), data(2), data(3))
    wire.wait(0.1)
    wire.conn.consume(SID, 1)
    assert wire.sent() == []
    wire.conn.consume(SID, 1)
    assert wire.sent() == [ack(2, 0b1)]
