"""New links, questions and answers, and what is sent again."""

import pytest

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    FrameCause,
    FrameRejected,
    LinkLost,
    RelayConfig,
    ResetReason,
    Retransmit,
    RetransmitCause,
    Role,
    StreamReset,
    StreamResumed,
    StreamState,
)
from sansrelay.frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from wirekit import (
    ACCEPTED,
    OWN,
    PEER,
    SID,
    Wire,
    ack,
    data,
    heartbeat,
    of_kind,
    open_acceptor,
    open_end,
    open_opener,
    own_of,
    reset,
    resume,
    seqs,
)

both_roles = pytest.mark.parametrize("role", Role)


def with_data(role: Role, count: int, config: RelayConfig | None = None) -> Wire:
    """An open stream with so many segments sent and nothing acknowledged."""
    wire = open_end(role, config)
    for number in range(1, count + 1):
        wire.conn.send_data(SID, b"%d" % number)
    assert seqs(wire.sent()) == list(range(1, count + 1))
    return wire


def relink(wire: Wire) -> list[Frame]:
    """The link is lost and made again."""
    wire.cut()
    frames = wire.join()
    wire.events()
    return frames


# -- the gate


@both_roles
def test_on_a_new_link_each_end_asks_with_its_next_new_seq_and_its_acks(role: Role) -> None:
    wire = with_data(role, 3)
    wire.give(data(1), data(2), data(4))
    wire.conn.consume(SID, 1)
    wire.cut()
    assert wire.join() == [resume(4, own_of(role), PEER, ack=1, bits=0b101)]
    assert wire.state is StreamState.RESUMING


@both_roles
def test_nothing_but_the_resume_goes_out_until_the_peer_names_this_pair(role: Role) -> None:
    wire = with_data(role, 2, RelayConfig(heartbeat_interval=0.5))
    relink(wire)
    wire.conn.send_data(SID, b"new")
    # A gap, a duplicate, a heartbeat and an ack of our data: all would be answered on an open link.
    wire.give(data(2), data(2), heartbeat(), ack(1))
    frames = wire.wait(60)
    assert {type(frame) for frame in frames} == {ResumeFrame}


@both_roles
def test_the_gate_is_on_sending_never_on_receiving(role: Role) -> None:
    wire = with_data(role, 2)
    relink(wire)
    wire.give(data(1, b"hello", ack=1))
    assert wire.events() == [
        DataAcknowledged(stream_id=SID, message_id=1),
        DataReceived(stream_id=SID, data=b"hello"),
    ]


@both_roles
def test_the_peers_question_opens_the_gate_as_its_answer_does(role: Role) -> None:
    for answer in (True, False):
        wire = with_data(role, 2)
        relink(wire)
        frames = wire.talk(resume(1, PEER, own_of(role), answer, ack=1))
        assert seqs(frames) == [2]
        assert wire.events_of(StreamResumed) == [StreamResumed(stream_id=SID)]
        assert wire.conn.stats().resumes == 1
        answers = of_kind(ResumeFrame, frames)
        assert answers == ([] if answer else [resume(3, own_of(role), PEER, True)])


@both_roles
def test_the_end_whose_link_did_not_change_just_answers(role: Role) -> None:
    wire = with_data(role, 2)
    frames = wire.talk(resume(1, PEER, own_of(role), ack=2))
    assert frames == [resume(3, own_of(role), PEER, True)]
    assert wire.state is StreamState.OPEN
    wire.conn.send_data(SID, b"3")
    assert seqs(wire.sent()) == [3]
    # Its link is the same, so the application hears nothing of it.
    assert [type(event) for event in wire.events()][-1] is not StreamResumed
    assert wire.conn.stats().resumes == 0


@both_roles
def test_the_question_is_repeated_at_the_pace_of_the_rto(role: Role) -> None:
    wire = open_end(role, RelayConfig(initial_rto=1, max_rto=4))
    assert relink(wire) == [resume(1, own_of(role), PEER)]
    sent = wire.timeline(16)
    assert [at for at, _ in sent] == [1, 3, 7, 11, 15]
    assert {frame for _, frame in sent} == {resume(1, own_of(role), PEER)}


