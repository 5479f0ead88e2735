"""Fuzz the targets of `tests/fuzz` with atheris, two at a time.

    python tools/fuzz_targets.py [--seconds N] [--target NAME]... [--grow]
    python tools/fuzz_targets.py --replay NAME FILE

Prints for each target what was executed, what coverage was gained and how it ended. An input that
fails is kept in a temporary folder and the command that replays it is printed; the exit status is 1
then. With `--grow` the corpus becomes the smallest set of inputs that covers what is known now.
Replaying needs no atheris. `docs/fuzzing.md` says what is checked.
"""

import argparse
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha1
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

JOBS = 2
"""Targets at a time."""
MAX_INPUT = 2048
"""Bytes of an input. Programs have a limit on their steps besides."""
MEASURE_EVERY = 512
"""Inputs of which one has its memory measured: that is slow."""
HANG = 30.0
"""Seconds of CPU time after which an input counts as endless. A machine may be busy or be stopped
for a while, so that seconds of the clock show nothing."""
STUCK = 900
"""Seconds of the clock after which the fuzzer itself gives up an input: for a loop outside Python,
which nothing else could stop."""
MOST_FILES = 300
MOST_BYTES = 180 * 1024
"""Of a target's corpus."""

NAMES = ("decode", "connection", "link", "rendezvous", "middle")
_PROGRESS = re.compile(r"#(\d+)\t(\w+) +cov: (\d+) ft: ")
_LOADED = "INITED"
"""How the fuzzer calls the moment when all of the corpus has been tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one target."""

    name: str
    executions: int
    coverage: tuple[int, int]
    """Edges of the program that were reached: by the corpus, and at the end."""
    added: int
    status: int
    failing: list[Path]
    log: str


def worker(name: str, flags: Sequence[str], me: str) -> None:
    """In a process of its own: hand the process over to the fuzzer."""
    atheris = import_module("atheris")  # has no types, and is not everywhere
    with atheris.instrument_imports(include=["sansrelay", "h11", "wsproto"]):
        from fuzz.targets import TARGETS, TooMuch, measure, timed
    target = TARGETS[name]
    tried = 0

    def on_hang(signum: int, frame: object) -> None:
        raise TooMuch(f"more than {HANG} s of CPU time, and no end")

    signal.signal(signal.SIGVTALRM, on_hang)

    def one(data: bytes) -> None:
        nonlocal tried
        tried += 1
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
        timed(target, data)
        if not tried % MEASURE_EVERY:
            measure(target, data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    atheris.Setup([me, *flags], one)
    atheris.Fuzz()


def _command(name: str, folder: Path) -> list[str]:
    # The fuzzer starts itself again for a merge, by its name alone: so it needs one that can run.
    script = folder / "worker"
    command = shlex.join([sys.executable, str(Path(__file__).resolve()), "--worker", name])
    script.write_text(f'#!/bin/sh\nexec {command} "$0" "$@"\n')
    script.chmod(0o755)
    return [str(script)]


def fuzz(name: str, seconds: int, folder: Path, *, grow: bool) -> Run:
    """Fuzz one target. What it finds goes below `folder`."""
    from fuzz.targets import CORPUS, SEEDS

    found, seeds, failing = folder / "found", folder / "seeds", folder / "failing"
    for each in (found, seeds, failing):
        each.mkdir(parents=True)
    for data in SEEDS[name]():
        (seeds / sha1(data).hexdigest()).write_bytes(data)
    committed = CORPUS / name
    committed.mkdir(parents=True, exist_ok=True)
    command = _command(name, folder)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_INPUT}",
        f"-artifact_prefix={failing}/",
        f"-timeout={STUCK}",
        "-rss_limit_mb=2048",
    ]
    folders = [str(each) for each in (found, committed, seeds)]
    done = subprocess.run(
        [*command, *flags, *folders], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    log = done.stdout.decode("utf-8", "replace")
    if grow and not done.returncode:
        _grow(command, folder, folders, committed)
    progress = [(int(n), what, int(edges)) for n, what, edges in _PROGRESS.findall(log)]
    executions, _, reached = progress[-1] if progress else (0, "", 0)
    loaded = next((edges for _, what, edges in progress if what == _LOADED), reached)
    return Run(
        name=name,
        executions=executions,
        coverage=(loaded, reached),
        added=len(list(found.iterdir())),
        status=done.returncode,
        failing=sorted(failing.iterdir()),
        log=log,
    )


def _grow(command: list[str], folder: Path, folders: list[str], committed: Path) -> None:
    # One for each edge comes first; else the limit would cut off the edges that take a long input.
    edges = _merge(command, folder / "edges", folders, "-use_counters=0")
    counts = _merge(command, folder / "counts", folders)
    kept: dict[str, bytes] = {}
    for path in (*edges, *counts):
        data = path.read_bytes()
        if len(kept) < MOST_FILES and sum(map(len, kept.values())) + len(data) <= MOST_BYTES:
            kept[path.name] = data
    for path in committed.iterdir():
        path.unlink()
    for name, data in kept.items():
        (committed / name).write_bytes(data)


def _merge(command: list[str], target: Path, folders: list[str], *flags: str) -> list[Path]:
    """The smallest inputs that do together what all of them do, by size."""
    target.mkdir()
    subprocess.run(
        [*command, "-merge=1", f"-max_len={MAX_INPUT}", *flags, str(target), *folders],
        capture_output=True,
        check=True,
    )
    return sorted(target.iterdir(), key=lambda path: (path.stat().st_size, path.name))


def replay(name: str, path: Path) -> None:
    """Try one input with all checks. Raises what it raises."""
    from fuzz.targets import TARGETS, measure, memory_allowed, timed

    target = TARGETS[name]
    data = path.read_bytes()
    spent = timed(target, data)
    grown, played = measure(target, data)
    print(f"passes: {spent:.3f} s of CPU time, {grown} of {memory_allowed(played)} bytes held")


def report(run: Run, seconds: int) -> None:
    """A line for people; for a failure, how to see it again."""
    start, end = run.coverage
    print(
        f"{run.name:11} {run.executions:>10,} executions ({run.executions // seconds:,}/s), "
        f"coverage {start} + {end - start}, {run.added} inputs found: "
        f"{'FAILED' if run.status else 'passed'}",
        flush=True,
    )
    if run.status:
        # The fuzzer's own lines about progress would bury what went wrong.
        print("\n".join(line for line in run.log.splitlines() if line[:1] != "#")[-4000:])
        for path in run.failing:
            command = [sys.executable, "tools/fuzz_targets.py", "--replay", run.name, str(path)]
            print(f"replay with: {shlex.join(command)}", flush=True)


def main() -> int:
    """The command line."""
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[4:], sys.argv[3])
        return 0
    parser = argparse.ArgumentParser(description="Fuzz the targets of tests/fuzz.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one")
    parser.add_argument("--grow", action="store_true", help="put what was found into the corpus")
    parser.add_argument("--replay", nargs=2, metavar=("NAME", "FILE"), help="try one input")
    options = parser.parse_args()
    if options.replay:
        if options.replay[0] not in NAMES:
            parser.error(f"no target {options.replay[0]!r}: choose from {', '.join(NAMES)}")
        replay(options.replay[0], Path(options.replay[1]))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    failed = False
    with ThreadPoolExecutor(JOBS) as pool:
        running = [
            pool.submit(fuzz, name, options.seconds, folder / name, grow=options.grow)
            for name in options.target or NAMES
        ]
        for each in running:
            run = each.result()
            report(run, options.seconds)
            failed = failed or bool(run.status)
    if not failed:
        shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
