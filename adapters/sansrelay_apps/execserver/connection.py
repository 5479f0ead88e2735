"""One stream: receiving requests, dispatching them, sending what there is to say."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import trio
from sansrelay.errors import ResetReason
from sansrelay.events import EndedBy, StreamReset
from sansrelay.jsonrpc import (
    ErrorCode,
    InvalidMessage,
    JsonRpcSession,
    NotificationReceived,
    RequestId,
    RequestReceived,
    RpcError,
)

from .calls import Call, Handler, InFlight
from .config import ExecServerConfig
from .protocol import Message, RpcFailure, os_failure, to_json
from .session import Session

__all__ = ["Channel", "Connection", "EndingChannel", "RelayChannel"]

_log = logging.getLogger(__name__)

_NO_ID = -1
"""The id of an error that answers no request in particular (Codex behaviour)."""

_SAYS_DONE = frozenset({ResetReason.CLOSED, ResetReason.CANCELLED})
"""How a client ends its stream when it has done with the session."""

_ENDED = (trio.BrokenResourceError, trio.ClosedResourceError)


class Channel(Protocol):
    """One stream: whole messages, in order."""

    async def send(self, data: bytes, /) -> None:
        """Hand over one message; waits as long as the peer takes nothing. Raises
        `trio.BrokenResourceError` or `trio.ClosedResourceError` when the stream has ended."""

    async def receive(self) -> bytes:
        """The next message. Raises `trio.EndOfChannel` when the peer has closed the stream in good
        order, and what `send` raises when it has ended in another way."""

    async def aclose(self) -> None:
        """Close the stream; twice is no error."""


@runtime_checkable
class EndingChannel(Protocol):
    """A channel that can tell how it ended."""

    @property
    def ended(self) -> StreamReset | None:
        """How the stream ended; None while it lives."""


@runtime_checkable
class RelayChannel(EndingChannel, Protocol):
    """A channel that can tell what became of a message, and that it has ended.

    On another one a message counts as settled once `send` has returned, and the end is noticed only
    where messages are received.
    """

    @property
    def last_message_id(self) -> int:
        """The id of the newest message sent."""

    async def wait_settled(self, message_id: int, /) -> None:
        """Wait until the peer has taken over a message or, where it never says so, until the
        message was written to the link. Raises what `send` raises."""

    async def wait_ended(self) -> object:
        """Wait for the end of the stream; messages may still wait to be received."""


class Connection:
    """The service on one stream. `run` serves; the other methods may be called from any task."""

    def __init__(
        self, channel: Channel, *, methods: Mapping[str, Handler], config: ExecServerConfig
    ) -> None:
        self.config = config
        self.rpc = JsonRpcSession()
        self.in_flight = InFlight(config)
        self.session: Session | None = None
        """None until `initialize`, before which nothing else is allowed."""
        self._channel = channel
        self._relay = channel if isinstance(channel, RelayChannel) else None
        self._methods = methods
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._sending = trio.Lock()
        self._closed_by_client = False
        self._is_over = False
        self._unsettled: deque[tuple[int, Callable[[], None]]] = deque()
        self._sent = trio.lowlevel.ParkingLot()

    @property
    def client_is_done(self) -> bool:
        """Whether the client has ended the stream, and not something on the way between."""
        if self._closed_by_client:
            return True
        ended = self._channel.ended if isinstance(self._channel, EndingChannel) else None
        return ended is not None and ended.by is EndedBy.PEER and ended.known_reason in _SAYS_DONE

    async def run(self) -> None:
        """Receive and answer until the stream ends, or `cancel`. What is under way then is
        cancelled."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if self._relay is not None:
                        nursery.start_soon(self._watch_end, self._relay)
                        nursery.start_soon(self._settle, self._relay)
                    await self._receive(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self._done.set()

    def cancel(self) -> None:
        """Let `run` return soon."""
        self._scope.cancel()

    async def wait_done(self) -> None:
        """Wait until `run` has returned."""
        await self._done.wait()

    # -- sending

    async def notify(
        self, method: str, message: Message, on_settled: Callable[[], None] | None = None
    ) -> None:
        """Send a notification. Takes its place in the line before anything else can run."""
        await self.send(self.rpc.notification(method, to_json(message)), on_settled)

    async def send(self, data: bytes, on_settled: Callable[[], None] | None = None) -> None:
        """Send a message. On a stream that has ended `run` is cancelled, and nothing else happens:
        a process that speaks to nobody lives on."""
        async with self._sending:
            try:
                await self._channel.send(data)
            except _ENDED:
                self.cancel()
                return
            if on_settled is None:
                return
            if self._relay is None:
                on_settled()
            else:
                self._unsettled.append((self._relay.last_message_id, on_settled))
                self._sent.unpark_all()

    async def _settle(self, channel: RelayChannel) -> None:
        while True:
            while not self._unsettled:
                await self._sent.park()
            message_id, on_settled = self._unsettled[0]
            try:
                await channel.wait_settled(message_id)
            except _ENDED:
                return  # what became of the rest is not known
            self._unsettled.popleft()
            on_settled()

    async def _watch_end(self, channel: RelayChannel) -> None:
        await channel.wait_ended()
        self._is_over = True
        self.in_flight.changed.unpark_all()

    # -- receiving

    async def _receive(self, nursery: trio.Nursery) -> None:
        while True:
            while self.in_flight.is_full:
                if self._is_over:
                    return  # nobody is there to be answered
                await self.in_flight.changed.park()
            try:
                data = await self._channel.receive()
            except trio.EndOfChannel:
                self._closed_by_client = True
                return
            except _ENDED:
                return
            await self._dispatch(data, nursery)

    async def _dispatch(self, data: bytes, nursery: trio.Nursery) -> None:
        event = self.rpc.receive(data)
        match event:
            case RequestReceived():
                # Returns when the handler detaches or is done: the order of the requests.
                await nursery.start(self._handle, event, len(data))
            case NotificationReceived(method="initialized"):
                pass
            case NotificationReceived():
                await self._refuse(_NO_ID, f"unexpected notification {_cut(event.method)}")
            case InvalidMessage(answerable=True):
                request_id = _NO_ID if event.id is None else event.id
                await self._refuse(request_id, f"invalid message: {event.cause.value}")
            case _:
                _log.debug("ignored, since this side calls nothing: %r", event)

    async def _handle(
        self, request: RequestReceived, size: int, *, task_status: trio.TaskStatus[None]
    ) -> None:
        call = Call(self, request.id, size, task_status)
        try:
            error = await self._try(call, request)
            if error is not None and not call.is_answered:
                await call.fail(error)
        finally:
            call.done()

    async def _try(self, call: Call, request: RequestReceived) -> RpcError | None:
        """Handle a request; what is to be answered if that fails."""
        try:
            if self.session is None and request.method != "initialize":
                raise RpcFailure(ErrorCode.INVALID_REQUEST, "call initialize first")
            method = self._methods.get(request.method)
            if method is None:
                raise RpcFailure(
                    ErrorCode.METHOD_NOT_FOUND, f"unknown method {_cut(request.method)}"
                )
            result = await method(call, request.params)
            if not call.is_answered:
                await call.answer(result)
        except RpcFailure as failure:
            return failure.error
        except OSError as error:
            return os_failure(error).error
        except Exception:
            # One bad request must not take the session's processes with it.
            _log.exception("%s failed", _cut(request.method))
            return RpcError(code=ErrorCode.INTERNAL_ERROR, message="internal error")
        return None

    async def _refuse(self, request_id: RequestId, message: str) -> None:
        error = RpcError(code=ErrorCode.INVALID_REQUEST, message=message)
        await self.send(self.rpc.error(request_id, error))


def _cut(text: str) -> str:
    """A peer's word, made fit for an error message or a log."""
    return repr(text[:100])
