"""How a stream begins: opening, confirmation, unknown ids."""

import pytest

from sansrelay import (
    AckCause,
    AckDue,
    DataReceived,
    EndedBy,
    FrameCause,
    FrameRejected,
    Profile,
    RelayConfig,
    ResetReason,
    Role,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.config import SEGMENT_OVERHEAD
from sansrelay.frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from wirekit import (
    ACCEPTED,
    EXECUTOR,
    OWN,
    PEER,
    SID,
    Wire,
    ack,
    data,
    handshake,
    heartbeat,
    of_kind,
    open_acceptor,
    open_opener,
    opening,
    reset,
    resume,
    seqs,
    unconfirmed,
)

UNKNOWN = reset("unknown_stream")

# -- the opener


def test_an_opener_announces_itself_before_its_data() -> None:
    wire = Wire(Role.HARNESS)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"one")
    wire.conn.send_data(SID, b"two")
    assert wire.sent() == [resume(1, OWN), data(1, b"one"), data(2, b"two")]
    assert wire.state is StreamState.OPENING
    assert wire.profile is Profile.UNKNOWN


def test_an_opening_is_the_same_on_any_link_whatever_was_sent() -> None:
    wire = opening()
    for _ in range(3):
        wire.conn.send_data(SID, b"x")
    assert seqs(wire.sent()) == [1, 2, 3]
    for _ in range(2):
        wire.cut()
        assert wire.join() == [resume(1, OWN)]
        assert set(wire.wait(5)) == {resume(1, OWN)}


def test_an_opening_is_repeated_at_the_pace_of_the_rto() -> None:
    wire = opening(RelayConfig(initial_rto=1, max_rto=4))
    sent = wire.timeline(16)
    assert [at for at, _ in sent] == [1, 3, 7, 11, 15]
    assert {frame for _, frame in sent} == {resume(1, OWN)}


def test_an_opener_sends_no_ack_nor_heartbeat_before_it_knows_its_peer() -> None:
    wire = opening(RelayConfig(heartbeat_interval=0.5))
    wire.give(data(1), data(2), data(2), data(5), heartbeat(), ack(0))
    frames = wire.wait(60)
    assert {type(frame) for frame in frames} == {ResumeFrame}
    assert wire.events_of(DataReceived) == []


@pytest.mark.parametrize("frame", [data(1), data(3), ack(0), ack(2, 1), heartbeat(), heartbeat(1)])
def test_an_opener_ignores_all_but_resume_and_reset(frame: Frame) -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.conn.send_data(SID, b"z")
    wire.sent()
    assert wire.talk(frame) == []
    assert wire.events() == []
    assert wire.state is StreamState.OPENING
    assert wire.conn.stats().dropped == {FrameCause.NOT_DECISIVE: 1}
    # Nor did it believe the ack.
    assert wire.conn.send_capacity(SID) == RelayConfig().send_buffer_size - 3


def test_an_opener_that_is_reset_is_over() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(reset("executor_unavailable")) == []
    (end,) = wire.events_of(StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.EXECUTOR_UNAVAILABLE, EndedBy.PEER)
    assert end.unknown == range(1, 2)


def test_an_opener_whose_data_outlived_its_opening_opens_again() -> None:
    # The opening was lost and the acceptor could make nothing of the data alone.
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(reset("unknown_stream")) == []
    assert wire.state is StreamState.OPENING
    assert wire.conn.stats().dropped == {FrameCause.NOT_DECISIVE: 1}
    assert resume(1, OWN) in wire.wait(2)
    assert wire.talk(resume(1, PEER, OWN)) == [resume(2, OWN, PEER, True)]


def test_a_reliable_answer_opens_and_is_answered_by_a_resume_that_confirms() -> None:
    wire = opening()
    assert wire.talk(resume(1, PEER, OWN)) == [resume(1, OWN, PEER, True)]
    assert wire.events() == [StreamOpened(stream_id=SID, profile=Profile.RELIABLE)]
    assert (wire.state, wire.profile) == (StreamState.OPEN, Profile.RELIABLE)


def test_data_waits_for_nothing_once_the_peer_is_known() -> None:
    wire = opening()
    wire.give(resume(1, PEER, OWN))
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == [resume(1, OWN, PEER, True), data(1, b"x")]


