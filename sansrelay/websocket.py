"""WebSocket (RFC 6455) without I/O: whole binary messages on one side, bytes on the other.

`WebSocketLink` is one WebSocket, at either end. A client's link starts with its URL, a server's
with a request that `sansrelay.http_server.HttpServerConnection` received. An adapter carries bytes
between a link and its transport, and owns every clock: how long a handshake, a ping or a closing
may take is its decision.

An adapter's loop, for links and for HTTP server connections: send what `bytes_to_send` returns; if
`should_close_transport` is true then, close the transport; else read, pass on what arrived
(`receive_bytes`, or `receive_eof` at its end), take what it gave, and start again. After any call
that can produce bytes (`send_message`, `ping`, `close`, `respond`), send again.

Whatever bytes arrive, receiving never raises. A caller's own misuse raises
`sansrelay.errors.LocalProtocolError` and changes nothing. No object here is safe for use from
several threads; no call waits, so the tasks of one event loop need no lock.

Extensions (permessage-deflate among them) and subprotocols are neither offered nor accepted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Self

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong
from wsproto.utilities import generate_accept_token, generate_nonce

from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import (
    Headers,
    HttpCause,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
    WebSocketUrl,
    parse_websocket_url,
)

__all__ = [
    "DEFAULT_MAX_MESSAGE_SIZE",
    "MAX_PING_PAYLOAD",
    "MAX_REJECTION_BODY",
    "WebSocketCause",
    "WebSocketFailure",
    "WebSocketLink",
    "WebSocketState",
]

DEFAULT_MAX_MESSAGE_SIZE = 16 * 1024 * 1024 + 64 * 1024
"""Largest message that is received, in bytes: 16 MiB of payload and room for the frame around it.

A larger one ends the link with close code 1009, as soon as what has arrived of it is larger.
"""

MAX_REJECTION_BODY = 4096
"""How much is kept of the body with which a server rejects a WebSocket, in bytes."""

MAX_PING_PAYLOAD = 125
"""Largest payload of a ping, in bytes (RFC 6455 section 5.5)."""

_ABNORMAL_CLOSURE = 1006


class WebSocketState(Enum):
    """Where a link is in its life."""

    CONNECTING = "connecting"
    """The client has not seen the server's answer to the opening handshake."""
    OPEN = "open"
    """Messages go both ways."""
    CLOSING = "closing"
    """Our Close frame is out; messages still arrive, until the peer's own Close frame."""
    CLOSED = "closed"
    """Nothing more is received. What `bytes_to_send` still holds may be sent."""


class WebSocketCause(Enum):
    """Why a link ended in disorder."""

    REJECTED = "the server answered the opening handshake with another HTTP status"
    BAD_HANDSHAKE = "the server's answer to the opening handshake is not a valid one"
    PROTOCOL_ERROR = "the peer broke the WebSocket protocol"
    TEXT_MESSAGE = "the peer sent a text message"
    MESSAGE_TOO_BIG = "the peer sent a message larger than max_message_size"
    UNCLEAN_EOF = "the connection ended without a Close frame"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketFailure:
    """How a link failed: a cause, and a sentence for people."""

    cause: WebSocketCause
    message: str
    response: HttpResponse | None = None
    """The response of a server that rejected the link, its body cut at `MAX_REJECTION_BODY`."""