@both_roles
def test_an_answer_ends_the_repetition_and_its_back_off(role: Role) -> None:
    wire = open_end(role)
    relink(wire)
    wire.wait(20)
    assert wire.talk(resume(1, PEER, own_of(role), True)) == []
    wire.conn.send_data(SID, b"x")
    assert [at - 20 for at, _ in wire.timeline(1.5)] == [0, 1]


@both_roles
def test_an_answer_is_not_answered_and_a_question_is_once(role: Role) -> None:
    wire = open_end(role)
    for _ in range(3):
        assert wire.talk(resume(1, PEER, own_of(role), True)) == []
    for _ in range(3):
        assert wire.talk(resume(1, PEER, own_of(role))) == [resume(1, own_of(role), PEER, True)]
    # Several questions at once want one answer.
    question = resume(1, PEER, own_of(role))
    assert wire.talk(question, question) == [resume(1, own_of(role), PEER, True)]
    assert wire.wait(29) == []


@both_roles
def test_an_answer_that_was_owed_when_the_link_went_is_not_given_on_the_next(role: Role) -> None:
    wire = open_end(role)
    wire.give(resume(1, PEER, own_of(role)))
    assert relink(wire) == [resume(1, own_of(role), PEER)]


def test_a_stale_opening_on_a_new_link_is_answered_and_the_question_put_as_well() -> None:
    wire = open_acceptor()
    wire.cut()
    wire.conn.link_opened(wire.clock())
    assert wire.talk(resume(1, PEER)) == [
        resume(1, ACCEPTED, PEER, True),
        resume(1, ACCEPTED, PEER, False),
    ]
    assert wire.state is StreamState.RESUMING


@both_roles
def test_an_answer_comes_before_data(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.give(resume(1, PEER, own_of(role)))
    assert [type(frame) for frame in wire.sent()] == [ResumeFrame, DataFrame]


@both_roles
def test_messages_taken_while_there_is_no_link_go_out_after_the_resume(role: Role) -> None:
    wire = open_end(role)
    wire.cut()
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == []
    assert wire.join() == [resume(1, own_of(role), PEER)]
    assert wire.talk(resume(1, PEER, own_of(role), True)) == [data(1, b"x")]


def test_streams_resume_each_for_itself() -> None:
    wire = Wire(Role.HARNESS)
    for sid in "ab":
        wire.conn.open_stream(sid)
        wire.give(resume(1, PEER, OWN, sid=sid))
        wire.conn.send_data(sid, b"x")
    wire.sent()
    assert relink(wire) == [resume(2, OWN, PEER, sid=sid) for sid in "ab"]
    assert wire.talk(resume(1, PEER, OWN, True, sid="a")) == [data(1, b"x", sid="a")]


# -- what is sent again


@both_roles
def test_only_what_the_answer_does_not_cover_goes_again(role: Role) -> None:
    wire = with_data(role, 6)
    relink(wire)
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True, ack=2, bits=0b0101))) == [4, 6]
    assert wire.events_of(Retransmit) == [
        Retransmit(stream_id=SID, seq=seq, attempt=2, cause=RetransmitCause.RESUME)
        for seq in (4, 6)
    ]
    assert wire.conn.stats().segments_retransmitted == 2


@both_roles
def test_what_was_never_sent_is_not_called_a_repetition(role: Role) -> None:
    wire = with_data(role, 1)
    wire.cut()
    wire.conn.send_data(SID, b"2")
    wire.join()
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True, ack=1))) == [2]
    assert wire.events_of(Retransmit) == []


@both_roles
def test_the_scoreboard_is_cleared_and_filled_from_the_resume(role: Role) -> None:
    # The peer once said that it held 2 and 3; what counts is what it says now.
    wire = with_data(role, 4)
    wire.give(ack(0, 0b0110))
    relink(wire)
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True, ack=1, bits=0b100))) == [2, 3]


@both_roles
def test_acks_between_the_question_and_the_answer_count(role: Role) -> None:
    wire = with_data(role, 4)
    relink(wire)
    wire.give(ack(3))
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True, ack=1))) == [4]


@both_roles
def test_what_was_sent_after_the_question_is_not_taken_for_lost(role: Role) -> None:
    # The peer's question says what it held when it asked; our answer and data crossed it.
    wire = with_data(role, 1)
    wire.give(ack(1))
    wire.conn.send_data(SID, b"2")
    assert seqs(wire.sent()) == [2]
    frames = wire.talk(resume(1, PEER, own_of(role), ack=1))
    assert seqs(frames) == []


