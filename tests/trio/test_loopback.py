"""Both ends and a router over real sockets, which are reset in the middle of transfers."""

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio.testing

import trio
from sansrelay import RelayConfig
from sansrelay_trio import RelayStream, StreamHandler, open_harness, serve_executor, serve_http
from trio_net import Router, echo

pytestmark = pytest.mark.trio

RST = struct.pack("ii", 1, 0)


class TcpListener(trio.abc.Listener[trio.abc.Stream]):
    """A TCP listener on the loopback interface that can reset what it has accepted."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self._accepted: list[trio.SocketStream] = []
        self.port: int = listener.socket.getsockname()[1]

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        self._accepted.append(stream)
        return stream

    async def aclose(self) -> None:
        await self._listener.aclose()

    async def reset_all(self) -> int:
        """Send a TCP reset on all connections; returns how many."""
        victims, self._accepted = self._accepted, []
        for stream in victims:
            if stream.socket.fileno() != -1:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
            await trio.aclose_forcefully(stream)
        return len(victims)


@asynccontextmanager
async def relaying(
    handler: StreamHandler, config: RelayConfig | None = None
) -> AsyncGenerator[TcpListener]:
    [tcp] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener = TcpListener(tcp)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_http, Router().serve, listeners=[listener]))
        url = f"ws://127.0.0.1:{listener.port}/executor"
        await nursery.start(partial(serve_executor, handler, url, config=config))
        yield listener
        nursery.cancel_scope.cancel()


def harness_url(listener: TcpListener) -> str:
    return f"ws://127.0.0.1:{listener.port}/harness"


async def test_large_and_small_messages_come_back() -> None:
    async with relaying(echo) as listener, open_harness(harness_url(listener)) as harness:
        async with await harness.open_stream() as stream:
            for size in (1, 10_000, 16 * 1024 * 1024):
                await stream.send(bytes(size))
                assert len(await stream.receive()) == size


async def test_many_streams_share_a_link() -> None:
    async def talk(stream: RelayStream) -> None:
        async with stream:
            for i in range(20):
                await stream.send(b"%d" % i)
                assert await stream.receive() == b"%d" % i

    async with relaying(echo) as listener, open_harness(harness_url(listener)) as harness:
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(talk, await harness.open_stream())
        assert harness.stats().streams_live == 0


async def test_transfers_go_on_when_the_sockets_are_reset_in_the_middle() -> None:
    messages = [b"%d " % i + bytes(50_000) for i in range(120)]

    async def send(stream: RelayStream) -> None:
        for message in messages:
            await stream.send(message)

    resets = 0
    async with relaying(echo) as listener, open_harness(harness_url(listener)) as harness:
        async with await harness.open_stream() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(send, stream)
            for i, message in enumerate(messages):
                assert await stream.receive() == message
                if i % 40 == 20:
                    resets += await listener.reset_all()
        assert resets >= 6
        assert harness.stats().links_opened >= 4


async def test_a_reader_that_stops_holds_back_the_sender_over_real_sockets() -> None:
    """The sender gets rid of no more than both ends buffer, and the rest follows later."""
    go_on = trio.Event()
    received: list[int] = []

    async def read_late(stream: RelayStream) -> None:
        await go_on.wait()
        received.extend([len(message) async for message in stream])

    async with relaying(read_late) as listener, open_harness(harness_url(listener)) as harness:
        stream = await harness.open_stream()
        await stream.wait_opened()
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await stream.send(bytes(100_000))
                sent += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            limit = RelayConfig().send_buffer_size
            while sent < limit // 100_000:
                await trio.testing.wait_all_tasks_blocked(0.01)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert sent * 100_000 <= limit
            go_on.set()
        await stream.aclose()
    assert received == [100_000] * 100
