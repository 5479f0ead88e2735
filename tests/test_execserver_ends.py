"""What becomes of processes at the end of their session: nothing outlives it."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import (
    LONG,
    Client,
    channel_pair,
    is_running,
    open_report,
    open_session,
)
from sansrelay_apps.execserver import groups, serve_session
from sansrelay_apps.execserver.process import ManagedProcess

pytestmark = pytest.mark.trio

START = {"processId": "p", "argv": ["true"], "cwd": "/", "env": {}}


STUBBORN = """
import os, signal
for name in ("SIGTERM", "SIGHUP", "SIGINT"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
if os.fork() == 0:
    {child}
os.write(1, b"%d\\n" % os.getpid())
while True:
    signal.pause()
"""


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        STUBBORN.format(child="pass"),
        STUBBORN.format(child="os.setpgid(0, 0)"),
    ],
    ids=["one group", "two groups"],
)
async def test_nothing_outlives_its_session(script: str, tty: bool) -> None:
    async with open_session(kill_grace_on_session_end=0.05) as client:
        await client.start(sys.executable, "-c", script, tty=tty)
        output = b""
        while output.count(b"\n") < 2:
            output += await client.output_until(b"\n")
        pids = [int(line) for line in output.split()]
        assert [is_running(pid) for pid in pids] == [True, True]
    assert [is_running(pid) for pid in pids] == [False, False]


DAEMON = """
import os, signal, sys
# Comes from a terminal when its leader has exited, and could come before the daemon has left it.
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if os.fork():
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 3)
os.chdir("/")
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
signal.pause()
"""


async def start_daemon(client: Client, path: Path, **params: Any) -> int:
    """A daemon by the book: an orphan in a session of its own, without our descriptors."""
    async with open_report(path) as report:
        await client.start(sys.executable, "-c", DAEMON, str(path), **params)
        return int(await report.receive_some())


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("closed_retention", [0, LONG])
async def test_a_daemon_ends_with_its_session_and_no_other(
    tty: bool, closed_retention: float, tmp_path: Path
) -> None:
    async with open_session(closed_retention=closed_retention) as bystander:
        other = await start_daemon(bystander, tmp_path / "other")
        async with open_session(closed_retention=closed_retention) as client:
            pid = await start_daemon(client, tmp_path / "pid", tty=tty)
            await client.until("process/closed")
            assert os.getsid(pid) not in (pid, os.getsid(0))
            assert is_running(pid)
        assert not is_running(pid)
        assert is_running(other)
    assert not is_running(other)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_daemon_is_asked_before_it_is_killed(stopped: bool, tmp_path: Path) -> None:
    script = 'exec setsid sh -c "$0" >/dev/null 2>&1 &'
    daemon = "trap 'echo > asked; exit' TERM; echo $$ > ready; while :; do sleep 0.01; done"
    report = tmp_path / "ready"
    async with (
        open_report(report) as ready,
        open_session(kill_grace_on_session_end=LONG) as client,
    ):
        await client.run("sh", "-c", script, daemon, cwd=str(tmp_path))
        pid = int(await ready.receive_some())
        if stopped:
            os.kill(pid, signal.SIGSTOP)
    assert (tmp_path / "asked").exists()


async def test_this_process_keeps_its_own_limits() -> None:
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    async with open_session() as client:
        ended = await client.run("bash", "-c", "ulimit -SR; ulimit -HR")
    soft, hard = ended.output["stdout"].split()
    assert int(soft) >= 2**61
    assert hard == b"unlimited"
    assert resource.getrlimit(resource.RLIMIT_RTTIME) == before


def refused(*_: object) -> None:
    raise OSError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("name", "replacement"),
    [("getrlimit", lambda _: (1000, 1000)), ("setrlimit", refused)],
    ids=["a lower hard limit", "no such limit"],
)
async def test_without_marks_what_stays_in_its_session_is_found(
    name: str, replacement: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, name, replacement)
    async with open_session(closed_retention=0) as client:
        ended = await client.run("bash", "-c", "ulimit -SR; sleep 60 >/dev/null 2>&1 & echo $!")
        limit, pid = ended.output["stdout"].split()
        assert limit == b"unlimited"
        assert is_running(int(pid))
    assert not is_running(int(pid))


async def test_what_a_closed_process_left_behind_ends_with_the_session() -> None:
    async with open_session(drain_grace=0, closed_retention=0) as client:
        ended = await client.run("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
        pid = int(ended.output["stdout"])
        assert is_running(pid)
    assert not is_running(pid)


LAST_WORDS = """
import os, signal, sys, time
def finish(*_):
    sys.stdout.buffer.write(bytes(200_000))
    sys.stdout.flush()
    time.sleep(0.1)
    open("asked", "w").close()
    sys.exit()
signal.signal(signal.SIGTERM, finish)
os.write(1, b"ready\\n")
time.sleep(60)
"""


@pytest.mark.parametrize("shell", [(), ("sh", "-c", '"$@" & wait', "-")], ids=["self", "child"])
async def test_processes_are_asked_before_they_are_killed_and_may_talk(
    shell: tuple[str, ...], tmp_path: Path
) -> None:
    async with open_session(kill_grace_on_session_end=LONG) as client:
        await client.start(*shell, sys.executable, "-c", LAST_WORDS, cwd=str(tmp_path))
        await client.output_until(b"ready\n")
    assert (tmp_path / "asked").exists()


async def test_a_stopped_process_is_asked_too(tmp_path: Path) -> None:
    async with open_session(kill_grace_on_session_end=LONG) as client:
        await client.start(sys.executable, "-c", LAST_WORDS, cwd=str(tmp_path))
        await client.output_until(b"ready\n")
        await client.call("process/signal", processId="p", signal="stop")
    assert (tmp_path / "asked").exists()


async def test_what_does_not_die_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    survivors: list[ManagedProcess] = []

    def survive(process: ManagedProcess, number: int) -> None:
        survivors.append(process)

    with monkeypatch.context() as patch:
        patch.setattr(ManagedProcess, "signal", survive)
        patch.setattr(groups, "_search", lambda *_: ())
        async with open_session(kill_grace_on_session_end=0, cleanup_timeout=0.01) as client:
            await client.start("sh", "-c", "echo $$; exec sleep 60")
            pid = int(await client.output_until(b"\n"))
    assert f"survive SIGKILL: [{pid}]" in caplog.text
    survivors[0].signal(signal.SIGKILL)
    await survivors[0].wait()


async def test_cancelling_ends_the_processes_and_closes_the_channel() -> None:
    ours, theirs = channel_pair()
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, theirs)
            client = Client(ours, theirs)
            await client.call("initialize", clientName="c")
            await client.start("sh", "-c", "echo $$; exec sleep 60")
            pid = int(await client.output_until(b"\n"))
            nursery.cancel_scope.cancel()
        assert not is_running(pid)
        with pytest.raises(trio.EndOfChannel):
            await ours.receive()


async def test_a_client_that_can_not_be_reached_ends_the_session() -> None:
    async with open_session() as client:
        pid = await client.start_cat()
        client.channel.inbound.close()
        await client.post("process/terminate", processId="other")
        # The server's end closes after the last process.
        await client.server_end.closed.wait()
        assert not is_running(pid)


async def test_the_end_of_a_session_does_not_wait_for_a_flood_to_be_read() -> None:
    async with open_session() as client:
        await client.start("sh", "-c", "echo $$; exec yes")
        pid = int((await client.output_until(b"\n")).split()[0])
    assert not is_running(pid)
