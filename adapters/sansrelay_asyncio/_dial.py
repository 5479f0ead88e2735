"""From a target to an open WebSocket: registry, TCP, TLS, handshake. One attempt, no patience."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from sansrelay.connection import Role
from sansrelay.http import Url, WebSocketUrl
from sansrelay.links import ConnectError, KeepAlive
from sansrelay.network import (
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
from ._socket import ByteStream, connect_stream, open_tcp_socket
from ._tasks import patience
from ._transport import WebSocketConnection

__all__ = ["Dialer", "OpenSocket"]

OpenSocket = Callable[[str, int], Awaitable[socket.socket]]
"""Opens a connected, non-blocking stream socket to a host and a port."""


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
        self._open_socket = open_socket or open_tcp_socket
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
                if closed.__cause__ is not None:
                    raise _broken(where, closed.__cause__) from closed
                raise rejected(link, where, closed) from closed
        return connection

    async def _ask(self, registry: Registry) -> WebSocketUrl:
        question = RegistryQuestion(self._role, registry, insecure=self._insecure)
        async with self._connected(question.url, question.where) as stream:
            exchange = question.exchange
            stream.write(exchange.bytes_to_send())
            await stream.drain()
            while not question.is_answered:
                data = await stream.receive_some()
                if data:
                    exchange.receive_bytes(data)
                else:
                    exchange.receive_eof()
            await _discard(stream)
        return question.answer()

    @asynccontextmanager
    async def _connected(self, url: Url, where: str) -> AsyncGenerator[ByteStream]:
        """A byte stream to the host of a URL, over TLS if it says so, and a block to use it in.

        The stream outlives the block unless that raises. All must be done in `connect_timeout`.
        """
        sock: socket.socket | None = None
        stream: ByteStream | None = None
        try:
            async with asyncio.timeout(patience(self._connect_timeout)) as deadline:
                sock = await self._open_socket(url.host, url.port)
                context = self._tls() if url.secure else None
                name = self._server_hostname or url.host
                stream = await connect_stream(sock, ssl_context=context, server_hostname=name)
                yield stream
        except (OSError, UnicodeError) as error:
            if stream is not None:
                await _discard(stream)
            if deadline.expired():
                raise timed_out(where, self._connect_timeout) from error
            if sock is not None:
                raise _broken(where, error) from error
            if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
                raise unconnected(where, error) from error
            raise unknown_host(where, error) from error
        except BaseException:
            if stream is not None:
                await _discard(stream)
            raise

    def _tls(self) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        return self._ssl_context


async def _discard(stream: ByteStream) -> None:
    stream.abort()
    await stream.wait_gone()


def _broken(where: str, error: BaseException) -> ConnectError:
    """A connection that came about did not last: for TLS, most likely because of a certificate."""
    reason = error.__cause__ or error
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
        return tls_failed(where, reason)
    return broken_off(where, reason)