@both_roles
def test_a_question_of_the_peer_shows_what_was_sent_long_ago_to_be_missing(role: Role) -> None:
    wire = with_data(role, 1)
    wire.wait(0.1)
    wire.give(ack(1))  # a round trip is 0.1 s, the RTO before its floor 0.3 s
    wire.conn.send_data(SID, b"2")
    wire.sent()
    wire.clock.advance(0.25)
    wire.conn.send_data(SID, b"3")
    wire.sent()
    wire.clock.advance(0.1)
    assert seqs(wire.talk(resume(1, PEER, own_of(role), ack=1))) == [2]


@both_roles
def test_a_question_that_crosses_ours_on_the_same_link_shows_nothing_to_be_missing(
    role: Role,
) -> None:
    wire = with_data(role, 1)
    assert of_kind(ResumeFrame, wire.wait(1)) == [resume(2, own_of(role), PEER)]
    # Put before our data arrived; the answer to ours says what there is to say.
    assert wire.talk(resume(1, PEER, own_of(role))) == [resume(2, own_of(role), PEER, True)]
    assert wire.state is StreamState.OPEN
    assert wire.talk(resume(1, PEER, own_of(role), True, ack=1)) == []
    assert wire.events_of(Retransmit) == []


@both_roles
def test_the_answer_counts_although_a_question_has_crossed_ours(role: Role) -> None:
    # Both ends miss something, have measured nothing, and ask at the same moment.
    wire = with_data(role, 1)
    own = own_of(role)
    assert wire.wait(1) == [resume(2, own, PEER)]
    wire.give(resume(2, PEER, own))
    assert seqs(wire.sent()) == [], "the peer may have put it before our data came"
    wire.give(resume(2, PEER, own, True))
    assert seqs(wire.sent()) == [1]


@both_roles
def test_an_answer_to_a_question_on_the_old_link_counts_for_nothing(role: Role) -> None:
    wire = with_data(role, 1)
    own = own_of(role)
    wire.wait(1)
    relink(wire)
    wire.give(resume(2, PEER, own, True))
    assert seqs(wire.sent()) == [1]
    wire.conn.send_data(SID, b"new")
    wire.sent()
    wire.give(resume(2, PEER, own, True))
    assert seqs(wire.sent()) == []


@both_roles
def test_what_came_while_the_gate_was_closed_is_reported_once_it_opens(role: Role) -> None:
    wire = open_end(role)
    relink(wire)
    wire.give(data(1))
    wire.wait(0.5)  # the ack delay passes
    wire.give(resume(2, PEER, own_of(role), True))
    assert of_kind(AckFrame, wire.wait(0.5)) == [ack(0, 1)]


@both_roles
def test_a_heartbeat_that_came_while_the_gate_was_closed_is_answered_once_it_opens(
    role: Role,
) -> None:
    wire = open_end(role)
    relink(wire)
    wire.give(heartbeat(), resume(1, PEER, own_of(role), True))
    assert of_kind(AckFrame, wire.wait(0.5)) == [ack()]


@both_roles
def test_a_resume_that_names_nobody_does_not_open_the_gate(role: Role) -> None:
    wire = open_end(role)
    relink(wire)
    wire.give(resume(1, PEER))
    assert wire.state is StreamState.RESUMING


@both_roles
def test_an_outage_is_no_round_trip(role: Role) -> None:
    wire = with_data(role, 1)
    wire.cut()
    wire.wait(60)
    wire.join()
    wire.give(resume(1, PEER, own_of(role), True, ack=1))
    wire.conn.send_data(SID, b"x")
    wire.sent()
    first = wire.timeline(5)[0][0]
    assert first == 61, "the time-out is that of the start"


@both_roles
def test_the_back_off_ends_with_the_link(role: Role) -> None:
    wire = open_end(role)
    relink(wire)
    wire.wait(10)
    relink(wire)
    assert [at - 10 for at, _ in wire.timeline(4)] == [1, 3]


