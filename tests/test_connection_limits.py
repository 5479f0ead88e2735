"""Limits and their outcomes, misuse, and bytes that mean nothing."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansrelay import (
    DataReceived,
    FrameCause,
    FrameRejected,
    LocalCause,
    LocalProtocolError,
    RelayConfig,
    RelayConnection,
    ResetReason,
    Role,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.codec import encode_frame
from sansrelay.config import MAX_SEQ, SEGMENT_OVERHEAD
from sansrelay.frames import DataFrame, Frame, ResetFrame
from sansrelay.testing import RelayPair
from wirekit import (
    ACCEPTED,
    OWN,
    PEER,
    SID,
    Wire,
    ack,
    assert_timers_exact,
    basic_end,
    basic_opener,
    data,
    handshake,
    heartbeat,
    of_kind,
    open_acceptor,
    open_end,
    open_opener,
    opening,
    own_of,
    reset,
    resume,
    seqs,
    unconfirmed,
)

both_roles = pytest.mark.parametrize("role", Role)


# -- how many streams


def test_an_opener_has_at_most_max_streams() -> None:
    wire = Wire(Role.HARNESS, RelayConfig(max_streams=2))
    wire.conn.open_stream("a")
    wire.conn.open_stream("b")
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.open_stream("c")
    assert caught.value.cause is LocalCause.TOO_MANY_STREAMS
    wire.conn.reset_stream("a")
    wire.conn.open_stream("c")
    assert wire.conn.stats().streams_live == 2


@pytest.mark.parametrize("frame", [resume(1, PEER, sid="c"), data(0, sid="c"), resume(0, sid="c")])
def test_an_acceptor_has_at_most_max_streams(frame: Frame) -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(max_streams=2))
    wire.give(resume(1, PEER, sid="a"), data(0, sid="b"), data(1, b"early", sid="c"))
    wire.sent()
    wire.events()
    assert wire.talk(frame) == [reset("too_many_streams", sid="c")]
    assert wire.events() == []
    assert wire.conn.stats().streams_live == 2
    assert wire.conn.stats().bytes_held == 1 + SEGMENT_OVERHEAD  # of b
    assert wire.conn.stats().dropped == {
        FrameCause.TOO_MANY_STREAMS: 1,
        FrameCause.UNKNOWN_STREAM: 1,  # what was held for it
    }
    # The id is used up, even when there is room again.
    wire.give(reset("closed", sid="a"))
    assert wire.talk(frame) == [reset("too_many_streams", sid="c")]
    wire.give(resume(1, PEER, sid="d"))
    assert wire.conn.stream_state("d") is StreamState.UNCONFIRMED


# -- data before its opening


def test_ids_that_wait_for_their_opening_are_limited() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(max_pending_streams=2))
    assert wire.talk(data(1, sid="a"), data(1, sid="b")) == []
    assert wire.talk(data(1, sid="c")) == [reset("unknown_stream", sid="c")]
    assert wire.talk(data(2, sid="a")) == []
    wire.give(resume(1, PEER, sid="a"))
    assert data(1, sid="c").stream_id not in {frame.stream_id for frame in wire.sent()}
    assert wire.talk(data(1, sid="c")) == []


def test_segments_that_wait_for_their_opening_are_limited() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(opening_window_segments=3))
    wire.give(*[data(seq) for seq in range(1, 6)])
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 2}
    assert wire.conn.stats().bytes_held == 3 + 3 * SEGMENT_OVERHEAD
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER, bits=0b111)]


def test_bytes_that_wait_for_their_opening_are_limited_over_all_ids() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(unconfirmed_buffer_size=100 + 2 * SEGMENT_OVERHEAD))
    wire.give(data(1, b"x" * 60, sid="a"), data(1, b"x" * 60, sid="b"), data(1, b"x", sid="c"))
    assert wire.conn.stats().dropped == {FrameCause.BUFFER_FULL: 1}
    assert wire.conn.stats().bytes_held == 61 + 2 * SEGMENT_OVERHEAD


def test_each_id_has_its_own_deadline() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1, sid="a"))
    wire.wait(1)
    wire.give(data(1, sid="b"))
    assert [(at, frame.stream_id) for at, frame in wire.timeline(10)] == [(2, "a"), (3, "b")]


# -- ended ids


def test_ended_ids_are_remembered_up_to_a_number_oldest_out_first() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(max_ended_streams=2))
    for sid in "abc":
        wire.give(resume(1, PEER, sid=sid), reset("closed", sid=sid))
    wire.sent()
    assert wire.conn.stats().streams_ended_remembered == 2
    assert wire.conn.stream_state("a") is None
    assert wire.talk(resume(1, PEER, sid="b")) == [reset("closed", sid="b")]


def test_ended_ids_are_remembered_for_a_time() -> None:
    wire = Wire(Role.EXECUTOR, RelayConfig(ended_ttl=600))
    wire.give(resume(1, PEER), reset("closed"))
    wire.wait(599)
    assert wire.talk(resume(1, PEER)) == [reset("closed")]
    wire.wait(2)
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED + 1, PEER)]
    assert wire.conn.stats().streams_ended_remembered == 0


def test_a_flood_of_refused_ids_does_not_grow_anything() -> None:
    config = RelayConfig(max_streams=1, max_ended_streams=10, max_pending_streams=3)
    wire = Wire(Role.EXECUTOR, config)
    wire.give(resume(1, PEER))
    wire.sent()
    for number in range(200):
        wire.give(resume(1, PEER, sid=f"r{number}"), data(2, sid=f"d{number}"))
    stats = wire.conn.stats()
    assert (stats.streams_live, stats.streams_ended_remembered) == (1, 10)
    assert stats.bytes_held == 3 + 3 * SEGMENT_OVERHEAD
    assert len(wire.sent()) <= 2 * 10


# -- resets that answer


@both_roles
def test_resets_that_answer_frames_are_rate_limited(role: Role) -> None:
    wire = Wire(role, RelayConfig(resets_per_second=5))
    flood = [ack(0, sid=f"s{number}") for number in range(20)]
    assert len(wire.talk(*flood)) == 5
    assert wire.conn.stats().resets_suppressed == 15
    wire.clock.advance(0.4)
    assert len(wire.talk(*flood)) == 2


@both_roles
def test_resets_for_ended_ids_share_that_limit(role: Role) -> None:
    wire = open_end(role, RelayConfig(resets_per_second=2))
    wire.conn.reset_stream(SID)
    wire.sent()
    assert [len(wire.talk(data(1))) for _ in range(4)] == [1, 1, 0, 0]
    assert wire.conn.stats().resets_suppressed == 2


def test_a_reset_of_ones_own_is_not_limited() -> None:
    wire = Wire(Role.HARNESS, RelayConfig(resets_per_second=1))
    for number in range(20):
        wire.conn.open_stream(f"s{number}")
    wire.sent()
    for number in range(20):
        wire.conn.reset_stream(f"s{number}")
    assert len(of_kind(ResetFrame, wire.sent())) == 20


# -- sequence numbers


def near_the_edge(wire: Wire, left: int) -> int:
    """Put both directions of the usual stream so many numbers before the last; the next one."""
    stream = wire.conn._streams[SID]
    seq = MAX_SEQ - left
    stream.sender.next_seq = stream.sender.una = seq
    stream.receiver.next_seq = seq
    stream.receiver.ack = stream.receiver.highest = seq - 1
    return seq


@both_roles
def test_a_stream_takes_no_data_once_its_numbers_are_used_up(role: Role) -> None:
    wire = open_end(role, RelayConfig(segment_size=10))
    first = near_the_edge(wire, 3)
    wire.conn.send_data(SID, b"x" * 20)
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.send_data(SID, b"x" * 20)
    assert caught.value.cause is LocalCause.SEQUENCE_EXHAUSTED
    # It has begun to close: what it took is still delivered.
    assert seqs(wire.sent()) == [first, first + 1]
    with pytest.raises(LocalProtocolError) as caught:
        wire.conn.send_data(SID, b"x")
    assert caught.value.cause is LocalCause.STREAM_CLOSING
    assert wire.talk(ack(first + 1)) == [reset("sequence_exhausted", ack=first - 1)]
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert end.known_reason is ResetReason.SEQUENCE_EXHAUSTED
    assert list(end.unknown) == list(end.never_sent) == []


@both_roles
def test_a_resume_near_the_edge_fits_its_field(role: Role) -> None:
    wire = open_end(role)
    first = near_the_edge(wire, 1)
    wire.conn.send_data(SID, b"last")
    assert seqs(wire.sent()) == [first]
    with pytest.raises(LocalProtocolError):
        wire.conn.send_data(SID, b"x")
    wire.cut()
    assert wire.join() == [resume(MAX_SEQ, own_of(role), PEER, ack=first - 1)]


@both_roles
def test_a_peer_may_use_the_very_last_number(role: Role) -> None:
    wire = open_end(role)
    first = near_the_edge(wire, 1)
    wire.give(data(first + 1, b"b"), data(first, b"a"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"a", b"b"]
    wire.conn.consume(SID, 2)
    assert wire.wait(0.1)[-1] == ack(MAX_SEQ)
    assert wire.talk(data(2), data(1), data(MAX_SEQ)) == [ack(MAX_SEQ)]
    assert wire.events_of(DataReceived) == []


@both_roles
def test_a_basic_peer_may_use_the_very_last_number(role: Role) -> None:
    wire = basic_end(role)
    near_the_edge(wire, 0)
    wire.give(data(MAX_SEQ, b"last"), data(0, b"wrapped"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"last"]


def test_a_stream_that_runs_out_of_numbers_delivers_all_it_took() -> None:
    pair = RelayPair(config=RelayConfig(segment_size=100))
    pair.harness.conn.open_stream(SID)
    assert pair.run(1, until=lambda: pair.executor.conn.stream_state(SID) is StreamState.OPEN)
    edge = MAX_SEQ - 100
    for one, other in (pair.ends, pair.ends[::-1]):
        one.conn._streams[SID].sender.next_seq = one.conn._streams[SID].sender.una = edge
        receiver = other.conn._streams[SID].receiver
        receiver.next_seq = edge
        receiver.ack = receiver.highest = edge - 1
    sent: list[bytes] = []
    for number in range(33):  # of three segments each: one number is left
        message = b"%d" % number + b"." * 250
        pair.harness.conn.send_data(SID, message)
        sent.append(message)
        if number % 10 == 0:
            pair.cut()
            pair.join()
            pair.run(0.5)
    with pytest.raises(LocalProtocolError) as caught:
        pair.harness.conn.send_data(SID, b"x" * 101)
    assert caught.value.cause is LocalCause.SEQUENCE_EXHAUSTED
    assert pair.run(10, until=lambda: SID in pair.executor.ended)
    assert pair.executor.received[SID] == sent
    assert list(pair.harness.ended[SID].unknown) == []


# -- misuse


def busy(role: Role) -> Wire:
    """Streams in several states, with something owed, held and outstanding on each."""
    wire = open_end(role, RelayConfig(max_streams=3, send_buffer_size=1000))
    wire.conn.send_data(SID, b"x")
    wire.give(data(1), data(3))
    if role is Role.HARNESS:
        wire.conn.open_stream("opening")
        wire.conn.open_stream("ended")
    else:
        wire.give(resume(1, PEER, sid="opening"), resume(1, PEER, sid="ended"))
        wire.give(resume(1, PEER, ACCEPTED + 2, sid="ended"))
    wire.conn.send_data("ended", b"x")
    wire.conn.reset_stream("ended")
    wire.conn.send_data("opening", b"x")
    return wire


def closing(role: Role) -> Wire:
    wire = busy(role)
    wire.conn.close_stream(SID)
    return wire


def linkless(role: Role) -> Wire:
    wire = busy(role)
    wire.cut()
    return wire


def full(role: Role) -> Wire:
    wire = busy(role)
    wire.conn.send_data(SID, b"x" * 900)
    return wire


def crowded(role: Role) -> Wire:
    wire = busy(role)
    wire.conn.open_stream("third")
    return wire


Misuse = tuple[Callable[[Role], Wire], Callable[[RelayConnection], object], LocalCause]
ANY_ROLE: list[Misuse] = [
    (busy, lambda c: c.link_opened(1), LocalCause.LINK_STATE),
    (linkless, lambda c: c.link_closed(1), LocalCause.LINK_STATE),
    (busy, lambda c: c.receive_frame(b"", -1), LocalCause.TIME_WENT_BACK),
    (busy, lambda c: c.handle_timeout(-1), LocalCause.TIME_WENT_BACK),
    (busy, lambda c: c.frames_to_send(-1), LocalCause.TIME_WENT_BACK),
    (busy, lambda c: c.frames_to_send(float("nan")), LocalCause.TIME_WENT_BACK),
    (busy, lambda c: c.link_closed(-1), LocalCause.TIME_WENT_BACK),
    (linkless, lambda c: c.link_opened(-1), LocalCause.TIME_WENT_BACK),
    (busy, lambda c: c.send_data("nobody", b"x"), LocalCause.UNKNOWN_STREAM),
    (busy, lambda c: c.send_data("ended", b"x"), LocalCause.STREAM_CLOSING),
    (closing, lambda c: c.send_data(SID, b"x"), LocalCause.STREAM_CLOSING),
    (busy, lambda c: c.send_data(SID, b""), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.send_data(SID, bytes(1 << 25)), LocalCause.MESSAGE_TOO_LARGE),
    (full, lambda c: c.send_data(SID, bytes(200)), LocalCause.NO_CAPACITY),
    (busy, lambda c: c.consume("nobody", 1), LocalCause.UNKNOWN_STREAM),
    (busy, lambda c: c.consume(SID, 2), LocalCause.NOTHING_TO_CONSUME),
    (busy, lambda c: c.consume(SID, -1), LocalCause.NOTHING_TO_CONSUME),
    (busy, lambda c: c.consume("opening", 1), LocalCause.NOTHING_TO_CONSUME),
    (busy, lambda c: c.close_stream("nobody"), LocalCause.UNKNOWN_STREAM),
    (busy, lambda c: c.close_stream(SID, ""), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.close_stream(SID, " "), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.close_stream(SID, "é" * 129), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.reset_stream("nobody"), LocalCause.UNKNOWN_STREAM),
    (busy, lambda c: c.reset_stream(SID, ""), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.reset_stream(SID, "x" * 257), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.reset_stream(SID, "\ud800"), LocalCause.BAD_ARGUMENT),
]
OF_A_HARNESS: list[Misuse] = [
    (busy, lambda c: c.open_stream(""), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.open_stream(" \t"), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.open_stream("x" * 129), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.open_stream("é" * 65), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.open_stream("\udc00"), LocalCause.BAD_ARGUMENT),
    (busy, lambda c: c.open_stream(SID), LocalCause.STREAM_EXISTS),
    (busy, lambda c: c.open_stream("ended"), LocalCause.STREAM_EXISTS),
    (crowded, lambda c: c.open_stream("fourth"), LocalCause.TOO_MANY_STREAMS),
]
OF_AN_EXECUTOR: list[Misuse] = [
    (busy, lambda c: c.open_stream("new"), LocalCause.WRONG_ROLE),
]


@pytest.mark.parametrize(
    ("role", "misuse"),
    [(role, misuse) for role in Role for misuse in ANY_ROLE]
    + [(Role.HARNESS, misuse) for misuse in OF_A_HARNESS]
    + [(Role.EXECUTOR, misuse) for misuse in OF_AN_EXECUTOR],
)
def test_misuse_raises_and_leaves_the_state_as_it_was(role: Role, misuse: Misuse) -> None:
    make, call, cause = misuse
    wire, control = make(role), make(role)
    with pytest.raises(LocalProtocolError) as caught:
        call(wire.conn)
    assert caught.value.cause is cause
    assert str(caught.value)
    # From here on the two can't be told apart.
    assert wire.conn.stats() == control.conn.stats()
    assert wire.conn.state is control.conn.state
    assert wire.conn.next_timeout() == control.conn.next_timeout()
    for sid in (SID, "opening", "ended"):
        assert wire.conn.stream_state(sid) is control.conn.stream_state(sid)
        assert wire.conn.send_capacity(sid) == control.conn.send_capacity(sid)
    assert wire.timeline(1000) == control.timeline(1000)
    assert wire.events() == control.events()


@pytest.mark.parametrize("incarnation", [0, -1, 2**64])
def test_an_incarnation_is_a_number_of_64_bits_and_not_0(incarnation: int) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        RelayConnection(Role.HARNESS, incarnation=incarnation)
    assert caught.value.cause is LocalCause.BAD_ARGUMENT


def test_a_stream_id_may_have_any_text_of_up_to_128_bytes() -> None:
    wire = Wire(Role.HARNESS)
    for sid in ("x" * 128, "é" * 64, "\N{FISH}", " padded "):
        wire.conn.open_stream(sid)
        assert wire.sent() == [resume(1, OWN, sid=sid)]


@both_roles
def test_nothing_to_be_said_about_a_stream_that_is_not_there(role: Role) -> None:
    conn = Wire(role).conn
    assert conn.stream_state("nobody") is None
    assert conn.profile("nobody") is None
    assert conn.send_capacity("nobody") == 0


def test_time_may_stand_still_and_begin_anywhere() -> None:
    wire = Wire(Role.HARNESS, start=-1e9)
    wire.conn.open_stream(SID)
    assert wire.sent() == [resume(1, OWN)]
    assert wire.sent() == []
    assert [at + 1e9 for at, _ in wire.timeline(1)] == [1]


@both_roles
def test_the_counters_say_what_was_done(role: Role) -> None:
    wire = open_end(role)
    wire.conn.send_data(SID, b"x")
    before = wire.conn.stats()
    raw = wire.conn.frames_to_send(wire.clock())
    wire.give(data(1, b"hello"))
    wire.cut()
    wire.conn.link_opened(wire.clock())
    wire.conn.reset_stream(SID)
    stats = wire.conn.stats()
    assert stats.frames_sent - before.frames_sent == len(raw) == 1
    assert stats.bytes_sent - before.bytes_sent == len(raw[0])
    assert stats.frames_received - before.frames_received == 1
    assert stats.bytes_received - before.bytes_received == len(encode_frame(data(1, b"hello")))
    assert (stats.segments_sent, stats.messages_received, stats.links_opened) == (1, 1, 2)
    assert (stats.streams_opened, stats.streams_ended) == (1, 1)
    assert (stats.streams_live, stats.streams_ended_remembered) == (0, 1)


# -- bytes that mean nothing


@both_roles
@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (b"", FrameCause.BAD_VERSION),
        (b"\xff", FrameCause.NOT_PROTOBUF),
        (encode_frame(data(1))[:-1], FrameCause.NOT_PROTOBUF),
        (encode_frame(data(1, b"")), FrameCause.EMPTY_PAYLOAD),
        (encode_frame(data(1, index=1, count=1)), FrameCause.BAD_SEGMENT),
        (encode_frame(reset("")), FrameCause.EMPTY_REASON),
        (encode_frame(reset("x" * 257)), FrameCause.REASON_TOO_LONG),
        (encode_frame(data(1, sid=" ")), FrameCause.NO_STREAM_ID),
        (encode_frame(data(1, sid="x" * 129)), FrameCause.STREAM_ID_TOO_LONG),
        (encode_frame(data(1)) + encode_frame(data(1)), FrameCause.SEVERAL_BODIES),
        (b"\x08\x01\x12\x02s1", FrameCause.NO_BODY),
        (b"\x08\x01\x12\x02s1\x5a\x00", FrameCause.NO_BODY),
    ],
)
def test_an_invalid_frame_is_rejected_counted_and_harmless(
    role: Role, raw: bytes, cause: FrameCause
) -> None:
    wire = open_end(role)
    before = wire.conn.stats()
    wire.conn.receive_frame(raw, wire.clock())
    (event,) = wire.events()
    assert isinstance(event, FrameRejected)
    assert event.cause is cause
    assert event.stream_id in (None, SID)
    stats = wire.conn.stats()
    assert stats.dropped == {cause: 1}
    assert stats.frames_received == before.frames_received + 1
    assert stats.bytes_received == before.bytes_received + len(raw)
    assert wire.sent() == []
    assert wire.state is StreamState.OPEN


@both_roles
def test_a_frame_that_is_too_large_is_rejected_unread(role: Role) -> None:
    config = RelayConfig(max_frame_size=1000, max_message_size=700, segment_size=700)
    wire = open_end(role, config)
    wire.give(data(1, b"x" * 1000))
    (event,) = wire.events()
    assert isinstance(event, FrameRejected)
    assert (event.stream_id, event.cause) == (None, FrameCause.TOO_LARGE)


def any_frame(chance: random.Random, conn: RelayConnection, sid: str, next_seq: int) -> Frame:
    """A valid frame of any content: often what might come next, sometimes anything."""
    stream = conn._streams.get(sid)
    known = 0 if stream is None else stream.own

    def number(likely: int) -> int:
        if chance.random() < 0.97:
            return max(0, likely + chance.choice([0] * 9 + [1, 2, -1]))
        return chance.choice([0, 1, MAX_SEQ, chance.randint(0, MAX_SEQ)])

    report = (number(0), number(0)) if chance.random() < 0.2 else (0, 0)
    kind = chance.random()
    if kind < 0.5:
        count = max(1, number(1) if chance.random() < 0.1 else 1)
        index = min(number(0), count - 1)
        payload = bytes(chance.randint(1, 150))
        return DataFrame(sid, *report, number(next_seq), index, count, payload)
    if kind < 0.8:
        own = chance.choice([PEER] * 60 + [0, PEER + 1])
        peer = chance.choice([known, known, known, 0] * 10 + [ACCEPTED, OWN])
        answer = chance.random() < 0.5
        return resume(number(next_seq), own, peer, answer, ack=report[0], bits=report[1], sid=sid)
    if kind < 0.99:
        return ack(*report, sid=sid) if chance.random() < 0.7 else heartbeat(*report, sid=sid)
    if kind < 0.995:
        return handshake(sid=sid)
    return reset(chance.choice(["unknown_stream", "closed"]), ack=report[0], sid=sid)


SMALL = RelayConfig(
    max_frame_size=1000,
    max_message_size=400,
    segment_size=100,
    receive_window_bytes=500,
    receive_buffer_size=1000,
    unconfirmed_buffer_size=300,
    basic_buffer_size=600,
    max_streams=2,
    max_ended_streams=4,
    ended_ttl=20,
    max_pending_streams=2,
    send_buffer_size=500,
    resume_timeout=30,
    silence_timeout=5,
)


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    "make",
    [opening, open_opener, open_acceptor, unconfirmed, basic_opener],
)
def test_no_sequence_of_frames_raises_or_breaks_a_bound(
    make: Callable[[RelayConfig], Wire], early: bool
) -> None:
    for seed in range(8):
        chance = random.Random(f"{make.__name__} {early} {seed}")
        wire = make(replace(SMALL, early_data=early))
        is_opener = wire.conn.role is Role.HARNESS
        used, over = {SID}, set[str]()
        received: Counter[str] = Counter()
        for step in range(250):
            sid = chance.choice([SID, "other", f"new {step // 40}", f"new {step // 40}"])
            if wire.conn.send_capacity(sid) >= 300:
                wire.conn.send_data(sid, b"x" * chance.randint(1, 300))
            elif is_opener and sid not in used and wire.conn.stats().streams_live < 2:
                used.add(sid)
                wire.conn.open_stream(sid)
            wire.give(any_frame(chance, wire.conn, sid, received[sid] + 1))
            if chance.random() < 0.05:
                wire.cut()
                wire.join()
            wire.wait(chance.choice([0, 0, 0, 0.1, 1, 3]))
            for event in wire.events():
                of = getattr(event, "stream_id", None)
                if isinstance(event, StreamOpened):
                    over.discard(event.stream_id)  # of an id that was forgotten meanwhile
                if not isinstance(event, FrameRejected):
                    assert of is None or of not in over, f"seed {seed}: {event} after the end"
                if isinstance(event, DataReceived):
                    received[event.stream_id] += 1
                    if chance.random() < 0.7:
                        wire.conn.consume(event.stream_id, 1)
                elif isinstance(event, StreamReset):
                    over.add(event.stream_id)
            assert_timers_exact(wire.conn)
            stats = wire.conn.stats()
            assert stats.streams_live <= 2
            assert stats.streams_ended_remembered <= 4
            # Each stream may hold one message more than its share: the one that must move.
            assert 0 <= stats.bytes_held <= 1000 + 300 + 2 * 400 + 600


@given(st.binary(max_size=200), st.sampled_from(Role))
def test_random_bytes_never_raise(raw: bytes, role: Role) -> None:
    wire = open_end(role)
    wire.conn.receive_frame(raw, wire.clock())
    # The same, dressed as a frame of a stream that is open.
    wire.conn.receive_frame(b"\x08\x01\x12\x02s1" + raw, wire.clock())
    wire.sent()
    assert wire.conn.stats().frames_received >= 3


@pytest.mark.parametrize(
    "message", ["text", bytearray(b"may change"), memoryview(b"x"), [1, 2], 5, None]
)
def test_a_message_is_bytes_and_nothing_else(message: object) -> None:
    conn = RelayConnection(Role.HARNESS, incarnation=1)
    conn.open_stream("s")
    with pytest.raises(LocalProtocolError) as caught:
        conn.send_data("s", message)  # type: ignore[arg-type]
    assert caught.value.cause is LocalCause.BAD_ARGUMENT
    assert conn.send_data("s", b"fine") == 1


def closed_link() -> Wire:
    wire = open_opener()
    wire.cut()
    return wire


def received(count: int) -> Wire:
    """An opener that has taken that many segments."""
    wire = open_opener()
    wire.give(*[data(seq) for seq in range(1, count + 1)])
    return wire


@pytest.mark.parametrize(
    ("prepare", "frame", "cause"),
    [
        (open_opener, ack(5), FrameCause.ACK_BEYOND_SENT),
        (open_opener, resume(1, PEER, 0x99), FrameCause.FOREIGN_INCARNATION),
        (open_opener, resume(0), FrameCause.NOT_DECISIVE),
        (open_opener, handshake(), FrameCause.HANDSHAKE_UNSUPPORTED),
        (opening, ack(), FrameCause.NOT_DECISIVE),
        (unconfirmed, heartbeat(), FrameCause.NOT_CONFIRMED),
        (basic_opener, heartbeat(), FrameCause.NOT_ON_BASIC),
        (closed_link, heartbeat(), FrameCause.NO_LINK),
        (lambda: received(1), data(1), FrameCause.DUPLICATE),
        (lambda: received(3), resume(1, PEER, OWN), FrameCause.STALE_RESUME),
        (lambda: Wire(Role.EXECUTOR), ack(), FrameCause.UNKNOWN_STREAM),
        (
            lambda: unconfirmed(RelayConfig(unconfirmed_buffer_size=10_000)),
            data(1, bytes(20_000)),
            FrameCause.BUFFER_FULL,
        ),
    ],
)
def test_every_dropped_frame_counts(
    prepare: Callable[[], Wire], frame: Frame, cause: FrameCause
) -> None:
    wire = prepare()
    wire.give(frame, frame, frame)
    assert wire.conn.stats().dropped == {cause: 3}


@pytest.mark.parametrize(
    ("frame", "detail"), [(ack(5, 1), "ack 5, ack_bits 0x1"), (handshake(), "open")]
)
def test_a_rejected_frame_is_told_with_what_was_wrong(frame: Frame, detail: str) -> None:
    wire = open_opener()
    wire.give(frame)
    assert [detail in event.detail for event in wire.events_of(FrameRejected)] == [True]
