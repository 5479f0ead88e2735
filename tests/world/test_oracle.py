"""The judge of what peers do: each false history is found, each excuse holds for its own case."""

from collections.abc import Callable

import pytest

from sansrelay.codec import encode_frame
from sansrelay.config import ProfilePolicy, RelayConfig
from sansrelay.connection import Role
from sansrelay.errors import FrameCause
from sansrelay.events import EndedBy, StreamReset
from sansrelay.frames import AckFrame, DataFrame, HeartbeatFrame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause
from sansrelay.states import Profile
from sansrelay.testing import Promise, StreamEnd
from sansrelay.testing.world.hub_oracle import BOUNDS_EVERY
from world_kit import Case, DumbPeer, Machine, guilty

NAME = "harness/1"
ACK = AckFrame(NAME, 0, 0)
RESET = ResetFrame(NAME, 0, 0, "cancelled")
OPENING = ResumeFrame(NAME, 0, 0, 1, 7)
REPLY = ResumeFrame(NAME, 0, 0, 1, 8, 7)


def data(seq: int, payload: bytes = b"data") -> DataFrame:
    return DataFrame(NAME, 0, 0, seq, 0, 1, payload)


def reliable(config: RelayConfig | None = None) -> Case:
    """Both ends know each other as reliable, and run connections that say so."""
    case = Case(harness=config, executor=config)
    case.harness.machine = Machine(Role.HARNESS, Profile.RELIABLE)
    case.executor.machine = Machine(Role.EXECUTOR, Profile.RELIABLE)
    case.accept()
    return case


# -- what is let out


def test_what_goes_out_is_a_valid_frame() -> None:
    case = Case()
    with guilty(Promise.VALID, "harness sent a frame that is not valid"):
        case.oracle.emitted(case.harness, b"\xff")


def test_without_a_trace_none_is_written() -> None:
    case = Case()
    case.stage.trace = None
    case.emit(case.harness, OPENING)
    case.arrive(case.executor, OPENING)
    case.oracle.spoiled(encode_frame(OPENING), False)
    assert case.oracle.frames_by == {"harness": 1}


def test_no_data_after_the_end() -> None:
    case = Case()
    case.end(case.opener, "cancelled")
    with guilty(Promise.OUTCOME, "harness sent harness/1: data 1, 4 bytes after the end"):
        case.emit(case.harness, data(1))


def test_no_data_on_a_stream_that_was_never_there() -> None:
    case = Case()
    with guilty(Promise.OUTCOME, "after the end"):
        case.emit(case.executor, data(1))


def test_numbers_begin_with_0_or_1_and_leave_none_out() -> None:
    case = reliable()
    with guilty(Promise.VALID, "harness/1 begins with seq 2"):
        case.emit(case.harness, data(2))
    case = reliable()
    case.emit(case.harness, data(1))
    with guilty(Promise.VALID, "harness left out seq 2"):
        case.emit(case.harness, data(3))


@pytest.mark.parametrize("profile", [Profile.UNKNOWN, Profile.BASIC, None])
def test_nothing_is_sent_twice_to_who_has_not_proved_reliable(profile: Profile | None) -> None:
    case = Case()
    case.harness.machine = Machine(Role.HARNESS, profile)
    case.emit(case.harness, data(0))
    case.emit(case.harness, data(1))
    with guilty(Promise.SENT_ONCE, "sent harness/1: data 1, 4 bytes once more"):
        case.emit(case.harness, data(1))


@pytest.mark.parametrize(
    ("profile", "within"), [(Profile.RELIABLE, 3), (Profile.UNKNOWN, 2), (Profile.BASIC, 9)]
)
def test_segments_under_way_are_bounded(profile: Profile, within: int) -> None:
    case = reliable(RelayConfig(send_window_segments=3, opening_window_segments=2))
    case.harness.machine = Machine(Role.HARNESS, profile)
    for seq in range(1, within + 1):
        case.emit(case.harness, data(seq))
    if profile is not Profile.BASIC:
        with guilty(Promise.BOUNDED, f"{within + 1} segments"):
            case.emit(case.harness, data(within + 1))


def test_bytes_under_way_are_bounded_and_an_empty_window_takes_any_segment() -> None:
    case = reliable(RelayConfig(send_window_bytes=10))
    case.emit(case.harness, data(1, b"x" * 11))
    case.arrive(case.harness, ACK._replace(ack=1))
    case.emit(case.harness, data(2, b"x" * 6))
    with guilty(Promise.BOUNDED, "2 segments, 11 bytes beyond the ack"):
        case.emit(case.harness, data(3, b"x" * 5))


