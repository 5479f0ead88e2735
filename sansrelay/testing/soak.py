"""Runs random schedules by the thousand: `python -m sansrelay.testing.soak --seeds 1000`.

A tool, not a part of the core: it draws luck from `random`, looks at the clock and uses all cores.
What is simulated, and what is promised about it, is told in `docs/simulation.md`. A violation is
printed with the one command that replays it.

Exit statuses: 0 if all promises were kept, 1 if one was broken, 2 for bad usage, 130 if it was
interrupted before one was. The last line on stdout is a summary. With `--json -` stdout holds one
line of JSON and nothing else, and the text goes to stderr.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self, TextIO

from ._report import FaultCount, Report, Violation
from .world import PromiseBroken, Schedule, ScheduleKind, World

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["FaultCount", "Report", "Violation", "main", "replay", "run_schedule", "soak"]

_CHUNKS = {ScheduleKind.PAIR: 40, ScheduleKind.WORLD: 10}
"""Schedules that a process runs before it reports."""
_TAIL = 25
"""Lines of the trace that are printed with a violation."""
_SHOWN = 5
"""Violations that are printed with their trace; of the others one line is."""
_INTERRUPTED = 128 + signal.SIGINT
"""The exit status after ^C."""


Progress = Callable[[Report], None]
"""Called with what has been run since the last call."""


# -- one schedule


def make_schedule(kind: ScheduleKind, seed: int, *, trace: bool = False) -> Schedule:
    """The schedule of a seed. A string seeds `random` the same in every process."""
    return Schedule(kind, random.Random(f"{kind.value}:{seed}"), trace=trace)


def _attempt(
    kind: ScheduleKind, seed: int, *, trace: bool = False
) -> tuple[World | None, Exception | None]:
    """Run one schedule; its world, if it came so far, and what it raised."""
    world = None
    try:
        schedule = make_schedule(kind, seed, trace=trace)
        world = schedule.world
        schedule.run()
    except Exception as error:  # whatever is raised is a finding
        return world, error
    return world, None


def run_schedule(kind: ScheduleKind, seed: int) -> Report:
    """Run one schedule."""
    world, error = _attempt(kind, seed)
    is_world = kind is ScheduleKind.WORLD
    report = Report(worlds=int(is_world), pairs=int(not is_world))
    if error is not None:
        report.violations.append(_explain(kind, seed))
    if world is not None:
        report.simulated = world.now
        report.frames = world.frames
        report.by_fault = {
            name: FaultCount(
                injected=injected,
                worlds=int(is_world),
                pairs=int(not is_world),
                broken=int(error is not None),
            )
            for name, injected in world.stage.faults.items()
        }
    return report


def _explain(kind: ScheduleKind, seed: int) -> Violation:
    """Run a schedule that failed once more, with its trace."""
    world, error = _attempt(kind, seed, trace=True)
    return Violation(
        kind=kind,
        seed=seed,
        promise=error.promise if isinstance(error, PromiseBroken) else None,
        what="not with a trace: the schedule is not deterministic"
        if error is None
        else _say(error),
        trace=[] if world is None else world.trace_lines()[-_TAIL:],
    )


def _say(error: Exception) -> str:
    return str(error) if isinstance(error, PromiseBroken) else f"{type(error).__name__}: {error}"


def replay(kind: ScheduleKind, seed: int) -> bool:
    """Run one schedule again and print all of its trace; says whether it kept the promises."""
    world, error = _attempt(kind, seed, trace=True)
    _print([] if world is None else world.trace_lines())
    if error is None:
        _print([f"{kind.value}:{seed} keeps all promises"])
        return True
    if not isinstance(error, PromiseBroken):
        _print("".join(traceback.format_exception(error)).splitlines())
    _print([f"{kind.value}:{seed} breaks a promise: {_say(error)}"])
    return False


# -- many schedules


def soak(
    *,
    worlds: int,
    pairs: int,
    first: int = 0,
    jobs: int | None = None,
    seconds: float | None = None,
    progress: Progress = lambda part: None,
) -> Report:
    """Run so many schedules of each kind, with the seeds from `first` on.

    `jobs` is the number of processes, one for each core if not given; with 1 everything runs in
    this process. After `seconds` no more schedules are begun. ^C ends it early: the report tells of
    what was run until then, and has `interrupted` set.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    chunks = _chunks(worlds, pairs, first)
    report = Report()

    def take(part: Report) -> None:
        report.add(part)
        progress(part)

    try:
        if jobs == 1:
            _run_here(chunks, deadline, take)
        else:
            _run_on_cores(chunks, deadline, take, jobs or len(os.sched_getaffinity(0)))
    except KeyboardInterrupt:
        report.interrupted = True
    report.violations.sort(key=lambda violation: (violation.kind.value, violation.seed))
    return report


_Chunk = tuple[ScheduleKind, int, int]


def _chunks(worlds: int, pairs: int, first: int) -> Iterator[_Chunk]:
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


def _run_here(chunks: Iterator[_Chunk], deadline: float, take: Progress) -> None:
    for kind, first, count in chunks:
        for seed in range(first, first + count):
            if time.monotonic() >= deadline:
                return
            take(run_schedule(kind, seed))


