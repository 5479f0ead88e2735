"""A JSON-RPC session without I/O, for both sides of a stream.

The messages have the shape of JSON-RPC 2.0 without the `"jsonrpc"` member (Codex behaviour); a
peer that sends the member is understood. Ids are integers or strings.

`JsonRpcSession.receive` turns the bytes of one message into one event and never raises, whatever
the bytes are. The other methods give bytes to send. A session holds nothing but the calls that
wait for their response; it starts no timers, so a caller that loses patience calls `forget`.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NoReturn, TypeAlias

__all__ = [
    "ErrorCode",
    "Event",
    "InvalidCause",
    "InvalidMessage",
    "JsonRpcSession",
    "JsonValue",
    "NotificationReceived",
    "RequestId",
    "RequestReceived",
    "ResponseReceived",
    "RpcError",
    "UnmatchedCause",
    "UnmatchedResponse",
]

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
RequestId: TypeAlias = int | str

MAX_ID_LENGTH = 256
"""Characters of a string id. A message with a longer one is invalid (`INVALID_ID`)."""
_MAX_INTEGER_ID = 2**63 - 1
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


class ErrorCode(IntEnum):
    """The error codes in use (JSON-RPC 2.0 section 5.1; the last one is Codex's own)."""

    INVALID_REQUEST = -32600
    """Not a valid message, or not allowed at this point."""
    METHOD_NOT_FOUND = -32601
    """No such method."""
    INVALID_PARAMS = -32602
    """The parameters don't fit the method."""
    INTERNAL_ERROR = -32603
    """The method was run and failed."""
    NOT_FOUND = -32004
    """No such path."""


class InvalidCause(Enum):
    """Why the bytes of a message are no JSON-RPC message."""

    NOT_UTF8 = "not UTF-8"
    NOT_JSON = "not JSON (RFC 8259), or with a number or a nesting beyond what is read"
    LONE_SURROGATE = "a string holds half of a surrogate pair"
    NOT_AN_OBJECT = "not a JSON object; batches are not spoken"
    INVALID_ID = "the id is neither a string nor a 64-bit integer"
    INVALID_METHOD = "the method is not a string"
    INVALID_RESPONSE = "neither a method, nor a result, nor an error with code and message"


class UnmatchedCause(Enum):
    """Why a response has no call that waits for it."""

    NEVER_CALLED = "no call had this id"
    NOT_PENDING = "the call was answered before, or forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcError:
    """The error of a response. `data` is None where the message has none."""

    code: int
    message: str
    data: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReceived(Event):
    """The peer calls a method and waits for `result` or `error` with this id."""

    id: RequestId
    method: str
    params: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationReceived(Event):
    """The peer says something and expects no answer."""

    method: str
    params: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseReceived(Event):
    """The answer to a pending call; it failed exactly when `error` is not None."""

    id: RequestId
    method: str
    result: JsonValue
    error: RpcError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmatchedResponse(Event):
    """A response that no call waits for. A peer also reports by one what it can't give an id."""

    id: RequestId
    cause: UnmatchedCause
    error: RpcError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidMessage(Event):
    """Bytes that are no message.

    `id` is the message's id where it has a usable one; a bad response leaves its call pending.
    `answerable` is False for what looks like a response: two sides that answered each other's bad
    responses would never stop.
    """

    cause: InvalidCause
    id: RequestId | None = None
    answerable: bool = True


class JsonRpcSession:
    """One side of a session.

    Same calls, same bytes: ids of calls count from 1. Values must be what `json.dumps` takes,
    without NaN and infinities; else `TypeError` or `ValueError`, and nothing changes. Half
    surrogate pairs, which Python uses for undecodable file names, become U+FFFD.
    """

    def __init__(self) -> None:
        self._last_id = 0
        self._pending: dict[RequestId, str] = {}

    @property
    def pending_calls(self) -> int:
        """How many calls wait for their response."""
        return len(self._pending)

    def call(self, method: str, params: JsonValue = None) -> tuple[int, bytes]:
        """A request. Gives its id, which the response will have, and the bytes to send."""
        request_id = self._last_id + 1
        data = _encode({"id": request_id, **_method(method, params)})
        self._last_id = request_id
        self._pending[request_id] = method
        return request_id, data

    def forget(self, request_id: int) -> bool:
        """Stop waiting for a call; a late response is then unmatched. False: none was pending."""
        return self._pending.pop(request_id, None) is not None

    def notification(self, method: str, params: JsonValue = None) -> bytes:
        """A message that asks for no answer."""
        return _encode(_method(method, params))

    def result(self, request_id: RequestId, result: JsonValue) -> bytes:
        """The good answer to a request."""
        return _encode({"id": request_id, "result": result})

    def error(self, request_id: RequestId, error: RpcError) -> bytes:
        """The bad answer to a request."""
        body: dict[str, JsonValue] = {"code": int(error.code), "message": error.message}
        if error.data is not None:
            body["data"] = error.data
        return _encode({"id": request_id, "error": body})

    def receive(self, data: bytes) -> Event:
        """What the bytes of one whole message mean. Never raises."""
        try:
            message = _decode(data)
        except _Unreadable as unreadable:
            return InvalidMessage(cause=unreadable.cause)
        if not isinstance(message, dict):
            return InvalidMessage(cause=InvalidCause.NOT_AN_OBJECT)
        request_id = _id_of(message)
        answerable = "method" in message
        if "id" in message and request_id is None:
            return InvalidMessage(cause=InvalidCause.INVALID_ID, answerable=answerable)
        if not answerable:
            return self._receive_response(request_id, message)
        method, params = message["method"], message.get("params")
        if not isinstance(method, str):
            return InvalidMessage(cause=InvalidCause.INVALID_METHOD, id=request_id)
        if request_id is None:
            return NotificationReceived(method=method, params=params)
        return RequestReceived(id=request_id, method=method, params=params)

    def _receive_response(
        self, request_id: RequestId | None, message: dict[str, JsonValue]
    ) -> Event:
        error = _error_of(message.get("error"))
        is_error = message.get("error") is not None
        well_formed = error is not None if is_error else "result" in message
        if request_id is None or not well_formed:
            return InvalidMessage(
                cause=InvalidCause.INVALID_RESPONSE, id=request_id, answerable=False
            )
        method = self._pending.pop(request_id, None)
        if method is not None:
            return ResponseReceived(
                id=request_id, method=method, result=message.get("result"), error=error
            )
        was_called = isinstance(request_id, int) and 1 <= request_id <= self._last_id
        cause = UnmatchedCause.NOT_PENDING if was_called else UnmatchedCause.NEVER_CALLED
        return UnmatchedResponse(id=request_id, cause=cause, error=error)


class _Unreadable(Exception):
    def __init__(self, cause: InvalidCause) -> None:
        super().__init__(cause)
        self.cause = cause


def _decode(data: bytes) -> JsonValue:
    try:
        # Not left to json.loads, which would guess at UTF-16 and UTF-32 as well.
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _Unreadable(InvalidCause.NOT_UTF8) from None
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse_constant)
        # Only an escape can bring one in: UTF-8 itself has none (RFC 3629 section 3).
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _Unreadable(InvalidCause.LONE_SURROGATE) from None
    except (ValueError, RecursionError):
        raise _Unreadable(InvalidCause.NOT_JSON) from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _id_of(message: dict[str, JsonValue]) -> RequestId | None:
    """The id where it is a usable one. JSON's true and false are no integers.

    An answer repeats the id, so a request of a legal size could ask for one that is too large.
    """
    value = message.get("id")
    if isinstance(value, str):
        return value if len(value) <= MAX_ID_LENGTH else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_MAX_INTEGER_ID - 1 <= value <= _MAX_INTEGER_ID else None
    return None


def _error_of(error: JsonValue) -> RpcError | None:
    """The error of a response where it is well-formed."""
    if not isinstance(error, dict):
        return None
    code, text = error.get("code"), error.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(text, str):
        return None
    return RpcError(code=code, message=text, data=error.get("data"))


def _method(method: str, params: JsonValue) -> dict[str, JsonValue]:
    return {"method": method} if params is None else {"method": method, "params": params}


def _encode(message: dict[str, JsonValue]) -> bytes:
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8")