def test_a_report_has_to_be_true() -> None:
    case = reliable()
    with guilty(Promise.ACKNOWLEDGED, "not all of it has come"):
        case.emit(case.harness, ACK._replace(ack=1))


def test_a_report_has_to_be_whole() -> None:
    case = reliable()
    case.arrive(case.harness, data(2))
    with guilty(Promise.WASTE, "it leaves out bits 2 of what it holds"):
        case.emit(case.harness, ACK)


def test_what_was_dropped_at_a_limit_is_not_missed_in_a_report() -> None:
    case = reliable()
    assert case.harness.machine is not None
    case.arrive(case.harness, data(2))
    case.harness.machine._counters.dropped[FrameCause.BUFFER_FULL] += 1
    case.emit(case.harness, ACK)
    assert case.record.dropped == {(Role.HARNESS, 2)}


def test_drops_of_streams_that_nobody_knows_change_nothing() -> None:
    case = reliable()
    assert case.harness.machine is not None
    dropped = case.harness.machine._counters.dropped
    for frame in (data(1)._replace(stream_id="ghost"), ACK):
        case.arrive(case.harness, frame)
        dropped[FrameCause.BUFFER_FULL] += 1
        case.oracle.settled(case.harness)
    assert not case.record.dropped


def test_a_drop_of_what_was_not_accepted_yet_is_kept_too() -> None:
    case = Case()
    case.executor.machine = machine = Machine(Role.EXECUTOR)
    case.arrive(case.executor, data(1))
    machine._counters.dropped[FrameCause.BUFFER_FULL] += 1
    case.oracle.settled(case.executor)
    assert case.record.dropped == {(Role.EXECUTOR, 1)}


def test_nothing_is_said_for_nothing() -> None:
    case = reliable()
    for _ in range(3):
        case.emit(case.harness, ACK)
    with guilty(Promise.WASTE, "its ack number 4, after 0 frames"):
        case.emit(case.harness, ACK)


# -- what is sent again


def sent_and_answered() -> Case:
    """Two segments are out, and the answer to a question shows the first to be missing."""
    case = reliable()
    for seq in (1, 2):
        case.emit(case.harness, data(seq))
    case.emit(case.harness, OPENING._replace(peer_incarnation=8))
    case.arrive(case.harness, REPLY._replace(answer=True))
    return case


def test_nothing_is_sent_again_that_nobody_missed() -> None:
    case = sent_and_answered()
    case.arrive(case.harness, ACK._replace(ack=1))
    with guilty(Promise.WASTE, "1 segments were acknowledged"):
        case.emit(case.harness, data(1))


def test_nothing_is_sent_again_of_which_nothing_was_lost() -> None:
    case = sent_and_answered()
    with guilty(Promise.WASTE, "nothing of the stream was lost"):
        case.emit(case.harness, data(1))


def spoilt(case: Case) -> None:
    case.oracle.spoiled(encode_frame(data(1)), False)


def nobody_told(case: Case) -> None:
    case.oracle.told_nobody()


def stalled(case: Case) -> None:
    case.stage.fault("stall")


def other_fault(case: Case) -> None:
    case.stage.fault("second link")


def executor_died(case: Case) -> None:
    case.oracle.life_ended(case.executor)


def harness_died(case: Case) -> None:
    case.oracle.life_ended(case.harness)


def stranger_died(case: Case) -> None:
    stranger = DumbPeer(Role.HARNESS, "stranger")
    case.oracle.life_began(stranger)
    case.oracle.life_ended(stranger)


def executor_elsewhere_died(case: Case) -> None:
    elsewhere = DumbPeer(Role.EXECUTOR, "elsewhere", executor_id="elsewhere")
    case.oracle.life_began(elsewhere)
    case.oracle.life_ended(elsewhere)


def link_was_lost(case: Case) -> None:
    case.link(case.executor)
    case.oracle.settled(case.executor)
    case.executor.link = None
    case.oracle.settled(case.executor)


def hub_full(case: Case) -> None:
    case.oracle.arrived_at_hub(case.hub, case.link(case.harness), encode_frame(ACK))
    case.hub.machine._dropped[DropCause.TOTAL_QUEUE_FULL] += 1


def dropped_there(case: Case) -> None:
    case.record.dropped.add((Role.EXECUTOR, 1))


