"""Branch coverage of `sansrelay/` by the tests that need no socket and no other program.

    python tools/coverage_core.py

Fails when a test fails, or when a line or a branch was never taken. Lines that can't run are named
in `pyproject.toml`.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JOBS = 2
PARTS = 8
"""Files are dealt out to so many runs, or one with all the slow ones would come last."""

FOLDERS = (".", "world")
"""Of `tests`: those with tests of the core."""

LEFT_OUT = {
    "test_cuts*.py": "run programs on sockets",
    "test_execserver*.py": "of the apps, which start processes",
    "test_testing_asyncio.py": "of a loop, with sockets",
    "test_attacks*.py": "measure memory, and coverage takes some",
    "test_fuzz.py": "measures time and memory",
    "test_model.py": "runs a model checker",
    "test_mutants_sim.py": "plants faults in copies of the package",
    "test_simulation.py": "runs in processes of its own",
    "test_soak.py": "of a tool that runs in processes of its own",
    "test_docs_*.py": "run examples in processes of their own, and on sockets",
}

NOT_MEASURED = {
    "sansrelay/_pb/*": "generated",
    "sansrelay/testing/soak.py": "a tool that runs in processes of its own",
    "sansrelay/testing/asyncio.py": "a loop",
    "sansrelay/testing/trio.py": "for a loop",
}

COVERAGE = [sys.executable, "-m", "coverage"]


def measure(files: Sequence[Path], data: Path) -> str:
    """Run the tests of some files; the output if one failed, or nothing."""
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, files)]
    options = ["run", "--branch", "--parallel-mode", "--source=sansrelay", f"--data-file={data}"]
    done = subprocess.run(
        [*COVERAGE, *options, *tests], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def main() -> int:
    found = [path for name in FOLDERS for path in sorted((ROOT / "tests" / name).glob("test_*.py"))]
    if gone := [name for name in LEFT_OUT if not any(path.match(name) for path in found)]:
        print("left out, but not there:", *gone)
        return 2
    files = [path for path in found if not any(path.match(name) for name in LEFT_OUT)]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "coverage")
        with ThreadPoolExecutor(JOBS) as pool:
            parts = [files[part::PARTS] for part in range(PARTS)]
            failures = "".join(pool.map(lambda part: measure(part, data), parts))
        print(failures, end="")
        subprocess.run(
            [*COVERAGE, "combine", "--quiet", f"--data-file={data}"], cwd=ROOT, check=True
        )
        report = ["report", "--skip-covered", "--show-missing", "--fail-under=100"]
        omit = f"--omit={','.join(NOT_MEASURED)}"
        done = subprocess.run(
            [*COVERAGE, *report, omit, f"--data-file={data}"], cwd=ROOT, check=False
        )
        return 1 if failures else done.returncode


if __name__ == "__main__":
    sys.exit(main())
