"""The results as a table for people, as JSON for machines, and as a picture."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from .measure import Contestant, Result

MARGIN = 1.5
"""Factor by which a figure may be worse than the committed one: wide, for machines are busy."""

_PACKAGES = ("protobuf", "trio", "h2", "aioquic", "kcp")


def number(value: float) -> str:
    """A figure, with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Sequence[Result]) -> str:
    """The table in Markdown."""
    lines = [
        "| row | what | median | least to most | floor | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        row = result.row
        unit = "" if row.unit == "x" else f" {row.unit}"
        median = spread = "-"
        if result.figures:
            median = f"{number(result.median)}{unit or ' x'}"
            spread = f"{number(min(result.figures))} to {number(max(result.figures))}"
        lines.append(
            f"| {row.name} | {row.says} | {median} | {spread} | {row.floor} | {result.verdict} |"
        )
    return "\n".join(lines)


def setups(results: Sequence[Result]) -> str:
    """How each contestant was set up, one line for those that are alike."""
    found: dict[str, list[str]] = {}
    for contestant in _contestants(results):
        if contestant.setup:
            found.setdefault(contestant.setup, []).append(contestant.name)
    return "\n".join(f"- {' · '.join(names)}: {setup}" for setup, names in found.items())


def _contestants(results: Sequence[Result]) -> list[Contestant]:
    unique = {c.name: c for result in results for c in result.row.contestants}
    return list(unique.values())


def about(*, rounds: int, scale: float) -> dict[str, Any]:
    """Where and how it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "load": Path("/proc/loadavg").read_text().split()[0],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "rounds": rounds,
        "scale": scale,
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def as_data(results: Sequence[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """Everything, samples included, for JSON."""
    rows = []
    for result in results:
        row = result.row
        entry: dict[str, Any] = {
            "name": row.name,
            "says": row.says,
            "unit": row.unit,
            "floor": row.floor,
            "verdict": result.verdict,
            "comparable": row.comparable,
            "setup": {c.name: c.setup for c in row.contestants},
        }
        if result.figures:
            entry["median"] = result.median
            entry["figures"] = result.figures
        rows.append(entry)
    return {"about": facts, "rows": rows}


def regressions(results: Sequence[Result], committed: dict[str, Any]) -> list[str]:
    """Rows that are worse than the committed ones by more than the margin.

    Times of this machine say nothing about those of another run: they are left out.
    """
    before = {row["name"]: row["median"] for row in committed["rows"] if "median" in row}
    worse = []
    for result in results:
        row = result.row
        if not result.figures or not row.comparable or row.name not in before:
            continue
        was, now = before[row.name], result.median
        falls = row.at_most is None
        if now < was / MARGIN if falls else now > was * MARGIN:
            worse.append(f"{row.name}: {number(now)}, committed {number(was)}")
    return worse


def plot(results: Sequence[Result], path: Path) -> None:
    """Draw the ratios, each with its floor, as SVG."""
    matplotlib = import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "sansrelay"
    figure_of = import_module("matplotlib.figure").Figure
    shown = [r for r in reversed(results) if r.figures and r.row.rival is not None]
    figure = figure_of(figsize=(9, 1 + 0.28 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    for place, result in enumerate(shown):
        missed = result.verdict == "MISSED"
        axes.barh(place, result.median, color="tab:orange" if missed else "tab:blue", height=0.6)
        axes.plot([min(result.figures), max(result.figures)], [place, place], color="black", lw=1)
        floor = result.row.at_least or result.row.at_most
        if floor is not None:
            axes.plot([floor, floor], [place - 0.4, place + 0.4], color="tab:red", lw=2)
    axes.set_yticks(range(len(shown)), [result.row.name for result in shown], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("ratio (black: least to most, red: floor)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def write_json(data: dict[str, Any], path: str) -> None:
    """To a file, or to standard output for `-`."""
    text = json.dumps(data, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text)
