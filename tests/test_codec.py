"""The frame format: what is valid, what is refused and why, and what a router reads of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay.codec import RoutingHeader, decode_frame, encode_frame, read_header
from sansrelay.config import RelayConfig
from sansrelay.errors import FrameCause
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.testing.strategies import frames, stream_ids

CONFIG = RelayConfig()
TOP = 2**32 - 1


# -- wire format by hand, so that nothing here leans on the code under test


def varint(value: int, *, size: int = 1) -> bytes:
    """A varint, padded to at least `size` bytes."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def scalar(number: int, value: int, *, size: int = 1) -> bytes:
    return varint(number << 3) + varint(value, size=size)


def chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fixed64(number: int, value: int) -> bytes:
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | 5) + value.to_bytes(4, "little")


def group(number: int, content: bytes = b"") -> bytes:
    return varint(number << 3 | 3) + content + varint(number << 3 | 4)


VERSION = scalar(1, 1)
ID = chunk(2, b"s")
HEAD = VERSION + ID
DATA = chunk(5, scalar(1, 7) + scalar(3, 1) + chunk(4, b"x"))
RESUME = chunk(7, scalar(1, 7))
HEARTBEAT = chunk(9, b"")
ACK = chunk(6, b"")
RESET = chunk(8, chunk(1, b"closed"))
HANDSHAKE = chunk(10, chunk(1, b"k"))
UNKNOWN = (
    scalar(900, 2**64 - 1)
    + chunk(901, b"later")
    + fixed64(902, 5)
    + fixed32(903, 5)
    + group(904, scalar(1, 2**40) + group(5, chunk(4, b"in a group")))
)

DATA_S = DataFrame("s", 0, 0, 7, 0, 1, b"x")
HEARTBEAT_S = HeartbeatFrame("s", 0, 0)

