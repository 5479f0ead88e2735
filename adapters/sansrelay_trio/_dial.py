"""From a target to an open WebSocket: registry, TCP, TLS, handshake. One attempt, no patience."""

import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from sansrelay.connection import Role
from sansrelay.http import Url, WebSocketUrl
from sansrelay.links import ConnectError, KeepAlive
from sansrelay.network import (
    READ_SIZE,
    Registry,
    RegistryQuestion,
    broken_off,
    host_and_port,
    rejected,
    timed_out,
    tls_failed,
    unconnected,
    unknown_host,
    url_to_dial,
)
from sansrelay.websocket import WebSocketLink

from ._errors import LinkClosed
from ._transport import WebSocketConnection

__all__ = ["Dialer", "OpenSocket"]

OpenSocket = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to a host and a port, as `trio.open_tcp_stream` does."""


class Dialer:
    """Opens one link after the other to the same target. Raises `ConnectError` where it fails.

    What the options mean is told at `open_harness`.
    """

    def __init__(
        self,
        role: Role,
        target: Registry | str,
        *,
        ssl_context: ssl.SSLContext | None,
        server_hostname: str | None,
        insecure: bool,
        open_socket: OpenSocket | None,
        connect_timeout: float,
        keepalive: KeepAlive | None,
        max_frame_size: int,
    ) -> None:
        self._role = role
        self._target = target
        self._ssl_context = ssl_context
        self._server_hostname = server_hostname
        self._insecure = insecure
        self._open_socket = open_socket or trio.open_tcp_stream
        self._connect_timeout = connect_timeout
        self._keepalive = keepalive or KeepAlive()
        self._max_frame_size = max_frame_size

    async def dial(self) -> WebSocketConnection:
        """One attempt. Each of its two steps, asking and dialling, has `connect_timeout`."""
        if isinstance(self._target, str):
            url = url_to_dial(self._target, insecure=self._insecure)
        else:
            url = await self._ask(self._target)
        link = WebSocketLink.client(url, max_message_size=self._max_frame_size)
        where = host_and_port(url, "the WebSocket server")
        async with self._connected(url, where) as stream:
            connection = WebSocketConnection(stream, link, self._keepalive)
            try:
                await connection.open()
            except LinkClosed as closed:
                if isinstance(closed.__cause__, trio.BrokenResourceError):
                    raise _broken(where, closed.__cause__) from closed
                raise rejected(link, where, closed) from closed
        return connection

    async def _ask(self, registry: Registry) -> WebSocketUrl:
        question = RegistryQuestion(self._role, registry, insecure=self._insecure)
        async with self._connected(question.url, question.where) as stream:
            exchange = question.exchange
            await stream.send_all(exchange.bytes_to_send())
            while not question.is_answered:
                data = bytes(await stream.receive_some(READ_SIZE))
                if data:
                    exchange.receive_bytes(data)
                else:
                    exchange.receive_eof()
            await _discard(stream)
        return question.answer()

    @asynccontextmanager
    async def _connected(self, url: Url, where: str) -> AsyncGenerator[trio.abc.Stream]:
        """A byte stream to the host of a URL, over TLS if it says so, and a block to use it in.

        The stream outlives the block unless that raises. All must be done in `connect_timeout`.
        """
        stream: trio.abc.Stream | None = None
        try:
            with trio.fail_after(self._connect_timeout):
                stream = await self._open_socket(url.host, url.port)
                if url.secure:
                    stream = secured = self._secure(stream, url.host)
                    await secured.do_handshake()
                yield stream
        except BaseException as error:
            if stream is not None:
                await _discard(stream)
            failure = self._explain(error, where)
            if failure is None:
                raise
            raise failure from error

    def _secure(self, stream: trio.abc.Stream, host: str) -> trio.SSLStream[trio.abc.Stream]:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        # The ends of HTTP messages and WebSockets are known without TLS's own closing.
        return trio.SSLStream(
            stream,
            self._ssl_context,
            server_hostname=self._server_hostname or host,
            https_compatible=True,
        )

    def _explain(self, error: BaseException, where: str) -> ConnectError | None:
        match error:
            case trio.TooSlowError():
                return timed_out(where, self._connect_timeout)
            case socket.gaierror() | UnicodeError():
                return unknown_host(where, error)
            case trio.BrokenResourceError():
                return _broken(where, error)
            case OSError():
                return unconnected(where, error)
        return None


async def _discard(stream: trio.abc.Stream) -> None:
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


def _broken(where: str, error: trio.BrokenResourceError) -> ConnectError:
    """A connection that came about did not last: for TLS, most likely because of a certificate."""
    reason = error.__cause__
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
        return tls_failed(where, reason)
    return broken_off(where, reason or error)
