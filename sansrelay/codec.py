"""Bytes of one frame <-> a frame value. The only module that touches protobuf.

The protobuf runtime lets some bad frames pass: of two bodies it keeps the last, a repeated body it
merges, and a uint32 it cuts to 32 bits. All three make the canonical form of what it understood
shorter than what came in, so comparing the two lengths finds them, with one exception: a number of
33 to 35 bits takes 5 bytes, and so does what is left of it from 2**28 up. Only a frame of another
length, or with such a number, is walked field by field, in plain Python, to tell a harmless odd
encoding from a bad one.
"""

from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from ._pb.relay_pb2 import RelayMessageFrame
from .config import RelayConfig
from .errors import FrameCause
from .frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)

__all__ = ["WIRE_VERSION", "RoutingHeader", "decode_frame", "encode_frame", "read_header"]

WIRE_VERSION: Final = 1

_MAX_FIELDS: Final = 1000
"""How many fields a frame, or a body, is walked through: a large frame could hold millions of them.
The schema has 11."""
_SUSPECT_BITS: Final = 28
"""A number with more bits may have been longer still on the wire."""
_UINT32_FIELDS: Final = {
    None: frozenset({1, 3, 4}),
    5: frozenset({1, 2, 3}),
    7: frozenset({1}),
}
_WIRE_TYPES: Final = {
    None: {1: 0, 2: 2, 3: 0, 4: 0, 5: 2, 6: 2, 7: 2, 8: 2, 9: 2, 10: 2},
    5: {1: 0, 2: 0, 3: 0, 4: 2},
    7: {1: 0, 1001: 1, 1002: 1, 1003: 0},
}
_BODIES: Final = frozenset({5, 6, 7, 8, 9, 10})
_BODY_NAMES: Final = {
    5: "data",
    6: "ack_frame",
    7: "resume",
    8: "reset",
    9: "heartbeat",
    10: "handshake",
}


def encode_frame(frame: Frame) -> bytes:
    """The bytes of one frame, ready to be one binary WebSocket message.

    Values out of range raise `ValueError` from protobuf: frames built by hand are the caller's own.
    """
    # A fresh message each time: a reused one keeps every payload alive in its arena.
    if isinstance(frame, DataFrame):
        stream_id, ack, ack_bits, seq, index, count, payload = frame
        message = RelayMessageFrame(version=WIRE_VERSION, stream_id=stream_id)
        data = message.data
        if seq:
            data.seq = seq
        if index:
            data.segment_index = index
        data.segment_count = count
        data.payload = payload
    else:
        stream_id, ack, ack_bits = frame[:3]
        message = RelayMessageFrame(version=WIRE_VERSION, stream_id=stream_id)
        match frame:
            case AckFrame():
                message.ack_frame.SetInParent()
            case ResumeFrame():
                resume = message.resume
                resume.SetInParent()
                resume.next_seq = frame.next_seq
                resume.incarnation = frame.incarnation
                resume.peer_incarnation = frame.peer_incarnation
                resume.answer = frame.answer
            case ResetFrame():
                message.reset.reason = frame.reason
            case HeartbeatFrame():
                message.heartbeat.SetInParent()
            case _:  # a handshake
                message.handshake.payload = frame.payload
    if ack:
        message.ack = ack
    if ack_bits:
        message.ack_bits = ack_bits
    return message.SerializeToString()


