"""Heartbeats, silence, giving up, and what the timers say."""

import pytest

from sansrelay import (
    EndedBy,
    PeerSilent,
    RelayConfig,
    ResetReason,
    Role,
    StreamReset,
    StreamState,
    TimerKind,
)
from sansrelay.frames import Frame, HeartbeatFrame
from sansrelay.testing import RelayPair
from wirekit import (
    PEER,
    SID,
    Wire,
    ack,
    assert_timers_exact,
    data,
    heartbeat,
    open_end,
    open_opener,
    opening,
    own_of,
    reset,
    resume,
    unconfirmed,
)

both_roles = pytest.mark.parametrize("role", Role)


def alive(frame: Frame) -> Frame | None:
    """A peer with nothing to say that answers heartbeats."""
    return ack(0) if isinstance(frame, HeartbeatFrame) else None


# -- heartbeats


@both_roles
def test_a_heartbeat_goes_out_when_nothing_else_was_sent_for_a_while(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=30))
    assert wire.timeline(100, alive) == [(at, heartbeat()) for at in (30, 60, 90)]


@both_roles
def test_whatever_is_sent_postpones_the_heartbeat(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=30))
    wire.wait(20)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(ack(1))
    assert [at for at, _ in wire.timeline(35, alive)] == [50]


@both_roles
def test_what_is_received_does_not_postpone_the_heartbeat(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=30))
    wire.wait(20)
    wire.give(ack(0))
    assert [at for at, _ in wire.timeline(35, alive)] == [30]


@both_roles
def test_a_heartbeat_carries_the_acks(role: Role) -> None:
    wire = open_end(role)
    wire.give(data(1), data(3))
    wire.sent()
    wire.conn.consume(SID, 1)
    wire.wait(0.1)
    assert wire.wait(30) == [heartbeat(1, 0b10)]


@both_roles
def test_there_is_no_heartbeat_without_a_link(role: Role) -> None:
    wire = open_end(role)
    wire.cut()
    assert wire.wait(299) == []
    assert wire.state is StreamState.OPEN


def test_each_stream_has_its_own_heartbeat() -> None:
    wire = Wire(Role.HARNESS)
    for sid in "ab":
        wire.conn.open_stream(sid)
        wire.give(resume(1, PEER, own_of(Role.HARNESS), sid=sid))
        wire.sent()
        wire.clock.advance(1)
    sent = wire.timeline(30.5)
    assert [(at, frame.stream_id) for at, frame in sent[:1]] == [(30, "a")]
    assert (31, heartbeat(sid="b")) in sent


# -- silence


@both_roles
def test_a_peer_that_does_not_answer_is_silent_and_that_is_said_once(role: Role) -> None:
    wire = open_end(role, RelayConfig(silence_timeout=20))
    wire.wait(1)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.wait(19.9)
    assert wire.events_of(PeerSilent) == []
    wire.wait(200)
    assert wire.events_of(PeerSilent) == [PeerSilent(stream_id=SID, silence=20)]


@both_roles
def test_silence_is_said_again_after_the_peer_was_heard(role: Role) -> None:
    wire = open_end(role, RelayConfig(silence_timeout=3))
    wire.conn.send_data(SID, b"x")
    wire.wait(10)
    wire.give(data(1))
    said_at = wire.clock() + 3
    wire.wait(2.9)
    assert len(wire.events_of(PeerSilent)) == 1
    assert wire.conn.next_timeout() == said_at
    wire.wait(0.1)
    assert wire.events_of(PeerSilent) == [PeerSilent(stream_id=SID, silence=3)]


@both_roles
def test_a_peer_of_whom_nothing_is_wanted_is_not_silent(role: Role) -> None:
    wire = open_end(role)
    wire.timeline(1000, alive)
    assert wire.events() == []


@both_roles
def test_an_unanswered_heartbeat_is_silence(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=30, silence_timeout=20))
    wire.wait(49.9)
    assert wire.events_of(PeerSilent) == []
    wire.wait(0.2)
    assert len(wire.events_of(PeerSilent)) == 1


