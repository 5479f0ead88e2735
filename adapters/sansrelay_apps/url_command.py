"""`sansrelay url`: print a URL under which an executor can be reached."""

import json
from dataclasses import replace

import click

from sansrelay.http import Headers, HttpRequest, parse_http_url
from sansrelay.network import is_loopback
from sansrelay.registry import (
    RegistryCause,
    RegistryFailure,
    connect_request,
    parse_register_response,
    register_request,
)

from .errors import CliError, say
from .options import RegistryAccess, duration, registry_options
from .registry_http import NoAnswer, exchange

__all__ = ["command"]

_FAILED = 1

_HINTS = {
    RegistryCause.UNAUTHORIZED: "check the token, and that it is good for this id and this role",
    RegistryCause.NOT_FOUND: "check --registry and --id",
    RegistryCause.UNAVAILABLE: "try again later",
    RegistryCause.REFUSED: "check --id and --ttl",
    RegistryCause.REDIRECT: "give --registry as the registry itself names it",
    RegistryCause.BAD_RESPONSE: "check that --registry leads to a registry, and not past it",
    RegistryCause.WRONG_ID: "check --id",
    RegistryCause.BAD_URL: "the registry's configuration has to be put right",
}


@click.command("url", short_help="Print a URL under which an executor can be reached, for Codex.")
@registry_options
@click.option(
    "--role",
    type=click.Choice(["harness", "executor"]),
    default="harness",
    show_default=True,
    help="Whose end of the relay the URL is for.",
)
@click.option(
    "--ttl",
    metavar="TIME",
    type=duration,
    help="How long the URL is to be good, like 90s, 15m, 12h or 1d; else the registry decides.",
)
def command(access: RegistryAccess, *, role: str, ttl: int | None) -> None:
    """Print a WebSocket URL that can be dialled as it is, any number of times until it expires.

    The URL holds a secret: who has it can use the executor. For a Codex harness:

    \b
      CODEX_EXEC_SERVER_URL=$(sansrelay url --id box1) codex

    Exit status: 0, 1 if there is no URL, 2 if the command line can't be used.
    """
    request = _request(access, role, ttl)
    try:
        response = exchange(parse_http_url(access.base_url), request)
    except NoAnswer as error:
        raise CliError(str(error), status=_FAILED) from None
    answer = parse_register_response(response, access.id)
    if isinstance(answer, RegistryFailure):
        raise CliError(
            f"no URL from the registry: {answer.message}; {_HINTS[answer.cause]}", status=_FAILED
        )
    members = json.loads(response.body)
    if ttl is not None:
        _compare_ttl(ttl, members.get("expires_in"))
    if not (answer.url.secure or access.insecure or is_loopback(answer.url.host)):
        say("the URL is not wss://: whoever is between can read and change what passes")
    if role == "harness" and "role=harness" not in answer.url.target.partition("?")[2].split("&"):
        say("the URL has no role=harness: a Codex harness would not speak the relay on it")
    click.echo(members["url"])


def _request(access: RegistryAccess, role: str, ttl: int | None) -> HttpRequest:
    ask = connect_request if role == "harness" else register_request
    request = ask(access.base_url, access.id, access.token)
    if ttl is None:
        return request
    return replace(
        request,
        headers=Headers([*request.headers, ("Content-Type", "application/json")]),
        body=json.dumps({"ttl": ttl}).encode(),
    )


def _compare_ttl(asked: int, granted: object) -> None:
    """Say so when the registry does something else than it was asked to."""
    if isinstance(granted, bool) or not isinstance(granted, int | float):
        say("the registry does not tell how long the URL is good: --ttl may have had no effect")
    elif granted != asked:
        say(f"the registry lets the URL live {granted:g} s, not the {asked} s asked for")
