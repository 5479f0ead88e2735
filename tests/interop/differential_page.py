"""Writes `docs/codex-differences.md`: `cd tests; python -m interop.differential_page`."""

import json
from pathlib import Path
from textwrap import fill

from interop.differential import Ask
from interop.differential_compare import Apart, Difference
from interop.differential_known import DIFFERENCES, EXTRAS
from interop.differential_rows import ROWS, VERSION
from sansrelay.jsonrpc import JsonValue

PAGE = Path(__file__).parents[2] / "docs" / "codex-differences.md"

_HEAD = """\
# Differences from Codex's executor

{messages} messages, good, bad and odd, in {rows} exchanges, went to the executor of Codex {version}
and to ours. Results, error codes and effects on files are the same, but for what stands here. This
page is made from the data that `tests/interop/test_differential.py` checks against the real
program: a difference that is not listed fails the test, and so does one that is gone.

Not compared are the texts of errors (but for starts that fail), ids of sessions, times, how output
is cut into chunks, and the order of a directory's entries. `{{root}}` is the directory of an
exchange. Of two results only the members that differ are shown.
"""


def page() -> str:
    """The page as it has to be."""
    head = _HEAD.format(messages=sum(row.requests for row in ROWS), rows=len(ROWS), version=VERSION)
    return "\n".join([head, *_extras(), *(line for each in DIFFERENCES for line in _part(each))])


def _extras() -> list[str]:
    rows = [
        f"| `{where}` | {', '.join(f'`{name}`' for name in names)} |"
        for where, names in EXTRAS.items()
    ]
    return [
        "## Members that only our answers have\n",
        "A harness of Codex passes over them.\n",
        "| where | members |",
        "|---|---|",
        *rows,
        "",
    ]


def _part(difference: Difference) -> list[str]:
    rows = [
        f"| {'; '.join(names)}{_step(names[0], number, apart)} | {_code(codex)} | {_code(ours)} |"
        for names, apart in difference.rows.items()
        for number, (codex, ours) in apart.items()
    ]
    return [
        f"## {difference.title}\n",
        f"{fill(difference.reason, 100, break_on_hyphens=False)}\n",
        "| what was tried | Codex | sansrelay |",
        "|---|---|---|",
        *dict.fromkeys(rows),
        "",
    ]


def _step(name: str, number: int, apart: Apart) -> str:
    if len(apart) == 1:
        return ""
    step = next(row for row in ROWS if row.name == name).steps[number]
    what = f"`{step.method}`" if isinstance(step, Ask) else type(step).__name__.lower()
    return f" ({what})"


def _code(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    return f"`{text}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
