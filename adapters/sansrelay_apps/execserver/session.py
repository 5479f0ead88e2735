"""One JSON-RPC session on one stream: receiving, dispatching, answering."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import trio
from sansrelay.jsonrpc import (
    ErrorCode,
    InvalidMessage,
    JsonRpcSession,
    JsonValue,
    NotificationReceived,
    RequestId,
    RequestReceived,
    RpcError,
)

from .config import ExecServerConfig
from .protocol import Message, RpcFailure, os_failure, parse_params, to_json
from .table import ProcessTable

__all__ = ["Call", "Channel", "Handler", "Session", "handler"]

_log = logging.getLogger(__name__)

_NO_ID = -1
"""The id of an error that answers no request in particular (Codex behaviour)."""


class Channel(Protocol):
    """One relay stream: whole messages, in order."""

    async def send(self, data: bytes, /) -> None:
        """Hand over one message; waits as long as the peer takes nothing. Raises
        `trio.BrokenResourceError` or `trio.ClosedResourceError` when the stream has ended."""

    async def receive(self) -> bytes:
        """The next message. Raises `trio.EndOfChannel` when the stream has ended."""

    async def aclose(self) -> None:
        """Close the stream; twice is no error."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request under way, as its handler sees it."""

    session: "Session"
    detach: Callable[[], None]
    """Let the next request begin before this one is answered. Without it requests are handled one
    by one, in their order. To be called before anything that waits for a process or for time."""


Handler: TypeAlias = Callable[[Call, JsonValue], Awaitable[JsonValue]]
"""Handles one method: takes the raw params, gives the raw result or raises `RpcFailure` or
`OSError` (answered as -32603)."""

P = TypeVar("P", bound=Message)


def handler(params_type: type[P], function: Callable[[Call, P], Awaitable[Message]]) -> Handler:
    """A handler from a function that takes and gives structures."""

    async def handle(call: Call, params: JsonValue) -> JsonValue:
        return to_json(await function(call, parse_params(params_type, params)))

    return handle


class Session:
    """The state of one session. `run` receives until the stream ends; what it starts lives in the
    nursery, which is cancelled when sending fails."""

    def __init__(
        self,
        channel: Channel,
        *,
        methods: Mapping[str, Handler],
        config: ExecServerConfig,
        nursery: trio.Nursery,
    ) -> None:
        self.config = config
        self.session_id: str | None = None
        """None until `initialize`, before which nothing else is allowed."""
        self.processes = ProcessTable(config=config, nursery=nursery, notify=self.notify)
        self._channel = channel
        self._methods = methods
        self._nursery = nursery
        self._rpc = JsonRpcSession()
        self._sending = trio.Lock()
        self._requests = 0
        self._request_bytes = 0
        self._answered = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Receive and dispatch until the stream ends."""
        while True:
            while self._is_full():
                await self._answered.park()
            try:
                data = await self._channel.receive()
            except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError):
                return
            await self._dispatch(data)

    async def notify(self, method: str, message: Message) -> None:
        """Send a notification. Takes its place in the line before anything else can run."""
        await self._send(self._rpc.notification(method, to_json(message)))

    async def _dispatch(self, data: bytes) -> None:
        event = self._rpc.receive(data)
        match event:
            case RequestReceived():
                # Returns when the handler detaches or is done: the order of the requests.
                await self._nursery.start(self._handle, event, len(data))
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
        self,
        request: RequestReceived,
        size: int,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        detached = False

        def detach() -> None:
            nonlocal detached
            if not detached:
                detached = True
                task_status.started()

        self._requests += 1
        self._request_bytes += size
        try:
            answer = await self._answer(Call(self, detach), request)
            # A short request may have a long answer, and nobody may be there to take it.
            size += len(answer)
            self._request_bytes += len(answer)
            detach()
            await self._send(answer)
        finally:
            self._requests -= 1
            self._request_bytes -= size
            self._answered.unpark_all()

    async def _answer(self, call: Call, request: RequestReceived) -> bytes:
        try:
            if self.session_id is None and request.method != "initialize":
                raise RpcFailure(ErrorCode.INVALID_REQUEST, "call initialize first")
            method = self._methods.get(request.method)
            if method is None:
                raise RpcFailure(
                    ErrorCode.METHOD_NOT_FOUND, f"unknown method {_cut(request.method)}"
                )
            result = await method(call, request.params)
        except RpcFailure as failure:
            return self._rpc.error(request.id, failure.error)
        except OSError as error:
            return self._rpc.error(request.id, os_failure(error).error)
        except Exception:
            # One bad request must not take the session's processes with it.
            _log.exception("%s failed", _cut(request.method))
            error_body = RpcError(code=ErrorCode.INTERNAL_ERROR, message="internal error")
            return self._rpc.error(request.id, error_body)
        return self._rpc.result(request.id, result)

    async def _refuse(self, request_id: RequestId, message: str) -> None:
        error = RpcError(code=ErrorCode.INVALID_REQUEST, message=message)
        await self._send(self._rpc.error(request_id, error))

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            try:
                await self._channel.send(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._nursery.cancel_scope.cancel()
                await trio.sleep_forever()

    def _is_full(self) -> bool:
        return (
            self._requests >= self.config.max_requests_in_flight
            or self._request_bytes >= self.config.max_request_bytes_in_flight
        )


def _cut(text: str) -> str:
    """A peer's word, made fit for an error message or a log."""
    return repr(text[:100])
