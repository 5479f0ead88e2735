"""A server for plain HTTP and WebSockets on one port: what a rendezvous listens with."""

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Never

import trio
from sansrelay.errors import LocalProtocolError
from sansrelay.http import HttpRequest, HttpResponse
from sansrelay.http_server import HttpServerConnection
from sansrelay.links import CLOSE_TIMEOUT, KeepAlive
from sansrelay.network import ACCEPT_PAUSE, EXHAUSTED, READ_SIZE, Farewell, ServerLimits
from sansrelay.websocket import DEFAULT_MAX_MESSAGE_SIZE

from ._tasks import consists_of, open_background
from ._transport import WebSocketConnection

__all__ = ["ConnectionHandler", "ServerConnection", "serve_http"]

_log = logging.getLogger("sansrelay_trio")


class ServerConnection:
    """One accepted connection: requests in, responses out, maybe a WebSocket in the end.

    Made by `serve_http`, for one task.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        nursery: trio.Nursery,
        *,
        peer: str,
        limits: ServerLimits,
        keepalive: KeepAlive,
    ) -> None:
        self.peer = peer
        """The peer's address as the socket tells it; empty for a transport without one."""
        self.websocket: WebSocketConnection | None = None
        """The WebSocket, once accepted."""
        self._stream = stream
        self._nursery = nursery
        self._limits = limits
        self._keepalive = keepalive
        self._http = HttpServerConnection(max_body_size=limits.max_request_body)
        self._served = 0

    async def next_request(self) -> HttpRequest | None:
        """The next request; None when there will be none.

        Answer it with `respond` or `accept_websocket` before the next call. What is not valid HTTP
        is answered here.
        """
        limits, http = self._limits, self._http
        first_byte = limits.idle_timeout if self._served else limits.request_timeout
        request: HttpRequest | None = None
        with trio.move_on_after(first_byte) as patience, suppress(trio.BrokenResourceError):
            await trio.lowlevel.checkpoint()
            waiting = True
            while (request := http.next_request()) is None:
                await self._flush()
                if http.should_close_transport:
                    return None
                data = bytes(await self._stream.receive_some(READ_SIZE))
                if not data:
                    http.receive_eof()
                    continue
                if waiting:
                    waiting = False
                    patience.deadline = trio.current_time() + limits.request_timeout
                http.receive_bytes(data)
            self._served += 1
        return request

    async def respond(self, response: HttpResponse) -> None:
        """Answer the request.

        Raises `trio.BrokenResourceError` if the peer is gone or does not take it in time,
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
        self._nursery.start_soon(self.websocket.keep_alive)
        await self.websocket.open()
        return self.websocket

    async def _flush(self) -> None:
        data = self._http.bytes_to_send()
        if data:
            with trio.move_on_after(self._limits.write_timeout) as patience:
                await self._stream.send_all(data)
            if patience.cancelled_caught:
                raise trio.BrokenResourceError("the peer does not take the response")

    async def _finish(self, code: Farewell) -> None:
        """Close whatever it is by now, in `CLOSE_TIMEOUT` at most."""
        with trio.CancelScope(shield=True):
            if self.websocket is not None:
                await self.websocket.aclose(code)
                return
            with trio.move_on_after(CLOSE_TIMEOUT), suppress(trio.BrokenResourceError):
                if code is Farewell.INTERNAL_ERROR:
                    with suppress(LocalProtocolError):
                        self._http.respond(HttpResponse(status=500))
                await self._flush()
                if self._http.failure is not None:
                    # Unread bytes would cause a TCP reset, and that overtake the answer.
                    while await self._stream.receive_some(READ_SIZE):
                        pass
            await trio.aclose_forcefully(self._stream)


ConnectionHandler = Callable[[ServerConnection], Awaitable[object]]


async def serve_http(
    handler: ConnectionHandler,
    *,
    host: str | None = "127.0.0.1",
    port: int = 0,
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    limits: ServerLimits | None = None,
    keepalive: KeepAlive | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Accept connections and run `handler(connection)` in a task for each, until cancelled.

    When a handler returns, its connection is closed in order; when it raises, that is logged, and
    a request it left unanswered gets status 500 (a WebSocket, close code 1011).

    `host`, `port`: where to listen; None means all interfaces, 0 a port that is free.
    `listeners`: listeners to use in the place of `host` and `port`. They are closed in the end.
    `ssl_context`: speak TLS, with this context.
    `limits`, `keepalive`: see there.
    `handler_nursery`: run handlers there. Cancelling `serve_http` then only stops accepting.
    Without it, handlers are cancelled as well, and their WebSockets closed with code 1001.

    `task_status.started` gets the bound addresses, as pairs of address and port. Raises `OSError`
    if it can't listen.
    """
    if listeners is None:
        listeners = await trio.open_tcp_listeners(port, host=host)
    async with open_background() as nursery:
        server = _Server(
            handler,
            handler_nursery or nursery,
            ssl_context=ssl_context,
            limits=limits or ServerLimits(),
            keepalive=keepalive or KeepAlive(),
        )
        for listener in listeners:
            nursery.start_soon(server.accept_from, listener)
        task_status.started([each for listener in listeners for each in _addresses(listener)])
        await trio.sleep_forever()
    raise AssertionError("the block above never ends by itself")


