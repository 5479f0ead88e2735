"""Does the simulation find faults? Plant known ones in copies of the package, and see.

    python tools/mutants_sim.py [--jobs N] (--all | NAME...)

Each mutant of `tests/sim_mutants.py` breaks one rule of the protocol. Its seeds are run in order,
in a process of its own that imports the mutated copy, until a promise is broken. The unmutated
package has to pass the same seeds. Exits with 1 if a mutant outlives its stated number of seeds, or
if the unmutated package breaks a promise.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from sim_mutants import MUTANTS, Mutant  # noqa: E402

PATIENCE = 60
"""Seconds of real time after which one schedule counts as endless; most need 0.05."""


class TableRotten(Exception):
    """The source no longer has the text that a mutant replaces exactly once: mend the table."""


class Endless(Exception):
    """A schedule did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catch:
    """The first seed that found a fault, and the promise that it broke."""

    seed: int
    promise: str
    detail: str


def mutated(source: str, mutant: Mutant) -> str:
    """The text of the mutant's file with its fault. Raises `TableRotten`."""
    found = source.count(mutant.old)
    if found != 1:
        raise TableRotten(
            f"{mutant.name}: {mutant.path} has its `old` text {found} times, not once"
        )
    return source.replace(mutant.old, mutant.new)


def hunt(mutant: Mutant | None, kind: str, seeds: int) -> Catch | None:
    """Run seeds 0 to `seeds` - 1 on a copy of the package until one breaks a promise.

    Without a mutant the copy is left as it is. Raises `TableRotten`, and `RuntimeError` if the
    process itself fails.
    """
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        package = Path(folder, "sansrelay")
        shutil.copytree(ROOT / "sansrelay", package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            path = Path(folder, mutant.path)
            path.write_text(mutated(path.read_text(), mutant))
        done = subprocess.run(
            [sys.executable, __file__, "--run-seeds", kind, str(seeds)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        name = mutant.name if mutant is not None else "the unmutated package"
        raise RuntimeError(f"{name} could not be run: {done.stderr}")
    found = json.loads(done.stdout)
    return None if found is None else Catch(**found)


def run_seeds(kind: str, seeds: int) -> Catch | None:
    """In the process of a hunt: the seeds themselves, with whatever package is found first."""
    import random

    import sansrelay
    from sansrelay.testing.world import PromiseBroken
    from sansrelay.testing.world.schedules import Schedule, ScheduleKind

    if Path(sansrelay.__file__).resolve().parent.parent != Path.cwd().resolve():
        raise RuntimeError(f"{sansrelay.__file__} is not the copy in {Path.cwd()}")

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise Endless

    signal.signal(signal.SIGALRM, give_up)
    for seed in range(seeds):
        signal.alarm(PATIENCE)
        try:
            Schedule(ScheduleKind(kind), random.Random(seed)).run()
        except PromiseBroken as broken:
            return Catch(seed=seed, promise=broken.promise.name, detail=broken.detail)
        except Endless:
            return Catch(seed=seed, promise="endless", detail=f"not done in {PATIENCE} s")
        except Exception as error:
            # A fault may well take the simulator along: that shows it too.
            return Catch(seed=seed, promise=type(error).__name__, detail=str(error))
    signal.alarm(0)
    return None


def survey(mutants: Sequence[Mutant], jobs: int) -> bool:
    """Hunt all of them and print a table. Whether all were caught, and nothing else was."""
    began = time.monotonic()
    caught_at = dict.fromkeys(("pair", "world"), -1)
    sound = True
    with ThreadPoolExecutor(jobs) as pool:
        hunts = [
            (mutant, pool.submit(hunt, mutant, mutant.kind, mutant.seeds)) for mutant in mutants
        ]
        print(f"{'mutant':36} {'kind':6} {'seed':>5} {'within':>6}  promise")
        for mutant, pending in hunts:
            catch = pending.result()
            row = f"{mutant.name:36} {mutant.kind:6}"
            if catch is None:
                sound = False
                print(f"{row} {'-':>5} {mutant.seeds:>6}  SURVIVED", flush=True)
            else:
                caught_at[mutant.kind] = max(caught_at[mutant.kind], catch.seed)
                print(f"{row} {catch.seed:>5} {mutant.seeds:>6}  {catch.promise}", flush=True)
        controls = [
            (kind, seed + 1, pool.submit(hunt, None, kind, seed + 1))
            for kind, seed in caught_at.items()
            if seed >= 0
        ]
        for kind, seeds, pending in controls:
            catch = pending.result()
            if catch is None:
                print(f"{'(unmutated)':36} {kind:6} {'-':>5} {seeds:>6}  passes")
            else:
                sound = False
                print(f"{'(unmutated)':36} {kind:6} {catch.seed:>5} {seeds:>6}  {catch.promise}")
                print(f"  so these mutants prove nothing: {catch.detail}")
    print(f"{len(mutants)} mutants, {time.monotonic() - began:.0f} s, {jobs} jobs")
    return sound


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run")
    parser.add_argument("--all", action="store_true", help="run all of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--run-seeds", nargs=2, metavar=("KIND", "SEEDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run_seeds:
        catch = run_seeds(options.run_seeds[0], int(options.run_seeds[1]))
        fields = ("seed", "promise", "detail")
        print(json.dumps(catch and {field: getattr(catch, field) for field in fields}))
        return 0
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    unknown = [name for name in options.names if name not in by_name]
    if unknown:
        parser.error(f"no mutant is called {', '.join(unknown)}; there are {', '.join(by_name)}")
    if bool(options.names) == options.all:
        parser.error("name some mutants, or ask for --all of them")
    if options.jobs < 1:
        parser.error("--jobs has to be 1 or more")
    chosen = MUTANTS if options.all else [by_name[name] for name in options.names]
    return 0 if survey(chosen, options.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
