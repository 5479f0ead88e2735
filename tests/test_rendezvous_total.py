"""What all links of a rendezvous may take together: bytes queued, and links of one principal."""

import itertools

import pytest

from attackkit import memory
from rendezvous_net import (
    EXECUTOR,
    EXECUTOR_2,
    HARNESS,
    HARNESS_2,
    STRANGER,
    A,
    B,
    C,
    Net,
    data,
    ended,
    reset,
    resume,
)
from sansrelay.codec import encode_frame
from sansrelay.config import RelayConfig
from sansrelay.errors import ResetReason
from sansrelay.fairqueue import FRAME_COST, STREAM_COST
from sansrelay.frames import ResetFrame
from sansrelay.rendezvous import DropCause, LinkRefusal, RendezvousConfig

CHUNK = bytes(1000)
CHUNK_COST = len(encode_frame(data(0, CHUNK))) + FRAME_COST
KIB = 1024
TOTAL = 512 * KIB


def make(**config: int) -> Net:
    """Two executor ids; each has reliable streams A and C of a harness of its own."""
    net = Net(
        relay=RelayConfig(max_frame_size=32 * KIB, max_message_size=30_000, segment_size=30_000),
        **{
            "total_queue_size": TOTAL,
            "link_queue_size": TOTAL,
            "stream_queue_size": TOTAL,
            **config,
        },
    )
    for link, executor, executor_id in (
        (HARNESS, EXECUTOR, "exec"),
        (STRANGER, EXECUTOR_2, "other"),
    ):
        net.executor(executor, executor_id)
        net.harness(link, "alice", executor_id)
        for name in (A, C):
            for source, target in ((link, executor), (executor, link)):
                assert net.passes(source, target, resume(stream_id=name))
    net.events()
    return net


def stop_reading(net: Net) -> int:
    """The first executor takes nothing: send until a frame is dropped. The bytes queued then."""
    for name in itertools.cycle((A, C)):
        net.send(HARNESS, data(0, CHUNK, name))
        if net.dropped():
            break
    return net.r.stats().bytes_queued


def test_one_stopped_reader_takes_half_at_most_and_harms_no_other() -> None:
    net = make()
    queued = stop_reading(net)
    assert abs(queued - TOTAL / 2) <= CHUNK_COST / 2
    assert net.dropped() == {DropCause.TOTAL_QUEUE_FULL: 1}
    assert net.events() == []
    for seq in range(50):
        net.send(STRANGER, data(seq, CHUNK))
    assert net.got(EXECUTOR_2) == [data(seq, CHUNK) for seq in range(50)]
    assert net.r.stats().bytes_queued == queued
    # What it takes at last makes room again.
    assert len(net.raw(EXECUTOR)) == (queued - 2 * STREAM_COST) // CHUNK_COST
    assert net.r.stats().bytes_queued == 0
    assert net.passes(HARNESS, EXECUTOR, data(1, CHUNK))


@pytest.mark.parametrize(("short_of", "forwarded"), [(0, 2), (1, 1)])
def test_the_total_is_kept_to_the_byte(short_of: int, forwarded: int) -> None:
    # Two frames fit if as much as the first takes would still be free.
    total = 2 * (CHUNK_COST + STREAM_COST) + CHUNK_COST - short_of
    net = Net(
        relay=RelayConfig(max_frame_size=1400, max_message_size=1100, segment_size=1100),
        total_queue_size=total,
        link_queue_size=total,
        stream_queue_size=total,
    )
    net.executor()
    net.harness()
    net.send(HARNESS, data(0, CHUNK), data(0, CHUNK))
    assert net.r.stats().frames_forwarded == forwarded
    full = {DropCause.TOTAL_QUEUE_FULL: 1, DropCause.SLOW_CONSUMER: 1}
    assert net.dropped() == (full if short_of else {})


def test_at_the_total_a_stream_that_is_not_reliable_is_reset() -> None:
    net = make()
    stop_reading(net)
    net.harness(HARNESS_2)
    net.send(HARNESS_2, resume(0, stream_id=B))
    # Its resume finds no room either on that link, and the resets come from the reserve.
    assert net.got(HARNESS_2) == [reset("slow_consumer", B)]
    assert reset("slow_consumer", B) in net.got(EXECUTOR)
    assert ended("slow_consumer", stream_id=B) in net.events()
    assert net.dropped() == {DropCause.TOTAL_QUEUE_FULL: 2}


