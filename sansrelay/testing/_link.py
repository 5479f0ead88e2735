"""A link between two ends, with its faults."""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from ..timers import NEVER

__all__ = ["LinkConditions", "SimulatedLink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConditions:
    """How one direction of a link treats frames. Chances are from 0 to 1, times in seconds."""

    delay: float = 0.01
    """Seconds that each frame takes."""
    loss: float = 0.0
    """Chance that a frame vanishes."""
    duplication: float = 0.0
    """Chance that a frame arrives twice, the second time after up to `scatter` more seconds."""
    reordering: float = 0.0
    """Chance that a frame takes up to `scatter` seconds longer than the others."""
    corruption: float = 0.0
    """Chance that a frame arrives damaged, so that it is no valid frame any more. (The wire has no
    checksum: damage that leaves a valid frame is for TCP and TLS to find.)"""
    scatter: float = 0.05
    """Seconds; see `duplication` and `reordering`."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplication", "reordering", "corruption"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} must be a chance from 0 to 1, not {getattr(self, name)!r}"
                )
        for name in ("delay", "scatter"):
            if not 0 <= getattr(self, name) < NEVER:
                raise ValueError(
                    f"{name} must be a number of seconds from 0 up, not {getattr(self, name)!r}"
                )


_PERFECT = LinkConditions()


def _no_chance() -> float:
    raise ValueError("a link with faults needs chance=random.Random(seed).random")


class SimulatedLink:
    """Two directions, 0 and 1, named by the end that sends into them.

    Frames arrive in order unless `reordering` or `duplication` says otherwise. `chance` gives
    random numbers from 0 to 1, such as `random.Random(seed).random`; it is needed only where one of
    the conditions is a chance above 0, and `send` raises `ValueError` if it is missing then.
    """

    def __init__(
        self,
        conditions: LinkConditions = _PERFECT,
        back: LinkConditions | None = None,
        *,
        chance: Callable[[], float] = _no_chance,
    ) -> None:
        self.conditions = [conditions, conditions if back is None else back]
        self._chance = chance
        self._flight: tuple[list[tuple[float, int, bytes]], list[tuple[float, int, bytes]]] = (
            [],
            [],
        )
        self._serial = 0
        self._latest = [-NEVER, -NEVER]
        self.faults = 0
        """Faults injected so far."""

    def send(self, direction: int, frame: bytes, now: float) -> None:
        """Put one frame on the link."""
        state = self.conditions[direction]
        if self._strikes(state.loss):
            return
        if self._strikes(state.corruption):
            cut = int(self._chance() * len(frame))
            frame = frame[:cut] if cut else b"\x00" + frame[1:]
        arrival = now + state.delay
        if self._strikes(state.reordering):
            arrival += self._chance() * state.scatter
        else:
            arrival = max(arrival, self._latest[direction])
            self._latest[direction] = arrival
        self._put(direction, arrival, frame)
        if self._strikes(state.duplication):
            self._put(direction, arrival + self._chance() * state.scatter, frame)

    def arrivals(self, direction: int, now: float) -> list[bytes]:
        """The frames of that direction that have arrived by now, taken off the link."""
        flight = self._flight[direction]
        out = []
        while flight and flight[0][0] <= now:
            out.append(heappop(flight)[2])
        return out

    def next_arrival(self) -> float | None:
        """When the next frame arrives at either end, or None if nothing is under way."""
        times = [flight[0][0] for flight in self._flight if flight]
        return min(times) if times else None

    def cut(self) -> int:
        """Everything under way is lost. Returns how many frames that were."""
        lost = sum(len(flight) for flight in self._flight)
        for flight in self._flight:
            flight.clear()
        self._latest = [-NEVER, -NEVER]
        return lost

    def _strikes(self, chance: float) -> bool:
        if chance and self._chance() < chance:
            self.faults += 1
            return True
        return False

    def _put(self, direction: int, arrival: float, frame: bytes) -> None:
        self._serial += 1
        heappush(self._flight[direction], (arrival, self._serial, frame))