def test_an_opener_ignores_a_resume_that_names_another_incarnation() -> None:
    wire = opening()
    assert wire.talk(resume(1, PEER, OWN + 1)) == []
    assert wire.state is StreamState.OPENING
    assert wire.conn.stats().dropped == {FrameCause.FOREIGN_INCARNATION: 1}


def test_a_resume_whose_ack_covers_what_was_never_sent_opens_nothing() -> None:
    wire = opening()
    assert wire.talk(resume(1, PEER, OWN, ack=1)) == []
    assert wire.state is StreamState.OPENING
    assert [event.cause for event in wire.events_of(FrameRejected)] == [FrameCause.ACK_BEYOND_SENT]


# -- the opener's first data


def test_data_to_an_unknown_peer_is_sent_once_only() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == [data(1, b"x")]
    assert seqs(wire.wait(299)) == []


def test_data_to_an_unknown_peer_is_not_segmented() -> None:
    wire = opening(RelayConfig(segment_size=10))
    wire.conn.send_data(SID, b"x" * 95)
    assert wire.sent() == [data(1, b"x" * 95)]


def test_what_has_a_seq_is_never_cut_anew() -> None:
    wire = opening(RelayConfig(segment_size=10))
    wire.conn.send_data(SID, b"x" * 25)
    wire.conn.send_data(SID, b"y" * 25)
    assert wire.sent() == [data(1, b"x" * 25), data(2, b"y" * 25)]
    wire.cut()
    wire.join()
    wire.conn.send_data(SID, b"z" * 25)
    frames = wire.talk(resume(1, PEER, OWN))
    assert of_kind(DataFrame, frames) == [
        data(1, b"x" * 25),
        data(2, b"y" * 25),
        data(3, b"z" * 10, index=0, count=3),
        data(4, b"z" * 10, index=1, count=3),
        data(5, b"z" * 5, index=2, count=3),
    ]


def test_the_window_towards_an_unknown_peer_is_32_segments() -> None:
    wire = opening()
    for _ in range(40):
        wire.conn.send_data(SID, b"x")
    assert seqs(wire.sent()) == list(range(1, 33))
    assert seqs(wire.talk(resume(1, PEER, OWN))) == list(range(33, 41))


def test_the_window_towards_an_unknown_peer_counts_whole_messages() -> None:
    wire = opening(RelayConfig(segment_size=10, send_window_bytes=100))
    wire.conn.send_data(SID, b"x" * 60)
    wire.conn.send_data(SID, b"y" * 60)
    assert seqs(wire.sent()) == [1]


def test_after_a_link_loss_an_unknown_peer_gets_nothing_but_the_resume() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.conn.send_data(SID, b"y")
    assert wire.join() == [resume(1, OWN)]
    assert set(wire.wait(100)) == {resume(1, OWN)}


def test_a_stream_that_never_spoke_begins_on_the_next_link_as_on_the_first() -> None:
    wire = Wire(Role.HARNESS)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"x")
    wire.cut()
    assert wire.join() == [resume(1, OWN), data(1, b"x")]


def test_a_stream_may_be_opened_while_there_is_no_link() -> None:
    wire = Wire(Role.HARNESS, link=False)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == []
    assert wire.join() == [resume(1, OWN), data(1, b"x")]


# -- the acceptor


def test_an_acceptor_answers_an_opening_with_a_question_that_names_it() -> None:
    wire = Wire(Role.EXECUTOR)
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER)]
    assert (wire.state, wire.profile) == (StreamState.UNCONFIRMED, Profile.RELIABLE)
    assert wire.events() == []


def test_each_accepted_stream_has_an_incarnation_of_its_own() -> None:
    wire = Wire(Role.EXECUTOR)
    frames = wire.talk(*[resume(1, PEER, sid=f"s{i}") for i in range(5)])
    own = [frame.incarnation for frame in of_kind(ResumeFrame, frames)]
    assert len(set(own)) == 5
    assert EXECUTOR not in own


def test_an_incarnation_is_never_0_and_never_twice_the_same() -> None:
    wire = Wire(Role.EXECUTOR, incarnation=2**64 - 2)
    openings = [resume(1, PEER, sid=sid) for sid in "abc"]
    frames = of_kind(ResumeFrame, wire.talk(*openings))
    assert [frame.incarnation for frame in frames] == [2**64 - 1, 1, 2]


