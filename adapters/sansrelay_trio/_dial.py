"""From a target to an open WebSocket: registry, TCP, TLS, handshake. One attempt, no patience."""

import errno
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from sansrelay.connection import Role
from sansrelay.http import (
    HttpCause,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
    Url,
    UrlError,
    WebSocketUrl,
    parse_http_url,
    parse_websocket_url,
)
from sansrelay.registry import (
    Registration,
    RegistryCause,
    connect_request,
    parse_failure,
    parse_register_response,
    register_request,
)
from sansrelay.websocket import WebSocketCause, WebSocketLink

from ._errors import ConnectCause, ConnectError, LinkClosed, RegistryRefused
from ._options import KeepAlive
from ._transport import READ_SIZE, WebSocketConnection

__all__ = ["Dialer", "OpenSocket", "Registry"]

OpenSocket = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to a host and a port, as `trio.open_tcp_stream` does."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Where to ask for the URL to dial. It is asked anew before every dial.

    An executor registers, a harness asks to be connected; `id` is that of the executor in both
    cases. `repr` hides the token. Raises `ValueError` (`UrlError`, `RegistryError`) for what can't
    be put into a request.
    """

    base_url: str
    """http:// or https://, maybe with a path prefix."""
    id: str
    token: str = field(kw_only=True, repr=False)
    """Sent as bearer token."""

    def __post_init__(self) -> None:
        connect_request(self.base_url, self.id, self.token)


class Dialer:
    """Opens one link after the other to the same target. Raises `ConnectError` where it fails."""

    def __init__(
        self,
        role: Role,
        target: Registry | str,
        *,
        ssl_context: ssl.SSLContext | None,
        open_socket: OpenSocket | None,
        connect_timeout: float,
        keepalive: KeepAlive,
        max_frame_size: int,
    ) -> None:
        self._role = role
        self._target = target
        self._ssl_context = ssl_context
        self._open_socket = open_socket or trio.open_tcp_stream
        self._connect_timeout = connect_timeout
        self._keepalive = keepalive
        self._max_frame_size = max_frame_size

    async def dial(self) -> WebSocketConnection:
        """One attempt. Each of its two steps, asking and dialling, has `connect_timeout`."""
        if isinstance(self._target, str):
            url = _parse(self._target)
        else:
            url = await self._ask(self._target)
        link = WebSocketLink.client(url, max_message_size=self._max_frame_size)
        where = _where(url, "the WebSocket server")
        async with self._connected(url, where) as stream:
            connection = WebSocketConnection(stream, link, self._keepalive)
            try:
                await connection.open()
            except LinkClosed as closed:
                raise _rejected(link, closed, where) from closed
        return connection

    async def _ask(self, registry: Registry) -> WebSocketUrl:
        ask = register_request if self._role is Role.EXECUTOR else connect_request
        request = ask(registry.base_url, registry.id, registry.token)
        base = parse_http_url(registry.base_url)
        where = _where(base, "the registry")
        async with self._connected(base, where) as stream:
            response = await _exchange(stream, request, where)
            await _discard(stream)
        answer = parse_register_response(response, registry.id)
        if isinstance(answer, Registration):
            return answer.url
        message = f"{where} answered with status {answer.status}: {answer.message}"
        if answer.status < 400:
            raise ConnectError(_CAUSES[answer.cause], message, status=answer.status)
        raise RegistryRefused(
            _CAUSES[answer.cause], message, status=answer.status, code=answer.code or None
        )

    @asynccontextmanager
    async def _connected(self, url: Url, where: str) -> AsyncGenerator[trio.abc.Stream]:
        """A byte stream to the host of a URL, over TLS if it says so, and a block to use it in.

        The stream outlives the block unless that raises. All must be done in `connect_timeout`.
        """
        stream: trio.abc.Stream | None = None
        try:
            with trio.fail_after(self._connect_timeout):
                stream = await self._open_socket(url.host, url.port)
                if url.secure:
                    stream = secured = self._secure(stream, url.host)
                    await secured.do_handshake()
                yield stream
        except BaseException as error:
            if stream is not None:
                await _discard(stream)
            failure = self._explain(error, where)
            if failure is None:
                raise
            raise failure from error

    def _secure(self, stream: trio.abc.Stream, host: str) -> trio.SSLStream[trio.abc.Stream]:
        if self._ssl_context is None:
            self._ssl_context = ssl.create_default_context()
        # The ends of HTTP messages and WebSockets are known without TLS's own closing.
        return trio.SSLStream(
            stream, self._ssl_context, server_hostname=host, https_compatible=True
        )

    def _explain(self, error: BaseException, where: str) -> ConnectError | None:
        match error:
            case trio.TooSlowError():
                return ConnectError(
                    ConnectCause.TIMED_OUT,
                    f"no answer from {where} within {self._connect_timeout:g} seconds",
                )
            case socket.gaierror() | UnicodeError():
                return ConnectError(
                    ConnectCause.UNKNOWN_HOST, f"the host name of {where} has no address: {error}"
                )
            case trio.BrokenResourceError():
                return _broken(error, where)
            case OSError():
                return _unconnected(error, where)
        return None


