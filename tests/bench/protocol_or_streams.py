"""What a WebSocket costs on `asyncio.Protocol`, and what on StreamReader and StreamWriter.

    python tests/bench/protocol_or_streams.py [--rounds N] [--uvloop]

Over TCP on the loopback interface, with both ends in this process: first bare bytes, then the
adapter's own `WebSocketConnection` on top. The two take turns, so that whatever else the machine
does hits both. Printed is CPU time per message in microseconds, both ends together: median, least
and most of all rounds.
"""

import argparse
import asyncio
import importlib
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self, cast

from sansrelay.http_server import HttpServerConnection
from sansrelay.network import READ_SIZE
from sansrelay.websocket import WebSocketLink
from sansrelay_asyncio import KeepAlive, WebSocketConnection
from sansrelay_asyncio._socket import ByteStream, accept_stream

URL = "ws://localhost/"


class OnStreams:
    """What `ByteStream` does, by asyncio's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """Take over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=READ_SIZE)
        # As little waits to be handed on as with the other one.
        writer.transport.set_write_buffer_limits(high=1, low=0)
        return cls(reader, writer)

    async def receive_some(self) -> bytes:
        return await self._reader.read(READ_SIZE)

    def write(self, data: bytes) -> bool:
        self._writer.write(data)
        return self._writer.transport.get_write_buffer_size() == 0

    async def drain(self) -> None:
        await self._writer.drain()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def wait_gone(self) -> None:
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass


async def on_protocol(sock: socket.socket) -> ByteStream:
    return await accept_stream(sock, ssl_context=None)


async def on_streams(sock: socket.socket) -> ByteStream:
    return cast(ByteStream, await OnStreams.over(sock))


Kind = Callable[[socket.socket], Awaitable[ByteStream]]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for sock in (client, server):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


async def websocket_pair(
    client_stream: ByteStream, server_stream: ByteStream
) -> tuple[WebSocketConnection, WebSocketConnection]:
    client = WebSocketConnection(client_stream, WebSocketLink.client(URL), KeepAlive())
    opening = asyncio.create_task(client.open())
    http = HttpServerConnection()
    while http.next_request() is None:
        http.receive_bytes(await server_stream.receive_some())
    server = WebSocketConnection(server_stream, http.accept_websocket(), KeepAlive())
    await server.open()
    await opening
    return client, server


async def bare(one: ByteStream, two: ByteStream, count: int) -> None:
    """200 bytes, no WebSocket, each answered before the next ones go."""

    async def write(stream: ByteStream, data: bytes) -> None:
        if not stream.write(data):
            await stream.drain()

    async def echo() -> None:
        for _ in range(count):
            await write(two, await two.receive_some())

    answering = asyncio.create_task(echo())
    for _ in range(count):
        await write(one, bytes(200))
        await one.receive_some()
    await answering


async def to_and_fro(one: ByteStream, two: ByteStream, count: int) -> None:
    """Messages of 200 bytes, each answered before the next one goes."""
    a, b = await websocket_pair(one, two)

    async def echo() -> None:
        for _ in range(count):
            await b.send(await b.receive())

    answering = asyncio.create_task(echo())
    for _ in range(count):
        await a.send([bytes(200)])
        await a.receive()
    await answering


async def small_ones(one: ByteStream, two: ByteStream, count: int) -> None:
    """Messages of 200 bytes one way, twenty at a time."""
    await one_way(one, two, count, [bytes(200)] * 20)


async def large_ones(one: ByteStream, two: ByteStream, count: int) -> None:
    """Messages of 60 KiB one way: whole segments."""
    await one_way(one, two, count, [bytes(60 * 1024)])


async def one_way(one: ByteStream, two: ByteStream, count: int, batch: list[bytes]) -> None:
    a, b = await websocket_pair(one, two)

    async def take() -> None:
        left = count
        while left:
            left -= len(await b.receive())

    taking = asyncio.create_task(take())
    for _ in range(0, count, len(batch)):
        await a.send(batch)
    await taking


Load = Callable[[ByteStream, ByteStream, int], Awaitable[None]]
LOADS: list[tuple[Load, int]] = [
    (bare, 3_000),
    (to_and_fro, 2_000),
    (small_ones, 20_000),
    (large_ones, 1_000),
]
KINDS: dict[str, Kind] = {"protocol": on_protocol, "streams": on_streams}


async def cost(kind: Kind, load: Load, count: int) -> float:
    """CPU time per message, in microseconds."""
    ours, theirs = tcp_pair()
    one, two = await kind(ours), await kind(theirs)
    try:
        began = time.process_time()
        await load(one, two, count)
        return (time.process_time() - began) / count * 1e6
    finally:
        for stream in (one, two):
            stream.abort()
            await stream.wait_gone()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--uvloop", action="store_true", help="on uvloop's loop")
    options = parser.parse_args()
    loops: Any = importlib.import_module("uvloop") if options.uvloop else asyncio
    for load, count in LOADS:
        costs: dict[str, list[float]] = {name: [] for name in KINDS}
        for number in range(options.rounds):
            # Who comes first alternates too.
            for name in sorted(KINDS, reverse=bool(number % 2)):
                with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
                    costs[name].append(runner.run(cost(KINDS[name], load, count)))
        sys.stdout.write(f"{(load.__doc__ or '').rstrip('.')}, {count} in each round\n")
        for name, values in costs.items():
            low, middle, high = min(values), statistics.median(values), max(values)
            sys.stdout.write(f"  {name:9} {middle:8.1f} ({low:.1f} to {high:.1f})\n")


if __name__ == "__main__":
    main()
