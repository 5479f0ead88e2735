"""The public test kit: a clock, a link with faults, two ends joined by it."""

import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    Event,
    Outcome,
    ProfilePolicy,
    RelayConfig,
    ResetReason,
    StreamOpened,
    StreamResumed,
)
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import AckFrame, DataFrame, Frame, InvalidFrame, ResetFrame, ResumeFrame
from sansrelay.testing import FakeClock, LinkConditions, RelayPair, SimulatedLink

# -- clock


def test_a_clock_moves_when_it_is_told_to() -> None:
    clock = FakeClock(5.0)
    assert clock() == clock.now == 5.0
    clock.advance(1.5)
    clock.advance(0.0)
    assert clock() == 6.5
    clock.advance_to(10.0)
    clock.advance_to(7.0)
    assert clock.now == 10.0


@pytest.mark.parametrize("seconds", [-1.0, -1e-9, float("nan")])
def test_a_clock_does_not_go_back(seconds: float) -> None:
    clock = FakeClock(5.0)
    with pytest.raises(ValueError, match="back"):
        clock.advance(seconds)
    assert clock() == 5.0


# -- link


def link(seed: int = 1, **conditions: float) -> SimulatedLink:
    return SimulatedLink(LinkConditions(**conditions), chance=random.Random(seed).random)


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


def send_all(link: SimulatedLink, frames: Iterable[bytes], step: float = 0.001) -> list[bytes]:
    """Send frames at an even pace; returns what arrives, in the order of arrival."""
    now = 0.0
    for frame in frames:
        link.send(0, frame, now)
        now += step
    arrived = []
    while (when := link.next_arrival()) is not None:
        arrived += link.arrivals(0, when)
    return arrived


def test_frames_take_their_time_and_keep_their_order() -> None:
    net = SimulatedLink(LinkConditions(delay=0.25))
    net.send(0, b"a", 1.0)
    net.send(0, b"b", 1.0)
    net.send(0, b"c", 1.5)
    assert net.next_arrival() == 1.25
    assert net.arrivals(0, 1.2) == []
    assert net.arrivals(0, 1.25) == [b"a", b"b"]
    assert net.arrivals(0, 1.25) == []
    assert net.next_arrival() == 1.75
    assert net.arrivals(0, 9.0) == [b"c"]
    assert net.next_arrival() is None
    assert net.faults == 0


def test_the_two_directions_are_apart() -> None:
    net = SimulatedLink(LinkConditions(delay=0.25), LinkConditions(delay=1.0))
    net.send(0, b"there", 0.0)
    net.send(1, b"back", 0.0)
    assert net.arrivals(1, 0.5) == []
    assert net.arrivals(0, 0.5) == [b"there"]
    assert net.next_arrival() == 1.0
    assert net.arrivals(1, 1.0) == [b"back"]


@pytest.mark.parametrize("start", [-1e6, 0.0, 1e6])
def test_the_delay_does_not_depend_on_the_time_of_day(start: float) -> None:
    net = SimulatedLink(LinkConditions(delay=0.25))
    net.send(0, b"a", start)
    assert net.next_arrival() == start + 0.25


def test_a_frame_does_not_overtake_when_the_delay_shrinks() -> None:
    net = SimulatedLink(LinkConditions(delay=1.0))
    net.send(0, b"a", 0.0)
    net.conditions[0] = LinkConditions(delay=0.1)
    net.send(0, b"b", 0.0)
    assert net.arrivals(0, 0.9) == []
    assert net.arrivals(0, 1.0) == [b"a", b"b"]


