"""The frames of `codex.exec_server.relay.v1`, as values.

One type for each body. All are named tuples: frozen, slotted, cheap to make, and good for `match`.
`ack` and `ack_bits` ride on every frame: `ack` is the highest contiguous segment received from the
peer, bit *i* of `ack_bits` says that segment `ack + 1 + i` has been received too.

A frame object made by hand is not checked; `sansrelay.codec` checks what comes off the wire.
"""

from typing import NamedTuple

from .errors import FrameCause

__all__ = [
    "ACK_BITS",
    "AckFrame",
    "DataFrame",
    "Frame",
    "HandshakeFrame",
    "HeartbeatFrame",
    "InvalidFrame",
    "ResetFrame",
    "ResumeFrame",
]

ACK_BITS = 32
"""How many segments past `ack` a frame reports."""


class DataFrame(NamedTuple):
    """One segment of an application message."""

    stream_id: str
    ack: int
    ack_bits: int
    seq: int
    segment_index: int
    segment_count: int
    payload: bytes


class AckFrame(NamedTuple):
    """Sent only for its ack fields."""

    stream_id: str
    ack: int
    ack_bits: int


class ResumeFrame(NamedTuple):
    """`next_seq` is the next new sequence number of its sender.

    The other three are sansrelay's: `incarnation` is the sender's own, `peer_incarnation` that of
    the peer as the sender knows it (0: none), `answer` marks the answer to another resume.
    """

    stream_id: str
    ack: int
    ack_bits: int
    next_seq: int
    incarnation: int = 0
    peer_incarnation: int = 0
    answer: bool = False


class ResetFrame(NamedTuple):
    """The end of a stream. `reason` is any text; see `ResetReason` for the vocabulary."""

    stream_id: str
    ack: int
    ack_bits: int
    reason: str


class HeartbeatFrame(NamedTuple):
    """Asks for a sign of life, which is an ack."""

    stream_id: str
    ack: int
    ack_bits: int


class HandshakeFrame(NamedTuple):
    """One message of the encryption handshake."""

    stream_id: str
    ack: int
    ack_bits: int
    payload: bytes


Frame = DataFrame | AckFrame | ResumeFrame | ResetFrame | HeartbeatFrame | HandshakeFrame


class InvalidFrame(NamedTuple):
    """What stands in for a frame that was refused. `stream_id` is None where it can't be read."""

    cause: FrameCause
    stream_id: str | None
    detail: str