class _Server:
    def __init__(
        self,
        handler: ConnectionHandler,
        nursery: trio.Nursery,
        *,
        ssl_context: ssl.SSLContext | None,
        limits: ServerLimits,
        keepalive: KeepAlive,
    ) -> None:
        self._handler = handler
        self._nursery = nursery
        self._ssl_context = ssl_context
        self._limits = limits
        self._keepalive = keepalive
        self._open = 0

    async def accept_from(self, listener: trio.abc.Listener[trio.abc.Stream]) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in EXHAUSTED:
                        raise
                    _log.warning("can't accept a connection: %s", error)
                    await trio.sleep(ACCEPT_PAUSE)
                    continue
                if self._open >= self._limits.max_connections:
                    _log.warning("%d connections are open; closed another", self._open)
                    await trio.aclose_forcefully(stream)
                    continue
                self._open += 1
                self._nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        peer = _peer(stream)
        try:
            secured = await self._secure(stream)
            if secured is not None:
                await self._handle(secured, peer)
        except Exception:
            _log.exception("the handler of a connection from %s raised", peer or "a peer")
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _secure(self, stream: trio.abc.Stream) -> trio.abc.Stream | None:
        if self._ssl_context is None:
            return stream
        secured = trio.SSLStream(stream, self._ssl_context, server_side=True, https_compatible=True)
        with trio.move_on_after(self._limits.request_timeout):
            try:
                await secured.do_handshake()
            except trio.BrokenResourceError as error:
                _log.info("no TLS with %s: %s", _peer(stream) or "a peer", error.__cause__ or error)
                return None
            return secured
        return None

    async def _handle(self, stream: trio.abc.Stream, peer: str) -> None:
        code = Farewell.GOING_AWAY
        async with open_background() as nursery:
            connection = ServerConnection(
                stream, nursery, peer=peer, limits=self._limits, keepalive=self._keepalive
            )
            try:
                await self._handler(connection)
                code = Farewell.NORMAL
            except Exception as error:
                # The peer is gone, or as good as gone. LinkClosed is one of these.
                if not consists_of(error, trio.BrokenResourceError):
                    code = Farewell.INTERNAL_ERROR
                    raise
                _log.debug("connection from %s: %s", peer or "a peer", error)
            finally:
                await connection._finish(code)


def _addresses(listener: trio.abc.Listener[trio.abc.Stream]) -> list[tuple[str, int]]:
    if not isinstance(listener, trio.SocketListener):
        return []
    name = listener.socket.getsockname()
    return [(name[0], name[1])]


def _peer(stream: trio.abc.Stream) -> str:
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else str(name)
