"""One stream as the application sees it: a channel of whole messages."""

from collections import deque
from typing import Protocol

import trio
from sansrelay.connection import RelayConnection
from sansrelay.errors import ResetReason
from sansrelay.events import (
    DataReceived,
    Event,
    MessageId,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
)
from sansrelay.states import Profile

from ._errors import ConnectError, StreamEnded
from ._tasks import Wakeup

__all__ = ["RelayStream"]


class Owner(Protocol):
    """What a stream needs of the driver it belongs to."""

    conn: RelayConnection
    max_message_size: int
    failure: ConnectError | None

    def command_done(self) -> None:
        """Something was asked of `conn`: drain it."""
        ...


class RelayStream(trio.abc.Channel[bytes]):
    """A channel of whole messages, delivered in order and exactly once to a reliable peer.

    Made by `Harness.open_stream`, or handed to the handler of `serve_executor`. It lives on across
    lost links. Any number of tasks may send, in the order of their calls; one task at a time may
    receive. A task that does not receive holds back the acknowledgements of what has arrived, and
    so slows down its peer, on this stream only.

    `async with stream:` closes it at the end of the block, in good order.
    """

    def __init__(self, stream_id: str, owner: Owner) -> None:
        self._id = stream_id
        self._owner = owner
        self._profile: Profile | None = None
        self._ended: StreamReset | None = None
        self._closed = False
        self._inbox: deque[bytes] = deque()
        self._receiving = False
        self._arrived = Wakeup()
        self._sent = 0
        self._turn = trio.StrictFIFOLock()
        self._room = Wakeup()
        self._opened = trio.Event()
        self._over = trio.Event()

    def __repr__(self) -> str:
        state = "ended" if self._ended else "closing" if self._closed else "live"
        return f"<RelayStream {self._id} {state}>"

    @property
    def stream_id(self) -> str:
        """The stream's id on the wire."""
        return self._id

    @property
    def profile(self) -> Profile | None:
        """What the peer can do; None until that is known."""
        return self._profile

    @property
    def ended(self) -> StreamReset | None:
        """How the stream ended, None while it lives. It tells the outcome of each message."""
        return self._ended

    @property
    def last_message_id(self) -> MessageId:
        """The id of the newest message sent, 0 before the first; `ended.outcome` speaks of it.

        Read directly after `send` returned, it is that of the message just sent.
        """
        return self._sent

    async def wait_opened(self) -> None:
        """Wait until the peer's profile is known.

        Raises `StreamEnded`, or `trio.ClosedResourceError` after a local `aclose` or `reset`.
        """
        await self._opened.wait()
        if self._profile is None:
            self._check_open()

    async def send(self, value: bytes) -> None:
        """Queue one message, which must not be empty; waits while the send buffer is full.

        Returns once the message is queued: `aclose` waits until it is acknowledged. When cancelled,
        nothing was queued. Raises `StreamEnded`, `trio.ClosedResourceError` after a local `aclose`
        or `reset`, or `sansrelay.LocalProtocolError` (MESSAGE_TOO_LARGE, BAD_ARGUMENT,
        SEQUENCE_EXHAUSTED).
        """
        # Entering is a checkpoint; there is none from the queueing on, so a cancelled send is a
        # send that did not happen.
        async with self._turn:
            while True:
                try:
                    self._send(value)
                except trio.WouldBlock:
                    await self._room.wait()
                else:
                    return

    def send_nowait(self, value: bytes) -> None:
        """Like `send`, but raises `trio.WouldBlock` in place of waiting."""
        if self._turn.locked():
            raise trio.WouldBlock
        self._send(value)

    async def receive(self) -> bytes:
        """The next message. When cancelled, nothing is lost.

        Messages that arrived before the end of the stream are still handed out. After them it
        raises `trio.EndOfChannel` if the peer closed in good order, `StreamEnded` for any other
        end, `trio.ClosedResourceError` after a local `aclose` or `reset`. Raises
        `trio.BusyResourceError` if another task is receiving.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                value = self.receive_nowait()
            except trio.WouldBlock:
                pass
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return value
            while True:
                await self._arrived.wait()
                try:
                    return self.receive_nowait()
                except trio.WouldBlock:
                    pass
        finally:
            self._receiving = False

    def receive_nowait(self) -> bytes:
        """Like `receive`, but raises `trio.WouldBlock` in place of waiting."""
        if self._closed:
            raise trio.ClosedResourceError("this side has closed the stream")
        if self._inbox:
            value = self._inbox.popleft()
            if self._ended is None:
                self._owner.conn.consume(self._id, 1)
                self._owner.command_done()
            return value
        if self._ended is not None:
            if self._ended.known_reason is ResetReason.CLOSED:
                raise trio.EndOfChannel
            raise StreamEnded(self._ended) from self._owner.failure
        raise trio.WouldBlock

    async def aclose(self) -> None:
        """Close in good order: returns when the peer's application has taken over all messages.

        That may take as long as the peer likes. When cancelled, the stream is reset at once
        (`ResetReason.CANCELLED`), so `trio.move_on_after` bounds the wait. Returns as well when the
        stream ends in any other way; `ended` tells. Messages that were not received are thrown
        away, and count as unacknowledged for the peer.
        """
        if self._ended is None and not self._closed:
            self._owner.conn.close_stream(self._id, ResetReason.CLOSED)
            self._close_here()
        self._closed = True
        try:
            await self._over.wait()
        except BaseException:
            self.reset()
            raise

    def reset(self, reason: str = ResetReason.CANCELLED) -> None:
        """End the stream at once, for a reason that the peer is told. Does not wait.

        Harmless on a stream that has ended. Raises `sansrelay.LocalProtocolError` (BAD_ARGUMENT)
        for a reason that is blank or longer than `RelayConfig.max_reason_size`.
        """
        if self._ended is None:
            self._owner.conn.reset_stream(self._id, reason)
        self._close_here()

    def _close_here(self) -> None:
        self._closed = True
        self._inbox.clear()
        self._wake_all()
        self._owner.command_done()

    def _send(self, value: bytes) -> None:
        self._check_open()
        conn, size = self._owner.conn, len(value)
        # A message that never fits is not waited for: send_data says what is wrong with it.
        if conn.send_capacity(self._id) < size <= self._owner.max_message_size:
            raise trio.WouldBlock
        try:
            self._sent = conn.send_data(self._id, value)
        finally:
            self._owner.command_done()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this side has closed the stream")
        if self._ended is not None:
            raise StreamEnded(self._ended) from self._owner.failure

    def _wake_all(self) -> None:
        self._arrived.set()
        self._room.set()
        self._opened.set()

    def _take(self, event: Event) -> None:
        """Something happened on this stream. For the driver alone."""
        match event:
            case DataReceived():
                self._inbox.append(event.data)
                self._arrived.set()
            case SendCapacityAvailable():
                self._room.set()
            case StreamOpened():
                self._profile = event.profile
                self._opened.set()
            case StreamReset():
                self._ended = event
                self._wake_all()
                self._over.set()
