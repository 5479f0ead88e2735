"""Where the answers of two executors differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from interop.differential import Ask, Closed, Resume, Row, Step
from sansrelay.jsonrpc import JsonValue

Apart: TypeAlias = dict[int, tuple[JsonValue, JsonValue]]
"""Where a row differs: for each such step what Codex answered, and what we did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One way in which we differ, the reason for it, and the rows of the test that show it."""

    title: str
    reason: str
    rows: Mapping[tuple[str, ...], Apart]
    """By the names of rows, and the number of the step: the answers of Codex, and ours."""


def compare(row: Row, codex: list[JsonValue], ours: list[JsonValue], extras: "Extras") -> Apart:
    """Where two runs of a row differ. Of two results only the members that differ are told."""
    apart: Apart = {}
    for number, step in enumerate(row.steps):
        theirs, own = codex[number], extras.without(step, codex[number], ours[number])
        if theirs == own:
            continue
        if isinstance(theirs, dict) and isinstance(own, dict) and not {"error"} & {*theirs, *own}:
            same = {name for name in theirs if name in own and theirs[name] == own[name]}
            theirs = {name: value for name, value in theirs.items() if name not in same}
            own = {name: value for name, value in own.items() if name not in same}
        apart[number] = theirs, own
    return apart


class Extras:
    """Members that only our answers have. They count as no difference, and each has to be seen."""

    def __init__(self, members: Mapping[str, tuple[str, ...]]) -> None:
        self._members = members
        self.seen: set[tuple[str, str]] = set()

    def without(self, step: Step, codex: JsonValue, ours: JsonValue) -> JsonValue:
        """Our answer without them. One that Codex has, too, is none."""
        if not isinstance(codex, dict) or not isinstance(ours, dict):
            return ours
        subject = _subject(step)
        extra = {name for name in self._members.get(subject, ()) if name in ours} - {*codex}
        self.seen |= {(subject, name) for name in extra}
        return {name: value for name, value in ours.items() if name not in extra}


def _subject(step: Step) -> str:
    match step:
        case Ask():
            return step.method
        case Resume():
            return "initialize"
        case Closed():
            return "process/exited"
    return ""
