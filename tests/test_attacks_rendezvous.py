"""What a hostile harness or executor can send to a rendezvous. `docs/attacks.md` is the table.

Alice attacks; Bob has a stream to the same executor, which must not notice (see `attackkit`).
"""

from collections import Counter

import pytest

from attackkit import BYSTANDER, PER_ENDED_ID, PER_STREAM, RelayTarget
from rendezvous_net import EXECUTOR, HARNESS, HARNESS_2, MIB, A, data, heartbeat, resume
from sansrelay import FrameCause, RelayConfig, ResetReason
from sansrelay.frames import AckFrame, DataFrame, Frame, HandshakeFrame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause, LinkRefusal, RendezvousEvent, RouteOpened


def one_of_each(stream_id: str) -> list[Frame]:
    """A frame of each kind."""
    return [
        ResumeFrame(stream_id, 0, 0, 1, 7),
        DataFrame(stream_id, 0, 0, 1, 0, 1, b"x"),
        HandshakeFrame(stream_id, 0, 0, b"hello"),
        AckFrame(stream_id, 1, 0),
        heartbeat(stream_id),
        ResetFrame(stream_id, 0, 0, "closed"),
    ]


def reliable(**config: float) -> RelayTarget:
    """Alice has a stream of her own, reliable in both directions."""
    target = RelayTarget(**config)
    target.net.open(harness=True, executor=True)
    return target


def test_frames_that_only_endpoints_can_judge() -> None:
    target = reliable()
    frames: list[Frame] = [
        AckFrame(A, 2**32 - 1, 2**32 - 1),
        DataFrame(A, 0, 0, 2**32 - 1, 0, 1, b"x"),
        DataFrame(A, 0, 0, 1, 0, 2**32 - 1, b"x"),
        ResumeFrame(A, 0, 0, 1, 8),
    ]
    toll = target.attack(frames)
    assert toll.passed == {"ack": 1, "data": 2, "question": 1}
    assert (toll.got, toll.dropped) == ({}, {})


def test_stream_id_of_64_kib() -> None:
    target = RelayTarget()
    toll = target.attack(one_of_each("x" * 65536) * 10)
    assert (toll.got, toll.passed) == ({}, {})
    assert toll.dropped == {FrameCause.STREAM_ID_TOO_LONG: 60}
    assert target.net.r.stats().routes == 1


@pytest.mark.parametrize("stream_id", ["\x00", "a\r\nb: c", "\x1b[31mred", BYSTANDER + "\x00"])
def test_stream_id_with_control_characters(stream_id: str) -> None:
    target = RelayTarget()
    frame = ResumeFrame(stream_id, 0, 0, 1, 7)
    target.net.send(HARNESS, frame)
    # A text like any other: nothing is cut off, replaced, or taken for the id of another stream.
    assert target.net.got(EXECUTOR) == [frame]
    opened: list[RendezvousEvent] = [
        RouteOpened(executor_id="exec", stream_id=stream_id, principal="alice", link=HARNESS)
    ]
    assert target.net.events() == opened
    toll = target.attack([frame])
    assert toll.passed == {"question": 1}


def test_stream_id_of_another_harness() -> None:
    target = RelayTarget(resets_per_second=10)
    toll = target.attack(one_of_each(BYSTANDER) * 100)
    # The same that she gets for an id that nobody has.
    assert toll.got == {"reset unknown_stream": 10}
    assert toll.passed == {}
    assert toll.dropped == {DropCause.FOREIGN_STREAM: 600}
    assert target.net.r.stats().resets_suppressed == 290


def test_open_flood() -> None:
    target = RelayTarget(max_routes_per_principal=50, resets_per_second=10)
    toll = target.attack(
        (resume(1, stream_id=f"new {number}") for number in range(300)),
        allowance=50 * PER_STREAM,
    )
    assert toll.passed == {"question": 50}
    assert toll.got == {"reset too_many_streams": 10}
    assert toll.dropped == {DropCause.TOO_MANY_ROUTES: 250}
    assert target.net.r.stats().resets_suppressed == 240
    assert target.net.r.stats().routes == 51


