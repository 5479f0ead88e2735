"""The commands of docs/codex.md run as they stand there."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import trio
from apps_kit import PATIENCE, Place, executor, rendezvous
from interop.codex import TURN_PATIENCE, Home, binary, codex_home, needs
from interop.fake_model import message, shell

PAGE = Path(__file__).parents[2] / "docs/codex.md"
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
SERVE, EXECUTE_0_131, EXECUTE_0_133, USE, HARNESS = COMMANDS

assert SERVE == "sansrelay rendezvous --dev --listen 127.0.0.1:8700\n"  # as in the tests' kit

pytestmark = [pytest.mark.trio, pytest.mark.interop]


@asynccontextmanager
async def _running(
    command: str, place: Place, version: str, home: Home
) -> AsyncGenerator[trio.Process]:
    """A command of the page, at another port, with the `codex` and `sansrelay` of this tree."""
    assert "http://127.0.0.1:8700" in command
    path = f"{binary(version).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await trio.lowlevel.open_process(
        ["sh", "-c", command.replace("http://127.0.0.1:8700", place.url)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=home.environment(PATH=path),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await process.stdout.aclose()


async def _printed(process: trio.Process, *, patience: float = PATIENCE) -> str:
    assert process.stdout is not None
    with trio.fail_after(patience):
        data = b"".join([chunk async for chunk in process.stdout])
        assert await process.wait() == 0
    return data.decode()


@pytest.mark.parametrize(
    ("version", "command"),
    [
        pytest.param("0.131.0", EXECUTE_0_131, marks=needs("0.131.0"), id="0.131.0"),
        pytest.param("0.133.0", EXECUTE_0_133, marks=needs("0.133.0"), id="0.133.0"),
    ],
)
async def test_codex_as_executor(version: str, command: str) -> None:
    async with rendezvous() as place, codex_home() as home:
        if version != "0.131.0":
            home.log_in()
        async with _running(command, place, version, home):
            async with _running(USE, place, version, home) as use:
                assert await _printed(use) == "hello\n"


@needs("0.133.0")
async def test_codex_as_harness() -> None:
    async with rendezvous() as place, executor(place), codex_home() as home:
        home.model.will_say(shell("echo hello", call_id="1"), message("I have said hello"))
        async with _running(HARNESS, place, "0.133.0", home) as harness:
            said = await _printed(harness, patience=TURN_PATIENCE)
        assert said == "I have said hello\n"
        assert home.model.outputs()[-1].endswith("\nhello\n")
