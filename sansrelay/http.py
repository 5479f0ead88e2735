"""Plain HTTP/1.1 as values, without I/O: URLs, requests, responses, one exchange as a client.

`sansrelay.websocket` builds the WebSocket upgrade and the server on these, `sansrelay.registry` the
registry's messages. Nothing here opens a connection: an adapter parses the URL to learn where to
dial, and carries bytes between its transport and `HttpClientConnection`.

Secrets travel in two places: the Authorization header, and the query of a URL (a dial carries no
header of its own, so whatever authorises it is inside the URL). No `repr` here shows either of
them, nor any body, and no error message repeats what it refuses.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Self
from urllib.parse import parse_qsl

import h11

from sansrelay.errors import LocalCause, LocalProtocolError

__all__ = [
    "DEFAULT_MAX_RESPONSE_BODY",
    "MAX_HEADERS_SIZE",
    "MAX_URL_LENGTH",
    "Headers",
    "HttpCause",
    "HttpClientConnection",
    "HttpFailure",
    "HttpRequest",
    "HttpResponse",
    "HttpUrl",
    "Url",
    "UrlCause",
    "UrlError",
    "WebSocketUrl",
    "parse_http_url",
    "parse_websocket_url",
]

MAX_URL_LENGTH = 8192
"""Longest URL that is accepted, in characters."""

MAX_HEADERS_SIZE = 16 * 1024
"""Largest start line plus headers that is accepted from a peer, in bytes."""

DEFAULT_MAX_RESPONSE_BODY = 1024 * 1024
"""Largest response body that `HttpClientConnection` takes unless told otherwise, in bytes."""


class UrlCause(Enum):
    """Why a URL was refused."""

    BAD_SCHEME = "the scheme is missing or not one of those expected"
    NO_HOST = "the host is missing"
    BAD_HOST = "the host is neither a name, nor an IPv4 address, nor an IPv6 address in brackets"
    BAD_PORT = "the port is not a number from 1 to 65535"
    CREDENTIALS = "the URL holds a user name or a password"
    FRAGMENT = "the URL holds a fragment"
    QUERY = "a base URL holds a query"
    BAD_CHARACTER = "the URL holds a character that has to be percent-encoded"
    TOO_LONG = "the URL is longer than MAX_URL_LENGTH"


class UrlError(ValueError):
    """A URL that can't be used. `cause` says why, as data; the message says what to do about it."""

    def __init__(self, cause: UrlCause, message: str) -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Url:
    """Where to connect, and what to ask for once connected."""

    secure: bool
    """Whether the connection has to run over TLS."""
    host: str
    """A name or an address in lower case; an IPv6 address is without its brackets."""
    port: int
    target: str
    """Path and query, exactly as they were written."""

    @property
    def host_header(self) -> str:
        """The value of the Host header (RFC 9112 section 3.2): no port if it is the default one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.secure) else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(secure={self.secure}, host={self.host!r}, "
            f"port={self.port}, target={_without_query(self.target)!r})"
        )


class WebSocketUrl(Url):
    """A ws:// or wss:// URL, taken apart by `parse_websocket_url`."""

    __slots__ = ()


class HttpUrl(Url):
    """The base of a set of http:// or https:// URLs, taken apart by `parse_http_url`.

    `target` is the path prefix without a slash at its end: empty, or `/some/prefix`.
    """

    __slots__ = ()


def parse_websocket_url(url: str) -> WebSocketUrl:
    """Take a ws:// or wss:// URL apart (RFC 6455 section 3). Raises `UrlError`."""
    secure, host, port, target = _take_apart(url, plain="ws", tls="wss")
    if not target.startswith("/"):
        target = f"/{target}"
    return WebSocketUrl(secure=secure, host=host, port=port, target=target)


def parse_http_url(base: str) -> HttpUrl:
    """Take the http:// or https:// base URL of a service apart. Raises `UrlError`.

    Slashes at the end mean nothing and are dropped; a query is refused, since paths are appended.
    """
    secure, host, port, target = _take_apart(base, plain="http", tls="https")
    if "?" in target:
        raise UrlError(UrlCause.QUERY, "remove the query ('?' and what follows) from the base URL")
    return HttpUrl(secure=secure, host=host, port=port, target=target.rstrip("/"))


_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<target>.*)", re.DOTALL
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
_HOST_NAME = re.compile(r"[A-Za-z0-9._~-]{1,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]*")


