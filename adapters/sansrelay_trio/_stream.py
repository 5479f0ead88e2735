"""One stream as the application sees it: a channel of whole messages."""

import trio
from sansrelay.driving import Standing, StreamCore, StreamFace
from sansrelay.events import MessageId, StreamReset

from ._errors import StreamEnded
from ._tasks import Wakeup

__all__ = ["RelayStream"]


class RelayStream(StreamFace, trio.abc.Channel[bytes]):
    """A channel of whole messages, delivered in order and exactly once to a reliable peer.

    Made by `Harness.open_stream`, or handed to the handler of `serve_executor`. It lives on across
    lost links. Any number of tasks may send, in the order of their calls; one task at a time may
    receive. A task that does not receive holds back the acknowledgements of what has arrived, and
    so slows down its peer, on this stream only.

    `async with stream:` closes it at the end of the block, in good order.
    """

    def __init__(self, core: StreamCore) -> None:
        super().__init__(core)
        self._receiving = False
        self._arrived = Wakeup()
        self._turn = trio.StrictFIFOLock()
        self._room = Wakeup()
        self._settled = trio.lowlevel.ParkingLot()
        self._opened = trio.Event()
        self._over = trio.Event()
        core.notify = self._notify
        core.notify_settled = self._notify_settled
        self._notify()

    async def wait_opened(self) -> None:
        """Wait until the peer's profile is known.

        Raises `StreamEnded`, or `trio.ClosedResourceError` after a local `aclose` or `reset`.
        """
        await self._opened.wait()
        if self._core.profile is None:
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
            while not self._send(value):
                await self._room.wait()

    def send_nowait(self, value: bytes) -> None:
        """Like `send`, but raises `trio.WouldBlock` in place of waiting."""
        if self._turn.locked() or not self._send(value):
            raise trio.WouldBlock

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
            value = self._receive()
            if value is not None:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return value
            while value is None:
                await self._arrived.wait()
                value = self._receive()
            return value
        finally:
            self._receiving = False

    def receive_nowait(self) -> bytes:
        """Like `receive`, but raises `trio.WouldBlock` in place of waiting."""
        value = self._receive()
        if value is None:
            raise trio.WouldBlock
        return value

    async def wait_settled(self, message_id: MessageId) -> None:
        """Wait until a message needs nothing more.

        That is when a reliable peer's application has taken it over, or when it was given to the
        link of a basic peer. Any number of tasks may wait. Raises `StreamEnded`, or
        `trio.ClosedResourceError` after a local `aclose` or `reset`.
        """
        await trio.lowlevel.checkpoint()
        while self._core.settled < message_id:
            self._check_open()
            await self._settled.park()

    async def wait_ended(self) -> StreamReset:
        """Wait for the end of the stream, however it comes, and say how it was.

        Nothing is received meanwhile: messages may still be waiting. Any number of tasks may wait.
        """
        await self._over.wait()
        assert self._core.ended is not None
        return self._core.ended

    async def aclose(self) -> None:
        """Close in good order: returns when the peer's application has taken over all messages.

        That may take as long as the peer likes. When cancelled, the stream is reset at once
        (`ResetReason.CANCELLED`), so `trio.move_on_after` bounds the wait. Returns as well when the
        stream ends in any other way; `ended` tells. Messages that were not received are thrown
        away, and count as unacknowledged for the peer.
        """
        self._core.close()
        try:
            await self._over.wait()
        except BaseException:
            self.reset()
            raise

    def _receive(self) -> bytes | None:
        value = self._core.next_message()
        if value is None:
            if self._core.standing is Standing.CLOSED_BY_PEER:
                raise trio.EndOfChannel
            self._check_open()
        return value

    def _send(self, value: bytes) -> bool:
        self._check_open()
        return self._core.send(value)

    def _check_open(self) -> None:
        core = self._core
        if core.closed:
            raise trio.ClosedResourceError("this side has closed the stream")
        if core.ended is not None:
            raise StreamEnded(core.ended) from core.failure

    def _notify(self) -> None:
        core = self._core
        self._arrived.set()
        self._room.set()
        self._notify_settled()
        if core.profile is not None or core.standing is not Standing.LIVE:
            self._opened.set()
        if core.ended is not None:
            self._over.set()

    def _notify_settled(self) -> None:
        self._settled.unpark_all()