class WebSocketLink:
    """One WebSocket that carries whole binary messages.

    A client's link is made by `WebSocketLink.client`, a server's by
    `HttpServerConnection.accept_websocket`. After `receive_bytes` take `messages()`, look at
    `pongs()` if a ping is out, and send `bytes_to_send()`, which holds the answers to the peer's
    pings and Close frame.

    Closing: `close` sends a Close frame behind all messages sent before; the link is CLOSED when
    the peer's own has come, or the connection has ended. A Close frame from the peer is answered at
    once. A failure sends a Close frame that says why and is CLOSED at once; what arrives later is
    ignored. So a transport that is to be closed may first be read to its end for a moment, lest a
    reset overtakes the Close frame.
    """

    def __init__(self, side: ConnectionType, *, max_message_size: int, out: list[bytes]) -> None:
        """Used by `client` and `accept_websocket`; `out` holds the bytes that go first."""
        if max_message_size < 1:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT, "max_message_size is in bytes and has to be at least 1"
            )
        self._frames = Connection(side)
        self._exchange: HttpClientConnection | None = None
        self._accept_token = ""
        self._state = WebSocketState.OPEN
        self._was_open = True
        self._max_message_size = max_message_size
        self._partial = bytearray()
        self._messages: list[bytes] = []
        self._unanswered_pings: list[bytes] = []
        self._pongs: list[bytes] = []
        self._out = out
        self._pong_index: int | None = None
        self._close_code: int | None = None
        self._close_reason = ""
        self._failure: WebSocketFailure | None = None

    @classmethod
    def client(
        cls,
        url: str | WebSocketUrl,
        *,
        headers: Iterable[tuple[str, str]] = (),
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
    ) -> Self:
        """The client's end of a new link. The handshake's request is in `bytes_to_send` at once.

        `headers` are added to that request. Raises `UrlError` for a bad URL and
        `LocalProtocolError` (BAD_ARGUMENT) for headers that are not valid or belong to the
        handshake, and for a limit below 1.
        """
        parsed = parse_websocket_url(url) if isinstance(url, str) else url
        extra = Headers(headers)
        for name, _ in extra:
            if name in ("host", "upgrade", "connection") or name.startswith("sec-websocket-"):
                raise LocalProtocolError(
                    LocalCause.BAD_ARGUMENT, f"leave out the {name} header: the link sets it"
                )
        key = generate_nonce()
        handshake = [
            ("Host", parsed.host_header),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key.decode()),
            ("Sec-WebSocket-Version", "13"),
        ]
        exchange = HttpClientConnection(
            HttpRequest(method="GET", target=parsed.target, headers=Headers([*handshake, *extra])),
            max_body_size=MAX_REJECTION_BODY,
        )
        link = cls(
            ConnectionType.CLIENT,
            max_message_size=max_message_size,
            out=[exchange.bytes_to_send()],
        )
        link._exchange = exchange
        link._accept_token = generate_accept_token(key).decode()
        link._state = WebSocketState.CONNECTING
        link._was_open = False
        return link

    @property
    def state(self) -> WebSocketState:
        """Where the link is in its life."""
        return self._state

    @property
    def was_open(self) -> bool:
        """Whether the opening handshake came about, whatever has become of the link since."""
        return self._was_open

    @property
    def should_close_transport(self) -> bool:
        """Whether to close the transport, after sending what `bytes_to_send` returns."""
        return self._state is WebSocketState.CLOSED

    @property
    def close_code(self) -> int | None:
        """None until the link is CLOSED; then how it closed.

        The code in the peer's Close frame (1005 if it held none), ours if the link failed by a
        fault of the peer, or 1006 if the connection ended without a Close frame from the peer.
        """
        return self._close_code

    @property
    def close_reason(self) -> str:
        """The text beside `close_code`, at most 123 bytes of UTF-8 from the peer; often empty."""
        return self._close_reason

    @property
    def failure(self) -> WebSocketFailure | None:
        """How the link failed, or None: still alive, or closed in good order by either side.

        When the connection ends after our own `close`, without the peer's Close frame, that is no
        failure: only `close_code` 1006 tells.
        """
        return self._failure

    def receive_bytes(self, data: bytes) -> None:
        """Take bytes that arrived. Never raises; once CLOSED they are ignored."""
        exchange = self._exchange
        if exchange is not None:
            exchange.receive_bytes(data)
            self._check_handshake(exchange)
            data = exchange.trailing_data
        if not data or self._state is WebSocketState.CLOSED:
            return
        self._frames.receive_data(data)
        # Parsing is lazy, and sending changes the state it depends on: first parse, then act.
        for event in list(self._frames.events()):
            self._handle(event)
            if self.should_close_transport:
                return

    def receive_eof(self) -> None:
        """Take note that the peer's bytes have ended, or that the connection broke."""
        exchange = self._exchange
        if exchange is not None:
            exchange.receive_eof()
            self._check_handshake(exchange)
        elif self._state is WebSocketState.OPEN:
            self._finish(
                _ABNORMAL_CLOSURE,
                failure=WebSocketFailure(
                    cause=WebSocketCause.UNCLEAN_EOF,
                    message="the connection ended without a Close frame",
                ),
            )
        elif self._state is WebSocketState.CLOSING:
            self._finish(_ABNORMAL_CLOSURE)

    def messages(self) -> list[bytes]:
        """The messages that are complete since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages

    def pongs(self) -> list[bytes]:
        """The payloads of our pings that the peer answered since the last call, oldest first.

        A pong that answers no ping of ours is ignored. One that answers a later ping settles the
        earlier ones too, and they are not listed (RFC 6455 section 5.5.3).
        """
        pongs, self._pongs = self._pongs, []
        return pongs

    def send_message(self, data: bytes) -> None:
        """Queue one binary message.

        Raises `LocalProtocolError`: NOT_OPEN unless the link is OPEN, BAD_ARGUMENT for text.
        """
        self._require_open()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT, "a message is bytes: encode the text before sending it"
            )
        self._out.append(self._frames.send(BytesMessage(data=data)))

    def ping(self, payload: bytes = b"") -> None:
        """Queue a ping; `pongs` tells when it is answered. Distinct payloads tell pings apart.

        Raises `LocalProtocolError`: NOT_OPEN unless the link is OPEN, BAD_ARGUMENT for a payload
        of more than `MAX_PING_PAYLOAD` bytes.
        """
        self._require_open()
        if len(payload) > MAX_PING_PAYLOAD:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT, f"use a ping payload of at most {MAX_PING_PAYLOAD} bytes"
            )
        self._out.append(self._frames.send(Ping(payload=payload)))
        self._unanswered_pings.append(payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Begin to close; does nothing if the link is closing or closed already.

        `reason` is cut at 123 bytes of UTF-8. While CONNECTING there is nobody to tell: the link is
        CLOSED at once, with `close_code` 1006. Raises `LocalProtocolError` (BAD_ARGUMENT) for a
        code that may not be sent (RFC 6455 section 7.4).
        """
        if not (1000 <= code <= 1003 or 1007 <= code <= 1013 or 3000 <= code <= 4999):
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                "use a close code of 1000 to 1003, 1007 to 1013, or 3000 to 4999",
            )
        if self._state is WebSocketState.CONNECTING:
            self._out.clear()
            self._finish(_ABNORMAL_CLOSURE)
        elif self._state is WebSocketState.OPEN:
            self._send_close(code, reason)
            self._state = WebSocketState.CLOSING

    def bytes_to_send(self) -> bytes:
        """The bytes to send now; each is returned once."""
        out = b"".join(self._out)
        self._out.clear()
        self._pong_index = None
        return out

    def _require_open(self) -> None:
        if self._state is not WebSocketState.OPEN:
            raise LocalProtocolError(
                LocalCause.NOT_OPEN,
                f"the WebSocket is {self._state.value}: send only while its state is OPEN",
            )

    def _check_handshake(self, exchange: HttpClientConnection) -> None:
        response, failure = exchange.response, exchange.failure
        if failure is not None:
            response = failure.response
        if response is not None and response.status == 101:
            fault = _handshake_fault(response.headers, self._accept_token)
            if fault is None:
                self._exchange = None
                self._state = WebSocketState.OPEN
                self._was_open = True
            else:
                self._fail_handshake(WebSocketCause.BAD_HANDSHAKE, fault)
        elif response is not None:
            self._fail_handshake(
                WebSocketCause.REJECTED,
                f"the server rejected the WebSocket with HTTP status {response.status}",
                response,
            )
        elif failure is not None:
            eof = failure.cause is HttpCause.UNCLEAN_EOF
            self._fail_handshake(
                WebSocketCause.UNCLEAN_EOF if eof else WebSocketCause.BAD_HANDSHAKE,
                f"the opening handshake failed: {failure.message}",
            )

    def _fail_handshake(
        self, cause: WebSocketCause, message: str, response: HttpResponse | None = None
    ) -> None:
        failure = WebSocketFailure(cause=cause, message=message, response=response)
        self._finish(_ABNORMAL_CLOSURE, failure=failure)

    def _handle(self, event: Event) -> None:
        if isinstance(event, BytesMessage):
            self._take_fragment(event)
        elif isinstance(event, Ping):
            self._answer_ping(event)
        elif isinstance(event, Pong):
            self._settle_ping(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._take_close(event)
        else:  # a text message: after the handshake wsproto gives no other event
            self._fail(WebSocketCause.TEXT_MESSAGE, 1003, "only binary messages are accepted here")

    def _take_fragment(self, event: BytesMessage) -> None:
        if len(self._partial) + len(event.data) > self._max_message_size:
            self._fail(
                WebSocketCause.MESSAGE_TOO_BIG,
                1009,
                f"the message is larger than {self._max_message_size} bytes",
            )
        elif not event.message_finished:
            self._partial += event.data
        elif not self._partial:
            self._messages.append(bytes(event.data))
        else:
            self._partial += event.data
            self._messages.append(bytes(self._partial))
            self._partial.clear()

    def _answer_ping(self, event: Ping) -> None:
        if self._frames.state is not ConnectionState.OPEN:
            return  # Nothing follows our own Close frame, and behind the peer's it is pointless.
        pong = self._frames.send(event.response())
        # Only the last ping needs an answer (RFC 6455 section 5.5.3). So pongs that a peer asks
        # for but does not read take up no more than one place.
        if self._pong_index is None:
            self._pong_index = len(self._out)
            self._out.append(pong)
        else:
            self._out[self._pong_index] = pong

    def _settle_ping(self, payload: bytes) -> None:
        if payload in self._unanswered_pings:
            del self._unanswered_pings[: self._unanswered_pings.index(payload) + 1]
            self._pongs.append(payload)

    def _take_close(self, event: CloseConnection) -> None:
        code, reason = int(event.code), event.reason or ""
        if self._frames.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING):
            # wsproto shows bytes that it can't parse as a Close frame, but does not change state.
            self._fail(WebSocketCause.PROTOCOL_ERROR, code, reason)
            return
        if self._frames.state is ConnectionState.REMOTE_CLOSING:
            self._out.append(self._frames.send(event.response()))
        self._finish(code, reason)

    def _send_close(self, code: int, reason: str) -> None:
        reason = reason.encode("utf-8", "replace").decode()
        self._out.append(self._frames.send(CloseConnection(code=code, reason=reason)))

    def _fail(self, cause: WebSocketCause, code: int, message: str) -> None:
        if self._frames.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            self._send_close(code, message)
        self._finish(code, message, failure=WebSocketFailure(cause=cause, message=message))

    def _finish(
        self, code: int, reason: str = "", *, failure: WebSocketFailure | None = None
    ) -> None:
        self._state = WebSocketState.CLOSED
        self._close_code = code
        self._close_reason = reason
        self._failure = failure
        self._exchange = None
        self._partial = bytearray()
        self._unanswered_pings.clear()


def _handshake_fault(headers: Headers, accept_token: str) -> str | None:
    """What is wrong with a 101 response (RFC 6455 section 4.1), or None."""
    if not headers.has_token("upgrade", "websocket"):
        return "the server's 101 response lacks 'Upgrade: websocket'"
    if not headers.has_token("connection", "upgrade"):
        return "the server's 101 response lacks 'Connection: Upgrade'"
    if headers.get_all("sec-websocket-accept") != [accept_token]:
        return "the server's Sec-WebSocket-Accept does not match our key"
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if headers.get(name) is not None:
            return f"the server's 101 response holds {name}, which was not offered"
    return None