@pytest.mark.parametrize(
    "confirming",
    [
        resume(3, PEER, ACCEPTED, True),
        resume(3, PEER, ACCEPTED, False),
    ],
)
def test_any_resume_that_names_the_acceptor_confirms(confirming: ResumeFrame) -> None:
    wire = unconfirmed()
    wire.give(data(1, b"one"), data(2, b"two"))
    frames = wire.talk(confirming)
    assert wire.state is StreamState.OPEN
    events = wire.events()
    assert events[:3] == [
        StreamOpened(stream_id=SID, profile=Profile.RELIABLE),
        DataReceived(stream_id=SID, data=b"one"),
        DataReceived(stream_id=SID, data=b"two"),
    ]
    # What was held is reported at once; the answer to a question does it, or an ack.
    if confirming.answer:
        assert frames == [ack(0, 0b11)]
    else:
        assert frames == [resume(1, ACCEPTED, PEER, True, bits=0b11)]


def test_an_unconfirmed_acceptor_delivers_nothing() -> None:
    wire = unconfirmed()
    wire.give(data(1), data(2), data(1), heartbeat(), ack(0))
    wire.wait(100)
    assert wire.events() == []


def test_an_unconfirmed_acceptor_sends_resume_and_reset_only() -> None:
    wire = unconfirmed(RelayConfig(heartbeat_interval=1, resume_timeout=50))
    wire.give(data(1), data(1), data(4), heartbeat(), ack(0))
    wire.conn.send_data(SID, b"early bird")
    frames = wire.wait(100)
    assert frames[-1] == reset("timeout")
    assert {type(frame) for frame in frames[:-1]} == {ResumeFrame}


def test_an_unconfirmed_acceptor_asks_at_the_pace_of_the_rto_until_confirmed() -> None:
    wire = unconfirmed(RelayConfig(initial_rto=1, max_rto=4))
    sent = wire.timeline(16)
    assert [at for at, _ in sent] == [1, 3, 7, 11, 15]
    assert {frame for _, frame in sent} == {resume(1, ACCEPTED, PEER)}
    wire.give(resume(1, PEER, ACCEPTED, True))
    assert wire.wait(25) == []