def _take_apart(url: str, *, plain: str, tls: str) -> tuple[bool, str, int, str]:
    if len(url) > MAX_URL_LENGTH:
        raise UrlError(UrlCause.TOO_LONG, f"use a URL of at most {MAX_URL_LENGTH} characters")
    if not _VISIBLE_ASCII.fullmatch(url):
        raise UrlError(
            UrlCause.BAD_CHARACTER,
            "percent-encode spaces, control characters and non-ASCII characters in the URL, "
            "and write an international host name in its ASCII form (xn--)",
        )
    match = _URL.fullmatch(url)
    if match is None or match["scheme"].lower() not in (plain, tls):
        raise UrlError(UrlCause.BAD_SCHEME, f"start the URL with {plain}:// or {tls}://")
    secure = match["scheme"].lower() == tls
    if "#" in url:
        raise UrlError(UrlCause.FRAGMENT, "remove the fragment ('#' and what follows) from the URL")
    if "@" in match["authority"]:
        raise UrlError(
            UrlCause.CREDENTIALS, "remove the user name and password before '@' from the URL"
        )
    host, port = _host_and_port(match["authority"], secure=secure)
    return secure, host, port, match["target"]


def _host_and_port(authority: str, *, secure: bool) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise UrlError(
            UrlCause.BAD_HOST, "write the host as a name or an address, IPv6 as [2001:db8::1]"
        )
    host, port = match["host"].lower(), match["port"]
    if not host:
        raise UrlError(UrlCause.NO_HOST, "name a host after '://'")
    if host.startswith("["):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise UrlError(
                UrlCause.BAD_HOST,
                "write an IPv6 address, without a zone, between the brackets of the URL",
            )
    elif not _HOST_NAME.fullmatch(host):
        raise UrlError(
            UrlCause.BAD_HOST,
            "write the host of the URL as a name or an address: at most 253 letters, digits, "
            "'.', '_', '~' or '-'",
        )
    if not port:
        return host, _default_port(secure)
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise UrlError(UrlCause.BAD_PORT, "give the port of the URL as a number from 1 to 65535")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _default_port(secure: bool) -> int:
    return 443 if secure else 80


def _without_query(target: str) -> str:
    path, question_mark, _ = target.partition("?")
    return f"{path}?<redacted>" if question_mark else path


_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie"})


