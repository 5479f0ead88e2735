"""Processes on terminals."""

import base64
import sys

import pytest

from execserver_client import (
    LONG,
    open_session,
)

pytestmark = pytest.mark.trio

START = {"processId": "p", "argv": ["true"], "cwd": "/", "env": {}}


async def test_a_terminal_is_controlling_and_has_one_output() -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo err >&2 && : </dev/tty"
    async with open_session(drain_grace=LONG) as client:
        ended = await client.run("sh", "-c", script, tty=True)
    assert ended.output == {"pty": b"24 80\r\nerr\r\n"}
    assert ended.exit_code == 0


TYPED = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(9))
print("ready", flush=True)
time.sleep(60)
"""


async def test_typing_the_interrupt_character_interrupts() -> None:
    async with open_session() as client:
        await client.start(sys.executable, "-c", TYPED, tty=True)
        await client.output_until(b"ready\r\n")
        await client.call("process/write", processId="p", chunk=base64.b64encode(b"\x03").decode())
        assert (await client.until("process/exited"))["exitCode"] == 9


@pytest.mark.parametrize("text", [b"", b"line\n", b"half a line"])
async def test_the_end_of_input_on_a_terminal(text: bytes) -> None:
    async with open_session() as client:
        await client.start("sh", "-c", "stty -echo; echo ready; exec cat", tty=True)
        await client.output_until(b"ready\r\n")
        await client.call("process/write", processId="p", chunk=base64.b64encode(text).decode())
        await client.call("process/closeStdin", processId="p")
        answer = await client.call("process/write", processId="p", chunk="aGk=")
        assert answer == {"status": "stdinClosed"}
        ended = await client.until_closed(first_seq=2)
    assert ended.output.get("pty", b"") == text.replace(b"\n", b"\r\n")
    assert ended.exit_code == 0


async def test_a_process_may_let_go_of_its_terminal_and_come_back() -> None:
    script = "exec <&- >&- 2>&-; sleep 0.1; echo back >/dev/tty"
    async with open_session() as client:
        ended = await client.run("sh", "-c", script, tty=True)
    assert (ended.output, ended.exit_code) == ({"pty": b"back\r\n"}, 0)


async def test_a_signal_reaches_the_terminals_foreground_group() -> None:
    # With job control the command is in a group of its own, which the shell's does not reach.
    script = "set -m; trap : TERM; sh -c 'echo ready; exec sleep 60'; echo status $?"
    async with open_session() as client:
        await client.start("bash", "-c", script, tty=True)
        await client.output_until(b"ready\r\n")
        await client.call("process/signal", processId="p", signal="terminate")
        ended = await client.until_closed(first_seq=2)
    assert ended.output["pty"].endswith(b"status 143\r\n")  # bash says "Terminated" before


RESIZED = """
import fcntl, os, signal, termios, sys
def show(*_):
    os.write(1, b"%d %d\\n" % termios.tcgetwinsize(0))
signal.signal(signal.SIGWINCH, show)
show()
while True:
    signal.pause()
"""


async def test_the_size_of_a_terminal() -> None:
    async with open_session() as client:
        size = {"rows": 50, "cols": 132}
        await client.start(sys.executable, "-c", RESIZED, tty=True, terminalSize=size)
        await client.output_until(b"50 132\r\n")
        size = {"rows": 1, "cols": 65535}
        assert await client.call("process/resize", processId="p", terminalSize=size) == {}
        await client.output_until(b"1 65535\r\n")
        await client.call("process/terminate", processId="p")
        await client.until("process/closed")
        assert await client.call("process/resize", processId="p", terminalSize=size) == {}


@pytest.mark.parametrize("size", [None, {}])
async def test_the_default_size_of_a_terminal(size: dict[str, int] | None) -> None:
    async with open_session() as client:
        ended = await client.run("stty", "size", tty=True, terminalSize=size)
    assert ended.output == {"pty": b"24 80\r\n"}


async def test_what_has_no_terminal_has_no_size() -> None:
    size = {"rows": 1, "cols": 1}
    async with open_session() as client:
        error = await client.fail("process/resize", processId="p", terminalSize=size)
        assert (error.code, "unknown process" in error.message) == (-32600, True)
        await client.start_cat(terminalSize=size)
        error = await client.fail("process/resize", processId="p", terminalSize=size)
        assert (error.code, "no terminal" in error.message) == (-32600, True)
