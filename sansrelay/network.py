"""What the adapters know about the network, short of using it. For import by name.

A `Registry` to ask for a URL, what its answers mean, and what to call each way in which an attempt
to connect or a link can end.
"""

import errno
import ipaddress
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from .connection import Role
from .errors import clean_reason
from .http import (
    HttpCause,
    HttpClientConnection,
    HttpRequest,
    Url,
    UrlError,
    WebSocketUrl,
    parse_http_url,
    parse_websocket_url,
)
from .http_server import DEFAULT_MAX_REQUEST_BODY
from .links import (
    ConnectCause,
    ConnectError,
    KeepAlive,
    LinkCause,
    PingTimer,
    RegistryRefused,
)
from .registry import (
    Registration,
    RegistryCause,
    connect_request,
    parse_failure,
    parse_register_response,
    register_request,
)
from .websocket import WebSocketCause, WebSocketLink, WebSocketState

__all__ = [
    "ACCEPT_PAUSE",
    "EXHAUSTED",
    "READ_SIZE",
    "WRITE_SIZE",
    "Farewell",
    "Registry",
    "RegistryQuestion",
    "ServerLimits",
    "WebSocketCore",
    "broken_off",
    "host_and_port",
    "is_loopback",
    "rejected",
    "timed_out",
    "tls_failed",
    "unconnected",
    "unknown_host",
    "url_to_dial",
]

READ_SIZE = 64 * 1024
"""Bytes taken from the transport at once."""

WRITE_SIZE = 64 * 1024
"""Bytes given to the transport at once; `KeepAlive.write_timeout` counts for each such block."""

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Error numbers of a process or machine that can't take another connection for now."""

ACCEPT_PAUSE = 0.1
"""Seconds for which a server then accepts none."""


