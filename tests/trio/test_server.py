"""`serve_http`: requests, responses, WebSockets, deadlines and the end of it all."""

import logging
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio.testing
import trustme

import trio
from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import HttpResponse
from sansrelay.websocket import WebSocketLink
from sansrelay_trio import (
    ConnectionHandler,
    KeepAlive,
    LinkClosed,
    ServerConnection,
    ServerLimits,
    WebSocketConnection,
    serve_http,
)
from trio_net import MemoryNet

pytestmark = pytest.mark.trio

GET = b"GET /path?q=1 HTTP/1.1\r\nHost: relay.test\r\n\r\n"


async def answer_all(connection: ServerConnection) -> None:
    while (request := await connection.next_request()) is not None:
        await connection.respond(HttpResponse(status=200, body=request.path.encode()))


@asynccontextmanager
async def serving(
    handler: ConnectionHandler,
    limits: ServerLimits | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncGenerator[MemoryNet]:
    net = MemoryNet()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(serve_http, handler, listeners=[net], limits=limits, ssl_context=ssl_context)
        )
        yield net
        nursery.cancel_scope.cancel()


async def call(net: MemoryNet) -> trio.abc.Stream:
    return await net.open_socket("relay.test", 80)


async def read_to_end(stream: trio.abc.Stream) -> bytes:
    received = bytearray()
    async for chunk in stream:
        received += chunk
    return bytes(received)


@asynccontextmanager
async def websocket(net: MemoryNet) -> AsyncGenerator[WebSocketConnection]:
    link = WebSocketLink.client("ws://relay.test/")
    connection = WebSocketConnection(await call(net), link, KeepAlive())
    await connection.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.keep_alive)
        yield connection
        await connection.aclose()


