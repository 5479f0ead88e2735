"""The model holds, its mutants fail, and the code does what it does (docs/model.md)."""

import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
sys.path.insert(0, str(TOOLS))

from model_check import Outcome, Run, check, read_runs  # noqa: E402
from model_conform import Disagreement, Driver, read_walks, run_batch  # noqa: E402

MISSING = [tool for tool in ("spin", "gcc") if shutil.which(tool) is None]
needs_spin = pytest.mark.skipif(
    bool(MISSING), reason=f"THE MODEL IS NOT CHECKED: {', '.join(MISSING)} not installed"
)


@needs_spin
@pytest.mark.parametrize("run", [run for run in read_runs() if run.quick], ids=lambda run: run.name)
def test_run_ends_as_the_table_says(run: Run) -> None:
    outcome = check(run)
    assert outcome.is_wanted(run), outcome


@pytest.mark.parametrize(
    ("wanted", "passed", "error", "is_wanted"),
    [
        (None, True, "", True),
        (None, False, "assertion violated g_over", False),
        (None, None, "out of time", False),
        ("g_over", False, "assertion violated g_over", True),
        ("g_over", False, "assertion violated g_run", False),
        ("g_over", True, "", False),
        ("g_over", None, "out of time", False),
    ],
)
def test_outcome_is_held_against_the_table(
    wanted: str | None, passed: bool | None, error: str, is_wanted: bool
) -> None:
    run = Run(name="run", quick=True, error=wanted, defines=(), claim="")
    outcome = Outcome(passed=passed, states=1, wall=1.0, cpu=1.0, error=error)
    assert outcome.is_wanted(run) is is_wanted


def bounds(run: Run) -> tuple[set[str], dict[str, int]]:
    """The features of a run, and its numbers."""
    pairs = [define.partition("=") for define in run.defines]
    features = {name for name, _, value in pairs if not value}
    return features, {name: int(value) for name, _, value in pairs if value}


def test_at_least_a_dozen_rules_are_broken() -> None:
    assert sum(run.name.startswith("M_") for run in read_runs()) >= 12


@pytest.mark.parametrize(
    "mutant", [run for run in read_runs() if run.name.startswith("M_")], ids=lambda run: run.name
)
def test_sound_model_passes_within_the_bounds_of_a_mutant(mutant: Run) -> None:
    features, numbers = bounds(mutant)
    assert mutant.error is not None
    assert mutant.name in features
    sound = [bounds(run) for run in read_runs() if run.error is None]
    assert any(
        also == features - {mutant.name}
        and all(limits.get(name, 0) >= number for name, number in numbers.items())
        for also, limits in sound
    )


@needs_spin
@pytest.mark.parametrize("seed", [1, 2])
def test_code_agrees_with_random_walks(seed: int) -> None:
    count, steps = run_batch(seed, 150)
    assert count == 150
    assert steps["consume"]


def test_a_wrong_walk_is_noticed() -> None:
    lines = ["# 0 0", "@ 4 0 0", "> 3 1 1 0 0 0 0", "= 1 0 3", "@ 9 0 0", "= 1 0 3"]
    (walk,) = read_walks(lines)
    walk.steps[1].sent.append((3, 2, 1, 0, 0, 0, 0))
    with pytest.raises(Disagreement, match="not"):
        Driver(walk, gaps=False, window=1).run(Counter())
