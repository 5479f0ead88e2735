"""The life of a route: what makes it, suspends it, moves it, and how long it waits."""

from collections.abc import Callable

import pytest

from rendezvous_net import (
    EXECUTOR,
    EXECUTOR_2,
    HARNESS,
    HARNESS_2,
    KNOWN_PEER,
    ONE_OF_EACH,
    A,
    B,
    Net,
    ack,
    basic_net,
    data,
    ended,
    fresh_net,
    handshake,
    heartbeat,
    label,
    reliable_net,
    reset,
    resume,
)
from sansrelay.errors import ResetReason
from sansrelay.frames import Frame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause, LinkSuperseded


@pytest.fixture
def net() -> Net:
    return fresh_net()


@pytest.fixture
def basic() -> Net:
    return basic_net()


@pytest.fixture
def reliable() -> Net:
    return reliable_net()


# -- no executor


@pytest.mark.parametrize("frame", [resume(0), resume(1), data(0), data(5), handshake()], ids=label)
def test_a_new_stream_without_executor_is_reset(frame: Frame) -> None:
    net = Net()
    net.harness()
    net.send(HARNESS, frame)
    assert net.got(HARNESS) == [reset("executor_unavailable")]
    assert net.events() == []
    assert net.dropped() == {DropCause.NO_EXECUTOR: 1}
    assert net.r.stats().resets_sent == {ResetReason.EXECUTOR_UNAVAILABLE: 1}


@pytest.mark.parametrize("frame", [ack(), heartbeat(), reset()], ids=label)
def test_other_frames_without_route_are_never_answered(frame: Frame) -> None:
    net = Net()
    net.harness()
    net.send(HARNESS, frame)
    assert net.raw(HARNESS) == []
    cause = DropCause.NO_EXECUTOR if isinstance(frame, ResetFrame) else DropCause.NO_ROUTE
    assert net.dropped() == {cause: 1}


@pytest.mark.parametrize("frame", [KNOWN_PEER, resume(2), resume(0, peer=1)], ids=label)
def test_a_stream_that_is_not_new_waits_for_its_executor(frame: ResumeFrame) -> None:
    net = Net(executor_grace=30.0)
    net.harness()
    net.send(HARNESS, frame, data(), resume(1), reset())
    assert net.raw(HARNESS) == []
    assert net.dropped() == {DropCause.NO_EXECUTOR: 4}
    assert net.r.stats().routes == 1
    net.wait(29.0)
    net.executor()
    assert net.raw(EXECUTOR) == []
    # The executor asks first, as it does on every new link.
    assert net.passes(EXECUTOR, HARNESS, resume(4, peer=7))
    assert net.passes(HARNESS, EXECUTOR, data())
    assert net.r.next_timeout() is None


def test_a_stream_that_is_not_new_waits_for_both_sides() -> None:
    net = Net()
    net.harness()
    net.send(HARNESS, KNOWN_PEER)
    net.close(HARNESS)
    assert net.r.next_timeout() == net.now + 120
    net.executor()
    net.harness(HARNESS_2)
    assert net.passes(HARNESS_2, EXECUTOR, KNOWN_PEER)
    assert len(net.events()) == 1


def test_waiting_for_an_executor_ends_after_the_grace_period() -> None:
    net = Net(executor_grace=30.0)
    net.harness()
    net.send(HARNESS, KNOWN_PEER)
    assert net.r.next_timeout() == net.now + 30
    net.wait(29.9)
    assert net.raw(HARNESS) == []
    net.events()
    net.wait(0.2)
    assert net.got(HARNESS) == [reset("executor_unavailable")]
    assert net.events() == [ended("executor_unavailable")]
    assert net.r.next_timeout() is None
    assert net.r.stats().routes == 0


# -- suspension


def lose_by_closing(net: Net) -> int:
    net.close(EXECUTOR)
    net.executor(EXECUTOR_2)
    return EXECUTOR_2


