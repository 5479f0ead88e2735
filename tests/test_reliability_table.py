"""The table of docs/reliability.md: every fault has a row, and figures are those of the run."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def _load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "reliability_table", ROOT / "tools" / "reliability_table.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _load_tool()
DOCUMENT = tool.DOCUMENT.read_text()
COUNTS = {"injected": 1234, "worlds": 5, "pairs": 67, "broken": 1}
RUN: dict[str, Any] = {
    "first_seed": 100,
    "worlds": 20,
    "pairs": 3000,
    "interrupted": False,
    "simulated_seconds": 7200.0,
    "frames": 98765,
    "faults": {"cut": COUNTS, "lost": {**COUNTS, "injected": 766}},
    "violations": [],
}


@pytest.fixture(autouse=True)
def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested does not depend on the state of the checkout."""
    monkeypatch.setattr(tool, "_commit", lambda: "commit `1234567`")


def write(tmp_path: Path, run: object) -> tuple[Path, Path]:
    data, document = tmp_path / "soak.json", tmp_path / "reliability.md"
    data.write_text(json.dumps(run))
    document.write_text(f"before\n{tool.BEGIN}old\n{tool.END}after\n")
    return data, document


def test_every_fault_that_can_be_injected_has_a_row_and_no_other() -> None:
    injected = {
        name
        for path in ROOT.glob("sansrelay/testing/world/*.py")
        for name in re.findall(r'\.fault\(\s*"([^"]+)"', path.read_text())
    }
    assert len(injected) > 20
    assert set(tool.FAULTS) == injected


def test_no_fault_is_injected_under_a_name_that_is_made_up() -> None:
    for path in ROOT.glob("sansrelay/testing/world/*.py"):
        calls = len(re.findall(r"\.fault\(", path.read_text()))
        assert calls == len(re.findall(r'\.fault\(\s*"[^"]+"', path.read_text())), path.name


def test_the_document_has_a_table_with_all_rows() -> None:
    inside = DOCUMENT.split(tool.BEGIN)[1].split(tool.END)[0]
    rows = re.findall(r"^\| ([^|]+?) \|", inside, re.MULTILINE)
    assert rows == ["fault", *tool.FAULTS]
    assert re.search(r"On \d{4}-\d\d-\d\d, at commit `[0-9a-f]{7,}`", inside)


def test_the_block_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    data, document = write(tmp_path, RUN)
    assert tool.main([str(data), "--document", str(document)]) == 0
    text = document.read_text()
    assert re.match(rf"before\n{tool.BEGIN}\nOn \d{{4}}-\d\d-\d\d, at commit `1234567`: 20 ", text)
    assert text.endswith(f"\n\n{tool.END}after\n")
    assert "old" not in text.split("\n")
    assert "20 worlds and 3,000 pairs, seeds from 100 up, 2 simulated hours" in text
    assert "98,765 frames, 2,000 faults; **0 violations**." in text
    assert "\npython -m sansrelay.testing.soak --worlds 20 --pairs 3000 --from 100\n" in text
    assert re.search(r"^\| cut \| .* \| held \| 1,234 \| 5 \| 67 \| 1 \|$", text, re.MULTILINE)
    assert re.search(r"^\| noise \| .* \| held \| 0 \| 0 \| 0 \| 0 \|$", text, re.MULTILINE)
    assert tool.main([str(data), "--document", str(document)]) == 0
    assert document.read_text() == text


def test_violations_are_told() -> None:
    violations = [{"schedule": "pair:3"}, {"schedule": "world:4"}]
    text = tool.block({**RUN, "violations": violations}, date="2026-01-01", commit="commit `1`")
    assert "; **2 violations**: pair:3, world:4." in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"interrupted": True}, "the run was interrupted"),
        ({"faults": {"lightning": COUNTS}}, "FAULTS has no row for lightning"),
    ],
)
def test_a_run_that_can_not_be_told_truly_is_refused(
    change: dict[str, object],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, document = write(tmp_path, {**RUN, **change})
    before = document.read_text()
    with pytest.raises(SystemExit) as left:
        tool.main([str(data), "--document", str(document)])
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err
    assert document.read_text() == before


def test_a_document_without_marks_is_refused(tmp_path: Path) -> None:
    data, document = write(tmp_path, RUN)
    document.write_text("no marks here\n")
    with pytest.raises(SystemExit):
        tool.main([str(data), "--document", str(document)])
    assert document.read_text() == "no marks here\n"
