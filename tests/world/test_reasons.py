"""The judge of reasons: each verdict it can give, and each excuse it accepts."""

from collections.abc import Callable

import pytest

from sansrelay.config import ProfilePolicy, RelayConfig
from sansrelay.connection import Role
from sansrelay.events import EndedBy
from sansrelay.frames import AckFrame, DataFrame, HeartbeatFrame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import (
    LinkRefusal,
    RendezvousConfig,
    RouteEnded,
    RouteEndedBy,
)
from sansrelay.states import Profile
from sansrelay.testing import StreamEnd
from sansrelay.testing.world.reasons import (
    false_offer_reset,
    false_reason,
    false_refusal,
    false_reset_of_hub,
    false_route_end,
    is_answer,
)
from world_kit import Case, DumbHub, DumbPeer

Story = Callable[[Case], object]
"""What happened before, by hand."""

PATIENCE = RelayConfig().resume_timeout


def judged(
    case: Case,
    end: StreamEnd,
    reason: str,
    by: EndedBy = EndedBy.LOCAL,
    *,
    now: float = 1.0,
    healed_at: float | None = None,
) -> str | None:
    case.end(end, reason, by)
    peer = case.harness if end is case.opener else case.executor
    lives = case.oracle.lives
    return false_reason(case.record, end, peer, lives, now, healed_at=healed_at)


def nothing(case: Case) -> None:
    """No story."""


def accepted(case: Case) -> None:
    case.accept()


def accepted_and_ended(case: Case) -> None:
    case.end(case.accept(), "closed")


def accepted_by_two(case: Case) -> None:
    case.accept()
    case.accept(peer=case.another_executor())


def restarted(case: Case) -> None:
    case.accept()
    case.executor.dies()
    case.oracle.life_ended(case.executor)
    case.oracle.life_began(case.executor)


def ended_by_hub(case: Case) -> None:
    case.accept()
    case.record.hub_reasons["executor_unavailable"] = None


def executor_said(reason: str) -> Story:
    def story(case: Case) -> None:
        case.record.said.add(reason)

    return story


def basic(case: Case) -> None:
    case.accept(Profile.BASIC)


def basic_and_spoiled(case: Case) -> None:
    case.accept(Profile.BASIC)
    case.record.spoiled = True


def crashed_and_back(case: Case) -> None:
    case.accept()
    case.harness.dies()


def told_again(case: Case) -> None:
    case.accept()
    case.record.told.add("cancelled")


def reset_was_late(case: Case) -> None:
    case.record.late_reset = True


# -- an end says that it has ended the stream


@pytest.mark.parametrize(
    ("story", "reason", "verdict"),
    [
        (nothing, " ", "no reason was given"),
        (nothing, "peer_restarted", "the peer did not restart"),
        (accepted_and_ended, "peer_restarted", None),
        (restarted, "peer_restarted", None),
        (ended_by_hub, "peer_restarted", None),
        (accepted, "unknown_stream", "the opener knows no other acceptor"),
        (accepted, "link_lost", "the peer is reliable"),
        (basic, "link_lost", None),
        (nothing, "link_lost", None),
        (accepted, "gap", "nothing was lost"),
        (basic, "gap", "nothing was lost"),
        (basic_and_spoiled, "gap", None),
        (accepted, "slow_consumer", "the peer can be slowed down"),
        (basic, "slow_consumer", None),
        (accepted, "profile_refused", "any profile is welcome"),
        (accepted, "protocol_error", "nothing of that kind has happened"),
    ],
)
def test_what_an_opener_says_of_itself(story: Story, reason: str, verdict: str | None) -> None:
    case = Case()
    story(case)
    assert judged(case, case.opener, reason) == verdict


@pytest.mark.parametrize(
    ("story", "reason", "verdict"),
    [
        (nothing, "unknown_stream", "the opener knows no other acceptor"),
        (accepted_by_two, "unknown_stream", None),
        (executor_said("timeout"), "unknown_stream", None),
        (restarted, "unknown_stream", None),
        (nothing, "peer_restarted", "the peer did not restart"),
    ],
)
def test_what_an_acceptor_says_of_itself(story: Story, reason: str, verdict: str | None) -> None:
    case = Case()
    story(case)
    end = case.record.acceptors[-1] if case.record.acceptors else case.accept()
    assert judged(case, end, reason) == verdict


def test_the_reason_that_its_application_gave_is_true() -> None:
    case = Case()
    case.opener.reset("so there")
    assert judged(case, case.opener, "so there") is None
    assert judged(case, case.opener, "otherwise") == "nothing of that kind has happened"


