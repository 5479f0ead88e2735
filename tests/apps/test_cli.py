"""The group of commands: found lazily, failing in one line."""

import os
import subprocess
import sys
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from sansrelay_apps import cli as cli_module
from sansrelay_apps.cli import cli
from sansrelay_apps.errors import CliError

COMMANDS = ["rendezvous", "executor", "exec", "url", "decode", "demo"]


def test_help_names_all_commands() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    listed = result.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line[2:3].strip()] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name} ")
    assert result.stderr == ""


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"], prog_name="sansrelay")
    assert result.stdout == f"sansrelay {version('sansrelay')}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "Missing command (see cli --help)"),
        (["fly"], "No such command 'fly' (see cli --help)"),
        (["--fly"], "No such option '--fly' (see cli --help)"),
        (["url", "--xyz"], "No such option '--xyz' (see cli url --help)"),
    ],
)
def test_a_bad_command_line(arguments: list[str], line: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert result.stderr == f"sansrelay: {line}\n"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (CliError("no luck", status=7), 7, "sansrelay: no luck\n"),
        (click.ClickException("no click"), 1, "sansrelay: no click\n"),
        (RuntimeError("a bug"), 255, "sansrelay: internal error: RuntimeError('a bug')"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(9), 9, ""),
        (click.exceptions.Exit(8), 8, ""),
    ],
)
def test_how_a_command_ends(
    error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command("decode")
    def failing() -> None:
        raise error

    monkeypatch.setattr(cli_module, "failing", failing, raising=False)
    entry = cli_module._Entry("sansrelay_apps.cli:failing", "Fails.")
    monkeypatch.setitem(cli_module._COMMANDS, "decode", entry)
    result = CliRunner().invoke(cli, ["decode"])
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.lstrip("\n").startswith(line)
    assert result.stderr.strip().count("\n") == 0


def loaded_by(*arguments: str) -> set[str]:
    """The modules that are loaded once a command line is done with."""
    program = (
        "import sys\n"
        "from sansrelay_apps.cli import cli\n"
        "try:\n"
        f"    cli.main({list(arguments)!r})\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return set(done.stderr.decode().split())


def test_help_and_decode_load_no_more_than_they_need() -> None:
    assert not {"sansrelay", "trio", "h11", "google.protobuf"} & loaded_by("--help")
    loaded = loaded_by("decode")
    assert "google.protobuf" in loaded
    assert not {"trio", "h11", "wsproto", "msgspec"} & loaded


def test_exec_does_not_load_the_servers() -> None:
    loaded = loaded_by("exec", "--help")
    assert "sansrelay_trio" in loaded
    assert not {"msgspec", "sansrelay_apps.execserver", "sansrelay_apps.rendezvous"} & loaded


def run_module(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SANSRELAY_")}
    return subprocess.run(
        [sys.executable, "-m", "sansrelay_apps", *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**env, "SANSRELAY_TOKEN": "t"},
    )


def test_the_package_can_be_run() -> None:
    done = run_module("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, b"sansrelay")


@pytest.mark.parametrize("module", ["click", "trio", "wsproto", "sansrelay_apps.options"])
def test_an_interrupt_among_the_imports_ends_it_quietly(module: str) -> None:
    program = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv[1:] = ['exec', '--', 'ls']\n"
        "from sansrelay_apps.entry import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_command_gets_interrupts_as_usual(ignored: bool) -> None:
    program = (
        "import signal, sys\n"
        f"if {ignored}: signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from sansrelay_apps import entry\n"
        "import sansrelay_apps.cli as cli, click\n"
        "@click.command('decode')\n"
        "def command(): print(signal.getsignal(signal.SIGINT).__name__)\n"
        "cli.probe = command\n"
        "cli._COMMANDS['decode'] = cli._Entry('sansrelay_apps.cli:probe', '')\n"
        "sys.argv[1:] = ['decode']\n"
        "entry.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stdout == (b"" if ignored else b"default_int_handler\n")


@pytest.mark.parametrize(
    "arguments", [("-v", "exec", "-v"), ("-vv", "exec"), ("exec", "-v", "--verbose")]
)
def test_verbosity_adds_up_over_the_levels(arguments: tuple[str, ...]) -> None:
    program = (
        "import logging, sys\n"
        "from sansrelay_apps.cli import cli\n"
        "try:\n"
        f"    cli.main({list(arguments)!r})\n"
        "finally:\n"
        "    print(logging.getLogger().level)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.stdout == b"10\n"


def test_a_missing_package_is_told() -> None:
    program = "import sys\nsys.modules['click'] = None\nimport sansrelay_apps.cli\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        b"sansrelay: the command line needs more packages: pip install 'sansrelay[apps]'\n"
    )


def test_the_status_survives_a_line_that_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stderr:
        done = subprocess.run(
            [sys.executable, "-m", "sansrelay_apps", "exec", "--id", "x"],
            stderr=stderr,
            check=False,
        )
    assert done.returncode == 255