BY_HAND: dict[str, tuple[bytes, Frame]] = {
    "data": (
        HEAD + chunk(5, scalar(1, 7) + scalar(2, 1) + scalar(3, 3) + chunk(4, b"xyz")),
        DataFrame("s", 0, 0, 7, 1, 3, b"xyz"),
    ),
    "data from seq 0": (
        HEAD + chunk(5, scalar(3, 1) + chunk(4, b"{}")),
        DataFrame("s", 0, 0, 0, 0, 1, b"{}"),
    ),
    "data at the top": (
        HEAD + chunk(5, scalar(1, TOP) + scalar(2, TOP - 1) + scalar(3, TOP) + chunk(4, b"x")),
        DataFrame("s", 0, 0, TOP, TOP - 1, TOP, b"x"),
    ),
    "payload of zero bytes' values": (
        HEAD + chunk(5, scalar(3, 1) + chunk(4, b"\0\xff")),
        DataFrame("s", 0, 0, 0, 0, 1, b"\0\xff"),
    ),
    "ack": (HEAD + scalar(3, 9) + scalar(4, 5) + ACK, AckFrame("s", 9, 5)),
    "ack at the top": (HEAD + scalar(3, TOP) + scalar(4, TOP) + ACK, AckFrame("s", TOP, TOP)),
    "resume 0": (HEAD + chunk(7, b""), ResumeFrame("s", 0, 0, 0)),
    "resume of another sansrelay": (
        HEAD
        + scalar(3, 2)
        + chunk(7, scalar(1, 9) + fixed64(1001, 2**64 - 1) + fixed64(1002, 3) + scalar(1003, 1)),
        ResumeFrame("s", 2, 0, 9, 2**64 - 1, 3, True),
    ),
    "reset": (HEAD + chunk(8, chunk(1, b"closed")), ResetFrame("s", 0, 0, "closed")),
    "reset with spaces around": (HEAD + chunk(8, chunk(1, b" x ")), ResetFrame("s", 0, 0, " x ")),
    "heartbeat": (HEAD + HEARTBEAT, HEARTBEAT_S),
    "handshake": (HEAD + HANDSHAKE, HandshakeFrame("s", 0, 0, b"k")),
    "id of the largest size": (
        VERSION + chunk(2, "é".encode() * 64) + ACK,
        AckFrame("é" * 64, 0, 0),
    ),
    "id with spaces around": (VERSION + chunk(2, b" s ") + ACK, AckFrame(" s ", 0, 0)),
    "reason of the largest size": (
        HEAD + chunk(8, chunk(1, b"r" * 256)),
        ResetFrame("s", 0, 0, "r" * 256),
    ),
    # Order, repetition and padding are free in protobuf.
    "body first": (
        DATA + scalar(4, 1) + ID + scalar(3, 2) + VERSION,
        DATA_S._replace(ack=2, ack_bits=1),
    ),
    "data inside out": (HEAD + chunk(5, chunk(4, b"x") + scalar(3, 1) + scalar(1, 7)), DATA_S),
    "zeros said": (
        HEAD
        + scalar(3, 0)
        + scalar(4, 0)
        + chunk(5, scalar(1, 0) + scalar(2, 0) + scalar(3, 1) + chunk(4, b"x")),
        DATA_S._replace(seq=0),
    ),
    "resume of zeros said": (
        HEAD + chunk(7, scalar(1, 0) + fixed64(1001, 0) + fixed64(1002, 0) + scalar(1003, 0)),
        ResumeFrame("s", 0, 0, 0),
    ),
    "the last of two scalars counts": (
        scalar(1, 9) + HEAD + chunk(2, b"t") + scalar(3, 1) + scalar(3, 4) + ACK,
        AckFrame("t", 4, 0),
    ),
    "the last of two scalars inside a body counts": (
        HEAD + chunk(5, scalar(1, 1) + scalar(3, 9) + DATA[2:]),
        DATA_S,
    ),
    "padded varints": (
        scalar(1, 1, size=10) + ID + scalar(3, 4, size=5) + chunk(7, scalar(1, 9, size=10)),
        ResumeFrame("s", 4, 0, 9),
    ),
    "padded length": (HEAD + varint(9 << 3 | 2) + b"\x80\x00", HEARTBEAT_S),
    "padded tag": (HEAD + varint(9 << 3 | 2, size=3) + b"\x00", HEARTBEAT_S),
    "answer larger than 1": (
        HEAD + chunk(7, scalar(1, 1) + scalar(1003, 2**40)),
        ResumeFrame("s", 0, 0, 1, answer=True),
    ),
    # Unknown fields, at each level, before and after.
    "unknown fields at the top": (UNKNOWN + HEAD + HEARTBEAT + UNKNOWN, HEARTBEAT_S),
    "unknown fields in data": (HEAD + chunk(5, UNKNOWN + DATA[2:] + UNKNOWN), DATA_S),
    "unknown fields in a resume": (
        HEAD + chunk(7, UNKNOWN + scalar(1, 7) + UNKNOWN),
        ResumeFrame("s", 0, 0, 7),
    ),
    "unknown fields in an ack": (HEAD + chunk(6, UNKNOWN), AckFrame("s", 0, 0)),
    "unknown fields in a heartbeat": (HEAD + chunk(9, UNKNOWN), HEARTBEAT_S),
    "unknown fields in a reset": (
        HEAD + chunk(8, UNKNOWN + chunk(1, b"closed")),
        ResetFrame("s", 0, 0, "closed"),
    ),
    "unknown fields in a handshake": (
        HEAD + chunk(10, chunk(1, b"k") + UNKNOWN),
        HandshakeFrame("s", 0, 0, b"k"),
    ),
    "unknown fields and odd encoding": (
        UNKNOWN + HEAD + scalar(3, 0) + chunk(9, UNKNOWN),
        HEARTBEAT_S,
    ),
    "incarnation 0 above 32 bits inside unknown fields": (
        HEAD + scalar(3, 0) + chunk(7, scalar(1, 7) + scalar(20, 2**63)),
        ResumeFrame("s", 0, 0, 7),
    ),
    # A known number with another wire type is another field: unknown, too.
    "known numbers of other wire types": (
        HEAD
        + fixed64(1, 9)
        + fixed32(2, 9)
        + chunk(3, b"9")
        + group(4)
        + scalar(5, 2**40)
        + group(6)
        + HEARTBEAT,
        HEARTBEAT_S,
    ),
    "known numbers of other wire types in data": (
        HEAD
        + chunk(5, DATA[2:] + chunk(1, b"9") + fixed64(1, 2**63) + fixed32(3, 0) + scalar(4, 1)),
        DATA_S,
    ),
    "known numbers of other wire types in a resume": (
        HEAD + chunk(7, scalar(1, 7) + chunk(1, b"9") + fixed64(1, 2**63) + scalar(1002, 2**40)),
        ResumeFrame("s", 0, 0, 7),
    ),
    "a group of a body's number is no body": (HEAD + group(5, DATA[2:]) + HEARTBEAT, HEARTBEAT_S),
    "a body's number inside an unknown body": (
        HEAD + chunk(11, HEARTBEAT) + HEARTBEAT,
        HEARTBEAT_S,
    ),
}

