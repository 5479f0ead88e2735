"""Counters of a connection. Every dropped frame is counted under its cause."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import FrameCause

__all__ = ["ConnectionStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStats:
    """What a `RelayConnection` has done since it was made. Sizes are bytes of whole frames."""

    frames_sent: int = 0
    frames_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    segments_sent: int = 0
    segments_retransmitted: int = 0
    messages_received: int = 0
    links_opened: int = 0
    streams_opened: int = 0
    streams_ended: int = 0
    streams_live: int = 0
    streams_ended_remembered: int = 0
    resumes: int = 0
    resets_suppressed: int = 0
    bytes_held: int = 0
    dropped: Mapping[FrameCause, int] = field(default_factory=dict)
    """Frames, or parts of frames, that were not taken, by cause."""

    @property
    def duplicates_dropped(self) -> int:
        """Segments that came a second time and were not delivered again."""
        return self.dropped.get(FrameCause.DUPLICATE, 0)


class Counters:
    """The running numbers behind `ConnectionStats`."""

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "dropped",
        "frames_received",
        "frames_sent",
        "links_opened",
        "messages_received",
        "resets_suppressed",
        "resumes",
        "segments_retransmitted",
        "segments_sent",
        "streams_ended",
        "streams_opened",
    )

    def __init__(self) -> None:
        self.frames_sent = 0
        self.frames_received = 0
        self.bytes_sent = 0
        self.bytes_received = 0
        self.segments_sent = 0
        self.segments_retransmitted = 0
        self.messages_received = 0
        self.links_opened = 0
        self.streams_opened = 0
        self.streams_ended = 0
        self.resumes = 0
        self.resets_suppressed = 0
        self.dropped: Counter[FrameCause] = Counter()

    def snapshot(self, *, live: int, remembered: int, held: int) -> ConnectionStats:
        numbers = {name: getattr(self, name) for name in self.__slots__ if name != "dropped"}
        return ConnectionStats(
            **numbers,
            dropped=dict(self.dropped),
            streams_live=live,
            streams_ended_remembered=remembered,
            bytes_held=held,
        )
