"""A server for plain HTTP and WebSockets on one port: what a rendezvous listens with."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Never

from sansrelay.errors import LocalProtocolError
from sansrelay.http import HttpRequest, HttpResponse
from sansrelay.http_server import HttpServerConnection
from sansrelay.links import CLOSE_TIMEOUT, KeepAlive
from sansrelay.network import ACCEPT_PAUSE, EXHAUSTED, Farewell, ServerLimits
from sansrelay.websocket import DEFAULT_MAX_MESSAGE_SIZE

from ._errors import LinkClosed
from ._socket import ByteStream, accept_stream, listen
from ._tasks import Background, consists_of, open_background, patience
from ._transport import WebSocketConnection

__all__ = ["ConnectionHandler", "ServerConnection", "serve_http"]

_log = logging.getLogger("sansrelay_asyncio")


class ServerConnection:
    """One accepted connection: requests in, responses out, maybe a WebSocket in the end.

    Made by `serve_http`, for one task.
    """

    def __init__(
        self, stream: ByteStream, tasks: Background, *, limits: ServerLimits, keepalive: KeepAlive
    ) -> None:
        self.peer = stream.peer
        """The peer's address as the socket tells it; empty for a transport without one."""
        self.websocket: WebSocketConnection | None = None
        """The WebSocket, once accepted."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._tasks = tasks
        self._limits = limits
        self._keepalive = keepalive
        self._http = HttpServerConnection(max_body_size=limits.max_request_body)
        self._served = 0
        self._lost = False

    async def next_request(self) -> HttpRequest | None:
        """The next request; None when there will be none.

        Answer it with `respond` or `accept_websocket` before the next call. What is not valid HTTP
        is answered here.
        """
        limits, http = self._limits, self._http
        first_byte = limits.idle_timeout if self._served else limits.request_timeout
        try:
            async with asyncio.timeout(patience(first_byte)) as deadline:
                waiting = True
                while (request := http.next_request()) is None:
                    await self._flush()
                    if http.should_close_transport:
                        return None
                    data = await self._stream.receive_some()
                    if not data:
                        http.receive_eof()
                        continue
                    if waiting:
                        waiting = False
                        deadline.reschedule(patience(self._loop.time() + limits.request_timeout))
                    http.receive_bytes(data)
        except (TimeoutError, ConnectionError):
            return None
        self._served += 1
        return request

    async def respond(self, response: HttpResponse) -> None:
        """Answer the request.

        Raises `ConnectionError` if the peer is gone or does not take it in time,
        `sansrelay.LocalProtocolError` if there is no request or the response is not valid.
        """
        self._http.respond(response)
        await self._flush()

    async def accept_websocket(
        self, *, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    ) -> WebSocketConnection:
        """Answer a request that `wants_websocket` by becoming one.

        It is kept alive until the handler returns, and then closed, if the handler did not do so.
        Raises `LinkClosed` if the peer is gone, `sansrelay.LocalProtocolError` if there is no such
        request.
        """
        link = self._http.accept_websocket(max_message_size=max_message_size)
        self.websocket = WebSocketConnection(self._stream, link, self._keepalive)
        self._tasks.start(self.websocket.keep_alive())
        await self.websocket.open()
        return self.websocket

    async def _flush(self) -> None:
        data = self._http.bytes_to_send()
        if not data:
            return
        try:
            if not self._stream.write(data):
                async with asyncio.timeout(patience(self._limits.write_timeout)):
                    await self._stream.drain()
        except TimeoutError:
            self._lost = True
            raise ConnectionResetError("the peer does not take the response") from None
        except ConnectionError:
            self._lost = True
            raise

    def _is_news_of_the_end(self, error: Exception) -> bool:
        """Whether an exception only says that the peer is gone, or as good as gone."""
        return consists_of(error, ConnectionError if self._lost else LinkClosed)

    async def _finish(self, code: Farewell) -> None:
        """Close whatever it is by now, in `CLOSE_TIMEOUT` at most."""
        if self.websocket is not None:
            await self.websocket.aclose(code)
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                if code is Farewell.INTERNAL_ERROR:
                    with suppress(LocalProtocolError):
                        self._http.respond(HttpResponse(status=500))
                await self._flush()
                if self._http.failure is not None:
                    # Unread bytes would cause a TCP reset, and that overtake the answer.
                    while await self._stream.receive_some():
                        pass
                await self._stream.aclose()
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self._stream.abort()
            await self._stream.wait_gone()


ConnectionHandler = Callable[[ServerConnection], Awaitable[object]]


async def serve_http(
    handler: ConnectionHandler,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    listeners: Sequence[socket.socket] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: ServerLimits | None = None,
    keepalive: KeepAlive | None = None,
    handler_group: asyncio.TaskGroup | None = None,
    on_started: Callable[[list[tuple[str, int]]], object] | None = None,
) -> Never:
    """Accept connections and run `handler(connection)` in a task for each, until cancelled.

    When a handler returns, its connection is closed in order; when it raises, that is logged, and
    a request it left unanswered gets status 500 (a WebSocket, close code 1011).

    `host`, `port`: where to listen; None means all interfaces, 0 a port that is free.
    `listeners`: listening, non-blocking sockets to use in the place of `host` and `port`. They are
    closed in the end.
    `ssl_context`: speak TLS, with this context.
    `limits`, `keepalive`: see there.
    `handler_group`: run handlers there. Cancelling `serve_http` then only stops accepting. Without
    it, handlers are cancelled as well, and their WebSockets closed with code 1001.

    `on_started` is called with the bound addresses, as pairs of address and port. Raises `OSError`
    if it can't listen.
    """
    if listeners is None:
        listeners = await listen(host, port)
    try:
        async with open_background() as tasks:
            server = _Server(
                handler,
                handler_group.create_task if handler_group is not None else tasks.start,
                ssl_context=ssl_context,
                limits=limits or ServerLimits(),
                keepalive=keepalive or KeepAlive(),
            )
            try:
                for listener in listeners:
                    server.accept_from(listener)
                if on_started is not None:
                    on_started([each for one in listeners for each in _addresses(one)])
                await server.failed
            finally:
                server.stop()
    finally:
        for listener in listeners:
            listener.close()
    raise AssertionError("the block above never ends by itself")


class _Server:
    def __init__(
        self,
        handler: ConnectionHandler,
        start: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        *,
        ssl_context: ssl.SSLContext | None,
        limits: ServerLimits,
        keepalive: KeepAlive,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._handler = handler
        self._start = start
        self._ssl_context = ssl_context
        self._limits = limits
        self._keepalive = keepalive
        self._open = 0
        self._listeners: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self.failed: asyncio.Future[None] = self._loop.create_future()
        """Gets the error of a listener that is broken."""

    def accept_from(self, listener: socket.socket) -> None:
        """Accept connections whenever there are any."""
        self._listeners.append(listener)
        self._loop.add_reader(listener, self._accept, listener)

    def stop(self) -> None:
        """Accept no more."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        for pause in self._pauses.values():
            pause.cancel()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            self._loop.remove_reader(listener)
            if error.errno in EXHAUSTED:
                _log.warning("can't accept a connection: %s", error)
                self._pauses[listener] = self._loop.call_later(
                    ACCEPT_PAUSE, self._loop.add_reader, listener, self._accept, listener
                )
            elif not self.failed.done():
                self.failed.set_exception(error)
            return
        if self._open >= self._limits.max_connections:
            _log.warning("%d connections are open; closed another", self._open)
            sock.close()
            return
        sock.setblocking(False)
        self._open += 1
        self._start(self._serve(sock)).add_done_callback(lambda _: self._done(sock))

    def _done(self, sock: socket.socket) -> None:
        self._open -= 1
        # Left open only by a task that was cancelled before it began.
        sock.close()

    async def _serve(self, sock: socket.socket) -> None:
        stream = await self._take_over(sock)
        if stream is None:
            return
        try:
            await self._handle(stream)
        except Exception:
            _log.exception("serving a connection from %s failed", stream.peer or "a peer")

    async def _take_over(self, sock: socket.socket) -> ByteStream | None:
        try:
            async with asyncio.timeout(patience(self._limits.request_timeout)) as deadline:
                return await accept_stream(sock, ssl_context=self._ssl_context)
        except OSError as error:
            if not deadline.expired():
                _log.info("no TLS with a peer: %s", error)
            return None

    async def _handle(self, stream: ByteStream) -> None:
        code = Farewell.GOING_AWAY
        async with open_background() as tasks:
            connection = ServerConnection(
                stream, tasks, limits=self._limits, keepalive=self._keepalive
            )
            try:
                await self._handler(connection)
                code = Farewell.NORMAL
            except Exception as error:
                peer = connection.peer or "a peer"
                if connection._is_news_of_the_end(error):
                    _log.debug("connection from %s: %s", peer, error)
                else:
                    # Logged before closing, which may be cancelled.
                    code = Farewell.INTERNAL_ERROR
                    _log.exception("the handler of a connection from %s raised", peer)
            finally:
                await connection._finish(code)


def _addresses(listener: socket.socket) -> list[tuple[str, int]]:
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return []
    name = listener.getsockname()
    return [(name[0], name[1])]
