"""The command `sansrelay`: a table of commands, each imported only when it is asked for."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NoReturn

try:
    import click
except ImportError:
    sys.exit("sansrelay: the command line needs more packages: pip install 'sansrelay[apps]'")

from .entry import heed_interrupts
from .errors import CliError, say
from .verbosity import verbose_option

__all__ = ["LazyGroup", "cli", "main"]

_INTERNAL_ERROR = 255
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a command is, as `module:attribute`, and what the list of commands says about it."""

    target: str
    summary: str


_COMMANDS = {
    "rendezvous": _Entry(
        "sansrelay_apps.rendezvous_command:command",
        "Serve a registry and a rendezvous, where executors and harnesses meet.",
    ),
    "executor": _Entry(
        "sansrelay_apps.executor_command:command",
        "Let harnesses run commands on this machine.",
    ),
    "exec": _Entry(
        "sansrelay_apps.exec_command:command",
        "Run one command on an executor's machine.",
    ),
    "url": _Entry(
        "sansrelay_apps.url_command:command",
        "Print a URL under which an executor can be reached, for Codex.",
    ),
    "decode": _Entry(
        "sansrelay_apps.decode_command:command",
        "Show one relay frame, and what is wrong with it.",
    ),
    "demo": _Entry(
        "sansrelay_apps.demo_command:command",
        "Show on this machine alone what the relay does when connections break.",
    ),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is used, so that no command pays for another.

    A command ends by returning, by `ctx.exit(status)`, or by raising `CliError`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now, or None."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        heed_interrupts()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run, report a failure in one line, and exit."""
        extra["standalone_mode"] = False
        try:
            status = super().main(args, **extra)
        except CliError as error:
            error.show()
            status = error.exit_code
        except click.UsageError as error:
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
            say(f"{error.format_message().rstrip('.')}{hint}")
            status = error.exit_code
        except click.ClickException as error:
            say(error.format_message())
            status = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = _INTERRUPTED
        except OSError as error:
            say(f"can't read or write: {error.strerror or error}")
            status = 1
        except Exception as error:
            logging.getLogger(__name__).info("internal error", exc_info=True)
            say(f"internal error: {error!r} (please report it, with what -v shows)")
            status = _INTERNAL_ERROR
        sys.exit(status)


@click.group(cls=LazyGroup, no_args_is_help=False)
@click.version_option(package_name="sansrelay", message="%(prog)s %(version)s")
@verbose_option
def cli() -> None:
    """Reach machines that can only dial out: a reliable relay for commands.

    Every command has its own --help.
    """


def main() -> NoReturn:
    """Run what the command line of this process says."""
    cli.main(prog_name="sansrelay")
