"""`serve_http`: requests, responses, WebSockets, deadlines and the end of it all."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from asyncio_net import Net, all_wait, now
from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import HttpResponse
from sansrelay.websocket import WebSocketLink
from sansrelay_asyncio import (
    ConnectionHandler,
    KeepAlive,
    LinkClosed,
    ServerConnection,
    ServerLimits,
    WebSocketConnection,
    serve_http,
)
from sansrelay_asyncio._socket import connect_stream

pytestmark = [
    pytest.mark.asyncio(loop_factories=["virtual"]),
    pytest.mark.usefixtures("complaints"),
]

GET = b"GET /path?q=1 HTTP/1.1\r\nHost: relay.test\r\n\r\n"


async def answer_all(connection: ServerConnection) -> None:
    while (request := await connection.next_request()) is not None:
        await connection.respond(HttpResponse(status=200, body=request.path.encode()))


class Serving:
    def __init__(self, net: Net, task: asyncio.Task[Any]) -> None:
        self.net, self.task = net, task
        self._writers: list[asyncio.StreamWriter] = []

    async def call(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = await self.net.open_socket("relay.test", 80)
        reader, writer = await asyncio.open_connection(sock=sock)
        self._writers.append(writer)
        return reader, writer

    async def stop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self.task.cancel()
        await asyncio.wait([self.task])
        self.net.close()

    @asynccontextmanager
    async def websocket(self) -> AsyncGenerator[WebSocketConnection]:
        sock = await self.net.open_socket("relay.test", 80)
        stream = await connect_stream(sock, ssl_context=None, server_hostname="relay.test")
        connection = WebSocketConnection(
            stream, WebSocketLink.client("ws://relay.test/"), KeepAlive()
        )
        await connection.open()
        alive = asyncio.create_task(connection.keep_alive())
        try:
            yield connection
        finally:
            await connection.aclose()
            await alive


@asynccontextmanager
async def serving(
    handler: ConnectionHandler,
    limits: ServerLimits | None = None,
    ssl_context: ssl.SSLContext | None = None,
    handler_group: asyncio.TaskGroup | None = None,
) -> AsyncGenerator[Serving]:
    net = Net()
    task = asyncio.create_task(
        serve_http(
            handler,
            listeners=[net.listener],
            limits=limits,
            ssl_context=ssl_context,
            handler_group=handler_group,
        )
    )
    server = Serving(net, task)
    await all_wait()
    try:
        yield server
    finally:
        await server.stop()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


class TestRequests:
    async def test_one_connection_serves_several_also_when_pipelined(self) -> None:
        async with serving(answer_all) as server:
            reader, writer = await server.call()
            writer.write(GET)
            assert (await reader.read(1000)).endswith(b"\r\n\r\n/path")
            last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            writer.write(GET + last)
            assert (await read_to_end(reader)).count(b"\r\n\r\n/path") == 2

    async def test_a_peer_that_has_said_all_still_gets_its_answer(self) -> None:
        async with serving(answer_all) as server:
            reader, writer = await server.call()
            writer.write(GET)
            writer.write_eof()
            assert (await read_to_end(reader)).endswith(b"\r\n\r\n/path")

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"SSH-2.0-x\r\n\r\n", b"400"),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", b"413"),
        ],
        ids=["not HTTP", "too large"],
    )
    async def test_what_is_refused_is_answered_and_ends_the_connection(
        self, sent: bytes, status: bytes
    ) -> None:
        async with serving(answer_all, ServerLimits(max_request_body=10)) as server:
            reader, writer = await server.call()
            writer.write(sent + bytes(100_000))
            assert (await reader.read(1000)).startswith(b"HTTP/1.1 " + status)

    async def test_responding_without_a_request_is_misuse(self) -> None:
        caught: list[LocalProtocolError] = []

        async def handler(connection: ServerConnection) -> None:
            try:
                await connection.respond(HttpResponse(status=200))
            except LocalProtocolError as error:
                caught.append(error)

        async with serving(handler) as server:
            reader, _ = await server.call()
            assert await read_to_end(reader) == b""
        assert [error.cause for error in caught] == [LocalCause.NOT_OPEN]


class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", GET[:20]], ids=["nothing", "half a request"])
    async def test_a_request_that_does_not_come(self, sent: bytes) -> None:
        async with serving(answer_all, ServerLimits(request_timeout=4)) as server:
            reader, writer = await server.call()
            writer.write(sent)
            assert await read_to_end(reader) == b""
            assert now() == pytest.approx(4, abs=0.01)

    async def test_a_tls_handshake_that_does_not_come(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("relay.test").configure_cert(context)
        async with serving(answer_all, ServerLimits(request_timeout=4), context) as server:
            reader, _ = await server.call()
            assert await read_to_end(reader) == b""
            assert now() == pytest.approx(4, abs=0.01)

    async def test_a_connection_that_is_kept_without_use(self) -> None:
        async with serving(answer_all, ServerLimits(idle_timeout=30)) as server:
            reader, writer = await server.call()
            await asyncio.sleep(9)
            writer.write(GET)
            await reader.read(1000)
            await asyncio.sleep(29)
            writer.write(GET)
            await reader.read(1000)
            assert await read_to_end(reader) == b""
            assert now() == pytest.approx(9 + 29 + 30, abs=0.01)

    async def test_a_peer_that_does_not_take_its_response(self) -> None:
        raised: list[float] = []

        async def handler(connection: ServerConnection) -> None:
            await connection.next_request()
            try:
                await connection.respond(HttpResponse(status=200, body=bytes(5_000_000)))
            except ConnectionError:
                raised.append(now())
                raise

        async with serving(handler, ServerLimits(write_timeout=6)) as server:
            _, writer = await server.call()
            writer.write(GET)
            await all_wait()
            server.net.cables[0].block()
            await asyncio.sleep(10)
            assert raised == [pytest.approx(6, abs=0.01)]


class TestWebSockets:
    async def test_the_handler_ends_it_in_order(self) -> None:
        async def greet(connection: ServerConnection) -> None:
            request = await connection.next_request()
            assert request is not None
            assert request.wants_websocket
            link = await connection.accept_websocket()
            assert connection.websocket is link
            assert await link.receive() == [b"go"]
            await link.send([b"hello"])

        async with serving(greet) as server, server.websocket() as client:
            await client.send([b"go"])
            assert await client.receive() == [b"hello"]
            with pytest.raises(LinkClosed) as caught:
                await client.receive()
            assert caught.value.code == 1000

    async def test_a_handler_that_raises_closes_it_with_1011_and_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(connection: ServerConnection) -> None:
            await connection.next_request()
            await (await connection.accept_websocket()).receive()
            raise ConnectionRefusedError("of another connection")

        async with serving(fail) as server, server.websocket() as client:
            await client.send([b"go"])
            with pytest.raises(LinkClosed) as caught:
                await client.receive()
            assert caught.value.code == 1011
        assert "of another connection" in caplog.text

    async def test_a_handler_that_lets_out_the_end_of_its_link_is_not_at_fault(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def listen(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            async with asyncio.TaskGroup() as group:
                group.create_task(link.receive())

        with caplog.at_level(logging.WARNING, "sansrelay_asyncio"):
            async with serving(listen) as server, server.websocket():
                pass
        assert not caplog.records

    async def test_cancelling_the_server_closes_it_with_1001(self) -> None:
        async def listen(connection: ServerConnection) -> None:
            await connection.next_request()
            await (await connection.accept_websocket()).receive()

        async with serving(listen) as server, server.websocket() as client:
            server.task.cancel()
            with pytest.raises(LinkClosed) as caught:
                await client.receive()
            assert caught.value.code == 1001

    async def test_with_a_group_for_handlers_cancelling_only_stops_accepting(self) -> None:
        async def echo(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            while True:
                await link.send(await link.receive())

        async with asyncio.TaskGroup() as handlers:
            async with serving(echo, handler_group=handlers) as server, server.websocket() as one:
                server.task.cancel()
                await all_wait()
                with pytest.raises(OSError, match="refused"):
                    await server.call()
                await one.send([b"still served"])
                assert await one.receive() == [b"still served"]


class TestServer:
    async def test_a_handler_that_raises_leaves_no_request_unanswered(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(connection: ServerConnection) -> None:
            await connection.next_request()
            raise RuntimeError("in the handler")

        async with serving(fail) as server:
            for _ in range(2):
                reader, writer = await server.call()
                writer.write(GET)
                assert (await read_to_end(reader)).startswith(b"HTTP/1.1 500 ")
        assert caplog.text.count("RuntimeError: in the handler") == 2

    async def test_connections_beyond_the_limit_are_closed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving(answer_all, ServerLimits(max_connections=2)) as server:
            calls = [await server.call() for _ in range(3)]
            assert await read_to_end(calls[2][0]) == b""
            calls[0][1].close()
            await all_wait()
            reader, writer = await server.call()
            writer.write(GET)
            assert (await reader.read(1000)).startswith(b"HTTP/1.1 200 ")
        assert "2 connections are open" in caplog.text

    async def test_it_reports_where_it_listens_and_knows_its_peers(self) -> None:
        peers: list[str] = []

        async def note(connection: ServerConnection) -> None:
            peers.append(connection.peer)

        listening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(serve_http(note, on_started=listening.set_result))
        [(host, port)] = await listening
        assert host == "127.0.0.1"
        reader, writer = await asyncio.open_connection(host, port)
        assert await read_to_end(reader) == b""
        writer.close()
        task.cancel()
        await asyncio.wait([task])
        assert peers == ["127.0.0.1"]

    async def test_an_address_in_use_is_raised_plain(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await serve_http(answer_all, port=taken.getsockname()[1])

    async def test_it_waits_when_the_process_has_no_more_files(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Exhausted(socket.socket):
            """A listener that once has no descriptor for what it accepts."""

            failed = False

            def accept(self) -> tuple[socket.socket, Any]:
                if not Exhausted.failed:
                    Exhausted.failed = True
                    raise OSError(24, "too many open files")
                return super().accept()

        net = Net()
        with net.listener as plain:
            listener = Exhausted(fileno=os.dup(plain.fileno()))
        task = asyncio.create_task(serve_http(answer_all, listeners=[listener]))
        net.listener = listener
        reader, writer = await asyncio.open_connection(sock=await net.open_socket("", 80))
        writer.write(GET)
        assert (await reader.read(1000)).startswith(b"HTTP/1.1 200 ")
        assert now() == pytest.approx(0.1, abs=0.01)
        assert "too many open files" in caplog.text
        writer.close()
        task.cancel()
        await asyncio.wait([task])
        net.close()