class TestRequests:
    async def test_one_connection_serves_several_also_when_pipelined(self) -> None:
        async with serving(answer_all) as net:
            stream = await call(net)
            await stream.send_all(GET)
            assert (await stream.receive_some()).endswith(b"\r\n\r\n/path")
            last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            await stream.send_all(GET + last)
            assert (await read_to_end(stream)).count(b"\r\n\r\n/path") == 2

    async def test_what_is_not_http_is_answered_and_ends_the_connection(self) -> None:
        async with serving(answer_all) as net:
            stream = await call(net)
            await stream.send_all(b"SSH-2.0-x\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
            await stream.aclose()

    async def test_a_body_that_is_too_large(self) -> None:
        async with serving(answer_all, ServerLimits(max_request_body=10)) as net:
            stream = await call(net)
            await stream.send_all(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n" + bytes(11)
            )
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")
            await stream.aclose()

    async def test_a_reset_does_not_overtake_the_answer(self) -> None:
        """Over a real socket, with a body that the server does not read."""
        async with trio.open_nursery() as nursery:
            [(host, port)] = await nursery.start(partial(serve_http, answer_all))
            async with await trio.open_tcp_stream(host, port) as stream:
                head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
                await stream.send_all(head + bytes(3_000_000))
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")
            nursery.cancel_scope.cancel()

    async def test_responding_without_a_request_is_misuse(self) -> None:
        caught: list[LocalProtocolError] = []

        async def handler(connection: ServerConnection) -> None:
            try:
                await connection.respond(HttpResponse(status=200))
            except LocalProtocolError as error:
                caught.append(error)

        async with serving(handler) as net:
            assert await read_to_end(await call(net)) == b""
        assert [error.cause for error in caught] == [LocalCause.NOT_OPEN]


class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", GET[:20]], ids=["nothing", "half a request"])
    async def test_a_request_that_does_not_come(
        self, autojump_clock: trio.testing.MockClock, sent: bytes
    ) -> None:
        async with serving(answer_all, ServerLimits(request_timeout=4)) as net:
            stream = await call(net)
            await stream.send_all(sent)
            assert await read_to_end(stream) == b""
            assert trio.current_time() == pytest.approx(4)

    @pytest.mark.parametrize("requests_before", [0, 1])
    async def test_a_request_that_comes_byte_by_byte(
        self, autojump_clock: trio.testing.MockClock, requests_before: int
    ) -> None:
        async def send_slowly(stream: trio.abc.Stream) -> None:
            for byte in GET:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)

        async with serving(answer_all, ServerLimits(request_timeout=4)) as net:
            stream = await call(net)
            for _ in range(requests_before):
                await stream.send_all(GET)
                await stream.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await send_slowly(stream)
            assert 4 <= trio.current_time() <= 9

    @pytest.mark.parametrize(("sent", "after"), [(b"", 4), (GET, 0)], ids=["nothing", "no TLS"])
    async def test_a_tls_handshake_that_does_not_come(
        self, autojump_clock: trio.testing.MockClock, sent: bytes, after: float
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("relay.test").configure_cert(context)
        async with serving(answer_all, ServerLimits(request_timeout=4), context) as net:
            stream = await call(net)
            await stream.send_all(sent)
            assert b"200" not in await read_to_end(stream)
            assert trio.current_time() == pytest.approx(after)

    async def test_a_connection_that_is_kept_without_use(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with serving(answer_all, ServerLimits(idle_timeout=30)) as net:
            stream = await call(net)
            await trio.sleep(9)
            await stream.send_all(GET)
            await stream.receive_some()
            await trio.sleep(29)
            await stream.send_all(GET)
            await stream.receive_some()
            assert await read_to_end(stream) == b""
            assert trio.current_time() == pytest.approx(9 + 29 + 30)

    async def test_a_peer_that_does_not_take_its_response(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        net = MemoryNet()
        client, server = trio.testing.lockstep_stream_pair()
        raised: list[Exception] = []

        async def handler(connection: ServerConnection) -> None:
            await connection.next_request()
            try:
                await connection.respond(HttpResponse(status=200, body=bytes(100)))
            except trio.BrokenResourceError as error:
                raised.append(error)

        async with trio.open_nursery() as nursery:
            limits = ServerLimits(write_timeout=6)
            await nursery.start(partial(serve_http, handler, listeners=[net], limits=limits))
            net.put(server)
            await client.send_all(GET)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert len(raised) == 1


class TestWebSockets:
    async def test_the_handler_ends_it_in_order(self) -> None:
        async def greet(connection: ServerConnection) -> None:
            request = await connection.next_request()
            assert request is not None
            assert request.wants_websocket
            link = await connection.accept_websocket()
            assert connection.websocket is link
            await link.send([b"hello"])

        async with serving(greet) as net, websocket(net) as client:
            assert await client.receive() == [b"hello"]
            with pytest.raises(LinkClosed) as caught:
                await client.receive()
            assert caught.value.code == 1000

    async def test_a_handler_that_raises_closes_it_with_1011_and_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(connection: ServerConnection) -> None:
            await connection.next_request()
            await connection.accept_websocket()
            raise RuntimeError("in the handler")

        async with serving(fail) as net, websocket(net) as client:
            with pytest.raises(LinkClosed) as caught:
                await client.receive()
            assert caught.value.code == 1011
        assert "in the handler" in caplog.text

    async def test_a_handler_that_lets_out_the_end_of_its_link_is_not_at_fault(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def listen(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.receive)

        with caplog.at_level(logging.WARNING, "sansrelay_trio"):
            async with serving(listen) as net, websocket(net):
                pass
        assert not caplog.records

    async def test_cancelling_the_server_closes_it_with_1001(self) -> None:
        async def listen(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            await link.receive()

        net = MemoryNet()
        async with trio.open_nursery() as nursery:
            server = trio.CancelScope()

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                with server:
                    await serve_http(listen, listeners=[net], task_status=task_status)

            await nursery.start(serve)
            async with websocket(net) as client:
                server.cancel()
                with pytest.raises(LinkClosed) as caught:
                    await client.receive()
                assert caught.value.code == 1001

    async def test_with_a_nursery_for_handlers_cancelling_only_stops_accepting(self) -> None:
        async def echo(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            while True:
                await link.send(await link.receive())

        net = MemoryNet()
        async with trio.open_nursery() as handlers, trio.open_nursery() as nursery:
            server = trio.CancelScope()

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                with server:
                    await serve_http(
                        echo, listeners=[net], handler_nursery=handlers, task_status=task_status
                    )

            await nursery.start(serve)
            async with websocket(net) as client:
                server.cancel()
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BrokenResourceError):
                    await call(net)
                await client.send([b"still served"])
                assert await client.receive() == [b"still served"]
            handlers.cancel_scope.cancel()


class TestServer:
    async def test_a_handler_that_raises_leaves_no_request_unanswered(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def fail(connection: ServerConnection) -> None:
            await connection.next_request()
            raise RuntimeError("in the handler")

        async with serving(fail) as net:
            for _ in range(2):
                stream = await call(net)
                await stream.send_all(GET)
                assert (await read_to_end(stream)).startswith(b"HTTP/1.1 500 ")
        assert caplog.text.count("RuntimeError: in the handler") == 2

    async def test_connections_beyond_the_limit_are_closed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving(answer_all, ServerLimits(max_connections=2)) as net:
            streams = [await call(net) for _ in range(3)]
            assert await read_to_end(streams[2]) == b""
            await streams[0].aclose()
            await trio.testing.wait_all_tasks_blocked()
            next_one = await call(net)
            await next_one.send_all(GET)
            assert (await next_one.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert "2 connections are open" in caplog.text

    async def test_it_reports_where_it_listens(self) -> None:
        async with trio.open_nursery() as nursery:
            addresses = await nursery.start(partial(serve_http, answer_all, host="127.0.0.1"))
            [(host, port)] = addresses
            assert host == "127.0.0.1"
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(GET)
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            nursery.cancel_scope.cancel()

    async def test_it_knows_its_peers(self) -> None:
        peers: list[str] = []

        async def note(connection: ServerConnection) -> None:
            peers.append(connection.peer)

        async with trio.open_nursery() as nursery:
            [(host, port)] = await nursery.start(partial(serve_http, note))
            async with await trio.open_tcp_stream(host, port) as stream:
                assert await read_to_end(stream) == b""
            nursery.cancel_scope.cancel()
        assert peers == ["127.0.0.1"]

    async def test_an_address_in_use_is_raised_plain(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await serve_http(answer_all, port=taken.getsockname()[1])

    async def test_it_waits_when_the_process_has_no_more_files(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with serving(answer_all) as net:
            net.refuse_to_accept(OSError(24, "too many open files"))
            await trio.sleep(1)
            stream = await call(net)
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        assert "too many open files" in caplog.text

    async def test_a_listener_that_breaks_ends_it_plain(self) -> None:
        net = MemoryNet()
        net.refuse_to_accept(OSError(9, "bad file descriptor"))
        with pytest.raises(OSError, match="bad file descriptor"):
            await serve_http(answer_all, listeners=[net])

    async def test_no_task_is_left(self) -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        async with serving(answer_all) as net:
            await call(net)
            await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
