"""The demo's words: plain lines, or a live view on a terminal."""

import time
from dataclasses import dataclass, field
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

__all__ = ["LiveShow", "PlainShow", "Row", "Show", "print_table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the closing table."""

    what: str
    value: str


class Show(Protocol):
    """What the demo says while it runs."""

    def say(self, line: str) -> None:
        """One thing that happened."""

    def progress(self, received: int, total: int, commands: int) -> None:
        """How far the big transfer and the small commands are."""


@dataclass
class PlainShow:
    """A line for each thing that happens, with the seconds since the start."""

    console: Console
    started: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """Print it."""
        self.console.print(
            f"{time.monotonic() - self.started:6.2f} s  {line}", highlight=False, soft_wrap=True
        )

    def progress(self, received: int, total: int, commands: int) -> None:
        """Nothing: lines tell enough."""


class LiveShow:
    """The same lines above a bar that moves."""

    def __init__(self, console: Console) -> None:
        self._plain = PlainShow(console)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        )
        self._task: TaskID | None = None
        self._commands = Text("  agent 2: no command yet")
        self._live = Live(Group(self._progress, self._commands), console=console, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)

    def say(self, line: str) -> None:
        """Print it above the view."""
        self._plain.say(line)

    def progress(self, received: int, total: int, commands: int) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._progress.add_task("  agent 1", total=total)
        self._progress.update(self._task, completed=received)
        self._commands.plain = f"  agent 2: {commands} commands done"


def print_table(console: Console, rows: list[Row]) -> None:
    """The figures at the end."""
    table = Table(show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(row.what, row.value)
    console.print(table)
