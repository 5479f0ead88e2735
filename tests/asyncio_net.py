"""A relay in one process for the asyncio adapter's tests: virtual time, cables to cut, a router."""

import asyncio
import errno
import random
import socket
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

from sansrelay.codec import read_header
from sansrelay.config import RelayConfig
from sansrelay.frames import InvalidFrame
from sansrelay.http import HttpRequest, HttpResponse
from sansrelay.testing.asyncio import VirtualTimeLoop as VirtualTimeLoop
from sansrelay_asyncio import (
    ExecutorHandle,
    Harness,
    LinkClosed,
    LinkStatus,
    Registry,
    RelayStream,
    ServerConnection,
    WebSocketConnection,
    open_harness,
    serve_executor,
    serve_http,
)

EXECUTOR_URL = "ws://localhost/executor"
HARNESS_URL = "ws://localhost/harness"
REGISTRY = Registry("http://localhost", "box1", token="secret")
GRANTED = HttpResponse(
    status=200, body=b'{"environment_id": "box1", "url": "%s"}' % HARNESS_URL.encode()
)

SMALL = RelayConfig(send_buffer_size=4096, send_window_bytes=4096, send_buffer_messages=8)

REAL_LOOPS = ["plain", "uvloop"]
"""For `pytest.mark.asyncio(loop_factories=...)` where real sockets are used."""


def now() -> float:
    return asyncio.get_running_loop().time()


async def all_wait() -> None:
    """Wait until every other task does."""
    await asyncio.sleep(1e-6)


async def after_ticks(ticks: int, task: asyncio.Task[object]) -> None:
    """Cancel a task after some turns of the loop: with each number, at another point."""
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()


class LongestPauses(random.SystemRandom):
    """For `rng`: a pause near 0 would let `wait_for` miss that there was no link."""

    def uniform(self, a: float, b: float) -> float:
        return b


class _Wire:
    """One direction of a cable."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._target = source, target
        self._pending = b""
        self.stalled = False
        self._loop.add_reader(source, self._read)

    def stop(self) -> None:
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._target)

    def _read(self) -> None:
        try:
            data = self._source.recv(64 * 1024)
        except OSError:
            data = b""
        if not data:
            self.stop()
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_WR)
        elif not self.stalled:
            self._pending = data
            self._loop.remove_reader(self._source)
            self._write()

    def _write(self) -> None:
        try:
            self._pending = self._pending[self._target.send(self._pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self._pending = b""
        if self._pending:
            self._loop.add_writer(self._target, self._write)
        else:
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self._read)


class Cable:
    """Joins two sockets, and can be stalled, blocked and cut."""

    def __init__(self, one: socket.socket, two: socket.socket) -> None:
        self._ends = one, two
        for end in self._ends:
            end.setblocking(False)
        self._wires = _Wire(one, two), _Wire(two, one)

    def stall(self) -> None:
        """What is sent from now on gets lost, without notice."""
        for wire in self._wires:
            wire.stalled = True

    def block(self) -> None:
        """From now on nothing is taken: who sends more than the system's buffers hold, waits."""
        for wire in self._wires:
            wire.stop()

    def cut(self) -> None:
        """Break the connection."""
        if self._ends[0].fileno() != -1:
            self.block()
            for end in self._ends:
                end.close()


def cable_pair() -> tuple[socket.socket, socket.socket, Cable]:
    """Two sockets with a cable between them."""
    (client, near), (far, server) = socket.socketpair(), socket.socketpair()
    client.setblocking(False)
    server.setblocking(False)
    return client, server, Cable(near, far)


class Net:
    """A network with one host: `open_socket` for clients, `listener` for the server."""

    def __init__(self) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind("")  # Linux gives it a name that no file has.
        self.listener.listen(100)
        self._address = self.listener.getsockname()
        self.listener.setblocking(False)
        self.cables: list[Cable] = []
        self.dialled_at: list[float] = []
        self.faults: deque[Exception] = deque()
        """Exceptions that the next attempts to connect raise."""
        self._all: list[Cable] = []

    async def open_socket(self, host: str, port: int) -> socket.socket:
        await asyncio.sleep(0)
        self.dialled_at.append(now())
        if self.faults:
            raise self.faults.popleft()
        client, near = socket.socketpair()
        client.setblocking(False)
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self._address)
        except BaseException:
            for sock in (client, near, far):
                sock.close()
            raise
        cable = Cable(near, far)
        self.cables.append(cable)
        self._all.append(cable)
        return client

    def cut_all(self) -> None:
        for cable in self.cables:
            cable.cut()
        self.cables.clear()

    def close(self) -> None:
        self.listener.close()
        for cable in self._all:
            cable.cut()


