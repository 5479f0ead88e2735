"""A client of the exec-server for tests: JSON-RPC over memory channels, real processes behind."""

import base64
import os
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from sansrelay.errors import ResetReason
from sansrelay.events import EndedBy, StreamReset
from sansrelay.jsonrpc import (
    Event,
    JsonRpcSession,
    NotificationReceived,
    ResponseReceived,
    RpcError,
)
from sansrelay_apps.execserver import (
    METHODS,
    ExecServer,
    ExecServerConfig,
    open_exec_server,
    serve_session,
)

PATH = {"PATH": "/usr/bin:/bin"}
LONG = 60
"""Seconds that nothing here should take; a hang fails instead of lasting."""


FLOOD = """
import os, select, sys
limit, fifo = int(sys.argv[1]), sys.argv[2]
os.set_blocking(1, False)
written, stalled = 0, None
while written < limit:
    try:
        written += os.write(1, bytes(min(4096, limit - written)))
    except BlockingIOError:
        if not select.select([], [1], [], 0.5 if stalled is None else None)[1]:
            stalled = written
            open(fifo, "w").write(f"{stalled}\\n")
if stalled is None:
    open(fifo, "w").write(f"{written}\\n")
"""
"""Writes so many bytes, and tells by a fifo how far it got when nobody took them for a while."""


@asynccontextmanager
async def open_report(path: Path) -> AsyncIterator[trio.lowlevel.FdStream]:
    """A fifo by which a process can tell something, though it has no output."""
    os.mkfifo(path)
    async with trio.lowlevel.FdStream(os.open(path, os.O_RDWR | os.O_NONBLOCK)) as report:
        yield report


