"""`sansrelay exec`: run one command on an executor's machine."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

import trio
from sansrelay.events import Event, PeerSilent, StreamResumed
from sansrelay.trace import trace_line
from sansrelay_trio import ConnectError, Registry, open_harness

from .diagnose import explain_connect_error
from .errors import USAGE, CliError
from .exec_client import RemoteCommand, run_remote
from .options import RegistryAccess, duration_or_zero, plaintext_option, registry_options
from .remote_failure import RELAY_FAILED, RemoteFailure
from .stats_file import stats_option, write_stats
from .stdio import FdSink, FdSource, open_missing_descriptors

__all__ = ["command"]

_log = logging.getLogger(__name__)


class _ExecCommand(click.Command):
    """Every failure of our own has status 255: any other might be the program's."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line."""
        with _own_failures():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _own_failures():
            return super().invoke(ctx)


@contextmanager
def _own_failures() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        if error.exit_code in (1, USAGE):
            # click declares a constant of the class, and reads it from the instance.
            error.exit_code = RELAY_FAILED  # type: ignore[misc]
        raise


@click.command(
    "exec",
    cls=_ExecCommand,
    short_help="Run one command on an executor's machine.",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS] --",
)
@registry_options
@click.option("--cwd", metavar="DIR", help="Absolute directory to run in; else the executor's own.")
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    help="A variable for the program; may be given more than once.",
)
@click.option(
    "--wait",
    metavar="TIME",
    type=duration_or_zero,
    default="10s",
    show_default=True,
    help="How long to try again while the executor is not connected.",
)
@plaintext_option
@stats_option
@click.argument("argv", metavar="PROGRAM [ARGUMENT]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    access: RegistryAccess,
    *,
    cwd: str | None,
    variables: tuple[str, ...],
    wait: int,
    stats: Path | None,
    argv: tuple[str, ...],
) -> None:
    """Run PROGRAM on the machine of an executor, as if it ran here.

    Standard input, output and error are passed through, byte for byte. The program starts from the
    executor's environment, less what looks like a secret (*KEY*, *SECRET*, *TOKEN*); nothing of the
    local environment is sent but what --env says.

    ^C interrupts the program and waits for its end; a second one gives up at once, and with the
    connection the program is ended. TERM and HUP terminate it, and give up after 5 seconds.

    \b
    Exit status: the program's own, or
      126  the program can't be run there
      127  there is no such program
      128+N  the program was ended by signal N, or this command was
      130  after ^C
      141  nobody reads the output any more
      255  the command line can't be used, the relay failed, or a foreign executor
           doesn't tell; a line says why
    """
    remote = RemoteCommand(
        executor=access.id, argv=_argv(argv), cwd=_directory(cwd), env=_environment(variables)
    )
    open_missing_descriptors()
    try:
        status = trio.run(
            _run,
            access,
            remote,
            float(wait),
            stats,
            restrict_keyboard_interrupt_to_checkpoints=True,
        )
    except RemoteFailure as failure:
        raise CliError(str(failure), status=failure.status) from None
    except ConnectError as error:
        raise CliError(explain_connect_error(error), status=RELAY_FAILED) from None
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    ctx.exit(status)


async def _run(
    access: RegistryAccess, remote: RemoteCommand, wait: float, stats: Path | None
) -> int:
    deadline = trio.current_time() + wait
    registry = Registry(access.base_url, access.id, token=access.token)
    # While this connects, a signal may simply end the process: there is nothing to clean up.
    async with open_harness(
        registry, insecure=access.insecure, wait=wait, on_event=_log_event
    ) as harness:
        try:
            with trio.open_signal_receiver(*_signals()) as signals:
                return await run_remote(
                    harness.open_stream,
                    remote,
                    stdin=FdSource(0),
                    stdout=FdSink(1),
                    stderr=FdSink(2),
                    signals=signals,
                    deadline=deadline,
                )
        finally:
            if stats is not None:
                write_stats(stats, harness.stats())


def _signals() -> list[signal.Signals]:
    """The signals to pass on: not those that were to be ignored from the start (nohup, or `&` in
    a script)."""
    able = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    return [signal.SIGTERM, *(s for s in able if signal.getsignal(s) is not signal.SIG_IGN)]


def _log_event(event: Event) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s", trace_line(event, trio.current_time()))
    match event:
        case StreamResumed():
            _log.info("the stream goes on, nothing is lost")
        case PeerSilent():
            _log.info("nothing came from the executor for %g s", event.silence)


def _argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    if not argv:
        raise CliError("no program: give it after --, like: -- ls -l", status=USAGE)
    for number, argument in enumerate(argv):
        _check_text(argument, f"argument {number}" if number else "the program's name")
    return argv


def _directory(cwd: str | None) -> str | None:
    if cwd is not None:
        _check_text(cwd, "--cwd")
        if not cwd.startswith("/"):
            raise CliError("--cwd has to be absolute: a directory over there", status=USAGE)
    return cwd


def _environment(variables: tuple[str, ...]) -> dict[str, str]:
    env: dict[str, str] = {}
    for variable in variables:
        _check_text(variable, "--env")
        name, equals, value = variable.partition("=")
        if not name or not equals:
            raise CliError(
                "write --env as NAME=VALUE: nothing local is sent by itself", status=USAGE
            )
        env[name] = value
    return env


def _check_text(text: str, what: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CliError(
            f"{what} is not UTF-8, and the protocol carries nothing else", status=USAGE
        ) from None
