"""Writes what a soak came to into docs/reliability.md, between its two marks.

    python -m sansrelay.testing.soak --worlds 20000 --pairs 200000 --json soak.json
    python tools/reliability_table.py soak.json

The date and the commit are those of this moment, so run it right after the soak. Every kind of
fault that was injected has to have a row in `FAULTS`; an interrupted run is refused. A run that
broke promises is written down as such.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- begin: written by tools/reliability_table.py -->\n"
END = "<!-- end: written by tools/reliability_table.py -->\n"


class Fault(NamedTuple):
    """A row: what happens, and how far it suspends the three promises that a fault can suspend."""

    what: str
    exactly_once: str = "held"
    at_most_once: str = "held"
    liveness: str = "later"


def _on_the_network(what: str, *, copies: bool = False) -> Fault:
    """What nobody can mend for a peer that looks at no number and acknowledges nothing."""
    return Fault(
        what,
        exactly_once="but basic",
        at_most_once="but basic" if copies else "held",
        liveness="later, but basic",
    )


def _of_an_executor(what: str) -> Fault:
    return Fault(
        what,
        exactly_once="but for a gap",
        at_most_once="but for a gap",
        liveness="but its streams",
    )


FAULTS: Mapping[str, Fault] = {
    "lost": _on_the_network("a frame vanishes"),
    "damaged": _on_the_network("a frame arrives so that it is none any more"),
    "reordered": _on_the_network("a frame is overtaken"),
    "repeated": _on_the_network("a frame arrives twice", copies=True),
    "held": _on_the_network("a frame, or a copy, arrives much later, on a later link", copies=True),
    "change of weather": _on_the_network("the rates of the five above change", copies=True),
    "stall": Fault("a link stands still, then everything arrives"),
    "black hole": _on_the_network("a link swallows everything, nobody is told"),
    "lost in a black hole": _on_the_network("a frame sent into one"),
    "cut": _on_the_network("a link breaks, its sides learn of it at their times"),
    "lost in a cut": _on_the_network("a frame under way on it"),
    "half-open": _on_the_network("a cut that one side does not notice for long"),
    "lost without a link": _on_the_network("a wire has nowhere to pass a frame on to"),
    "cut while opening": _on_the_network("a link breaks before new streams know their peer"),
    "second link": _on_the_network("a peer dials before its old link is known to be gone"),
    "old link speaks": _on_the_network("what was under way on an old link comes after the new one"),
    "absence": _on_the_network("a peer stays away for about as long as it is waited for"),
    "crash": Fault("a process dies and comes back without its state", liveness="but its streams"),
    "executor replaced": _of_an_executor("another process, perhaps basic, takes over an id"),
    "executor taken over": _of_an_executor("the same amid traffic, cuts and a killed rendezvous"),
    "executor taken over with a queue": _of_an_executor("the same, with frames queued for the old"),
    "twin executor": _of_an_executor("two processes under one id, until one stops"),
    "rendezvous killed": Fault("it dies with all it knows, a new one comes"),
    "rendezvous replaced": Fault("a new one takes the address, the old keeps its links"),
    "peer moved": Fault("a peer dials another rendezvous"),
    "echo": _on_the_network("an early frame comes once more, perhaps after a crash", copies=True),
    "noise": Fault("frames of streams that nobody opened, and bytes that are no frame"),
    "false ack": Fault("an ack of what was never sent"),
    "false resume": Fault("a resume that names another opener"),
    "foreign principal": Fault("another principal sends on streams it does not own"),
    "reader stopped": Fault("an application reads nothing for a while"),
    "stream ended": Fault("an application closes or resets a stream"),
    "flood": Fault("a harness opens many streams and gives them up"),
}


def table(faults: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The lines of the table, in the order of `FAULTS`."""
    unknown = sorted(faults.keys() - FAULTS.keys())
    if unknown:
        raise ValueError(f"FAULTS has no row for {', '.join(unknown)}")
    head = (
        "| fault | what happens | `EXACTLY_ONCE` | `AT_MOST_ONCE` | `LIVENESS` | all others"
        " | injected | worlds | pairs | broke a promise |"
    )
    lines = [head, "|---|---|---|---|---|---|--:|--:|--:|--:|"]
    for name, fault in FAULTS.items():
        counts = faults.get(name, {})
        figures = (counts.get(key, 0) for key in ("injected", "worlds", "pairs", "broken"))
        lines.append(
            f"| {' | '.join((name, *fault))} | held | {' | '.join(f'{n:,}' for n in figures)} |"
        )
    return lines


def block(run: Mapping[str, Any], *, date: str, commit: str) -> str:
    """All that stands between the marks."""
    if run["interrupted"]:
        raise ValueError("the run was interrupted: its seeds are not known")
    first, worlds, pairs = run["first_seed"], run["worlds"], run["pairs"]
    violations = run["violations"]
    broken = [violation["schedule"] for violation in violations]
    told = (
        f"On {date}, at {commit}: {worlds:,} worlds and {pairs:,} pairs, seeds from {first:,} up,"
        f" {run['simulated_seconds'] / 3600:,.0f} simulated hours, {run['frames']:,} frames,"
        f" {sum(count['injected'] for count in run['faults'].values()):,} faults;"
        f" **{len(violations)} violations**{': ' if broken else ''}{', '.join(broken)}."
        " The same schedules again, at the same commit:"
    )
    command = f"python -m sansrelay.testing.soak --worlds {worlds} --pairs {pairs} --from {first}"
    lines = [told, "", "```", command, "```", "", *table(run["faults"])]
    return "\n".join(lines) + "\n"


def rewritten(document: str, inside: str) -> str:
    """The document with another block between its marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document does not hold {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}\n{inside}\n{end}{after}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    others = git("status", "--porcelain", "--", ".", f":!{DOCUMENT.relative_to(ROOT)}")
    changed = " with changes that are not committed" if others else ""
    return f"commit `{git('rev-parse', '--short', 'HEAD')}`{changed}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Write a soak's counts into docs/reliability.md.")
    parser.add_argument("json", type=Path, help="what --json of the soak wrote")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    options = parser.parse_args(arguments)
    date = datetime.now(UTC).date().isoformat()
    try:
        run = json.loads(options.json.read_text())
        text = rewritten(options.document.read_text(), block(run, date=date, commit=_commit()))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    options.document.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
