"""A request under way, and what a handler of one is."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

import trio
from sansrelay.jsonrpc import ErrorCode, JsonRpcSession, JsonValue, RequestId, RpcError

from .config import ExecServerConfig
from .protocol import Message, RpcFailure, parse_params, to_json
from .session import Attachment, Session

__all__ = ["Call", "Handler", "InFlight", "Line", "handler"]


Body: TypeAlias = "Message | JsonValue"
"""What is said, as a structure or as plain JSON."""


class InFlight:
    """How much there is without an answer, or with one that nobody has taken over yet."""

    def __init__(self, config: ExecServerConfig) -> None:
        self._config = config
        self._requests = 0
        self._size = 0
        self.changed = trio.lowlevel.ParkingLot()

    @property
    def is_full(self) -> bool:
        return (
            self._requests >= self._config.max_requests_in_flight
            or self._size >= self._config.max_request_bytes_in_flight
        )

    def change(self, requests: int, size: int) -> None:
        self._requests += requests
        self._size += size
        self.changed.unpark_all()


class Line(Attachment, Protocol):
    """What a call needs of its stream."""

    config: ExecServerConfig
    rpc: JsonRpcSession
    in_flight: InFlight
    session: Session | None

    async def send(self, data: bytes, on_settled: Callable[[], None] | None = None) -> None:
        """Send a message. Returns once it was taken over; calls are served in their order. A
        stream that has ended cancels whatever serves it."""


class Call:
    """A request under way, as its handler sees it."""

    def __init__(
        self, line: Line, request_id: RequestId, size: int, started: trio.TaskStatus[None]
    ) -> None:
        self.line = line
        self.is_answered = False
        self._request_id = request_id
        self._started: trio.TaskStatus[None] | None = started
        self._held = (0, 0)
        self._hold(1, size)

    @property
    def session(self) -> Session:
        """The session of the stream. Raises `RpcFailure` before `initialize`."""
        if self.line.session is None:
            raise RpcFailure(ErrorCode.INVALID_REQUEST, "call initialize first")
        return self.line.session

    def detach(self, *, in_flight: bool = True) -> None:
        """Let the next request begin before this one is answered. Without it requests are handled
        one by one, in their order. To be called before anything that waits for a process or for
        time. Harmless when repeated.

        With `in_flight=False` it does not count as in flight until it is answered: for what waits
        within a bound of its own.
        """
        if self._started is not None:
            self._started.started()
            self._started = None
        if not in_flight:
            self._hold(0, 0)

    async def notify(self, method: str, message: Body) -> None:
        """Send a notification on the stream of this request. Returns once it was taken over."""
        await self.line.send(self.line.rpc.notification(method, _as_json(message)))

    async def answer(self, result: Body, on_settled: Callable[[], None] | None = None) -> None:
        """Answer now, while the handler goes on: what it returns or raises is not sent then.
        Returns once the answer was taken over; until then the request counts as in flight.

        `on_settled` is called when the client is known to have the answer. Raises `RuntimeError`
        when the request was answered already.
        """
        data = self.line.rpc.result(self._request_id, _as_json(result))
        limit = self.line.config.max_answer_size
        if len(data) > limit:
            raise RpcFailure(
                ErrorCode.INTERNAL_ERROR,
                f"the answer is too large: {len(data)} bytes, the limit is {limit}",
            )
        await self._send(data, on_settled)

    async def fail(self, error: RpcError) -> None:
        """Answer with an error; else like `answer`."""
        await self._send(self.line.rpc.error(self._request_id, error), None)

    async def _send(self, data: bytes, on_settled: Callable[[], None] | None) -> None:
        if self.is_answered:
            raise RuntimeError("the request was answered already")
        self.is_answered = True
        # A short request may have a long answer, and nobody may be there to take it.
        self._hold(1, max(len(data), self._held[1]))
        self.detach()
        await self.line.send(data, on_settled)
        self._hold(0, 0)

    def done(self) -> None:
        """The request is over, answered or not."""
        self._hold(0, 0)

    def _hold(self, requests: int, size: int) -> None:
        before_requests, before_size = self._held
        self._held = (requests, size)
        self.line.in_flight.change(requests - before_requests, size - before_size)


Handler: TypeAlias = Callable[[Call, JsonValue], Awaitable[JsonValue]]
"""Handles one method: takes the raw params, gives the raw result, or raises `RpcFailure` or
`OSError` (answered as -32603). It is cancelled when its stream ends."""

P = TypeVar("P", bound=Message)


def handler(
    params_type: type[P], function: Callable[[Call, P], Awaitable[Message | None]]
) -> Handler:
    """A handler from a function that takes a structure and gives one, or has answered itself."""

    async def handle(call: Call, params: JsonValue) -> JsonValue:
        result = await function(call, parse_params(params_type, params))
        return None if result is None else to_json(result)

    return handle


def _as_json(value: Body) -> JsonValue:
    return to_json(value) if isinstance(value, Message) else value
