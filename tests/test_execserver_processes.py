"""What becomes of real processes: start, signals, ends."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import (
    LONG,
    PATH,
    is_running,
    open_session,
)
from sansrelay.jsonrpc import RpcError

pytestmark = pytest.mark.trio

START = {"processId": "p", "argv": ["true"], "cwd": "/", "env": {}}


# -- running a command


async def test_output_exit_and_close_in_one_numbering() -> None:
    async with open_session() as client:
        ended = await client.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert ended.output == {"stdout": b"out\n", "stderr": b"err\n"}
    assert ended.exit_code == 3
    assert "signal" not in ended.exited
    assert ended.events[-1] == "process/closed"
    assert sorted(ended.events[:-1]) == ["process/exited", "process/output", "process/output"]


async def test_a_command_without_output() -> None:
    async with open_session() as client:
        ended = await client.run("true")
    assert (ended.events, ended.exit_code) == (["process/exited", "process/closed"], 0)


@pytest.mark.parametrize("data", [bytes(range(256)), b"\xff\xfe\xed\xa0\x80"])
async def test_output_is_bytes_not_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(data)
    async with open_session() as client:
        ended = await client.run("cat", "data", cwd=str(tmp_path))
    assert ended.output == {"stdout": data}


async def test_much_output_arrives_whole(tmp_path: Path) -> None:
    data = os.urandom(1_500_000)
    (tmp_path / "data").write_bytes(data)
    async with open_session(retain_bytes=1) as client:
        ended = await client.run("cat", "data", cwd=str(tmp_path))
    assert ended.output["stdout"] == data


async def test_exited_may_come_before_the_last_output_and_closed_never(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    async with open_session(drain_grace=LONG) as client:
        await client.start("sh", "-c", '(read x < "$0"; echo late) & exit 4', str(gate))
        method, exited = await client.notification()
        assert (method, exited["seq"], exited["exitCode"]) == ("process/exited", 1, 4)
        await trio.Path(gate).write_text("go\n")
        ended = await client.until_closed(first_seq=2)
    assert ended.events == ["process/output", "process/closed"]
    assert ended.output == {"stdout": b"late\n"}


async def test_a_daemon_that_keeps_the_output_open_does_not_keep_the_process_open() -> None:
    async with open_session(drain_grace=0.05) as client:
        ended = await client.run("sh", "-c", f"sleep {LONG} & echo $!")
        pid = int(ended.output["stdout"])
        assert is_running(pid)
    assert not is_running(pid)


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
async def test_death_by_signal_is_told_twice_over(name: str) -> None:
    number = signal.Signals[f"SIG{name}"]
    async with open_session() as client:
        ended = await client.run("sh", "-c", f"kill -{name} $$")
        read = await client.call("process/read", processId="p")
    assert (ended.exit_code, ended.exited["signal"]) == (128 + number, number)
    assert (read["exitCode"], read["signal"]) == (128 + number, number)


@pytest.mark.parametrize(
    ("params", "number", "what"),
    [
        ({"argv": ["/nowhere/program"]}, 2, "program"),
        ({"argv": ["no-such-program"], "env": PATH}, 2, "program"),
        ({"argv": ["./program"], "tty": True}, 2, "program"),
        ({"cwd": "/nowhere"}, 2, "cwd"),
        ({"cwd": "/nowhere", "argv": ["/nowhere"]}, 2, "cwd"),
        ({"cwd": "/nowhere", "tty": True}, 2, "cwd"),
        ({"cwd": "/etc/passwd"}, 20, "cwd"),
        ({"argv": ["/etc/passwd"]}, 13, "program"),
        ({"argv": ["/tmp"], "cwd": "/tmp"}, 13, "program"),
        ({"argv": ["/bin/true", "x" * 1_000_000]}, 7, "program"),
    ],
)
async def test_what_can_not_be_started(params: dict[str, Any], number: int, what: str) -> None:
    texts = {
        2: ("ENOENT", "No such file or directory (os error 2)"),
        7: ("E2BIG", "Argument list too long (os error 7)"),
        13: ("EACCES", "Permission denied (os error 13)"),
        20: ("ENOTDIR", "Not a directory (os error 20)"),
    }
    name, text = texts[number]
    async with open_session() as client:
        error = await client.fail("process/start", **(START | params))
        assert error == RpcError(
            code=-32603, message=text, data={"errno": number, "errnoName": name, "what": what}
        )
        # The id is still free.
        assert (await client.run("true")).exit_code == 0


async def test_what_fails_on_our_side_blames_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "openpty", no_terminal)
    async with open_session() as client:
        error = await client.fail("process/start", **(START | {"tty": True}))
    assert error.data == {"errno": 24, "errnoName": "EMFILE"}


async def test_unknown_members_and_a_sandbox_are_tolerated() -> None:
    async with open_session() as client:
        ended = await client.run("true", sandbox={"policy": "ReadOnly"}, managedNetwork=None)
    assert ended.exit_code == 0


@pytest.mark.parametrize("form", ["{}", "file://{}", "file:{}", "file://localhost{}"])
async def test_the_working_directory_as_path_and_as_uri(form: str, tmp_path: Path) -> None:
    directory = tmp_path / "a dir é"
    directory.mkdir()
    path = str(directory)
    if form != "{}":
        path = path.replace(" ", "%20").replace("é", "%C3%A9")
    async with open_session() as client:
        ended = await client.run("pwd", cwd=form.format(path))
    assert ended.output["stdout"] == f"{directory}\n".encode()


async def test_without_a_policy_a_process_has_only_the_given_variables() -> None:
    async with open_session() as client:
        ended = await client.run("/usr/bin/env", env={"ONLY": "this é"})
    assert ended.output == {"stdout": "ONLY=this é\n".encode()}


async def test_with_a_policy_the_executors_variables_come_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("OTHER", "x")
    policy = {"inherit": "core", "ignoreDefaultExcludes": False, "includeOnly": ["h*"]}
    async with open_session() as client:
        ended = await client.run("/usr/bin/env", env={"MINE": "1"}, envPolicy=policy)
    assert ended.output == {"stdout": b"HOME=/home/me\nMINE=1\n"}


async def test_arg0_is_what_the_program_takes_for_its_name() -> None:
    async with open_session() as client:
        ended = await client.run("sh", "-c", "echo $0", arg0="custom name")
    assert ended.output == {"stdout": b"custom name\n"}


async def test_a_process_leads_a_session_and_a_group() -> None:
    script = "import os; print(os.getpid() == os.getsid(0) == os.getpgid(0))"
    async with open_session() as client:
        ended = await client.run(sys.executable, "-c", script)
    assert ended.output == {"stdout": b"True\n"}


# -- signals and ends


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("interrupt", signal.SIGINT),
        ("terminate", signal.SIGTERM),
        ("hangup", signal.SIGHUP),
        ("kill", signal.SIGKILL),
        ("quit", signal.SIGQUIT),
        ("user1", signal.SIGUSR1),
        ("user2", signal.SIGUSR2),
    ],
)
async def test_signals_reach_the_whole_group(name: str, number: int) -> None:
    # The child's own child holds its output open: closed comes only when both are gone.
    script = "import os, time; os.fork(); print('ready', flush=True); time.sleep(60)"
    async with open_session(drain_grace=LONG) as client:
        await client.start(sys.executable, "-c", reset_signals(script))
        await client.output_until(b"ready\nready\n")
        assert await client.call("process/signal", processId="p", signal=name) == {}
        exited = await client.until("process/exited")
        assert (exited["exitCode"], exited["signal"]) == (128 + number, number)
        await client.until("process/closed")


def reset_signals(script: str) -> str:
    """A script with the default reactions, whatever this test run was started with."""
    return (
        "import signal\n"
        "for s in ('INT', 'QUIT', 'HUP'): signal.signal(getattr(signal, 'SIG' + s), 0)\n" + script
    )


async def test_stop_and_continue() -> None:
    async with open_session() as client:
        await client.start("cat", pipeStdin=True)
        await client.call("process/signal", processId="p", signal="stop")
        await client.call("process/write", processId="p", chunk="aGk=")
        await client.call("process/signal", processId="p", signal="continue")
        assert await client.output_until(b"hi") == b"hi"


async def test_a_signal_to_nobody() -> None:
    async with open_session() as client:
        error = await client.fail("process/signal", processId="p", signal="interrupt")
        assert error.code == -32600
        await client.run("true")
        assert await client.call("process/signal", processId="p", signal="interrupt") == {}


GENTLE = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"asked\\n"))
os.write(1, b"ready\\n")
sys.stdin.read()
sys.exit(5)
"""


