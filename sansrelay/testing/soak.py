"""Runs random schedules by the thousand: `python -m sansrelay.testing.soak --seeds 1000`.

A tool, not a part of the core: it draws luck from `random`, looks at the clock and uses all cores.
What is simulated, and what is promised about it, is told in `sansrelay.testing.world` and
`docs/simulation.md`. A violation is printed with the one command that replays it, and makes the
exit code 1; so does bad usage, with 2. The last line on stdout is a summary.
"""

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from .world.schedules import Schedule, ScheduleKind

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["Report", "Violation", "main", "replay", "run_schedule", "soak"]

_CHUNKS = {ScheduleKind.PAIR: 40, ScheduleKind.WORLD: 10}
"""Schedules that a process runs before it reports."""
_TAIL = 25
"""Lines of the trace that are printed with a violation."""
_SHOWN = 5
"""Violations that are printed with their trace; of the others one line is."""

Progress = Callable[[int], None]
"""Called with the number of schedules that have been run since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A schedule in which a promise was broken."""

    kind: ScheduleKind
    seed: int
    what: str
    trace: list[str]
    """The last lines of the trace."""

    @property
    def command(self) -> str:
        """What replays it."""
        return f"python -m sansrelay.testing.soak --replay {self.kind.value}:{self.seed}"


@dataclass(slots=True, kw_only=True)
class Report:
    """What a number of schedules came to."""

    worlds: int = 0
    pairs: int = 0
    simulated: float = 0.0
    """Seconds of simulated time."""
    faults: int = 0
    frames: int = 0
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Report") -> None:
        """Take in what another process came to."""
        self.worlds += other.worlds
        self.pairs += other.pairs
        self.simulated += other.simulated
        self.faults += other.faults
        self.frames += other.frames
        self.violations += other.violations

    def summary(self, seconds: float) -> str:
        """One line about it all; `seconds` is how long it took."""
        schedules = self.worlds + self.pairs
        return (
            f"soak: {self.worlds} worlds, {self.pairs} pairs, {len(self.violations)} violations, "
            f"{self.faults} faults, {self.frames} frames, "
            f"{self.simulated / 3600:.1f} simulated hours, "
            f"{60 * schedules / max(seconds, 1e-9):.0f} schedules per minute"
        )


def make_schedule(kind: ScheduleKind, seed: int, *, trace: bool = False) -> Schedule:
    """The schedule of a seed. A string seeds `random` the same in every process."""
    return Schedule(kind, random.Random(f"{kind.value}:{seed}"), trace=trace)


def run_schedule(kind: ScheduleKind, seed: int) -> Report:
    """Run one schedule."""
    schedule = make_schedule(kind, seed)
    report = Report()
    try:
        schedule.run()
    except Exception as error:  # whatever is raised is a finding
        report.violations.append(_explain(kind, seed, error))
    if kind is ScheduleKind.WORLD:
        report.worlds = 1
    else:
        report.pairs = 1
    world = schedule.world
    report.simulated = world.now
    report.faults = world.faults
    report.frames = world.frames
    return report


def _explain(kind: ScheduleKind, seed: int, error: Exception) -> Violation:
    schedule = make_schedule(kind, seed, trace=True)
    try:
        schedule.run()
        what = f"only without a trace: {error!r}"
    except Exception as again:
        what = f"{type(again).__name__}: {again}"
    return Violation(kind=kind, seed=seed, what=what, trace=schedule.world.trace_lines()[-_TAIL:])


def _run_chunk(kind: ScheduleKind, first: int, count: int) -> Report:
    report = Report()
    for seed in range(first, first + count):
        report.add(run_schedule(kind, seed))
    return report


def _chunks(worlds: int, pairs: int, first: int) -> Iterator[tuple[ScheduleKind, int, int]]:
    """Both kinds side by side, so that a time limit stops both."""
    left = {ScheduleKind.WORLD: worlds, ScheduleKind.PAIR: pairs}
    done = dict.fromkeys(left, 0)
    while any(left.values()):
        for kind, size in _CHUNKS.items():
            count = min(size, left[kind])
            if count:
                yield kind, first + done[kind], count
                left[kind] -= count
                done[kind] += count


