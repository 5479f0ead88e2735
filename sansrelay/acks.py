"""When to acknowledge.

Acks ride on every frame, so most need no frame of their own. One goes out at once where the peer
waits for it: on a gap, on a duplicate (its ack was lost), after so many segments or bytes, and when
asked by a heartbeat. Otherwise it waits `ack_delay` for data to ride on.
"""

from .config import RelayConfig
from .timers import NEVER

__all__ = ["AckPolicy"]


class AckPolicy:
    """What one stream has not yet told its peer."""

    __slots__ = ("_bytes", "_config", "_duplicate_at", "_segments", "deadline", "due", "missed")

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._segments = 0
        self._bytes = 0
        self._duplicate_at = -NEVER
        self.due = False
        self.deadline = NEVER
        self.missed = False
        """An ack fell due while none could be sent."""

    @property
    def undelayed(self) -> bool:
        """Something is unreported, and neither due nor waiting for its delay."""
        return bool(self._segments) and self.deadline == NEVER and not self.due

    def progress(self, segments: int, size: int) -> bool:
        """The cumulative ack has moved; whether that is enough for an ack at once."""
        self._segments += segments
        self._bytes += size
        config = self._config
        return self._segments >= config.ack_after_segments or self._bytes >= config.ack_after_bytes

    def duplicate(self, now: float) -> bool:
        """A segment came twice; whether an ack may go out at once for it."""
        if now - self._duplicate_at < self._config.duplicate_ack_interval:
            return False
        self._duplicate_at = now
        return True

    def delay(self, now: float) -> bool:
        """An ack is wanted, but can wait; whether its delay begins now."""
        if self.due or self.deadline != NEVER:
            return False
        self.deadline = now + self._config.ack_delay
        return True

    def reported(self) -> None:
        """Everything was said."""
        self.due = self.missed = False
        self.deadline = NEVER
        self._segments = self._bytes = 0

    def link_closed(self) -> None:
        """What was due will be said by the resume on the next link."""
        self.due = self.missed = False
        self.deadline = NEVER
