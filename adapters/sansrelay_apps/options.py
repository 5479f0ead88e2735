"""Options that several commands share, and the checks that go with them.

A token is never an argument: every process of the machine could read it there.
"""

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from sansrelay.http import UrlError, parse_http_url
from sansrelay.network import is_loopback
from sansrelay.registry import MAX_TOKEN_LENGTH, RegistryArgument, RegistryError, connect_request

from .errors import USAGE, CliError
from .verbosity import verbose_option

__all__ = [
    "RegistryAccess",
    "duration",
    "duration_or_zero",
    "plaintext_option",
    "registry_options",
    "verbose_option",
]

P = ParamSpec("P")
R = TypeVar("R")

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


def duration(text: str) -> int:
    """For the `type` of an option: a length of time as whole seconds, at least one."""
    seconds = duration_or_zero(text)
    if not seconds:
        raise click.BadParameter(f"{text!r} is too short: use at least 1s")
    return seconds


def duration_or_zero(text: str) -> int:
    """For the `type` of an option: a length of time as whole seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time: use 90, 90s, 15m, 12h or 1d")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """Which registry to ask about which executor, checked. `repr` hides the token."""

    base_url: str
    id: str
    token: str = field(repr=False)
    insecure: bool = False
    """Whether plain ws:// and http:// may lead to other machines."""


def plaintext_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--plaintext`. As long as there is no encryption, it changes nothing."""
    return click.option(
        "--plaintext",
        is_flag=True,
        expose_value=False,
        help="Speak the plaintext relay. There is no other yet.",
    )(function)


def registry_options(function: Callable[Concatenate[RegistryAccess, P], R]) -> Callable[P, R]:
    """Add `--registry`, `--id`, `--token-file`, `--insecure` and `-v`.

    The function gets a `RegistryAccess` as its first argument. What is missing or not valid ends
    the command with status 2 before the function is called.
    """

    @click.option(
        "--registry",
        "registry_url",
        metavar="URL",
        envvar="SANSRELAY_REGISTRY",
        show_envvar=True,
        help="The registry's base URL, http:// or https://.",
    )
    @click.option(
        "--id",
        "executor_id",
        metavar="ID",
        envvar="SANSRELAY_ID",
        show_envvar=True,
        help="The executor's id.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        help="A file with the token for the registry, to be used in the place of the environment "
        "variable SANSRELAY_TOKEN.",
    )
    @click.option(
        "--insecure",
        is_flag=True,
        envvar="SANSRELAY_INSECURE",
        show_envvar=True,
        help="Let http:// and ws:// lead to other machines than this one. Whoever is between can "
        "then read and change everything, the token included.",
    )
    @verbose_option
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        names = ("registry_url", "executor_id", "token_file", "insecure")
        given = [kwargs.pop(name) for name in names]
        return function(_access(*given), *args, **kwargs)

    return wrapper


def _access(
    url: object, executor_id: object, token_file: object, insecure: object
) -> RegistryAccess:
    if not isinstance(url, str):
        raise CliError("no registry: give --registry URL or set SANSRELAY_REGISTRY", status=USAGE)
    if not isinstance(executor_id, str):
        raise CliError("no executor id: give --id ID or set SANSRELAY_ID", status=USAGE)
    if isinstance(token_file, str):
        source, token = "the token in the token file", _read_token(token_file)
    else:
        source, token = "the token in SANSRELAY_TOKEN", os.environ.get("SANSRELAY_TOKEN", "")
        if not token:
            raise CliError("no token: set SANSRELAY_TOKEN or give --token-file FILE", status=USAGE)
    try:
        connect_request(url, executor_id, token)
    except UrlError as error:
        raise CliError(f"the registry's URL can't be used: {error}", status=USAGE) from None
    except RegistryError as error:
        name = "the executor's id" if error.cause is RegistryArgument.ID else source
        raise CliError(f"{name} can't be used: {error}", status=USAGE) from None
    base = parse_http_url(url)
    if not (base.secure or insecure or is_loopback(base.host)):
        raise CliError(
            f"others could read the token on its way to {base.host}: use https:// in the "
            "registry's URL, or --insecure if the network between is trusted",
            status=USAGE,
        )
    return RegistryAccess(base_url=url, id=executor_id, token=token, insecure=bool(insecure))


def _read_token(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(2 * MAX_TOKEN_LENGTH)
    except (OSError, ValueError) as error:
        detail = (isinstance(error, OSError) and error.strerror) or str(error)
        name = click.format_filename(path)
        raise CliError(f"the token file {name} can't be read: {detail}", status=USAGE) from None
    return content.decode("ascii", "replace").strip()
