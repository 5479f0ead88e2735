"""One process of a session, from its start until nothing is left of it."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from msgspec import UNSET, UnsetType

import trio

from .child import Child, resize_terminal
from .config import ExecServerConfig
from .groups import group_exists, signal_group
from .protocol import (
    ClosedNotification,
    ExitedNotification,
    Message,
    OutputChunk,
    OutputNotification,
    OutputStream,
    ReadResult,
    TerminalSize,
)
from .streams import RetainedOutput, StdinQueue

__all__ = ["Client", "ManagedProcess"]


class Client(Protocol):
    """Whoever wants to know of a process. Now and then it is away."""

    @property
    def is_present(self) -> bool:
        """Whether there is a stream to it."""

    async def wait_present(self) -> None:
        """Wait until there is one."""

    async def notify(
        self, method: str, message: Message, on_settled: Callable[[], None] | None = None
    ) -> None:
        """Tell the client, if it is present; else nothing happens. Calls are served in their order.

        `on_settled` is called when the client is known to have been told, and never if it may not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exit:
    """How a process ended, and the seq of the notification that says so."""

    seq: int
    code: int
    signal: int | UnsetType


class ManagedProcess:
    """A process with its output, its input and its notifications.

    `run` does the work in a task of its own and returns once the process is closed. The other
    methods may be called from any task.
    """

    def __init__(
        self,
        process_id: str,
        child: Child,
        *,
        config: ExecServerConfig,
        client: Client,
    ) -> None:
        self.process_id = process_id
        self.changed = trio.lowlevel.ParkingLot()
        """Wakes whoever waits for output, exit or close."""
        self.closed = False
        self.is_terminating = False
        self.forgotten = trio.Event()
        """Set when the client can't find this process any more."""
        self.stdin: StdinQueue | None = None
        self._child = child
        self._config = config
        self._client = client
        self._output = RetainedOutput(limit=config.retain_bytes)
        self._next_seq = 1
        self._exit: _Exit | None = None
        self._group_is_gone = False
        self._reads: set[trio.CancelScope] = set()
        if child.stdin is not None:
            self.stdin = StdinQueue(
                child.stdin,
                config=config,
                is_terminal=child.terminal is not None,
            )

    @property
    def pid(self) -> int:
        """Also the number of its process group and of its session."""
        return self._child.process.pid

    # -- its life

    async def run(self) -> None:
        """Forward output until the process has exited and its output has ended; then close."""
        async with trio.open_nursery() as nursery:
            if self.stdin is not None:
                nursery.start_soon(self.stdin.run)
            for name, stream in self._child.outputs.items():
                nursery.start_soon(self._forward, name, stream)
            nursery.start_soon(self._watch_exit)
        self.closed = True
        seq = self._take_seq()
        await self._client.notify(
            "process/closed", ClosedNotification(process_id=self.process_id, seq=seq)
        )

    async def _forward(self, name: OutputStream, stream: trio.abc.ReceiveStream) -> None:
        while data := await self._receive(stream):
            seq = self._take_seq()
            self._output.add(OutputChunk(seq=seq, stream=name, chunk=data))
            # The next chunk is read only when this one was taken over, and when not too much is on
            # its way: a client that does not read stops the process at its full pipe.
            await self._client.notify(
                "process/output",
                OutputNotification(process_id=self.process_id, seq=seq, stream=name, chunk=data),
                partial(self._output.settle, seq),
            )
            await self._output.wait_for_room()
        await stream.aclose()

    async def _receive(self, stream: trio.abc.ReceiveStream) -> bytes:
        """The next output; empty at its end, or when what is left of the process keeps silent."""
        with trio.CancelScope(deadline=self._read_deadline()) as scope:
            self._reads.add(scope)
            try:
                return bytes(await stream.receive_some(self._config.chunk_size))
            except trio.BrokenResourceError:
                return b""  # the end of a terminal's output: EIO on Linux
            finally:
                self._reads.discard(scope)
        return b""

    def _read_deadline(self) -> float:
        if self._exit is None:
            return float("inf")
        return trio.current_time() + self._config.drain_grace

    async def _watch_exit(self) -> None:
        code = await self._child.process.wait()
        self._child.hold.close()
        self._group_is_gone = not group_exists(self.pid)
        number = -code if code < 0 else UNSET
        # Shells report a death by signal so, and a negative code would say less.
        code = code if code >= 0 else 128 - code
        self._exit = _Exit(seq=self._take_seq(), code=code, signal=number)
        for scope in self._reads:
            scope.deadline = self._read_deadline()
        if self.stdin is not None:
            self.stdin.abandon()
        await self._client.notify(
            "process/exited",
            ExitedNotification(
                process_id=self.process_id, seq=self._exit.seq, exit_code=code, signal=number
            ),
        )

    def _take_seq(self) -> int:
        """The next number of this process. To be followed by `notify` without a checkpoint, so
        that notifications leave in the order of their numbers."""
        seq = self._next_seq
        self._next_seq += 1
        self.changed.unpark_all()
        return seq

    # -- reading

    def has_news(self, after_seq: int) -> bool:
        """Whether a reader who knows everything up to a seq has something to learn."""
        exited = self._exit is not None and self._exit.seq > after_seq
        return self.closed or exited or self._output.has_after(after_seq)

    def read(self, after_seq: int, max_bytes: int | None) -> ReadResult:
        """What came after a seq. Closed only together with the last of the output, so that a
        reader who stops there has missed nothing."""
        # As base64, with what is around it, a chunk takes less than twice its cost.
        chunks = self._output.read(after_seq, max_bytes, max_cost=self._config.max_answer_size // 2)
        is_rest = not self._output.has_after(chunks[-1].seq if chunks else after_seq)
        return ReadResult(
            chunks=chunks,
            next_seq=self._next_seq if is_rest else chunks[-1].seq + 1,
            exited=self._exit is not None,
            exit_code=None if self._exit is None else self._exit.code,
            signal=UNSET if self._exit is None else self._exit.signal,
            closed=self.closed and is_rest,
        )

    def settle_up_to(self, seq: int) -> None:
        """The client has everything up to a seq."""
        self._output.settle_up_to(seq)

    def settle(self, seqs: Iterable[int]) -> None:
        """The client has these chunks."""
        for seq in seqs:
            self._output.settle(seq)

    # -- the terminal

    @property
    def has_terminal(self) -> bool:
        return self._child.terminal is not None

    def resize(self, size: TerminalSize) -> None:
        """Change the size of the terminal. Nothing happens when the process has exited."""
        if self._child.terminal is not None and not self.has_exited:
            resize_terminal(self._child.terminal, size)

    # -- ending

    @property
    def is_done(self) -> bool:
        """Whether it is closed, and the client has all of its output."""
        return self.closed and self._output.is_settled

    @property
    def has_exited(self) -> bool:
        return self._exit is not None

    @property
    def is_alive(self) -> bool:
        return self._child.process.returncode is None

    def signal(self, number: int) -> None:
        """Signal the process group, and a terminal's foreground group, which job control makes
        another one. Nothing happens where nobody is left. Raises `PermissionError`."""
        if not self._group_is_gone:
            signal_group(self.pid, number)
        foreground = self._foreground_group()
        if foreground is not None and foreground != self.pid:
            signal_group(foreground, number)

    def _foreground_group(self) -> int | None:
        terminal = self._child.terminal
        if terminal is None or self.has_exited:
            return None
        try:
            return os.tcgetpgrp(terminal.fileno()) or None
        except OSError:  # closed, or no session has the terminal any more
            return None

    async def kill_later(self) -> None:
        """Kill what is left of the process group after `kill_grace`."""
        await trio.sleep(self._config.kill_grace)
        with suppress(PermissionError):
            self.signal(signal.SIGKILL)

    def ask_to_end(self) -> None:
        """Tell the process that its session is over, in every way it may listen to."""
        with suppress(PermissionError):
            if self._child.terminal is not None:
                self.signal(signal.SIGHUP)
            self.signal(signal.SIGTERM)
            # A stopped process would not notice.
            self.signal(signal.SIGCONT)
        self._child.hold.close()

    async def discard_output(self) -> None:
        """Read the output for nothing. To be called when `run` is over."""
        async with trio.open_nursery() as nursery:
            for stream in self._child.outputs.values():
                nursery.start_soon(_discard, stream)

    async def wait(self) -> None:
        """Wait until the process itself, not what it left behind, has exited."""
        await self._child.process.wait()

    async def close_streams(self) -> None:
        """Let go of the output. To be called when nobody reads it."""
        for stream in self._child.outputs.values():
            await trio.aclose_forcefully(stream)


async def _discard(stream: trio.abc.ReceiveStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while await stream.receive_some():
            pass