def test_held_data_is_reported_and_dropped_data_is_not() -> None:
    wire = unconfirmed(RelayConfig(unconfirmed_buffer_size=10 + 2 * SEGMENT_OVERHEAD))
    wire.give(data(1, b"x" * 4), data(2, b"y" * 7), data(3, b"z" * 6), data(4, b"w"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 2}
    (question,) = wire.wait(1)
    assert question == resume(1, ACCEPTED, PEER, bits=0b101)
    # Once confirmed there is room again, and nothing was lost for good.
    wire.give(resume(5, PEER, ACCEPTED, True), data(2, b"y" * 7), data(4, b"w"))
    assert [event.data for event in wire.events_of(DataReceived)] == [
        b"x" * 4,
        b"y" * 7,
        b"z" * 6,
        b"w",
    ]


def test_the_budget_of_unconfirmed_streams_is_shared_and_given_back() -> None:
    config = RelayConfig(unconfirmed_buffer_size=10 + SEGMENT_OVERHEAD)
    wire = Wire(Role.EXECUTOR, config)
    wire.give(resume(1, PEER, sid="a"), resume(1, PEER, sid="b"), resume(1, PEER, sid="c"))
    wire.give(data(1, b"x" * 8, sid="a"), data(1, b"x" * 8, sid="b"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}
    wire.give(reset("cancelled", sid="a"), data(1, b"x" * 8, sid="b"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}
    wire.give(resume(2, PEER, ACCEPTED + 1, sid="b"), data(1, b"x" * 8, sid="c"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}
    # Confirmed data does not count against it.
    wire.give(data(2, b"x" * 8, sid="b"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}


def test_the_end_of_a_confirmed_stream_gives_nothing_to_the_unconfirmed() -> None:
    wire = open_acceptor(RelayConfig(unconfirmed_buffer_size=10 + SEGMENT_OVERHEAD))
    wire.give(data(1, b"x" * 8))
    wire.conn.reset_stream(SID)
    wire.give(resume(1, PEER, sid="b"), data(1, b"x" * 8, sid="b"), data(2, b"x" * 8, sid="b"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}


@pytest.mark.parametrize(
    ("payload", "index", "count"), [(b"x" * 101, 0, 1), (b"x" * 60, 1, 3), (b"x", 0, 101)]
)
def test_a_segment_that_can_never_be_taken_ends_an_unconfirmed_stream(
    payload: bytes, index: int, count: int
) -> None:
    wire = unconfirmed(RelayConfig(max_message_size=100, segment_size=100))
    frames = wire.talk(data(1, payload, index=index, count=count))
    assert frames == [reset("message_too_large")]
    assert [type(event) for event in wire.events()] == [FrameRejected]


def test_what_was_held_may_break_a_rule_when_it_is_put_together() -> None:
    wire = unconfirmed()
    wire.give(data(1, b"x", index=0, count=2), data(2, b"y", index=0, count=1))
    assert wire.talk(resume(3, PEER, ACCEPTED, True)) == [reset("protocol_error", ack=1)]
    events = wire.events()
    assert [type(event) for event in events] == [StreamOpened, FrameRejected, StreamReset]
    assert wire.conn.stats().bytes_held == 0


def test_the_reply_to_a_repeated_opening_stays_a_question_until_confirmed() -> None:
    wire = unconfirmed()
    for _ in range(3):
        assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER, False)]
    assert wire.state is StreamState.UNCONFIRMED


def test_a_stale_opening_on_a_confirmed_stream_is_answered_and_changes_nothing() -> None:
    wire = open_acceptor()
    wire.give(data(1))
    wire.sent()
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER, True, bits=1)]
    assert wire.state is StreamState.OPEN


def test_a_stale_opening_after_a_restart_runs_nothing() -> None:
    # The opener lives and knew the acceptor's earlier life; its old frames are still about.
    config = RelayConfig(resume_timeout=60)
    wire = Wire(Role.EXECUTOR, config)
    wire.give(resume(1, PEER), data(1, b"rm -rf"), data(2), resume(3, PEER, ACCEPTED ^ 0xFF00))
    assert wire.sent()[-1] == reset("unknown_stream")
    wire = Wire(Role.EXECUTOR, config)
    wire.give(resume(1, PEER), data(1, b"rm -rf"), data(2))
    wire.wait(30)
    wire.give(resume(1, PEER), data(1, b"rm -rf"))
    assert wire.wait(31)[-1] == reset("timeout")
    # The harness could not be told of either: nothing was delivered, nothing opened.
    assert wire.events() == []


def test_repeated_openings_do_not_keep_an_unconfirmed_stream_alive() -> None:
    wire = unconfirmed(RelayConfig(resume_timeout=10))
    for _ in range(9):
        wire.wait(1)
        wire.give(resume(1, PEER))
    assert wire.wait(1.5)[-1] == reset("timeout")


def test_an_opening_of_another_incarnation_ends_the_stream() -> None:
    for wire in (unconfirmed(), open_acceptor()):
        assert wire.talk(resume(1, PEER + 1)) == [reset("peer_restarted")]
        assert wire.state is StreamState.ENDED


def test_a_resume_that_names_another_acceptor_ends_the_stream() -> None:
    for wire in (unconfirmed(), open_acceptor()):
        assert wire.talk(resume(1, PEER, ACCEPTED + 7)) == [reset("unknown_stream")]
        assert wire.state is StreamState.ENDED


def test_a_reset_ends_an_unconfirmed_stream_without_a_word() -> None:
    wire = unconfirmed()
    wire.give(data(1))
    assert wire.talk(reset("cancelled", ack=7)) == []
    assert wire.wait(400) == []
    assert wire.events() == []
    assert wire.conn.stats().bytes_held == 0


# -- early data


def test_early_data_is_delivered_before_the_confirmation() -> None:
    wire = unconfirmed(RelayConfig(early_data=True))
    wire.give(data(1, b"now"))
    assert wire.state is StreamState.UNCONFIRMED
    assert wire.events() == [
        StreamOpened(stream_id=SID, profile=Profile.RELIABLE),
        DataReceived(stream_id=SID, data=b"now"),
    ]


def test_early_data_is_acknowledged_and_answered_only_after_the_confirmation() -> None:
    wire = unconfirmed(RelayConfig(early_data=True))
    wire.give(data(1, b"now"))
    wire.conn.consume(SID, 1)
    wire.conn.send_data(SID, b"answer")
    assert {type(frame) for frame in wire.wait(3)} == {ResumeFrame}
    frames = wire.talk(resume(2, PEER, ACCEPTED, True))
    assert frames == [data(1, b"answer", ack=1)]
    assert [type(event) for event in wire.events()] == [StreamOpened, DataReceived, AckDue]


def test_early_data_that_is_never_confirmed_has_an_end() -> None:
    wire = unconfirmed(RelayConfig(early_data=True, resume_timeout=30))
    wire.give(data(1))
    wire.conn.send_data(SID, b"answer")
    wire.wait(31)
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert end.known_reason is ResetReason.TIMEOUT
    assert end.never_sent == range(1, 2)


def test_early_data_is_not_delivered_twice_by_the_confirmation() -> None:
    wire = unconfirmed(RelayConfig(early_data=True))
    wire.give(data(1, b"a"), data(3, b"c"), resume(4, PEER, ACCEPTED, True), data(2, b"b"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"a", b"b", b"c"]
    assert wire.conn.stats().streams_opened == 1


# -- a reliable peer without incarnations


def test_an_opener_without_incarnation_is_confirmed_at_once() -> None:
    wire = Wire(Role.EXECUTOR)
    assert wire.talk(resume(1)) == [resume(1, ACCEPTED, 0, True)]
    assert wire.events() == [StreamOpened(stream_id=SID, profile=Profile.RELIABLE)]
    wire.give(data(1, b"go"))
    assert wire.events_of(DataReceived) == [DataReceived(stream_id=SID, data=b"go")]


def test_an_acceptor_without_incarnation_opens_and_is_not_answered() -> None:
    # It might take our answer for a question, and two ends would answer each other for ever.
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(resume(1, ack=1)) == []
    assert wire.state is StreamState.OPEN


def test_two_ends_do_not_answer_each_other_for_ever_without_the_answer_flag() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(resume(1))
    echoes = 0
    for _ in range(50):
        frames = of_kind(ResumeFrame, wire.wait(0.01))
        echoes += len(frames)
        for _ in frames:
            wire.give(resume(1))
    assert echoes == 1


def test_a_peer_that_gains_an_incarnation_has_restarted() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.talk(resume(1))
    assert wire.talk(resume(1, PEER)) == [reset("peer_restarted")]


# -- unknown ids


@pytest.mark.parametrize(
    "frame",
    [
        data(0),
        data(1),
        data(9, ack=4),
        ack(0),
        ack(3, 7),
        heartbeat(),
        resume(0),
        resume(1),
        resume(1, PEER),
        resume(4, PEER, OWN),
        resume(4, PEER, OWN, True),
        handshake(),
    ],
)
def test_an_opener_answers_any_frame_of_an_unknown_stream_with_a_reset(frame: Frame) -> None:
    wire = Wire(Role.HARNESS)
    assert wire.talk(frame) == [UNKNOWN]
    assert wire.events() == []
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 1}
    assert wire.state is None


@pytest.mark.parametrize(
    "frame",
    [
        ack(0),
        ack(3, 7),
        heartbeat(),
        heartbeat(5),
        data(0, ack=1),
        data(0, bits=1),
        resume(0, ack=1),
        resume(2, PEER),
        resume(2),
        resume(1, PEER, ack=1),
        resume(1, ack=1),
        resume(1, PEER, ACCEPTED),
        resume(1, PEER, EXECUTOR),
        resume(1, PEER, ACCEPTED, True),
        resume(1, 0, ACCEPTED),
        resume(3, PEER, 5),
    ],
)
def test_an_acceptor_that_has_forgotten_its_peer_says_so(frame: Frame) -> None:
    wire = Wire(Role.EXECUTOR)
    assert wire.talk(frame) == [UNKNOWN]
    assert wire.events() == []
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 1}
    assert wire.state is None
    assert wire.wait(400) == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("reason", ["unknown_stream", "closed", "whatever"])
def test_a_reset_is_never_answered(role: Role, reason: str) -> None:
    wire = Wire(role)
    assert wire.talk(reset(reason), reset(reason, sid="other", ack=3)) == []
    assert wire.wait(400) == []
    assert wire.events() == []


def test_data_whose_opening_follows_in_time_is_kept() -> None:
    wire = Wire(Role.EXECUTOR)
    assert wire.talk(data(2, b"two"), data(1, b"one")) == []
    wire.wait(1.9)
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER, bits=0b11)]
    assert wire.events() == []
    wire.give(resume(3, PEER, ACCEPTED, True))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"one", b"two"]


