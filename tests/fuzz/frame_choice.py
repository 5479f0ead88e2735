"""One frame out of a program: raw, damaged, built of likely fields, or built field by field."""

from collections.abc import Sequence
from typing import Final

from fuzz.program import Program, blob
from fuzz.valid_frames import VALID
from sansrelay.codec import encode_frame
from sansrelay.config import MAX_SEQ
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from wirekit import ACCEPTED, EXECUTOR, OWN, PEER

__all__ = ["STREAM_IDS", "choose_frame", "raw_frame"]

STREAM_IDS: Final = ("s1", "s2", "s3", "s4", "s5", "another stream", "\N{SNOWMAN}" * 40, " ")

_SEQS: Final = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    12,
    16,
    31,
    32,
    33,
    34,
    256,
    512,
    MAX_SEQ - 1,
    MAX_SEQ,
)
_BITS: Final = (0, 1, 2, 3, 0b110, 0b1110, 0xFF, 1 << 31, MAX_SEQ)
_INCARNATIONS: Final = (0, PEER, OWN, ACCEPTED, EXECUTOR, ACCEPTED + 1, ACCEPTED + 2, 1, 2**64 - 1)
_COUNTS: Final = (1, 2, 3, 0, 4, 8, 9, 64, 65, MAX_SEQ)
_SIZES: Final = (1, 2, 3, 7, 8, 9, 0, 16, 63, 64, 65, 200, 1000)
_REASONS: Final = ("closed", "unknown_stream", "cancelled", "x", "", " ", "\0\n", "long" * 20)
_FIELDS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 1001, 1002, 1003, 0, (1 << 29) - 1)


def raw_frame(frame: bytes) -> bytes:
    """The part of a program that chooses just these bytes."""
    return b"\0" + blob(frame)


def choose_frame(program: Program, stream_ids: Sequence[str] = STREAM_IDS) -> bytes:
    """The next frame of a program."""
    kind = program.byte() % 10
    if kind == 0:
        return program.blob()
    if kind == 1:
        return _damaged(program)
    if kind == 2:
        return b"".join(_field(program, depth=0) for _ in range(program.byte() % 8))
    return encode_frame(_built(program, kind, program.pick(stream_ids)))


def _built(program: Program, kind: int, sid: str) -> Frame:
    ack, bits = (_seq(program), program.pick(_BITS)) if program.flag() else (0, 0)
    match kind:
        case 3 | 4 | 5:
            seq = _seq(program)
            index, count = 0, 1
            if program.flag():
                count = program.pick(_COUNTS)
                index = program.pick((0, 1, 2, 3, count - 1 if count else 0))
            return DataFrame(sid, ack, bits, seq, index, count, bytes(program.pick(_SIZES)))
        case 6 | 7:
            flags = program.byte()
            own, peer = program.pick(_INCARNATIONS), program.pick(_INCARNATIONS)
            return ResumeFrame(sid, ack, bits, _seq(program), own, peer, bool(flags & 1))
        case 8:
            return ResetFrame(sid, ack, bits, program.pick(_REASONS))
        case _:
            others: tuple[Frame, ...] = (
                AckFrame(sid, ack, bits),
                HeartbeatFrame(sid, ack, bits),
                HandshakeFrame(sid, ack, bits, b"hello"),
            )
            return program.pick(others)


def _seq(program: Program) -> int:
    return program.number(4) if program.byte() == 0xFF else program.pick(_SEQS)


def _damaged(program: Program) -> bytes:
    frame = bytearray(program.pick(VALID))
    for _ in range(1 + program.byte() % 3):
        at, how, value = program.byte() % len(frame), program.byte() % 4, program.byte()
        if how == 0:
            frame[at] ^= value
        elif how == 1:
            frame.insert(at, value)
        elif how == 2:
            del frame[at + 1 :]
        else:
            frame += frame[at:]
    return bytes(frame)


def _field(program: Program, depth: int) -> bytes:
    """A field as it is on the wire, with any type."""
    number = program.pick(_FIELDS)
    wire = program.byte() % 8
    tag = _varint(number << 3 | wire)
    if wire == 0:
        return tag + _varint(program.number(program.byte() % 10))
    if wire == 1:
        return tag + program.number(8).to_bytes(8, "little")
    if wire == 2:
        if depth < 3 and program.flag():
            inside = b"".join(_field(program, depth + 1) for _ in range(program.byte() % 5))
        else:
            inside = program.blob()
        return tag + _varint(len(inside)) + inside
    return tag + (program.number(4).to_bytes(4, "little") if wire == 5 else b"")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