def test_who_refuses_profiles_may_say_so() -> None:
    case = Case(harness=RelayConfig(profile=ProfilePolicy.RELIABLE))
    assert judged(case, case.opener, "profile_refused") is None


# -- patience


@pytest.mark.parametrize(
    ("heard_at", "now", "verdict"),
    [
        (None, PATIENCE, None),
        (None, PATIENCE - 1, f"the peer was heard {PATIENCE - 1:.3f} s ago"),
        (5.0, PATIENCE + 5, None),
        (5.0, PATIENCE, f"the peer was heard {PATIENCE - 5:.3f} s ago"),
    ],
)
def test_a_timeout_comes_after_the_patience(
    heard_at: float | None, now: float, verdict: str | None
) -> None:
    case = Case()
    case.opener.facts.heard_at = heard_at
    assert judged(case, case.opener, "timeout", now=now) == verdict


def test_early_data_counts_its_patience_from_the_opening() -> None:
    case = Case(harness=RelayConfig(early_data=True))
    case.opener.facts.heard_at = PATIENCE
    assert judged(case, case.opener, "timeout", now=PATIENCE) is None


def test_long_after_the_faults_nobody_times_out() -> None:
    late = PATIENCE + RelayConfig().max_rto + 100.0
    case = Case()
    case.accept()
    verdict = judged(case, case.opener, "timeout", now=late + 1, healed_at=1.0)
    assert verdict == "both ends live, and nothing has failed for long"
    alone = Case()
    assert judged(alone, alone.opener, "timeout", now=late + 1, healed_at=1.0) is None
    assert judged(case, case.opener, "timeout", now=late, healed_at=late - 1) is None


# -- an end says that the other has ended it


@pytest.mark.parametrize(
    ("story", "reason", "verdict"),
    [
        (accepted, "cancelled", "nobody said so"),
        (accepted_and_ended, "closed", None),
        (accepted_and_ended, "cancelled", "nobody said so"),
        (ended_by_hub, "executor_unavailable", None),
        (executor_said("timeout"), "timeout", None),
        (accepted, "unknown_stream", "no executor has forgotten the stream"),
        (executor_said("unknown_stream"), "unknown_stream", "no executor has forgotten the stream"),
        (executor_said("timeout"), "unknown_stream", None),
        (accepted_and_ended, "unknown_stream", None),
        (restarted, "unknown_stream", None),
        (ended_by_hub, "unknown_stream", None),
        (reset_was_late, "unknown_stream", None),
    ],
)
def test_what_an_opener_was_told(story: Story, reason: str, verdict: str | None) -> None:
    case = Case()
    story(case)
    assert judged(case, case.opener, reason, EndedBy.PEER) == verdict


@pytest.mark.parametrize(
    ("story", "reason", "verdict"),
    [
        (accepted, "cancelled", "the opener has not said so"),
        (accepted, "unknown_stream", "the opener has not said so"),
        (crashed_and_back, "unknown_stream", None),
        (told_again, "cancelled", None),
    ],
)
def test_what_an_acceptor_was_told(story: Story, reason: str, verdict: str | None) -> None:
    case = Case()
    story(case)
    end = case.record.acceptors[0]
    assert judged(case, end, reason, EndedBy.PEER) == verdict


# -- an executor resets what its application was never told of


def first_frame_at(when: float) -> Story:
    def story(case: Case) -> None:
        case.record.first_at["executor", 1] = when

    return story


def opener_ended(case: Case) -> None:
    case.end(case.opener, "cancelled")


@pytest.mark.parametrize(
    ("story", "reason", "verdict"),
    [
        (opener_ended, "cancelled", None),
        (opener_ended, "closed", "nothing of that kind has happened"),
        (ended_by_hub, "executor_unavailable", None),
        (nothing, "timeout", "its opening is not that old"),
        (first_frame_at(10.0), "timeout", "its opening is not that old"),
        (first_frame_at(0.0), "timeout", None),
        (nothing, "unknown_stream", None),
        (nothing, "too_many_streams", None),
        (nothing, "profile_refused", "any profile is welcome"),
    ],
)
def test_what_an_executor_says_of_an_offer(story: Story, reason: str, verdict: str | None) -> None:
    case = Case()
    story(case)
    assert false_offer_reset(case.record, case.executor, reason, PATIENCE) == verdict