CANONICAL = [
    DataFrame("7f1d0b1e-7a4e-4be5-9d9a-3a4c9a0f2a11", 300, 5, 2**31, 2, 4, b"\x08\x01" * 20),
    DataFrame("s", 0, 0, 0, 0, 1, b"{}"),
    AckFrame("s", TOP, TOP),
    AckFrame("s", 0, 0),
    ResumeFrame("s", 0, 0, 0),
    ResumeFrame("s", 7, 1, 2**32 - 1, 2**64 - 1, 2**63, True),
    ResetFrame("s", 3, 0, "unknown_stream"),
    ResetFrame("s", 0, 0, "Grüße ☃ \N{SNAKE}"),
    HeartbeatFrame("ⓢ", 1, 2),
    HandshakeFrame("s", 0, 0, bytes(range(256))),
]


def assert_agreement(data: bytes) -> Frame | InvalidFrame:
    """Neither decoder raises, and a router knows of a valid frame what its endpoint knows."""
    frame = decode_frame(data, CONFIG)
    header = read_header(data, CONFIG)
    if not isinstance(frame, InvalidFrame):
        assert header == header_of(frame)
    return frame


def header_of(frame: Frame) -> RoutingHeader:
    seq = next_seq = peer = 0
    match frame:
        case DataFrame():
            body, seq = "data", frame.seq
        case AckFrame():
            body = "ack_frame"
        case ResumeFrame():
            body, next_seq, peer = "resume", frame.next_seq, frame.peer_incarnation
        case ResetFrame():
            body = "reset"
        case HeartbeatFrame():
            body = "heartbeat"
        case HandshakeFrame():
            body = "handshake"
    return RoutingHeader(frame.stream_id, frame.ack, frame.ack_bits, body, seq, next_seq, peer)


# -- valid frames


