"""How a command fails: one line on standard error, and an exit status."""

from contextlib import suppress
from typing import IO, Any

import click

__all__ = ["USAGE", "CliError", "say"]

USAGE = 2
"""Exit status for a command line, an environment or a file that can't be used."""


def say(message: str) -> None:
    """Write one line to standard error, marked as ours. Whether anybody reads it or not."""
    with suppress(OSError):
        click.echo(f"sansrelay: {message}", err=True)


class CliError(click.ClickException):
    """Ends a command with one line that says what happened and what to do, and a status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        # click declares a constant of the class, and reads it from the instance.
        self.exit_code = status  # type: ignore[misc]

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line. `file` is there for click, and not used."""
        say(self.message)