def test_data_whose_opening_does_not_follow_is_answered_with_a_reset() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1))
    assert wire.conn.stats().bytes_held == 1 + SEGMENT_OVERHEAD
    assert [(at, frame) for at, frame in wire.timeline(10)] == [(2, UNKNOWN)]
    assert wire.conn.stats().bytes_held == 0
    assert wire.conn.next_timeout() is None


def test_a_later_segment_does_not_postpone_the_answer() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1))
    wire.wait(1.5)
    wire.give(data(2))
    assert [at for at, _ in wire.timeline(10)] == [2]


def test_data_without_an_opening_dies_with_its_link_or_a_reset() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1), data(1, sid="other"))
    wire.give(reset("cancelled", sid="other"))
    assert wire.conn.stats().bytes_held == 1 + SEGMENT_OVERHEAD
    wire.cut()
    assert wire.conn.stats().bytes_held == 0
    wire.conn.link_opened(wire.clock())
    assert wire.wait(10) == []


def test_a_bad_segment_that_waited_ends_its_stream_and_no_more() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(max_message_size=100, segment_size=100))
    wire.give(data(1, b"x" * 101), data(2, b"x" * 101), data(3, b"x"), resume(1, PEER))
    assert wire.sent() == [reset("message_too_large")]
    assert [type(event) for event in wire.events()] == [FrameRejected]
    assert wire.conn.stats().bytes_held == 0


