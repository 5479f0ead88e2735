"""The option `-v`, and the log that it turns on."""

import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

__all__ = ["verbose_option"]

P = ParamSpec("P")
R = TypeVar("R")

_COUNTER = "sansrelay.verbosity"
_HANDLER = "sansrelay.log"
_TALKATIVE = ("httpcore", "httpx")
"""They log URLs and headers, which may hold secrets."""


def verbose_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add `-v`, which sets up the log by itself. It adds up over all levels of a command line.

    Without any, warnings are logged. Once is for INFO, twice for DEBUG, and both add the time.
    """
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        is_eager=True,
        callback=_set_up_log,
        help="Log to standard error; -vv says more.",
    )(function)


def _set_up_log(ctx: click.Context, param: click.Parameter, value: int) -> None:
    verbosity = ctx.meta[_COUNTER] = ctx.meta.get(_COUNTER, 0) + value
    handler = ctx.meta.get(_HANDLER)
    if handler is None:
        handler = ctx.meta[_HANDLER] = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("sansrelay: %(message)s"))
        logging.basicConfig(handlers=[handler])
    if verbosity:
        handler.setFormatter(_timed())
        logging.getLogger().setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
        for library in _TALKATIVE:
            logging.getLogger(library).setLevel(logging.WARNING)


def _timed() -> logging.Formatter:
    """Lines with the time in UTC, so that those of two machines can be compared."""
    formatter = logging.Formatter(
        "sansrelay: %(asctime)s.%(msecs)03dZ %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    return formatter