@both_roles
def test_a_second_copy_of_an_answer_does_not_put_the_timer_off(role: Role) -> None:
    wire = with_data(role, 1)
    own = own_of(role)
    relink(wire)
    wire.give(resume(1, PEER, own, True, bits=0))
    wire.sent()
    wire.wait(0.9)
    wire.give(resume(1, PEER, own, True))
    assert [at for at, _ in wire.timeline(0.5)] == [1]


@both_roles
def test_a_lost_repetition_is_found_by_the_next_resume(role: Role) -> None:
    wire = with_data(role, 1)
    for attempt in (2, 3, 4):
        relink(wire)
        assert seqs(wire.talk(resume(1, PEER, own_of(role), True))) == [1]
        (again,) = wire.events_of(Retransmit)
        assert again.attempt == attempt


@both_roles
def test_beyond_the_reported_32_everything_goes_again_if_the_end_is_missing(role: Role) -> None:
    wire = with_data(role, 50)
    relink(wire)
    frames = wire.talk(resume(1, PEER, own_of(role), True, ack=10, bits=0b11))
    assert seqs(frames) == list(range(13, 51))


@both_roles
def test_beyond_the_reported_32_nothing_goes_again_if_all_of_them_are_there(role: Role) -> None:
    wire = with_data(role, 50)
    relink(wire)
    frames = wire.talk(resume(1, PEER, own_of(role), True, ack=1, bits=0xFFFFFFFF))
    assert seqs(frames) == []


# -- a gap


@both_roles
def test_a_segment_is_lost_once_three_later_ones_are_acknowledged(role: Role) -> None:
    wire = with_data(role, 6)
    assert wire.talk(ack(1, 0b010)) == []
    assert wire.talk(ack(1, 0b110)) == []
    assert seqs(wire.talk(ack(1, 0b1110))) == [2]
    assert wire.events_of(Retransmit) == [
        Retransmit(stream_id=SID, seq=2, attempt=2, cause=RetransmitCause.GAP)
    ]


@both_roles
def test_the_same_gap_is_not_mended_twice(role: Role) -> None:
    wire = with_data(role, 8)
    assert seqs(wire.talk(ack(0, 0b1110))) == [1]
    # 5 was sent before the repetition: it says nothing about that.
    assert seqs(wire.talk(ack(0, 0b11110))) == []


@both_roles
def test_a_repetition_that_is_lost_is_found_by_what_was_sent_after_it(role: Role) -> None:
    wire = with_data(role, 4)
    assert seqs(wire.talk(ack(0, 0b1110))) == [1]
    for number in (5, 6, 7):
        wire.conn.send_data(SID, b"%d" % number)
    wire.sent()
    assert seqs(wire.talk(ack(0, 0b1111110))) == [1]
    assert [event.attempt for event in wire.events_of(Retransmit)] == [2, 3]


@both_roles
def test_several_gaps_are_mended_in_order(role: Role) -> None:
    wire = with_data(role, 8)
    assert seqs(wire.talk(ack(0, 0b1110100))) == [1, 2, 4]


@both_roles
def test_the_threshold_is_in_the_config(role: Role) -> None:
    wire = with_data(role, 4, RelayConfig(reorder_threshold=1))
    assert seqs(wire.talk(ack(0, 0b10))) == [1]


@both_roles
def test_a_bit_that_comes_late_saves_the_repetition(role: Role) -> None:
    wire = with_data(role, 4)
    wire.give(ack(0, 0b1110), ack(0, 0b1111))
    assert wire.sent() == []


# -- the timer


@both_roles
def test_the_timer_asks_and_repeats_nothing_blind(role: Role) -> None:
    wire = with_data(role, 2, RelayConfig(initial_rto=1, max_rto=4))
    sent = wire.timeline(16)
    assert [at for at, _ in sent] == [1, 3, 7, 11, 15]
    assert {frame for _, frame in sent} == {resume(3, own_of(role), PEER)}
    assert wire.state is StreamState.RESUMING
    assert wire.events_of(Retransmit) == []


@both_roles
def test_the_answer_to_the_timers_question_shows_what_is_missing(role: Role) -> None:
    wire = with_data(role, 3)
    wire.wait(1)
    assert seqs(wire.talk(resume(1, PEER, own_of(role), True, ack=1, bits=0b10))) == [2]
    assert wire.state is StreamState.OPEN
    # The link is the same: nothing was resumed as far as the application is concerned.
    assert wire.events_of(StreamResumed) == []


