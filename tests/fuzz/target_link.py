"""HTTP and WebSocket bytes -> link: clients, servers, and servers that become links."""

import re
from base64 import b64encode
from hashlib import sha1
from typing import Final

from fuzz.program import Program, blob, word
from fuzz.refusals import refusal
from sansrelay.errors import LocalCause
from sansrelay.http import (
    MAX_HEADERS_SIZE,
    Headers,
    HttpCause,
    HttpClientConnection,
    HttpFailure,
    HttpRequest,
    HttpResponse,
    UrlCause,
    UrlError,
    parse_http_url,
    parse_websocket_url,
)
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import (
    MAX_PING_PAYLOAD,
    MAX_REJECTION_BODY,
    WebSocketCause,
    WebSocketLink,
    WebSocketState,
)

__all__ = ["Played", "play", "seeds"]

_MAX_MESSAGE: Final = 200
_MAX_BODY: Final = 64
_KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_UPGRADE: Final = (
    b"GET /relay?role=harness HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + _KEY + b"\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PIECES: Final = (
    _UPGRADE,
    b"GET /a?b=%c3%28&b=;&=&%&b HTTP/1.1\r\n",
    b"POST http://a.example/x HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 401 \r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, Upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Sec-WebSocket-Key: " + _KEY + b"\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Version: 8\r\n",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n",
    b"Sec-WebSocket-Protocol: x\r\n",
    b"\r\n",
    b"hello",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n\r\n",
    b"X: \xff\x80 y\r\n",
    b" folded\r\n",
    b"\0\r\n",
    b"Content-Length: %d\r\n" % _MAX_BODY,
    b"Content-Length: %d\r\n" % (_MAX_BODY + 1),
    b"%x\r\n" % (_MAX_BODY + 1) + b"y" * (_MAX_BODY + 1) + b"\r\n",
    b"y" * _MAX_BODY,
    b"y" * (_MAX_BODY + 1),
)
_URLS: Final = (b"ws://", b"http://", b"a.example", b"[::1]", b":443", b"/p", b"?q=1", b"#f", b"u@")
_LARGE: Final = (100, 201, 5000, 17_000, 20_000)
_PAYLOADS: Final = (0, 1, 2, 125, 126, 127, 199, 200, 201, 65_536)
_CODES: Final = (1000, 1001, 1005, 1006, 1015, 999, 3000, 5000, 0)
_STATUSES: Final = (200, 404, 503, 204, 304, 299)
_MOST_FED: Final = 24_000
"""Bytes that one input may feed: more than any limit here, and not so many that time runs out."""
_MOST_FED_OPEN: Final = 8_000
"""The same on a WebSocket that is open, where limits are low and two bytes can be a frame."""
_ENOUGH: Final = 256
"""Bytes that an end may say for each step and byte that it gets: it answers, and no more."""


class Played:
    """One end of an HTTP connection or of a WebSocket, and the bytes it gets."""

    live_streams = 1
    held_segments = 0

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_fed = 0
        self.bytes_out = 0
        self.steps = 0
        self.at_eof = False
        self.client: HttpClientConnection | None = None
        self.server: HttpServerConnection | None = None
        self.link: WebSocketLink | None = None
        self.accept_token = b""
        self.requests = 0

    # -- what comes in

    def feed(self, data: bytes, size: int) -> None:
        """Bytes arrive, in pieces of one size."""
        if self.at_eof:
            return
        is_open = self.link is not None and self.link.state is not WebSocketState.CONNECTING
        most = _MOST_FED_OPEN if is_open else _MOST_FED
        data = data[: max(0, most - self.bytes_fed)]
        self.bytes_fed += len(data)
        self.bytes_in += len(data)
        for at in range(0, len(data), size):
            self._receive(data[at : at + size])
        self.settle()

    def _receive(self, data: bytes) -> None:
        self.steps += 1
        if self.link is not None:
            self.link.receive_bytes(data)
        elif self.server is not None:
            self.server.receive_bytes(data)
        elif self.client is not None:
            self.client.receive_bytes(data)

    def eof(self) -> None:
        """The peer sends no more."""
        self.at_eof = True
        for machine in (self.link, self.server if self.link is None else None, self.client):
            if machine is not None:
                machine.receive_eof()
        self.settle()

    # -- what must hold

    def settle(self) -> None:
        """Take everything that there is to take, and check it."""
        if self.client is not None:
            self._check_client(self.client)
        if self.server is not None:
            self._check_server(self.server)
        if self.link is not None:
            self._check_link(self.link)
        assert self.bytes_out <= _ENOUGH * (4 + self.steps + self.requests) + 2 * self.bytes_in

    def _check_client(self, client: HttpClientConnection) -> None:
        self.bytes_out += len(client.bytes_to_send())
        response, failure = client.response, client.failure
        assert response is None or failure is None
        if failure is not None:
            _check_failure(failure)
        elif response is not None:
            assert 101 <= response.status <= 999
            assert len(response.body) <= _MAX_BODY
            _look_at_response(response)
        elif self.at_eof:
            raise AssertionError("the end of the connection is no end of the exchange")

    def _check_server(self, server: HttpServerConnection) -> None:
        if self.link is None:
            self.bytes_out += len(server.bytes_to_send())
        if server.failure is not None:
            _check_failure(server.failure)
            assert server.should_close_transport

    def _check_link(self, link: WebSocketLink) -> None:
        for message in link.messages():
            assert type(message) is bytes
            assert len(message) <= _MAX_MESSAGE
        for payload in link.pongs():
            assert len(payload) <= MAX_PING_PAYLOAD
        self.bytes_out += len(link.bytes_to_send())
        assert not link.bytes_to_send()
        closed = link.state is WebSocketState.CLOSED
        assert link.should_close_transport is closed
        assert (link.close_code is not None) is closed
        assert closed or not self.at_eof
        assert len(link.close_reason.encode()) <= 123 or link.failure is not None
        failure = link.failure
        if failure is not None:
            assert closed
            assert isinstance(failure.cause, WebSocketCause)
            assert failure.message
            if failure.response is not None:
                assert len(failure.response.body) <= MAX_REJECTION_BODY
                _look_at_response(failure.response)

    # -- what the owner does

    def respond(self, program: Program) -> None:
        """Answer the next request, or take it for a link."""
        server = self.server
        if server is None or self.link is not None:
            return
        request = server.next_request()
        if request is not None:
            self.requests += 1
            _look_at_request(request)
        if program.flag():
            cause = refusal(lambda: self._accept(server))
            may = request is not None and request.wants_websocket
        else:
            status = program.pick(_STATUSES)
            response = HttpResponse(status=status, body=b"x" * (status % 100))
            cause = refusal(lambda: server.respond(response))
            may = request is not None
        if request is None:
            assert cause is LocalCause.NOT_OPEN
        elif may:
            assert cause is None
        else:
            assert cause is LocalCause.BAD_ARGUMENT
            server.respond(HttpResponse(status=403))
        self.settle()

    def _accept(self, server: HttpServerConnection) -> None:
        self.link = server.accept_websocket(max_message_size=_MAX_MESSAGE)

    def speak(self, program: Program) -> None:
        """Send a message or a ping, or begin to close."""
        link = self.link
        if link is None:
            return
        was = link.state
        what, number = program.byte() % 3, program.byte()
        if what == 2:
            reason = "\N{SNOWMAN}" * (number % 60)
            cause = refusal(lambda: link.close(_CODES[number % len(_CODES)], reason))
            assert cause in (None, LocalCause.BAD_ARGUMENT)
        else:
            say = link.ping if what else link.send_message
            cause = refusal(lambda: say(bytes(number)))
            if was is not WebSocketState.OPEN:
                assert cause is LocalCause.NOT_OPEN
            else:
                too_long = what == 1 and number > MAX_PING_PAYLOAD
                assert cause is (LocalCause.BAD_ARGUMENT if too_long else None)
                self.bytes_in += number
        assert cause is None or link.state is was
        self.steps += 1
        self.settle()


def _check_failure(failure: HttpFailure) -> None:
    assert isinstance(failure.cause, HttpCause)
    assert failure.message
    if failure.response is not None:
        assert len(failure.response.body) <= _MAX_BODY
        _look_at_response(failure.response)


def _look_at_response(response: HttpResponse) -> None:
    assert repr(response)
    assert isinstance(response.text, str)
    _look_at_headers(response.headers)


def _look_at_request(request: HttpRequest) -> None:
    assert len(request.body) <= _MAX_BODY
    assert request.path
    assert repr(request)
    assert isinstance(request.query, dict)
    _look_at_headers(request.headers)


def _look_at_headers(headers: Headers) -> None:
    size = 0
    for name, value in headers:
        size += len(name) + len(value)
        assert headers.get(name) is not None
        assert headers.has_token(name, "x") in (True, False)
    assert size <= 2 * MAX_HEADERS_SIZE


def _client_link(played: Played) -> bytes:
    """A client's link; the answer that opens it."""
    played.link = WebSocketLink.client("ws://a.example/p?q", max_message_size=_MAX_MESSAGE)
    sent = played.link.bytes_to_send()
    played.bytes_out += len(sent)
    key = re.search(rb"Sec-WebSocket-Key: *(\S+)", sent, re.IGNORECASE)
    assert key is not None
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + b64encode(sha1(key[1] + _GUID).digest()) + b"\r\n\r\n"
    )