def lose_by_takeover(net: Net) -> int:
    net.executor(EXECUTOR_2)
    return EXECUTOR_2


LOSSES = pytest.mark.parametrize("lose", [lose_by_closing, lose_by_takeover])
Lose = Callable[[Net], int]


@LOSSES
@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=label)
def test_only_resume_and_reset_pass_towards_a_new_executor_link(
    reliable: Net, lose: Lose, frame: Frame
) -> None:
    new = lose(reliable)
    passes = isinstance(frame, ResumeFrame | ResetFrame)
    assert reliable.passes(HARNESS, new, frame) is passes
    assert reliable.dropped() == ({} if passes else {DropCause.SUSPENDED: 1})
    assert reliable.raw(HARNESS) == []


@LOSSES
@pytest.mark.parametrize(
    ("frame", "passes", "lifts"),
    [
        (resume(1), True, True),
        (resume(5, peer=7), True, True),
        (resume(0), True, False),
        (data(0), False, False),
        (ack(), False, False),
        (heartbeat(), False, False),
        (handshake(), False, False),
    ],
    ids=label,
)
def test_what_lifts_a_suspension(
    reliable: Net, lose: Lose, frame: Frame, passes: bool, lifts: bool
) -> None:
    new = lose(reliable)
    assert reliable.passes(new, HARNESS, frame) is passes
    assert reliable.passes(HARNESS, new, data()) is lifts
    assert reliable.passes(new, HARNESS, data()) is lifts
    assert (reliable.r.next_timeout() is None) is lifts


def test_the_harness_lifts_no_suspension(reliable: Net) -> None:
    new = lose_by_takeover(reliable)
    assert reliable.passes(HARNESS, new, KNOWN_PEER)
    assert not reliable.passes(HARNESS, new, data())


def test_a_new_executor_may_end_a_suspended_route(reliable: Net) -> None:
    new = lose_by_takeover(reliable)
    assert reliable.passes(new, HARNESS, reset("unknown_stream"))
    assert reliable.r.stats().routes == 0
    assert reliable.r.next_timeout() is None


def test_a_suspension_is_bounded_even_with_an_executor_that_comes_and_goes(reliable: Net) -> None:
    start = reliable.now
    for link in range(30, 35):
        reliable.executor(link)
        reliable.wait(10)
        reliable.events()
    assert reliable.r.next_timeout() == start + 300
    reliable.wait(250)
    # Both sides hear of it.
    assert reliable.got(HARNESS) == reliable.got(34) == [reset("executor_unavailable")]
    assert reliable.events() == [ended("executor_unavailable")]


@pytest.mark.parametrize("peer_known", [KNOWN_PEER, resume(2)], ids=label)
def test_after_a_restart_of_the_rendezvous_the_route_starts_suspended(
    net: Net, peer_known: ResumeFrame
) -> None:
    # The executor's own question finds no route.
    assert not net.passes(EXECUTOR, HARNESS, resume(3, peer=7))
    assert net.passes(HARNESS, EXECUTOR, peer_known)
    assert not net.passes(HARNESS, EXECUTOR, data())
    assert net.passes(EXECUTOR, HARNESS, resume(3, peer=7))
    assert net.passes(HARNESS, EXECUTOR, data())


def test_a_route_made_suspended_survives_the_loss_of_either_link(net: Net) -> None:
    assert net.passes(HARNESS, EXECUTOR, KNOWN_PEER)
    net.events()
    net.close(HARNESS)
    assert net.raw(EXECUTOR) == []
    net.harness(HARNESS_2)
    assert net.passes(HARNESS_2, EXECUTOR, KNOWN_PEER)
    net.close(EXECUTOR)
    assert net.raw(HARNESS_2) == []
    net.executor(EXECUTOR_2)
    assert net.passes(EXECUTOR_2, HARNESS_2, resume(3, peer=7))
    assert net.passes(HARNESS_2, EXECUTOR_2, data())
    assert net.events() == []