def dropped_here(case: Case) -> None:
    case.record.dropped.add((Role.HARNESS, 1))


def answered_twice(case: Case) -> None:
    case.opener.facts.excused_below = 2


@pytest.mark.parametrize(
    ("story", "excused"),
    [
        (spoilt, True),
        (nobody_told, True),
        (stalled, True),
        (executor_died, True),
        (harness_died, True),
        (link_was_lost, True),
        (hub_full, True),
        (dropped_there, True),
        (answered_twice, True),
        (other_fault, False),
        (dropped_here, False),
        (stranger_died, False),
        (executor_elsewhere_died, False),
    ],
)
def test_what_excuses_that_it_is_sent_again(story: Callable[[Case], object], excused: bool) -> None:
    case = sent_and_answered()
    story(case)
    if excused:
        case.emit(case.harness, data(1))
    else:
        with guilty(Promise.WASTE, "nothing of the stream was lost"):
            case.emit(case.harness, data(1))


# -- resets of what the application does not know


@pytest.mark.parametrize(("reason", "true"), [("too_many_streams", True), ("gap", False)])
def test_a_reset_of_an_offer_has_a_true_reason(reason: str, true: bool) -> None:
    case = Case()
    case.executor.machine = Machine(Role.EXECUTOR)
    case.emit(case.executor, RESET._replace(reason=reason))
    if true:
        case.oracle.settled(case.executor)
        assert case.record.said == {reason}
    else:
        with guilty(Promise.REASON, "executor resets harness/1 with 'gap'"):
            case.oracle.settled(case.executor)


def test_a_reset_of_what_the_application_is_told_now_is_judged_with_the_end() -> None:
    case = Case()
    case.executor.machine = Machine(Role.EXECUTOR)
    case.emit(case.executor, RESET)
    case.accept()
    case.oracle.settled(case.executor)
    assert not case.record.said


def test_a_reset_that_died_with_its_process_is_not_judged() -> None:
    case = Case()
    case.executor.machine = Machine(Role.EXECUTOR)
    case.emit(case.executor, RESET)
    case.oracle.life_ended(case.executor)
    case.oracle.settled(case.executor)


def test_questions_before_the_application_knows_are_counted() -> None:
    case = Case()
    case.executor.machine = Machine(Role.EXECUTOR)
    case.emit(case.executor, OPENING)
    case.emit(case.executor, OPENING._replace(stream_id="ghost"))
    case.emit(case.executor, RESET._replace(stream_id="ghost"))
    case.arrive(case.executor, data(3))
    case.arrive(case.executor, REPLY._replace(answer=True))
    case.arrive(case.executor, REPLY)
    case.arrive(case.executor, REPLY._replace(stream_id="ghost"))
    end = case.accept()
    facts = end.facts
    assert (facts.resumes_out, facts.answers_in, facts.early) == (1, 1, 1 << 3)


def test_nobody_accepts_what_nobody_opened() -> None:
    case = Case()
    end = StreamEnd(case.executor, "ghost", 0.0)
    with guilty(Promise.VALID, "executor accepted ghost, which nobody opened"):
        case.oracle.opened(case.executor, end)


# -- what arrives


def test_a_report_of_what_was_never_sent_is_no_report() -> None:
    case = reliable()
    case.arrive(case.harness, ACK._replace(ack=1))
    case.emit(case.harness, data(1))
    case.arrive(case.harness, ACK._replace(ack=2))
    case.arrive(case.harness, ACK._replace(ack=0, ack_bits=0b10))
    facts = case.opener.facts
    assert (facts.acked_seq, facts.report, facts.flight) == (0, (0, 0), {1: 4})
    case.arrive(case.harness, RESET._replace(ack=1))
    assert (facts.acked_seq, facts.report, facts.flight_bytes) == (1, (0, 0), 0)
    case.arrive(case.harness, ACK)
    assert facts.report == (0, 0), "an old one tells nothing"


def test_bytes_that_are_no_frame_tell_nothing() -> None:
    case = reliable()
    case.oracle.arrived(case.harness, b"\xff")
    case.oracle.spoiled(b"\xff", True)
    case.oracle.spoiled(encode_frame(ACK._replace(stream_id="ghost")), True)
    assert not case.record.spoiled
    assert case.opener.facts.reports == 0


