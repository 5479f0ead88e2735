"""What `run_remote` needs, in memory: standard streams, and an executor that follows a script."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio
from sansrelay.errors import ResetReason
from sansrelay.events import EndedBy, StreamReset
from sansrelay.jsonrpc import JsonRpcSession, NotificationReceived, RequestReceived, RpcError
from sansrelay_apps.exec_client import RemoteCommand, run_remote
from sansrelay_trio import StreamEnded

PATIENCE = 60.0
"""Seconds that nothing here should take; a hang fails instead of lasting."""


class MemoryChannel(trio.abc.Channel[bytes]):
    """One end of a stream. A send is over when the message was received."""

    def __init__(
        self, outbound: trio.MemorySendChannel[bytes], inbound: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        self._outbound = outbound
        self._inbound = inbound
        self.ended: StreamReset | None = None
        self.closed = trio.Event()

    async def send(self, value: bytes) -> None:
        try:
            await self._outbound.send(value)
        except trio.BrokenResourceError:
            self._raise_end()
            raise

    async def receive(self) -> bytes:
        try:
            return await self._inbound.receive()
        except trio.EndOfChannel:
            self._raise_end()
            raise

    async def aclose(self) -> None:
        self._outbound.close()
        self._inbound.close()
        self.closed.set()
        await trio.lowlevel.checkpoint()

    def _raise_end(self) -> None:
        if self.ended is not None:
            raise StreamEnded(self.ended)


def channel_pair() -> tuple[MemoryChannel, MemoryChannel]:
    there, from_here = trio.open_memory_channel[bytes](0)
    here, from_there = trio.open_memory_channel[bytes](0)
    return MemoryChannel(there, from_there), MemoryChannel(here, from_here)


def ended(reason: str, *, unknown: range = range(0), never_sent: range = range(0)) -> StreamReset:
    return StreamReset(
        stream_id="s", reason=reason, by=EndedBy.PEER, unknown=unknown, never_sent=never_sent
    )


class MemorySource:
    """Standard input: chunks, then its end; or, with `stays_open`, nothing more for ever."""

    def __init__(self, *chunks: bytes | OSError, stays_open: bool = False) -> None:
        self._chunks = list(chunks)
        self._stays_open = stays_open
        self.reads = 0

    def at_end(self) -> bool:
        return not self._chunks and not self._stays_open

    async def receive(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if not self._chunks:
            if self._stays_open:
                await trio.sleep_forever()
            return b""
        chunk = self._chunks.pop(0)
        if isinstance(chunk, OSError):
            raise chunk
        if len(chunk) > max_bytes:
            self._chunks.insert(0, chunk[max_bytes:])
        return chunk[:max_bytes]


class MemorySink:
    """An output that keeps everything. `gate` can be taken away to make it stop."""

    def __init__(self, error: OSError | None = None) -> None:
        self.data = b""
        self.gate = trio.Event()
        self.gate.set()
        self._error = error
        self._changed = trio.Event()

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        await self.gate.wait()
        self.data += data
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, text: bytes) -> None:
        while text not in self.data:
            await self._changed.wait()


Script = Callable[["FakeExecutor"], Awaitable[None]]


@dataclass(eq=False)
class FakeExecutor:
    """The other end of one stream: answers as told, and plays a script once the start is answered.

    `answers` lays over the defaults; an unknown method is answered with -32601. A `silent` method
    is not answered at all. By default it is a Codex: no `serverInfo`, and -1 after a terminate.
    """

    channel: MemoryChannel
    script: Script | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()
    server_info: dict[str, Any] | None = None
    received: list[tuple[str, Any]] = field(default_factory=list)
    _heard: trio.Event = field(default_factory=trio.Event)

    @property
    def methods(self) -> list[str]:
        return [method for method, _ in self.received]

    def params(self, method: str) -> Any:
        return next(params for name, params in self.received if name == method)

    async def until(self, method: str) -> None:
        while method not in self.methods:
            await self._heard.wait()

    async def notify(self, method: str, **params: Any) -> None:
        await self._send(json.dumps({"method": method, "params": params}).encode())

    async def output(self, data: bytes, stream: str = "stdout", process_id: str = "1") -> None:
        chunk = base64.b64encode(data).decode()
        await self.notify("process/output", processId=process_id, stream=stream, chunk=chunk)

    async def exit(self, code: int) -> None:
        await self.notify("process/exited", processId="1", exitCode=code)
        await self.notify("process/closed", processId="1")

    async def _send(self, data: bytes) -> None:
        try:
            await self.channel.send(data)
        except trio.BrokenResourceError:
            pass  # the client has left, and may

    async def serve(self, nursery: trio.Nursery, peer: MemoryChannel) -> None:
        rpc = JsonRpcSession()
        result: dict[str, Any] = {"sessionId": "s"}
        if self.server_info is not None:
            result["serverInfo"] = self.server_info
        answers: dict[str, Any] = {
            "initialize": result,
            "process/start": {"processId": "1"},
            "process/write": {"status": "accepted"},
            "process/terminate": {"running": True},
            **self.answers,
        }
        unknown = RpcError(code=-32601, message="unknown method")
        while True:
            try:
                event = rpc.receive(await self.channel.receive())
            except (trio.EndOfChannel, trio.ClosedResourceError):
                return
            assert isinstance(event, RequestReceived | NotificationReceived), event
            self.received.append((event.method, event.params))
            self._heard.set()
            self._heard = trio.Event()
            if isinstance(event, NotificationReceived) or event.method in self.silent:
                continue
            answer = answers.get(event.method, unknown)
            if isinstance(answer, StreamReset):
                peer.ended = answer
                await self.channel.aclose()
                return
            if isinstance(answer, RpcError):
                await self._send(rpc.error(event.id, answer))
            else:
                await self._send(rpc.result(event.id, answer))
            if event.method == "process/start" and self.script is not None:
                nursery.start_soon(self.script, self)
            if event.method == "process/terminate":
                nursery.start_soon(self.exit, -1)


@dataclass
class Terminal:
    """Everything around one `run_remote`."""

    stdin: MemorySource = field(default_factory=MemorySource)
    stdout: MemorySink = field(default_factory=MemorySink)
    stderr: MemorySink = field(default_factory=MemorySink)

    def __post_init__(self) -> None:
        self.press, self._signals = trio.open_memory_channel[int](10)

    async def run(
        self,
        open_stream: Callable[[], Awaitable[trio.abc.Channel[bytes]]],
        *argv: str,
        wait: float = 0.0,
        **options: Any,
    ) -> int:
        command = RemoteCommand(executor="box1", argv=argv or ("prog",), **options)
        with trio.fail_after(PATIENCE):
            return await run_remote(
                open_stream,
                command,
                stdin=self.stdin,
                stdout=self.stdout,
                stderr=self.stderr,
                signals=self._signals,
                deadline=trio.current_time() + wait,
            )


@dataclass
class FakeHost:
    """Opens streams, each to the next of the executors that are described; the last one stays."""

    nursery: trio.Nursery
    descriptions: list[dict[str, Any]]
    executors: list[FakeExecutor] = field(default_factory=list)
    channels: list[MemoryChannel] = field(default_factory=list)

    async def open_stream(self) -> MemoryChannel:
        await trio.lowlevel.checkpoint()
        ours, theirs = channel_pair()
        number = min(len(self.executors), len(self.descriptions) - 1)
        executor = FakeExecutor(theirs, **self.descriptions[number])
        self.executors.append(executor)
        self.channels.append(ours)
        self.nursery.start_soon(executor.serve, self.nursery, ours)
        return ours

    @property
    def executor(self) -> FakeExecutor:
        return self.executors[-1]


UNAVAILABLE = {"answers": {"initialize": ended(ResetReason.EXECUTOR_UNAVAILABLE)}}
