"""What can go wrong, as data.

A peer can't make the core raise: whatever it sends becomes an event and a counter, under a cause
from `FrameCause`. Only a caller's own misuse raises, as `LocalProtocolError`, and leaves the state
as it was.

`ResetReason` is the vocabulary for the end of a stream. It goes over the wire as text, so a peer
may send any other word; that word is kept as it is, and `clean_reason` makes it fit for a log.
"""

from enum import Enum, StrEnum

__all__ = [
    "FrameCause",
    "LocalCause",
    "LocalProtocolError",
    "Outcome",
    "ResetReason",
    "clean_reason",
    "reason_of",
]


class ResetReason(StrEnum):
    """Why a stream ended. The value is the text on the wire."""

    CLOSED = "closed"
    """Closed in good order: everything the closing side sent was acknowledged."""
    CANCELLED = "cancelled"
    """An application gave the stream up at once."""
    TIMEOUT = "timeout"
    """The peer answered nothing for `RelayConfig.resume_timeout` seconds."""
    UNKNOWN_STREAM = "unknown_stream"
    """The side that says so has no such stream, or has forgotten it."""
    PEER_RESTARTED = "peer_restarted"
    """The peer lost its state and came back as another incarnation."""
    LINK_LOST = "link_lost"
    """The link broke under a stream that can't be resumed (basic profile)."""
    GAP = "gap"
    """A sequence number is missing on a basic stream, where nothing is ever sent again."""
    PROTOCOL_ERROR = "protocol_error"
    """A frame broke the rules of its stream."""
    PROFILE_REFUSED = "profile_refused"
    """The peer is basic and `RelayConfig.profile` asks for a reliable one."""
    MESSAGE_TOO_LARGE = "message_too_large"
    """A message passed `RelayConfig.max_message_size`."""
    TOO_MANY_STREAMS = "too_many_streams"
    """The acceptor has `RelayConfig.max_streams` live streams already."""
    SLOW_CONSUMER = "slow_consumer"
    """A basic peer, which can't be slowed down, sent more than the application took over."""
    EXECUTOR_UNAVAILABLE = "executor_unavailable"
    """The rendezvous has no executor for this stream, or lost it."""
    HARNESS_DISCONNECTED = "harness_disconnected"
    """The rendezvous lost the harness of this stream for longer than the grace period."""
    GOING_AWAY = "going_away"
    """The side that says so is shutting down in good order."""
    UNAUTHORIZED = "unauthorized"
    """The sender may not use this stream."""
    SEQUENCE_EXHAUSTED = "sequence_exhausted"
    """The stream used up its sequence numbers; they never wrap."""


class FrameCause(Enum):
    """Why an incoming frame, or a part of it, was not taken."""

    # Frames that are not valid by themselves (wire section 1).
    TOO_LARGE = "the frame is larger than max_frame_size"
    NOT_PROTOBUF = "not a protobuf message of this schema"
    BAD_VERSION = "version is not 1"
    NO_STREAM_ID = "stream_id is missing or blank"
    STREAM_ID_TOO_LONG = "stream_id is longer than max_stream_id_size"
    NO_BODY = "the frame has no body"
    SEVERAL_BODIES = "the frame has two bodies, or one body twice"
    OUT_OF_RANGE = "a uint32 field holds more than 32 bits"
    TOO_MANY_FIELDS = "the frame holds more fields than are looked at one by one"
    EMPTY_PAYLOAD = "the payload is empty"
    EMPTY_REASON = "the reset has no reason"
    REASON_TOO_LONG = "the reset's reason is longer than max_reason_size"
    BAD_SEGMENT = "segment_count is 0, or segment_index is not below it"
    MESSAGE_TOO_LARGE = "the message would be larger than max_message_size"

    # Frames that are valid but break the rules of their stream.
    SEGMENT_MISMATCH = "a segment does not continue its message"
    ACK_BEYOND_SENT = "ack or ack_bits cover segments that were never sent"
    RESUME_ON_BASIC = "a reliable resume on a basic stream"
    BASIC_SUCCESSOR = "data 0 on a reliable stream: a basic peer is in the other's place"
    SEQUENCE_GAP = "a sequence number is missing on a basic stream"
    SEGMENTED_ON_BASIC = "a segmented message on a basic stream"
    HANDSHAKE_UNSUPPORTED = "an encryption handshake, which this endpoint does not do"

    # Frames that are dropped without a fault of the peer, and counted.
    DUPLICATE = "the segment was received before"
    WINDOW_OVERRUN = "the segment lies beyond the receive window"
    BUFFER_FULL = "the connection's receive buffer is full"
    UNKNOWN_STREAM = "no such stream here"
    ENDED_STREAM = "the stream has ended"
    STALE_DATA = "the data is from before the first ack, or from a basic peer in the other's place"
    STALE_RESUME = "the resume is older than what was received"
    FOREIGN_INCARNATION = "the resume names another incarnation"
    NOT_DECISIVE = "the frame says nothing about an undecided peer"
    NOT_CONFIRMED = "the stream is not confirmed"
    NO_LINK = "no link is open"
    NOT_ON_BASIC = "the frame means nothing on a basic stream"
    TOO_MANY_STREAMS = "the opening was refused: max_streams streams are live"
    PROFILE_REFUSED = "the opening was refused: the peer is basic, and the profile is reliable"


class LocalCause(Enum):
    """Why a call of the application was refused."""

    BAD_ARGUMENT = "an argument is out of range or of the wrong form"
    TIME_WENT_BACK = "now is smaller than before"
    LINK_STATE = "the link is open already, or not open"
    WRONG_ROLE = "only a harness opens streams"
    STREAM_EXISTS = "the stream id is in use or was used"
    TOO_MANY_STREAMS = "max_streams streams are live already"
    UNKNOWN_STREAM = "no such stream"
    STREAM_CLOSING = "the stream is closing or has ended"
    NO_CAPACITY = "the message is larger than send_capacity()"
    MESSAGE_TOO_LARGE = "the message is larger than max_message_size"
    SEQUENCE_EXHAUSTED = "the stream has used up its sequence numbers"
    NOTHING_TO_CONSUME = "more messages consumed than were received"
    NOT_OPEN = "the connection is not open"


class LocalProtocolError(Exception):
    """The caller broke the contract; nothing changed.

    `cause` says how, as data; the message says what to do about it.
    """

    def __init__(self, cause: LocalCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Outcome(Enum):
    """What became of a message that was handed to `send_data`."""

    ACKNOWLEDGED = "acknowledged"
    """The peer's application took it over (reliable profile only)."""
    NEVER_SENT = "never sent"
    """No part of it ever left this process: sending it again elsewhere is safe."""
    UNKNOWN = "unknown"
    """It was sent, whole or in part, and nothing proves whether it was delivered."""


_KNOWN = {reason.value: reason for reason in ResetReason}


def reason_of(text: str) -> ResetReason | None:
    """The vocabulary's member for a reason on the wire, or None for a foreign word."""
    return _KNOWN.get(text)


def clean_reason(text: str, limit: int = 200) -> str:
    """A foreign reason made fit for a log line: control characters replaced, cut at `limit`."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return clean + "…" if len(text) > limit else clean