@both_roles
def test_no_new_data_goes_out_while_the_timers_question_is_open(role: Role) -> None:
    wire = with_data(role, 1)
    wire.wait(1)
    wire.conn.send_data(SID, b"2")
    assert wire.sent() == []
    # But acks may: both ends know each other on this link.
    assert of_kind(AckFrame, wire.talk(data(2))) == [ack(0, 0b10)]


@both_roles
def test_a_question_that_crosses_the_timers_starts_the_timer_again(role: Role) -> None:
    wire = with_data(role, 1, RelayConfig(min_rto=1, initial_rto=1))
    wire.wait(1)
    assert wire.state is StreamState.RESUMING
    assert wire.talk(resume(1, PEER, own_of(role))) == [resume(2, own_of(role), PEER, True)]
    # Should the answer to its own be lost, nothing else would ask.
    assert wire.wait(2) == [resume(2, own_of(role), PEER)]


@both_roles
def test_the_timer_starts_anew_with_each_new_report(role: Role) -> None:
    wire = with_data(role, 3, RelayConfig(min_rto=1, initial_rto=1))
    wire.clock.advance(0.1)
    wire.give(ack(1))
    wire.clock.advance(0.4)
    wire.give(ack(2))
    assert [at for at, _ in wire.timeline(1.5)] == [1.5]


@both_roles
def test_the_timer_of_what_is_held_is_not_that_of_new_data(role: Role) -> None:
    wire = with_data(role, 1, RelayConfig(min_rto=1, initial_rto=1))
    wire.give(ack(0, 0b1))
    wire.clock.advance(0.9)
    wire.conn.send_data(SID, b"2")
    assert [at for at, _ in wire.timeline(1.5)] == [0.9, 1.9]


@both_roles
def test_new_data_does_not_put_off_the_timer_of_what_is_missing(role: Role) -> None:
    wire = with_data(role, 1, RelayConfig(min_rto=1, initial_rto=1))
    wire.clock.advance(0.7)
    wire.conn.send_data(SID, b"2")
    assert [at for at, _ in wire.timeline(0.5)] == [0.7, 1]


@both_roles
def test_the_timer_rests_when_all_is_acknowledged(role: Role) -> None:
    wire = with_data(role, 3)
    wire.give(ack(3))
    assert wire.wait(29) == []


@both_roles
def test_an_acceptor_that_restarted_meanwhile_ends_the_stream_and_runs_nothing(role: Role) -> None:
    wire = with_data(role, 3)
    wire.give(ack(1))
    wire.wait(1)
    assert wire.talk(reset("unknown_stream")) == []
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.UNKNOWN_STREAM, EndedBy.PEER)
    assert end.unknown == range(2, 4)


@both_roles
def test_an_unanswered_heartbeat_asks(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=10))
    sent = wire.timeline(13.5)
    assert [(at, type(frame)) for at, frame in sent] == [
        (10, HeartbeatFrame),
        (11, ResumeFrame),
        (13, ResumeFrame),
    ]


@both_roles
def test_heartbeats_do_not_put_off_the_question_about_what_is_missing(role: Role) -> None:
    wire = with_data(role, 1, RelayConfig(heartbeat_interval=0.4, initial_rto=1, min_rto=1))
    sent = wire.timeline(1, lambda frame: ack(0) if isinstance(frame, HeartbeatFrame) else None)
    assert (1, resume(2, own_of(role), PEER)) in sent


@both_roles
def test_an_answered_heartbeat_asks_nothing(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=10))
    wire.wait(10)
    wire.give(ack(0))
    assert wire.wait(9.9) == []


# -- incarnations, and what is stale


@both_roles
def test_a_peer_of_another_incarnation_ends_the_stream(role: Role) -> None:
    wire = with_data(role, 2)
    wire.conn.send_data(SID, b"3")
    wire.give(data(1, b"x", ack=1))
    wire.conn.consume(SID, 1)
    wire.cut()
    wire.join()
    frames = wire.talk(resume(1, PEER + 1, own_of(role), True, ack=2))
    # Its ack speaks of another stream of messages, and ours is the last word to the old one.
    assert frames == [reset("peer_restarted", ack=1)]
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.PEER_RESTARTED, EndedBy.LOCAL)
    assert (end.unknown, end.never_sent) == (range(2, 3), range(3, 4))