def test_a_cut_loses_what_is_under_way() -> None:
    net = SimulatedLink(LinkConditions(delay=1.0))
    net.send(0, b"a", 0.0)
    net.send(0, b"b", 0.0)
    net.send(1, b"c", 0.0)
    assert net.cut() == 3
    assert net.next_arrival() is None
    assert net.cut() == 0
    net.conditions[0] = LinkConditions(delay=0.1)
    net.send(0, b"d", 0.0)
    assert net.next_arrival() == 0.1, "nothing that was lost holds it up"


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_loss(chance: float) -> None:
    net = link(loss=chance)
    frames = numbered(1000)
    arrived = send_all(net, frames)
    assert len(arrived) == 1000 - net.faults == pytest.approx(1000 * (1 - chance), abs=60)
    assert arrived == sorted(arrived)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_duplication(chance: float) -> None:
    net = link(duplication=chance)
    frames = numbered(1000)
    arrived = send_all(net, frames)
    assert set(arrived) == set(frames)
    assert len(arrived) - 1000 == net.faults == pytest.approx(1000 * chance, abs=60)
    first_arrivals = list(dict.fromkeys(arrived))
    assert first_arrivals == frames


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_reordering(chance: float) -> None:
    net = link(reordering=chance)
    frames = numbered(1000)
    arrived = send_all(net, frames)
    assert sorted(arrived) == frames
    assert net.faults == pytest.approx(1000 * chance, abs=60)
    overtaken = sum(one > other for one, other in pairwise(arrived))
    assert (overtaken > 0) is (chance > 0)
    for place, frame in enumerate(arrived):  # 0.05 s of scatter, one frame each ms
        assert abs(place - frames.index(frame)) <= 51


REAL_FRAMES: list[Frame] = [
    DataFrame("stream", 3, 1, 9, 0, 1, b"payload"),
    AckFrame("stream", 3, 1),
    ResumeFrame("stream", 3, 1, 9, 2**63, 5, True),
    ResetFrame("stream", 3, 1, "closed"),
]


@pytest.mark.parametrize("frame", REAL_FRAMES, ids=lambda frame: type(frame).__name__)
def test_corruption_leaves_no_valid_frame(frame: Frame) -> None:
    whole = encode_frame(frame)
    net = link(corruption=1.0)
    arrived = send_all(net, [whole] * 300)
    assert len(arrived) == net.faults == 300
    assert len({len(damaged) for damaged in arrived}) == len(whole), "cut anywhere, or not at all"
    for damaged in arrived:
        assert isinstance(decode_frame(damaged, RelayConfig()), InvalidFrame)


def test_a_lost_frame_meets_no_other_fault() -> None:
    net = link(loss=1.0, duplication=1.0, corruption=1.0, reordering=1.0)
    assert send_all(net, numbered(100)) == []
    assert net.faults == 100


def test_one_seed_gives_one_course_of_events() -> None:
    def run(seed: int) -> tuple[list[bytes], int]:
        net = link(seed, loss=0.2, duplication=0.2, reordering=0.2, corruption=0.2)
        return send_all(net, numbered(300)), net.faults

    assert run(7) == run(7)
    assert run(7) != run(8)


