"""The fields of a frame as they stand on the wire, for frames that can't be decoded.

A plain reading of protobuf's wire format, independent of the codec: it shows what is there, up to
the point where nothing can be made of the bytes any more. It judges nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BODIES", "WireField", "wire_fields"]

BODIES = {
    5: "data",
    6: "ack_frame",
    7: "resume",
    8: "reset",
    9: "heartbeat",
    10: "handshake",
}
"""The bodies of a frame by field number."""

_NAMES: dict[int, dict[int, str]] = {
    0: {1: "version", 2: "stream_id", 3: "ack", 4: "ack_bits", **BODIES},
    5: {1: "seq", 2: "segment_index", 3: "segment_count", 4: "payload"},
    7: {1: "next_seq", 1001: "incarnation", 1002: "peer_incarnation", 1003: "answer"},
    8: {1: "reason"},
    10: {1: "payload"},
}

_FIXED_SIZES = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class WireField:
    """One field, from `start` to `end`. `value` is a number, or bytes, which then are the last of
    the field, or a sentence that says why reading ends here."""

    start: int
    end: int
    number: int
    name: str
    value: int | bytes | str


class _Unreadable(Exception):
    pass


def wire_fields(
    data: bytes, *, start: int = 0, end: int | None = None, within: int = 0
) -> Iterator[WireField]:
    """The fields in a part of `data`, in their order.

    `within` is the number of the body that the part is, 0 for none. What can't be read comes as a
    last field with the number 0. Never raises.
    """
    names = _NAMES.get(within, {})
    end = len(data) if end is None else end
    while start < end:
        try:
            tag, after_tag = _varint(data, start, end)
            value, after = _value(data, after_tag, end, tag & 7)
        except _Unreadable as unreadable:
            yield WireField(start=start, end=end, number=0, name="?", value=str(unreadable))
            return
        number = tag >> 3
        name = names.get(number, f"field {number}")
        yield WireField(start=start, end=after, number=number, name=name, value=value)
        start = after


def _value(data: bytes, start: int, end: int, wire_type: int) -> tuple[int | bytes, int]:
    """A value and where it ends."""
    if wire_type == 0:
        return _varint(data, start, end)
    if wire_type == 2:
        size, start = _varint(data, start, end)
    elif wire_type in _FIXED_SIZES:
        size = _FIXED_SIZES[wire_type]
    else:
        raise _Unreadable(f"wire type {wire_type} is not in use here")
    after = start + size
    if after > end:
        raise _Unreadable(f"{size} bytes are announced, {end - start} are left")
    value = data[start:after]
    return (value if wire_type == 2 else int.from_bytes(value, "little")), after


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    value = 0
    for i in range(start, min(start + 10, end)):
        value |= (data[i] & 0x7F) << (7 * (i - start))
        if data[i] < 0x80:
            return value, i + 1
    if end - start < 10:
        raise _Unreadable("the bytes end within a number")
    raise _Unreadable("a number has more than 10 bytes")
