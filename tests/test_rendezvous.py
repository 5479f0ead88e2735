"""The rendezvous: who gets which frame, and what is said when nobody does."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rendezvous_net import (
    EXECUTOR,
    EXECUTOR_2,
    HARNESS,
    HARNESS_2,
    KNOWN_PEER,
    MIB,
    ONE_OF_EACH,
    STRANGER,
    A,
    B,
    C,
    Net,
    ack,
    basic_net,
    data,
    decoded,
    ended,
    fresh_net,
    handshake,
    heartbeat,
    label,
    reliable_net,
    reset,
    resume,
)
from sansrelay.codec import encode_frame
from sansrelay.config import RelayConfig
from sansrelay.errors import FrameCause, LocalCause, LocalProtocolError, ResetReason
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.rendezvous import (
    DropCause,
    LinkRefusal,
    Rendezvous,
    RendezvousConfig,
    RouteEnded,
    RouteEndedBy,
    RouteOpened,
)


@pytest.fixture
def net() -> Net:
    return fresh_net()


@pytest.fixture
def basic() -> Net:
    return basic_net()


@pytest.fixture
def reliable() -> Net:
    return reliable_net()


# -- forwarding


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=label)
def test_frames_pass_both_ways_and_stay_as_they_are(reliable: Net, frame: Frame) -> None:
    # Unknown fields: a varint, a string, a group, and a field 0-9 of a later schema.
    wire = encode_frame(frame) + b"\xf8\x3f\x2a" + b"\xfa\x3f\x03abc" + b"\xfb\x3f\xfc\x3f"
    reliable.send(HARNESS, wire)
    assert reliable.raw(EXECUTOR) == [wire]
    assert reliable.raw(HARNESS) == []
    if not isinstance(frame, ResetFrame):
        reliable.send(EXECUTOR, wire)
        assert reliable.raw(HARNESS) == [wire]


def test_an_odd_encoding_of_a_frame_is_not_made_canonical(net: Net) -> None:
    # version as a varint of two bytes, and stream_id given twice: the last one counts.
    wire = b"\x08\x81\x00" + b"\x12\x01z" + b"\x12\x01s" + encode_frame(data())[2 + 2 + len(A) :]
    net.send(HARNESS, wire)
    assert net.raw(EXECUTOR) == [wire]
    opened = net.events()[0]
    assert isinstance(opened, RouteOpened)
    assert opened.stream_id == "s"


def test_streams_of_several_harnesses_go_to_their_own(net: Net) -> None:
    net.harness(HARNESS_2)
    net.harness(STRANGER, "bob")
    for link, stream_id in ((HARNESS, A), (HARNESS_2, B), (STRANGER, C)):
        net.send(link, data(stream_id=stream_id))
    for stream_id in (A, B, C):
        net.send(EXECUTOR, data(5, stream_id=stream_id))
    assert net.got(HARNESS) == [data(5, stream_id=A)]
    assert net.got(HARNESS_2) == [data(5, stream_id=B)]
    assert net.got(STRANGER) == [data(5, stream_id=C)]


def test_the_same_stream_id_under_two_executor_ids_is_two_streams(net: Net) -> None:
    net.executor(EXECUTOR_2, "other")
    net.harness(STRANGER, "bob", "other")
    assert net.passes(HARNESS, EXECUTOR, data(0))
    assert net.passes(STRANGER, EXECUTOR_2, data(0))
    assert net.passes(EXECUTOR_2, STRANGER, data(1))
    assert net.raw(HARNESS) == []
    net.send(STRANGER, reset())
    assert net.passes(EXECUTOR, HARNESS, data(2))


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=label)
def test_which_frames_of_a_harness_make_a_route(net: Net, frame: Frame) -> None:
    makes = isinstance(frame, ResumeFrame | DataFrame | HandshakeFrame)
    passes = makes or isinstance(frame, ResetFrame)
    assert net.passes(HARNESS, EXECUTOR, frame) is passes
    assert net.r.stats().routes == makes
    opened = RouteOpened(executor_id="exec", stream_id=A, principal="alice", link=HARNESS)
    assert net.events() == ([opened] if makes else [])
    assert net.dropped() == ({} if passes else {DropCause.NO_ROUTE: 1})
    assert net.raw(HARNESS) == []


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=label)
def test_an_executor_makes_no_route(net: Net, frame: Frame) -> None:
    net.send(EXECUTOR, frame)
    assert (net.raw(HARNESS), net.raw(EXECUTOR), net.events()) == ([], [], [])
    assert net.dropped() == {DropCause.NO_ROUTE: 1}


# -- resets that are passed on


@pytest.mark.parametrize(
    ("source", "target", "by"),
    [
        (HARNESS, EXECUTOR, RouteEndedBy.HARNESS),
        (EXECUTOR, HARNESS, RouteEndedBy.EXECUTOR),
    ],
)
def test_a_reset_is_passed_on_and_ends_the_route(
    reliable: Net, source: int, target: int, by: RouteEndedBy
) -> None:
    reliable.send(source, data(), reset("whatever they say"))
    assert reliable.got(target) == [data(), reset("whatever they say")]
    assert reliable.events() == [ended("whatever they say", by)]
    assert reliable.r.stats().routes == 0
    # Late frames go nowhere, and make no route.
    reliable.send(EXECUTOR, data(), reset(), heartbeat())
    reliable.send(HARNESS, ack(), reset())
    assert reliable.raw(HARNESS) == reliable.raw(EXECUTOR) == []
    assert not reliable.passes(HARNESS, EXECUTOR, data(4))
    assert reliable.dropped() == {DropCause.ENDED_ROUTE: 6}
    assert reliable.events() == []


@pytest.mark.parametrize("reason", ["", " ", "x" * 257])
def test_what_no_endpoint_takes_for_a_reset_does_not_end_a_route(
    reliable: Net, reason: str
) -> None:
    wire = encode_frame(reset(reason))
    reliable.send(HARNESS, wire)
    assert reliable.raw(EXECUTOR) == [wire]
    assert reliable.passes(EXECUTOR, HARNESS, data())
    assert reliable.events() == []


def test_a_reset_without_a_route_is_remembered_for_its_principal(net: Net) -> None:
    assert net.passes(HARNESS, EXECUTOR, reset("cancelled"))
    net.send(HARNESS, resume())
    assert net.got(HARNESS) == [reset("cancelled")]
    net.harness(STRANGER, "bob")
    net.send(STRANGER, resume())
    assert net.got(STRANGER) == [reset("unknown_stream")]


def test_resets_without_a_route_and_without_an_executor_are_dropped() -> None:
    net = Net()
    net.harness()
    net.send(HARNESS, *[reset(stream_id=name) for name in (A, B, C)])
    assert net.dropped() == {DropCause.NO_EXECUTOR: 3}
    assert net.raw(HARNESS) == []


# -- principals


@pytest.mark.parametrize("frame", [*ONE_OF_EACH, KNOWN_PEER], ids=label)
@pytest.mark.parametrize("attached", [True, False], ids=["executor", "no executor"])
def test_a_stream_is_hidden_from_other_principals(
    reliable: Net, frame: Frame, attached: bool
) -> None:
    reliable.harness(STRANGER, "bob")
    if not attached:
        reliable.close(EXECUTOR)
    reliable.send(STRANGER, frame)
    answered = isinstance(frame, ResumeFrame | DataFrame | HandshakeFrame)
    assert reliable.got(STRANGER) == ([reset("unknown_stream")] if answered else [])
    assert reliable.dropped() == {DropCause.FOREIGN_STREAM: 1}
    assert reliable.events() == []
    if attached:
        assert reliable.raw(EXECUTOR) == []
        assert reliable.passes(EXECUTOR, HARNESS, data(2))
        assert reliable.raw(STRANGER) == []
        reliable.close(STRANGER)
        assert reliable.passes(HARNESS, EXECUTOR, data(2))


def test_a_stream_stays_its_principals_own_while_the_harness_is_away(reliable: Net) -> None:
    reliable.close(HARNESS)
    reliable.harness(STRANGER, "bob")
    assert not reliable.passes(STRANGER, EXECUTOR, KNOWN_PEER)
    assert reliable.got(STRANGER) == [reset("unknown_stream")]
    assert not reliable.passes(EXECUTOR, STRANGER, data())
    reliable.harness(HARNESS_2)
    assert reliable.passes(HARNESS_2, EXECUTOR, KNOWN_PEER)


# -- malformed frames


GOOD = encode_frame(data())


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (b"", FrameCause.BAD_VERSION),
        (b"\xff\xff\xff", FrameCause.NOT_PROTOBUF),
        (GOOD[:-1], FrameCause.NOT_PROTOBUF),
        (b"\x08\x02" + GOOD[2:], FrameCause.BAD_VERSION),
        (b"\x08\x01\x32\x00", FrameCause.NO_STREAM_ID),
        (encode_frame(data(stream_id="  ")), FrameCause.NO_STREAM_ID),
        (encode_frame(data(stream_id="i" * 129)), FrameCause.STREAM_ID_TOO_LONG),
        (b"\x08\x01\x12\x02\xc3\x28\x32\x00", FrameCause.NOT_PROTOBUF),
        (b"\x08\x01\x12\x01a", FrameCause.NO_BODY),
        (GOOD + b"\x32\x00", FrameCause.SEVERAL_BODIES),
        (GOOD + b"\x18\x80\x80\x80\x80\x10", FrameCause.OUT_OF_RANGE),
        (encode_frame(data(payload=bytes(RelayConfig().max_frame_size))), FrameCause.TOO_LARGE),
    ],
    ids=lambda value: value.name if isinstance(value, FrameCause) else "",
)
@pytest.mark.parametrize("link", [HARNESS, EXECUTOR])
def test_a_malformed_frame_is_dropped_and_counted(
    reliable: Net, link: int, wire: bytes, cause: FrameCause
) -> None:
    reliable.send(link, wire)
    assert reliable.dropped() == {cause: 1}
    assert reliable.raw(HARNESS) == reliable.raw(EXECUTOR) == []
    assert reliable.events() == []
    assert reliable.passes(HARNESS, EXECUTOR, data())
    assert reliable.passes(EXECUTOR, HARNESS, data())


@given(st.lists(st.tuples(st.sampled_from([HARNESS, EXECUTOR, STRANGER]), st.binary(max_size=40))))
def test_no_bytes_raise(frames: list[tuple[int, bytes]]) -> None:
    net = Net()
    net.executor()
    net.harness()
    net.harness(STRANGER, "bob")
    for link, wire in frames:
        net.send(link, wire, GOOD[: len(wire)] + wire)
    stats = net.r.stats()
    assert stats.frames_forwarded + sum(stats.dropped.values()) == 2 * len(frames)


# -- limits


def test_links_are_limited_but_an_executor_may_always_replace_its_own() -> None:
    net = Net(max_links=2)
    assert (net.executor(), net.harness()) == (None, None)
    assert net.harness(HARNESS_2) is LinkRefusal.TOO_MANY_LINKS
    assert net.executor(EXECUTOR_2, "other") is LinkRefusal.TOO_MANY_LINKS
    assert net.executor(EXECUTOR_2) is None
    assert net.harness(HARNESS_2) is LinkRefusal.TOO_MANY_LINKS
    net.close(EXECUTOR_2)
    assert net.harness(HARNESS_2) is None


def test_harness_links_are_limited_for_each_executor_id() -> None:
    net = Net(max_harness_links=1)
    assert net.harness() is None
    assert net.harness(HARNESS_2, "bob") is LinkRefusal.TOO_MANY_HARNESS_LINKS
    assert net.harness(STRANGER, "bob", "other") is None
    net.close(HARNESS)
    assert net.harness(HARNESS_2, "bob") is None


def test_a_refused_link_does_not_exist() -> None:
    net = Net(max_links=1)
    net.executor()
    net.harness()
    with pytest.raises(LocalProtocolError) as caught:
        net.send(HARNESS, data())
    assert caught.value.cause is LocalCause.LINK_STATE


@pytest.mark.parametrize("frame", [data(stream_id=C), resume(stream_id=C)], ids=label)
@pytest.mark.parametrize("limit", ["max_routes", "max_routes_per_principal"])
def test_routes_are_limited(limit: str, frame: Frame) -> None:
    net = Net(**{limit: 2})
    net.executor()
    net.harness()
    net.harness(STRANGER, "bob")
    net.send(HARNESS, data(stream_id=A), data(stream_id=B))
    net.raw(EXECUTOR)
    net.events()
    net.send(HARNESS, frame)
    assert net.got(HARNESS) == [reset("too_many_streams", C)]
    assert (net.raw(EXECUTOR), net.events()) == ([], [])
    assert net.dropped() == {DropCause.TOO_MANY_ROUTES: 1}
    # The other principal has a limit of its own, unless the total is reached.
    assert net.passes(STRANGER, EXECUTOR, data(stream_id="d")) is (limit != "max_routes")
    net.send(HARNESS, reset(stream_id=A))
    net.raw(EXECUTOR)
    assert net.passes(HARNESS, EXECUTOR, frame)


def test_answers_to_streams_without_route_are_limited_per_link() -> None:
    net = Net(resets_per_second=5.0)
    net.harness()
    net.harness(HARNESS_2)
    net.send(HARNESS, *[data(stream_id=f"s{i}") for i in range(8)])
    assert len(net.raw(HARNESS)) == 5
    assert net.r.stats().resets_suppressed == 3
    net.send(HARNESS_2, data())
    assert len(net.raw(HARNESS_2)) == 1
    net.now += 0.5
    net.send(HARNESS, *[data(stream_id=f"t{i}") for i in range(8)])
    assert len(net.raw(HARNESS)) == 2
    # A long pause saves up no more than one burst.
    net.now += 1000
    net.send(HARNESS, *[data(stream_id=f"u{i}") for i in range(8)])
    assert len(net.raw(HARNESS)) == 5


def test_a_rate_below_one_still_answers() -> None:
    net = Net(resets_per_second=0.1)
    net.harness()
    for expected in (1, 0):
        net.send(HARNESS, data())
        assert len(net.raw(HARNESS)) == expected
    net.now += 10
    net.send(HARNESS, data())
    assert len(net.raw(HARNESS)) == 1


def test_ends_of_routes_are_told_at_any_rate() -> None:
    net = Net(resets_per_second=1.0)
    net.executor()
    net.harness()
    net.send(HARNESS, *[data(stream_id=f"s{i}") for i in range(50)])
    net.close(EXECUTOR)
    assert len(net.raw(HARNESS)) == 50


# -- queues


CHUNK = b"c" * 60_000


def flood(net: Net, source: int, target: int, stream_id: str) -> int:
    """Send without reading until a frame is dropped. Returns how many were taken."""
    for count in range(2000):
        before = net.dropped()
        net.send(source, data(count, CHUNK, stream_id))
        if net.dropped() != before:
            return count
    raise AssertionError("no bound")


@pytest.mark.parametrize(("source", "target"), [(HARNESS, EXECUTOR), (EXECUTOR, HARNESS)])
def test_a_full_queue_drops_frames_of_a_reliable_stream(
    reliable: Net, source: int, target: int
) -> None:
    reliable.open(harness=True, executor=True, stream_id=B)
    taken = flood(reliable, source, target, A)
    assert taken == 4 * MIB // (len(encode_frame(data(1, CHUNK))) + 64)
    assert reliable.dropped() == {DropCause.STREAM_QUEUE_FULL: 1}
    assert reliable.raw(source) == []
    reliable.send(source, data(stream_id=B))
    frames = reliable.got(target)
    assert data(stream_id=B) in frames
    assert [f.seq for f in frames if isinstance(f, DataFrame) and f.stream_id == A] == list(
        range(taken)
    )
    assert reliable.events() == []
    assert reliable.passes(source, target, data(taken, CHUNK))


def replaced_executor(net: Net) -> None:
    """A new executor that has shown nothing: the routes are suspended."""
    net.close(EXECUTOR)
    net.executor()


def stranger(net: Net) -> None:
    net.harness(STRANGER, "bob")


def full_queue(net: Net) -> None:
    flood(net, HARNESS, EXECUTOR, A)


def no_room(net: Net) -> None:
    net.harness(STRANGER, "bob")
    net.send(STRANGER, data(stream_id=B))


@pytest.mark.parametrize(
    ("prepare", "link", "frame", "cause"),
    [
        (None, EXECUTOR, ack(B), DropCause.NO_ROUTE),
        (None, HARNESS, ack(B), DropCause.NO_ROUTE),
        (None, HARNESS, reset("", B), DropCause.NO_ROUTE),  # no endpoint takes it for a reset
        (replaced_executor, EXECUTOR, data(), DropCause.SUSPENDED),
        (replaced_executor, HARNESS, data(), DropCause.SUSPENDED),
        (stranger, STRANGER, ack(), DropCause.FOREIGN_STREAM),
        (lambda net: net.close(EXECUTOR), HARNESS, data(stream_id=B), DropCause.NO_EXECUTOR),
        (no_room, HARNESS, data(stream_id=C), DropCause.TOO_MANY_ROUTES),
        (full_queue, HARNESS, data(1, CHUNK), DropCause.STREAM_QUEUE_FULL),
    ],
    ids=label,
)
def test_every_dropped_frame_counts(
    prepare: Callable[[Net], None] | None, link: int, frame: Frame, cause: DropCause
) -> None:
    net = Net(max_routes=2)
    net.executor()
    net.harness()
    net.open(harness=True, executor=True)
    if prepare is not None:
        prepare(net)
    before = net.dropped().get(cause, 0)
    net.send(link, frame, frame, frame)
    assert net.dropped()[cause] == before + 3


def test_what_was_queued_for_lost_links_counts_for_each(reliable: Net) -> None:
    for count in (2, 3):
        reliable.send(HARNESS, *[resume(seq) for seq in range(1, count + 1)])
        reliable.close(EXECUTOR)
        reliable.executor()
    assert reliable.dropped() == {DropCause.LINK_CLOSED: 5}


def test_bytes_that_are_passed_on_are_counted(net: Net) -> None:
    assert net.r.stats().bytes_forwarded == 0
    for times in (1, 2, 3):
        assert net.passes(HARNESS, EXECUTOR, data())
        assert net.r.stats().bytes_forwarded == times * len(encode_frame(data()))


def test_executor_links_are_counted() -> None:
    net = Net()
    for link, executor_id in ((1, "one"), (2, "two"), (3, "three")):
        net.executor(link, executor_id)
    assert net.r.stats().executor_links == 3


@pytest.mark.parametrize(("source", "target"), [(HARNESS, EXECUTOR), (EXECUTOR, HARNESS)])
@pytest.mark.parametrize("executor", [True, False], ids=["half reliable", "basic"])
def test_a_full_queue_ends_any_other_stream(
    net: Net, source: int, target: int, executor: bool
) -> None:
    net.open(harness=False, executor=executor)
    net.open(harness=False, executor=False, stream_id=B)
    net.send(source, data(stream_id=B))
    net.send(target, data(stream_id=A))
    taken = flood(net, source, target, A)
    # What was queued of it is gone, in both directions.
    assert net.got(source) == [reset("slow_consumer")]
    assert net.got(target) == [data(stream_id=B), reset("slow_consumer")]
    assert net.events() == [ended("slow_consumer")]
    assert net.dropped() == {
        DropCause.STREAM_QUEUE_FULL: 1,
        DropCause.SLOW_CONSUMER: taken + 1,
    }
    assert net.r.stats().resets_sent == {ResetReason.SLOW_CONSUMER: 2}
    assert net.passes(source, target, data(1, stream_id=B))


def test_a_large_message_of_a_basic_stream_passes_an_empty_queue(basic: Net) -> None:
    largest = RelayConfig().max_message_size
    assert largest > RendezvousConfig().stream_queue_size
    big = data(0, bytes(largest))
    assert basic.passes(HARNESS, EXECUTOR, big)
    assert basic.passes(HARNESS, EXECUTOR, big)
    basic.send(HARNESS, big, big)
    assert basic.got(EXECUTOR) == [reset("slow_consumer")]


def test_streams_that_stand_still_leave_room_for_others(net: Net) -> None:
    names = [f"s{i}" for i in range(40)]
    for name in names:
        net.open(harness=True, executor=True, stream_id=name)
    for seq in range(60):
        net.send(HARNESS, *[data(seq, CHUNK, name) for name in names])
    assert set(net.dropped()) == {DropCause.LINK_QUEUE_FULL}
    # Even a stream that could not bear a loss starts well, and one that can't wait is heard.
    net.send(HARNESS, resume(0, stream_id="late"))
    net.send(HARNESS, *[data(seq, CHUNK, "late") for seq in range(10)])
    assert net.r.stats().resets_sent == {}
    chunks = Counter(frame.stream_id for frame in net.got(EXECUTOR))
    for name in names:
        assert chunks[name] * len(CHUNK) == pytest.approx(64 * MIB / 41, rel=0.1)


def test_resets_have_a_reserve_of_their_own_that_is_bounded_too() -> None:
    net = Net(
        relay=RelayConfig(max_message_size=60 * 1024, max_frame_size=64 * 1024),
        link_queue_size=100_000,
        stream_queue_size=100_000,
        reset_queue_size=5000,
        resets_per_second=1e6,
    )
    net.harness()
    net.send(HARNESS, *[data(stream_id=f"s{i}") for i in range(1000)])
    stats = net.r.stats()
    sent = stats.resets_sent[ResetReason.EXECUTOR_UNAVAILABLE]
    assert stats.resets_suppressed == 1000 - sent
    assert len(net.raw(HARNESS)) == sent
    # Each stream with one short frame counts for a little more than 1 KiB.
    assert 80 < sent < 105


def test_the_order_within_a_stream_never_changes(reliable: Net) -> None:
    reliable.open(harness=True, executor=True, stream_id=B)
    sent: dict[str, list[Frame]] = {A: [], B: []}
    got: dict[str, list[Frame]] = {A: [], B: []}
    rng = random.Random(1)
    for seq in range(300):
        name = rng.choice([A, B])
        frames: list[Frame] = [
            data(seq, bytes(rng.choice([1, 60_000])), name),
            AckFrame(name, seq, 0),
            HeartbeatFrame(name, seq, 0),
            resume(seq + 1, stream_id=name),
        ]
        frame = rng.choice(frames)
        sent[name].append(frame)
        reliable.send(HARNESS, frame)
        if rng.random() < 0.4:
            for wire in reliable.r.frames_to_send(EXECUTOR, rng.choice([1, 1000, 100_000])):
                got[decoded(wire).stream_id].append(decoded(wire))
    for left in reliable.got(EXECUTOR):
        got[left.stream_id].append(left)
    assert got == sent


def test_the_order_holds_across_the_end_of_a_route_and_its_next_life(basic: Net) -> None:
    frames: list[Frame] = [
        data(1),
        reset(),
        resume(0),
        data(0),
        reset("cancelled"),
        handshake(),
    ]
    for frame in frames:
        basic.send(HARNESS, frame)
        if isinstance(frame, ResetFrame):
            basic.now += RendezvousConfig().ended_route_ttl
    assert basic.got(EXECUTOR) == frames


def test_a_bulky_stream_does_not_hold_up_a_small_one(reliable: Net) -> None:
    reliable.open(harness=True, executor=True, stream_id=B)
    for seq in range(60):
        reliable.send(HARNESS, data(seq, CHUNK))
    reliable.send(HARNESS, ack(B))
    first = reliable.r.frames_to_send(EXECUTOR, 4 * 64 * 1024)
    assert encode_frame(ack(B)) in first


# -- outputs


def test_links_with_output_names_each_link_once(net: Net) -> None:
    net.harness(HARNESS_2)
    assert net.r.links_with_output() == []
    net.send(HARNESS, data(0), data(1))
    net.send(HARNESS_2, data(0, stream_id=B))
    net.send(EXECUTOR, data(0))
    assert net.r.links_with_output() == [EXECUTOR, HARNESS]
    assert net.r.links_with_output() == []
    net.send(EXECUTOR, data(1))
    net.close(HARNESS)
    assert net.r.links_with_output() == [EXECUTOR]


def test_frames_to_send_keeps_to_max_bytes_and_gives_at_least_one(basic: Net) -> None:
    wires = [encode_frame(data(seq, CHUNK)) for seq in (1, 2, 3)]
    basic.send(HARNESS, *wires)
    assert basic.r.frames_to_send(EXECUTOR, 1) == wires[:1]
    assert basic.r.frames_to_send(EXECUTOR, 2 * len(CHUNK) + 1000) == wires[1:]
    assert basic.r.frames_to_send(EXECUTOR, 1) == []


def test_stats_count_what_was_done(reliable: Net) -> None:
    before = reliable.r.stats()
    assert (before.executor_links, before.harness_links, before.routes) == (1, 1, 1)
    wire = encode_frame(data())
    reliable.send(HARNESS, wire)
    after = reliable.r.stats()
    assert after.frames_forwarded == before.frames_forwarded + 1
    assert after.bytes_forwarded == before.bytes_forwarded + len(wire)
    reliable.send(EXECUTOR, b"")
    # A snapshot stays as it was, and can't be written to.
    assert after.dropped == {}
    with pytest.raises(TypeError):
        after.dropped[DropCause.NO_ROUTE] = 1  # type: ignore[index]


# -- misuse


@pytest.mark.parametrize(
    ("misuse", "cause"),
    [
        (lambda r: r.executor_opened(HARNESS, "exec", 200.0), LocalCause.LINK_STATE),
        (lambda r: r.harness_opened(EXECUTOR, "exec", "alice", 200.0), LocalCause.LINK_STATE),
        (lambda r: r.link_closed(99, 200.0), LocalCause.LINK_STATE),
        (lambda r: r.receive_frame(99, GOOD, 200.0), LocalCause.LINK_STATE),
        (lambda r: r.frames_to_send(99, 1), LocalCause.LINK_STATE),
        (lambda r: r.frames_to_send(EXECUTOR, 0), LocalCause.BAD_ARGUMENT),
        (lambda r: r.handle_timeout(99.0), LocalCause.TIME_WENT_BACK),
        (lambda r: r.handle_timeout(math.nan), LocalCause.TIME_WENT_BACK),
        (lambda r: r.receive_frame(HARNESS, GOOD, 99.0), LocalCause.TIME_WENT_BACK),
        (lambda r: r.link_closed(EXECUTOR, 99.0), LocalCause.TIME_WENT_BACK),
        (lambda r: r.executor_opened(EXECUTOR_2, "exec", 99.0), LocalCause.TIME_WENT_BACK),
        (lambda r: r.harness_opened(HARNESS_2, "exec", "bob", 99.0), LocalCause.TIME_WENT_BACK),
    ],
)
def test_misuse_raises_and_changes_nothing(
    reliable: Net, misuse: Callable[[Rendezvous], object], cause: LocalCause
) -> None:
    reliable.send(HARNESS, data())
    before = reliable.r.stats()
    with pytest.raises(LocalProtocolError) as caught:
        misuse(reliable.r)
    assert caught.value.cause is cause
    assert reliable.r.stats() == before
    assert reliable.events() == []
    reliable.r.handle_timeout(100.0)
    assert reliable.got(EXECUTOR) == [data()]


# -- any schedule


HARNESSES = {11: "alice", 12: "alice", 13: "alice", 21: "bob", 22: "bob"}
EXECUTORS = (1, 2, 3)
IDS = (A, B, C)


def play(seed: int, steps: int) -> Iterator[tuple[str, object]]:
    """A random schedule, and everything that can be seen of it. Checks what always holds."""
    rng = random.Random(seed)
    net = Net(
        max_routes_per_principal=2,
        max_harness_links=3,
        max_ended_routes=2,
        ended_route_ttl=30.0,
        stream_queue_size=2000,
    )
    up: set[int] = set()
    routes: dict[str, str] = {}
    superseded: set[int] = set()
    for _ in range(steps):
        net.now += rng.choice([0, 0, 0, 1, 20])
        choice = rng.random()
        link = rng.choice([*HARNESSES, *EXECUTORS])
        if link not in up:
            refusal = (
                net.executor(link) if link in EXECUTORS else net.harness(link, HARNESSES[link])
            )
            yield "opened", refusal
            if refusal is None:
                up.add(link)
        elif choice < 0.08:
            net.close(link)
            up.discard(link)
            superseded.discard(link)
        elif choice < 0.12:
            net.r.handle_timeout(net.now)
        else:
            name = rng.choice(IDS)
            frames: list[Frame] = [
                resume(rng.choice([0, 1, 5]), rng.choice([0, 9]), name),
                resume(1, 0, name),
                data(rng.randrange(5), link.to_bytes(1, "big") * 500, name),
                ack(name),
                heartbeat(name),
                handshake(name),
                reset(stream_id=name),
            ]
            net.send(link, rng.choice(frames))
        for event in net.events():
            yield "event", event
            if isinstance(event, RouteOpened):
                assert event.stream_id not in routes
                routes[event.stream_id] = event.principal
            elif isinstance(event, RouteEnded):
                assert routes.pop(event.stream_id) == event.principal
            else:
                superseded.add(event.link)
        stats = net.r.stats()
        assert stats.routes == len(routes)
        assert stats.ended_routes <= 2
        assert stats.executor_links + stats.harness_links == len(up - superseded)
        for ready in net.r.links_with_output():
            assert ready in up - superseded
            if rng.random() < 0.8:
                for wire in net.r.frames_to_send(ready, 1500):
                    yield "sent", (ready, wire)
                    frame = decoded(wire)
                    if isinstance(frame, DataFrame):
                        # Executors' frames go to harnesses, harnesses' to executors.
                        assert (frame.payload[0] in EXECUTORS) != (ready in EXECUTORS)
    for link in sorted(up):
        net.close(link)
    net.wait(301)
    stats = net.r.stats()
    assert (stats.routes, stats.executor_links, stats.harness_links) == (0, 0, 0)
    assert net.r.next_timeout() is None
    # Nothing is left behind, counters apart.
    table, links = net.r._table, net.r._links
    assert (table._executors, dict(table._routes_of), links._open) == ({}, {}, {})
    yield "stats", stats


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_bookkeeping_holds_under_any_schedule(seed: int) -> None:
    assert list(play(seed, 150))


def test_equal_inputs_give_equal_outputs() -> None:
    first, second = list(play(5, 600)), list(play(5, 600))
    assert first == second
    assert {kind for kind, _ in first} == {"opened", "event", "sent", "stats"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_principal_ever_gets_anothers_frames(seed: int) -> None:
    rng = random.Random(seed)
    # So that ids soon change hands.
    net = Net(max_ended_routes=1, ended_route_ttl=5.0)
    net.executor()
    for link, principal in HARNESSES.items():
        net.harness(link, principal)
    for _ in range(200):
        net.now += 1
        name = rng.choice(IDS)
        # What the harness sends says who it is; the executor echoes it.
        link = rng.choice(list(HARNESSES))
        net.send(link, resume(1, 0, name))
        net.send(link, data(0, HARNESSES[link].encode(), name))
        if rng.random() < 0.1:
            net.send(link, reset(stream_id=name))
        for frame in net.got(EXECUTOR):
            if isinstance(frame, DataFrame):
                net.send(EXECUTOR, frame)
        for other, principal in HARNESSES.items():
            for frame in net.got(other):
                if isinstance(frame, DataFrame):
                    assert frame.payload == principal.encode()
