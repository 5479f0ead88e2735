"""Rows of memory: what an idle open stream takes, by tracemalloc.

On the adapters only one end is theirs. The other is a bare connection behind a socket pair, and
what it takes is measured by itself and left out. Each stream has carried one message.
"""

import asyncio
import gc
import socket
import sys
import tracemalloc
from collections.abc import Awaitable, Callable

import sansrelay_asyncio
import sansrelay_trio
import trio
from sansrelay import DataReceived, RelayConfig, RelayConnection, Role
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import WebSocketLink

from .core import SMALL, Pair, payload, stream_ids
from .measure import Effort

URL = "ws://localhost/"
_DATA = payload(SMALL)


def core_memory(streams: int) -> Callable[[Effort], float]:
    """Bytes per stream and end."""

    def sample(effort: Effort) -> float:
        count = effort.named(streams, 10)
        traced = _Traced()
        pair = Pair(RelayConfig(), count)
        for stream_id in pair.ids:
            pair.harness.send_data(stream_id, _DATA)
        while pair.harness.stats().frames_received < 2 * count:  # the answer and the ack
            pair.exchange()
        assert pair.messages == count
        return traced.grown() / count / 2

    return sample


class _Traced:
    """How much more memory is in use than when this was made."""

    def __init__(self) -> None:
        tracemalloc.start()
        gc.collect()
        self._before, _ = tracemalloc.get_traced_memory()

    def grown(self) -> int:
        gc.collect()
        now, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return now - self._before


class _OtherEnd:
    """The bare connection at the other end of the link: bytes in, bytes out."""

    def __init__(self, role: Role) -> None:
        self.held = 0
        """Bytes that it has taken since tracing began."""
        self._conn = RelayConnection(role, incarnation=0xB10000)
        self._http = HttpServerConnection()
        self._websocket: WebSocketLink | None = None

    @property
    def is_over(self) -> bool:
        """Whether the WebSocket was closed in good order."""
        return self._websocket is not None and self._websocket.should_close_transport

    def open_streams(self, count: int, now: float) -> bytes:
        """As a harness: open streams, with one message on each."""
        before, _ = tracemalloc.get_traced_memory()
        for stream_id in stream_ids(count):
            self._conn.open_stream(stream_id)
            self._conn.send_data(stream_id, _DATA)
        return self._drained(before, now)

    def receive(self, data: bytes | bytearray, now: float) -> bytes:
        """Bytes have come; returns what is to be written."""
        before, _ = tracemalloc.get_traced_memory()
        if self._websocket is None:
            self._http.receive_bytes(bytes(data))
            if self._http.next_request() is not None:
                self._websocket = self._http.accept_websocket()
                self._conn.link_opened(now)
        else:
            self._websocket.receive_bytes(bytes(data))
            for message in self._websocket.messages():
                self._conn.receive_frame(message, now)
        return self._drained(before, now)

    def _drained(self, before: int, now: float) -> bytes:
        while (event := self._conn.next_event()) is not None:
            if isinstance(event, DataReceived):
                self._conn.consume(event.stream_id)
        if self._websocket is None:
            return self._http.bytes_to_send()
        self._conn.handle_timeout(now)
        while frames := self._conn.frames_to_send(now):
            for frame in frames:
                self._websocket.send_message(frame)
        out = self._websocket.bytes_to_send()
        after, _ = tracemalloc.get_traced_memory()
        self.held += after - before - sys.getsizeof(out)
        return out


def trio_memory(role: Role, streams: int) -> Callable[[Effort], float]:
    """Bytes per stream at one end on trio."""
    return lambda effort: trio.run(_on_trio, role, effort.named(streams, 10))


async def _on_trio(role: Role, count: int) -> float:
    ours, theirs = socket.socketpair()
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(s)) for s in (ours, theirs))
    other = _OtherEnd(Role.EXECUTOR if role is Role.HARNESS else Role.HARNESS)

    async def open_socket(host: str, port: int) -> trio.abc.Stream:
        return near

    async def serve_other() -> None:
        async with far:
            async for data in far:
                await far.send_all(other.receive(data, trio.current_time()))
                if other.is_over:
                    return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_other)
        if role is Role.HARNESS:
            async with sansrelay_trio.open_harness(URL, open_socket=open_socket) as harness:
                traced = _Traced()
                other.held = 0
                kept = [await harness.open_stream() for _ in range(count)]
                for stream in kept:
                    await stream.send(_DATA)
                for stream in kept:
                    await stream.wait_settled(stream.last_message_id)
                grown = traced.grown() - other.held
        else:
            waiting: list[sansrelay_trio.RelayStream] = []

            async def handle(stream: sansrelay_trio.RelayStream) -> None:
                await stream.receive()
                waiting.append(stream)
                await stream.receive()

            async def serve(task_status: trio.TaskStatus[sansrelay_trio.ExecutorHandle]) -> None:
                await sansrelay_trio.serve_executor(
                    handle, URL, open_socket=open_socket, task_status=task_status
                )

            await nursery.start(serve)
            traced = _Traced()
            other.held = 0
            await far.send_all(other.open_streams(count, trio.current_time()))
            await _until(lambda: len(waiting) == count, trio.sleep)
            grown = traced.grown() - other.held
        nursery.cancel_scope.cancel()
    return grown / count


def asyncio_memory(role: Role, streams: int) -> Callable[[Effort], float]:
    """Bytes per stream at one end on asyncio."""
    return lambda effort: asyncio.run(_on_asyncio(role, effort.named(streams, 10)))


async def _on_asyncio(role: Role, count: int) -> float:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    other = _OtherEnd(Role.EXECUTOR if role is Role.HARNESS else Role.HARNESS)

    async def open_socket(host: str, port: int) -> socket.socket:
        return near

    async def serve_other() -> None:
        with far:
            while not other.is_over and (data := await loop.sock_recv(far, 64 * 1024)):
                await loop.sock_sendall(far, other.receive(data, loop.time()))

    serving = [asyncio.create_task(serve_other())]
    if role is Role.HARNESS:
        async with sansrelay_asyncio.open_harness(URL, open_socket=open_socket) as harness:
            traced = _Traced()
            other.held = 0
            kept = [await harness.open_stream() for _ in range(count)]
            for stream in kept:
                await stream.send(_DATA)
            for stream in kept:
                await stream.wait_settled(stream.last_message_id)
            grown = traced.grown() - other.held
    else:
        waiting: list[sansrelay_asyncio.RelayStream] = []

        async def handle(stream: sansrelay_asyncio.RelayStream) -> None:
            await stream.receive()
            waiting.append(stream)
            await stream.receive()

        started = asyncio.Event()
        executor = sansrelay_asyncio.serve_executor(
            handle, URL, open_socket=open_socket, on_started=lambda _: started.set()
        )
        serving.append(asyncio.create_task(executor))
        await started.wait()
        traced = _Traced()
        other.held = 0
        await loop.sock_sendall(far, other.open_streams(count, loop.time()))
        await _until(lambda: len(waiting) == count, asyncio.sleep)
        grown = traced.grown() - other.held
    for task in reversed(serving):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return grown / count


async def _until(
    condition: Callable[[], bool], sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Give the others turns until it holds, and a moment more for acks to go out."""
    while not condition():
        await sleep(0.01)
    await sleep(0.1)
