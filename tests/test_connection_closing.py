"""How a stream ends, and what becomes of its messages."""

from collections.abc import Callable

import pytest

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    FrameCause,
    FrameRejected,
    LocalCause,
    LocalProtocolError,
    Outcome,
    RelayConfig,
    ResetReason,
    Role,
    StreamReset,
    StreamState,
)
from sansrelay.frames import Frame, ResetFrame
from sansrelay.testing import RelayPair
from wirekit import (
    PEER,
    SID,
    Wire,
    ack,
    basic_end,
    data,
    handshake,
    heartbeat,
    open_acceptor,
    open_end,
    opening,
    own_of,
    reset,
    resume,
    seqs,
    unconfirmed,
)

both_roles = pytest.mark.parametrize("role", Role)


def the_end(wire: Wire) -> StreamReset:
    """The end of the usual stream: the last thing that was said of it, and said once."""
    wire.events()
    of_stream = [event for event in wire.log if getattr(event, "stream_id", None) == SID]
    ends = [event for event in of_stream if isinstance(event, StreamReset)]
    assert len(ends) == 1
    assert of_stream[-1] is ends[0]
    return ends[0]


# -- in good order


@both_roles
def test_a_close_waits_until_all_is_acknowledged(role: Role) -> None:
    wire = open_end(role, RelayConfig(send_window_segments=2))
    for _ in range(3):
        wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    assert seqs(wire.sent()) == [1, 2]
    assert seqs(wire.talk(ack(2))) == [3]
    assert wire.talk(ack(2, 0b1)) == []
    assert wire.events_of(StreamReset) == []
    assert wire.talk(ack(3)) == [reset("closed")]
    end = the_end(wire)
    assert (end.known_reason, end.by) == (ResetReason.CLOSED, EndedBy.LOCAL)
    assert list(end.unknown) == list(end.never_sent) == []
    assert wire.state is StreamState.ENDED


@both_roles
def test_a_close_with_nothing_outstanding_ends_at_once(role: Role) -> None:
    wire = open_end(role)
    wire.conn.close_stream(SID, "going_away")
    assert wire.sent() == [reset("going_away")]
    assert the_end(wire).known_reason is ResetReason.GOING_AWAY