def test_an_executor_that_refuses_profiles_may_refuse_an_offer() -> None:
    case = Case(executor=RelayConfig(profile=ProfilePolicy.RELIABLE))
    assert false_offer_reset(case.record, case.executor, "profile_refused", 1.0) is None


# -- signs of life


def test_what_shows_that_the_peer_lives() -> None:
    end = Case().opener
    name = end.stream_id
    end.facts.own = 7
    assert is_answer(end, DataFrame(name, 0, 0, 3, 0, 1, b"x"))
    assert end.facts.highest_in == 3
    assert is_answer(end, AckFrame(name, 0, 0))
    assert is_answer(end, HeartbeatFrame(name, 0, 0))
    assert not is_answer(end, ResetFrame(name, 0, 0, "closed"))
    assert is_answer(end, ResumeFrame(name, 0, 0, 4, 9, 7))
    assert not is_answer(end, ResumeFrame(name, 0, 0, 3, 9, 7)), "a stale copy"
    assert not is_answer(end, ResumeFrame(name, 0, 0, 4, 9, 8)), "to another life"
    assert not is_answer(end, ResumeFrame(name, 0, 0, 4, 9)), "an opening"


def test_data_that_denies_what_was_acknowledged_is_no_sign_of_life() -> None:
    case = Case()
    end, other = case.opener, case.accept()
    name = end.stream_id
    end.acknowledged = other.acknowledged = 1
    denying = DataFrame(name, 0, 0, 3, 0, 1, b"x")
    assert not is_answer(end, denying)
    assert is_answer(end, denying._replace(ack=1))
    assert is_answer(end, denying._replace(ack_bits=1))
    assert is_answer(other, denying), "an opener may repeat what it sent first"


# -- a rendezvous


def route_end(reason: str) -> RouteEnded:
    return RouteEnded(
        executor_id="executor",
        stream_id="harness/1",
        principal="harness",
        reason=reason,
        by=RouteEndedBy.RENDEZVOUS,
    )


def hub_where(case: Case, **facts: float | list[float]) -> DumbHub:
    """A rendezvous that has a route since 1.0, and knows more."""
    hub = case.hub
    hub.facts.route_opened[case.stream_id] = 1.0
    hub.facts.attached_at["executor"] = 0.5
    for name, value in facts.items():
        key = {
            "attached_at": "executor",
            "executor_lost": "executor",
            "harness_lost": "harness",
        }.get(name, case.stream_id)
        getattr(hub.facts, name)[key] = value
    return hub


GRACE = RendezvousConfig().executor_grace
HARNESS_GRACE = RendezvousConfig().harness_grace


@pytest.mark.parametrize(
    ("facts", "now", "verdict"),
    [
        ({"executor_resumed": 2.0}, 900.0, "the executor was not away for executor_grace"),
        ({"executor_resumed": 2.0, "executor_lost": [3.0]}, 3 + GRACE, None),
        (
            {"executor_resumed": 2.0, "executor_lost": [3.0]},
            2 + GRACE,
            "the executor was not away for executor_grace",
        ),
        ({"executor_resumed": 4.0, "executor_lost": [3.0, 5.0]}, 5 + GRACE, None),
        (
            {"executor_resumed": 4.0, "executor_lost": [3.0, 5.0]},
            4 + GRACE,
            "the executor was not away for executor_grace",
        ),
    ],
)
def test_a_reliable_route_waits_for_its_executor(
    facts: dict[str, float | list[float]], now: float, verdict: str | None
) -> None:
    case = Case()
    case.accept()
    hub = hub_where(case, **facts)
    assert false_route_end(case.record, hub, route_end("executor_unavailable"), now) == verdict


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"executor_lost": [3.0]}, None),
        ({"attached_at": 3.0}, None),
        ({"attached_at": -1.0}, "the executor was not away for executor_grace"),
        (
            {"attached_at": -1.0, "executor_lost": [-2.0]},
            "the executor was not away for executor_grace",
        ),
    ],
)
def test_another_route_ends_with_its_executor(
    facts: dict[str, float | list[float]], verdict: str | None
) -> None:
    case = Case()
    hub = hub_where(case, **facts)
    assert false_route_end(case.record, hub, route_end("executor_unavailable"), 4.0) == verdict


def test_a_route_that_was_made_suspended_ends_after_the_grace() -> None:
    case = Case()
    hub = hub_where(case, attached_at=-1.0)
    event = route_end("executor_unavailable")
    assert false_route_end(case.record, hub, event, 1 + GRACE) is None