def test_each_link_keeps_a_reserve_for_resets_when_the_total_is_used_up() -> None:
    net = make(reset_queue_size=4 * KIB)
    stop_reading(net)
    assert net.r.stats().resets_sent == {}
    # Ends that the stopped reader is told of: as many as fit into its reserve.
    for number in range(5):
        name = f"basic {number}"
        net.send(HARNESS, resume(0, stream_id=name))
    told = [frame for frame in net.got(EXECUTOR) if isinstance(frame, ResetFrame)]
    stats = net.r.stats()
    assert 2 <= len(told) <= 4
    assert stats.resets_sent == {ResetReason.SLOW_CONSUMER: 5 + len(told)}
    assert stats.resets_suppressed == 5 - len(told)


def test_what_was_queued_for_a_lost_link_is_given_back() -> None:
    net = make()
    stop_reading(net)
    net.close(EXECUTOR)
    assert net.r.stats().bytes_queued == 0
    net = make()
    stop_reading(net)
    net.executor(99)
    assert net.r.stats().bytes_queued == 0
    net.close(EXECUTOR)
    assert net.r.stats().bytes_queued == 0


@pytest.mark.parametrize("readers", [1, 4, 30])
def test_what_stopped_readers_cost_in_memory(readers: int) -> None:
    net = Net(
        relay=RelayConfig(max_frame_size=32 * KIB, max_message_size=30_000, segment_size=30_000),
        total_queue_size=TOTAL,
        link_queue_size=TOTAL // 2,
        stream_queue_size=TOTAL // 2,
        reset_queue_size=1,
    )
    net.executor()
    for link in range(100, 100 + readers):
        net.harness(link)
        name = str(link)
        assert net.passes(link, EXECUTOR, resume(stream_id=name))
        assert net.passes(EXECUTOR, link, resume(stream_id=name))
    net.events()
    with memory() as grown:
        for seq in range(600):
            for link in range(100, 100 + readers):
                net.send(EXECUTOR, data(seq, CHUNK, str(link)))
    stats = net.r.stats()
    # One stream has half of what its link may hold, several links share the total.
    least = TOTAL / 4 if readers == 1 else TOTAL / 2
    assert least - 2 * CHUNK_COST <= stats.bytes_queued <= TOTAL
    # Payloads, with what each frame and stream is taken to cost.
    assert grown[0] <= stats.bytes_queued * 1.1 + 16 * KIB
    # Their executor is not held up: what it sends to others passes.
    net.harness(HARNESS)
    assert net.passes(HARNESS, EXECUTOR, resume())
    assert net.passes(EXECUTOR, HARNESS, resume())


# -- links of one principal


def test_links_of_one_principal_are_limited_over_all_executor_ids() -> None:
    net = Net(max_links_per_principal=2)
    assert net.harness(11) is None
    assert net.harness(12, executor_id="other") is None
    for executor_id in ("exec", "other", "third"):
        refusal = net.harness(13, executor_id=executor_id)
        assert refusal is LinkRefusal.TOO_MANY_PRINCIPAL_LINKS
    # Executors and other principals have limits of their own.
    assert net.executor() is None
    assert net.harness(21, "bob") is None
    assert net.r.stats().harness_links == 3
    net.close(12)
    assert net.harness(13) is None
    assert net.harness(14) is LinkRefusal.TOO_MANY_PRINCIPAL_LINKS


def test_a_refused_link_leaves_nothing_behind() -> None:
    net = Net(max_links_per_principal=1)
    net.harness()
    for number in range(100):
        net.harness(100 + number, executor_id=f"id {number}")
    net.close(HARNESS)
    assert net.r._table._executors == {}
    assert net.r._links._links_of == {}


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"max_links": 1}, LinkRefusal.TOO_MANY_LINKS),
        ({"max_harness_links": 1}, LinkRefusal.TOO_MANY_HARNESS_LINKS),
        ({"max_links_per_principal": 1}, LinkRefusal.TOO_MANY_PRINCIPAL_LINKS),
    ],
)
def test_each_limit_of_links_has_a_refusal_of_its_own(
    limits: dict[str, int], refusal: LinkRefusal
) -> None:
    net = Net(**limits)
    assert net.harness() is None
    assert net.harness(HARNESS_2) is refusal


def test_the_defaults_leave_room_for_several_stopped_readers() -> None:
    defaults = RendezvousConfig()
    # Two that hold all that a link may hold leave another as much.
    assert defaults.total_queue_size >= 4 * defaults.link_queue_size
    assert defaults.max_links_per_principal < defaults.max_links