def _run_on_cores(chunks: Iterator[_Chunk], deadline: float, take: Progress, jobs: int) -> None:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    running: set[Future[Report]] = set()
    with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(stop,)) as pool:

        def refill() -> None:
            while len(running) < 2 * jobs and time.monotonic() < deadline:
                chunk = next(chunks, None)
                if chunk is None:
                    return
                running.add(pool.submit(_run_chunk, *chunk, deadline))

        try:
            # The first call starts the processes. They inherit the mask, so that a ^C, which a
            # terminal sends to all of them, is for this one to handle.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            refill()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    running.remove(future)
                    take(future.result())
                refill()
        except KeyboardInterrupt:
            stop.set()
            for future in running:
                if not future.cancel():
                    take(future.result())
            raise


_stop: "Event"
"""In the processes that run schedules: set when no more are to be begun."""


def _begin(stop: "Event") -> None:
    global _stop
    _stop = stop


def _run_chunk(kind: ScheduleKind, first: int, count: int, deadline: float) -> Report:
    report = Report()
    for seed in range(first, first + count):
        if _stop.is_set() or time.monotonic() >= deadline:
            break
        report.add(run_schedule(kind, seed))
    return report


# -- the command line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return 0 if replay(*options.replay) else 1
    worlds = options.seeds if options.worlds is None else options.worlds
    pairs = options.seeds if options.pairs is None else options.pairs
    if not worlds + pairs:
        parser.error("nothing to run: ask for at least one world or pair")
    with ExitStack() as stack:
        machines: TextIO | None = None
        if options.json == "-":
            machines = sys.stdout
        elif options.json is not None:
            try:  # before the run, which may be long
                machines = stack.enter_context(open(options.json, "w", encoding="utf-8"))
            except OSError as error:
                parser.error(f"argument --json: {options.json}: {error.strerror}")
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
        seconds = time.monotonic() - begun
        _print(
            [*_findings(report), *report.table(), report.summary(seconds)],
            sys.stderr if machines is sys.stdout else sys.stdout,
        )
        if machines is not None:
            json.dump(report.as_json(first=options.first, seconds=seconds), machines)
            machines.write("\n")
    if report.violations:
        return 1
    return _INTERRUPTED if report.interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sansrelay.testing.soak",
        description="Run random schedules of simulated relays and check what is promised.",
        epilog="Exit status: 0 all promises kept, 1 one broken, 2 bad usage, 130 interrupted.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--seeds",
        type=_count,
        default=1000,
        metavar="N",
        help="schedules of each kind (default: 1000)",
    )
    what.add_argument(
        "--replay", type=_schedule, metavar="KIND:SEED", help="run one schedule, with its trace"
    )
    parser.add_argument("--worlds", type=_count, metavar="N", help="whole worlds, if not --seeds")
    parser.add_argument("--pairs", type=_count, metavar="N", help="pairs, if not --seeds")
    parser.add_argument(
        "--from", type=_count, default=0, dest="first", metavar="S", help="the first seed"
    )
    parser.add_argument("--jobs", type=_jobs, metavar="N", help="processes (default: all cores)")
    parser.add_argument(
        "--seconds", type=_seconds, metavar="T", help="begin no more schedules after this time"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the counts there; - is stdout, and text to stderr"
    )
    return parser


def _findings(report: Report) -> Iterator[str]:
    for number, violation in enumerate(report.violations):
        yield f"{violation.name} breaks a promise: {violation.what}"
        if number < _SHOWN:
            yield f"    the last {len(violation.trace)} lines of its trace:"
            yield from (f"    {line}" for line in violation.trace)
        yield f"    replay: {violation.command}"


def _print(lines: Sequence[str], to: TextIO | None = None) -> None:
    (to or sys.stdout).writelines(f"{line}\n" for line in lines)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _jobs(text: str) -> int:
    jobs = _count(text)
    if not jobs:
        raise argparse.ArgumentTypeError("there has to be at least 1")
    return jobs


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _schedule(text: str) -> tuple[ScheduleKind, int]:
    kind, _, seed = text.partition(":")
    try:
        return ScheduleKind(kind), _count(seed)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a kind and a seed, such as world:17 or pair:4"
        ) from None


class _Bar:
    """A progress bar on stderr, if that is a terminal and rich is there (extra `apps`)."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._broken = 0
        self._bar: tuple[RichProgress, TaskID] | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            try:
                from rich.console import Console
                from rich.progress import (
                    BarColumn,
                    MofNCompleteColumn,
                    Progress,
                    TextColumn,
                    TimeRemainingColumn,
                )
            except ImportError:
                return self
            progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar = progress, progress.add_task(self._text(), total=self._total)
            progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def advance(self, part: Report) -> None:
        """So many more are done."""
        self._broken += len(part.violations)
        if self._bar is not None:
            progress, task = self._bar
            done = part.worlds + part.pairs
            progress.update(task, advance=done, description=self._text())

    def _text(self) -> str:
        return f"schedules, {self._broken} violations"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # `--replay pair:3 | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:  # within a replay
        sys.exit(_INTERRUPTED)