@pytest.mark.parametrize(
    ("reliable", "facts", "now", "verdict"),
    [
        (False, {}, 2.0, "the harness lost no link"),
        (False, {"harness_lost": -1.0}, 2.0, "the harness lost no link"),
        (False, {"harness_lost": 1.5}, 2.0, None),
        (
            True,
            {"executor_resumed": 1.0, "harness_heard": 2.0},
            1 + HARNESS_GRACE,
            "the harness was not away for harness_grace",
        ),
        (True, {"executor_resumed": 1.0, "harness_heard": 2.0}, 2 + HARNESS_GRACE, None),
    ],
)
def test_a_harness_is_waited_for(
    reliable: bool, facts: dict[str, float | list[float]], now: float, verdict: str | None
) -> None:
    case = Case()
    if reliable:
        case.accept()
    hub = hub_where(case, **facts)
    assert false_route_end(case.record, hub, route_end("harness_disconnected"), now) == verdict


def test_only_a_route_that_is_not_reliable_ends_for_a_slow_reader() -> None:
    case = Case()
    event = route_end("slow_consumer")
    hub = hub_where(case, executor_resumed=1.0)
    assert false_route_end(case.record, hub, event, 2.0) is None
    case.accept()
    assert false_route_end(case.record, hub, event, 2.0) == "both ends are reliable"


def test_a_rendezvous_has_a_small_vocabulary() -> None:
    case = Case()
    hub = hub_where(case)
    verdict = false_route_end(case.record, hub, route_end("gap"), 2.0)
    assert verdict == "a rendezvous has no such reason"


@pytest.mark.parametrize(
    ("facts", "reason", "verdict"),
    [
        ({}, "executor_unavailable", None),
        ({"attached_at": -1.0}, "executor_unavailable", "the executor was there all the time"),
        ({}, "too_many_streams", "there never were so many routes"),
        ({}, "gap", "a rendezvous has no such reason for a stream of its own harness"),
    ],
)
def test_resets_of_streams_without_a_route(
    facts: dict[str, float | list[float]], reason: str, verdict: str | None
) -> None:
    case = Case()
    hub = hub_where(case, **facts)
    assert false_reset_of_hub(case.record, hub, reason, 2.0) == verdict
    case.record.hub_reasons[reason] = None
    assert false_reset_of_hub(case.record, hub, reason, 2.0) is None, "it was true before"


def test_a_rendezvous_is_full_when_it_has_had_so_many_routes() -> None:
    case = Case()
    case.hub.config = RendezvousConfig(max_routes=1)
    hub = hub_where(case)
    assert false_reset_of_hub(case.record, hub, "too_many_streams", 2.0) is None


LINKS = RendezvousConfig(max_links=4, max_harness_links=2, max_links_per_principal=1)


@pytest.mark.parametrize(
    ("others", "refusal", "true"),
    [
        (["executor", "harness to another", "stranger"], LinkRefusal.TOO_MANY_LINKS, False),
        (["executor", "harness", "stranger", "third"], LinkRefusal.TOO_MANY_LINKS, True),
        (["executor", "stranger", "to another"], LinkRefusal.TOO_MANY_HARNESS_LINKS, False),
        (["stranger", "third"], LinkRefusal.TOO_MANY_HARNESS_LINKS, True),
        (["executor", "stranger"], LinkRefusal.TOO_MANY_PRINCIPAL_LINKS, False),
        (["harness to another"], LinkRefusal.TOO_MANY_PRINCIPAL_LINKS, True),
    ],
)
def test_a_link_is_refused_to_whom_has_enough(
    others: list[str], refusal: LinkRefusal, true: bool
) -> None:
    hub = DumbHub(LINKS)
    for number, name in enumerate(others):
        role = Role.EXECUTOR if name == "executor" else Role.HARNESS
        target = "another" if name.endswith("to another") else "executor"
        hub.diallers[number] = DumbPeer(role, name.split()[0], executor_id=target)
    verdict = false_refusal(hub, DumbPeer(Role.HARNESS, "harness"), refusal)
    assert (verdict is None) is true, verdict
    assert true or (verdict or "").endswith(" may be")


def test_lives_under_other_ids_and_before_the_stream_are_no_restart() -> None:
    case = Case()
    elsewhere = DumbPeer(case.executor.role, "elsewhere", executor_id="other")
    case.oracle.life_began(elsewhere)
    case.oracle.lives[1].ended = -1.0
    case.oracle.life_began(case.executor)
    assert judged(case, case.opener, "peer_restarted") == "the peer did not restart"