async def test_terminate_is_answered_at_once_and_gentle() -> None:
    async with open_session(kill_grace=LONG) as client:
        await client.start(sys.executable, "-c", GENTLE, pipeStdin=True)
        await client.output_until(b"ready\n")
        for _ in range(2):
            assert await client.call("process/terminate", processId="p") == {"running": True}
            await client.output_until(b"asked\n")
        await client.call("process/closeStdin", processId="p")
        ended = await client.until_closed(first_seq=4)
        assert ended.exit_code == 5
        assert await client.call("process/terminate", processId="p") == {"running": False}
        assert await client.call("process/terminate", processId="other") == {"running": False}


async def test_terminate_kills_what_does_not_end() -> None:
    async with open_session(kill_grace=0.05) as client:
        await client.start("sh", "-c", "trap '' TERM; echo ready; sleep 60; sleep 60")
        await client.output_until(b"ready\n")
        await client.call("process/terminate", processId="p")
        ended = await client.until_closed(first_seq=2)
    assert (ended.exit_code, ended.exited["signal"]) == (137, 9)


async def test_terminate_kills_what_is_left_of_the_group() -> None:
    script = "(trap '' TERM; echo ready; sleep 60) & wait"
    async with open_session(kill_grace=0.05, drain_grace=LONG) as client:
        await client.start("sh", "-c", script)
        await client.output_until(b"ready\n")
        await client.call("process/terminate", processId="p")
        ended = await client.until_closed(first_seq=2)  # comes when nobody holds the output
    assert ended.exit_code == 143


