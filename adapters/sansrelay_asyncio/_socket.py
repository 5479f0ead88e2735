"""A socket as a stream of bytes that is read and written by tasks, on `asyncio.Protocol`.

Bounded both ways: no more than `READ_SIZE` bytes and one read of the transport wait to be taken,
and a writer is told to wait as long as the transport has anything left to hand on. So what is to be
sent is chosen as late as possible, and a peer that does not read is noticed.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, cast

from sansrelay.network import READ_SIZE

from ._tasks import Wakeup

__all__ = ["ByteStream", "accept_stream", "connect_stream", "listen", "open_tcp_socket"]

_HEAD_START = 0.25
"""Seconds that an address has before the next one is tried too (RFC 8305, section 5)."""

_BACKLOG = 1024
"""Connections that wait to be accepted."""

_UNSENT_SIZE = 16 * 1024
"""Bytes that the system takes beyond what it can send, as trio has it: what waits there can't be
overtaken any more, and hides that the peer takes nothing."""

_Address = tuple[int, int, int, str, Any]


class ByteStream(asyncio.Protocol):
    """A connection's bytes. One task may read and one may write at a time."""

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._paused = False
        self._at_end = False
        self._arrived = Wakeup()
        self._reading = False
        self._must_wait = False
        self._drained = Wakeup()
        self._closed_here = False
        self._error: Exception | None = None
        self._gone = asyncio.Event()

    @property
    def peer(self) -> str:
        """The peer's address, empty for a socket without one."""
        name = self._transport.get_extra_info("peername") if self._transport else None
        return str(name[0]) if isinstance(name, tuple) and name else ""

    async def receive_some(self) -> bytes:
        """What has arrived, at least one byte; b"" at the end. When cancelled, nothing is lost.

        Raises `ConnectionError` if the connection broke, `ConnectionAbortedError` once this side
        has closed it, `RuntimeError` if another task is reading.
        """
        if self._reading:
            raise RuntimeError("another task is reading from this connection")
        self._reading = True
        try:
            while self._closed_here or not self._received:
                self._check()
                if self._at_end:
                    return b""
                await self._arrived.wait()
        finally:
            self._reading = False
        data = bytes(self._received)
        self._received.clear()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def write(self, data: bytes | memoryview) -> bool:
        """Give bytes to the transport; True if it has handed on all of them, else `drain` is due.

        Raises as `receive_some` does.
        """
        self._check()
        if self._gone.is_set():
            raise ConnectionResetError("the peer has closed the connection")
        assert self._transport is not None
        self._transport.write(data)
        return not self._must_wait

    async def drain(self) -> None:
        """Wait until the transport has handed on everything. Raises as `receive_some` does."""
        while self._must_wait:
            await self._drained.wait()
        self._check()

    def abort(self) -> None:
        """Close at once. What was not handed on is lost."""
        self._closed_here = True
        self._must_wait = False
        if self._transport is not None:
            self._transport.abort()
        self._arrived.set()
        self._drained.set()

    async def aclose(self) -> None:
        """Hand on what was written, close, and wait until that is done; by force when cancelled."""
        self._closed_here = True
        if self._transport is not None:
            self._transport.close()
        try:
            await self._gone.wait()
        finally:
            self.abort()

    async def wait_gone(self) -> None:
        """Wait until the transport has let go of the socket, soon after `abort`."""
        await self._gone.wait()

    def _check(self) -> None:
        if self._closed_here:
            raise ConnectionAbortedError("this side has closed the connection")
        if self._error is not None:
            message = str(self._error) or type(self._error).__name__
            raise ConnectionResetError(message) from self._error

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there."""
        self._transport = cast(asyncio.Transport, transport)
        # With a limit of 0, TLS transports would pause a writer that has nothing to wait for.
        self._transport.set_write_buffer_limits(high=1, low=0)
        if self._closed_here:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        self._received += data
        if len(self._received) >= READ_SIZE and not self._paused:
            assert self._transport is not None
            self._paused = True
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        """The peer sends no more. It may still read, but not over TLS."""
        self._at_end = True
        self._arrived.set()
        return not self._secure

    def pause_writing(self) -> None:
        """The transport has bytes that the peer does not take yet."""
        self._must_wait = not self._closed_here

    def resume_writing(self) -> None:
        """The transport has handed on everything."""
        self._must_wait = False
        self._drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone: broken, closed here, or at its end."""
        self._error = exc
        self._at_end = True
        self._must_wait = False
        self._arrived.set()
        self._drained.set()
        self._gone.set()


async def connect_stream(
    sock: socket.socket, *, ssl_context: ssl.SSLContext | None, server_hostname: str
) -> ByteStream:
    """Take over a connected socket, over TLS if there is a context; raises `OSError`."""
    stream = _byte_stream(sock, ssl_context)
    await asyncio.get_running_loop().create_connection(
        lambda: stream,
        sock=sock,
        ssl=ssl_context,
        server_hostname=server_hostname if ssl_context is not None else None,
    )
    return stream


async def accept_stream(sock: socket.socket, *, ssl_context: ssl.SSLContext | None) -> ByteStream:
    """Take over an accepted socket, over TLS if there is a context; raises `OSError`."""
    stream = _byte_stream(sock, ssl_context)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, sock, ssl=ssl_context)
    return stream


def _byte_stream(sock: socket.socket, ssl_context: ssl.SSLContext | None) -> ByteStream:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        # Not every system has it.
        with suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_SIZE)
    return ByteStream(secure=ssl_context is not None)


async def open_tcp_socket(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that answers (RFC 8305).

    Raises `OSError`; its `__cause__` is a group with the error of each address. Raises
    `socket.gaierror` or `UnicodeError` for a name without address.
    """
    loop = asyncio.get_running_loop()
    waiting = deque(_by_turns(await _resolve(host, port)))
    trying: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while waiting or trying:
            if waiting:
                trying.add(loop.create_task(_connect(waiting.popleft())))
            done, _ = await asyncio.wait(
                trying,
                timeout=_HEAD_START if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                trying.discard(task)
                try:
                    return task.result()
                except OSError as error:
                    errors.append(error)
        raise OSError(f"none of the addresses of {host} answers") from ExceptionGroup("", errors)
    finally:
        # Others that were tried: slower, or cancelled with this task.
        for task in trying:
            task.cancel()
        if trying:
            await asyncio.wait(trying)
        for task in trying:
            if not task.cancelled() and task.exception() is None:
                task.result().close()


async def _resolve(host: str, port: int) -> Sequence[_Address]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _by_turns(addresses: Sequence[_Address]) -> list[_Address]:
    """The first family and the others by turns, so that one broken family costs little."""
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    return [each for each in chain(*zip_longest(first, others)) if each is not None]


async def _connect(address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def listen(host: str | None, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host, or of this machine for None."""
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in addresses:
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # The other family has a socket of its own.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(where)
            listener.listen(_BACKLOG)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners
