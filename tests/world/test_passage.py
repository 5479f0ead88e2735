"""The model of a rendezvous: what it lets pass, and what it finds to be astray."""

import pytest

from sansrelay.codec import encode_frame
from sansrelay.connection import Role
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.rendezvous import RouteEnded, RouteEndedBy, RouteOpened
from sansrelay.testing import Promise
from sansrelay.testing.world.lanes import Link
from sansrelay.testing.world.passage import Passage
from world_kit import Case, DumbPeer, guilty

NAME = "harness/1"
OPENING = ResumeFrame(NAME, 0, 0, 1, 7)
KNOWN = ResumeFrame(NAME, 0, 0, 1, 7, 8)
REPLY = ResumeFrame(NAME, 0, 0, 1, 8, 7)
DATA = DataFrame(NAME, 0, 0, 1, 0, 1, b"data")
RESET = ResetFrame(NAME, 0, 0, "cancelled")
ASTRAY = "which it is not for"


class Hall:
    """A rendezvous with an executor and a harness, and what it is said to do."""

    def __init__(self, *, executor: bool = True) -> None:
        self.case = Case()
        self.passage = Passage("rendezvous", self.case.oracle)
        self.links: dict[str, Link] = {}
        self.harness = self.dial(self.case.harness)
        if executor:
            self.executor = self.dial(self.case.executor)

    def dial(self, peer: DumbPeer) -> Link:
        link = self.case.link(peer)
        link.number = len(self.links) + 1
        self.links[f"{peer.name} {link.number}"] = link
        self.passage.opened(link, peer)
        return link

    def comes(self, link: Link, frame: Frame) -> bool:
        return self.passage.arrived(link, encode_frame(frame))

    def leaves(self, link: Link, frame: Frame) -> None:
        self.passage.left(link, encode_frame(frame))

    def passes(self, source: Link, frame: Frame, target: Link) -> None:
        assert self.comes(source, frame)
        self.leaves(target, frame)

    def makes_route(self, frame: Frame = OPENING, principal: str = "harness") -> None:
        assert self.comes(self.harness, frame)
        event = RouteOpened(
            executor_id="executor", stream_id=NAME, principal=principal, link=self.harness.number
        )
        self.passage.route_opened(event)

    def ends_route(self) -> None:
        self.passage.route_ended(
            RouteEnded(
                executor_id="executor",
                stream_id=NAME,
                principal="harness",
                reason="cancelled",
                by=RouteEndedBy.HARNESS,
            )
        )


def test_frames_pass_both_ways_once() -> None:
    hall = Hall()
    hall.makes_route()
    hall.leaves(hall.executor, OPENING)
    hall.passes(hall.executor, REPLY, hall.harness)
    hall.passes(hall.harness, DATA, hall.executor)
    hall.passes(hall.executor, DATA, hall.harness)
    for link in (hall.executor, hall.harness):
        with guilty(Promise.ROUTED_ONCE, ASTRAY):
            hall.leaves(link, DATA)


def test_two_copies_that_come_may_leave_twice() -> None:
    hall = Hall()
    hall.makes_route()
    for _ in range(2):
        assert hall.comes(hall.harness, DATA)
    for _ in range(2):
        hall.leaves(hall.executor, DATA)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.executor, DATA)


def test_one_copy_for_each_of_two_links() -> None:
    hall = Hall()
    hall.makes_route()
    hall.passes(hall.executor, REPLY, hall.harness)
    assert hall.comes(hall.harness, DATA)
    successor = hall.dial(hall.case.another_executor())
    assert hall.comes(successor, REPLY)
    assert hall.comes(hall.harness, DATA)
    hall.leaves(successor, DATA)
    hall.leaves(hall.executor, DATA)


def test_a_frame_does_not_go_back_or_to_a_third() -> None:
    hall = Hall()
    third = hall.dial(DumbPeer(Role.HARNESS, "third"))
    hall.makes_route()
    for link in (hall.harness, third):
        with guilty(Promise.ROUTED_ONCE, ASTRAY):
            hall.leaves(link, OPENING)


@pytest.mark.parametrize("frame", [AckFrame(NAME, 0, 0), HeartbeatFrame(NAME, 0, 0)])
def test_what_makes_no_route_does_not_pass_without_one(frame: Frame) -> None:
    hall = Hall()
    assert hall.comes(hall.harness, frame)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.executor, frame)


