"""A clock that moves when it is told to."""

__all__ = ["FakeClock"]


class FakeClock:
    """Seconds as a float. Call it for the time."""

    __slots__ = ("_now",)

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def __call__(self) -> float:
        return self._now

    @property
    def now(self) -> float:
        """The time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises `ValueError` for a negative number."""
        if not seconds >= 0:
            raise ValueError(f"time can't go back by {-seconds} seconds")
        self._now += seconds

    def advance_to(self, time: float) -> None:
        """Let time pass until `time`; a time in the past changes nothing."""
        self._now = max(self._now, time)
