"""What a hostile harness or executor can send to a rendezvous. `docs/attacks.md` is the table.

Alice attacks; Bob has a stream to the same executor, which must not notice (see `attackkit`).
"""

import pytest

from attackkit import BYSTANDER, PER_STREAM, RelayTarget
from rendezvous_net import EXECUTOR, HARNESS, HARNESS_2, MIB, A, data, heartbeat, resume
from sansrelay import FrameCause, RelayConfig, ResetReason
from sansrelay.frames import AckFrame, DataFrame, Frame, HandshakeFrame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause, RendezvousEvent, RouteOpened


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


def reliable() -> RelayTarget:
    """Alice has a stream of her own, reliable in both directions."""
    target = RelayTarget()
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
    target = reliable()
    toll = target.attack((ResetFrame(f"new {n}", 0, 0, "closed") for n in range(300)), by=by)
    assert (toll.got, toll.passed) == ({}, {})
    assert toll.dropped == {DropCause.NO_ROUTE: 300}
    toll = target.attack([ResetFrame(A, 0, 0, "closed")] * 300, by=by)
    assert (toll.got, toll.passed) == ({}, {"reset closed": 1})
    assert toll.dropped == {DropCause.NO_ROUTE: 299}


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
    assert toll.got == {"reset slow_consumer": 1}
    assert toll.dropped[DropCause.STREAM_QUEUE_FULL] == 1
    assert 230 < toll.dropped[DropCause.SLOW_CONSUMER] < 245


def test_revived_id() -> None:
    target = reliable()
    life: list[Frame] = [ResetFrame(A, 0, 0, "closed"), resume(), data()]
    toll = target.attack(life * 100)
    # The rendezvous remembers no ids; the executor does, and answers with its reset.
    assert toll.passed == {"reset closed": 100, "question": 100, "data": 100}
    assert (toll.got, toll.dropped) == ({}, {})
    assert target.net.r.stats().routes == 2


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