async def test_an_id_is_taken_until_its_process_is_forgotten() -> None:
    async with open_session() as client:
        await client.run("true")
        error = await client.fail("process/start", **START)
        assert error.code == -32600
        assert "'p' already exists" in error.message
    async with open_session(closed_retention=0) as client:
        await client.run("true")
        while (response := await client.attempt("process/read", processId="p")).error is None:
            pass
        assert response.error.code == -32600
        assert (await client.run("true")).exit_code == 0


async def test_no_more_processes_than_allowed() -> None:
    async with open_session(max_processes=2) as client:
        await client.start("cat", process_id="a", pipeStdin=True)
        await client.start("cat", process_id="b", pipeStdin=True)
        error = await client.fail("process/start", **START)
        assert error.code == -32600
        assert "max_processes" in error.message
        await client.call("process/closeStdin", processId="b")
        await client.until_closed("b")
        await client.start("cat", process_id="c", pipeStdin=True)  # in the place of b
        assert (await client.fail("process/read", processId="b")).code == -32600
        assert (await client.call("process/read", processId="a"))["exited"] is False


async def test_a_closed_process_whose_group_lives_keeps_its_place() -> None:
    async with open_session(max_processes=1, closed_retention=0, drain_grace=0) as client:
        await client.run("sh", "-c", "sleep 60 & exit 0")
        again = START | {"processId": "q"}
        assert (await client.fail("process/start", **again)).code == -32600
        assert await client.call("process/signal", processId="p", signal="kill") == {}
        while (await client.attempt("process/start", **again)).error is not None:
            pass