class MemoryChannel:
    """One end of a stream: what the trio adapter will bring, over memory."""

    def __init__(
        self, send: trio.MemorySendChannel[bytes], receive: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        self.outbound = send
        self.inbound = receive
        self.closed = trio.Event()

    async def send(self, data: bytes) -> None:
        await self.outbound.send(data)

    async def receive(self) -> bytes:
        return await self.inbound.receive()

    async def aclose(self) -> None:
        self.outbound.close()
        self.inbound.close()
        self.closed.set()


class RelayMemoryChannel(MemoryChannel):
    """The server's end of a stream that tells as much as a relay stream does.

    No message is settled before `settle` says so, and the stream ends for the reason given.
    """

    def __init__(
        self, send: trio.MemorySendChannel[bytes], receive: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        super().__init__(send, receive)
        self.ended: StreamReset | None = None
        self.last_message_id = 0
        self._settled = 0
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, data: bytes) -> None:
        await super().send(data)
        self.last_message_id += 1

    def settle(self) -> None:
        """Everything that was sent is acknowledged."""
        self._settled = self.last_message_id
        self._changed.unpark_all()

    async def wait_settled(self, message_id: int) -> None:
        while self._settled < message_id:
            if self.ended is not None:
                raise trio.BrokenResourceError
            await self._changed.park()

    async def wait_ended(self) -> None:
        while self.ended is None:
            await self._changed.park()

    def end(self, reason: str, by: EndedBy = EndedBy.PEER) -> None:
        self.ended = StreamReset(stream_id="s", reason=reason, by=by)
        self.inbound.close()
        self.outbound.close()
        self._changed.unpark_all()


def channel_pair() -> tuple[MemoryChannel, MemoryChannel]:
    """Two ends with room for one message in each direction."""
    to_server, from_client = trio.open_memory_channel[bytes](1)
    to_client, from_server = trio.open_memory_channel[bytes](1)
    return MemoryChannel(to_server, from_server), MemoryChannel(to_client, from_client)


@dataclass
class Ended:
    """All that a process said."""

    output: dict[str, bytes]
    events: list[str]
    exited: dict[str, Any]

    @property
    def exit_code(self) -> int:
        code: int = self.exited["exitCode"]
        return code


@dataclass
class Client:
    """A harness that reads only while it waits for something."""

    channel: MemoryChannel
    server_end: MemoryChannel
    rpc: JsonRpcSession = field(default_factory=JsonRpcSession)
    notifications: deque[NotificationReceived] = field(default_factory=deque)
    responses: dict[int | str, ResponseReceived] = field(default_factory=dict)
    answer_order: list[int | str] = field(default_factory=list)

    async def post(self, method: str, **params: Any) -> int:
        request_id, data = self.rpc.call(method, params)
        await self.channel.send(data)
        return request_id

    async def receive(self) -> Event:
        event = self.rpc.receive(await self.channel.receive())
        if isinstance(event, NotificationReceived):
            self.notifications.append(event)
        elif isinstance(event, ResponseReceived):
            self.responses[event.id] = event
            self.answer_order.append(event.id)
        return event

    async def answer(self, request_id: int) -> ResponseReceived:
        while request_id not in self.responses:
            await self.receive()
        return self.responses.pop(request_id)

    async def attempt(self, method: str, **params: Any) -> ResponseReceived:
        return await self.answer(await self.post(method, **params))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        response = await self.attempt(method, **params)
        assert response.error is None, response.error
        assert isinstance(response.result, dict)
        return response.result

    async def fail(self, method: str, **params: Any) -> RpcError:
        response = await self.attempt(method, **params)
        assert response.error is not None, response.result
        return response.error

    async def begin(self, resume: str | None = None) -> str:
        """Initialize. Gives the id of the session."""
        result = await self.call("initialize", clientName="test", resumeSessionId=resume)
        session_id: str = result["sessionId"]
        return session_id

    async def read(self, process_id: str = "p", **params: Any) -> tuple[bytes, dict[str, Any]]:
        """One `process/read`: the bytes, and all of it."""
        result = await self.call("process/read", processId=process_id, **params)
        chunks = (base64.b64decode(chunk["chunk"], validate=True) for chunk in result["chunks"])
        return b"".join(chunks), result

    async def start(self, *argv: str, process_id: str = "p", **params: Any) -> None:
        defaults: dict[str, Any] = {
            "cwd": "/",
            "env": PATH,
            "tty": False,
            "pipeStdin": False,
            "arg0": None,
        }
        params = defaults | params
        result = await self.call("process/start", processId=process_id, argv=list(argv), **params)
        assert result == {"processId": process_id}

    async def notification(self) -> tuple[str, dict[str, Any]]:
        while not self.notifications:
            await self.receive()
        event = self.notifications.popleft()
        assert isinstance(event.params, dict)
        return event.method, event.params

    async def output_until(self, end: bytes, process_id: str = "p") -> bytes:
        """The output up to a text that has to come; all of it, whatever the stream."""
        output = b""
        while end not in output:
            method, params = await self.notification()
            assert (method, params["processId"]) == ("process/output", process_id)
            output += base64.b64decode(params["chunk"], validate=True)
        return output

    async def start_cat(self, process_id: str = "p", **params: Any) -> int:
        """Start a cat that waits for input. Gives its pid."""
        params = {"pipeStdin": True} | params
        await self.start("sh", "-c", "echo $$; exec cat", process_id=process_id, **params)
        return int(await self.output_until(b"\n", process_id))

    async def until(self, method: str) -> dict[str, Any]:
        """Skip notifications up to the first one of a method."""
        while True:
            name, params = await self.notification()
            if name == method:
                return params

    async def until_closed(self, process_id: str = "p", first_seq: int = 1) -> Ended:
        output: defaultdict[str, bytes] = defaultdict(bytes)
        events: list[str] = []
        exited: dict[str, Any] = {}
        while not events or events[-1] != "process/closed":
            method, params = await self.notification()
            assert params["processId"] == process_id
            events.append(method)
            assert params["seq"] == first_seq + len(events) - 1
            if method == "process/output":
                output[params["stream"]] += base64.b64decode(params["chunk"], validate=True)
            elif method == "process/exited":
                exited = params
        return Ended(dict(output), events, exited)

    async def run(self, *argv: str, **params: Any) -> Ended:
        await self.start(*argv, **params)
        return await self.until_closed()


@asynccontextmanager
async def open_session(**limits: Any) -> AsyncIterator[Client]:
    """A client whose session has begun; at the end the stream closes and the server is done."""
    async with open_stream(**limits) as client:
        await client.call("initialize", clientName="test", resumeSessionId=None)
        await client.channel.send(client.rpc.notification("initialized", {}))
        yield client


@asynccontextmanager
async def open_stream(**limits: Any) -> AsyncIterator[Client]:
    ours, theirs = channel_pair()
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            serve = partial(serve_session, theirs, config=ExecServerConfig(**limits))
            nursery.start_soon(serve)
            yield Client(ours, theirs)
            await ours.aclose()


@dataclass
class Place:
    """An exec-server, and streams to it."""

    server: ExecServer
    nursery: trio.Nursery

    def connect(self) -> Client:
        """A stream that tells nothing."""
        ours, theirs = channel_pair()
        self.nursery.start_soon(self.server.serve, theirs)
        return Client(ours, theirs)

    def connect_relay(self) -> tuple[Client, RelayMemoryChannel]:
        """A stream that tells as a relay stream does, by the server's end."""
        ours, theirs = channel_pair()
        relay = RelayMemoryChannel(theirs.outbound, theirs.inbound)
        self.nursery.start_soon(self.server.serve, relay)
        return Client(ours, relay), relay


@asynccontextmanager
async def open_place(**options: Any) -> AsyncIterator[Place]:
    """An exec-server with these limits, or other `methods`; at the end it ends its sessions."""
    methods = options.pop("methods", METHODS)
    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            config = ExecServerConfig(**options)
            async with open_exec_server(config=config, methods=methods) as server:
                yield Place(server, nursery)
            nursery.cancel_scope.cancel()


async def begun(place: Place) -> tuple[Client, RelayMemoryChannel, str]:
    client, relay = place.connect_relay()
    return client, relay, await client.begin()


async def lose(client: Client) -> None:
    """Lose the stream of a client; returns when the server has noticed."""
    assert isinstance(client.server_end, RelayMemoryChannel)
    client.server_end.end(ResetReason.HARNESS_DISCONNECTED)
    await client.server_end.closed.wait()


def is_running(pid: int) -> bool:
    """Whether a process does anything still; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False
    return stat[stat.rindex(b")") + 2 :].split()[0] != b"Z"
