"""The simulation finds planted faults. All of them: `make mutants-sim`; here a few in turn.

Which ones goes by a hash of the package's source and the mutants' names. So a tree always tries the
same ones, any change of the code tries others, and no counter has to be kept.
"""

import hashlib
import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from sim_mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
TOOL = ROOT / "tools" / "mutants_sim.py"
HANDFUL = 4
AFFORDABLE = 200
"""Mutants that are allowed more seeds than this are left to `make mutants-sim`."""


def _load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants_sim", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _load_tool()


def _handful() -> list[str]:
    tree = hashlib.sha256()
    for path in sorted(ROOT.glob("sansrelay/**/*.py")):
        tree.update(path.read_bytes())

    def turn(mutant: Mutant) -> bytes:
        own = tree.copy()
        own.update(mutant.name.encode())
        return own.digest()

    affordable = [mutant for mutant in MUTANTS if mutant.seeds <= AFFORDABLE]
    return [mutant.name for mutant in sorted(affordable, key=turn)[:HANDFUL]]


def test_a_handful_is_caught() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, *_handful()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_still_fits_the_source(mutant: Mutant) -> None:
    before = (ROOT / mutant.path).read_text()
    after = tool.mutated(before, mutant)
    assert after != before
    compile(after, mutant.path, "exec")


@pytest.mark.parametrize("old", ["no such text", "\n"])
def test_a_text_that_is_not_there_once_is_refused(old: str) -> None:
    with pytest.raises(tool.TableRotten, match=r"times, not once"):
        tool.hunt(replace(MUTANTS[0], old=old), "pair", 1)


def test_no_fault_is_planted_in_the_simulation_itself() -> None:
    assert not [mutant.name for mutant in MUTANTS if "testing" in mutant.path]


def test_names_are_unique() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 25


def test_a_survivor_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    harmless = replace(MUTANTS[0], name="harmless", new=MUTANTS[0].old, seeds=3)
    assert not tool.survey([harmless], 1)
    assert "SURVIVED" in capsys.readouterr().out


def test_a_fault_of_the_unmutated_package_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catch = tool.Catch(seed=0, promise="LIVENESS", detail="nothing arrives")
    monkeypatch.setattr(tool, "hunt", lambda *_: catch)
    assert not tool.survey(MUTANTS[:1], 1)
    assert "prove nothing: nothing arrives" in capsys.readouterr().out


def test_a_copy_that_can_not_be_run_is_no_catch() -> None:
    broken = replace(MUTANTS[0], new="this is no Python")
    with pytest.raises(RuntimeError, match="could not be run"):
        tool.hunt(broken, "pair", 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name some mutants"),
        (["--all", MUTANTS[0].name], "name some mutants"),
        (["no-such-mutant"], "no mutant is called no-such-mutant"),
        (["--all", "--jobs", "0"], "--jobs has to be 1 or more"),
    ],
)
def test_a_bad_command_line_says_what_to_do(arguments: list[str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert complaint in done.stderr
