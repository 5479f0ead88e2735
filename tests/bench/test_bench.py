"""Each row of the benchmark with tiny sizes: that it runs and comes out. No times are judged."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.measure import Contestant, Effort, Result, Row, run, take_alone, take_here
from bench.report import MARGIN, about, as_data, plot, regressions, setups, table
from bench.rows import ROWS

TINY = 0.002
_CONTESTANTS = {c.name: c for row in ROWS for c in row.contestants}


def fixed(name: str, *samples: float) -> Contestant:
    return Contestant(name=name, sample=lambda effort: samples[effort.seed])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.bench] if contestant.needs else [])
        for name, contestant in _CONTESTANTS.items()
    ],
)
def test_every_contestant_gives_a_sample(name: str) -> None:
    contestant = _CONTESTANTS[name]
    if missing := contestant.missing():
        pytest.skip(f"{', '.join(missing)} is not installed: make bench installs what it can")
    sample = contestant.sample(Effort(TINY, 0))
    assert math.isfinite(sample)


def test_names_of_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_equal_names_mean_the_same_contestant() -> None:
    for row in ROWS:
        for contestant in row.contestants:
            assert contestant is _CONTESTANTS[contestant.name]


def test_what_is_exact_gives_the_same_again() -> None:
    for name in ("core, time, 5% loss", "core, waste, 5% loss"):
        first, second = (_CONTESTANTS[name].sample(Effort(0.05, 1)) for _ in range(2))
        assert first == second


def test_rounds_are_interleaved_and_ratios_taken_within_a_round() -> None:
    order: list[tuple[str, int]] = []

    def take(contestant: Contestant, effort: Effort) -> float:
        order.append((contestant.name, effort.seed))
        return contestant.sample(effort)

    row = Row(
        name="r", says="", subject=fixed("a", 1.0, 2.0), rival=fixed("b", 3.0, 8.0), at_least=3.5
    )
    (result,) = run([row], rounds=2, scale=1.0, take=take)
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert result.figures == (3.0, 4.0)
    assert result.verdict == "met"


def test_a_contestant_may_leave_after_some_rounds() -> None:
    subject = replace(fixed("a", 1.0, 2.0, 3.0), most_rounds=2)
    (result,) = run([Row(name="r", says="", subject=subject)], rounds=3, scale=1.0, take=take_here)
    assert result.figures == (1.0, 2.0)


@pytest.mark.parametrize(
    ("row", "figure", "verdict"),
    [
        (Row(name="r", says="", subject=fixed("a"), at_least=2.0), 1.9, "MISSED"),
        (Row(name="r", says="", subject=fixed("a"), at_least=2.0), 2.0, "met"),
        (Row(name="r", says="", subject=fixed("a"), at_most=2.0), 2.1, "MISSED"),
        (Row(name="r", says="", subject=fixed("a"), at_most=2.0), 2.0, "met"),
        (Row(name="r", says="", subject=fixed("a")), 2.0, ""),
    ],
)
def test_a_verdict_is_read_off_the_floor(row: Row, figure: float, verdict: str) -> None:
    assert Result(row=row, figures=(figure,)).verdict == verdict


def test_a_peer_that_is_not_there_is_skipped_loudly() -> None:
    absent = replace(fixed("b", 1.0), needs=("no_such_package",))
    row = Row(name="r", says="", subject=fixed("a", 1.0), rival=absent)
    (result,) = run([row], rounds=1, scale=1.0, take=take_here)
    assert result.figures == ()
    assert "SKIPPED: no_such_package is not installed" in table([result])


def test_a_sample_is_taken_in_a_process_of_its_own() -> None:
    contestant = _CONTESTANTS["core, waste, 5% loss"]
    effort = Effort(0.02, 3)
    assert take_alone(contestant, effort) == contestant.sample(effort)


@pytest.mark.parametrize(("now", "worse"), [(1.0 / MARGIN - 0.01, True), (1.0 / MARGIN, False)])
def test_a_ratio_is_held_against_the_committed_one(now: float, worse: bool) -> None:
    rival = fixed("b", 1.0)
    row = Row(name="r", says="", subject=fixed("a", 1.0), rival=rival, at_least=0.1)
    committed = as_data([Result(row=row, figures=(1.0,))], {})
    assert bool(regressions([Result(row=row, figures=(now,))], committed)) is worse


def test_a_limit_is_held_against_the_committed_figure_upwards() -> None:
    row = Row(name="r", says="", subject=fixed("a"), rival=fixed("b"), at_most=9.0)
    committed = as_data([Result(row=row, figures=(1.0,))], {})
    assert regressions([Result(row=row, figures=(MARGIN + 0.1,))], committed)
    assert not regressions([Result(row=row, figures=(0.1,))], committed)


def test_times_of_different_runs_are_never_compared() -> None:
    row = Row(name="r", says="", subject=fixed("a"), unit="us", at_most=2.0)
    committed = as_data([Result(row=row, figures=(1.0,))], {})
    assert not regressions([Result(row=row, figures=(100.0,))], committed)


def test_the_table_and_its_json_come_out(tmp_path: Path) -> None:
    figures = (0.5, 1234.5, 2.0)
    results = [Result(row=row, figures=figures) for row in ROWS]
    lines = table(results).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert all(line.count("|") == 7 for line in lines)
    assert "turbo mode" in setups(results)
    data = json.loads(json.dumps(as_data(results, about(rounds=3, scale=1.0))))
    assert [row["name"] for row in data["rows"]] == [row.name for row in ROWS]
    assert data["about"]["versions"]["protobuf"]


@pytest.mark.bench
def test_the_picture_comes_out(tmp_path: Path) -> None:
    if find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed: make bench installs it")
    plot([Result(row=row, figures=(0.5, 2.0)) for row in ROWS], tmp_path / "ratios.svg")
    assert (tmp_path / "ratios.svg").read_text().startswith("<?xml")