def test_a_resume_for_another_life_of_the_opener_is_ignored_by_it() -> None:
    wire = open_opener()
    assert wire.talk(resume(1, PEER, OWN + 1)) == []
    assert wire.state is StreamState.OPEN
    assert wire.conn.stats().dropped == {FrameCause.FOREIGN_INCARNATION: 1}


def test_a_resume_for_another_life_of_the_acceptor_ends_its_stream() -> None:
    wire = open_acceptor()
    assert wire.talk(resume(1, PEER, ACCEPTED + 1)) == [reset("unknown_stream")]


@both_roles
def test_a_stale_resume_is_acknowledged_and_ignored(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2))
    wire.conn.consume(SID, 1)
    wire.wait(0.1)
    assert wire.talk(resume(2, PEER, own_of(role))) == [ack(1, 0b1)]
    assert wire.conn.stats().dropped == {FrameCause.STALE_RESUME: 1}


@both_roles
def test_a_stale_resume_does_not_open_the_gate(role: Role) -> None:
    wire = with_data(role, 1)
    wire.give(data(1), data(2))
    relink(wire)
    assert wire.talk(resume(1, PEER, own_of(role), True)) == []
    assert wire.state is StreamState.RESUMING


@both_roles
def test_a_resume_that_covers_what_was_never_sent_is_counted_and_ignored(role: Role) -> None:
    wire = with_data(role, 2)
    relink(wire)
    assert wire.talk(resume(1, PEER, own_of(role), True, ack=3)) == []
    assert wire.talk(resume(1, PEER, own_of(role), True, ack=1, bits=0b10)) == []
    assert wire.state is StreamState.RESUMING
    assert [event.cause for event in wire.events_of(FrameRejected)] == [
        FrameCause.ACK_BEYOND_SENT,
        FrameCause.ACK_BEYOND_SENT,
    ]


@both_roles
def test_a_resume_0_on_a_reliable_stream_says_nothing(role: Role) -> None:
    wire = open_end(role)
    relink(wire)
    assert wire.talk(resume(0)) == []
    assert wire.state is StreamState.RESUMING
    assert wire.conn.stats().dropped == {FrameCause.NOT_DECISIVE: 1}


@both_roles
def test_a_late_resume_with_an_older_ack_takes_nothing_back(role: Role) -> None:
    wire = with_data(role, 3)
    wire.give(ack(2))
    assert seqs(wire.talk(resume(1, PEER, own_of(role), ack=1, bits=0b1))) == []
    wire.give(ack(3))
    assert wire.events_of(DataAcknowledged)[-1].message_id == 3


# -- links


@both_roles
def test_a_lost_link_is_told_once_and_a_reliable_stream_waits(role: Role) -> None:
    wire = open_end(role)
    wire.cut()
    assert wire.events() == [LinkLost()]
    assert wire.state is StreamState.OPEN
    assert wire.sent() == []


@both_roles
def test_frames_that_come_without_a_link_are_dropped(role: Role) -> None:
    wire = open_end(role)
    wire.cut()
    wire.events()
    wire.give(data(1), resume(1, PEER, own_of(role)), reset("closed"))
    assert wire.events() == []
    assert wire.state is StreamState.OPEN
    assert wire.conn.stats().dropped == {FrameCause.NO_LINK: 3}


@both_roles
def test_any_number_of_link_losses_delivers_each_message_once(role: Role) -> None:
    wire = open_end(role)
    for round_ in range(1, 20):
        wire.give(data(round_, b"%d" % round_))
        wire.conn.consume(SID, 1)
        relinked = relink(wire)
        assert relinked == [resume(1, own_of(role), PEER, ack=round_)]
        wire.give(resume(round_ + 1, PEER, own_of(role), True))
        wire.give(data(round_, b"%d" % round_))
    received = [event.data for event in wire.log if isinstance(event, DataReceived)]
    assert received == [b"%d" % number for number in range(1, 20)]
    assert wire.conn.stats().duplicates_dropped == 19


@both_roles
def test_messages_and_resumptions_are_counted(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(2), data(3))
    assert wire.conn.stats().messages_received == 3
    for times in (1, 2, 3):
        relink(wire)
        wire.give(resume(4, PEER, own_of(role), True))
        assert wire.conn.stats().resumes == times