class Farewell(IntEnum):
    """Close codes by which a server ends a WebSocket whose handler is over (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    """It has returned."""
    GOING_AWAY = 1001
    """It was cancelled: the server stops."""
    INTERNAL_ERROR = 1011
    """It has raised. A request without an answer gets status 500."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Limits of `serve_http`. Times in seconds, sizes in bytes."""

    request_timeout: float = 10.0
    """For the TLS handshake, and for each request to arrive whole. Then the connection is closed,
    unanswered."""
    idle_timeout: float = 60.0
    """Between a response and the first byte of the next request. Then the connection is closed."""
    write_timeout: float = 60.0
    """For the peer to take a response. Then the connection is closed."""
    max_connections: int = 10_000
    """Open connections. A further one is closed as soon as it is accepted."""
    max_request_body: int = DEFAULT_MAX_REQUEST_BODY
    """Of one request. A larger one is answered with status 413."""

    def __post_init__(self) -> None:
        for name in ("request_timeout", "idle_timeout", "write_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be a number of seconds above 0")
        for name in ("max_connections", "max_request_body"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")


# -- where to dial


def url_to_dial(url: str, *, insecure: bool) -> WebSocketUrl:
    """Take a URL apart. Raises `ConnectError` (BAD_URL, INSECURE)."""
    try:
        parsed = parse_websocket_url(url)
    except UrlError as error:
        raise ConnectError(ConnectCause.BAD_URL, f"the URL can't be dialled: {error}") from error
    _check_secure(parsed, host_and_port(parsed, "the WebSocket server"), insecure, "wss://")
    return parsed


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone. Of names, only `localhost` is known to be so."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_secure(url: Url, where: str, insecure: bool, remedy: str) -> None:
    if not (url.secure or insecure or is_loopback(url.host)):
        raise ConnectError(
            ConnectCause.INSECURE,
            f"others could read what passes between here and {where}: use {remedy}, or "
            "insecure=True if the network between is trusted",
        )


# -- asking the registry


class RegistryQuestion:
    """One exchange with a registry: write `exchange.bytes_to_send()`, read until `is_answered`.

    Raises `ConnectError` (INSECURE).
    """

    def __init__(self, role: Role, registry: Registry, *, insecure: bool) -> None:
        ask = register_request if role is Role.EXECUTOR else connect_request
        request: HttpRequest = ask(registry.base_url, registry.id, registry.token)
        self.url: Url = parse_http_url(registry.base_url)
        """Where to connect to."""
        self.where = host_and_port(self.url, "the registry")
        _check_secure(self.url, self.where, insecure, "https://")
        self.exchange = HttpClientConnection(request)
        self._id = registry.id
        self._insecure = insecure

    @property
    def is_answered(self) -> bool:
        """Whether the exchange is over, for good or ill."""
        return self.exchange.response is not None or self.exchange.failure is not None

    def answer(self) -> WebSocketUrl:
        """The URL to dial. Raises `ConnectError` if the registry gave none."""
        response = self.exchange.response
        if response is None:
            raise self._failed()
        answer = parse_register_response(response, self._id)
        if isinstance(answer, Registration):
            where = host_and_port(answer.url, "the WebSocket server that the registry names")
            _check_secure(answer.url, where, self._insecure, "a registry that names wss://")
            return answer.url
        cause = _CAUSES[answer.cause]
        message = f"{self.where} answered with status {answer.status}: {answer.message}"
        if answer.status < 400:
            raise ConnectError(cause, message, status=answer.status)
        raise RegistryRefused(cause, message, status=answer.status, code=answer.code or None)

    def _failed(self) -> ConnectError:
        failure = self.exchange.failure
        assert failure is not None
        unclean = failure.cause is HttpCause.UNCLEAN_EOF
        return ConnectError(
            ConnectCause.BROKEN_OFF if unclean else ConnectCause.BAD_ANSWER,
            f"no answer from {self.where}: {failure.message}",
        )


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


# -- what to call a failed attempt


def host_and_port(url: Url, whom: str) -> str:
    """Whom an attempt is aimed at, for messages: never the whole URL, which may hold a token."""
    return f"{whom} at {url.host}:{url.port}"


def timed_out(where: str, connect_timeout: float) -> ConnectError:
    """Nothing came within `connect_timeout` seconds."""
    return ConnectError(
        ConnectCause.TIMED_OUT, f"no answer from {where} within {connect_timeout:g} seconds"
    )


def unknown_host(where: str, error: Exception) -> ConnectError:
    """The name was not resolved."""
    return ConnectError(
        ConnectCause.UNKNOWN_HOST, f"the host name of {where} has no address: {error}"
    )


def tls_failed(where: str, error: Exception) -> ConnectError:
    """The TLS handshake came to nothing."""
    return ConnectError(ConnectCause.TLS, f"no TLS connection to {where}: {error}")


def broken_off(where: str, error: BaseException) -> ConnectError:
    """The connection came about and broke."""
    detail = str(error) or type(error).__name__
    return ConnectError(ConnectCause.BROKEN_OFF, f"the connection to {where} broke off: {detail}")


def unconnected(where: str, error: OSError) -> ConnectError:
    """One error of several, one for each address that was tried: the most telling counts."""
    errors: Sequence[OSError] = [error]
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


def rejected(link: WebSocketLink, where: str, detail: object) -> ConnectError:
    """Why an opening handshake came to nothing. `detail`: what is known if the link knows nothing.

    For a transport that broke take `broken_off` or `tls_failed`.
    """
    failure = link.failure
    if failure is None or failure.cause is WebSocketCause.UNCLEAN_EOF:
        return ConnectError(ConnectCause.BROKEN_OFF, f"no link to {where}: {detail}")
    message = f"no link to {where}: {failure.message}"
    if failure.response is None:
        return ConnectError(ConnectCause.BAD_ANSWER, message)
    refusal = parse_failure(failure.response)
    return ConnectError(_CAUSES[refusal.cause], message, status=refusal.status)


# -- one WebSocket on its transport


class WebSocketCore:
    """A WebSocket on a transport, short of reading, writing and waiting.

    Tell it what was read (`received`) and how the transport failed (`end`), write its `blocks`.
    `notify` is called when there may be something to write, or the link is over: set it to what
    wakes the task that calls `keep_alive`.
    """

    def __init__(
        self, link: WebSocketLink, keepalive: KeepAlive, *, notify: Callable[[], None]
    ) -> None:
        self.link = link
        self.closing = False
        """Whether this side has begun to close."""
        self.gone: tuple[LinkCause, str] | None = None
        """Why the transport can't be used any more; None as long as it can."""
        self._keepalive = keepalive
        self._notify = notify
        self._pending: list[bytes] = []
        self._heard_at = -math.inf

    @property
    def is_over(self) -> bool:
        """Whether nothing can be received any more, but what `link.messages` still holds."""
        return self.gone is not None or self.link.should_close_transport

    @property
    def ending(self) -> tuple[LinkCause, str]:
        """Why it is over, and a sentence about it."""
        link = self.link
        failure, reason = link.failure, link.close_reason
        if self.gone is not None:
            return self.gone
        if failure is not None:
            if failure.cause is WebSocketCause.UNCLEAN_EOF:
                return LinkCause.CONNECTION_LOST, failure.message
            return LinkCause.PROTOCOL_ERROR, failure.message
        if self.closing:
            return LinkCause.CLOSED_HERE, _CLOSED_HERE
        said = f": {clean_reason(reason)}" if reason else ""
        return (
            LinkCause.CLOSED_BY_PEER,
            f"the peer closed the WebSocket with code {link.close_code}{said}",
        )

    def received(self, data: bytes, now: float, *, writing: bool) -> bool:
        """Take what was read, b"" at the end; False if that end was due.

        `writing`: whether some task is at `blocks`, and will find what there is to answer.
        """
        link = self.link
        self._heard_at = now
        if data:
            link.receive_bytes(data)
        elif link.should_close_transport:
            return False
        else:
            link.receive_eof()
        # While somebody writes, the answers to pings stay with the link, which keeps only the last.
        if not writing:
            answer = link.bytes_to_send()
            if answer:
                self._pending.append(answer)
                self._notify()
        if link.should_close_transport:
            self._notify()
        return True

    def queue(self, messages: Iterable[bytes]) -> bool:
        """Have messages sent; False if the link is not open."""
        if self.gone is not None or self.link.state is not WebSocketState.OPEN:
            return False
        for message in messages:
            self.link.send_message(message)
        return True

    def blocks(self) -> Iterator[bytes | memoryview]:
        """What there is to write, block by block, with what is added meanwhile."""
        while True:
            self._pending.append(self.link.bytes_to_send())
            data = b"".join(self._pending)
            self._pending.clear()
            if not data:
                return
            if len(data) <= WRITE_SIZE:
                yield data
            else:
                view = memoryview(data)
                for start in range(0, len(data), WRITE_SIZE):
                    yield view[start : start + WRITE_SIZE]

    def keep_alive(self, timer: PingTimer, now: float) -> bool:
        """Ping if it is time to; False if the peer counts as dead, and the transport is to go."""
        if timer.is_dead(now, self._heard_at):
            self.end(
                LinkCause.PONG_TIMEOUT,
                f"nothing came from the peer for {self._keepalive.pong_timeout:g} seconds after a "
                "ping",
            )
            return False
        if self.link.state is WebSocketState.OPEN and timer.should_ping(now):
            self.link.pongs()
            self.link.ping()
        return True

    def write_timed_out(self) -> None:
        """A block was not taken within `KeepAlive.write_timeout`."""
        self.end(
            LinkCause.WRITE_TIMEOUT,
            f"the peer took nothing for {self._keepalive.write_timeout:g} seconds",
        )

    def closed_here(self) -> None:
        """This side has closed the transport, or is about to."""
        self.end(LinkCause.CLOSED_HERE, _CLOSED_HERE)

    def end(self, cause: LinkCause, message: str) -> None:
        """The transport can't be used any more; the first cause counts."""
        if self.gone is None:
            self.gone = cause, message
        self._notify()


_CLOSED_HERE = "this side closed the WebSocket"
