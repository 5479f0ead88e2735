"""Frames in readable form.

Everything that comes from a frame is escaped, so that showing one can't play tricks on a terminal.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator

from sansrelay.codec import decode_frame
from sansrelay.config import RelayConfig
from sansrelay.frames import (
    ACK_BITS,
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)

from .wirefields import BODIES, WireField, wire_fields

__all__ = ["describe", "is_valid", "read_notation"]

PREVIEW = 400
"""Characters that are shown of a text, and half as many bytes of what is no text."""

_HEX = re.compile(rb"(?:0x)?(?:[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+={0,2}")
_BETWEEN_HEX = re.compile(rb"[\s:,]+")
_WHITESPACE = re.compile(rb"\s+")


def read_notation(text: bytes) -> tuple[str, bytes]:
    """The notation that a frame is written in, and the frame itself.

    Hex, with spaces, colons or commas between the digits as they come; else base64 in either of its
    alphabets; else binary. No frame is both: in hex one begins with 08, in base64 with CAES, and in
    binary with a control character, because its version comes first.
    """
    digits = _BETWEEN_HEX.sub(b"", text)
    if _HEX.fullmatch(digits):
        return "hex", bytes.fromhex(digits.decode().removeprefix("0x"))
    letters = _WHITESPACE.sub(b"", text)
    if _BASE64.fullmatch(letters):
        standard = letters.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        try:
            return "base64", base64.b64decode(standard + b"=" * (-len(standard) % 4))
        except binascii.Error:
            pass
    return "binary", text


def is_valid(data: bytes) -> bool:
    """Whether the bytes are one valid frame."""
    return not isinstance(decode_frame(data, RelayConfig()), InvalidFrame)


def describe(data: bytes) -> Iterator[str]:
    """The lines that describe a frame, or say what is wrong with it and what can be read."""
    frame = decode_frame(data, RelayConfig())
    if isinstance(frame, InvalidFrame):
        yield f"invalid frame, {_count(len(data), 'byte')}"
        yield f"  cause       {frame.cause.name}: {frame.cause.value}"
        yield f"  detail      {_quoted(frame.detail)}"
        if data:
            yield "on the wire"
            yield from _wire_lines(data)
    else:
        yield f"valid frame, {_count(len(data), 'byte')}"
        yield from _frame_lines(frame)


def _frame_lines(frame: Frame) -> Iterator[str]:
    yield "  version     1"
    yield f"  stream_id   {_quoted(frame.stream_id)}"
    yield f"  ack         {frame.ack}"
    yield f"  ack_bits    {_ack_bits(frame.ack, frame.ack_bits)}"
    match frame:
        case DataFrame():
            yield "data"
            yield f"  seq         {frame.seq}"
            yield f"  segment     index {frame.segment_index} of {frame.segment_count}"
            yield from _payload_lines(frame.payload)
        case ResumeFrame():
            yield "resume"
            yield f"  next_seq    {frame.next_seq}"
            yield f"  incarnation {_incarnation(frame.incarnation)}"
            yield f"  peer        {_incarnation(frame.peer_incarnation)}"
            yield f"  answer      {'yes' if frame.answer else 'no'}"
        case ResetFrame():
            yield "reset"
            yield f"  reason      {_quoted(frame.reason)}"
        case HandshakeFrame():
            yield "handshake"
            yield from _payload_lines(frame.payload)
        case AckFrame():
            yield "ack_frame"
        case HeartbeatFrame():
            yield "heartbeat"


def _payload_lines(payload: bytes) -> Iterator[str]:
    kind, text = _preview(payload)
    yield f"  payload     {_count(len(payload), 'byte')}, {kind}"
    yield f"              {text}"


def _ack_bits(ack: int, bits: int) -> str:
    """The segments beyond `ack` that the bits report, as ranges."""
    segments = [ack + 1 + i for i in range(ACK_BITS) if bits >> i & 1]
    if not segments:
        return "none"
    ranges: list[tuple[int, int]] = []
    for segment in segments:
        if ranges and ranges[-1][1] == segment - 1:
            ranges[-1] = ranges[-1][0], segment
        else:
            ranges.append((segment, segment))
    listed = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
    return f"{bits:#x}: received {listed}"


def _incarnation(value: int) -> str:
    return f"{value:#018x}" if value else "none"


def _wire_lines(data: bytes) -> Iterator[str]:
    for field in wire_fields(data):
        if field.number in BODIES and isinstance(field.value, bytes):
            yield f"  {field.name}"
            start = field.end - len(field.value)
            for inner in wire_fields(data, start=start, end=field.end, within=field.number):
                yield f"    {_wire_line(inner)}"
        else:
            yield f"  {_wire_line(field)}"


def _wire_line(field: WireField) -> str:
    match field.value:
        case bytes():
            kind, text = _preview(field.value)
            shown = f"{_count(len(field.value), 'byte')}, {kind}: {text}" if text else "empty"
        case _:
            shown = str(field.value)
    return f"at {field.start}: {field.name} = {shown}"


def _preview(data: bytes) -> tuple[str, str]:
    """What kind of content it is, and its beginning, escaped."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    # Much of the ASCII range is no text either.
    if not text or any(c < " " and c not in "\t\r\n" for c in text):
        return "binary", data[: PREVIEW // 2].hex(" ") + ("…" if len(data) > PREVIEW // 2 else "")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "text", _quoted(text)
    return "JSON", _escaped(text)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Text made of printable ASCII characters alone, cut at `PREVIEW`."""
    cut = text[:PREVIEW].encode("unicode_escape").decode("ascii")
    return f"{cut}…" if len(text) > PREVIEW else cut


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
