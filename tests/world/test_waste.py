"""The judge of waste: what is said too often, too late, wrongly or for nothing."""

import pytest

from sansrelay.config import RelayConfig
from sansrelay.connection import RelayConnection, Role
from sansrelay.errors import FrameCause
from sansrelay.frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause
from sansrelay.states import Profile
from sansrelay.testing import StreamEnd
from sansrelay.testing.world.waste import (
    drops_at_hub,
    drops_at_peer,
    heard,
    needless,
    poor_report,
    said,
    unreported,
    untrue_report,
)
from world_kit import Case, DumbHub, DumbPeer

NAME = "harness/1"
ACK = AckFrame(NAME, 0, 0)
BEAT = HeartbeatFrame(NAME, 0, 0)
OPENING = ResumeFrame(NAME, 0, 0, 1, 7)
QUESTION = ResumeFrame(NAME, 0, 0, 1, 7, 8)
ANSWER = QUESTION._replace(answer=True)
NEVER = float("inf")


def data(seq: int, *, ack: int = 0) -> DataFrame:
    return DataFrame(NAME, ack, 0, seq, 0, 1, b"data")


def talking() -> tuple[RelayConnection, RelayConnection]:
    """Two connections whose stream is open on both sides, with nothing left to say."""
    left = RelayConnection(Role.HARNESS, incarnation=7)
    right = RelayConnection(Role.EXECUTOR, incarnation=8)
    left.link_opened(0.0)
    right.link_opened(0.0)
    left.open_stream(NAME)
    for _ in range(4):
        for sender, receiver in ((left, right), (right, left)):
            for frame in sender.frames_to_send(0.0, 10_000):
                receiver.receive_frame(frame, 0.0)
            while sender.next_event() is not None:
                pass
    return left, right


def reliable_end(machine: RelayConnection | None = None) -> tuple[DumbPeer, StreamEnd]:
    case = Case()
    case.accept()
    case.harness.machine = machine
    return case.harness, case.opener


# -- too often


@pytest.mark.parametrize("frame", [ACK, BEAT, ACK._replace(ack=1), data(0)._replace(ack_bits=1)])
def test_a_basic_peer_is_told_nothing_that_it_can_not_understand(frame: Frame) -> None:
    case = Case()
    end = case.accept(Profile.BASIC)
    assert said(end, frame, case.executor, 1, 1.0) == "a basic peer can't understand it"


@pytest.mark.parametrize("frame", [data(0), ResumeFrame(NAME, 0, 0, 0)])
def test_a_basic_peer_may_be_sent_data(frame: Frame) -> None:
    case = Case()
    assert said(case.accept(Profile.BASIC), frame, case.executor, 1, 1.0) is None


@pytest.mark.parametrize("calls", [[], [data(1)], [BEAT, QUESTION, ANSWER]])
def test_each_ack_has_a_cause(calls: list[Frame]) -> None:
    peer, end = reliable_end()
    for frame in calls:
        heard(end, frame, peer, 0.0)
    for _ in range(len(calls) + 3):
        assert said(end, ACK, peer, 1, 1.0) is None
    assert said(end, ACK, peer, 1, 1.0) == (
        f"its ack number {len(calls) + 4}, after {len(calls)} frames"
    )


def test_what_the_application_takes_over_calls_for_acks() -> None:
    peer, end = reliable_end()
    end.consumed = 2
    assert [said(end, ACK, peer, 1, 1.0) is None for _ in range(6)] == [True] * 5 + [False]


def test_each_answer_has_a_question() -> None:
    peer, end = reliable_end()
    heard(end, QUESTION, peer, 0.0)
    heard(end, ANSWER, peer, 0.0)  # is none
    for _ in range(4):
        assert said(end, ANSWER, peer, 1, 1.0) is None
    assert said(end, ANSWER, peer, 1, 1.0) == "its answer number 5 to 1 questions"


@pytest.mark.parametrize("frame", [QUESTION, OPENING, BEAT])
def test_questions_keep_a_pace(frame: Frame) -> None:
    peer, end = reliable_end()
    peer.config = RelayConfig(min_rto=0.5)
    for _ in range(2 + 1 + 3):  # a second's worth, one for the link
        assert said(end, frame, peer, 1, 1.0) is None
    assert said(end, frame, peer, 1, 1.0) == "its question number 7"
    assert said(end, frame, peer, 2, 1.0) == "its question number 8"


def test_data_and_what_came_in_answer_to_nothing_are_never_too_much() -> None:
    peer, end = reliable_end()
    assert not any(said(end, data(1), peer, 1, 0.0) for _ in range(50))


# -- sent again


def test_what_is_sent_again_has_to_be_missing() -> None:
    _, end = reliable_end()
    facts = end.facts
    facts.acked_seq = 3
    facts.report = 3, 0b10
    facts.reports = 2
    facts.reports_at = {4: 1, 6: 2}
    assert needless(end, 3) == "3 segments were acknowledged"
    assert needless(end, 5) == "the peer has just said that it holds it"
    assert needless(end, 6) == "nothing was heard since it was sent last"
    assert needless(end, 4) is None


