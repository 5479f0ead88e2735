"""Who was heard when, and for how long one may wait.

The peer is waited for while something is outstanding: unacknowledged segments, a question, a
heartbeat. Any answer counts. An ack that stands still because a reader is slow is an answer.
"""

from .config import RelayConfig
from .timers import NEVER, TimerKind

__all__ = ["Liveness"]


class Liveness:
    """The waiting of one stream."""

    __slots__ = (
        "_config",
        "_heard_at",
        "_linked_at",
        "_waiting_since",
        "heartbeat_owed",
        "heartbeat_unanswered",
        "sent_at",
        "silence_said",
    )

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._heard_at = -NEVER
        self._linked_at = -NEVER
        self._waiting_since = NEVER
        self.sent_at = NEVER
        """When a frame that the peer can hear was last sent."""
        self.heartbeat_owed = False
        self.heartbeat_unanswered = False
        self.silence_said = False
        """The owner knows that the peer is silent."""

    def wait(self, now: float) -> None:
        """Something is outstanding from now on, if not before."""
        if self._waiting_since == NEVER:
            self._waiting_since = now

    def rest(self) -> None:
        """Nothing is outstanding."""
        self._waiting_since = NEVER

    def heard(self, now: float) -> bool:
        """The peer gave a sign of life; whether that answers a heartbeat."""
        self._heard_at = now
        self.silence_said = False
        answered = self.heartbeat_unanswered
        self.heartbeat_unanswered = False
        return answered

    def link_closed(self, now: float) -> None:
        """The next link begins with a question: that is outstanding from now on."""
        self.heartbeat_owed = self.heartbeat_unanswered = False
        self.wait(now)

    def link_opened(self, now: float) -> None:
        """Only from now on can the peer be silent: before, it could not be heard."""
        self._linked_at = now
        self.silence_said = False

    def silence(self, now: float) -> float:
        """Say that the peer is silent; for how many seconds it has been."""
        self.silence_said = True
        return now - max(self._since(), self._linked_at)

    def _since(self) -> float:
        return max(self._waiting_since, self._heard_at)

    def deadline(self, *, link_up: bool) -> tuple[float, TimerKind]:
        """When the peer counts as silent, or is given up."""
        if self._waiting_since == NEVER:
            return NEVER, TimerKind.RESUME_TIMEOUT
        since = self._since()
        config = self._config
        end = since + config.resume_timeout
        silent = max(since, self._linked_at) + config.silence_timeout
        if link_up and not self.silence_said and silent < end:
            return silent, TimerKind.SILENCE
        return end, TimerKind.RESUME_TIMEOUT

    def next_heartbeat(self) -> float:
        """When a heartbeat is due because nothing else was sent."""
        return NEVER if self.heartbeat_owed else self.sent_at + self._config.heartbeat_interval
