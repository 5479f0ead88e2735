"""Round-trip time and retransmission time-out, after RFC 6298."""

from .config import RelayConfig

__all__ = ["RttEstimator"]

_ALPHA = 1 / 8
_BETA = 1 / 4
_GRANULARITY = 0.001
"""Seconds; the G of RFC 6298 section 2."""


class RttEstimator:
    """Smoothed round-trip time of one stream, and the RTO that follows from it. Seconds."""

    __slots__ = ("_base", "_config", "_doublings", "smoothed", "variation")

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self.smoothed: float | None = None
        self.variation = 0.0
        self._base = config.initial_rto
        self._doublings = 0

    def sample(self, rtt: float) -> None:
        """Take one measurement, of a segment that was sent once (Karn's rule, section 3)."""
        if self.smoothed is None:
            self.smoothed = rtt
            self.variation = rtt / 2
        else:
            self.variation += _BETA * (abs(self.smoothed - rtt) - self.variation)
            self.smoothed += _ALPHA * (rtt - self.smoothed)
        self._base = self.smoothed + max(_GRANULARITY, 4 * self.variation)
        self._doublings = 0

    def back_off(self) -> None:
        """The timer has fired: the next one waits twice as long (section 5.5)."""
        if self._base * 2**self._doublings < self._config.max_rto:
            self._doublings += 1

    def progress(self) -> None:
        """Something new was acknowledged: the back-off is over (section 5.7)."""
        self._doublings = 0

    @property
    def rto(self) -> float:
        """The time-out with its back-off, between `min_rto` and `max_rto`."""
        config = self._config
        floored = max(self._base, config.min_rto)
        if not self._doublings:
            return min(floored, config.max_rto)
        return float(min(floored * 2**self._doublings, config.max_rto))

    @property
    def certainly_arrived(self) -> float | None:
        """Seconds after which a segment or its report must have come, were nothing lost.

        The RTO without back-off; None before the first measurement. The floor keeps a peer that
        asks all the time from having a window sent again every round trip.
        """
        return None if self.smoothed is None else max(self._base, self._config.min_rto)