@pytest.mark.parametrize("name", ["loss", "duplication", "reordering", "corruption"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_chance_is_from_0_to_1(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        LinkConditions(**options)


@pytest.mark.parametrize("name", ["delay", "scatter"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_a_time_is_0_or_more(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        LinkConditions(**options)


def test_a_fault_without_a_source_of_chance_is_an_error() -> None:
    net = SimulatedLink(LinkConditions(loss=0.5))
    with pytest.raises(ValueError, match="chance"):
        net.send(0, b"a", 0.0)


# -- pair


def open_pair(**options: Any) -> RelayPair:
    pair = RelayPair(**options)
    pair.harness.conn.open_stream("s")
    return pair


def test_messages_pass_both_ways() -> None:
    pair = open_pair()
    pair.harness.conn.send_data("s", b"ping")
    assert pair.run(until=lambda: pair.executor.received == {"s": [b"ping"]})
    pair.executor.conn.send_data("s", b"pong")
    assert pair.run(until=lambda: pair.harness.received == {"s": [b"pong"]})
    assert pair.run(until=lambda: bool(pair.executor.events_of(DataAcknowledged)))
    assert len(pair.harness.events_of(StreamOpened)) == 1
    assert [event.data for event in pair.executor.events_of(DataReceived)] == [b"ping"]
    assert 0 < pair.clock() < 1.0


def test_a_run_ends_at_its_time() -> None:
    pair = open_pair()
    assert not pair.run(5.0, until=lambda: False)
    assert pair.clock() == 5.0
    assert pair.run(2.5) is True
    assert pair.clock() == 7.5


def test_a_run_ends_at_its_number_of_steps() -> None:
    pair = open_pair()
    assert not pair.run(until=lambda: False, steps=2)
    assert pair.steps == 2


def test_a_step_goes_no_further_than_its_limit() -> None:
    pair = open_pair()
    assert not pair.step(0.001), "nothing arrives before"
    assert pair.clock() == 0.0
    assert pair.step(0.01)
    assert pair.clock() == 0.01
    pair = RelayPair()
    assert not pair.step(), "nothing is open, so nothing ever happens"


def test_a_cut_link_can_be_joined_again() -> None:
    pair = open_pair()
    pair.harness.conn.send_data("s", b"one")
    assert pair.run(until=lambda: "s" in pair.executor.received)
    pair.harness.conn.send_data("s", b"two")
    pair.step(pair.clock())
    assert pair.cut() > 0
    assert pair.cut() == 0, "nothing to be lost, and no misuse"
    assert not pair.run(5.0, until=lambda: len(pair.executor.received["s"]) > 1)
    pair.join()
    assert pair.run(until=lambda: pair.executor.received["s"] == [b"one", b"two"])
    assert len(pair.harness.events_of(StreamResumed)) == 1


def test_an_end_that_does_not_read_holds_what_came() -> None:
    pair = open_pair()
    pair.executor.reading = False
    pair.harness.conn.send_data("s", b"one")
    pair.run(5.0)
    assert pair.executor.received == {"s": [b"one"]}
    assert pair.harness.events_of(DataAcknowledged) == []
    pair.executor.read()
    assert pair.run(until=lambda: bool(pair.harness.events_of(DataAcknowledged)))


def test_an_end_may_read_what_came_on_a_stream_that_is_forgotten() -> None:
    pair = open_pair(config=RelayConfig(ended_ttl=1.0))
    pair.executor.reading = False
    pair.harness.conn.send_data("s", b"one")
    pair.run(1.0)
    pair.harness.conn.reset_stream("s")
    for _ in range(2):
        pair.run(5.0)
    assert pair.executor.conn.stream_state("s") is None
    pair.executor.read()
    assert pair.executor.ended["s"].known_reason is ResetReason.CANCELLED


def test_an_executor_that_restarts_has_lost_its_state() -> None:
    config = RelayConfig(profile=ProfilePolicy.RELIABLE, max_message_size=1000, segment_size=100)
    pair = open_pair(config=config)
    pair.harness.conn.send_data("s", b"one")
    assert pair.run(until=lambda: "s" in pair.executor.received)
    old = pair.executor
    pair.harness.conn.send_data("s", b"two")
    pair.cut()
    pair.restart_executor(0xC0000)
    assert pair.executor is not old
    assert pair.ends == (pair.harness, pair.executor)
    pair.join()
    assert pair.run(until=lambda: "s" in pair.harness.ended)
    end = pair.harness.ended["s"]
    assert end.known_reason in (ResetReason.UNKNOWN_STREAM, ResetReason.PEER_RESTARTED)
    assert end.outcome(2) is not Outcome.ACKNOWLEDGED
    assert pair.executor.received == {}


@pytest.mark.parametrize(
    ("config", "opened"), [(None, 1), (RelayConfig(max_streams=2), 2)], ids=["kept", "replaced"]
)
def test_an_executor_keeps_its_config_over_a_restart(
    config: RelayConfig | None, opened: int
) -> None:
    pair = RelayPair(executor_config=RelayConfig(max_streams=1))
    pair.cut()
    pair.restart_executor(0xC0000, config)
    pair.join()
    for stream_id in "abc":
        pair.harness.conn.open_stream(stream_id)
    pair.run(5.0)
    assert len(pair.executor.events_of(StreamOpened)) == opened
    refused = list(pair.harness.ended.values())
    assert [end.known_reason for end in refused] == [ResetReason.TOO_MANY_STREAMS] * (3 - opened)


def test_two_runs_under_one_seed_are_the_same() -> None:
    def run(seed: int) -> tuple[list[Event], list[Event], float, int]:
        faulty = link(seed, loss=0.1, duplication=0.1, reordering=0.2, corruption=0.05)
        pair = open_pair(link=faulty)
        for number in range(30):
            pair.harness.conn.send_data("s", bytes([number]) * 100)
        assert pair.run(until=lambda: len(pair.executor.received.get("s", [])) == 30)
        assert pair.executor.received["s"] == [bytes([number]) * 100 for number in range(30)]
        assert faulty.faults > 0
        return pair.harness.events, pair.executor.events, pair.clock(), pair.steps

    assert run(3) == run(3)
    assert run(3) != run(4)