@pytest.mark.parametrize("frame", [data(0), data(7), resume(1), handshake()], ids=label)
def test_a_route_of_a_new_stream_is_open_at_once(net: Net, frame: Frame) -> None:
    assert net.passes(HARNESS, EXECUTOR, frame)
    assert net.passes(HARNESS, EXECUTOR, data())
    assert net.passes(EXECUTOR, HARNESS, data())


# -- the executor's link


@LOSSES
@pytest.mark.parametrize("harness", [True, False], ids=["harness shown", "harness not shown"])
def test_routes_of_executors_that_have_not_shown_the_profile_end_at_once(
    net: Net, lose: Lose, harness: bool
) -> None:
    net.open(harness=harness, executor=False)
    new = lose(net)
    assert net.got(HARNESS) == [reset("executor_unavailable")]
    assert net.raw(new) == []
    assert ended("executor_unavailable") in net.events()
    assert net.r.stats().routes == 0


@LOSSES
def test_what_the_executor_has_shown_counts_even_without_the_harness(net: Net, lose: Lose) -> None:
    net.open(harness=False, executor=True)
    lose(net)
    assert net.raw(HARNESS) == []
    assert net.r.stats().routes == 1


def test_a_resume_of_zero_shows_nothing(net: Net) -> None:
    net.open(harness=True, executor=False)
    assert net.passes(EXECUTOR, HARNESS, resume(0))
    net.close(EXECUTOR)
    assert net.got(HARNESS) == [reset("executor_unavailable")]


def test_a_newer_executor_link_takes_over(reliable: Net) -> None:
    reliable.send(HARNESS, data(1), data(2))
    assert reliable.executor(EXECUTOR_2) is None
    assert reliable.events() == [LinkSuperseded(link=EXECUTOR)]
    # What was queued died with the link, and the link is dead in both directions.
    assert reliable.raw(EXECUTOR) == reliable.raw(EXECUTOR_2) == []
    assert reliable.r.links_with_output() == [HARNESS]
    reliable.send(EXECUTOR, resume(4), reset(), b"\xff")
    assert reliable.raw(HARNESS) == []
    assert reliable.dropped() == {DropCause.LINK_CLOSED: 2, DropCause.SUPERSEDED_LINK: 3}
    assert reliable.r.stats().executor_links == 1
    # Closing it says nothing about its successor.
    reliable.close(EXECUTOR)
    assert reliable.r.stats().executor_links == 1
    assert reliable.passes(EXECUTOR_2, HARNESS, resume(4))
    assert reliable.passes(HARNESS, EXECUTOR_2, data(3))


def test_one_executor_id_leaves_the_others_alone(reliable: Net) -> None:
    reliable.executor(EXECUTOR_2, "other")
    reliable.close(EXECUTOR_2)
    assert reliable.events() == []
    assert reliable.passes(HARNESS, EXECUTOR, data())


def test_frames_queued_for_a_closed_link_are_not_delivered_to_its_successor(basic: Net) -> None:
    basic.send(EXECUTOR, data(0))
    basic.close(HARNESS)
    basic.harness(HARNESS)
    assert basic.raw(HARNESS) == []
    assert basic.dropped() == {DropCause.LINK_CLOSED: 1}


# -- the harness's link


@pytest.mark.parametrize(("harness", "executor"), [(False, False), (True, False), (False, True)])
def test_a_route_that_is_not_reliable_ends_with_its_harness(
    net: Net, harness: bool, executor: bool
) -> None:
    net.open(harness=harness, executor=executor)
    net.close(HARNESS)
    assert net.got(EXECUTOR) == [reset("harness_disconnected")]
    assert net.events() == [ended("harness_disconnected")]
    assert net.r.next_timeout() is None


