"""One WebSocket over a stream of bytes: the same code at both ends.

Three tasks at most touch a connection: one in `receive`, one or more in `send`, and one in
`keep_alive`. Only `send` and `keep_alive` write, so a peer that does not read can never stop us
from reading.
"""

import asyncio
import math
from collections.abc import Iterable
from contextlib import suppress

from sansrelay.links import CLOSE_TIMEOUT, KeepAlive, LinkCause, PingTimer
from sansrelay.network import WRITE_SIZE, end_of_link
from sansrelay.websocket import WebSocketLink, WebSocketState

from ._errors import LinkClosed
from ._socket import ByteStream
from ._tasks import Wakeup, patience

__all__ = ["WebSocketConnection"]

_CLOSED_HERE = "this side closed the WebSocket"


class WebSocketConnection:
    """One WebSocket. Made for `open_harness` and `serve_executor`, or by a server.

    `keep_alive` runs in a task of its own as long as the connection is in use: it answers the
    peer's pings, sends ours, and drops a dead link. It hears the peer through `receive` only, so
    some task has to be in there most of the time.
    """

    def __init__(self, stream: ByteStream, link: WebSocketLink, keepalive: KeepAlive) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._link = link
        self._keepalive = keepalive
        self._control = Wakeup()
        self._pending: list[bytes] = []
        self._write_lock = asyncio.Lock()
        self._reading = False
        self._reader_left = Wakeup()
        self._heard_at = -math.inf
        self._closing = False
        self._gone: tuple[LinkCause, str] | None = None

    async def open(self) -> None:
        """Complete the opening handshake (client). Raises `LinkClosed`; `failure` has the details.

        No deadline of its own. When cancelled or failed, only `aclose` is left to be called.
        """
        await self._flush()
        while self._link.state is WebSocketState.CONNECTING:
            await self._read()
        if self._link.state is not WebSocketState.OPEN:
            raise self._closed()

    @property
    def link(self) -> WebSocketLink:
        """The state machine, to be looked at."""
        return self._link

    async def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one. When cancelled, nothing is lost.

        Raises `LinkClosed` once there will be no more, `RuntimeError` if another task is receiving.
        """
        if self._reading:
            raise RuntimeError("another task is receiving from this WebSocket")
        self._reading = True
        try:
            while not (messages := self._link.messages()):
                if self._gone or self._link.should_close_transport:
                    raise self._closed()
                await self._read()
            return messages
        finally:
            self._reading = False
            self._reader_left.set()

    async def send(self, messages: Iterable[bytes]) -> None:
        """Send whole messages as one block; returns when the transport has taken them.

        Raises `LinkClosed`. Several tasks may send; they take turns. When cancelled while it waits
        for its turn, nothing is sent; when cancelled later, the link is broken, since a message may
        have left in part.
        """
        async with self._write_lock:
            if self._gone or self._link.state is not WebSocketState.OPEN:
                raise self._closed()
            for message in messages:
                self._link.send_message(message)
            await self._write_out()

    async def keep_alive(self) -> None:
        """Serve pings until the link has ended; then return, and leave it to others to say so."""
        timer = PingTimer(self._keepalive, self._loop.time())
        while not (self._gone or self._link.should_close_transport):
            deadline = patience(timer.deadline)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._control.wait()
            now = self._loop.time()
            if timer.is_dead(now, self._heard_at):
                waited = self._keepalive.pong_timeout
                self._drop(
                    LinkCause.PONG_TIMEOUT,
                    f"nothing came from the peer for {waited:g} seconds after a ping",
                )
                return
            if self._link.state is WebSocketState.OPEN and timer.should_ping(now):
                self._link.pongs()
                self._link.ping()
            try:
                await self._flush()
            except LinkClosed:
                return

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order, within `CLOSE_TIMEOUT` seconds; by force when that fails.

        Messages that arrive meanwhile go to a task in `receive`, or nowhere. When cancelled, it
        closes by force, and so does a second call while the first one is at work.
        """
        first, self._closing = not self._closing, True
        try:
            if first and not self._gone:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        await self._close_in_order(code, reason)
        finally:
            self._abort()
            await self._stream.wait_gone()

    def _abort(self) -> None:
        """Close by force, at once. For the driver."""
        self._drop(LinkCause.CLOSED_HERE, _CLOSED_HERE)

    async def _close_in_order(self, code: int, reason: str) -> None:
        failed = self._link.failure is not None
        self._link.close(code, reason)
        try:
            await self._flush()
            # After a failure the transport is read to its end, lest a TCP reset, which unread bytes
            # cause, overtakes the Close frame that says why.
            while failed or not self._link.should_close_transport:
                if self._reading:
                    await self._reader_left.wait()
                else:
                    await self._read()
                    self._link.messages()
            self._end(LinkCause.CLOSED_HERE, _CLOSED_HERE)
            # A TLS transport may still hold the answer to the peer's Close frame.
            await self._stream.aclose()
        except LinkClosed:
            pass

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some()
        except ConnectionError as error:
            self._link.receive_eof()
            raise self._lost(error) from error
        self._heard_at = self._loop.time()
        if data:
            self._link.receive_bytes(data)
        elif self._link.should_close_transport:
            raise self._closed()
        else:
            self._link.receive_eof()
        # While somebody writes, the answers to pings stay with the link, which keeps only the last.
        if not self._write_lock.locked():
            answer = self._link.bytes_to_send()
            if answer:
                self._pending.append(answer)
                self._control.set()
        if self._link.should_close_transport:
            self._control.set()

    async def _flush(self) -> None:
        async with self._write_lock:
            await self._write_out()

    async def _write_out(self) -> None:
        """Write all there is to write. The lock must be held."""
        while True:
            self._pending.append(self._link.bytes_to_send())
            data = b"".join(self._pending)
            self._pending.clear()
            if not data:
                return
            if len(data) <= WRITE_SIZE:
                await self._write(data)
            else:
                view = memoryview(data)
                for start in range(0, len(data), WRITE_SIZE):
                    await self._write(view[start : start + WRITE_SIZE])

    async def _write(self, block: bytes | memoryview) -> None:
        limit = self._keepalive.write_timeout
        try:
            if self._stream.write(block):
                return
            async with asyncio.timeout(patience(limit)):
                await self._stream.drain()
        except TimeoutError:
            self._drop(LinkCause.WRITE_TIMEOUT, f"the peer took nothing for {limit:g} seconds")
            raise self._closed() from None
        except ConnectionError as error:
            raise self._lost(error) from error
        except asyncio.CancelledError:
            self._drop(LinkCause.SEND_CANCELLED, LinkCause.SEND_CANCELLED.value)
            raise

    def _end(self, cause: LinkCause, message: str) -> None:
        """The connection is over; the first cause counts."""
        if self._gone is None:
            self._gone = cause, message
        self._control.set()

    def _drop(self, cause: LinkCause, message: str) -> None:
        self._end(cause, message)
        self._stream.abort()

    def _lost(self, error: Exception) -> LinkClosed:
        """The transport broke, or was closed by `_drop`."""
        self._end(LinkCause.CONNECTION_LOST, f"the connection broke: {error}")
        return self._closed()

    def _closed(self) -> LinkClosed:
        link = self._link
        cause, message = self._gone or end_of_link(link, closing=self._closing)
        return LinkClosed(cause, message, code=link.close_code, reason=link.close_reason)