@pytest.mark.parametrize("again", [False, True])
def test_what_the_network_does_is_kept(again: bool) -> None:
    case = Case()
    case.oracle.spoiled(encode_frame(data(1)), again)
    assert case.record.spoiled
    assert case.record.copies[b"data"] == again
    assert not case.record.late_reset
    case.oracle.spoiled(encode_frame(RESET), again)
    assert case.record.late_reset


# -- what applications get


def hand_out(case: Case, end: StreamEnd, *messages: bytes) -> None:
    peer = case.harness if end is case.opener else case.executor
    for message in messages:
        end.received.append(message)
        case.oracle.delivered(peer, end, message)


def test_messages_come_once_and_in_order() -> None:
    case = reliable()
    end = case.record.acceptors[0]
    case.opener.sent = [b"1", b"2"]
    hand_out(case, end, b"1")
    for wrong in (b"1", b"3"):
        with guilty(Promise.EXACTLY_ONCE, "as message 2 of harness/1"):
            hand_out(case, end, wrong)
        end.received.pop()
        end.facts.partners = None
    hand_out(case, end, b"2")
    with guilty(Promise.EXACTLY_ONCE, "as message 3 of harness/1"):
        hand_out(case, end, b"3")


def test_replies_come_from_one_executor() -> None:
    case = reliable()
    case.accept(peer=case.another_executor())
    first, second = case.record.acceptors
    first.sent, second.sent = [b"a", b"b"], [b"a", b"c"]
    hand_out(case, case.opener, b"a", b"b")
    with guilty(Promise.EXACTLY_ONCE, "received b'c' as message 2"):
        case.opener.received.pop()
        hand_out(case, case.opener, b"c")


def test_a_reply_of_a_successor_is_a_known_gap() -> None:
    case = reliable()
    case.accept(Profile.BASIC, case.another_executor())
    case.record.routes = 2
    hand_out(case, case.opener, b"not the first one's")
    case.opener.acknowledged = 1
    with guilty(Promise.EXACTLY_ONCE, "as message 2 of harness/1"):
        hand_out(case, case.opener, b"nor this")


@pytest.mark.parametrize("early", [False, True])
def test_two_lives_do_not_run_one_message(early: bool) -> None:
    case = reliable(RelayConfig(early_data=early))
    case.opener.sent = [b"1"]
    hand_out(case, case.record.acceptors[0], b"1")
    later = case.accept()
    if early:
        hand_out(case, later, b"1")  # given up, for a round trip less
    else:
        with guilty(Promise.AT_MOST_ONCE, "message 1 of harness/1 was run 2 times, last by"):
            hand_out(case, later, b"1")


def test_a_reliable_executor_after_a_basic_one_is_a_known_gap() -> None:
    case = Case()
    case.opener.sent = [b"1"]
    case.opener.profile = Profile.RELIABLE
    basic = case.accept(Profile.BASIC)
    case.oracle.ran(case.executor, basic, data(0, b"1"))
    later = case.accept(Profile.RELIABLE, case.another_executor())
    case.record.routes = 2
    hand_out(case, later, b"1")
    case.record.routes = 1
    with guilty(Promise.AT_MOST_ONCE, "was run 3 times"):
        hand_out(case, case.accept(Profile.RELIABLE, case.another_executor("third")), b"1")


# -- basic peers


def basic(policy: ProfilePolicy = ProfilePolicy.AUTO) -> Case:
    case = Case(executor=RelayConfig(profile=policy))
    case.accept(Profile.BASIC)
    case.opener.sent = [b"0", b"1", b"2"]
    return case


def test_an_executor_that_behaves_as_codex_begins_anywhere() -> None:
    case = basic(ProfilePolicy.BASIC)
    end = case.record.acceptors[0]
    hand_out(case, end, b"1", b"2")
    end.facts.run_next = 1
    with guilty(Promise.EXACTLY_ONCE, "received b'2' as message 3"):
        hand_out(case, end, b"2")
    case = basic(ProfilePolicy.BASIC)
    with guilty(Promise.EXACTLY_ONCE, "received b'9' as message 1"):
        hand_out(case, case.record.acceptors[0], b"9")


def test_replies_of_several_basic_executors_can_not_be_told_apart() -> None:
    case = basic()
    second = case.accept(Profile.BASIC, case.another_executor())
    case.record.acceptors[0].sent, second.sent = [b"a", b"b"], [b"c", b"d"]
    hand_out(case, case.opener, b"a")
    with guilty(Promise.EXACTLY_ONCE, "received b'd' as message 2"):
        hand_out(case, case.opener, b"d")
    case.opener.received.pop()
    case.record.spoiled = True
    hand_out(case, case.opener, b"d")
    case.opener.received.pop()
    with guilty(Promise.EXACTLY_ONCE, "received b'c' as message 2"):
        hand_out(case, case.opener, b"c")


