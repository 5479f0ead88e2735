"""Runs the real commands as processes, for the end-to-end tests."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

SANSRELAY = (sys.executable, "-m", "sansrelay_apps")
TOKEN = "end-to-end"
PATIENCE = 30.0
"""Seconds that anything may take before a test fails."""


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    status: int
    out: bytes
    err: bytes

    @property
    def line(self) -> str:
        """The one line on standard error. Fails if there is not exactly one."""
        lines = self.err.decode().splitlines()
        assert len(lines) == 1, lines
        return lines[0]


@dataclass(frozen=True)
class Place:
    """Where the rendezvous is and which executor to ask for."""

    url: str
    server: trio.Process
    executor_id: str = "box1"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def options(self) -> tuple[str, ...]:
        return "--registry", self.url, "--id", self.executor_id


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SANSRELAY_")}
    return {**kept, "SANSRELAY_TOKEN": TOKEN, **extra}


@asynccontextmanager
async def started(
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stderr: int | None = None,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[trio.Process]:
    """A `sansrelay` command that runs until the end of the block, and is gone then."""
    process = await trio.lowlevel.open_process(
        [*SANSRELAY, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=env or environment(),
        cwd=cwd,
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
                with trio.move_on_after(PATIENCE):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
                    raise AssertionError(f"{arguments[0]} did not end on SIGTERM")
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()


async def first_line(process: trio.Process) -> str:
    assert process.stdout is not None
    text = b""
    with trio.fail_after(PATIENCE):
        async for chunk in process.stdout:
            text += chunk
            if text.endswith(b"\n"):
                break
    assert text.count(b"\n") == 1, text
    return text.decode().rstrip("\n")


@asynccontextmanager
async def rendezvous(*extra: str, port: int = 0) -> AsyncIterator[Place]:
    """A rendezvous on a port, or on a free one."""
    async with started("rendezvous", "--dev", "--listen", f"127.0.0.1:{port}", *extra) as process:
        line = await first_line(process)
        assert line.startswith("ready http://127.0.0.1:")
        yield Place(line.removeprefix("ready "), process)


@asynccontextmanager
async def executor(place: Place) -> AsyncIterator[trio.Process]:
    async with started("executor", *place.options) as process:
        assert await first_line(process) == f"ready {place.executor_id}"
        yield process


@asynccontextmanager
async def relay() -> AsyncIterator[Place]:
    """A rendezvous with one executor, our own."""
    async with rendezvous() as place, executor(place):
        yield place


async def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Done:
    """Run a command to its end."""
    with trio.fail_after(PATIENCE):
        result = await trio.run_process(
            [*SANSRELAY, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=env or environment(),
        )
    return Done(result.returncode, result.stdout, result.stderr)


async def run_exec(
    place: Place, *argv: str, options: Sequence[str] = (), stdin: bytes = b""
) -> Done:
    """Run one remote command to its end."""
    return await run("exec", *place.options, *options, "--", *argv, stdin=stdin)


def resident_bytes(pid: int) -> int:
    """How much memory a process has in RAM."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are left."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def interrupt(process: trio.Process) -> None:
    """^C, as a terminal would send it."""
    process.send_signal(signal.SIGINT)