@pytest.mark.parametrize("by", [HARNESS, EXECUTOR])
def test_reset_flood(by: int) -> None:
    target = reliable(max_ended_routes=100)
    toll = target.attack(
        (ResetFrame(f"new {n}", 0, 0, "closed") for n in range(300)),
        by=by,
        allowance=100 * PER_ENDED_ID,
    )
    if by == HARNESS:  # whose streams may have had their routes elsewhere
        assert (toll.got, toll.passed, toll.dropped) == ({}, {"reset closed": 300}, {})
    else:
        assert (toll.got, toll.passed) == ({}, {})
        assert toll.dropped == {DropCause.NO_ROUTE: 300}
    toll = target.attack([ResetFrame(A, 0, 0, "closed")] * 300, by=by)
    assert (toll.got, toll.passed) == ({}, {"reset closed": 1})
    assert toll.dropped == {DropCause.ENDED_ROUTE: 299}


@pytest.mark.parametrize("by", [HARNESS, EXECUTOR])
def test_heartbeat_flood(by: int) -> None:
    target = reliable()
    toll = target.attack([heartbeat()] * 300, by=by)
    assert (toll.got, toll.passed, toll.dropped) == ({}, {"heartbeat": 300}, {})
    toll = target.attack((heartbeat(f"new {number}") for number in range(300)), by=by)
    assert (toll.got, toll.passed) == ({}, {})
    assert toll.dropped == {DropCause.NO_ROUTE: 300}


SMALL_QUEUES = {
    "relay": RelayConfig(max_frame_size=100_000, max_message_size=64_000, segment_size=60_000),
    "link_queue_size": MIB,
    "stream_queue_size": MIB // 4,
}


@pytest.mark.parametrize("by", [HARNESS, EXECUTOR])
def test_more_than_a_slow_reader_takes(by: int) -> None:
    target = RelayTarget(**SMALL_QUEUES)
    target.net.open(harness=True, executor=True)
    toll = target.attack((data(1, bytes(1000)) for _ in range(500)), by=by, reading=False)
    passed = toll.passed["data"]
    assert MIB // 4 - 1100 <= passed * 1100 <= MIB // 4 * 1.1
    assert toll.dropped == {DropCause.STREAM_QUEUE_FULL: 500 - passed}
    assert toll.got == {}


@pytest.mark.parametrize("by", [HARNESS, EXECUTOR])
def test_more_than_a_slow_reader_takes_of_a_basic_stream(by: int) -> None:
    target = RelayTarget(**SMALL_QUEUES)
    target.net.open(harness=False, executor=False)
    toll = target.attack((data(1, bytes(1000)) for _ in range(245)), by=by, reading=False)
    # Nothing may be left out of it: both sides are told that it is over.
    assert toll.passed["reset slow_consumer"] == 1
    assert toll.dropped[DropCause.STREAM_QUEUE_FULL] == 1
    # A harness that does not hear is told again; an executor would have to ask.
    late = toll.dropped.get(DropCause.ENDED_ROUTE, 0)
    assert late == 245 - toll.passed["data"] - toll.dropped[DropCause.SLOW_CONSUMER] - 1 > 0
    assert toll.got == {"reset slow_consumer": 1 + (late if by == HARNESS else 0)}
    assert 230 < toll.dropped[DropCause.SLOW_CONSUMER] < 245


@pytest.mark.parametrize("by", [HARNESS, EXECUTOR])
def test_revived_id(by: int) -> None:
    target = reliable(resets_per_second=10)
    life: list[Frame] = [ResetFrame(A, 0, 0, "closed"), resume(), data()]
    toll = target.attack(life * 100, by=by)
    assert toll.passed == {"reset closed": 1}
    assert toll.got == {"reset closed": 10}
    assert toll.dropped == {DropCause.ENDED_ROUTE: 299}
    # An executor is told if it asks, a harness for its data too.
    asked = 200 if by == HARNESS else 100
    assert target.net.r.stats().resets_suppressed == asked - 10
    assert target.net.r.stats().routes == 1