def run(case: Case, end: StreamEnd, *messages: bytes) -> None:
    peer = case.harness if end is case.opener else case.executor
    for message in messages:
        end.received.append(message)
        case.oracle.ran(peer, end, data(0, message))


def test_a_basic_executor_runs_in_order_unless_the_network_spoils_it() -> None:
    case = basic()
    end = case.record.acceptors[0]
    run(case, end, b"0", b"2")
    with guilty(Promise.EXACTLY_ONCE, "harness/1: b'1' came out of order"):
        run(case, end, b"1")
    case.record.spoiled = True
    run(case, end, b"1")
    with guilty(Promise.EXACTLY_ONCE, "harness/1: b'9' came out of order"):
        run(case, end, b"9")


def test_a_basic_executor_runs_what_the_network_repeats() -> None:
    case = basic()
    end = case.record.acceptors[0]
    case.oracle.spoiled(encode_frame(data(0, b"0")), True)
    run(case, end, b"0", b"0")
    with guilty(Promise.AT_MOST_ONCE, "message 1 of harness/1 was run 3 times, last by executor"):
        run(case, end, b"0")


def test_a_basic_harness_gets_replies_in_order_unless_the_network_spoils_it() -> None:
    case = basic()
    case.record.acceptors[0].sent = [b"a", b"b"]
    run(case, case.opener, b"a")
    with guilty(Promise.EXACTLY_ONCE, "harness/1: b'a' came out of order"):
        run(case, case.opener, b"a")
    case.record.spoiled = True
    run(case, case.opener, b"a")


# -- outcomes


@pytest.mark.parametrize(("consumed", "started"), [(2, 1), (1, 2)])
def test_acknowledged_is_what_was_sent_and_taken_over(consumed: int, started: int) -> None:
    case = reliable()
    case.record.acceptors[0].consumed = consumed
    case.opener.facts.started = started
    case.opener.acknowledged = 1
    case.oracle.acknowledged(case.opener)
    case.opener.acknowledged = 2
    with guilty(Promise.ACKNOWLEDGED, "harness takes message 2 of harness/1 for acknowledged"):
        case.oracle.acknowledged(case.opener)


NONE = range(0)


def ended(case: Case, reason: str, *, unknown: range, never_sent: range, before: int = 1) -> None:
    """Of three messages two were sent, and one is acknowledged; then the stream ends."""
    end = case.opener
    end.sent = [b"1", b"2", b"3"]
    end.facts.started = 2
    case.record.acceptors[0].consumed = 1
    end.acknowledged = 1
    case.end(end, reason, unknown=unknown, never_sent=never_sent)
    case.oracle.ended(case.harness, end, before)


def test_each_message_has_one_outcome_and_a_true_one() -> None:
    def cancelled() -> Case:
        case = reliable()
        case.opener.reset()
        return case

    ended(cancelled(), "cancelled", unknown=range(2, 3), never_sent=range(3, 4))
    for unknown, never_sent, before in [
        (range(2, 4), range(4, 4), 1),  # the last was never sent
        (range(2, 2), range(2, 4), 1),  # the second may have arrived
        (range(1, 3), range(3, 4), 1),  # the first was acknowledged
        (range(2, 3), range(3, 5), 1),  # there is no fourth
        (range(2, 3), range(3, 4), 2),  # two were acknowledged before
    ]:
        with guilty(Promise.OUTCOME, "3 messages were queued, 2 sent"):
            ended(cancelled(), "cancelled", unknown=unknown, never_sent=never_sent, before=before)


def test_the_reason_of_an_end_is_judged() -> None:
    with guilty(Promise.REASON, "harness ended harness/1 with 'gap' by this side"):
        ended(reliable(), "gap", unknown=range(2, 3), never_sent=range(3, 4))


