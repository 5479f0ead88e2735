"""Random schedules keep every promise, and are the same wherever they run."""

import os
import subprocess
import sys

from sansrelay.testing.soak import soak

REPLAY = [sys.executable, "-m", "sansrelay.testing.soak", "--replay"]


def test_random_schedules_keep_all_promises() -> None:
    report = soak(worlds=300, pairs=3000)
    assert not report.violations, "\n".join(
        f"{violation.command}\n  {violation.what}" for violation in report.violations
    )
    assert (report.worlds, report.pairs) == (300, 3000)
    assert report.faults > 10_000
    rare = {name: count for name, count in report.by_fault.items() if count.injected < 10}
    assert not rare, "too few to show anything"


def test_a_schedule_is_the_same_under_every_hash_seed() -> None:
    for schedule in ("pair:3", "world:4"):
        traces = {
            subprocess.run(
                [*REPLAY, schedule],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            ).stdout
            for seed in ("1", "2")
        }
        (trace,) = traces
        assert trace.splitlines()[-1] == f"{schedule} keeps all promises"
