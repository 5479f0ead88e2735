"""Valid frames of every kind, and everything near them.

They fit the streams that `fuzz.states` prepares, so that most of them mean something there.
"""

from collections.abc import Iterator
from typing import Final

from sansrelay.codec import encode_frame
from sansrelay.config import MAX_SEQ
from sansrelay.frames import Frame
from wirekit import ACCEPTED, OWN, PEER, ack, data, handshake, heartbeat, reset, resume

__all__ = ["FRAMES", "UNKNOWN_FIELDS", "VALID", "mutants"]

FRAMES: Final[tuple[Frame, ...]] = (
    data(0),
    data(1),
    data(2, b"two", ack=1, bits=2),
    data(3, b"\xff\x80\x00"),
    data(4, b"part", index=0, count=2, ack=2),
    data(5, b"rest", index=1, count=2),
    data(MAX_SEQ, b"x", ack=MAX_SEQ, bits=MAX_SEQ, index=MAX_SEQ - 1, count=MAX_SEQ),
    data(300, b"p" * 40, ack=200, bits=1 << 31, sid="another stream"),
    ack(),
    ack(1, 0b110),
    ack(3),
    resume(0),
    resume(1),
    resume(1, PEER),
    resume(1, PEER, OWN),
    resume(1, PEER, ACCEPTED),
    resume(3, PEER, OWN, True, ack=1, bits=2),
    resume(3, PEER, ACCEPTED, True, ack=1, bits=2),
    resume(MAX_SEQ, 2**64 - 1, 2**64 - 1, True, ack=MAX_SEQ, bits=MAX_SEQ),
    reset("closed"),
    reset("unknown_stream", ack=2, bits=1),
    reset("ein fremdes W\N{LATIN SMALL LETTER O WITH DIAERESIS}rt"),
    heartbeat(),
    heartbeat(2, 1),
    handshake(),
)
"""One of each kind at least, each field absent, small and at its end."""

UNKNOWN_FIELDS: Final = (
    b"\x78\x01",  # 15, a number
    b"\xc2\x3e\x03abc",  # 1000, bytes
    b"\xc5\x3e1234",  # 1000, 4 bytes
    b"\xc3\x3e\x08\x01\xc4\x3e",  # 1000, a group
)

VALID: Final[tuple[bytes, ...]] = tuple(
    [encode_frame(frame) for frame in FRAMES]
    + [encode_frame(data(1)) + field for field in UNKNOWN_FIELDS]
)
"""The frames as bytes, and some with fields that nobody knows."""

_ODD_BYTES: Final = (0, 127, 128, 255)


def mutants(wire: bytes) -> Iterator[bytes]:
    """Every prefix, every flip of one bit, every byte set to 0, 127, 128 and 255. Each once."""
    for size in range(len(wire)):
        yield wire[:size]
    for at, old in enumerate(wire):
        for new in sorted({old ^ 1 << bit for bit in range(8)} | {*_ODD_BYTES} - {old}):
            yield wire[:at] + bytes([new]) + wire[at + 1 :]
