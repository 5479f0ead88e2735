"""docs/simulation.md and docs/reliability.md say what is there, and the example runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sansrelay.testing import Promise, World
from sansrelay.testing.soak import main
from sansrelay.testing.world import gaps

ROOT = Path(__file__).parent.parent
SIMULATION = (ROOT / "docs" / "simulation.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", SIMULATION, re.DOTALL)
COMMANDS = re.findall(r"(?m)^python -m sansrelay\.testing\.soak (.*?) *(?:#.*)?$", SIMULATION)


def first_column(text: str, heading: str) -> list[str]:
    """The first cells of the table below a heading, without its head."""
    section = text.split(f"\n{heading}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| (.*?) \|", section, re.MULTILINE)
    assert len(rows) > 1, heading
    return rows[1:]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run(example: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    match = re.fullmatch(r"the stream ended: (\w+), (\d+) orders were booked", line)
    assert match is not None, line
    assert match[1] in {"peer_restarted", "unknown_stream"}
    assert 0 < int(match[2]) < 100


def test_every_promise_is_explained() -> None:
    explained = first_column(SIMULATION, "## What is checked")
    assert explained == [f"`{promise.name}`" for promise in Promise]


def test_every_gap_is_told() -> None:
    told = first_column(SIMULATION, "## Known gaps")
    assert sorted(told) == [f"`{name}`" for name in sorted(gaps.__all__)]


@pytest.mark.parametrize("heading", ["### What a world is made of", "### The faults"])
def test_every_call_that_is_named_exists(heading: str) -> None:
    calls = re.findall(r"`(?:world\.)?(\w+)(?:\(|`)", " ".join(first_column(SIMULATION, heading)))
    names = [name for name in calls if name not in {"World", "hub_learns"}]
    assert len(names) > 4
    for name in names:
        assert hasattr(World, name), name


@pytest.mark.parametrize(
    "command",
    re.findall(r"^python -m sansrelay\.testing\.soak (.*?)(?: *#.*)?$", SIMULATION, re.MULTILINE),
)
def test_the_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    # The last option wins: this keeps the commands and makes them short.
    short = [] if "--replay" in command else ["--worlds", "1", "--pairs", "1", "--jobs", "1"]
    assert main([*command.split(), *short]) == 0
    assert capsys.readouterr().out
