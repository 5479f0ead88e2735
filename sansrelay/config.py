"""Every limit and pace of a `RelayConnection`, in one frozen object."""

from dataclasses import dataclass, fields
from enum import StrEnum

__all__ = ["MAX_SEQ", "SEGMENT_OVERHEAD", "ProfilePolicy", "RelayConfig"]

MAX_SEQ = 2**32 - 1
"""The last sequence number there is: seq is a uint32 and never wraps."""

SEGMENT_OVERHEAD = 256
"""Bytes that each segment held ahead of its turn, and each message not yet consumed, counts for
beside its payload, in every limit for what is held for the peer."""

_FRAME_OVERHEAD = 64
"""Bytes of a frame around its stream id and its payload or reason, at most."""


class ProfilePolicy(StrEnum):
    """What peers a connection talks to."""

    AUTO = "auto"
    """Find out, stream by stream, by what the peer sends."""
    RELIABLE = "reliable"
    """Reliable peers only; a basic one is reset with `profile_refused`."""
    BASIC = "basic"
    """Behave as Codex up to 0.136 does: no acks, no retransmission, no resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """Limits and paces. Sizes are in bytes, times in seconds.

    Two ends need not have equal configurations, with one exception: the receive window of each
    must not be smaller than the send window of the other, or the difference is dropped on arrival
    and sent again. The defaults fit each other.

    Raises `ValueError` where a value makes no sense, naming the field.
    """

    profile: ProfilePolicy = ProfilePolicy.AUTO
    """Which peers are served; see `ProfilePolicy`."""

    early_data: bool = False
    """Deliver before the opening is confirmed. Saves a round trip, and gives up *at most once*
    across a crash of the acceptor during the opening."""

    # -- sizes of things on the wire
    max_frame_size: int = 16 * 1024 * 1024 + 64 * 1024
    """Bytes of one encoded frame. A larger one is rejected (`TOO_LARGE`). The largest message has
    to fit in one, since a basic peer gets messages whole: 64 bytes more, and the stream id."""
    max_stream_id_size: int = 128
    """UTF-8 bytes of a stream id. A longer one is rejected (`STREAM_ID_TOO_LONG`)."""
    max_reason_size: int = 256
    """UTF-8 bytes of a reset's reason. A longer one is rejected when received (`REASON_TOO_LONG`),
    refused when given by the application."""
    max_message_size: int = 16 * 1024 * 1024
    """Bytes of one application message. `send_data` refuses a larger one; a peer's resets its
    stream (`message_too_large`)."""
    segment_size: int = 60 * 1024
    """Payload bytes of a segment towards a reliable peer. Larger messages are cut."""

    # -- numbers of things
    max_streams: int = 10_000
    """Live streams. At an opener `open_stream` raises; at an acceptor a further one is reset
    (`too_many_streams`)."""
    max_ended_streams: int = 4096
    """Ended ids that are remembered. The oldest is forgotten first."""
    ended_ttl: float = 600.0
    """Seconds for which an ended id is remembered."""
    max_pending_streams: int = 64
    """Ids at an acceptor whose data came before their opening. A further one is reset
    (`unknown_stream`)."""
    pending_timeout: float = 2.0
    """Seconds that an opening may come after its data; then the id is reset (`unknown_stream`)."""
    resets_per_second: float = 100.0
    """Resets for unknown and ended ids, as rate and as burst. Above it they are counted, not
    sent."""

    # -- windows and buffers
    send_window_segments: int = 256
    """Unacknowledged segments of a stream. Data beyond waits in the send buffer."""
    send_window_bytes: int = 1024 * 1024
    """Unacknowledged bytes of a stream; one segment may always be under way."""
    opening_window_segments: int = 32
    """Unacknowledged segments of a stream whose peer is not known yet."""
    send_buffer_size: int = 2 * 1024 * 1024
    """Bytes a stream takes from the application before they are acknowledged. An empty buffer
    takes any one message. Beyond it `send_data` raises; see `send_capacity`."""
    send_buffer_messages: int = 1024
    """Messages in the same buffer."""
    receive_window_segments: int = 512
    """Segments past the acknowledged ones that a stream accepts. Beyond they are dropped and
    counted (`WINDOW_OVERRUN`)."""
    receive_window_bytes: int = 4 * 1024 * 1024
    """Bytes of unacknowledged segments that a stream holds, a message under reassembly not
    counted. Beyond they are dropped and counted (`WINDOW_OVERRUN`), unless it is the next in order
    on a stream whose application keeps up."""
    receive_buffer_size: int = 64 * 1024 * 1024
    """Bytes that all streams together hold for the peer's segments, `SEGMENT_OVERHEAD` included. A
    stream may hold as much as is still free: of all of it while its application keeps up, of half
    of it for what waits, so that slow readers leave room for the others. What does not fit is
    dropped and counted (`BUFFER_FULL`), and sent again by the peer. One stream at a time, whose
    application keeps up, may go beyond by the rest of one message, or large messages would wait for
    one another for ever: the sum of `receive_buffer_size`, `max_message_size` and one
    `SEGMENT_OVERHEAD` is never passed."""
    unconfirmed_buffer_size: int = 4 * 1024 * 1024
    """Bytes that all streams not confirmed yet, and ids whose opening has not come, hold together,
    `SEGMENT_OVERHEAD` included. Beyond, dropped and counted (`BUFFER_FULL`)."""
    basic_buffer_size: int = 32 * 1024 * 1024
    """Bytes received on a basic stream and not consumed, `SEGMENT_OVERHEAD` included; one message
    is always taken. Beyond, and where `receive_buffer_size` has no room, the stream is reset
    (`slow_consumer`), since a basic peer can't be slowed down."""

    # -- acks
    ack_after_segments: int = 16
    """Newly acknowledged segments after which an ack is due at once."""
    ack_after_bytes: int = 64 * 1024
    """Newly acknowledged bytes after which an ack is due at once."""
    ack_delay: float = 0.025
    """Seconds that an ack waits for data to ride on."""
    duplicate_ack_interval: float = 0.01
    """Seconds between two acks caused by duplicates; others wait for `ack_delay`."""

    # -- loss detection (RFC 6298)
    initial_rto: float = 1.0
    """Seconds before the first measurement."""
    min_rto: float = 0.2
    """Floor in seconds."""
    max_rto: float = 15.0
    """Cap in seconds, back-off included."""
    reorder_threshold: int = 3
    """Later segments acknowledged before one counts as lost."""

    # -- liveness
    heartbeat_interval: float = 30.0
    """Seconds without a frame sent on an open stream before a heartbeat goes out."""
    silence_timeout: float = 20.0
    """Seconds without a frame from the peer, something being outstanding, before `PeerSilent`."""
    resume_timeout: float = 300.0
    """Seconds without a frame from the peer, something being outstanding, before the stream ends
    (`timeout`). It covers the opening too, and the wait for the first link."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "profile", ProfilePolicy(self.profile))
        except ValueError:
            raise ValueError(
                f"profile must be auto, reliable or basic, not {self.profile!r}"
            ) from None
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if field.type is int and not (number and isinstance(value, int) and value >= 1):
                raise ValueError(f"{field.name} must be a whole number of 1 or more, not {value!r}")
            if field.type is float and not (number and 0 < value < float("inf")):
                raise ValueError(f"{field.name} must be a number above 0, not {value!r}")
            if field.type is bool and not isinstance(value, bool):
                raise ValueError(f"{field.name} must be True or False, not {value!r}")
        _at_most(self, "min_rto", "initial_rto")
        _at_most(self, "initial_rto", "max_rto")
        for content in ("max_message_size", "max_reason_size"):
            least = getattr(self, content) + self.max_stream_id_size + _FRAME_OVERHEAD
            if self.max_frame_size < least:
                raise ValueError(
                    f"max_frame_size ({self.max_frame_size}) must be at least {least}, "
                    f"or what {content} allows fits in no frame"
                )
        _at_most(self, "max_message_size", "receive_buffer_size")
        _at_most(self, "segment_size", "max_message_size")
        _at_most(self, "segment_size", "receive_window_bytes")
        if self.reorder_threshold > 31:
            raise ValueError("reorder_threshold must be at most 31: ack_bits reports 32 segments")


def _at_most(config: RelayConfig, low: str, high: str) -> None:
    a, b = getattr(config, low), getattr(config, high)
    if a > b:
        raise ValueError(f"{low} ({a}) must not be larger than {high} ({b})")