_CAUSES = {
    RegistryCause.UNAUTHORIZED: ConnectCause.UNAUTHORIZED,
    RegistryCause.NOT_FOUND: ConnectCause.DENIED,
    RegistryCause.REFUSED: ConnectCause.DENIED,
    RegistryCause.UNAVAILABLE: ConnectCause.UNAVAILABLE,
    RegistryCause.REDIRECT: ConnectCause.BAD_ANSWER,
    RegistryCause.BAD_RESPONSE: ConnectCause.BAD_ANSWER,
    RegistryCause.WRONG_ID: ConnectCause.BAD_ANSWER,
    RegistryCause.BAD_URL: ConnectCause.BAD_ANSWER,
}


def _parse(url: str) -> WebSocketUrl:
    try:
        return parse_websocket_url(url)
    except UrlError as error:
        raise ConnectError(ConnectCause.BAD_URL, f"the URL can't be dialled: {error}") from error


def _where(url: Url, whom: str) -> str:
    return f"{whom} at {url.host}:{url.port}"


async def _exchange(stream: trio.abc.Stream, request: HttpRequest, where: str) -> HttpResponse:
    exchange = HttpClientConnection(request)
    await stream.send_all(exchange.bytes_to_send())
    while exchange.response is None and exchange.failure is None:
        data = bytes(await stream.receive_some(READ_SIZE))
        if data:
            exchange.receive_bytes(data)
        else:
            exchange.receive_eof()
    if exchange.response is not None:
        return exchange.response
    failure = exchange.failure
    assert failure is not None
    broken_off = failure.cause is HttpCause.UNCLEAN_EOF
    raise ConnectError(
        ConnectCause.BROKEN_OFF if broken_off else ConnectCause.BAD_ANSWER,
        f"no answer from {where}: {failure.message}",
    )


async def _discard(stream: trio.abc.Stream) -> None:
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)


def _rejected(link: WebSocketLink, closed: LinkClosed, where: str) -> ConnectError:
    """Why an opening handshake came to nothing."""
    failure = link.failure
    if isinstance(closed.__cause__, trio.BrokenResourceError):
        return _broken(closed.__cause__, where)
    if failure is None or failure.cause is WebSocketCause.UNCLEAN_EOF:
        return ConnectError(ConnectCause.BROKEN_OFF, f"no link to {where}: {closed}")
    message = f"no link to {where}: {failure.message}"
    if failure.response is None:
        return ConnectError(ConnectCause.BAD_ANSWER, message)
    refusal = parse_failure(failure.response)
    return ConnectError(_CAUSES[refusal.cause], message, status=refusal.status)


def _broken(error: trio.BrokenResourceError, where: str) -> ConnectError:
    reason = error.__cause__
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
        return ConnectError(ConnectCause.TLS, f"no TLS connection to {where}: {reason}")
    return ConnectError(
        ConnectCause.BROKEN_OFF, f"the connection to {where} broke off: {reason or error}"
    )


def _unconnected(error: OSError, where: str) -> ConnectError:
    """One error of several, one for each address that was tried: the most telling counts."""
    errors = [error]
    if isinstance(error.__cause__, ExceptionGroup):
        errors = [each for each in error.__cause__.exceptions if isinstance(each, OSError)]
    for number, cause, message in _CONNECT_ERRORS:
        if any(each.errno == number for each in errors):
            return ConnectError(cause, message.format(where))
    detail = errors[0].strerror or str(errors[0])
    return ConnectError(ConnectCause.UNREACHABLE, f"{where} can't be reached: {detail}")


_CONNECT_ERRORS = (
    (errno.ECONNREFUSED, ConnectCause.REFUSED, "{} refused the connection: nothing listens there"),
    (errno.ECONNRESET, ConnectCause.BROKEN_OFF, "{} broke the connection off"),
    (errno.ETIMEDOUT, ConnectCause.TIMED_OUT, "no answer from {}"),
)