def decode_frame(data: bytes, config: RelayConfig) -> Frame | InvalidFrame:
    """One frame off the wire, checked against every rule of the format. Never raises.

    Unknown fields are tolerated. What is refused comes back as `InvalidFrame` with its cause.
    """
    if len(data) > config.max_frame_size:
        return InvalidFrame(
            FrameCause.TOO_LARGE, None, f"{len(data)} bytes, at most {config.max_frame_size}"
        )
    message = RelayMessageFrame()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        return InvalidFrame(FrameCause.NOT_PROTOBUF, None, str(error))
    stream_id = message.stream_id
    bad = _check_head(message.version, stream_id, config)
    if bad is not None:
        return InvalidFrame(bad[0], None, bad[1])
    ack = message.ack
    ack_bits = message.ack_bits
    body = message.WhichOneof("body")
    large = ack | ack_bits
    if body == "data":
        part = message.data
        seq = part.seq
        index = part.segment_index
        count = part.segment_count
        large |= seq | index | count
    elif body == "resume":
        large |= message.resume.next_seq
    if large >> _SUSPECT_BITS or message.ByteSize() != len(data):
        odd = _check_encoding(data)
        if odd is not None:
            return InvalidFrame(odd[0], stream_id, odd[1])
    if body == "data":
        payload = part.payload
        if not payload:
            return InvalidFrame(FrameCause.EMPTY_PAYLOAD, stream_id, "data without payload")
        if index >= count:
            return InvalidFrame(
                FrameCause.BAD_SEGMENT, stream_id, f"segment_index {index} of {count}"
            )
        return DataFrame(stream_id, ack, ack_bits, seq, index, count, payload)
    if body == "ack_frame":
        return AckFrame(stream_id, ack, ack_bits)
    if body == "resume":
        resume = message.resume
        return ResumeFrame(
            stream_id,
            ack,
            ack_bits,
            resume.next_seq,
            resume.incarnation,
            resume.peer_incarnation,
            resume.answer,
        )
    if body == "reset":
        reason = message.reset.reason
        if not reason.strip():
            return InvalidFrame(FrameCause.EMPTY_REASON, stream_id, "reset without a reason")
        if len(reason.encode()) > config.max_reason_size:
            return InvalidFrame(
                FrameCause.REASON_TOO_LONG, stream_id, f"at most {config.max_reason_size} bytes"
            )
        return ResetFrame(stream_id, ack, ack_bits, reason)
    if body == "heartbeat":
        return HeartbeatFrame(stream_id, ack, ack_bits)
    if body == "handshake":
        if not message.handshake.payload:
            return InvalidFrame(FrameCause.EMPTY_PAYLOAD, stream_id, "handshake without payload")
        return HandshakeFrame(stream_id, ack, ack_bits, message.handshake.payload)
    return InvalidFrame(FrameCause.NO_BODY, stream_id, "none of the known bodies")


def _check_head(version: int, stream_id: str, config: RelayConfig) -> tuple[FrameCause, str] | None:
    if version != WIRE_VERSION:
        return FrameCause.BAD_VERSION, f"version {version}"
    if not stream_id or not stream_id.strip():
        return FrameCause.NO_STREAM_ID, "no stream_id"
    # A character has at most 4 bytes: short ids need no encoding to be measured.
    limit = config.max_stream_id_size
    if len(stream_id) * 4 > limit and len(stream_id.encode()) > limit:
        return FrameCause.STREAM_ID_TOO_LONG, f"at most {limit} bytes"
    return None


class RoutingHeader(NamedTuple):
    """What a router needs to know of a frame: no payload is copied to learn it.

    `body` is the name of the frame's body in the schema. `seq` is that of a `data` body,
    `next_seq` and `peer_incarnation` those of a `resume`; elsewhere they are 0.
    """

    stream_id: str
    ack: int
    ack_bits: int
    body: str
    seq: int
    next_seq: int
    peer_incarnation: int


