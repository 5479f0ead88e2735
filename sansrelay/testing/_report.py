"""What random schedules came to: counts by kind of fault, and the promises that were broken."""

from dataclasses import dataclass, field

from .world import Promise, ScheduleKind

__all__ = ["FaultCount", "Report", "Violation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A schedule in which a promise was broken."""

    kind: ScheduleKind
    seed: int
    promise: Promise | None
    """Which; None if something was raised that is not about a promise."""
    what: str
    trace: list[str]
    """The last lines of the trace."""

    @property
    def name(self) -> str:
        """What `--replay` takes."""
        return f"{self.kind.value}:{self.seed}"

    @property
    def command(self) -> str:
        """What replays it."""
        return f"python -m sansrelay.testing.soak --replay {self.name}"


@dataclass(slots=True, kw_only=True)
class FaultCount:
    """How often one kind of fault was injected, and what came of it."""

    injected: int = 0
    worlds: int = 0
    """Worlds in which it was."""
    pairs: int = 0
    """Pairs in which it was."""
    broken: int = 0
    """Schedules among these that broke a promise."""

    def add(self, other: "FaultCount") -> None:
        """Take in other counts."""
        self.injected += other.injected
        self.worlds += other.worlds
        self.pairs += other.pairs
        self.broken += other.broken


@dataclass(slots=True, kw_only=True)
class Report:
    """What a number of schedules came to."""

    worlds: int = 0
    pairs: int = 0
    simulated: float = 0.0
    """Seconds of simulated time."""
    frames: int = 0
    by_fault: dict[str, FaultCount] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    interrupted: bool = False
    """Whether ^C ended it before all schedules had run."""

    @property
    def faults(self) -> int:
        """Faults injected, of all kinds."""
        return sum(count.injected for count in self.by_fault.values())

    def add(self, other: "Report") -> None:
        """Take in what other schedules came to."""
        self.worlds += other.worlds
        self.pairs += other.pairs
        self.simulated += other.simulated
        self.frames += other.frames
        for name, count in other.by_fault.items():
            self.by_fault.setdefault(name, FaultCount()).add(count)
        self.violations += other.violations

    def summary(self, seconds: float) -> str:
        """One line about it all; `seconds` is how long it took."""
        schedules = self.worlds + self.pairs
        return (
            f"soak{' interrupted' if self.interrupted else ''}: "
            f"{self.worlds} worlds, {self.pairs} pairs, {len(self.violations)} violations, "
            f"{self.faults} faults, {self.frames} frames, "
            f"{self.simulated / 3600:.1f} simulated hours, "
            f"{60 * schedules / max(seconds, 1e-9):.0f} schedules per minute"
        )

    def table(self) -> list[str]:
        """The faults by kind, one line each, the most frequent first."""
        rows = self._most_frequent_first()
        width = max((len(name) for name, _ in rows), default=0) + 2
        lines = [f"{'fault':<{width}}{'injected':>9}{'worlds':>9}{'pairs':>9}{'broken':>9}"]
        lines += [
            f"{name:<{width}}{count.injected:>9}{count.worlds:>9}{count.pairs:>9}{count.broken:>9}"
            for name, count in rows
        ]
        return lines

    def as_json(self, *, first: int, seconds: float) -> dict[str, object]:
        """The same for machines. `first` is the first seed, `seconds` how long it took."""
        broken = [violation.promise for violation in self.violations]
        return {
            "first_seed": first,
            "worlds": self.worlds,
            "pairs": self.pairs,
            "interrupted": self.interrupted,
            "seconds": round(seconds, 3),
            "simulated_seconds": round(self.simulated, 3),
            "frames": self.frames,
            "faults": {
                name: {
                    "injected": count.injected,
                    "worlds": count.worlds,
                    "pairs": count.pairs,
                    "broken": count.broken,
                }
                for name, count in self._most_frequent_first()
            },
            "promises": {
                promise.name: {"promised": promise.value, "broken": broken.count(promise)}
                for promise in Promise
            },
            "violations": [
                {
                    "schedule": violation.name,
                    "promise": violation.promise and violation.promise.name,
                    "what": violation.what,
                    "replay": violation.command,
                }
                for violation in self.violations
            ],
        }

    def _most_frequent_first(self) -> list[tuple[str, FaultCount]]:
        return sorted(self.by_fault.items(), key=lambda item: (-item[1].injected, item[0]))
