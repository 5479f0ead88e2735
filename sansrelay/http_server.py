"""The server's side of one connection, without I/O: plain HTTP/1.1 that may become a WebSocket.

The registry's requests and the WebSocket dials of harnesses and executors arrive on one port;
`HttpServerConnection` takes both. How an adapter drives it is told in `sansrelay.websocket`, in
short: pass bytes in, send bytes out, answer each request that `next_request` gives.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus

import h11
from wsproto.connection import ConnectionType
from wsproto.utilities import generate_accept_token

from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import (
    MAX_HEADERS_SIZE,
    Headers,
    HttpCause,
    HttpFailure,
    HttpRequest,
    HttpResponse,
    refuse_framing_headers,
)
from sansrelay.websocket import DEFAULT_MAX_MESSAGE_SIZE, WebSocketLink

__all__ = ["DEFAULT_MAX_REQUEST_BODY", "HttpServerConnection"]

DEFAULT_MAX_REQUEST_BODY = 256 * 1024
"""Largest request body that a server takes, in bytes. A larger one is answered with status 413."""

_WEBSOCKET_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_BODILESS = (204, 304)


class HttpServerConnection:
    """One connection that a server accepted: requests in, responses out, one at a time.

    Requests on a kept-alive connection, pipelined ones too, are given out in turn: the next one
    after the one before it was answered, by `respond` or by `accept_websocket`. Refusing a
    WebSocket is a `respond` with an error status; the connection goes on with plain HTTP.

    What can't be given out is answered here, and the connection ends (`failure` says why):
    malformed HTTP with status 400 or 501, headers over `MAX_HEADERS_SIZE` with 431, a body over
    `max_body_size` with 413, a bad WebSocket handshake with 400 or 426, CONNECT with 405.
    """

    def __init__(self, *, max_body_size: int = DEFAULT_MAX_REQUEST_BODY) -> None:
        """A connection just accepted. `max_body_size` limits a request's body, in bytes.

        While a request waits for its answer, at most `max_body_size` + `MAX_HEADERS_SIZE` bytes
        are kept of what follows it; a peer that sends more is cut off (PIPELINE_OVERFLOW).
        """
        self._max_body_size = max_body_size
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADERS_SIZE)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._request: HttpRequest | None = None
        self._request_taken = False
        self._out: list[bytes] = []
        self._at_eof = False
        self._is_over = False
        self._is_upgraded = False
        self._failure: HttpFailure | None = None

    @property
    def should_close_transport(self) -> bool:
        """Whether to close the transport, after sending what `bytes_to_send` returns."""
        return self._is_over

    @property
    def failure(self) -> HttpFailure | None:
        """Why the connection ended in disorder, or None."""
        return self._failure

    def receive_bytes(self, data: bytes) -> None:
        """Take bytes that arrived. Never raises over them; after the end they are ignored.

        Raises `LocalProtocolError` (NOT_OPEN) after `accept_websocket`: the link takes them then.
        """
        self._refuse_if_upgraded()
        if not data or self._is_over or self._at_eof:
            return
        self._h11.receive_data(data)
        if self._request is None:
            self._advance()
        elif len(self._h11.trailing_data[0]) > self._max_body_size + MAX_HEADERS_SIZE:
            self._end(HttpCause.PIPELINE_OVERFLOW, "too much was sent behind a request")

    def receive_eof(self) -> None:
        """Take note that the peer sends no more. Requests that are whole can still be answered.

        Raises `LocalProtocolError` (NOT_OPEN) after `accept_websocket`: the link is told then.
        """
        self._refuse_if_upgraded()
        if not self._is_over:
            self._at_eof = True
            self._h11.receive_data(b"")
            self._advance()

    def next_request(self) -> HttpRequest | None:
        """The next request, once it is whole; None until then, and until the last is answered."""
        if self._request_taken or self._is_over:
            return None
        self._request_taken = self._request is not None
        return self._request

    def respond(self, response: HttpResponse) -> None:
        """Answer the request that `next_request` gave.

        No body goes out in answer to HEAD, nor with status 204 or 304. If the connection was cut
        off meanwhile, the response is dropped. Raises `LocalProtocolError`: NOT_OPEN if no request
        waits for an answer, BAD_ARGUMENT if the response is not valid HTTP.
        """
        request = self._require_request()
        refuse_framing_headers(response.headers)
        fields = [*response.headers]
        if response.status not in _BODILESS:
            fields.append(("content-length", str(len(response.body))))
        head = _response_head(response.status, fields)
        self._forget_request()
        if self._is_over:
            return
        has_body = request.method != "HEAD" and response.status not in _BODILESS
        self._send(head, response.body if has_body else b"")
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._advance()
        else:
            self._is_over = True

    def accept_websocket(
        self, *, max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    ) -> WebSocketLink:
        """Answer the request that `next_request` gave with 101, and return the link.

        From here on the transport belongs to the link alone: it takes what arrives, and its
        `bytes_to_send` starts with what was still to be sent here. What arrived behind the request
        is in it already, so take its messages before reading on. If the connection was cut off
        meanwhile, the link is CLOSED.

        Raises `LocalProtocolError`: NOT_OPEN if no request waits for an answer, BAD_ARGUMENT if it
        does not want a WebSocket, or for a `max_message_size` (in bytes) below 1.
        """
        request = self._require_request()
        key = request.headers.get("sec-websocket-key")
        if not request.wants_websocket or key is None:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                "the request asks for no WebSocket (wants_websocket): answer it with respond()",
            )
        out = self._out
        link = WebSocketLink(ConnectionType.SERVER, max_message_size=max_message_size, out=out)
        self._out = []
        self._forget_request()
        self._is_upgraded = True
        if self._is_over:
            link.receive_eof()
            return link
        accepted = h11.InformationalResponse(
            status_code=101,
            reason=HTTPStatus.SWITCHING_PROTOCOLS.phrase,
            headers=[
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", generate_accept_token(key.encode()).decode()),
            ],
        )
        out.append(self._h11.send(accepted))
        trailing_data, at_eof = self._h11.trailing_data
        link.receive_bytes(trailing_data)
        if at_eof:
            link.receive_eof()
        return link

    def bytes_to_send(self) -> bytes:
        """The bytes to send now; each is returned once. Nothing after `accept_websocket`."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _refuse_if_upgraded(self) -> None:
        if self._is_upgraded:
            raise LocalProtocolError(
                LocalCause.NOT_OPEN, "the connection is a WebSocket now: pass this to its link"
            )

    def _require_request(self) -> HttpRequest:
        if self._request is None or not self._request_taken:
            raise LocalProtocolError(
                LocalCause.NOT_OPEN, "no request waits for an answer: take one with next_request()"
            )
        return self._request

    def _forget_request(self) -> None:
        self._request = None
        self._request_taken = False

    def _advance(self) -> None:
        while self._request is None and not self._is_over:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse_malformed(error)
                return
            if isinstance(event, h11.Request):
                self._take_head(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._max_body_size:
                    self._refuse_body()
            elif isinstance(event, h11.EndOfMessage):
                self._take_request()
            elif isinstance(event, h11.ConnectionClosed):
                self._is_over = True
            else:
                if self._h11.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(
                        status_code=100, reason=HTTPStatus.CONTINUE.phrase, headers=[]
                    )
                    self._out.append(self._h11.send(go_on))
                return

    def _take_head(self, head: h11.Request) -> None:
        self._head = head
        self._body = bytearray()
        size = len(head.target) + sum(len(name) + len(value) for name, value in head.headers)
        length = Headers.from_wire(head.headers).get("content-length")
        if size > MAX_HEADERS_SIZE:
            # h11 applies its limit only to headers that do not arrive in one piece.
            self._refuse_headers()
        elif head.method == b"CONNECT":
            self._refuse(405, HttpCause.METHOD, "CONNECT is not served here")
        elif length is not None and int(length) > self._max_body_size:
            self._refuse_body()

    def _take_request(self) -> None:
        head, self._head = self._head, None
        assert head is not None, "h11 ends no message that it has not begun"
        headers = Headers.from_wire(head.headers)
        # An HTTP/1.0 peer can't upgrade (RFC 9110 section 7.8).
        wants_websocket = (
            head.method == b"GET"
            and head.http_version >= b"1.1"
            and headers.has_token("upgrade", "websocket")
            and headers.has_token("connection", "upgrade")
        )
        if wants_websocket and not self._check_websocket(headers):
            return
        self._request = HttpRequest(
            method=head.method.decode(),
            target=head.target.decode(),
            headers=headers,
            body=bytes(self._body),
            wants_websocket=wants_websocket,
        )
        self._body = bytearray()

    def _check_websocket(self, headers: Headers) -> bool:
        """Refuse a handshake that RFC 6455 section 4.2.1 does not allow."""
        keys = headers.get_all("sec-websocket-key")
        if headers.get_all("sec-websocket-version") != ["13"]:
            self._refuse(
                426,
                HttpCause.BAD_UPGRADE,
                "use WebSocket version 13",
                [("sec-websocket-version", "13"), ("upgrade", "websocket")],
            )
        elif len(keys) != 1 or not _WEBSOCKET_KEY.fullmatch(keys[0]):
            self._refuse(
                400, HttpCause.BAD_UPGRADE, "send one Sec-WebSocket-Key of 16 bytes in base64"
            )
        else:
            return True
        return False

    def _refuse_malformed(self, error: h11.RemoteProtocolError) -> None:
        if error.error_status_hint == 431:
            self._refuse_headers()
        elif self._at_eof:
            self._end(HttpCause.UNCLEAN_EOF, "the connection ended inside a request")
        else:
            # h11's own message may repeat a header, and with it a token.
            self._refuse(
                error.error_status_hint, HttpCause.MALFORMED, "the request is not valid HTTP/1.1"
            )

    def _refuse_headers(self) -> None:
        self._refuse(
            431,
            HttpCause.HEADERS_TOO_LARGE,
            f"the request's headers are larger than {MAX_HEADERS_SIZE} bytes",
        )

    def _refuse_body(self) -> None:
        self._refuse(
            413,
            HttpCause.BODY_TOO_LARGE,
            f"the request's body is larger than {self._max_body_size} bytes",
        )

    def _refuse(
        self,
        status: int,
        cause: HttpCause,
        message: str,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        is_head = self._head is not None and self._head.method == b"HEAD"
        body = f"{message}\n".encode()
        fields = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            *headers,
        ]
        self._send(_response_head(status, fields), b"" if is_head else body)
        self._end(cause, message)

    def _end(self, cause: HttpCause, message: str) -> None:
        self._is_over = True
        self._failure = HttpFailure(cause=cause, message=message)

    def _send(self, head: h11.Response, body: bytes) -> None:
        self._out.append(self._h11.send(head))
        self._out.append(self._h11.send(h11.Data(data=body)))
        self._out.append(self._h11.send(h11.EndOfMessage()))


def _response_head(status: int, fields: list[tuple[str, str]]) -> h11.Response:
    if not 200 <= status <= 599:
        raise LocalProtocolError(
            LocalCause.BAD_ARGUMENT, "respond with a final status: a number from 200 to 599"
        )
    try:
        return h11.Response(status_code=status, headers=fields, reason=_reason_phrase(status))
    except (h11.LocalProtocolError, UnicodeEncodeError):
        raise LocalProtocolError(
            LocalCause.BAD_ARGUMENT,
            "use only ASCII characters that HTTP allows in the response's headers",
        ) from None


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