@pytest.mark.parametrize(
    ("profile", "sent", "started", "acknowledged", "true"),
    [
        (Profile.RELIABLE, 2, 2, 2, True),
        (Profile.RELIABLE, 2, 2, 1, False),
        (Profile.RELIABLE, 2, 1, 1, False),
        (Profile.BASIC, 2, 2, 0, True),
        (Profile.BASIC, 2, 1, 0, False),
    ],
)
def test_what_is_closed_has_nothing_left(
    profile: Profile, sent: int, started: int, acknowledged: int, true: bool
) -> None:
    case = Case()
    other = case.accept(profile)
    end = case.opener
    end.sent = [b"x"] * sent
    end.facts.started = started
    end.acknowledged = other.consumed = acknowledged
    end.close()
    case.end(
        end,
        "closed",
        unknown=range(acknowledged + 1, started + 1),
        never_sent=range(started + 1, sent + 1),
    )
    if true:
        case.oracle.ended(case.harness, end, acknowledged)
    else:
        with guilty(Promise.OUTCOME, "harness/1 was closed with"):
            case.oracle.ended(case.harness, end, acknowledged)


def test_what_the_other_side_ends_may_have_something_left() -> None:
    case = reliable()
    case.opener.close()
    case.record.acceptors[0].ended = StreamReset(
        stream_id=NAME, reason="cancelled", by=EndedBy.LOCAL
    )
    end = case.opener
    end.sent, end.facts.started = [b"x"], 1
    case.end(end, "cancelled", EndedBy.PEER, unknown=range(1, 2), never_sent=range(2, 2))
    case.oracle.ended(case.harness, end, 0)


# -- drains, links, timers


def test_a_basic_stream_does_not_outlive_its_link() -> None:
    case = basic()
    case.oracle.settled(case.harness)
    case.opener.facts.announced = True
    with guilty(Promise.OUTCOME, "harness/1 is basic and outlives its link"):
        case.oracle.settled(case.harness)
    case.end(case.opener, "link_lost")
    case.oracle.settled(case.harness)


def test_what_came_is_reported_in_time_or_has_a_timer() -> None:
    case = reliable()
    case.link(case.harness)
    machine = case.harness.machine
    assert machine is not None
    opening(machine)
    case.arrive(case.harness, HeartbeatFrame(NAME, 0, 0))
    case.harness.link.up.starved = True  # type: ignore[union-attr]
    case.oracle.settled(case.harness)  # it may not send
    case.harness.link.up.starved = False  # type: ignore[union-attr]
    with guilty(Promise.WASTE, "harness, harness/1: a report due at 0.000000"):
        case.oracle.settled(case.harness)
    case.emit(case.harness, ACK)
    case.oracle.settled(case.harness)
    assert not case.oracle._due["harness"]


def test_without_a_link_nothing_is_due() -> None:
    case = reliable()
    machine = case.harness.machine
    assert machine is not None
    opening(machine)
    case.arrive(case.harness, HeartbeatFrame(NAME, 0, 0))
    case.oracle.settled(case.harness)
    assert case.opener.facts.report_due == float("inf")


def test_a_report_that_has_a_timer_stays_due() -> None:
    case = reliable()
    case.link(case.harness)
    machine = case.harness.machine
    assert machine is not None
    opening(machine)
    case.arrive(case.harness, data(1))
    machine.receive_frame(encode_frame(data(1)), 0.0)
    case.oracle.settled(case.harness)
    assert list(case.oracle._due["harness"]) == [NAME]


def opening(machine: Machine | object) -> None:
    """The harness's connection opens its stream, and is answered."""
    assert isinstance(machine, Machine)
    machine.link_opened(0.0)
    machine.open_stream(NAME)
    machine.frames_to_send(0.0, 10_000)
    machine.receive_frame(encode_frame(REPLY), 0.0)
    machine.frames_to_send(0.0, 10_000)


def test_bounds_are_looked_at_now_and_then() -> None:
    case = Case(harness=RelayConfig(max_streams=1))
    case.harness.machine = machine = Machine()
    for stream_id in ("a", "b"):
        machine.open_stream(stream_id)
    for _ in range(BOUNDS_EVERY - 1):
        case.oracle.settled(case.harness)
    with guilty(Promise.BOUNDED, "harness: streams: 2, at most 1"):
        case.oracle.settled(case.harness)


@pytest.mark.parametrize(("following", "true"), [(None, True), (2.1, True), (2.0, False)])
def test_a_timer_that_was_handled_is_not_due_again(following: float | None, true: bool) -> None:
    case = Case()
    case.at(2.0)
    if true:
        case.oracle.timer_handled("harness", following)
    else:
        with guilty(Promise.TIMERS, "harness has a timer due at 2.0 again"):
            case.oracle.timer_handled("harness", following)
