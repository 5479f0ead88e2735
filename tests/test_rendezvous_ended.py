"""Routes that have ended: remembered for a while, never revived, and told to who may not know."""

from collections.abc import Callable
from typing import Any

import pytest

from attackkit import PER_ENDED_ID, memory
from rendezvous_net import (
    EXECUTOR,
    EXECUTOR_2,
    HARNESS,
    HARNESS_2,
    KNOWN_PEER,
    ONE_OF_EACH,
    STRANGER,
    A,
    B,
    C,
    Net,
    ack,
    data,
    ended,
    handshake,
    heartbeat,
    label,
    reset,
    resume,
)
from sansrelay.config import RelayConfig
from sansrelay.errors import ResetReason
from sansrelay.frames import DataFrame, Frame, HandshakeFrame, ResumeFrame
from sansrelay.rendezvous import DropCause, RouteEndedBy

FOREIGN_WORD = "out of coffee"
ASKS = [resume(0), resume(1), KNOWN_PEER, data(0), data(5), handshake()]
SAYS_NOTHING = [ack(), heartbeat(), reset()]


def make(*, reliable: bool = True, **config: Any) -> Net:
    """One executor, one harness, and stream A."""
    net = Net(**config)
    net.executor()
    net.harness()
    net.open(harness=reliable, executor=reliable)
    return net


def closed(**config: Any) -> Net:
    """Stream A was reliable, and its harness has closed it."""
    net = make(**config)
    assert net.passes(HARNESS, EXECUTOR, reset())
    net.events()
    return net


# -- every end is remembered


def end_by_harness() -> Net:
    net = make()
    net.send(HARNESS, reset(FOREIGN_WORD))
    return net


def end_by_executor() -> Net:
    net = make()
    net.send(EXECUTOR, reset(FOREIGN_WORD))
    return net


def end_by_loss_of_the_executor() -> Net:
    net = make(reliable=False)
    net.close(EXECUTOR)
    net.executor()
    return net


def end_by_loss_of_the_harness() -> Net:
    net = make(reliable=False)
    net.close(HARNESS)
    net.harness()
    return net


def end_by_overflow() -> Net:
    net = make(reliable=False, stream_queue_size=1000)
    net.send(HARNESS, data(0, bytes(600)), data(1, bytes(600)))
    return net


def end_by_patience_with_the_executor() -> Net:
    net = make()
    net.close(EXECUTOR)
    net.wait(300)
    net.executor()
    return net


def end_by_patience_with_the_harness() -> Net:
    net = make()
    net.close(HARNESS)
    net.wait(120)
    net.harness()
    return net


ENDS = pytest.mark.parametrize(
    ("end", "reason"),
    [
        (end_by_harness, FOREIGN_WORD),
        (end_by_executor, FOREIGN_WORD),
        (end_by_loss_of_the_executor, "executor_unavailable"),
        (end_by_loss_of_the_harness, "harness_disconnected"),
        (end_by_overflow, "slow_consumer"),
        (end_by_patience_with_the_executor, "executor_unavailable"),
        (end_by_patience_with_the_harness, "harness_disconnected"),
    ],
)


@ENDS
@pytest.mark.parametrize("frame", [*ASKS, *SAYS_NOTHING], ids=label)
def test_a_harness_is_told_of_the_end_and_revives_nothing(
    end: Callable[[], Net], reason: str, frame: Frame
) -> None:
    net = end()
    net.raw(HARNESS)
    net.raw(EXECUTOR)
    net.events()
    before = net.dropped()
    net.send(HARNESS, frame)
    assert net.got(HARNESS) == ([reset(reason)] if frame in ASKS else [])
    assert (net.raw(EXECUTOR), net.events()) == ([], [])
    assert net.dropped() == {**before, DropCause.ENDED_ROUTE: 1}
    stats = net.r.stats()
    assert (stats.routes, stats.ended_routes) == (0, 1)
    assert net.r.next_timeout() is None


@ENDS
@pytest.mark.parametrize("frame", [*ASKS, *SAYS_NOTHING], ids=label)
def test_an_executor_is_told_of_the_end_if_it_asks(
    end: Callable[[], Net], reason: str, frame: Frame
) -> None:
    net = end()
    net.raw(HARNESS)
    net.raw(EXECUTOR)
    before = net.dropped()
    net.send(EXECUTOR, frame)
    assert net.got(EXECUTOR) == ([reset(reason)] if isinstance(frame, ResumeFrame) else [])
    assert net.raw(HARNESS) == []
    assert net.dropped() == {**before, DropCause.ENDED_ROUTE: 1}


@pytest.mark.parametrize("frame", [*ONE_OF_EACH, KNOWN_PEER], ids=label)
def test_an_ended_stream_is_hidden_from_other_principals(frame: Frame) -> None:
    net = closed()
    net.harness(STRANGER, "bob")
    net.send(STRANGER, frame)
    answered = isinstance(frame, ResumeFrame | DataFrame | HandshakeFrame)
    assert net.got(STRANGER) == ([reset("unknown_stream")] if answered else [])
    assert net.dropped() == {DropCause.FOREIGN_STREAM: 1}
    assert net.raw(EXECUTOR) == []


