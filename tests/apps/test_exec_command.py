"""`sansrelay exec` as a process: arguments, descriptors, signals."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import trio
from apps_kit import PATIENCE, SANSRELAY, closed_port, environment, first_line, relay, started
from sansrelay_apps.exec_command import command

pytestmark = pytest.mark.trio


def call(*arguments: str) -> Result:
    env: Mapping[str, str | None] = {"SANSRELAY_TOKEN": "t"}
    given = ["--registry", f"http://127.0.0.1:{closed_port()}", "--id", "box1", *arguments]
    return CliRunner().invoke(command, given, env=env)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "no program: give it after --, like: -- ls -l"),
        (("--",), "no program: give it after --, like: -- ls -l"),
        (("--cwd", "sub", "--", "ls"), "--cwd has to be absolute: a directory over there"),
        (("--cwd", "/\udcff", "--", "ls"), "--cwd is not UTF-8, and the protocol carries"),
        (("--env", "PATH", "--", "ls"), "write --env as NAME=VALUE: nothing local is sent"),
        (("--env", "=x", "--", "ls"), "write --env as NAME=VALUE: nothing local is sent"),
        (("--env", "A=\udcff", "--", "ls"), "--env is not UTF-8, and the protocol carries"),
        (("--", "\udcff"), "the program's name is not UTF-8, and the protocol carries"),
        (("--", "ls", "a", "\udcff"), "argument 2 is not UTF-8, and the protocol carries"),
    ],
)
async def test_arguments_that_can_not_be_used(arguments: tuple[str, ...], line: str) -> None:
    result = await trio.to_thread.run_sync(call, *arguments)
    assert result.exit_code == 255
    assert result.stderr.startswith(f"sansrelay: {line}")
    assert result.stderr.count("\n") == 1


async def test_a_registry_that_is_not_there() -> None:
    result = await trio.to_thread.run_sync(call, "--", "ls")
    assert (result.exit_code, result.stdout) == (255, "")
    assert "refused the connection: nothing listens there; check --registry" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), 255, "others could read the token on its way to 0.0.0.0: use https://"),
        (("--insecure",), 0, ""),
    ],
)
async def test_another_machine_without_tls(
    arguments: tuple[str, ...], status: int, words: str
) -> None:
    async with relay() as place:
        # This machine too, but not by an address that is known to be so.
        url = place.url.replace("127.0.0.1", "0.0.0.0")
        script = '$SANSRELAY exec "$@" -- true'
        done = await shell(script, "--registry", url, "--id", "box1", *arguments)
    assert (done[0], done[1]) == (status, b"")
    assert words in done[2].decode()
    assert done[2].count(b"\n") == bool(words)


# -- as a process


async def shell(script: str, *parameters: str) -> tuple[int, bytes, bytes]:
    """Run a bash script; its parameters are $1 and so on, and SANSRELAY the command."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            ["bash", "-c", script, "bash", *parameters],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(SANSRELAY=" ".join(SANSRELAY)),
        )
    return done.returncode, done.stdout, done.stderr


async def test_a_pipeline_that_loses_its_reader() -> None:
    async with relay() as place:
        script = '$SANSRELAY exec "$@" -- yes | head -1; echo ${PIPESTATUS[0]}'
        assert await shell(script, *place.options) == (0, b"y\n141\n", b"")


@pytest.mark.parametrize(
    ("closed", "out", "err"), [("<&-", b"out\n", b"err\n"), ("2>&-", b"out\n", b"")]
)
async def test_closed_descriptors_get_no_bytes(closed: str, out: bytes, err: bytes) -> None:
    async with relay() as place:
        script = f'$SANSRELAY exec "$@" -- sh -c "echo out; echo err >&2; exit 3" {closed}'
        assert await shell(script, *place.options) == (3, out, err)


@pytest.mark.parametrize(
    ("closed", "line"),
    [
        (">&-", b"sansrelay: can't write to standard output: Bad file descriptor\n"),
        ("<&- >&- 2>&-", b""),
    ],
)
async def test_output_for_a_closed_descriptor_is_a_failure(closed: str, line: bytes) -> None:
    async with relay() as place:
        script = f'$SANSRELAY exec "$@" -- echo out {closed}'
        assert await shell(script, *place.options) == (255, b"", line)


async def test_a_closed_output_that_nothing_is_written_to() -> None:
    async with relay() as place:
        script = '$SANSRELAY exec "$@" -- sh -c "exit 3" >&-'
        assert await shell(script, *place.options) == (3, b"", b"")