def soak(
    *,
    worlds: int,
    pairs: int,
    first: int = 0,
    jobs: int | None = None,
    seconds: float | None = None,
    progress: Progress = lambda count: None,
) -> Report:
    """Run so many schedules of each kind, with the seeds from `first` on.

    `jobs` is the number of processes, one for each core if not given; with 1 everything runs in
    this process. After `seconds` no more schedules are begun.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    chunks = _chunks(worlds, pairs, first)
    jobs = jobs or len(os.sched_getaffinity(0))
    report = Report()

    def in_time() -> bool:
        return deadline is None or time.monotonic() < deadline

    def take(part: Report) -> None:
        report.add(part)
        progress(part.worlds + part.pairs)

    if jobs == 1:
        for chunk in chunks:
            if not in_time():
                break
            take(_run_chunk(*chunk))
        return report
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running: set[Future[Report]] = set()
        while True:
            while len(running) < 2 * jobs and in_time():
                following = next(chunks, None)
                if following is None:
                    break
                running.add(pool.submit(_run_chunk, *following))
            if not running:
                return report
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                take(future.result())


def replay(kind: ScheduleKind, seed: int) -> bool:
    """Run one schedule again and print all of its trace; says whether it kept the promises."""
    schedule = make_schedule(kind, seed, trace=True)
    error: Exception | None = None
    try:
        schedule.run()
    except Exception as raised:
        error = raised
    for line in schedule.world.trace_lines():
        _say(line)
    if error is None:
        _say(f"{kind.value}:{seed} keeps all promises")
    else:
        _say(f"{kind.value}:{seed} breaks a promise: {type(error).__name__}: {error}")
    return error is None


# -- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sansrelay.testing.soak",
        description="Run random schedules of simulated relays and check what is promised.",
    )
    parser.add_argument(
        "--seeds", type=_count, metavar="N", help="schedules of each kind (default: 1000)"
    )
    parser.add_argument("--worlds", type=_count, metavar="N", help="whole worlds, if not --seeds")
    parser.add_argument("--pairs", type=_count, metavar="N", help="pairs, if not --seeds")
    parser.add_argument(
        "--from", type=_count, default=0, dest="first", metavar="S", help="the first seed"
    )
    parser.add_argument("--jobs", type=_count, metavar="N", help="processes (default: all cores)")
    parser.add_argument(
        "--seconds", type=float, metavar="T", help="begin no more schedules after this time"
    )
    parser.add_argument(
        "--replay", type=_schedule, metavar="KIND:SEED", help="run one schedule, with its trace"
    )
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return 0 if replay(*options.replay) else 1
    seeds = 1000 if options.seeds is None else options.seeds
    worlds = seeds if options.worlds is None else options.worlds
    pairs = seeds if options.pairs is None else options.pairs
    begun = time.monotonic()
    with _Bar(worlds + pairs) as bar:
        report = soak(
            worlds=worlds,
            pairs=pairs,
            first=options.first,
            jobs=options.jobs,
            seconds=options.seconds,
            progress=bar.advance,
        )
    for number, violation in enumerate(report.violations):
        if number < _SHOWN:
            for line in violation.trace:
                _say(line)
        _say(f"{violation.kind.value}:{violation.seed}: {violation.what}")
        _say(f"    replay: {violation.command}")
    _say(report.summary(time.monotonic() - begun))
    return 1 if report.violations else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def _schedule(text: str) -> tuple[ScheduleKind, int]:
    kind, _, seed = text.partition(":")
    try:
        return ScheduleKind(kind), int(seed)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a kind and a seed, such as world:17 or pair:4"
        ) from None


class _Bar:
    """A progress bar on stderr, if that is a terminal: rich's, or a line of our own."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._is_terminal:
            try:
                from rich.console import Console
                from rich.progress import Progress
            except ImportError:  # without the extra `apps`
                return self
            self._progress = Progress(console=Console(stderr=True))
            self._progress.start()
            self._task = self._progress.add_task("schedules", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
        elif self._is_terminal:
            sys.stderr.write("\n")

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        if self._progress is not None:
            assert self._task is not None
            self._progress.advance(self._task, count)
        elif self._is_terminal:
            sys.stderr.write(f"\r{self._done} of {self._total}")
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
