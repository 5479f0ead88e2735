"""The option `-v`, and the log that it turns on."""

import logging
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

__all__ = ["verbose_option"]

P = ParamSpec("P")
R = TypeVar("R")

_COUNTER = "sansrelay.verbosity"


def verbose_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add `-v`, which sets up the log by itself. It adds up over all levels of a command line.

    Without any, warnings are logged. Once is for INFO, twice for DEBUG.
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
    logging.basicConfig(format="sansrelay: %(message)s", stream=sys.stderr)
    if verbosity:
        logging.getLogger().setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