@both_roles
def test_silence_counts_from_the_opening_of_the_link(role: Role) -> None:
    wire = open_end(role, RelayConfig(silence_timeout=20))
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.wait(60)
    wire.join()
    wire.wait(19.9)
    assert wire.events_of(PeerSilent) == [], "without a link nobody can be heard"
    wire.wait(0.2)
    assert wire.events_of(PeerSilent) == [PeerSilent(stream_id=SID, silence=20)]


def test_silence_is_said_of_a_stream_that_is_opening() -> None:
    wire = opening()
    wire.wait(100)
    assert wire.events() == [PeerSilent(stream_id=SID, silence=20)]


def test_nothing_is_said_of_a_stream_that_was_never_announced() -> None:
    wire = unconfirmed()
    wire.wait(400)
    assert wire.events() == []


@both_roles
def test_silence_is_not_said_where_giving_up_comes_first(role: Role) -> None:
    wire = open_end(role, RelayConfig(silence_timeout=20, resume_timeout=10))
    wire.conn.send_data(SID, b"x")
    wire.wait(100)
    assert [type(event) for event in wire.events()] == [StreamReset]


# -- giving up


def gives_up_at(wire: Wire) -> float:
    """When the usual stream ends by itself; what is sent then is the reset."""
    sent = wire.timeline(400)
    wire.events()
    (end,) = [event for event in wire.log if isinstance(event, StreamReset)]
    assert (end.known_reason, end.by) == (ResetReason.TIMEOUT, EndedBy.LOCAL)
    at, frame = sent[-1]
    assert frame._replace(ack=0, ack_bits=0) == reset("timeout")
    return at


GIVING_UP = RelayConfig(resume_timeout=300)


def test_an_opening_that_nobody_answers_is_given_up() -> None:
    wire = opening(GIVING_UP)
    wire.conn.send_data(SID, b"x")
    assert gives_up_at(wire) == 300
    end = wire.log[-1]
    assert isinstance(end, StreamReset)
    assert end.unknown == range(1, 2)


def test_a_stream_is_given_up_if_no_link_ever_comes() -> None:
    wire = Wire(Role.HARNESS, GIVING_UP, link=False, start=5)
    wire.wait(5)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.conn.next_timeout() == 310
    wire.wait(400)
    (end,) = wire.events_of(StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.TIMEOUT, EndedBy.LOCAL)
    assert end.never_sent == range(1, 2)


def test_the_wait_for_the_first_link_counts() -> None:
    wire = Wire(Role.HARNESS, GIVING_UP, link=False)
    wire.conn.open_stream(SID)
    wire.conn.open_stream("given up at once")
    wire.conn.reset_stream("given up at once")
    wire.events()
    wire.log.clear()
    wire.wait(100)
    wire.join()
    assert gives_up_at(wire) == 300


def test_an_opening_is_given_up_across_link_losses() -> None:
    wire = opening(GIVING_UP)
    for _ in range(5):
        wire.wait(20)
        wire.cut()
        wire.wait(20)
        wire.join()
    assert gives_up_at(wire) == 300


def test_frames_that_say_nothing_decisive_do_not_keep_an_opening_alive() -> None:
    wire = opening(GIVING_UP)
    for _ in range(20):
        wire.wait(10)
        wire.give(ack(0), heartbeat(), data(7))
    assert gives_up_at(wire) == 300


def test_an_unconfirmed_stream_is_given_up_without_a_word_to_the_application() -> None:
    wire = unconfirmed(GIVING_UP)
    sent = wire.timeline(400)
    assert sent[-1] == (300, reset("timeout"))
    assert wire.events() == []


def test_openings_that_are_repeated_do_not_keep_an_unconfirmed_stream_alive() -> None:
    wire = unconfirmed(GIVING_UP)
    for _ in range(20):
        wire.wait(10)
        wire.give(resume(1, PEER), data(1), ack(0), heartbeat())
    assert wire.timeline(400)[-1] == (300, reset("timeout"))


def test_an_unconfirmed_stream_is_given_up_without_a_link_too() -> None:
    wire = unconfirmed(GIVING_UP)
    wire.give(data(1))
    wire.cut()
    wire.wait(301)
    assert wire.state is StreamState.ENDED
    assert wire.join() == [reset("timeout")]
    assert wire.conn.stats().bytes_held == 0


