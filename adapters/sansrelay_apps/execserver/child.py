"""Starting one process, on pipes or on a terminal of its own."""

import fcntl
import os
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import trio

from .groups import marked
from .protocol import OutputStream, RpcFailure, TerminalSize, os_failure

__all__ = ["Child", "open_child", "resize_terminal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process that was started, and our ends of its streams.

    On a terminal, one stream is both its input and its output. `hold` keeps that terminal whole
    until it is closed, to be done at the exit: without it our end would find an end of the output
    whenever the process has closed its own descriptors for a while.
    """

    process: trio.Process
    stdin: trio.abc.SendStream | None
    outputs: Mapping[OutputStream, trio.abc.ReceiveStream]
    terminal: trio.lowlevel.FdStream | None
    hold: ExitStack


async def open_child(
    argv: Sequence[str],
    *,
    arg0: str | None,
    cwd: str,
    env: Mapping[str, str],
    terminal_size: TerminalSize | None,
    pipe_stdin: bool,
    mark: int,
) -> Child:
    """Start a process that leads a session and a process group of its own.

    With a size it gets a terminal, without one pipes. It and its descendants have the mark.

    The program is looked for in the `PATH` of `env`, and a relative one below `cwd`. Raises
    `RpcFailure` (-32603) when it can't be started; its data says whether `cwd` or the program is at
    fault, where it is one of them. Once under way this can't be cancelled, so that whatever was
    started is handed over.
    """
    stdin, output = subprocess.PIPE if pipe_stdin else subprocess.DEVNULL, subprocess.PIPE
    take_terminal: Callable[[], object] | None = None
    master = -1
    with ExitStack() as on_failure, ExitStack() as held:
        try:
            if terminal_size is not None:
                master, slave = os.openpty()
                on_failure.callback(os.close, master)
                held.callback(os.close, slave)
                _set_size(master, terminal_size)
                stdin = output = slave
                # A session gets its controlling terminal only by a call from its leader, between
                # fork and exec: posix_spawn could open the terminal there, but not change the
                # directory, and a helper program would cost a second start. Functions run there
                # can deadlock on locks that threads held during the fork; this one is a lone
                # system call without Python code, and the threads are trio's idle workers.
                take_terminal = partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
            async with marked(mark):
                process = await trio.lowlevel.open_process(
                    [argv[0] if arg0 is None else arg0, *argv[1:]],
                    executable=argv[0],
                    cwd=cwd,
                    env=env,
                    stdin=stdin,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=take_terminal,
                )
        except OSError as error:
            raise await _failure(error, cwd) from None
        on_failure.pop_all()
        hold = held.pop_all()
    if terminal_size is not None:
        terminal = trio.lowlevel.FdStream(master)
        return Child(
            process=process,
            stdin=terminal,
            outputs={OutputStream.PTY: terminal},
            terminal=terminal,
            hold=hold,
        )
    assert process.stdout is not None
    assert process.stderr is not None
    return Child(
        process=process,
        stdin=process.stdin,
        outputs={OutputStream.STDOUT: process.stdout, OutputStream.STDERR: process.stderr},
        terminal=None,
        hold=hold,
    )


def resize_terminal(terminal: trio.lowlevel.FdStream, size: TerminalSize) -> None:
    """Change the size of a terminal. Its foreground group gets a SIGWINCH, if that is news."""
    _set_size(terminal.fileno(), size)


def _set_size(master: int, size: TerminalSize) -> None:
    termios.tcsetwinsize(master, (size.rows, size.cols))


async def _failure(error: OSError, cwd: str) -> RpcFailure:
    """What the error means to the client. One of our own (no descriptors left) names no file."""
    if error.filename is None:
        return os_failure(error)
    usable = await trio.to_thread.run_sync(_is_usable_directory, cwd)
    return os_failure(error, what="program" if usable else "cwd")


def _is_usable_directory(path: str) -> bool:
    return os.path.isdir(path) and os.access(path, os.X_OK)
