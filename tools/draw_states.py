"""Draw docs/states.md from the tables in sansrelay.states, .cells and .outcomes.

What stands between the markers of the page is replaced, the rest is kept. With --check nothing is
written: the exit status is 1 if the page is not what the tables give.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sansrelay import Profile, Role
from sansrelay.cells import OPENED, POSITIONS, STEPS, Cell, FrameKind, Reply, Setting, Step, Where
from sansrelay.outcomes import CELLS, IMPOSSIBLE
from sansrelay.states import TRANSITIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "states.md"
BEGIN = "<!-- drawn by tools/draw_states.py: {} -->"
END = "<!-- end -->"

Lines = list[str]
Word = Setting | Where | Step | FrameKind | Reply
Column = dict[FrameKind, Cell]


# -- diagrams


def diagram(edges: Iterable[tuple[str, str, str]]) -> Lines:
    """A Mermaid state diagram; labels of the same edge are joined."""
    labels: dict[tuple[str, str], Lines] = {}
    for old, new, label in edges:
        seen = labels.setdefault((old, new), [])
        if label not in seen:
            seen.append(label)
    return [
        "```mermaid",
        "stateDiagram-v2",
        *(f"    {old} --> {new}: {', '.join(seen)}" for (old, new), seen in labels.items()),
        "```",
    ]


def states() -> Lines:
    """The states and what moves a stream from one to another."""
    return diagram((old.name, new.name, why.value) for (old, why), new in TRANSITIONS.items())


def places(role: Role) -> Lines:
    """The places of one role with the usual setting, as far as they lead elsewhere."""
    usual = Setting.AUTO
    edges: list[tuple[str, str, str]] = []
    if role is Role.HARNESS:
        edges.append((Where.ABSENT.name, OPENED[usual].name, "open_stream"))
    for where in Where:
        if (role, usual, where) in IMPOSSIBLE:
            continue
        for kind in FrameKind:
            cell = CELLS[role, usual, where, kind]
            if cell.to not in (None, where):
                edges.append((where.name, cell.to.name, _why(kind, cell)))
        for step in Step:
            to = STEPS.get((where, step), where)
            if to is not where:
                edges.append((where.name, to.name, _said(step)))
    return diagram(edges)


def _why(kind: FrameKind, cell: Cell) -> str:
    """All that ends a stream for the same reason is one label."""
    if cell.to is not Where.ENDED:
        return _said(kind)
    return f"reset({cell.reason.value})" if cell.reason else "reset by the peer"


# -- tables


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Lines:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def words() -> Lines:
    """What the names mean."""
    out: Lines = []
    for title, members in (
        ("setting", Setting),
        ("place", Where),
        ("step", Step),
        ("frame", FrameKind),
        ("goes out", Reply),
    ):
        rows = ((f"**{_said(member)}**", member.value) for member in members)
        out += [*table((title, "meaning"), rows), ""]
    return out[:-1]


def cells(role: Role) -> Lines:
    """The cells of one role, by profile and place."""
    out: Lines = []
    for profile in (None, *Profile):
        title = "no live stream" if profile is None else f"profile {profile.value}"
        body: Lines = []
        for where in Where:
            if POSITIONS[where][1] is profile:
                body += _tables(role, where)
        if body:
            out += [f"### {role.value}, {title}", *body, ""]
    return out[:-1]


def _tables(role: Role, where: Where) -> Lines:
    """One table for the first setting, and one with what is different for each other outcome."""
    alike: list[tuple[Column, list[Setting]]] = []
    for setting in Setting:
        if (role, setting, where) in IMPOSSIBLE:
            continue
        column = {kind: CELLS[role, setting, where, kind] for kind in FrameKind}
        for known, settings in alike:
            if known == column:
                settings.append(setting)
                break
        else:
            alike.append((column, [setting]))
    out: Lines = []
    for column, settings in alike:
        first = alike[0][0]
        title = f"**{_said(where)}**: {where.value}"
        if column is not first:
            title = f"**{_said(where)}**, {_listed(settings)}, where it differs"
            column = {kind: cell for kind, cell in column.items() if cell != first[kind]}
        out += ["", title, "", *_rows(column, whole=column is first)]
    return out


def _rows(column: Column, *, whole: bool) -> Lines:
    """Frames with the same outcome share a row; in a whole table the longest comes last."""
    groups: dict[Cell, Lines] = {}
    for kind, cell in column.items():
        groups.setdefault(cell, []).append(_said(kind))
    most = max(groups, key=lambda cell: len(groups[cell]))
    if whole:
        groups.pop(most)
        groups[most] = ["all others"]
    rows = (
        (
            ", ".join(kinds),
            _said(cell.to) if cell.to else "",
            ", ".join(_reply(reply, cell) for reply in cell.replies),
            ", ".join(cause.name for cause in cell.counted),
            ", ".join(event.__name__ for event in cell.events),
        )
        for cell, kinds in groups.items()
    )
    return table(("frame", "next place", "goes out", "counted", "events"), rows)


def _reply(reply: Reply, cell: Cell) -> str:
    if reply is Reply.RESET and cell.reason:
        return f"reset({cell.reason.value})"
    return _said(reply)


def impossible(role: Role) -> Lines:
    """Why a stream is never there."""
    reasons: dict[str, tuple[list[Where], list[Setting]]] = {}
    for (whose, setting, where), reason in IMPOSSIBLE.items():
        if whose is role:
            wheres, settings = reasons.setdefault(reason, ([], []))
            wheres.append(where)
            settings.append(setting)
    rows = ((_listed(where), _listed(setting), why) for why, (where, setting) in reasons.items())
    return table(("place", "setting", "why not"), rows)


def _listed(members: Iterable[Word]) -> str:
    return ", ".join(_said(member) for member in dict.fromkeys(members))


def _said(member: Word) -> str:
    return member.name.lower().replace("_", " ")


# -- the page

PARTS: dict[str, Callable[[], Lines]] = {
    "states": states,
    "words": words,
    "harness diagram": lambda: places(Role.HARNESS),
    "executor diagram": lambda: places(Role.EXECUTOR),
    "harness cells": lambda: cells(Role.HARNESS),
    "executor cells": lambda: cells(Role.EXECUTOR),
    "harness impossible": lambda: impossible(Role.HARNESS),
    "executor impossible": lambda: impossible(Role.EXECUTOR),
}


def drawn(page: str) -> str:
    """The page with every part drawn anew. Raises ValueError if a marker is missing."""
    for name, draw in PARTS.items():
        begin = BEGIN.format(name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(END)
        if not (found and ended):
            raise ValueError(f"no part {begin!r} that ends with {END!r}")
        page = "\n".join([before + begin, "", *draw(), "", END + after])
    return page


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description="Draw docs/states.md from the tables.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if it is out of date"
    )
    parser.add_argument("page", type=Path, nargs="?", default=PAGE)
    options = parser.parse_args(arguments)
    page: Path = options.page
    old = page.read_text(encoding="utf-8")
    try:
        new = drawn(old)
    except ValueError as error:
        print(f"{page}: {error}", file=sys.stderr)
        return 1
    if old == new:
        return 0
    if options.check:
        print(f"{page} is not what the tables give: run tools/draw_states.py", file=sys.stderr)
        return 1
    page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