@both_roles
def test_an_open_stream_whose_data_nobody_answers_is_given_up(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    wire.wait(7)
    wire.conn.send_data(SID, b"x")
    assert gives_up_at(wire) == 307


@both_roles
def test_an_open_stream_whose_heartbeats_nobody_answers_is_given_up(role: Role) -> None:
    assert gives_up_at(open_end(role, GIVING_UP)) == 330


@both_roles
def test_an_open_stream_without_a_link_is_given_up(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    wire.wait(7)
    wire.cut()
    assert wire.wait(299.9) == []
    assert wire.state is StreamState.OPEN
    assert wire.wait(0.2) == []
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.TIMEOUT, EndedBy.LOCAL)
    assert wire.join() == [reset("timeout")]


@both_roles
def test_a_resuming_stream_is_given_up_counting_from_the_loss_of_its_link(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    wire.wait(7)
    wire.cut()
    wire.clock.advance(10)
    wire.conn.link_opened(wire.clock())
    assert gives_up_at(wire) == 307


@both_roles
def test_links_that_come_and_go_do_not_postpone_the_end(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    for _ in range(7):
        wire.cut()
        wire.wait(20)
        wire.join()
        wire.wait(20)
    assert gives_up_at(wire) == 300


@both_roles
@pytest.mark.parametrize("frame", [ack(0), data(1), heartbeat(), data(5)])
def test_any_answer_counts(role: Role, frame: Frame) -> None:
    wire = open_end(role, GIVING_UP)
    wire.conn.send_data(SID, b"x")
    for _ in range(10):
        wire.wait(200)
        wire.give(frame)
    assert gives_up_at(wire) == 2300


@both_roles
def test_what_remains_unanswered_after_an_answer_counts(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    wire.clock.advance(7)
    wire.give(ack(1))
    assert gives_up_at(wire) == 307


@both_roles
def test_a_resume_is_an_answer(role: Role) -> None:
    wire = open_end(role, GIVING_UP)
    wire.conn.send_data(SID, b"x")
    for _ in range(10):
        wire.wait(200)
        wire.give(resume(1, PEER, own_of(role), True))
    assert gives_up_at(wire) == 2300


def test_a_peer_that_is_there_is_never_given_up() -> None:
    pair = RelayPair(config=RelayConfig(resume_timeout=40))
    pair.harness.conn.open_stream(SID)
    pair.run(5000)
    assert pair.harness.ended == pair.executor.ended == {}
    assert pair.harness.events_of(PeerSilent) == pair.executor.events_of(PeerSilent) == []


# -- the timers


@both_roles
def test_an_open_stream_at_rest_has_no_timer_but_its_heartbeat(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(data(1, ack=1))
    wire.conn.consume(SID, 1)
    wire.wait(0.1)
    assert wire.conn.next_timeout_reason == (TimerKind.HEARTBEAT, SID)
    wire.timeline(30, alive)
    assert wire.conn.next_timeout_reason == (TimerKind.HEARTBEAT, SID)


@both_roles
def test_a_connection_without_streams_has_no_timer(role: Role) -> None:
    wire = Wire(role)
    assert wire.conn.next_timeout() is None
    assert wire.conn.next_timeout_reason is None
    wire = open_end(role)
    wire.conn.reset_stream(SID)
    wire.sent()
    assert wire.conn.next_timeout() is None
    assert wire.conn.next_timeout_reason is None


def reasons(wire: Wire) -> tuple[TimerKind, str]:
    assert_timers_exact(wire.conn)
    reason = wire.conn.next_timeout_reason
    assert reason is not None
    return reason


@both_roles
def test_every_deadline_says_what_it_is_for(role: Role) -> None:
    wire = open_end(role)
    assert reasons(wire) == (TimerKind.HEARTBEAT, SID)
    wire.give(data(1))
    wire.conn.consume(SID, 1)
    wire.sent()
    assert reasons(wire) == (TimerKind.ACK_DELAY, SID)
    wire.wait(0.1)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert reasons(wire) == (TimerKind.RTO, SID)
    wire.wait(1)
    assert reasons(wire) == (TimerKind.QUESTION, SID)
    wire.cut()
    assert reasons(wire) == (TimerKind.RESUME_TIMEOUT, SID)


def test_the_other_deadlines_say_what_they_are_for() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1))
    assert reasons(wire) == (TimerKind.PENDING, SID)
    wire = opening(RelayConfig(silence_timeout=0.5))
    assert reasons(wire) == (TimerKind.SILENCE, SID)


def test_the_first_deadline_of_many_streams_is_the_next() -> None:
    wire = Wire(Role.HARNESS)
    for number in range(20):
        wire.conn.open_stream(f"s{number}")
        wire.sent()
        wire.clock.advance(0.01)
    assert wire.conn.next_timeout() == 1
    assert wire.conn.next_timeout_reason == (TimerKind.QUESTION, "s0")
    wire.give(resume(1, PEER, own_of(Role.HARNESS), True, sid="s0"))
    wire.sent()
    assert wire.conn.next_timeout_reason == (TimerKind.QUESTION, "s1")


@both_roles
def test_handling_a_timeout_early_or_twice_is_harmless(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    when = wire.conn.next_timeout()
    for _ in range(3):
        wire.conn.handle_timeout(wire.clock())
    assert wire.conn.next_timeout() == when
    assert wire.sent() == []


@both_roles
def test_handling_a_timeout_late_serves_all_that_is_due_at_once(role: Role) -> None:
    wire = open_end(role, RelayConfig(resume_timeout=300))
    wire.give(data(1))
    wire.conn.consume(SID, 1)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.clock.advance(100)
    wire.conn.handle_timeout(wire.clock())
    assert wire.sent() == [resume(2, own_of(role), PEER, ack=1)]
    assert wire.events_of(PeerSilent) == [PeerSilent(stream_id=SID, silence=100)]
    wire.clock.advance(1000)
    wire.conn.handle_timeout(wire.clock())
    assert wire.sent() == [reset("timeout", ack=1)]


@both_roles
def test_the_timers_follow_the_link(role: Role) -> None:
    config = RelayConfig(heartbeat_interval=1000, resume_timeout=300, silence_timeout=20)
    wire = open_end(role, config)
    wire.cut()
    assert_timers_exact(wire.conn)
    assert wire.conn.next_timeout() == 300
    wire.conn.link_opened(wire.clock())
    assert_timers_exact(wire.conn)
    wire.sent()
    assert_timers_exact(wire.conn)


@both_roles
def test_a_timer_of_the_old_link_does_not_go_off_on_the_new_one(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.clock.advance(5)
    wire.join()
    assert wire.conn.next_timeout() == 6
    assert wire.conn.next_timeout_reason == (TimerKind.QUESTION, SID)


def test_a_stream_that_had_nothing_to_say_but_its_opening_beats_too() -> None:
    wire = opening()
    wire.wait(0.5)
    assert wire.talk(resume(1)) == []
    assert wire.timeline(30) == [(30, heartbeat())]


@both_roles
def test_a_heartbeat_beside_a_question_leaves_the_asking_to_the_question(role: Role) -> None:
    wire = open_end(role, RelayConfig(heartbeat_interval=0.5))
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.clock.advance(1)
    wire.conn.handle_timeout(wire.clock())  # late: the heartbeat was due before the time-out
    question = resume(2, own_of(role), PEER)
    assert wire.timeline(10) == [(1, question), (1, heartbeat()), (3, question), (7, question)]


def test_a_timer_after_a_drain_is_never_in_the_past() -> None:
    wire = open_opener(RelayConfig(heartbeat_interval=1, silence_timeout=2, resume_timeout=60))
    for seconds in (0.3, 1, 7, 20):
        wire.conn.send_data(SID, b"x")
        wire.clock.advance(seconds)
        wire.conn.handle_timeout(wire.clock())
        wire.sent()
        when = wire.conn.next_timeout()
        assert when is not None
        assert when > wire.clock()