def test_nothing_is_delivered_after_a_bad_segment_that_waited() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1, b"x", index=1, count=2), data(1, b"y"), resume(1))
    assert wire.sent() == [reset("protocol_error")]
    events = wire.events()
    assert [type(event) for event in events] == [StreamOpened, FrameRejected, StreamReset]
    assert wire.conn.stats().bytes_held == 0


def test_the_confirmation_makes_an_ack_of_what_was_held_due() -> None:
    wire = unconfirmed()
    wire.give(data(1), resume(2, PEER, ACCEPTED, True))
    assert wire.events_of(AckDue) == [AckDue(stream_id=SID, cause=AckCause.CONFIRMATION)]
    assert of_kind(AckFrame, wire.sent()) == [ack(0, 1)]


def test_a_heartbeat_before_the_confirmation_is_not_answered() -> None:
    wire = unconfirmed()
    assert wire.talk(heartbeat(), ack(4)) == []
    assert wire.conn.stats().dropped == {FrameCause.NOT_CONFIRMED: 2}
    # An ack from a peer that is not confirmed is not even looked at.
    assert wire.events() == []


def test_a_heartbeat_goes_out_on_an_accepted_stream_that_was_confirmed_at_once() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.talk(resume(1))
    assert [(at, type(frame)) for at, frame in wire.timeline(30)] == [(30, HeartbeatFrame)]


def test_an_answer_is_never_answered() -> None:
    assert open_opener().talk(resume(1, PEER, OWN, True)) == []
    assert open_acceptor().talk(resume(1, PEER, ACCEPTED, True)) == []


def test_a_confirmation_that_data_overtook_confirms() -> None:
    wire = unconfirmed()
    wire.give(data(1, b"x"), resume(1, PEER, ACCEPTED, True))
    assert wire.state is StreamState.OPEN
    assert [event.data for event in wire.events_of(DataReceived)] == [b"x"]


def test_held_data_that_is_given_up_is_counted() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1, sid="a"), data(2, sid="a"), data(1, sid="b"), data(0, sid="b"))
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 1}
    wire.wait(3)
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 3}
    wire.give(data(1, sid="c"))
    wire.cut()
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 3, FrameCause.NO_LINK: 1}
