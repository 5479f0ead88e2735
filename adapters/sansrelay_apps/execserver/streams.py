"""The bounded stores at both ends of a process: input that waits, output that is kept."""

import math
from collections import deque

import trio

from .protocol import OutputChunk

__all__ = ["RetainedOutput", "StdinQueue"]

_CHUNK_OVERHEAD = 256
"""Bytes that a kept chunk counts beside its own, or a million of one byte would cost 200 MB."""

_END_OF_FILE = b"\x04"
"""What a terminal takes for the end of its input (the VEOF character, POSIX general terminal
interface) at the start of a line."""


class StdinQueue:
    """Input on its way to a process, in the order of the calls.

    Any number of tasks may call `write` and `close`; one task runs `run`.
    """

    def __init__(self, stream: trio.abc.SendStream, *, limit: int, is_terminal: bool) -> None:
        self._stream = stream
        self._limit = limit
        self._is_terminal = is_terminal
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._last_byte = b"\n"
        self._open = True
        self._ended = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        # trio's locks serve in the order of the calls, and a task takes its place in the line
        # before anything else can run.
        self._turn = trio.Lock()
        self._scope = trio.CancelScope()

    async def write(self, data: bytes) -> bool:
        """Queue data once there is room for it. False when the input is closed."""
        async with self._turn:
            while self._open and self._size and self._size + len(data) > self._limit:
                await self._changed.park()
            if self._open and data:
                self._chunks.append(data)
                self._size += len(data)
                self._changed.unpark_all()
            return self._open

    async def close(self) -> None:
        """Close the input after everything queued before; returns when that is done."""
        async with self._turn:
            self._open = False
            self._changed.unpark_all()
        await self._ended.wait()

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
    """The latest output of a process.

    Chunks are added in the order of their seq and sent in that order. The oldest go when the limit
    is passed, but none that was not sent yet.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[OutputChunk] = deque()
        self._size = 0
        self._sent_seq = 0

    def add(self, chunk: OutputChunk) -> None:
        self._chunks.append(chunk)
        self._size += _cost(chunk)
        self._drop_old()

    def mark_sent(self, seq: int) -> None:
        self._sent_seq = seq
        self._drop_old()

    def has_after(self, seq: int) -> bool:
        """Whether there is a chunk later than seq."""
        return bool(self._chunks) and self._chunks[-1].seq > seq

    def read(self, after_seq: int, max_bytes: int | None) -> tuple[OutputChunk, ...]:
        """The chunks after a seq, no more than max_bytes of them, but at least one."""
        room = math.inf if max_bytes is None else max_bytes
        chunks: list[OutputChunk] = []
        for chunk in self._chunks:
            if chunk.seq <= after_seq:
                continue
            room -= len(chunk.chunk)
            if room < 0 and chunks:
                break
            chunks.append(chunk)
        return tuple(chunks)

    def _drop_old(self) -> None:
        while self._size > self._limit and self._chunks[0].seq <= self._sent_seq:
            self._size -= _cost(self._chunks.popleft())


def _cost(chunk: OutputChunk) -> int:
    return len(chunk.chunk) + _CHUNK_OVERHEAD