class _Bad(Exception):
    def __init__(self, cause: FrameCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


def read_header(data: bytes, config: RelayConfig) -> RoutingHeader | InvalidFrame:
    """The routing header of a frame, without decoding the rest. Never raises.

    The head and the choice of the body are checked as `decode_frame` does; what is inside the body
    is left to the endpoints. The cost does not grow with the payload.
    """
    if len(data) > config.max_frame_size:
        return InvalidFrame(
            FrameCause.TOO_LARGE, None, f"{len(data)} bytes, at most {config.max_frame_size}"
        )
    version = ack = ack_bits = seq = next_seq = peer = body = 0
    raw_id = b""
    try:
        for number, value, start, end in _fields(data, 0, len(data), None):
            if number in _BODIES:
                if body:
                    raise _Bad(FrameCause.SEVERAL_BODIES, "more than one body")
                body = number
                if number == 5 or number == 7:
                    for inner, inner_value, _, _ in _fields(data, start, end, number):
                        if number == 5 and inner == 1:
                            seq = inner_value
                        elif number == 7 and inner == 1:
                            next_seq = inner_value
                        elif number == 7 and inner == 1002:
                            peer = inner_value
            elif number == 1:
                version = value
            elif number == 2:
                raw_id = data[start:end]
            elif number == 3:
                ack = value
            else:  # 4: `_fields` gives known fields only
                ack_bits = value
        stream_id = raw_id.decode()
    except _Bad as bad:
        return InvalidFrame(bad.cause, None, bad.detail)
    except UnicodeDecodeError:
        return InvalidFrame(FrameCause.NOT_PROTOBUF, None, "stream_id is not UTF-8")
    head = _check_head(version, stream_id, config)
    if head is not None:
        return InvalidFrame(head[0], None, head[1])
    if not body:
        return InvalidFrame(FrameCause.NO_BODY, stream_id, "none of the known bodies")
    return RoutingHeader(stream_id, ack, ack_bits, _BODY_NAMES[body], seq, next_seq, peer)


def _check_encoding(data: bytes) -> tuple[FrameCause, str] | None:
    """What protobuf let pass and the format forbids. `data` is known to parse."""
    bodies = 0
    try:
        for number, _, start, end in _fields(data, 0, len(data), None):
            if number in _BODIES:
                bodies += 1
                if number in _UINT32_FIELDS:
                    _fields(data, start, end, number)
    except _Bad as bad:
        return bad.cause, bad.detail
    if bodies > 1:
        return FrameCause.SEVERAL_BODIES, f"{bodies} bodies"
    return None


def _fields(
    data: bytes, start: int, end: int, within: int | None
) -> list[tuple[int, int, int, int]]:
    """The known fields between two offsets, as (number, value, start, end).

    `within` is the number of the enclosing body, None at the top: it says which fields are known.
    A known number with another wire type is an unknown field, as it is to protobuf. Raises `_Bad`.
    """
    ranged = _UINT32_FIELDS[within]
    known = _WIRE_TYPES[within]
    seen = 0
    found: list[tuple[int, int, int, int]] = []
    groups: list[int] = []
    i = start
    while i < end:
        seen += 1
        if seen > _MAX_FIELDS:
            raise _Bad(FrameCause.TOO_MANY_FIELDS, f"more than {_MAX_FIELDS} fields")
        tag, i = _varint(data, i, end)
        number, wire = tag >> 3, tag & 7
        if number >= 1 << 29 or not (number or groups):  # nobody looks into unknown groups
            raise _Bad(FrameCause.NOT_PROTOBUF, f"field number {number}")
        value = 0
        body = i
        if wire == 0:
            value, i = _varint(data, i, end)
            if value >> 32 and number in ranged and not groups:
                raise _Bad(FrameCause.OUT_OF_RANGE, f"field {number} holds {value}")
        elif wire == 1:
            i += 8
            value = int.from_bytes(data[body:i], "little")
        elif wire == 2:
            size, body = _varint(data, i, end)
            i = body + size
        elif wire == 5:
            i += 4
        elif wire == 3:
            groups.append(number)
            if len(groups) > 100:
                raise _Bad(FrameCause.NOT_PROTOBUF, "groups nested too deep")
        elif wire == 4:
            if not groups or groups.pop() != number:
                raise _Bad(FrameCause.NOT_PROTOBUF, "a group ends that did not begin")
            continue
        else:
            raise _Bad(FrameCause.NOT_PROTOBUF, f"wire type {wire}")
        if i > end:
            raise _Bad(FrameCause.NOT_PROTOBUF, "the frame ends within a field")
        if not groups and known.get(number) == wire:
            found.append((number, value, body, i))
    if groups:
        raise _Bad(FrameCause.NOT_PROTOBUF, "the frame ends within a group")
    return found


def _varint(data: bytes, i: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while i < end:
        byte = data[i]
        i += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, i
        shift += 7
        if shift >= 70:
            raise _Bad(FrameCause.NOT_PROTOBUF, "a varint has more than 10 bytes")
    raise _Bad(FrameCause.NOT_PROTOBUF, "the frame ends within a varint")
