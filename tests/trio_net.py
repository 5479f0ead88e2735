"""A relay in memory for the trio adapter's tests: listener, cables to cut, and a tiny router."""

import errno
import math
import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio.testing

import trio
from sansrelay.codec import read_header
from sansrelay.config import RelayConfig
from sansrelay.frames import InvalidFrame
from sansrelay.http import HttpRequest, HttpResponse
from sansrelay_trio import (
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


class LongestPauses(random.SystemRandom):
    """For `rng`: a pause near 0 would let `wait_for` miss that there was no link."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Cable:
    """Two memory streams joined, which can be stalled and cut."""

    def __init__(self) -> None:
        self.client, self.server = trio.testing.memory_stream_pair()

    def stall(self) -> None:
        """What is sent from now on gets lost, without notice."""
        for end in (self.client, self.server):
            end.send_stream.send_all_hook = None

    def block(self) -> None:
        """From now on, who sends waits for ever."""
        for end in (self.client, self.server):
            end.send_stream.send_all_hook = trio.sleep_forever

    def cut(self) -> None:
        """Break the connection: end of file for who reads, an error for who writes."""
        for end in (self.client, self.server):
            end.send_stream.send_all_hook = _raise_broken
            end.receive_stream.put_eof()


async def _raise_broken() -> None:
    raise trio.BrokenResourceError("cut")


class MemoryNet(trio.abc.Listener[trio.abc.Stream]):
    """A network with one host: `open_socket` for clients, a listener for the server."""

    def __init__(self) -> None:
        self.cables: list[Cable] = []
        self.dialled_at: list[float] = []
        self.faults: deque[Exception] = deque()
        """Exceptions that the next attempts to connect raise."""
        self._put, self._take = trio.open_memory_channel[trio.abc.Stream | OSError](math.inf)

    async def open_socket(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        self.dialled_at.append(trio.current_time())
        if self.faults:
            raise self.faults.popleft()
        cable = Cable()
        self.cables.append(cable)
        self._put.send_nowait(cable.server)
        return cable.client

    def put(self, stream: trio.abc.Stream) -> None:
        """Have a stream of another kind accepted."""
        self._put.send_nowait(stream)

    def refuse_to_accept(self, error: OSError) -> None:
        """Have the listener raise once."""
        self._put.send_nowait(error)

    async def accept(self) -> trio.abc.Stream:
        accepted = await self._take.receive()
        if isinstance(accepted, OSError):
            raise accepted
        return accepted

    async def aclose(self) -> None:
        self._take.close()
        await trio.lowlevel.checkpoint()

    def cut_all(self) -> None:
        for cable in self.cables:
            cable.cut()
        self.cables.clear()


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
                await self._pass_on(self.routes.get(_stream_id(frame)), frame)

    async def _serve_harness(self, link: WebSocketConnection) -> None:
        while True:
            for frame in await link.receive():
                self.routes[_stream_id(frame)] = link
                await self._pass_on(self.executor, frame)

    async def _pass_on(self, target: WebSocketConnection | None, frame: bytes) -> None:
        if target is not None:
            try:
                await target.send([frame])
            except LinkClosed:
                pass


_CONFIG = RelayConfig()


def _stream_id(frame: bytes) -> str:
    header = read_header(frame, _CONFIG)
    assert not isinstance(header, InvalidFrame)
    return header.stream_id


class Relay:
    """Net, router and nursery together, with an executor and harnesses to put on them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.net = MemoryNet()
        self.router = Router()
        self.nursery = nursery

    async def start(self) -> None:
        self.nursery.start_soon(self._serve)
        await trio.testing.wait_all_tasks_blocked()

    async def _serve(self) -> None:
        await serve_http(self.router.serve, listeners=[self.net])

    async def start_executor(
        self,
        handler: Callable[[RelayStream], Awaitable[object]],
        *,
        config: RelayConfig | None = None,
    ) -> ExecutorHandle:
        async def run(task_status: trio.TaskStatus[ExecutorHandle]) -> None:
            await serve_executor(
                handler,
                EXECUTOR_URL,
                config=config,
                open_socket=self.net.open_socket,
                task_status=task_status,
            )

        handle: ExecutorHandle = await self.nursery.start(run)
        await trio.testing.wait_all_tasks_blocked()
        return handle

    @asynccontextmanager
    async def harness(self, config: RelayConfig | None = None) -> AsyncGenerator[Harness]:
        async with open_harness(
            HARNESS_URL, config=config, open_socket=self.net.open_socket, rng=LongestPauses()
        ) as harness:
            yield harness


async def cancel_after(ticks: int, scope: trio.CancelScope) -> None:
    """Cancel a scope after some turns of the scheduler: with each number, at another checkpoint."""
    for _ in range(ticks):
        await trio.lowlevel.cancel_shielded_checkpoint()
    scope.cancel()


async def echo(stream: RelayStream) -> None:
    async for message in stream:
        await stream.send(message)


def refused() -> OSError:
    return OSError(errno.ECONNREFUSED, "refused")


async def wait_for(harness: Harness, status: LinkStatus) -> None:
    """Wait until the link is as wanted; the clock jumps."""
    while harness.link is not status:  # noqa: ASYNC110
        await trio.sleep(0.01)


class Idle:
    """A handler that leaves its streams to the test."""

    def __init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[RelayStream](100)

    async def __call__(self, stream: RelayStream) -> None:
        await self._put.send(stream)
        await trio.sleep_forever()

    async def accepted(self) -> RelayStream:
        return await self._take.receive()


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
        except trio.WouldBlock:
            return taken
        taken.append(message)
        await trio.testing.wait_all_tasks_blocked()


async def expect_nothing(stream: RelayStream) -> None:
    await stream.receive()
    raise AssertionError("nothing was sent")