def test_a_reliable_route_waits_for_its_harness(reliable: Net) -> None:
    reliable.close(HARNESS)
    assert reliable.r.next_timeout() == reliable.now + 120
    reliable.send(EXECUTOR, data(), ack(), reset())
    assert reliable.dropped() == {DropCause.HARNESS_AWAY: 3}
    reliable.wait(119)
    assert (reliable.raw(EXECUTOR), reliable.events()) == ([], [])
    reliable.harness(HARNESS_2)
    # Being there is not enough: it has to send on the stream.
    assert not reliable.passes(EXECUTOR, HARNESS_2, data())
    assert reliable.passes(HARNESS_2, EXECUTOR, resume(2, peer=9))
    assert reliable.passes(EXECUTOR, HARNESS_2, data())
    assert reliable.r.next_timeout() is None


def test_the_wait_for_a_harness_is_bounded(reliable: Net) -> None:
    reliable.close(HARNESS)
    reliable.wait(120)
    assert reliable.got(EXECUTOR) == [reset("harness_disconnected")]
    assert reliable.events() == [ended("harness_disconnected")]
    assert reliable.r.stats().routes == 0


def test_an_executor_can_lift_a_suspension_while_the_harness_is_away(reliable: Net) -> None:
    reliable.close(HARNESS)
    reliable.executor(EXECUTOR_2)
    reliable.send(EXECUTOR_2, resume(3, peer=7))
    reliable.harness(HARNESS_2)
    assert reliable.passes(HARNESS_2, EXECUTOR_2, KNOWN_PEER)
    assert reliable.passes(EXECUTOR_2, HARNESS_2, data())


def test_a_reset_that_cannot_be_passed_on_is_asked_for_again(reliable: Net) -> None:
    reliable.close(EXECUTOR)
    reliable.send(HARNESS, reset())
    assert reliable.r.stats().routes == 1
    reliable.executor(EXECUTOR_2)
    assert reliable.passes(EXECUTOR_2, HARNESS, resume(3, peer=7))
    assert reliable.passes(HARNESS, EXECUTOR_2, reset())
    assert reliable.r.stats().routes == 0


@pytest.mark.parametrize("frame", [*ONE_OF_EACH[:5], KNOWN_PEER], ids=label)
def test_a_route_follows_the_newest_link_that_sends_on_it(reliable: Net, frame: Frame) -> None:
    reliable.harness(HARNESS_2)
    assert reliable.passes(EXECUTOR, HARNESS, data(1))
    assert reliable.passes(HARNESS_2, EXECUTOR, frame)
    assert reliable.passes(EXECUTOR, HARNESS_2, data(2))
    # The older link neither sends on it, moves it, nor ends it.
    reliable.send(HARNESS, resume(9), data(9), reset())
    assert reliable.raw(EXECUTOR) == []
    assert reliable.dropped() == {DropCause.STALE_LINK: 3}
    reliable.close(HARNESS)
    assert reliable.r.next_timeout() is None
    assert reliable.passes(EXECUTOR, HARNESS_2, data(3))
    assert reliable.events() == []


def test_an_older_link_does_not_inherit_a_route(reliable: Net) -> None:
    reliable.harness(HARNESS_2)
    assert reliable.passes(HARNESS_2, EXECUTOR, KNOWN_PEER)
    reliable.close(HARNESS_2)
    assert not reliable.passes(HARNESS, EXECUTOR, data())
    assert not reliable.passes(EXECUTOR, HARNESS, data())
    assert reliable.r.next_timeout() == reliable.now + 120


# -- both


def test_next_timeout_is_the_earliest_of_all(net: Net) -> None:
    for name in (A, B):
        net.open(harness=True, executor=True, stream_id=name)
    start = net.now
    net.close(EXECUTOR)
    assert net.r.next_timeout() == start + 300
    net.now += 50
    net.close(HARNESS)
    assert net.r.next_timeout() == start + 50 + 120
    net.harness(HARNESS_2)
    net.send(HARNESS_2, KNOWN_PEER)
    net.wait(120)
    assert net.events() == [ended("harness_disconnected", stream_id=B)]
    assert net.r.next_timeout() == start + 300
    net.wait(1000)
    assert net.events() == [ended("executor_unavailable")]
    assert net.got(HARNESS_2) == [reset("executor_unavailable")]
