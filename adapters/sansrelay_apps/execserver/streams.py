"""The bounded stores at both ends of a process: input that waits, output that is kept."""

import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from .config import ExecServerConfig
from .protocol import OutputChunk

__all__ = ["RetainedOutput", "StdinQueue", "TooManyWaiting"]

_CHUNK_OVERHEAD = 256
"""Bytes that a kept chunk counts beside its own, or a million of one byte would cost 200 MB."""

_END_OF_FILE = b"\x04"
"""What a terminal takes for the end of its input (the VEOF character, POSIX general terminal
interface) at the start of a line."""


class TooManyWaiting(Exception):
    """Too much waits for a process to read its input. Nothing was queued."""


class StdinQueue:
    """Input on its way to a process, in the order of the calls.

    Any number of tasks may call `write` and `close`; one task runs `run`.
    """

    def __init__(
        self, stream: trio.abc.SendStream, *, config: ExecServerConfig, is_terminal: bool
    ) -> None:
        self._stream = stream
        self._config = config
        self._is_terminal = is_terminal
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._waiting = 0
        self._waiting_size = 0
        self._write_ids: dict[str, None] = {}
        self._last_byte = b"\n"
        self._open = True
        self._ended = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        # trio's locks serve in the order of the calls, and a task takes its place in the line
        # before anything else can run.
        self._turn = trio.Lock()
        self._scope = trio.CancelScope()

    async def write(self, data: bytes, write_id: str | None = None) -> bool:
        """Queue data once there is room for it. False when the input is closed.

        With an id that was queued before, nothing is queued again: a client that lost its stream
        does not know which of its writes were taken. Raises `TooManyWaiting`, and then nothing was
        queued, nor when cancelled.
        """
        async with self._wait(len(data)):
            limit = self._config.stdin_queue_bytes
            async with self._turn:
                if write_id in self._write_ids:
                    return True
                while self._open and self._size and self._size + len(data) > limit:
                    await self._changed.park()
                if self._open and data:
                    self._chunks.append(data)
                    self._size += len(data)
                    self._changed.unpark_all()
                if self._open and write_id is not None:
                    self._remember(write_id)
                return self._open

    def _remember(self, write_id: str) -> None:
        self._write_ids[write_id] = None
        if len(self._write_ids) > self._config.max_write_ids:
            del self._write_ids[next(iter(self._write_ids))]

    async def close(self) -> None:
        """Close the input after everything queued before; returns when that is done.

        Raises `TooManyWaiting`.
        """
        async with self._wait(0):
            async with self._turn:
                self._open = False
                self._changed.unpark_all()
            await self._ended.wait()

    @asynccontextmanager
    async def _wait(self, size: int) -> AsyncGenerator[None]:
        """A place among those who may have to wait."""
        config = self._config
        if self._waiting and (
            self._waiting >= config.max_waiting_writes
            or self._waiting_size + size > config.max_waiting_write_bytes
        ):
            raise TooManyWaiting
        self._waiting += 1
        self._waiting_size += size
        try:
            yield
        finally:
            self._waiting -= 1
            self._waiting_size -= size

    def abandon(self) -> None:
        """Close the input at once and drop what waits."""
        self._scope.cancel()

    async def run(self) -> None:
        """Hand the queue to the process until it is closed from either side."""
        try:
            with self._scope:
                await self._feed()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the process has closed its input
        finally:
            self._open = False
            self._chunks.clear()
            self._ended.set()
            self._changed.unpark_all()
            if not self._is_terminal:
                await trio.aclose_forcefully(self._stream)

    async def _feed(self) -> None:
        while self._open or self._chunks:
            if not self._chunks:
                await self._changed.park()
                continue
            await self._stream.send_all(self._chunks[0])
            chunk = self._chunks.popleft()
            self._last_byte = chunk[-1:]
            self._size -= len(chunk)
            self._changed.unpark_all()
        if not self._is_terminal:
            return
        if self._last_byte in (b"\n", b"\r", _END_OF_FILE):
            await self._stream.send_all(_END_OF_FILE)
        else:
            # Within a line the first one only hands over what was typed so far.
            await self._stream.send_all(_END_OF_FILE * 2)


class RetainedOutput:
    """Output that can be read by its seq.

    A chunk is *settled* once the client is known to have it. Beyond the limit settled chunks are
    dropped, those first that were settled first; others never are.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._chunks: dict[int, OutputChunk] = {}
        self._size = 0
        self._unsettled: dict[int, int] = {}  # what each of them costs
        self._unsettled_size = 0
        self._settled: deque[int] = deque()
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def is_settled(self) -> bool:
        """Whether the client has everything."""
        return not self._unsettled

    def add(self, chunk: OutputChunk) -> None:
        """Keep a chunk whose seq is higher than all before."""
        cost = _cost(chunk)
        self._chunks[chunk.seq] = chunk
        self._size += cost
        self._unsettled[chunk.seq] = cost
        self._unsettled_size += cost
        self._drop_old()

    def settle(self, seq: int) -> None:
        """The client has this chunk. Harmless when repeated, or without such a chunk."""
        cost = self._unsettled.pop(seq, None)
        if cost is not None:
            self._unsettled_size -= cost
            self._settled.append(seq)
            self._drop_old()
            self._changed.unpark_all()

    def settle_up_to(self, seq: int) -> None:
        """The client has everything up to a seq."""
        while self._unsettled and (first := next(iter(self._unsettled))) <= seq:
            self.settle(first)

    async def wait_for_room(self) -> None:
        """Wait until what is not settled is below the limit."""
        while self._unsettled and self._unsettled_size >= self._limit:
            await self._changed.park()

    def has_after(self, seq: int) -> bool:
        """Whether there is a chunk later than seq."""
        return bool(self._chunks) and next(reversed(self._chunks)) > seq

    def read(
        self, after_seq: int, max_bytes: int | None, *, max_cost: float = math.inf
    ) -> tuple[OutputChunk, ...]:
        """The chunks after a seq, no more than max_bytes of them, but at least one."""
        room = math.inf if max_bytes is None else max_bytes
        chunks: list[OutputChunk] = []
        for chunk in self._chunks.values():
            if chunk.seq <= after_seq:
                continue
            room -= len(chunk.chunk)
            max_cost -= _cost(chunk)
            if chunks and (room < 0 or max_cost < 0):
                break
            chunks.append(chunk)
        return tuple(chunks)

    def _drop_old(self) -> None:
        while self._size > self._limit and self._settled:
            self._size -= _cost(self._chunks.pop(self._settled.popleft()))


def _cost(chunk: OutputChunk) -> int:
    return len(chunk.chunk) + _CHUNK_OVERHEAD