def test_open_and_reset_flood() -> None:
    target = reliable(max_ended_routes=50, resets_per_second=10)
    target.attack([ResetFrame(A, 0, 0, "closed")])
    toll = target.attack(
        (
            frame
            for number in range(300)
            for frame in (resume(stream_id=f"new {number}"), ResetFrame(f"new {number}", 0, 0, "x"))
        ),
        allowance=50 * PER_STREAM,
    )
    assert toll.passed == {"question": 300, "reset x": 300}
    assert (toll.got, toll.dropped) == ({}, {})
    assert target.net.r.stats().ended_routes == 50
    # What was remembered before is pushed out: its late frames make a route again.
    toll = target.attack([data()])
    assert (toll.passed, toll.dropped) == ({"data": 1}, {})


def test_many_slow_readers() -> None:
    target = RelayTarget(**SMALL_QUEUES, total_queue_size=MIB)
    net = target.net
    names = [f"slow {number}" for number in range(20)]
    for link, name in enumerate(names, start=100):
        net.harness(link, "alice")
        assert net.passes(link, EXECUTOR, resume(stream_id=name))
        assert net.passes(EXECUTOR, link, resume(stream_id=name))
    toll = target.attack(
        (data(seq, bytes(1000), name) for seq in range(200) for name in names),
        by=EXECUTOR,
        allowance=MIB + MIB // 10 + 64 * 1024,
    )
    queued = net.r.stats().bytes_queued
    assert MIB * 0.9 < queued < MIB
    assert toll.got == {}
    # Side by side they leave one part in 21, which the bystander's frames fit into.
    dropped = toll.dropped.pop(DropCause.TOTAL_QUEUE_FULL)
    assert toll.dropped == {}
    assert 20 * 200 - dropped == pytest.approx(queued / 1100, rel=0.05)


def test_link_flood() -> None:
    target = RelayTarget(max_links_per_principal=10)
    net = target.net
    refusals = Counter(
        net.harness(100 + number, "alice", f"id {number % 7}") for number in range(300)
    )
    # One is hers already.
    assert refusals == {None: 9, LinkRefusal.TOO_MANY_PRINCIPAL_LINKS: 291}
    assert net.r.stats().harness_links == 11
    assert net.harness(500, "bob") is None


def test_stale_resume() -> None:
    target = reliable()
    net = target.net
    net.harness(HARNESS_2, "alice")
    assert net.passes(HARNESS_2, EXECUTOR, resume(2, peer=9))
    toll = target.attack([resume(1), resume(2, peer=9), data(), heartbeat()] * 50)
    assert (toll.got, toll.passed) == ({}, {})
    assert toll.dropped == {DropCause.STALE_LINK: 200}
    # The stream still follows the newer link, and outlives the older one.
    net.close(HARNESS)
    assert net.passes(EXECUTOR, HARNESS_2, data())


def test_foreign_incarnation() -> None:
    target = RelayTarget(max_routes_per_principal=50, resets_per_second=10)
    toll = target.attack(
        (resume(1, peer=9, stream_id=f"new {number}") for number in range(200)),
        allowance=50 * PER_STREAM,
    )
    # Perhaps an earlier rendezvous knew them: each is passed on for the executor to judge.
    assert toll.passed == {"question": 50}
    assert toll.got == {"reset too_many_streams": 10}
    assert toll.dropped == {DropCause.TOO_MANY_ROUTES: 150}
    assert target.net.r.stats().resets_suppressed == 140
    # Those that it says nothing of are not kept for ever.
    target.net.wait(301)
    assert target.net.r.stats().resets_sent[ResetReason.EXECUTOR_UNAVAILABLE] == 2 * 50
    assert target.net.r.stats().routes == 1


def test_held_data_before_confirmation() -> None:
    target = RelayTarget()
    toll = target.attack([resume(2, peer=9), *[data(seq, bytes(1000)) for seq in range(1, 500)]])
    # Nothing is held: what the executor has not resumed on this link gets no data.
    assert toll.passed == {"question": 1}
    assert toll.got == {}
    assert toll.dropped == {DropCause.SUSPENDED: 499}