def _exchange(method: str) -> HttpClientConnection:
    request = HttpRequest(
        method=method,
        target="/",
        headers=Headers([("Host", "a")]),
        body=b"x" if method == "POST" else b"",
    )
    return HttpClientConnection(request, max_body_size=_MAX_BODY)


def _frame(program: Program) -> bytes:
    """A WebSocket frame, valid or not."""
    first, second = program.byte(), program.byte()
    payload = program.blob() if program.flag() else bytes(program.pick(_PAYLOADS))
    return _encode(first, bool(second & 0x80), payload, second & 3)


def _encode(first: int, masked: bool, payload: bytes, style: int = 0) -> bytes:
    """`style` asks for a longer form of the length than is needed, or a wrong length."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if style == 3:
        size = 1 << 63 if size & 1 else size + 1
    if style == 2 or size > 0xFFFF:
        head = bytes([first, mask_bit | 127]) + size.to_bytes(8, "big")
    elif style == 1 or size > 125:
        head = bytes([first, mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, mask_bit | size])
    # A mask of zeros leaves the payload as it is.
    return head + (bytes(4) if masked else b"") + payload


def _url(program: Program) -> None:
    text = b"".join(program.pick((*_URLS, program.blob())) for _ in range(program.byte() % 8))
    for parse in (parse_websocket_url, parse_http_url):
        try:
            url = parse(text.decode("utf-8", "surrogateescape"))
        except UrlError as refused:
            cause = refused.cause
        else:
            assert url.host
            assert 1 <= url.port <= 65535
            assert url.host_header
            assert repr(url)
            continue
        assert isinstance(cause, UrlCause)


def play(data: bytes) -> Played:
    """One input."""
    program = Program(data)
    played = Played()
    opening = b""
    kind = program.byte() % 7
    if kind < 2:
        opening = _client_link(played)
        if kind == 0:
            played.feed(opening, len(opening))
            assert played.link is not None
            assert played.link.state is WebSocketState.OPEN
    elif kind < 4:
        played.server = HttpServerConnection(max_body_size=_MAX_BODY)
        if kind == 2:
            played.feed(_UPGRADE, len(_UPGRADE))
            played.respond(Program(b"\1"))
            assert played.link is not None
            assert played.link.state is WebSocketState.OPEN
    else:
        played.client = _exchange(("GET", "HEAD", "POST")[kind - 4])
    while program.goes_on():
        action = program.byte()
        size = (1, 2, 7, 1 << 20)[action >> 6]
        match action % 9:
            case 0:
                played.feed(program.blob(), size)
            case 1:
                played.feed(program.pick(_PIECES), size)
            case 2 | 3:
                played.feed(_frame(program), 1 << 20 if size == 1 else size * 100)
            case 4:
                played.respond(program)
            case 5:
                played.speak(program)
            case 6:
                large = program.pick(_LARGE)
                played.feed(bytes([program.byte()]) * large, 1 << 20 if size == 1 else 997)
            case 7 if program.flag():
                played.eof()
            case 7:
                played.feed(opening, size)
            case _:
                _url(program)
    return played


def seeds() -> list[bytes]:
    """Whole exchanges, and frames of every kind on open links."""
    heads = [
        [1, 12, 26],
        [2, 12, 13, 26, 27],
        [3, 12, 26],
        [2, 12, 16, 17, 26, 28, 30],
        [0],
        [4],
        [5, 12, 26],
        [1, 31, 32, 26],
        [2, 12, 14, 26],
        [1, 12, 20, 19, 22, 21, 26],
        [2, 12, 34, 26, 37],
        [2, 12, 35, 26, 38],
        [2, 12, 16, 26, 36, 30],
    ]
    answers = [
        [6, 13, 26, 27],
        [8, 6, 16, 26, 28, 28, 30],
        [7, 20, 19, 26],
        [9, 26, 27],
        [10, 26],
        [11, 26, 27],
        [6, 15, 26],
        [8, 8, 7, 24, 26],
        [6, 16, 29],
        [33],
        [6, 34, 26, 37],
        [6, 35, 26, 38],
        [6, 16, 26, 36, 30],
        [6, 26, 38],
    ]
    found = []
    for cut in (0, 0xC0):
        piece, respond, end = _action(1, cut), _action(4, cut), bytes([_action(7, cut), 1])
        for head in heads:
            pieces = b"".join(bytes([piece, number]) for number in head)
            found.append(b"\3" + pieces + bytes([respond, 0, 0]) + pieces)
            found.append(b"\3" + pieces + bytes([respond, 1]) + end)
        for answer in answers:
            pieces = b"".join(bytes([piece, number]) for number in answer)
            found += [bytes([kind]) + pieces + end for kind in (1, 4, 5, 6)]
        found += [b"\1" + bytes([_action(7, cut), 0]), b"\4" + bytes([_action(6, cut), 4, 65])]
        found.append(b"\4" + bytes([_action(8, cut), 5, 0, 0, 0, 2, 0, 0, 4, 0, 0, 5, 0, 0]))
        for kind in (0, 2):
            mask = kind == 2
            for first, payload in (
                (0x82, b"message"),
                (0x02, b"be"),
                (0x80, b"gin"),
                (0x81, b"text"),
                (0x89, b"ping"),
                (0x8A, b"pong"),
                (0x88, b"\x03\xe8bye"),
                (0x88, b"\x03"),
                (0xC2, b"rsv"),
                (0x83, b"?"),
                (0x09, b"cut ping"),
                (0x82, bytes(201)),
                (0x88, b"\x03\xe8\xff"),
            ):
                raw = _encode(first, mask, payload)
                step = bytes([_action(0, cut)]) + blob(raw)
                say = bytes([_action(5, cut), 1, 4, _action(5, cut), 2, 0])
                found.append(bytes([kind]) + step + say + step)
                built = bytes([_action(2, cut), first, 0x80 if mask else 0, 1])
                found.append(bytes([kind]) + built + word(len(payload)) + payload + end)
    return found


def _action(number: int, cut: int) -> int:
    """The byte that asks for an action, with input in pieces or (0xC0) whole."""
    byte = cut
    while byte % 9 != number:
        byte += 1
    return byte