def test_the_same_id_under_another_executor_id_is_another_stream() -> None:
    net = closed()
    net.executor(EXECUTOR_2, "other")
    net.harness(STRANGER, "bob", "other")
    assert net.passes(STRANGER, EXECUTOR_2, resume())
    assert net.passes(EXECUTOR_2, STRANGER, data())


def test_an_end_is_remembered_when_nobody_is_attached() -> None:
    net = closed()
    net.close(EXECUTOR)
    net.close(HARNESS)
    net.harness(HARNESS_2)
    net.send(HARNESS_2, KNOWN_PEER)
    assert net.got(HARNESS_2) == [reset("closed")]
    net.executor(EXECUTOR_2)
    net.send(EXECUTOR_2, resume(3, peer=7))
    assert net.got(EXECUTOR_2) == [reset("closed")]


# -- what it is for


def test_an_executor_whose_reset_died_with_its_link_hears_of_it_on_the_next() -> None:
    net = make()
    net.send(HARNESS, reset())
    net.close(EXECUTOR)
    net.executor(EXECUTOR_2)
    assert net.raw(EXECUTOR_2) == []
    net.send(EXECUTOR_2, resume(3, peer=7))
    assert net.got(EXECUTOR_2) == [reset("closed")]


def test_the_reset_that_is_told_again_says_what_was_acknowledged() -> None:
    net = make()
    final = reset()._replace(ack=7, ack_bits=0b10)
    assert net.passes(HARNESS, EXECUTOR, final)
    net.close(EXECUTOR)
    net.executor(EXECUTOR_2)
    net.send(EXECUTOR_2, resume())
    assert net.got(EXECUTOR_2) == [final]
    # To its sender these numbers would speak of the other direction.
    net.send(HARNESS, resume())
    assert net.got(HARNESS) == [reset("closed")]


@pytest.mark.parametrize("attached", [True, False])
def test_a_reset_whose_route_was_lost_elsewhere_reaches_the_executor(attached: bool) -> None:
    net = Net()
    net.harness()
    final = reset()._replace(ack=7)
    if attached:
        net.executor()
        assert net.passes(HARNESS, EXECUTOR, final)
    else:
        net.send(HARNESS, final)
        net.executor()
    assert net.r.stats().routes == 0
    net.send(EXECUTOR, data(3), resume(4, peer=7))
    assert net.got(EXECUTOR) == [final]
    net.send(HARNESS, final)
    assert net.raw(EXECUTOR) == [], "once is enough"


def test_a_reset_that_no_endpoint_would_take_ends_nothing() -> None:
    net = Net(relay=RelayConfig(max_reason_size=10))
    net.executor()
    net.harness()
    net.send(HARNESS, reset("out of every word there is"))
    assert net.raw(EXECUTOR) == []
    assert net.r.stats().ended_routes == 0


def test_the_tail_of_an_ended_basic_stream_makes_no_second_session() -> None:
    net = make(reliable=False)
    net.close(EXECUTOR)
    net.executor(EXECUTOR_2)
    assert net.got(HARNESS) == [reset("executor_unavailable")]
    # Sent before it heard of that.
    net.send(HARNESS, data(1), data(2))
    assert net.raw(EXECUTOR_2) == []
    assert net.got(HARNESS) == [reset("executor_unavailable")] * 2


def test_what_a_basic_executor_ran_is_not_handed_to_a_reliable_successor() -> None:
    net = Net()
    net.executor()
    net.harness()
    opening = resume(1)
    net.send(HARNESS, opening, data(1))
    assert net.got(EXECUTOR) == [opening, data(1)]
    net.close(EXECUTOR)
    # The end is queued for a link that the harness has lost, and dies with it.
    net.close(HARNESS)
    net.harness(HARNESS_2)
    net.executor(EXECUTOR_2)
    net.send(HARNESS_2, opening)
    assert net.raw(EXECUTOR_2) == []
    assert net.got(HARNESS_2) == [reset("executor_unavailable")]


# -- what is not remembered


@pytest.mark.parametrize("frame", [resume(0), resume(1), data(0), handshake()], ids=label)
def test_an_id_refused_for_want_of_an_executor_may_be_tried_again(frame: Frame) -> None:
    net = Net()
    net.harness()
    net.send(HARNESS, frame)
    assert net.got(HARNESS) == [reset("executor_unavailable")]
    net.executor()
    assert net.passes(HARNESS, EXECUTOR, frame)


def test_an_id_refused_for_the_number_of_routes_may_be_tried_again() -> None:
    net = make(max_routes=1)
    net.send(HARNESS, resume(stream_id=B))
    assert net.got(HARNESS) == [reset("too_many_streams", B)]
    net.send(HARNESS, reset())
    net.raw(EXECUTOR)
    assert net.passes(HARNESS, EXECUTOR, resume(stream_id=B))