class Headers(tuple[tuple[str, str], ...]):
    """HTTP header fields in their order on the wire, as pairs of a lower-case name and a value.

    Names are compared without regard to case. `repr` hides the values that carry credentials.
    """

    __slots__ = ()

    def __new__(cls, fields: Iterable[tuple[str, str]] = ()) -> Self:
        """Make headers from pairs; names are put in lower case."""
        return super().__new__(cls, ((name.lower(), value) for name, value in fields))

    @classmethod
    def from_wire(cls, fields: Iterable[tuple[bytes, bytes]]) -> Self:
        """Make headers from bytes, which are read as ISO 8859-1 (RFC 9110 section 5.5)."""
        return cls((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)

    def get(self, name: str) -> str | None:
        """The first value under a name, or None."""
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[str]:
        """All values under a name, one for each field line."""
        wanted = name.lower()
        return [value for field, value in self if field == wanted]

    def has_token(self, name: str, token: str) -> bool:
        """Whether a comma-separated list header holds a token, in any case."""
        values = ",".join(self.get_all(name)).lower().split(",")
        return token.lower() in (value.strip() for value in values)

    def __repr__(self) -> str:
        shown = [(name, "<redacted>" if name in _SECRET_HEADERS else value) for name, value in self]
        return f"Headers({shown!r})"


_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpRequest:
    """One HTTP request, whole.

    To be sent by `HttpClientConnection`, it needs a Host header; Content-Length is added there.
    """

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    wants_websocket: bool = False
    """Set by a server on a valid WebSocket opening handshake (RFC 6455 section 4.2.1)."""

    @property
    def path(self) -> str:
        """The path of the target, still percent-encoded, without its query."""
        return self._origin_form()[0]

    @property
    def query(self) -> dict[str, str]:
        """The query of the target, decoded. Of a name that is repeated, the first value counts."""
        query: dict[str, str] = {}
        for name, value in parse_qsl(self._origin_form()[1], keep_blank_values=True):
            query.setdefault(name, value)
        return query

    def _origin_form(self) -> tuple[str, str]:
        # A server has to take the absolute form too (RFC 9112 section 3.2.2).
        absolute = _ABSOLUTE_FORM.match(self.target)
        target = self.target[absolute.end() :] if absolute else self.target
        path, _, query = target.partition("?")
        return path or "/", query

    def __repr__(self) -> str:
        return (
            f"HttpRequest(method={self.method!r}, target={_without_query(self.target)!r}, "
            f"headers={self.headers!r}, body=<{len(self.body)} bytes>, "
            f"wants_websocket={self.wants_websocket})"
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpResponse:
    """One HTTP response, whole. A server adds Content-Length by itself."""

    status: int
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body read as UTF-8; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return (
            f"HttpResponse(status={self.status}, headers={self.headers!r}, "
            f"body=<{len(self.body)} bytes>)"
        )


class HttpCause(Enum):
    """Why an HTTP connection ended in disorder."""

    MALFORMED = "what the peer sent is not HTTP/1.1"
    HEADERS_TOO_LARGE = "start line and headers are larger than the limit"
    BODY_TOO_LARGE = "the body is larger than the limit"
    BAD_UPGRADE = "the WebSocket opening handshake is not a valid one"
    METHOD = "the method can't be served on this connection"
    PIPELINE_OVERFLOW = "more was sent behind an unanswered request than the limit"
    UNCLEAN_EOF = "the connection ended inside a message, or before the answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFailure:
    """How an HTTP connection failed: a cause, and a sentence for people."""

    cause: HttpCause
    message: str
    response: HttpResponse | None = None
    """What a client knows of the response, its body cut: None before the headers were whole."""


class HttpClientConnection:
    """The client's side of one request and its response.

    Send what `bytes_to_send` returns, pass in what arrives, until `response` or `failure` is set;
    then close the connection, unless the response is a 101: from there on the connection speaks
    another protocol, and `trailing_data` holds what already arrived of it. Interim responses (1xx)
    other than 101 are skipped. Redirects are not followed. Not safe for use from several tasks.
    """

    def __init__(
        self, request: HttpRequest, *, max_body_size: int = DEFAULT_MAX_RESPONSE_BODY
    ) -> None:
        """Prepare the request. `max_body_size` limits the response's body, in bytes.

        Raises `LocalProtocolError` (BAD_ARGUMENT) for a request that is not valid HTTP.
        """
        self.response: HttpResponse | None = None
        self.failure: HttpFailure | None = None
        self.trailing_data = b""
        self._max_body_size = max_body_size
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADERS_SIZE)
        self._head: h11.Response | None = None
        self._body = bytearray()
        self._at_eof = False
        self._out = self._encode(request)

    def bytes_to_send(self) -> bytes:
        """The bytes to send now; each is returned once."""
        out, self._out = self._out, b""
        return out

    def receive_bytes(self, data: bytes) -> None:
        """Take bytes that arrived. Never raises; after the end they are ignored."""
        if data and not self._is_over:
            self._h11.receive_data(data)
            self._advance()

    def receive_eof(self) -> None:
        """Take note that the peer sends no more. It ends a body that has no declared length."""
        if not self._is_over:
            self._at_eof = True
            self._h11.receive_data(b"")
            self._advance()

    @property
    def _is_over(self) -> bool:
        return self.response is not None or self.failure is not None

    def _encode(self, request: HttpRequest) -> bytes:
        refuse_framing_headers(request.headers)
        fields = [*request.headers]
        if request.headers.get("connection") is None:
            fields.append(("connection", "close"))
        if request.body or request.method not in ("GET", "HEAD"):
            fields.append(("content-length", str(len(request.body))))
        try:
            head = h11.Request(method=request.method, target=request.target, headers=fields)
        except (h11.LocalProtocolError, UnicodeEncodeError):
            # The library's own message repeats the offending value, which may be a token.
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                "give the request exactly one Host header, and only ASCII characters that HTTP "
                "allows in its method, target and headers",
            ) from None
        return b"".join(
            (
                self._h11.send(head),
                self._h11.send(h11.Data(data=request.body)),
                self._h11.send(h11.EndOfMessage()),
            )
        )

    def _advance(self) -> None:
        while not self._is_over:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._fail_on(error)
                return
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    self.trailing_data = self._h11.trailing_data[0]
                    self.response = HttpResponse(
                        status=101, headers=Headers.from_wire(event.headers)
                    )
            elif isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._max_body_size:
                    self._fail(
                        HttpCause.BODY_TOO_LARGE,
                        f"the response's body is larger than {self._max_body_size} bytes",
                    )
            elif isinstance(event, h11.EndOfMessage):
                self.response = self._response_so_far()
            else:  # more is needed; that none will come is an error to h11
                return

    def _fail_on(self, error: h11.RemoteProtocolError) -> None:
        if self._at_eof:
            self._fail(HttpCause.UNCLEAN_EOF, "the connection ended inside the server's answer")
        elif error.error_status_hint == 431:
            self._fail(
                HttpCause.HEADERS_TOO_LARGE,
                f"the response's headers are larger than {MAX_HEADERS_SIZE} bytes",
            )
        else:
            self._fail(HttpCause.MALFORMED, "the server's answer is not valid HTTP/1.1")

    def _fail(self, cause: HttpCause, message: str) -> None:
        self.failure = HttpFailure(cause=cause, message=message, response=self._response_so_far())

    def _response_so_far(self) -> HttpResponse | None:
        if self._head is None:
            return None
        return HttpResponse(
            status=self._head.status_code,
            headers=Headers.from_wire(self._head.headers),
            body=bytes(self._body[: self._max_body_size]),
        )


def refuse_framing_headers(headers: Headers) -> None:
    """Raise `LocalProtocolError` (BAD_ARGUMENT) if headers hold what the connection itself sets."""
    for name in ("content-length", "transfer-encoding"):
        if headers.get(name) is not None:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT, f"leave out the {name} header: it is set from the body"
            )
