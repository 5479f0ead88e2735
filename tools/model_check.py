"""Check the model: every run of tests/model/runs.txt has to end as its table says.

    python tools/model_check.py [--quick] [--jobs J] [NAME...]

Each run is an exhaustive search by spin (no bit-state hashing) of `tests/model/relay.pml` with some
bounds and features: safety by assertions, liveness by the formula `ends_well`. Mutants must fail,
each by the error that its line names. Prints a table: states, CPU seconds and wall clock seconds of
spin, compiler and search. Exits with 1 if an outcome is not the wanted one, or a search was cut
short.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "model"
MEMORY: Final = 4000
"""MiB that one search may use."""
PATIENCE: Final = 1800
"""Seconds of wall clock that one search may take, on a busy machine too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One line of the table."""

    name: str
    quick: bool
    error: str | None
    """What the error has to name, or None if there must not be one."""
    defines: tuple[str, ...]
    claim: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. `passed` is None if the search was not completed and found nothing."""

    passed: bool | None
    states: int
    wall: float
    cpu: float
    error: str

    def is_wanted(self, run: Run) -> bool:
        """Whether the run ended as its line says."""
        if run.error is None:
            return self.passed is True
        return self.passed is False and run.error in self.error


def read_runs() -> list[Run]:
    """The table. Raises `ValueError` for a line of another form."""
    runs = []
    for line in (FOLDER / "runs.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, kind, wanted, defines, claim = (part.strip() for part in line.split("|"))
        verdict, _, error = wanted.partition(" ")
        if kind not in {"quick", "full"} or verdict != ("fail" if error else "pass"):
            raise ValueError(line)
        runs.append(
            Run(
                name=name,
                quick=kind == "quick",
                error=error or None,
                defines=tuple(defines.split()),
                claim=claim,
            )
        )
    return runs


def check(run: Run) -> Outcome:
    """Search all states of one run. Raises `CalledProcessError` if spin or cc fails."""
    live = "LIVE" in run.defines
    began, used = time.monotonic(), _cpu()
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        model = str(FOLDER / "relay.pml")
        tools = (
            ["spin", "-a", *(f"-D{define}" for define in run.defines), model],
            [
                "gcc", "-O0" if live else "-O1", "-w", f"-DMEMLIM={MEMORY}",
                *([] if live else ["-DSAFETY"]), "-o", "pan", "pan.c",
            ],
        )  # fmt: skip
        for tool in tools:
            subprocess.run(tool, cwd=folder, check=True, capture_output=True)
        try:
            done = subprocess.run(
                ["./pan", "-a" if live else "-E", "-m1000000"],
                cwd=folder,
                check=False,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return Outcome(
                passed=None,
                states=0,
                wall=time.monotonic() - began,
                cpu=_cpu() - used,
                error="out of time",
            )
    errors = re.search(r"errors: (\d+)", done.stdout)
    states = re.search(r"(\d+) states, stored", done.stdout)
    found = re.search(r"pan:1: (.*) \(at depth", done.stdout)
    cut = "not completed" in done.stdout or "max search depth too small" in done.stdout
    passed: bool | None = None
    if errors is not None and int(errors[1]):
        passed = False
    elif errors is not None and not cut:
        passed = True
    return Outcome(
        passed=passed,
        states=int(states[1]) if states else 0,
        wall=time.monotonic() - began,
        cpu=_cpu() - used,
        error=found[1] if found else "",
    )


def _cpu() -> float:
    """CPU seconds of the children that have ended; one run at a time in one process."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="Check the model of the protocol with spin.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these runs")
    parser.add_argument("--quick", action="store_true", help="only the short ones")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    runs = [
        run
        for run in read_runs()
        if (run.quick or not args.quick) and (not args.names or run.name in args.names)
    ]
    bad = 0 if runs else 1
    cpu = 0.0
    with ProcessPoolExecutor(args.jobs) as pool:
        for run, outcome in zip(runs, pool.map(check, runs), strict=True):
            wanted = outcome.is_wanted(run)
            bad += not wanted
            cpu += outcome.cpu
            got = {True: "pass", False: "fail", None: "cut short"}[outcome.passed]
            print(
                f"{'as wanted' if wanted else 'NOT AS WANTED'} | {run.name} | {got} | "
                f"{outcome.states} | {outcome.cpu:.1f} | {outcome.wall:.1f} | {outcome.error}",
                flush=True,
            )
    print(f"{len(runs)} runs, {bad} not as wanted, {cpu:.0f} s of CPU")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
