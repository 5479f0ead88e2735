"""Each known gap excuses its own case, and no other."""

from collections.abc import Callable

import pytest

from sansrelay.states import Profile
from sansrelay.testing import StreamEnd
from sansrelay.testing.world.gaps import (
    answer_to_another_question,
    basic_tail_in_new_session,
    reliable_after_basic,
    reply_of_successor,
    stale_unknown_stream,
)
from world_kit import Case


def taken_over(case: Case) -> StreamEnd:
    """A basic executor and then a reliable one; the rendezvous made the route twice."""
    case.accept(Profile.BASIC)
    case.record.routes = 2
    return case.accept(Profile.RELIABLE, case.another_executor())


def one_route(case: Case) -> StreamEnd:
    end = taken_over(case)
    case.record.routes = 1
    return end


def no_basic(case: Case) -> StreamEnd:
    end = taken_over(case)
    case.record.acceptors[0].profile = Profile.RELIABLE
    return end


def by_the_basic_one(case: Case) -> StreamEnd:
    taken_over(case)
    return case.record.acceptors[0]


@pytest.mark.parametrize(
    ("story", "excused"),
    [(taken_over, True), (one_route, False), (no_basic, False), (by_the_basic_one, False)],
)
def test_a_reliable_executor_after_a_basic_one(
    story: Callable[[Case], StreamEnd], excused: bool
) -> None:
    case = Case()
    end = story(case)
    assert reliable_after_basic(case.record, end) is excused


def at_the_opener(case: Case) -> StreamEnd:
    taken_over(case)
    return case.opener


def at_an_opener_with_one_route(case: Case) -> StreamEnd:
    one_route(case)
    return case.opener


def at_an_opener_that_met_no_basic_one(case: Case) -> StreamEnd:
    no_basic(case)
    return case.opener


def at_an_opener_that_was_acknowledged(case: Case) -> StreamEnd:
    taken_over(case)
    case.opener.acknowledged = 1
    return case.opener


@pytest.mark.parametrize(
    ("story", "excused"),
    [
        (at_the_opener, True),
        (taken_over, False),
        (at_an_opener_with_one_route, False),
        (at_an_opener_that_met_no_basic_one, False),
        (at_an_opener_that_was_acknowledged, False),
    ],
)
def test_a_reply_of_a_successor(story: Callable[[Case], StreamEnd], excused: bool) -> None:
    case = Case()
    end = story(case)
    assert reply_of_successor(case.record, end) is excused


def test_a_reset_that_came_late() -> None:
    case = Case()
    assert not stale_unknown_stream(case.record)
    case.record.late_reset = True
    assert stale_unknown_stream(case.record)


@pytest.mark.parametrize("routes", [1, 2])
@pytest.mark.parametrize("ended_by_hub", [False, True])
@pytest.mark.parametrize("opener", [False, True])
def test_the_tail_of_a_basic_stream(routes: int, ended_by_hub: bool, opener: bool) -> None:
    case = Case()
    end = case.accept(Profile.BASIC)
    case.record.routes = routes
    if ended_by_hub:
        case.record.hub_reasons["executor_unavailable"] = None
    excused = basic_tail_in_new_session(case.record, case.opener if opener else end)
    assert excused is (routes > 1 and ended_by_hub and not opener)


def nothing(case: Case) -> None:
    """No story."""


def below_the_mark(case: Case) -> None:
    case.opener.facts.excused_below = 6


def at_the_mark(case: Case) -> None:
    case.opener.facts.excused_below = 5


def two_openings(case: Case) -> None:
    case.opener.facts.openings_out = 2


def one_opening(case: Case) -> None:
    case.opener.facts.openings_out = 1


def asked_twice_unseen(case: Case) -> None:
    case.record.asked_unseen["executor", 1] = 2


def asked_once_in_each_life(case: Case) -> None:
    case.record.asked_unseen["executor", 1] = case.record.asked_unseen["executor", 3] = 1


@pytest.mark.parametrize(
    ("story", "excused"),
    [
        (nothing, False),
        (below_the_mark, True),
        (at_the_mark, False),
        (two_openings, True),
        (one_opening, False),
        (asked_twice_unseen, True),
        (asked_once_in_each_life, False),
    ],
)
def test_an_answer_to_another_question(story: Callable[[Case], None], excused: bool) -> None:
    case = Case()
    story(case)
    assert answer_to_another_question(case.record, case.opener, 5) is excused