def test_data_that_came_without_its_opening_does_not_bar_the_opening() -> None:
    net = Net()
    net.executor()
    net.harness()
    assert net.passes(HARNESS, EXECUTOR, data(1))
    assert net.passes(EXECUTOR, HARNESS, reset("unknown_stream"))
    assert ended("unknown_stream", RouteEndedBy.EXECUTOR) in net.events()
    assert net.passes(HARNESS, EXECUTOR, resume(1))
    assert net.passes(EXECUTOR, HARNESS, resume(1, peer=7))


@pytest.mark.parametrize(
    ("by", "shown", "reason"),
    [
        (HARNESS, False, "unknown_stream"),
        (HARNESS, True, "unknown_stream"),
        (EXECUTOR, True, "unknown_stream"),
        (EXECUTOR, False, "too_many_streams"),
    ],
)
def test_any_other_end_by_a_peer_is_final(by: int, shown: bool, reason: str) -> None:
    net = Net()
    net.executor()
    net.harness()
    net.open(harness=True, executor=shown)
    net.send(by, reset(reason))
    net.raw(HARNESS)
    net.raw(EXECUTOR)
    net.send(HARNESS, resume(1))
    assert net.got(HARNESS) == [reset(reason)]
    assert net.raw(EXECUTOR) == []


# -- bounds


def close_all(net: Net, *names: str) -> None:
    for name in names:
        net.send(HARNESS, resume(stream_id=name), reset(f"end of {name}", name))
    net.raw(EXECUTOR)
    net.events()


def remembered(net: Net, *names: str) -> list[str]:
    """Which ids are. Asking does not change it."""
    net.send(EXECUTOR, *[resume(stream_id=name) for name in names])
    return [frame.stream_id for frame in net.got(EXECUTOR)]


def test_the_oldest_end_is_forgotten_first() -> None:
    net = Net(max_ended_routes=2)
    net.executor()
    net.harness()
    close_all(net, A, B)
    assert remembered(net, A, B, C) == [A, B]
    close_all(net, C)
    assert remembered(net, A, B, C) == [B, C]
    assert net.r.stats().ended_routes == 2
    # Asking for it made it no younger. What is forgotten is a new stream.
    assert net.passes(HARNESS, EXECUTOR, resume(stream_id=A))
    net.send(HARNESS, reset(stream_id=A))
    net.raw(EXECUTOR)
    assert remembered(net, A, B, C) == [A, C]


@pytest.mark.parametrize(("waited", "kept"), [(29.9, True), (30.0, False)])
def test_an_end_is_remembered_for_its_time_and_not_longer(waited: float, kept: bool) -> None:
    net = closed(ended_route_ttl=30.0)
    net.now += waited
    assert net.passes(HARNESS, EXECUTOR, resume()) is not kept
    assert net.r.stats().ended_routes == kept


def test_each_end_has_a_time_of_its_own() -> None:
    net = Net(ended_route_ttl=30.0)
    net.executor()
    net.harness()
    close_all(net, A)
    net.now += 20
    close_all(net, B)
    net.now += 10
    assert remembered(net, A, B) == [B]
    net.now += 20
    assert remembered(net, A, B) == []
    assert net.r.stats().ended_routes == 0


@pytest.mark.parametrize(("link", "frame"), [(HARNESS, data()), (EXECUTOR, resume())], ids=label)
def test_answers_for_ended_routes_keep_to_the_rate_of_the_link(link: int, frame: Frame) -> None:
    net = closed(resets_per_second=5.0)
    net.send(link, *[frame] * 8)
    assert net.got(link) == [reset("closed")] * 5
    assert net.dropped() == {DropCause.ENDED_ROUTE: 8}
    stats = net.r.stats()
    assert (stats.resets_sent, stats.resets_suppressed) == ({ResetReason.CLOSED: 5}, 3)
    net.now += 0.4
    net.send(link, *[frame] * 8)
    assert len(net.raw(link)) == 2


def test_foreign_words_are_counted_together() -> None:
    net = Net()
    net.executor()
    net.harness()
    close_all(net, A, B)
    assert remembered(net, A, B) == [A, B]
    assert net.r.stats().resets_sent == {None: 2}


def test_what_many_ended_routes_cost_in_memory() -> None:
    limit = 2000
    net = Net(max_ended_routes=limit)
    net.executor()
    net.harness()
    longest = "r" * 256
    with memory() as grown:
        for number in range(5 * limit):
            name = f"{number:0128}"
            net.send(HARNESS, resume(stream_id=name), reset(longest, name))
            net.raw(EXECUTOR)
            net.events()
    assert net.r.stats().ended_routes == limit
    # The longest texts there may be, and what an entry costs beside them.
    assert grown[0] < limit * (128 + 256 + PER_ENDED_ID)
