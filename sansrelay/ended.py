"""Streams that are over, and what is still owed for them.

An ended id is remembered for a while and never revived. Its reset may have to wait for a link, or
may get lost; whatever the peer still sends for it is answered with that reset again, at a limited
rate. A reset is never answered.
"""

from .config import RelayConfig
from .frames import ResetFrame
from .timers import NEVER

__all__ = ["EndedStreams", "ResetLimiter"]


class ResetLimiter:
    """A token bucket for resets that answer frames: `resets_per_second` as rate and as burst."""

    __slots__ = ("_at", "_rate", "_tokens")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = max(1.0, rate)
        self._at = -NEVER

    def allow(self, now: float) -> bool:
        """Take one token, if there is one."""
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class EndedStreams:
    """A table bounded in size and age, oldest out first, and the line of resets to be sent."""

    __slots__ = ("_config", "_expiry", "_owed", "_resets", "_sent", "_unstamped")

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._resets: dict[str, ResetFrame] = {}  # in the order of their ending
        self._expiry: dict[str, float] = {}
        self._unstamped: list[str] = []
        self._owed: dict[str, ResetFrame] = {}
        self._sent: dict[str, ResetFrame] = {}  # on this link, with which they may be lost

    def __len__(self) -> int:
        return len(self._resets)

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._resets

    def add(self, reset: ResetFrame, *, owed: bool) -> None:
        """Remember an ended stream by the reset that ends it."""
        limit = self._config.max_ended_streams
        if len(self._resets) >= limit:
            oldest = next(iter(self._resets))
            unsent = self._owed.get(oldest)
            self._forget(oldest)
            if unsent is not None and len(self._owed) < limit:
                self._owed[oldest] = unsent  # a basic peer would never ask what became of it
        self._resets[reset.stream_id] = reset
        self._unstamped.append(reset.stream_id)
        if owed:
            self._owed[reset.stream_id] = reset

    def owe(self, stream_id: str) -> None:
        """Something came for an ended stream: its reset is due again."""
        self._owed[stream_id] = self._resets[stream_id]

    def owe_unknown(self, reset: ResetFrame) -> None:
        """Something came for a stream that never was: a reset is due, nothing is remembered."""
        if len(self._owed) < self._config.max_ended_streams:
            self._owed[reset.stream_id] = reset

    def settle(self, stream_id: str) -> None:
        """The peer has reset it as well: nothing is owed."""
        self._owed.pop(stream_id, None)
        self._sent.pop(stream_id, None)

    def next_reset(self) -> ResetFrame | None:
        """The next reset that is owed, taken out of the line."""
        if not self._owed:
            return None
        reset = self._owed.pop(next(iter(self._owed)))
        if reset.stream_id in self._resets:
            self._sent[reset.stream_id] = reset
        return reset

    def link_closed(self) -> None:
        """Nobody says whether a reset arrived: those sent on that link are due on the next."""
        self._owed.update(self._sent)
        self._sent.clear()

    def advance(self, now: float) -> None:
        """Forget what is old. The age counts from the first call after the ending."""
        for stream_id in self._unstamped:
            if stream_id in self._resets:
                self._expiry[stream_id] = now + self._config.ended_ttl
        self._unstamped.clear()
        while self._expiry:
            oldest = next(iter(self._expiry))
            if self._expiry[oldest] > now:
                break
            self._forget(oldest)

    def _forget(self, stream_id: str) -> None:
        del self._resets[stream_id]
        self._expiry.pop(stream_id, None)
        self._owed.pop(stream_id, None)
        self._sent.pop(stream_id, None)
