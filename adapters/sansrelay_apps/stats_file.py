"""The option `--stats`: the counters of a connection, as JSON, when a command ends."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from sansrelay import ConnectionStats

from .errors import CliError

__all__ = ["stats_option", "write_stats"]

P = ParamSpec("P")
R = TypeVar("R")


def stats_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--stats FILE`, which the function gets as `stats`, a path or None."""
    return click.option(
        "--stats",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="In the end, write the connection's counters to a file, as JSON.",
    )(function)


def write_stats(path: Path, stats: ConnectionStats) -> None:
    """Write counters as a JSON object. Raises `CliError`."""
    value: dict[str, object] = {
        item.name: getattr(stats, item.name) for item in fields(stats) if item.name != "dropped"
    }
    value["duplicates_dropped"] = stats.duplicates_dropped
    value["dropped"] = {cause.name.lower(): count for cause, count in stats.dropped.items()}
    try:
        path.write_text(json.dumps(value) + "\n")
    except OSError as error:
        raise CliError(f"can't write the counters to {path}: {error.strerror}", status=1) from None
