"""Both ends and a router over real sockets, on each loop that is there."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from asyncio_net import REAL_LOOPS, Router, echo
from sansrelay import RelayConfig
from sansrelay_asyncio import RelayStream, StreamHandler, open_harness, serve_executor, serve_http

pytestmark = [
    pytest.mark.asyncio(loop_factories=REAL_LOOPS),
    pytest.mark.usefixtures("complaints"),
]

RST = struct.pack("ii", 1, 0)


class Proxy:
    """Passes bytes on to a port, on connections that it can reset."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.reset_all()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def reset_all(self) -> int:
        """Send a TCP reset on all connections; returns how many."""
        victims, self._writers = self._writers, []
        victims = [each for each in victims if not each.is_closing()]
        for writer in victims:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            writer.transport.abort()
        return len(victims)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        for source, target in ((reader, back), (onward, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(64 * 1024):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort()


@asynccontextmanager
async def relaying(
    handler: StreamHandler,
    *,
    serving: ssl.SSLContext | None = None,
    trusting: ssl.SSLContext | None = None,
) -> AsyncGenerator[int]:
    loop = asyncio.get_running_loop()
    listening: asyncio.Future[Any] = loop.create_future()
    started: asyncio.Future[Any] = loop.create_future()
    async with asyncio.TaskGroup() as group:
        server = group.create_task(
            serve_http(Router().serve, ssl_context=serving, on_started=listening.set_result)
        )
        [(_, port)] = await listening
        url = f"ws://127.0.0.1:{port}/executor"
        if serving is not None:
            url = f"wss://localhost:{port}/executor"
        executor = group.create_task(
            serve_executor(handler, url, ssl_context=trusting, on_started=started.set_result)
        )
        await started
        try:
            yield port
        finally:
            executor.cancel()
            await asyncio.wait([executor])
            server.cancel()


async def test_large_and_small_messages_come_back() -> None:
    async with relaying(echo) as port, open_harness(f"ws://127.0.0.1:{port}/harness") as harness:
        async with await harness.open_stream() as stream:
            for size in (1, 10_000, 8 * 1024 * 1024):
                await stream.send(bytes(size))
                assert len(await stream.receive()) == size


async def test_many_streams_share_a_link() -> None:
    async def talk(stream: RelayStream) -> None:
        async with stream:
            for i in range(20):
                await stream.send(b"%d" % i)
                assert await stream.receive() == b"%d" % i

    async with relaying(echo) as port, open_harness(f"ws://127.0.0.1:{port}/harness") as harness:
        async with asyncio.TaskGroup() as group:
            for _ in range(50):
                group.create_task(talk(await harness.open_stream()))
        assert harness.stats().streams_live == 0


async def test_a_host_name_with_several_addresses() -> None:
    async with relaying(echo) as port, open_harness(f"ws://localhost:{port}/harness") as harness:
        async with await harness.open_stream() as stream:
            await stream.send(b"x")
            assert await stream.receive() == b"x"


async def test_transfers_go_on_when_the_sockets_are_reset_in_the_middle() -> None:
    messages = [b"%d " % i + bytes(50_000) for i in range(80)]

    async def send(stream: RelayStream) -> None:
        for message in messages:
            await stream.send(message)

    resets = 0
    async with relaying(echo) as target:
        proxy = Proxy(target)
        async with proxy.running() as port, open_harness(f"ws://127.0.0.1:{port}/harness") as end:
            async with await end.open_stream() as stream, asyncio.TaskGroup() as group:
                group.create_task(send(stream))
                for i, message in enumerate(messages):
                    assert await stream.receive() == message
                    if i % 20 == 10:
                        resets += proxy.reset_all()
            assert resets >= 6
            assert end.stats().links_opened >= 4


async def test_a_reader_that_stops_holds_back_the_sender_over_real_sockets() -> None:
    """The sender gets rid of no more than both ends buffer, and the rest follows later."""
    go_on, limit = asyncio.Event(), RelayConfig().send_buffer_size
    received: list[int] = []
    full = asyncio.Event()

    async def read_late(stream: RelayStream) -> None:
        await go_on.wait()
        received.extend([len(message) async for message in stream])

    async with relaying(read_late) as port, open_harness(f"ws://127.0.0.1:{port}/h") as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                try:
                    stream.send_nowait(bytes(100_000))
                except asyncio.QueueFull:
                    full.set()
                    await stream.send(bytes(100_000))
                sent += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            await full.wait()
            assert sent * 100_000 <= limit
            go_on.set()
        await stream.aclose()
    assert received == [100_000] * 100


async def test_over_tls() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with relaying(echo, serving=serving, trusting=trusting) as port:
        url = f"wss://localhost:{port}/harness"
        async with open_harness(url, ssl_context=trusting) as harness:
            async with await harness.open_stream() as stream:
                await stream.send(bytes(1_000_000))
                assert await stream.receive() == bytes(1_000_000)