@both_roles
def test_a_closing_stream_still_receives_and_acknowledges(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.sent()
    wire.give(data(1, b"late"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"late"]
    wire.conn.consume(SID, 1)
    assert wire.wait(0.1) == [ack(1)]


@both_roles
def test_a_closing_stream_takes_no_more_data(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    assert wire.conn.send_capacity(SID) == 0
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.send_data(SID, b"y")
    assert caught.value.cause is LocalCause.STREAM_CLOSING


@both_roles
def test_closing_twice_changes_nothing(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.conn.close_stream(SID, "going_away")
    wire.sent()
    assert wire.talk(ack(1)) == [reset("closed")]
    wire.conn.close_stream(SID)
    wire.conn.reset_stream(SID)
    wire.conn.consume(SID, 3)
    assert wire.sent() == []
    assert the_end(wire).known_reason is ResetReason.CLOSED


@both_roles
def test_a_close_survives_a_link_loss(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.sent()
    wire.cut()
    assert wire.join() == [resume(2, own_of(role), PEER)]
    assert wire.talk(resume(1, PEER, own_of(role), True)) == [data(1, b"x")]
    assert wire.talk(ack(1)) == [reset("closed")]
    assert the_end(wire).outcome(1) is Outcome.ACKNOWLEDGED


@both_roles
def test_a_close_may_be_completed_by_a_resume(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.sent()
    wire.cut()
    wire.join()
    assert wire.talk(resume(1, PEER, own_of(role), True, ack=1)) == [reset("closed")]
    assert list(the_end(wire).unknown) == []


@both_roles
def test_a_reset_cuts_a_close_short(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.sent()
    wire.conn.reset_stream(SID)
    assert wire.sent() == [reset("cancelled")]
    assert the_end(wire).outcome(1) is Outcome.UNKNOWN


@both_roles
def test_a_basic_close_waits_until_all_is_written(role: Role) -> None:
    wire = basic_end(role)
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.conn.close_stream(SID)
    assert wire.events_of(StreamReset) == []
    assert wire.sent() == [data(0, b"x"), data(1, b"y"), reset("closed")]
    end = the_end(wire)
    assert end.unknown == range(1, 3)
    assert list(end.never_sent) == []


def test_a_stream_that_was_never_announced_leaves_without_a_word() -> None:
    wire = Wire(Role.HARNESS)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"x")
    wire.conn.reset_stream(SID)
    assert wire.sent() == []
    assert the_end(wire).outcome(1) is Outcome.NEVER_SENT


def test_an_opening_stream_closes_when_its_peer_has_everything() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.conn.close_stream(SID)
    wire.sent()
    assert wire.talk(resume(1, PEER, 0xA1, ack=1))[-1] == reset("closed")


def test_an_acceptor_may_close_before_it_has_sent_anything() -> None:
    wire = open_acceptor()
    wire.conn.close_stream(SID)
    assert wire.sent() == [reset("closed")]


# -- the reset


@both_roles
def test_a_reset_carries_the_final_ack_taken_before_the_end(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2), data(4))
    wire.conn.consume(SID, 1)
    wire.conn.reset_stream(SID)
    assert wire.sent() == [reset("cancelled", ack=1, bits=0b101)]
    assert wire.conn.stats().bytes_held == 0


@both_roles
def test_the_final_ack_of_the_peers_reset_counts(role: Role) -> None:
    wire = open_end(role)
    for _ in range(4):
        wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(ack(1))
    wire.give(reset("closed", ack=2, bits=0b1))
    acknowledged = wire.events_of(DataAcknowledged)
    assert [event.message_id for event in acknowledged] == [1, 2]
    end = the_end(wire)
    assert (end.by, end.unknown) == (EndedBy.PEER, range(3, 5))


@both_roles
def test_a_reset_with_a_bad_ack_ends_the_stream_all_the_same(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(reset("closed", ack=7))
    rejected, _ = wire.events()
    assert isinstance(rejected, FrameRejected)
    assert rejected.cause is FrameCause.ACK_BEYOND_SENT
    assert the_end(wire).outcome(1) is Outcome.UNKNOWN


@both_roles
def test_a_reset_of_the_peer_is_not_answered(role: Role) -> None:
    wire = open_end(role)
    assert wire.talk(reset("closed")) == []
    assert wire.talk(reset("closed"), reset("unknown_stream")) == []
    assert wire.wait(400) == []


@both_roles
def test_a_foreign_reason_is_kept_as_it_is(role: Role) -> None:
    wire = open_end(role)
    wire.give(reset("\x1b[31mgone fishing \N{FISH}"))
    end = the_end(wire)
    assert end.reason == "\x1b[31mgone fishing \N{FISH}"
    assert end.known_reason is None


@both_roles
@pytest.mark.parametrize("reason", ResetReason)
def test_every_reason_of_the_vocabulary_arrives_as_itself(role: Role, reason: ResetReason) -> None:
    wire = open_end(role)
    wire.give(reset(reason.value))
    assert the_end(wire).known_reason is reason


@both_roles
def test_a_reset_reaches_a_stream_that_is_resuming(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.join()
    wire.give(reset("harness_disconnected", ack=1))
    assert list(the_end(wire).unknown) == []


# -- while the link is down


@both_roles
@pytest.mark.parametrize("make", [open_end, basic_end])
def test_a_reset_that_falls_due_without_a_link_goes_out_on_the_next(
    role: Role, make: Callable[[Role], Wire]
) -> None:
    wire = make(role)
    wire.cut()
    wire.conn.reset_stream(SID)
    assert wire.sent() == []
    (frame,) = wire.join()
    assert isinstance(frame, ResetFrame)
    assert wire.wait(400) == []
    # Nobody says whether it arrived: it is due on each further link while it is remembered.
    wire.cut()
    assert wire.join() == [frame]
    wire.wait(RelayConfig().ended_ttl)
    wire.cut()
    assert wire.join() == []


@both_roles
def test_a_reset_kept_for_the_next_link_carries_the_final_ack(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2))
    wire.conn.consume(SID, 2)
    wire.cut()
    wire.conn.reset_stream(SID)
    assert wire.join() == [reset("cancelled", ack=2)]


@both_roles
def test_a_reset_is_dropped_when_the_peer_resets_as_well(role: Role) -> None:
    wire = open_end(role)
    wire.conn.reset_stream(SID)
    assert wire.talk(reset("closed")) == []


def test_an_unconfirmed_stream_resets_too() -> None:
    wire = unconfirmed()
    wire.give(data(1))
    wire.conn.reset_stream(SID)
    assert wire.sent() == [reset("cancelled")]
    # The application was never told of it.
    assert wire.events() == []


# -- ended ids


@both_roles
@pytest.mark.parametrize(
    "frame",
    [
        data(0),
        data(1),
        data(9),
        ack(0),
        heartbeat(),
        handshake(),
        resume(0),
        resume(1),
        resume(1, PEER),
        resume(2, PEER, 0xA1, True),
    ],
)
def test_an_ended_id_is_never_revived_and_answers_with_its_reset(role: Role, frame: Frame) -> None:
    wire = open_end(role)
    wire.give(data(1))
    wire.conn.reset_stream(SID, "going_away")
    last = reset("going_away", bits=0b1)
    assert wire.sent() == [last]
    wire.events()
    for _ in range(3):
        assert wire.talk(frame) == [last]
    assert wire.state is StreamState.ENDED
    assert wire.events() == []
    assert wire.conn.stats().dropped == {FrameCause.ENDED_STREAM: 3}


@both_roles
def test_many_frames_for_an_ended_id_want_one_reset_per_drain(role: Role) -> None:
    wire = open_end(role)
    wire.conn.reset_stream(SID)
    wire.sent()
    assert wire.talk(data(1), data(2), ack(0), heartbeat()) == [reset("cancelled")]


def test_an_id_that_the_peer_ended_answers_with_the_peers_reason() -> None:
    wire = open_acceptor()
    wire.give(reset("closed"))
    assert wire.talk(resume(1, PEER)) == [reset("closed")]


def test_an_id_that_ended_at_a_harness_can_not_be_opened_again() -> None:
    wire = opening()
    wire.conn.reset_stream(SID)
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.open_stream(SID)
    assert caught.value.cause is LocalCause.STREAM_EXISTS


# -- outcomes


@both_roles
def test_each_message_ends_as_acknowledged_never_sent_or_unknown(role: Role) -> None:
    wire = open_end(role, RelayConfig(send_window_segments=4, segment_size=10))
    ids = [wire.conn.send_data(SID, b"x" * 20) for _ in range(5)]
    assert ids == [1, 2, 3, 4, 5]
    assert seqs(wire.sent()) == [1, 2, 3, 4]
    # The first is acknowledged whole, the second half; half of the third goes out.
    assert seqs(wire.talk(ack(3))) == [5, 6, 7]
    wire.conn.reset_stream(SID)
    end = the_end(wire)
    assert [end.outcome(number) for number in ids] == [
        Outcome.ACKNOWLEDGED,
        Outcome.UNKNOWN,
        Outcome.UNKNOWN,
        Outcome.UNKNOWN,
        Outcome.NEVER_SENT,
    ]


@both_roles
def test_a_message_sent_in_part_is_unknown(role: Role) -> None:
    wire = open_end(role, RelayConfig(segment_size=10))
    wire.conn.send_data(SID, b"x" * 30)
    wire.conn.send_data(SID, b"y")
    wire.sent(max_bytes=1)
    wire.conn.reset_stream(SID)
    end = the_end(wire)
    assert (end.unknown, end.never_sent) == (range(1, 2), range(2, 3))


@both_roles
def test_a_bit_is_no_proof(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(ack(0, 0b1))
    wire.conn.reset_stream(SID)
    assert the_end(wire).outcome(1) is Outcome.UNKNOWN


@both_roles
def test_what_a_basic_peer_was_sent_is_unknown(role: Role) -> None:
    wire = basic_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.conn.send_data(SID, b"y")
    wire.give(reset("closed", ack=2))
    end = the_end(wire)
    assert (end.unknown, end.never_sent) == (range(1, 2), range(2, 3))


def test_what_an_unknown_peer_was_sent_is_unknown() -> None:
    wire = opening(RelayConfig(opening_window_segments=1))
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    wire.give(reset("executor_unavailable", ack=2))
    end = the_end(wire)
    assert (end.unknown, end.never_sent) == (range(1, 2), range(2, 3))


@both_roles
def test_a_stream_that_ended_without_messages_has_no_outcomes(role: Role) -> None:
    wire = open_end(role)
    wire.conn.reset_stream(SID)
    end = the_end(wire)
    assert list(end.unknown) == list(end.never_sent) == []


def test_a_graceful_close_reaches_the_other_end() -> None:
    pair = RelayPair()
    pair.harness.conn.open_stream(SID)
    pair.harness.conn.send_data(SID, b"x" * 200_000)
    pair.harness.conn.close_stream(SID)
    assert pair.run(10, until=lambda: SID in pair.harness.ended and SID in pair.executor.ended)
    assert pair.executor.received[SID] == [b"x" * 200_000]
    assert pair.harness.ended[SID].outcome(1) is Outcome.ACKNOWLEDGED
    ours, theirs = pair.harness.ended[SID], pair.executor.ended[SID]
    assert (ours.by, theirs.by) == (EndedBy.LOCAL, EndedBy.PEER)
    assert theirs.known_reason is ResetReason.CLOSED
