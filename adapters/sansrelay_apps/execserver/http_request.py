"""The method `http/request` (Codex behaviour; `http_client` says how the exchange is done).

`timeoutMs` is for all of it, from the request to the end of the body, streamed or not. Without it
there is no time limit. What is under way ends with the stream of the session.
"""

import math
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import trio
from sansrelay.jsonrpc import ErrorCode

from .calls import Call, Handler, handler
from .http_client import Client, HttpFailure, Response, check_url, open_client
from .http_params import HttpBodyDelta, HttpHeader, HttpRequestParams, HttpResult, RedirectPolicy
from .protocol import RpcFailure
from .session import Session

__all__ = ["HTTP_METHODS"]

_DELTA_SIZE = 64 * 1024
"""Bytes of one notification at most."""

# RFC 9110 section 5.6.2; and section 5.5, with all of Unicode for what it calls obs-text.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_ASCII_VALUE = re.compile(rb"[\t\x20-\x7e]*")


async def _request(call: Call, params: HttpRequestParams) -> None:
    _check(params)
    seconds = math.inf if params.timeout_ms is None else params.timeout_ms / 1000
    deadline = trio.current_time() + seconds
    exchanges = call.session.state(_Exchanges)
    with exchanges.load() as load:
        # Over before the client can know of it, and so send the next one.
        with exchanges.admit(params, load):
            call.detach(in_flight=False)
            try:
                async with open_client() as client:
                    with _until(deadline):
                        response = await _send(client, params)
                        body = b"" if params.stream_response else await _collect(response, load)
                    result = HttpResult(
                        status=response.status, headers=_headers(response), body_base64=body
                    )
                    if params.stream_response:
                        # Not within the time: cut off on the way, it might have gone out or not.
                        await call.answer(result)
                        end = await _stream(call, params.request_id, response, deadline)
            except HttpFailure as failure:
                message = f"http/request failed: {failure}"
                raise RpcFailure(ErrorCode.INTERNAL_ERROR, message) from None
        if params.stream_response:
            await _notify(call, end)
        else:
            await call.answer(result)


async def _send(client: Client, params: HttpRequestParams) -> Response:
    return await client.send(
        params.method,
        params.url,
        headers=[(header.name, header.value.strip(" \t")) for header in params.headers],
        body=params.body_base64,
        follow_redirects=params.redirect_policy is RedirectPolicy.FOLLOW,
    )


async def _collect(response: Response, load: "_Load") -> bytes:
    body = bytearray()
    while data := await response.read():
        load.grow(len(data))
        body += data
        if len(body) > load.max_body_size:
            raise HttpFailure(
                f"the body is larger than {load.max_body_size} bytes; ask for streamResponse"
            )
    return bytes(body)


async def _stream(
    call: Call, request_id: str, response: Response, deadline: float
) -> HttpBodyDelta:
    """Send the body on as it comes; what is left to send is its end. Nothing more is read before
    the client's side has taken over what was."""
    seq, error = 1, None
    try:
        with _until(deadline):
            while data := await response.read():
                for start in range(0, len(data), _DELTA_SIZE):
                    delta = data[start : start + _DELTA_SIZE]
                    await _notify(
                        call, HttpBodyDelta(request_id=request_id, seq=seq, delta_base64=delta)
                    )
                    seq += 1
    except HttpFailure as failure:
        error = str(failure)
    return HttpBodyDelta(request_id=request_id, seq=seq, done=True, error=error)


async def _notify(call: Call, delta: HttpBodyDelta) -> None:
    await call.notify("http/request/bodyDelta", delta)


def _check(params: HttpRequestParams) -> None:
    """Refuse what no request can be made of."""
    if not _TOKEN.fullmatch(params.method):
        raise _invalid("the method is no token")
    try:
        check_url(params.url)
    except ValueError as error:
        raise _invalid(str(error)) from None
    for header in params.headers:
        if not _TOKEN.fullmatch(header.name):
            raise _invalid("the name of a header is no token")
        if not _VALUE.fullmatch(header.value):
            raise _invalid(f"the value of the header {header.name} has control characters")


def _invalid(message: str) -> RpcFailure:
    return RpcFailure(ErrorCode.INVALID_PARAMS, f"http/request: {message}")


def _refusal(message: str) -> RpcFailure:
    return RpcFailure(ErrorCode.INVALID_REQUEST, f"http/request: {message}")


def _headers(response: Response) -> tuple[HttpHeader, ...]:
    """Names in small letters; a value that is not plain ASCII is left out with its name."""
    return tuple(
        HttpHeader(name=name.decode("ascii").lower(), value=value.decode("ascii"))
        for name, value in response.headers
        if _ASCII_VALUE.fullmatch(value)
    )


@contextmanager
def _until(deadline: float) -> Generator[None]:
    try:
        with trio.fail_at(deadline):
            yield
    except trio.TooSlowError:
        raise HttpFailure("it took longer than timeoutMs") from None


class _Exchanges:
    """What the requests of one session share."""

    def __init__(self, session: Session) -> None:
        self._config = session.config
        self._running = 0
        self._streams: set[str] = set()
        self._held = 0

    @contextmanager
    def admit(self, params: HttpRequestParams, load: "_Load") -> Generator[None]:
        """Count a request as long as the block lasts. Raises `RpcFailure` for one too many."""
        streams = {params.request_id} if params.stream_response else set[str]()
        if streams & self._streams:
            raise _invalid("a body is being streamed under this requestId already")
        if self._running >= self._config.max_http_requests:
            raise _refusal(f"{self._config.max_http_requests} requests are under way already")
        try:
            load.grow(len(params.body_base64 or b""))
        except HttpFailure as failure:
            raise _refusal(str(failure)) from None
        self._running += 1
        self._streams |= streams
        try:
            yield
        finally:
            self._streams -= streams
            self._running -= 1

    @contextmanager
    def load(self) -> Generator["_Load"]:
        """Count the bodies of a request as long as the block lasts."""
        load = _Load(self, max_body_size=self._config.max_http_body_size)
        try:
            yield load
        finally:
            self._held -= load.size

    def hold(self, size: int) -> None:
        """Raises `HttpFailure` when that makes too many bytes."""
        if self._held + size > self._config.http_buffer_size:
            limit = self._config.http_buffer_size
            raise HttpFailure(f"the bodies of all requests are larger than {limit} bytes together")
        self._held += size


class _Load:
    """The bytes of bodies that one request keeps in memory."""

    def __init__(self, exchanges: _Exchanges, *, max_body_size: int) -> None:
        self._exchanges = exchanges
        self.max_body_size = max_body_size
        self.size = 0

    def grow(self, size: int) -> None:
        """Raises `HttpFailure` when there are too many bytes, of all requests together."""
        self._exchanges.hold(size)
        self.size += size


HTTP_METHODS: Mapping[str, Handler] = {"http/request": handler(HttpRequestParams, _request)}