async def test_a_terminal_as_input_holds_nothing_up() -> None:
    async with relay() as place:
        master, slave = pty.openpty()
        try:
            async with started("exec", *place.options, "--", "head", "-1", stdin=slave) as process:
                os.write(master, b"typed\n")
                assert await first_line(process) == "typed"
                with trio.fail_after(PATIENCE):
                    assert await process.wait() == 0
        finally:
            os.close(master)
            os.close(slave)


async def test_end_of_input_on_a_terminal() -> None:
    async with relay() as place:
        master, slave = pty.openpty()
        try:
            async with started("exec", *place.options, "--", "wc", "-c", stdin=slave) as process:
                os.write(master, b"12\n\x04")
                assert await first_line(process) == "3"
                with trio.fail_after(PATIENCE):
                    assert await process.wait() == 0
        finally:
            os.close(master)
            os.close(slave)


LOOP = "echo $$; while :; do sleep 0.01; done"


async def remote_has_gone(pid: int) -> None:
    with trio.fail_after(PATIENCE):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110 (it is no child of ours)
            await trio.sleep(0.01)


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT],
    ids=lambda number: number.name,
)
async def test_a_signal_ends_the_program_and_then_the_command(number: signal.Signals) -> None:
    async with relay() as place:
        async with started(
            "exec", *place.options, "--", "sh", "-c", LOOP, stderr=subprocess.PIPE
        ) as process:
            pid = int(await first_line(process))
            process.send_signal(number)
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 128 + number
            assert process.stderr is not None
            assert await process.stderr.receive_some() == b""
        assert not Path(f"/proc/{pid}").exists()


async def test_a_second_interrupt_gives_up_at_once() -> None:
    async with relay() as place:
        script = "trap 'echo no' INT; echo $$; while :; do sleep 0.01; done"
        async with started("exec", *place.options, "--", "sh", "-c", script) as process:
            assert process.stdout is not None
            pid = int(await first_line(process))
            process.send_signal(signal.SIGINT)
            assert await first_line(process) == "no"
            process.send_signal(signal.SIGINT)
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 130
        await remote_has_gone(pid)


async def test_an_interrupt_while_it_waits_for_an_executor() -> None:
    async with relay() as place:
        other = ("--registry", place.url, "--id", "nobody")
        async with started(
            "exec", "-v", *other, "--wait", "1h", "--", "true", stderr=subprocess.PIPE
        ) as process:
            assert process.stderr is not None
            log = b""
            with trio.fail_after(PATIENCE):
                while b"no executor is connected as nobody" not in log:
                    log += await process.stderr.receive_some()
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 130


async def test_signals_that_were_to_be_ignored_stay_so() -> None:
    async with relay() as place:
        script = "trap '' HUP INT; exec $0 -m sansrelay_apps exec \"$@\" -- sh -c 'echo up; cat'"
        process = await trio.lowlevel.open_process(
            ["bash", "-c", script, sys.executable, *place.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            assert await first_line(process) == "up"
            process.send_signal(signal.SIGHUP)
            process.send_signal(signal.SIGINT)
            await process.stdin.send_all(b"still here\n")
            assert await first_line(process) == "still here"
            await process.stdin.aclose()
            with trio.fail_after(PATIENCE):
                assert await process.wait() == 0


async def test_the_log_is_on_standard_error() -> None:
    async with relay() as place:
        status, out, err = await shell('$SANSRELAY exec -v "$@" -- true', *place.options)
    assert (status, out) == (0, b"")
    lines = [line.split(maxsplit=2) for line in err.decode().splitlines()]
    assert {prefix for prefix, _, _ in lines} == {"sansrelay:"}
    times = [datetime.fromisoformat(time) for _, time, _ in lines]
    assert times == sorted(times)
    assert abs((datetime.now(UTC) - times[-1]).total_seconds()) < PATIENCE
    log = [message for _, _, message in lines]
    assert "the program has exited with 0" in log
    assert any(message.startswith("connected to box1: sansrelay ") for message in log)


async def test_the_counters_are_written_in_the_end(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    script = '$SANSRELAY exec "$@"'
    async with relay() as place:
        done = await shell(script, *place.options, "--stats", str(good), "--", "echo", "x")
        assert done == (0, b"x\n", b"")
        done = await shell(script, *place.options, "--stats", str(bad), "--", "no-such-program")
        assert done[0] == 127
        done = await shell(script, *place.options, "--stats", "/no/such/file", "--", "true")
        assert done[0] == 255
    for path in (good, bad):
        counters = json.loads(path.read_text())
        assert (counters["links_opened"], counters["streams_opened"]) == (1, 1)
