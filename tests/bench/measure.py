"""What a row of the benchmark is, and how rows are measured.

A *contestant* gives one sample per round: what a message costs, how many bytes a stream takes. A
*row* sets a contestant beside a rival and names the floor for the ratio. Rounds are interleaved
(A B C, A B C) and ratios are taken within a round, so that a slow minute of the machine hits both
sides. Times are CPU time of the process, and no time is ever compared with that of another run.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent.parent


_SMOKE = 0.1


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a sample is to do: `scale` 1.0 is the full size, `seed` the number of the round."""

    scale: float
    seed: int

    def of(self, full: int, least: int = 1) -> int:
        """A count, cut down to the scale."""
        return max(least, round(full * self.scale))

    def named(self, full: int, least: int = 1) -> int:
        """A count that a row speaks of: only a smoke test cuts it down."""
        return full if self.scale >= _SMOKE else self.of(full, least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to measure. `needs` are the packages without which it is skipped."""

    name: str
    sample: Callable[[Effort], float]
    setup: str = ""
    """How it was set up, for the reader of the table."""
    needs: tuple[str, ...] = ()
    exact: bool = False
    """Simulated time, or bytes: not a time of this machine."""
    most_rounds: int | None = None
    """Rounds after which it is left out, for what takes long. Not for a contestant of a ratio."""

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    With a rival the figure is (what the rival takes) / (what the subject takes): how many times as
    good the subject is. Without one it is the subject's sample itself.
    """

    name: str
    says: str
    subject: Contestant
    rival: Contestant | None = None
    unit: str = "x"
    at_least: float | None = None
    at_most: float | None = None

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return (self.subject,) if self.rival is None else (self.subject, self.rival)

    @property
    def comparable(self) -> bool:
        """Whether the figure means the same in another run: a ratio, or exact."""
        return self.rival is not None or self.subject.exact

    @property
    def floor(self) -> str:
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"

    def verdict(self, figure: float) -> str:
        """What the floor says of a figure; empty for a row that is there for orientation."""
        if self.at_least is not None:
            return "met" if figure >= self.at_least else "MISSED"
        if self.at_most is not None:
            return "met" if figure <= self.at_most else "MISSED"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out for one row: a figure per round, or the reason why there is none."""

    row: Row
    figures: tuple[float, ...] = ()
    skipped: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.figures)

    @property
    def verdict(self) -> str:
        return f"SKIPPED: {self.skipped}" if self.skipped else self.row.verdict(self.median)


Take = Callable[[Contestant, Effort], float]


def take_here(contestant: Contestant, effort: Effort) -> float:
    """One sample in this process."""
    return contestant.sample(effort)


def take_alone(contestant: Contestant, effort: Effort) -> float:
    """One sample in a process of its own.

    What ran before leaves the allocator in another state, and that alone moves bulk rates by a
    factor of two.
    """
    command = [sys.executable, "-m", "bench", "--sample", contestant.name]
    command += ["--scale", str(effort.scale), "--seed", str(effort.seed)]
    environment = os.environ | {
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return float(json.loads(done.stdout))


def run(
    rows: Sequence[Row],
    *,
    rounds: int,
    scale: float,
    take: Take = take_alone,
    say: Callable[[str], object] = lambda _: None,
) -> list[Result]:
    """Measure all contestants of the rows in interleaved rounds; `say` gets a line for each."""
    lacking = {
        contestant.name: f"{', '.join(missing)} is not installed"
        for row in rows
        for contestant in row.contestants
        if (missing := contestant.missing())
    }
    # By name: what several rows speak of is measured once in each round.
    contestants = {
        contestant.name: contestant
        for row in rows
        for contestant in row.contestants
        if contestant.name not in lacking
    }
    samples: dict[str, list[float]] = {name: [] for name in contestants}
    for seed in range(rounds):
        for name, contestant in contestants.items():
            if contestant.most_rounds is not None and seed >= contestant.most_rounds:
                continue
            samples[name].append(take(contestant, Effort(scale, seed)))
            say(f"round {seed + 1} of {rounds}: {name}: {samples[name][-1]:.4g}")
    results = []
    for row in rows:
        absent = [lacking[c.name] for c in row.contestants if c.name in lacking]
        if absent:
            results.append(Result(row=row, skipped="; ".join(absent)))
            continue
        figures = samples[row.subject.name]
        if row.rival is not None:
            rival = samples[row.rival.name]
            figures = [theirs / ours for ours, theirs in zip(figures, rival, strict=True)]
        results.append(Result(row=row, figures=tuple(figures)))
    return results