@pytest.mark.parametrize("frame", [OPENING, DATA, HandshakeFrame(NAME, 0, 0, b"hello")])
def test_what_makes_a_route_passes(frame: Frame) -> None:
    hall = Hall()
    hall.passes(hall.harness, frame, hall.executor)


def test_an_executor_says_nothing_on_a_stream_without_a_route() -> None:
    hall = Hall()
    assert hall.comes(hall.executor, REPLY)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.harness, REPLY)


def test_a_stream_belongs_to_its_principal() -> None:
    hall = Hall()
    hall.makes_route()
    thief = hall.dial(DumbPeer(Role.HARNESS, "thief"))
    assert hall.passage.owner("executor", NAME) == "harness"
    assert hall.passage.owner("executor", "harness/2") is None
    assert not hall.comes(thief, DATA)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.executor, DATA)


def test_a_route_follows_the_newest_link() -> None:
    hall = Hall()
    hall.makes_route()
    newer = hall.dial(hall.case.harness)
    hall.passes(hall.harness, DATA, hall.executor)
    hall.passes(newer, DATA, hall.executor)
    assert not hall.comes(hall.harness, DATA), "the stream has moved on"
    assert hall.comes(hall.executor, REPLY)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.harness, REPLY)
    hall.leaves(newer, REPLY)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_basic_route_does_not_outlive_its_executor(replaced: bool) -> None:
    hall = Hall()
    hall.makes_route()
    with guilty(Promise.SENT_ONCE, "has not proved reliable"):
        if replaced:
            hall.dial(hall.case.another_executor())
        else:
            hall.passage.closed(hall.executor)


def test_a_route_that_ended_in_time_is_not_kept() -> None:
    hall = Hall()
    hall.makes_route()
    hall.ends_route()
    hall.passage.closed(hall.executor)
    hall.ends_route()


def test_routes_of_other_executors_are_not_concerned() -> None:
    hall = Hall()
    hall.makes_route()
    other = hall.dial(DumbPeer(Role.EXECUTOR, "other", executor_id="other"))
    hall.passage.closed(other)
    hall.passes(hall.harness, DATA, hall.executor)


def test_until_the_successor_resumes_only_resumes_and_resets_pass() -> None:
    hall = Hall()
    hall.makes_route()
    hall.passes(hall.executor, REPLY, hall.harness)
    successor = hall.dial(hall.case.another_executor())
    assert not hall.comes(hall.executor, DATA), "its link was superseded"
    hall.passage.closed(hall.executor)
    hall.passes(hall.harness, KNOWN, successor)
    hall.passes(hall.harness, RESET, successor)
    assert hall.comes(hall.harness, DATA)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(successor, DATA)
    assert hall.comes(successor, REPLY._replace(next_seq=0))
    assert hall.comes(successor, DATA)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.harness, DATA)
    hall.passes(successor, REPLY, hall.harness)
    hall.passes(hall.harness, DATA, successor)


@pytest.mark.parametrize("frame", [KNOWN, OPENING._replace(next_seq=2)])
def test_a_stream_that_is_not_new_needs_no_executor(frame: Frame) -> None:
    hall = Hall(executor=False)
    hall.makes_route(frame)
    executor = hall.dial(hall.case.executor)
    assert hall.comes(hall.harness, DATA)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(executor, DATA)


@pytest.mark.parametrize("frame", [OPENING, DATA])
def test_a_new_stream_needs_an_executor(frame: Frame) -> None:
    hall = Hall(executor=False)
    with guilty(Promise.REASON, "and no executor is there"):
        hall.makes_route(frame)


def test_a_rendezvous_may_reset_by_itself_without_an_ack() -> None:
    hall = Hall()
    hall.leaves(hall.harness, RESET)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.harness, RESET._replace(ack=1))


def test_a_reset_may_be_told_again_to_the_side_it_was_for() -> None:
    hall = Hall()
    hall.makes_route()
    final = RESET._replace(ack=3)
    hall.passes(hall.harness, final, hall.executor)
    hall.leaves(hall.executor, final)
    with guilty(Promise.ROUTED_ONCE, ASTRAY):
        hall.leaves(hall.harness, final)


def test_what_is_no_frame_is_judged_elsewhere() -> None:
    hall = Hall()
    assert hall.passage.arrived(hall.harness, b"\xff")
    hall.passage.left(hall.executor, b"\xff")