@pytest.mark.parametrize("name", BY_HAND)
def test_valid(name: str) -> None:
    data, frame = BY_HAND[name]
    assert assert_agreement(data) == frame
    assert assert_agreement(encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", CANONICAL, ids=lambda frame: type(frame).__name__)
def test_round_trip(frame: Frame) -> None:
    decoded = assert_agreement(encode_frame(frame))
    assert decoded == frame
    assert type(decoded) is type(frame)


late_segments = st.builds(
    DataFrame,
    stream_ids(),
    *[st.integers(0, TOP)] * 3,
    st.integers(0, TOP - 1),
    st.just(TOP),
    st.binary(min_size=1, max_size=200),
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(frames() | late_segments)
def test_any_frame_survives_the_wire(frame: Frame) -> None:
    assert assert_agreement(encode_frame(frame)) == frame


@pytest.mark.parametrize(
    "frame",
    [
        AckFrame("s", TOP + 1, 0),
        AckFrame("s", 0, -1),
        DataFrame("s", 0, 0, TOP + 1, 0, 1, b"x"),
        ResumeFrame("s", 0, 0, 1, 2**64),
        AckFrame("\ud800", 0, 0),
    ],
    ids=repr,
)
def test_what_does_not_fit_the_wire_is_not_encoded(frame: Frame) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is protobuf's
        encode_frame(frame)


# -- invalid frames

NOT_PROTOBUF = FrameCause.NOT_PROTOBUF
OUT_OF_RANGE = FrameCause.OUT_OF_RANGE
SEVERAL = FrameCause.SEVERAL_BODIES

HEAD_RULES: dict[str, tuple[bytes, FrameCause]] = {
    "no bytes at all": (b"", FrameCause.BAD_VERSION),
    "no version": (ID + DATA, FrameCause.BAD_VERSION),
    "version 0": (scalar(1, 0) + ID + DATA, FrameCause.BAD_VERSION),
    "version 2": (scalar(1, 2) + ID + DATA, FrameCause.BAD_VERSION),
    "the last version counts": (VERSION + scalar(1, 2) + ID + DATA, FrameCause.BAD_VERSION),
    "version of another wire type": (fixed32(1, 1) + ID + DATA, FrameCause.BAD_VERSION),
    "version 1 beyond 32 bits": (scalar(1, 2**32 + 1) + ID + DATA, OUT_OF_RANGE),
    "ack out of range": (HEAD + scalar(3, 2**32) + ACK, OUT_OF_RANGE),
    "ack_bits out of range": (HEAD + scalar(4, 2**32) + ACK, OUT_OF_RANGE),
    "ack out of range, then in": (HEAD + scalar(3, 2**32) + scalar(3, 1) + ACK, OUT_OF_RANGE),
    # Of 33 to 35 bits, and as long as what a parser that cuts to 32 bits makes of them.
    "ack out of range at equal length": (HEAD + scalar(3, 2**33 - 1) + ACK, OUT_OF_RANGE),
    "ack_bits out of range at equal length": (HEAD + scalar(4, 2**32 + 2**28) + ACK, OUT_OF_RANGE),
    "ack a negative int32": (HEAD + scalar(3, 2**64 - 5) + ACK, OUT_OF_RANGE),
    "ack of more than 64 bits": (HEAD + scalar(3, 2**64 + 5) + ACK, OUT_OF_RANGE),
    "no stream_id": (VERSION + DATA, FrameCause.NO_STREAM_ID),
    "empty stream_id": (VERSION + chunk(2, b"") + DATA, FrameCause.NO_STREAM_ID),
    "blank stream_id": (VERSION + chunk(2, b" \t\n\xc2\xa0") + DATA, FrameCause.NO_STREAM_ID),
    "the last stream_id counts": (HEAD + chunk(2, b"") + DATA, FrameCause.NO_STREAM_ID),
    "too long stream_id": (VERSION + chunk(2, b"s" * 129) + DATA, FrameCause.STREAM_ID_TOO_LONG),
    "too long in bytes only": (
        VERSION + chunk(2, "é".encode() * 65) + DATA,
        FrameCause.STREAM_ID_TOO_LONG,
    ),
    "stream_id not UTF-8": (VERSION + chunk(2, b"\xff") + DATA, NOT_PROTOBUF),
    "stream_id a surrogate": (VERSION + chunk(2, b"\xed\xa0\x80") + DATA, NOT_PROTOBUF),
    "stream_id an overlong slash": (VERSION + chunk(2, b"\xc0\xaf") + DATA, NOT_PROTOBUF),
    "no body": (HEAD, FrameCause.NO_BODY),
    "no body, acks": (HEAD + scalar(3, 1) + scalar(4, 1), FrameCause.NO_BODY),
    "an unknown body": (HEAD + chunk(11, b"x"), FrameCause.NO_BODY),
    "a body of another wire type": (HEAD + scalar(9, 1), FrameCause.NO_BODY),
    "a body as a group": (HEAD + group(9), FrameCause.NO_BODY),
    "two bodies": (HEAD + DATA + RESET, SEVERAL),
    "two bodies, the last empty": (HEAD + DATA + HEARTBEAT, SEVERAL),
    "two bodies apart": (DATA + HEAD + ACK, SEVERAL),
    "data twice": (HEAD + DATA + DATA, SEVERAL),
    "data in two parts": (
        HEAD + chunk(5, scalar(1, 7) + scalar(3, 1)) + chunk(5, chunk(4, b"x")),
        SEVERAL,
    ),
    "an empty body twice": (HEAD + HEARTBEAT + HEARTBEAT, SEVERAL),
    "a field number of 0": (HEAD + b"\x00\x00" + DATA, NOT_PROTOBUF),
    "wire type 6": (HEAD + b"\x7e" + DATA, NOT_PROTOBUF),
    "wire type 7": (HEAD + b"\x7f" + DATA, NOT_PROTOBUF),
    "a varint of 11 bytes": (HEAD + scalar(3, 1, size=11) + DATA, NOT_PROTOBUF),
    "a varint without end": (HEAD + DATA + b"\x18\x80", NOT_PROTOBUF),
    "a length beyond the frame": (HEAD + b"\x2a\x7f" + b"x", NOT_PROTOBUF),
    "a length of 2**63": (HEAD + varint(5 << 3 | 2) + varint(2**63), NOT_PROTOBUF),
    "a fixed64 cut short": (HEAD + DATA + fixed64(900, 1)[:-1], NOT_PROTOBUF),
    "a fixed32 cut short": (HEAD + DATA + fixed32(900, 1)[:-1], NOT_PROTOBUF),
    "a group without end": (HEAD + DATA + varint(900 << 3 | 3), NOT_PROTOBUF),
    "a group without begin": (HEAD + DATA + varint(900 << 3 | 4), NOT_PROTOBUF),
    "a group that ends as another": (
        HEAD + DATA + varint(900 << 3 | 3) + varint(901 << 3 | 4),
        NOT_PROTOBUF,
    ),
    "groups nested without end": (HEAD + DATA + varint(900 << 3 | 3) * 5000, NOT_PROTOBUF),
    "text": (b'{"id":1,"method":"initialize"}', NOT_PROTOBUF),
}
"""Refused by endpoints and routers alike."""

BODY_RULES: dict[str, tuple[bytes, FrameCause]] = {
    "data without fields": (chunk(5, b""), FrameCause.EMPTY_PAYLOAD),
    "data without payload": (chunk(5, scalar(1, 1) + scalar(3, 1)), FrameCause.EMPTY_PAYLOAD),
    "data, empty payload": (chunk(5, scalar(3, 1) + chunk(4, b"")), FrameCause.EMPTY_PAYLOAD),
    "no segment_count": (chunk(5, scalar(1, 1) + chunk(4, b"x")), FrameCause.BAD_SEGMENT),
    "segment_count 0": (chunk(5, scalar(3, 0) + chunk(4, b"x")), FrameCause.BAD_SEGMENT),
    "index = count": (
        chunk(5, scalar(2, 3) + scalar(3, 3) + chunk(4, b"x")),
        FrameCause.BAD_SEGMENT,
    ),
    "index > count": (
        chunk(5, scalar(2, 4) + scalar(3, 3) + chunk(4, b"x")),
        FrameCause.BAD_SEGMENT,
    ),
    "seq out of range": (chunk(5, scalar(1, 2**32) + scalar(3, 1) + chunk(4, b"x")), OUT_OF_RANGE),
    "index out of range": (
        chunk(5, scalar(2, 2**32) + scalar(3, 1) + chunk(4, b"x")),
        OUT_OF_RANGE,
    ),
    "count out of range": (chunk(5, scalar(3, 2**32 + 1) + chunk(4, b"x")), OUT_OF_RANGE),
    "seq out of range at equal length": (
        chunk(5, scalar(1, 2**35 - 1) + scalar(3, 1) + chunk(4, b"x")),
        OUT_OF_RANGE,
    ),
    "index out of range at equal length": (
        chunk(5, scalar(2, 2**32 + 2**28) + scalar(3, TOP) + chunk(4, b"x")),
        OUT_OF_RANGE,
    ),
    "count out of range at equal length": (
        chunk(5, scalar(3, 2**33 - 1) + chunk(4, b"x")),
        OUT_OF_RANGE,
    ),
    "next_seq out of range at equal length": (chunk(7, scalar(1, 2**33 - 1)), OUT_OF_RANGE),
    "seq a negative int32": (
        chunk(5, scalar(1, 2**64 - 1) + scalar(3, 1) + chunk(4, b"x")),
        OUT_OF_RANGE,
    ),
    "next_seq out of range": (chunk(7, scalar(1, 2**32 + 1)), OUT_OF_RANGE),
    "next_seq a negative int32": (chunk(7, scalar(1, 2**64 - 1)), OUT_OF_RANGE),
    "reset without reason": (chunk(8, b""), FrameCause.EMPTY_REASON),
    "reset, empty reason": (chunk(8, chunk(1, b"")), FrameCause.EMPTY_REASON),
    "reset, blank reason": (chunk(8, chunk(1, b" \r\n")), FrameCause.EMPTY_REASON),
    "too long reason": (chunk(8, chunk(1, b"r" * 257)), FrameCause.REASON_TOO_LONG),
    "reason too long in bytes only": (
        chunk(8, chunk(1, "é".encode() * 129)),
        FrameCause.REASON_TOO_LONG,
    ),
    "reason not UTF-8": (chunk(8, chunk(1, b"\xff")), NOT_PROTOBUF),
    "handshake without payload": (chunk(10, b""), FrameCause.EMPTY_PAYLOAD),
    "handshake, empty payload": (chunk(10, chunk(1, b"")), FrameCause.EMPTY_PAYLOAD),
    "garbage in data": (chunk(5, b"\xff"), NOT_PROTOBUF),
    "garbage in a heartbeat": (chunk(9, b"\xff"), NOT_PROTOBUF),
}
"""Refused by endpoints. What is inside a body is not a router's business."""


@pytest.mark.parametrize("name", HEAD_RULES)
def test_invalid_head(name: str) -> None:
    data, cause = HEAD_RULES[name]
    frame, header = decode_frame(data, CONFIG), read_header(data, CONFIG)
    assert isinstance(frame, InvalidFrame)
    assert isinstance(header, InvalidFrame)
    assert frame.cause is cause
    assert header.cause is cause


@pytest.mark.parametrize("name", BODY_RULES)
def test_invalid_body(name: str) -> None:
    body, cause = BODY_RULES[name]
    frame = decode_frame(HEAD + body, CONFIG)
    assert isinstance(frame, InvalidFrame)
    assert frame.cause is cause
    assert frame.stream_id == (None if cause is NOT_PROTOBUF else "s")
    read_header(HEAD + body, CONFIG)


def test_a_router_leaves_bodies_to_the_endpoints() -> None:
    for body in (chunk(5, b""), chunk(8, b"\xff"), chunk(9, b"\xff"), chunk(10, b"")):
        assert isinstance(read_header(HEAD + body, CONFIG), RoutingHeader)


def test_too_large() -> None:
    frame = DataFrame("s", 0, 0, 1, 0, 1, b"x" * 500)
    data = encode_frame(frame)
    fits = RelayConfig(max_frame_size=len(data), max_message_size=100, segment_size=100)
    small = RelayConfig(max_frame_size=len(data) - 1, max_message_size=100, segment_size=100)
    assert decode_frame(data, fits) == frame
    assert read_header(data, fits) == header_of(frame)
    for refused in (decode_frame(data, small), read_header(data, small)):
        assert isinstance(refused, InvalidFrame)
        assert refused.cause is FrameCause.TOO_LARGE
        assert refused.stream_id is None


def test_the_limits_of_texts_come_from_the_config() -> None:
    config = RelayConfig(max_stream_id_size=4, max_reason_size=3)
    assert decode_frame(encode_frame(ResetFrame("abcd", 0, 0, "why")), config)[0] == "abcd"
    too_long_id = decode_frame(encode_frame(ResetFrame("abcde", 0, 0, "why")), config)
    too_long_reason = decode_frame(encode_frame(ResetFrame("abcd", 0, 0, "whys")), config)
    assert too_long_id[0] is FrameCause.STREAM_ID_TOO_LONG
    assert too_long_reason[0] is FrameCause.REASON_TOO_LONG


def test_a_frame_of_countless_fields_is_refused_where_each_would_be_looked_at() -> None:
    many = scalar(900, 1) * 1_000_000
    for frame in (HEAD + HEARTBEAT + many, HEAD + chunk(5, DATA[2:] + many)):
        header = read_header(frame, CONFIG)
        assert isinstance(header, InvalidFrame)
        assert header.cause is FrameCause.TOO_MANY_FIELDS
        odd = decode_frame(frame + scalar(3, 0), CONFIG)
        assert isinstance(odd, InvalidFrame)
        assert odd.cause is FrameCause.TOO_MANY_FIELDS
    bodies = read_header(HEAD + HEARTBEAT * 1_000_000, CONFIG)
    assert isinstance(bodies, InvalidFrame)


# -- damage


@pytest.mark.parametrize("frame", CANONICAL, ids=lambda frame: type(frame).__name__)
def test_a_frame_cut_anywhere_is_refused(frame: Frame) -> None:
    data = encode_frame(frame)
    for size in range(len(data)):
        assert isinstance(assert_agreement(data[:size]), InvalidFrame)


@pytest.mark.parametrize("name", BY_HAND)
def test_no_damage_makes_a_decoder_raise(name: str) -> None:
    data, _ = BY_HAND[name]
    for size in range(len(data)):
        assert_agreement(data[:size])
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert_agreement(bytes(damaged))


numbers = st.sampled_from([1, 2, 3, 4, 5, 7, 9, 10, 11, 1001, 1002, 1003])
values = st.sampled_from([0, 1, 2, 300, TOP, TOP + 1, TOP + 2, 2**63, 2**64 - 1])
leaves = st.one_of(
    st.builds(scalar, numbers, values, size=st.integers(1, 10)),
    st.builds(fixed64, numbers, values),
    st.builds(fixed32, numbers, st.integers(0, TOP)),
    st.builds(chunk, numbers, st.binary(max_size=4)),
)
fields = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(chunk, numbers, st.lists(inner, max_size=4).map(b"".join)),
        st.builds(group, numbers, st.lists(inner, max_size=2).map(b"".join)),
    ),
    max_leaves=6,
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.one_of(st.just(DATA), st.just(RESUME), fields), max_size=4), st.data())
def test_router_and_endpoint_agree_on_any_mix_of_fields(
    mix: list[bytes], data: st.DataObject
) -> None:
    parts = data.draw(st.permutations([VERSION, ID, *mix]))
    assert_agreement(b"".join(parts))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    assert_agreement(data)
    assert_agreement(HEAD + data)
