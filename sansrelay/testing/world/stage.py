"""What everything in one world shares: the time, the agenda, the dice, the trace."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

from .._clock import FakeClock
from .dice import Dice

__all__ = ["Stage"]

_STEPS_AT_ONE_TIME = 20_000
"""More actions than that without time passing: the world is going round in circles."""


class Stage:
    """One clock and what is to happen when. Actions due at one time run in the order they came."""

    __slots__ = (
        "_agenda",
        "_at_once",
        "_serial",
        "clock",
        "dice",
        "faults",
        "now",
        "steps",
        "trace",
    )

    def __init__(self, dice: Dice, *, trace: bool) -> None:
        self.dice = dice
        self.clock = FakeClock()
        self.now = 0.0
        """The clock's time."""
        self.steps = 0
        """Actions run so far."""
        self.faults: Counter[str] = Counter()
        """Faults injected so far, by name."""
        self.trace: list[str] | None = [] if trace else None
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._serial = 0
        self._at_once = 0

    def at(self, when: float, action: Callable[..., None], *args: object) -> None:
        """Put an action on the agenda; a time in the past means now."""
        self._serial += 1
        heappush(self._agenda, (max(when, self.now), self._serial, action, args))

    def after(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        """Put an action on the agenda, so many seconds from now."""
        self.at(self.now + seconds, action, *args)

    def step(self, limit: float) -> bool:
        """Run the next action. False if none is due until `limit`; the time is `limit` then."""
        agenda = self._agenda
        if not agenda or agenda[0][0] > limit:
            self._move_to(limit)
            return False
        when, _, action, args = heappop(agenda)
        self._move_to(when)
        self.steps += 1
        self._at_once += 1
        if self._at_once > _STEPS_AT_ONE_TIME:
            raise RuntimeError(f"{self._at_once} actions at {self.now}: the world does not move on")
        action(*args)
        return True

    def _move_to(self, when: float) -> None:
        if when > self.now:
            self._at_once = 0
            self.now = when
            self.clock.advance_to(when)

    def note(self, who: str, what: str) -> None:
        """Write a line into the trace. Ask `trace is not None` first where the text is costly."""
        if self.trace is not None:
            self.trace.append(f"{self.now:12.6f}  {who:<12} {what}")

    def fault(self, name: str, count: int = 1) -> None:
        """Count a fault."""
        self.faults[name] += count