class Router:
    """Passes frames between one executor and any harnesses, by stream id. Keeps nothing."""

    def __init__(self) -> None:
        self.executor: WebSocketConnection | None = None
        self.routes: dict[str, WebSocketConnection] = {}
        self.requests: list[HttpRequest] = []
        self.refusals: deque[HttpResponse] = deque()
        """Answers to the next requests, in the place of what they ask for."""

    async def serve(self, connection: ServerConnection) -> None:
        while (request := await connection.next_request()) is not None:
            self.requests.append(request)
            if self.refusals:
                await connection.respond(self.refusals.popleft())
            elif request.wants_websocket:
                link = await connection.accept_websocket()
                if request.path == "/executor":
                    await self._serve_executor(link)
                else:
                    await self._serve_harness(link)
                return
            else:
                await connection.respond(HttpResponse(status=404))

    async def _serve_executor(self, link: WebSocketConnection) -> None:
        self.executor = link
        while True:
            for frame in await link.receive():
                await self._pass_on(self.routes.get(stream_id_of(frame)), frame)

    async def _serve_harness(self, link: WebSocketConnection) -> None:
        while True:
            for frame in await link.receive():
                self.routes[stream_id_of(frame)] = link
                await self._pass_on(self.executor, frame)

    async def _pass_on(self, target: WebSocketConnection | None, frame: bytes) -> None:
        if target is not None:
            with suppress(LinkClosed):
                await target.send([frame])


_CONFIG = RelayConfig()


def stream_id_of(frame: bytes) -> str:
    header = read_header(frame, _CONFIG)
    assert not isinstance(header, InvalidFrame)
    return header.stream_id


class Relay:
    """Net, router and tasks together, with an executor and harnesses to put on them."""

    def __init__(self) -> None:
        self.net = Net()
        self.router = Router()
        self._tasks: list[asyncio.Task[object]] = []

    def start(self, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
        """Run something until the end of the test."""
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def start_server(self) -> None:
        self.start(serve_http(self.router.serve, listeners=[self.net.listener]))
        await all_wait()

    async def start_executor(
        self,
        handler: Callable[[RelayStream], Awaitable[object]],
        *,
        config: RelayConfig | None = None,
    ) -> ExecutorHandle:
        started: asyncio.Future[ExecutorHandle] = asyncio.get_running_loop().create_future()
        self.executor = self.start(
            serve_executor(
                handler,
                EXECUTOR_URL,
                config=config,
                open_socket=self.net.open_socket,
                on_started=started.set_result,
            )
        )
        handle = await started
        await all_wait()
        return handle

    @asynccontextmanager
    async def harness(self, config: RelayConfig | None = None) -> AsyncGenerator[Harness]:
        async with open_harness(
            HARNESS_URL, config=config, open_socket=self.net.open_socket, rng=LongestPauses()
        ) as harness:
            yield harness

    async def stop(self) -> None:
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        self.net.close()


async def echo(stream: RelayStream) -> None:
    async for message in stream:
        await stream.send(message)


async def stay(stream: RelayStream) -> None:
    """A handler that does nothing, for ever."""
    await asyncio.Event().wait()


def refused() -> OSError:
    return OSError(errno.ECONNREFUSED, "refused")


async def wait_for(harness: Harness, status: LinkStatus) -> None:
    """Wait until the link is as wanted; the clock jumps."""
    while harness.link is not status:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


class Idle:
    """A handler that leaves its streams to the test."""

    def __init__(self) -> None:
        self._streams: asyncio.Queue[RelayStream] = asyncio.Queue()

    async def __call__(self, stream: RelayStream) -> None:
        self._streams.put_nowait(stream)
        await stay(stream)

    async def accepted(self) -> RelayStream:
        return await self._streams.get()


def padded(text: bytes, size: int = 1000) -> bytes:
    """A message of 1000 bytes, of which four fit into the buffers of SMALL."""
    return text.ljust(size, b".")


async def fill(stream: RelayStream, size: int = 1000) -> list[bytes]:
    """Send until no more is taken; returns what was."""
    taken: list[bytes] = []
    while True:
        message = padded(b"%d" % len(taken), size)
        try:
            stream.send_nowait(message)
        except asyncio.QueueFull:
            return taken
        taken.append(message)
        await all_wait()