# -- reports


@pytest.mark.parametrize(
    ("ack", "bits", "true"),
    [(0, 0, True), (2, 0, True), (2, 0b10, True), (3, 0, False), (2, 0b1, False), (0, 0b11, True)],
)
def test_a_report_is_of_what_came(ack: int, bits: int, true: bool) -> None:
    peer, end = reliable_end()
    end.facts.early = 1 << 1
    for seq in (2, 4):
        heard(end, data(seq), peer, 0.0)
    verdict = untrue_report(end, AckFrame(NAME, ack, bits))
    assert verdict == (None if true else "not all of it has come")


def test_a_report_leaves_nothing_out() -> None:
    peer, end = reliable_end()
    for seq in (1, 3, 4):
        heard(end, data(seq), peer, 0.0)
    assert poor_report(end, AckFrame(NAME, 1, 0b110)) is None
    assert poor_report(end, AckFrame(NAME, 1, 0b100)) == "it leaves out bits 2 of what it holds"


def test_data_before_the_peer_is_known_is_not_kept() -> None:
    case = Case()
    heard(case.opener, data(1), case.harness, 0.0)
    assert case.opener.facts.held == 0


def test_a_reset_tells_nothing() -> None:
    peer, end = reliable_end()
    heard(end, ResetFrame(NAME, 9, 0, "closed"), peer, 0.0)
    assert end.facts.reports == 0


def test_data_that_is_disowned_calls_for_nothing() -> None:
    peer, end = reliable_end()
    end.acknowledged = 1
    heard(end, data(2), peer, 0.0)
    assert (end.facts.reports, end.facts.calls, end.facts.held) == (0, 0, 0)
    heard(end, data(2, ack=1), peer, 0.0)
    assert (end.facts.reports, end.facts.calls, end.facts.held) == (1, 1, 1 << 2)


def test_an_answer_to_another_question_excuses_what_was_sent_before_it() -> None:
    peer, end = reliable_end()
    end.facts.next_seq = 5
    assert said(end, QUESTION, peer, 1, 1.0) is None
    heard(end, ANSWER, peer, 1.0)
    assert end.facts.excused_below == 0
    heard(end, ANSWER, peer, 1.0)
    assert end.facts.excused_below == 5


@pytest.mark.parametrize(
    ("frame", "delay"), [(data(1), RelayConfig().ack_delay), (BEAT, 0.0), (ACK, NEVER)]
)
def test_what_came_is_reported_in_time(frame: Frame, delay: float) -> None:
    left, _ = talking()
    peer, end = reliable_end(left)
    heard(end, frame, peer, 5.0)
    assert end.facts.report_due == 5.0 + delay
    later = left.next_timeout()
    assert later is not None
    late = f"a report due at {5 + delay:.6f} has neither left nor a timer"
    assert later > 5.0 + delay or delay == NEVER
    assert unreported(peer, end) == (None if delay == NEVER else late)
    assert said(end, ACK, peer, 1, 5.0) is None
    assert unreported(peer, end) is None, "it has left"


def test_a_report_that_has_a_timer_is_not_late() -> None:
    left, _ = talking()
    peer, end = reliable_end(left)
    following = left.next_timeout()
    assert following is not None
    end.facts.report_due = following
    assert unreported(peer, end) is None


def test_who_may_not_talk_owes_no_report() -> None:
    left, _ = talking()
    peer, end = reliable_end(left)
    left.link_closed(1.0)
    for frame in (data(1), BEAT):
        heard(end, frame, peer, 1.0)
    assert end.facts.report_due == NEVER
    end.facts.report_due = 0.0
    assert unreported(peer, end) is None


def test_a_basic_peer_and_an_end_that_is_over_owe_no_report() -> None:
    peer, end = reliable_end(None)
    end.facts.report_due = 0.0
    assert unreported(peer, end) is None
    left, _ = talking()
    peer.machine = left
    assert unreported(peer, end) is not None
    peer.dies()
    assert unreported(peer, end) is None


# -- drops at limits


def test_drops_at_a_limit_are_counted() -> None:
    left, _ = talking()
    peer, _ = reliable_end(left)
    assert drops_at_peer(peer) == 0
    left._counters.dropped[FrameCause.BUFFER_FULL] += 2
    left._counters.dropped[FrameCause.WINDOW_OVERRUN] += 3
    left._counters.dropped[FrameCause.UNKNOWN_STREAM] += 4
    assert drops_at_peer(peer) == 5
    peer.machine = None
    assert drops_at_peer(peer) == 0


@pytest.mark.parametrize(
    ("cause", "counts"),
    [
        (DropCause.STREAM_QUEUE_FULL, True),
        (DropCause.LINK_QUEUE_FULL, True),
        (DropCause.TOTAL_QUEUE_FULL, True),
        (DropCause.NO_ROUTE, False),
    ],
)
def test_full_queues_of_a_rendezvous_are_seen(cause: DropCause, counts: bool) -> None:
    hub = DumbHub()
    assert not drops_at_hub(hub)
    hub.machine._dropped[cause] += 1
    assert drops_at_hub(hub) is counts
