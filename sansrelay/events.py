"""What a `RelayConnection` tells its owner through `next_event`.

Events carry facts, never frames to be sent: what has to go out comes from `frames_to_send`.
"""

from dataclasses import dataclass
from enum import Enum

from .errors import FrameCause, Outcome, ResetReason, reason_of
from .states import Profile

__all__ = [
    "AckCause",
    "AckDue",
    "DataAcknowledged",
    "DataReceived",
    "EndedBy",
    "Event",
    "FrameRejected",
    "LinkLost",
    "MessageId",
    "PeerSilent",
    "Retransmit",
    "RetransmitCause",
    "SendCapacityAvailable",
    "StreamOpened",
    "StreamReset",
    "StreamResumed",
]

MessageId = int
"""Counts the messages of one stream that `send_data` took, from 1."""


class AckCause(Enum):
    """Why an ack goes out without waiting for data to ride on."""

    DELAY = "ack_delay has passed"
    COUNT = "ack_after_segments or ack_after_bytes was reached"
    CONFIRMATION = "the stream was confirmed, and data had come before"
    GAP = "a segment came out of order"
    DUPLICATE = "a segment came twice"
    HEARTBEAT = "the peer asked for a sign of life"


class RetransmitCause(Enum):
    """What showed that a segment is missing."""

    GAP = "later segments were acknowledged"
    RESUME = "a resume did not cover it"


class EndedBy(Enum):
    """Who ended a stream."""

    LOCAL = "this side"
    PEER = "the peer, or a rendezvous in its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened(Event):
    """The peer's profile is known. At an acceptor: a new stream, which its opener has confirmed, or
    not yet with `RelayConfig.early_data`."""

    stream_id: str
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResumed(Event):
    """The stream goes on over a new link."""

    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReceived(Event):
    """One whole message, in order and for the first time. Answer with `consume`."""

    stream_id: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAcknowledged(Event):
    """Every message up to and including `message_id` was taken over by the peer's application.

    Reliable profile only.
    """

    stream_id: str
    message_id: MessageId


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCapacityAvailable(Event):
    """The send buffer has fallen to half, or has become empty."""

    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AckDue(Event):
    """An ack is due now. For information: `frames_to_send` has it."""

    stream_id: str
    cause: AckCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Retransmit(Event):
    """A segment is sent again. For information: `frames_to_send` has it.

    `attempt` counts transmissions: 2 is the first repetition.
    """

    stream_id: str
    seq: int
    attempt: int
    cause: RetransmitCause


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReset(Event):
    """The stream has ended, for whatever reason. The last event of a stream.

    `reason` is the text as it was on the wire; `known_reason` its member of the vocabulary, if it
    has one. `unknown` and `never_sent` say what became of the messages that were not acknowledged,
    as ranges of their ids; every message below both was acknowledged. On a basic stream nothing
    ever is.
    """

    stream_id: str
    reason: str
    by: EndedBy
    unknown: range = range(0)
    never_sent: range = range(0)

    @property
    def known_reason(self) -> ResetReason | None:
        """The member of `ResetReason`, or None for a foreign word."""
        return reason_of(self.reason)

    def outcome(self, message_id: MessageId) -> Outcome:
        """What became of one message that `send_data` took on this stream."""
        if message_id in self.unknown:
            return Outcome.UNKNOWN
        if message_id in self.never_sent:
            return Outcome.NEVER_SENT
        return Outcome.ACKNOWLEDGED


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSilent(Event):
    """Nothing came from the peer on this stream for `silence` seconds, something being
    outstanding. Said once until the peer is heard again."""

    stream_id: str
    silence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRejected(Event):
    """An incoming frame was not valid, or broke a rule of its stream.

    `stream_id` is None where it could not be read.
    """

    stream_id: str | None
    cause: FrameCause
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost(Event):
    """The link is gone. Reliable streams wait for the next one."""
