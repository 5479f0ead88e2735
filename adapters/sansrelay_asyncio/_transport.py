"""One WebSocket over a stream of bytes: the same code at both ends.

Three tasks at most touch a connection: one in `receive`, one or more in `send`, and one in
`keep_alive`. Only `send` and `keep_alive` write, so a peer that does not read can never stop us
from reading.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from sansrelay.links import CLOSE_TIMEOUT, KeepAlive, LinkCause, PingTimer
from sansrelay.network import WebSocketCore
from sansrelay.websocket import WebSocketLink, WebSocketState

from ._errors import LinkClosed
from ._socket import ByteStream
from ._tasks import Wakeup, patience

__all__ = ["WebSocketConnection"]


class WebSocketConnection:
    """One WebSocket. Made for `open_harness` and `serve_executor`, or by a server.

    `keep_alive` runs in a task of its own as long as the connection is in use: it answers the
    peer's pings, sends ours, and drops a dead link. It hears the peer through `receive` only, so
    some task has to be in there most of the time.
    """

    def __init__(self, stream: ByteStream, link: WebSocketLink, keepalive: KeepAlive) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._keepalive = keepalive
        self._control = Wakeup()
        self._core = WebSocketCore(link, keepalive, notify=self._control.set)
        self._write_lock = asyncio.Lock()
        self._reading = False
        self._reader_left = Wakeup()

    async def open(self) -> None:
        """Complete the opening handshake (client). Raises `LinkClosed`; `failure` has the details.

        No deadline of its own. When cancelled or failed, only `aclose` is left to be called.
        """
        await self._flush()
        while self.link.state is WebSocketState.CONNECTING:
            await self._read()
        if not self.link.was_open:
            raise self._closed()

    @property
    def link(self) -> WebSocketLink:
        """The state machine, to be looked at."""
        return self._core.link

    async def receive(self) -> list[bytes]:
        """The messages that have arrived, at least one. When cancelled, nothing is lost.

        Raises `LinkClosed` once there will be no more, `RuntimeError` if another task is receiving.
        """
        if self._reading:
            raise RuntimeError("another task is receiving from this WebSocket")
        self._reading = True
        try:
            while not (messages := self.link.messages()):
                if self._core.is_over:
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
            if not self._core.queue(messages):
                raise self._closed()
            await self._write_out()

    async def keep_alive(self) -> None:
        """Serve pings until the link has ended; then return, and leave it to others to say so."""
        timer = PingTimer(self._keepalive, self._loop.time())
        while not self._core.is_over:
            deadline = patience(timer.deadline)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._control.wait()
            if not self._core.keep_alive(timer, self._loop.time()):
                self._stream.abort()
                return
            try:
                await self._flush()
            except LinkClosed:
                return

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close in good order, within `CLOSE_TIMEOUT` seconds; by force when that fails.

        Messages that arrive meanwhile go to a task in `receive`, or nowhere. When cancelled, it
        closes by force, and so does a second call while the first one is at work.
        """
        first, self._core.closing = not self._core.closing, True
        try:
            if first and self._core.gone is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        await self._close_in_order(code, reason)
        finally:
            self._abort()
            await self._stream.wait_gone()

    def _abort(self) -> None:
        """Close by force, at once. For the driver."""
        self._core.closed_here()
        self._stream.abort()

    async def _close_in_order(self, code: int, reason: str) -> None:
        failed = self.link.failure is not None
        self.link.close(code, reason)
        try:
            await self._flush()
            # After a failure the transport is read to its end, lest a TCP reset, which unread bytes
            # cause, overtakes the Close frame that says why.
            while failed or not self.link.should_close_transport:
                if self._reading:
                    await self._reader_left.wait()
                else:
                    await self._read()
                    self.link.messages()
            self._core.closed_here()
            # A TLS transport may still hold the answer to the peer's Close frame.
            await self._stream.aclose()
        except LinkClosed:
            pass

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some()
        except ConnectionError as error:
            self.link.receive_eof()
            raise self._lost(error) from error
        writing = self._write_lock.locked()
        if not self._core.received(data, self._loop.time(), writing=writing):
            raise self._closed()

    async def _flush(self) -> None:
        async with self._write_lock:
            await self._write_out()

    async def _write_out(self) -> None:
        """Write all there is to write. The lock must be held."""
        for block in self._core.blocks():
            await self._write(block)

    async def _write(self, block: bytes | memoryview) -> None:
        try:
            if self._stream.write(block):
                return
            async with asyncio.timeout(patience(self._keepalive.write_timeout)):
                await self._stream.drain()
        except TimeoutError:
            self._core.write_timed_out()
            self._stream.abort()
            raise self._closed() from None
        except ConnectionError as error:
            raise self._lost(error) from error
        except asyncio.CancelledError:
            self._core.end(LinkCause.SEND_CANCELLED, LinkCause.SEND_CANCELLED.value)
            self._stream.abort()
            raise

    def _lost(self, error: Exception) -> LinkClosed:
        """The transport broke, or was closed here."""
        self._core.end(LinkCause.CONNECTION_LOST, f"the connection broke: {error}")
        return self._closed()

    def _closed(self) -> LinkClosed:
        cause, message = self._core.ending
        return LinkClosed(cause, message, code=self.link.close_code, reason=self.link.close_reason)
