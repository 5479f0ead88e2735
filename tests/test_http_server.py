import random
from collections.abc import Callable
from functools import partial

import pytest

from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import (
    MAX_HEADERS_SIZE,
    Headers,
    HttpCause,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
)
from sansrelay.http_server import DEFAULT_MAX_REQUEST_BODY, HttpServerConnection
from sansrelay.websocket import WebSocketCause, WebSocketState

GET = b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
)
UPGRADE = (
    b"GET /dial HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
MASKED_HELLO = b"\x82\x85\x00\x00\x00\x00hello"


def connection_with(*pieces: bytes, max_body_size: int = 100) -> HttpServerConnection:
    connection = HttpServerConnection(max_body_size=max_body_size)
    for piece in pieces:
        connection.receive_bytes(piece)
    return connection


def take(connection: HttpServerConnection) -> HttpRequest:
    request = connection.next_request()
    assert request is not None
    return request


def status_of(connection: HttpServerConnection) -> int:
    """The status of the one response that is to be sent, which has to be whole."""
    client = HttpClientConnection(
        HttpRequest(method="GET", target="/", headers=Headers([("host", "h")]))
    )
    client.receive_bytes(connection.bytes_to_send())
    assert client.response is not None
    return client.response.status


def misuse(call: Callable[[], object]) -> LocalCause:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    return caught.value.cause


@pytest.mark.parametrize(
    ("wire", "method", "path", "body"),
    [(GET, "GET", "/a", b""), (POST, "POST", "/p", b"hello"), (CHUNKED, "POST", "/c", b"hello")],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_request_is_read_whatever_its_splits(
    wire: bytes, method: str, path: str, body: bytes, size: int
) -> None:
    connection = HttpServerConnection()
    for start in range(0, len(wire), size):
        assert connection.next_request() is None
        connection.receive_bytes(wire[start : start + size])
    request = take(connection)
    assert (request.method, request.path, request.body) == (method, path, body)
    assert request.headers.get("HOST") == "h"
    assert not request.wants_websocket
    assert connection.bytes_to_send() == b""


def test_a_response_is_framed_and_the_connection_goes_on() -> None:
    connection = connection_with(GET)
    take(connection)
    connection.respond(
        HttpResponse(status=404, headers=Headers([("X-Why", "none")]), body=b"no such thing")
    )
    assert connection.bytes_to_send() == (
        b"HTTP/1.1 404 Not Found\r\nx-why: none\r\ncontent-length: 13\r\n\r\nno such thing"
    )
    assert not connection.should_close_transport
    connection.receive_bytes(POST)
    assert take(connection).path == "/p"


@pytest.mark.parametrize("seed", range(5))
def test_pipelined_requests_are_given_out_in_turn(seed: int) -> None:
    source = random.Random(seed)
    wire, connection = GET + POST + CHUNKED + GET, HttpServerConnection()
    paths: list[str] = []
    while wire:
        size = source.choice([1, 10, 60, 1000])
        connection.receive_bytes(wire[:size])
        wire = wire[size:]
        while (request := connection.next_request()) is not None:
            assert connection.next_request() is None
            paths.append(request.path)
            connection.respond(HttpResponse(status=200, body=request.path.encode()))
    assert paths == ["/a", "/p", "/c", "/a"]
    sent = connection.bytes_to_send()
    assert sent.count(b"HTTP/1.1 200 OK") == 4
    assert [part[:2] for part in sent.split(b"\r\n\r\n")[1:]] == [b"/a", b"/p", b"/c", b"/a"]
    assert connection.failure is None


@pytest.mark.parametrize(
    ("wire", "close"),
    [
        (GET, False),
        (GET.replace(b"X-Y: z", b"Connection: close"), True),
        (b"GET / HTTP/1.0\r\n\r\n", True),
    ],
)
def test_the_transport_is_closed_when_the_client_wants_it(wire: bytes, close: bool) -> None:
    connection = connection_with(wire)
    take(connection)
    assert not connection.should_close_transport
    connection.respond(HttpResponse(status=200))
    assert connection.should_close_transport is close
    assert (b"connection: close" in connection.bytes_to_send().lower()) is close
    connection.receive_bytes(GET)
    assert (connection.next_request() is None) is close


def test_the_server_may_close_too() -> None:
    connection = connection_with(GET)
    take(connection)
    connection.respond(HttpResponse(status=200, headers=Headers([("Connection", "close")])))
    assert connection.should_close_transport


@pytest.mark.parametrize(
    ("wire", "status", "length"),
    [
        (GET.replace(b"GET", b"HEAD"), 200, b"content-length: 4"),
        (GET, 204, None),
        (GET, 304, None),
    ],
)
def test_a_response_without_a_body(wire: bytes, status: int, length: bytes | None) -> None:
    connection = connection_with(wire + GET)
    take(connection)
    connection.respond(HttpResponse(status=status, body=b"body"))
    sent = connection.bytes_to_send()
    assert sent.endswith(b"\r\n\r\n")
    assert (b"content-length" in sent) is (length is not None)
    assert (length or b"") in sent
    assert take(connection).path == "/a"


def test_a_waiting_client_is_told_to_go_on() -> None:
    head, body = POST.replace(b"Host", b"Expect: 100-continue\r\nHost"), b"hello"
    connection = connection_with(head.removesuffix(body))
    assert connection.bytes_to_send() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.receive_bytes(body)
    assert take(connection).body == body
    assert connection.bytes_to_send() == b""


@pytest.mark.parametrize(
    ("wire", "status", "cause"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400, HttpCause.MALFORMED),
        (b"rubbish\r\n\r\n", 400, HttpCause.MALFORMED),
        (b"GET / HTTP/1.1\r\n\r\n", 400, HttpCause.MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400, HttpCause.MALFORMED),
        (b"GET / HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n", 400, HttpCause.MALFORMED),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400, HttpCause.MALFORMED),
        (CHUNKED.replace(b"2\r\n", b"x\r\n", 1), 400, HttpCause.MALFORMED),
        (CHUNKED.replace(b"chunked", b"gzip"), 501, HttpCause.MALFORMED),
        (POST.replace(b" 5", b" 101"), 413, HttpCause.BODY_TOO_LARGE),
        (POST.replace(b" 5", b" " + b"9" * 20), 413, HttpCause.BODY_TOO_LARGE),
        (POST.replace(b" 5", b" 101\r\nExpect: 100-continue"), 413, HttpCause.BODY_TOO_LARGE),
        (CHUNKED.replace(b"2\r\nhe", b"65\r\n" + b"x" * 101), 413, HttpCause.BODY_TOO_LARGE),
        (GET.replace(b"z", b"z" * MAX_HEADERS_SIZE), 431, HttpCause.HEADERS_TOO_LARGE),
        (b"GET /" + b"a" * MAX_HEADERS_SIZE, 431, HttpCause.HEADERS_TOO_LARGE),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405, HttpCause.METHOD),
        (UPGRADE.replace(b"Version: 13", b"Version: 8"), 426, HttpCause.BAD_UPGRADE),
        (UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 426, HttpCause.BAD_UPGRADE),
        (UPGRADE.replace(b"ZQ==", b"ZQ="), 400, HttpCause.BAD_UPGRADE),
        (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key"), 400, HttpCause.BAD_UPGRADE),
    ],
)
@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("before", [b"", GET.replace(b"GET", b"HEAD")])
def test_a_request_that_is_not_served(
    wire: bytes, status: int, cause: HttpCause, size: int, before: bytes
) -> None:
    connection = connection_with(before)
    if before:
        take(connection)
        connection.respond(HttpResponse(status=200, body=b"x"))
        connection.bytes_to_send()
    for start in range(0, len(wire), size):
        connection.receive_bytes(wire[start : start + size])
    assert connection.next_request() is None
    assert connection.should_close_transport
    assert connection.failure is not None
    assert connection.failure.cause is cause
    assert status_of(connection) == status
    connection.receive_bytes(GET)
    connection.receive_eof()
    assert connection.next_request() is None
    assert connection.bytes_to_send() == b""


def test_a_refused_version_names_the_right_one() -> None:
    connection = connection_with(UPGRADE.replace(b"Version: 13", b"Version: 8"))
    assert b"sec-websocket-version: 13\r\n" in connection.bytes_to_send()


def test_a_refused_head_request_gets_no_body() -> None:
    connection = connection_with(POST.replace(b"POST", b"HEAD").replace(b" 5", b" 101"))
    sent = connection.bytes_to_send()
    assert sent.startswith(b"HTTP/1.1 413")
    assert sent.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_body_at_the_limit_is_taken(size: int) -> None:
    body = b"x" * 100
    for wire in (
        POST.replace(b" 5", b" 100").removesuffix(b"hello") + body,
        CHUNKED.replace(b"2\r\nhe\r\n3\r\nllo", b"64\r\n" + body),
    ):
        connection = connection_with()
        for start in range(0, len(wire), size):
            connection.receive_bytes(wire[start : start + size])
        assert take(connection).body == body


def test_eof_between_requests_is_clean() -> None:
    connection = connection_with(GET)
    take(connection)
    connection.respond(HttpResponse(status=200))
    connection.receive_eof()
    assert connection.should_close_transport
    assert connection.failure is None


@pytest.mark.parametrize("wire", [POST, UPGRADE])
def test_eof_at_every_byte_of_a_request(wire: bytes) -> None:
    for cut in range(len(wire) + 1):
        connection = connection_with(wire[:cut])
        connection.receive_eof()
        connection.receive_bytes(GET)
        if cut == len(wire):
            take(connection)
            continue
        assert connection.next_request() is None
        assert connection.should_close_transport
        assert connection.bytes_to_send() == b""
        assert (connection.failure is None) is (cut == 0)
        if connection.failure is not None:
            assert connection.failure.cause is HttpCause.UNCLEAN_EOF


def test_requests_before_eof_are_still_answered() -> None:
    connection = connection_with(GET + POST)
    connection.receive_eof()
    for _ in range(2):
        take(connection)
        assert not connection.should_close_transport
        connection.respond(HttpResponse(status=200))
    assert connection.bytes_to_send().count(b"200 OK") == 2
    assert connection.should_close_transport
    assert connection.failure is None


@pytest.mark.parametrize("taken", [True, False])
def test_a_peer_that_sends_without_end_behind_a_request_is_cut_off(taken: bool) -> None:
    connection = connection_with(GET)
    if taken:
        take(connection)
    connection.receive_bytes(b"x" * (100 + MAX_HEADERS_SIZE))
    assert not connection.should_close_transport
    connection.receive_bytes(b"x")
    assert connection.should_close_transport
    assert connection.failure is not None
    assert connection.failure.cause is HttpCause.PIPELINE_OVERFLOW
    if taken:
        connection.respond(HttpResponse(status=200))
    assert connection.next_request() is None
    assert connection.bytes_to_send() == b""


def test_a_websocket_asked_for_by_a_peer_that_was_cut_off_is_closed() -> None:
    connection = connection_with(UPGRADE)
    take(connection)
    connection.receive_bytes(b"x" * (101 + MAX_HEADERS_SIZE))
    link = connection.accept_websocket()
    assert link.state is WebSocketState.CLOSED
    assert link.bytes_to_send() == b""


def test_garbage_never_raises() -> None:
    source = random.Random(11)
    seen = set()
    for _ in range(400):
        wire = bytearray(source.choice([GET, POST, CHUNKED, UPGRADE]) + GET)
        for _ in range(source.randint(1, 4)):
            wire[source.randrange(len(wire))] = source.randrange(256)
        connection = connection_with(bytes(wire))
        while (request := connection.next_request()) is not None:
            assert request.path is not None
            assert request.query is not None
            connection.respond(HttpResponse(status=200))
        connection.receive_eof()
        assert connection.should_close_transport
        seen.add(connection.failure and connection.failure.cause)
    assert {None, HttpCause.MALFORMED, HttpCause.UNCLEAN_EOF, HttpCause.BAD_UPGRADE} <= seen


# WebSocket


def test_an_upgrade_is_accepted() -> None:
    connection = connection_with(UPGRADE)
    request = take(connection)
    assert (request.wants_websocket, request.path) == (True, "/dial")
    link = connection.accept_websocket()
    assert connection.bytes_to_send() == b""
    # The key and its answer are the example of RFC 6455 section 1.3.
    assert link.bytes_to_send() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )
    assert link.state is WebSocketState.OPEN
    assert not connection.should_close_transport


@pytest.mark.parametrize("size", [1, 17, 1000])
def test_frames_behind_an_upgrade_are_not_lost(size: int) -> None:
    wire = UPGRADE + MASKED_HELLO + MASKED_HELLO
    connection = HttpServerConnection()
    for start in range(0, len(wire) - 1, size):
        connection.receive_bytes(wire[start : min(start + size, len(wire) - 1)])
    take(connection)
    link = connection.accept_websocket()
    assert link.messages() == [b"hello"]
    link.receive_bytes(wire[-1:])
    assert link.messages() == [b"hello"]


def test_eof_behind_an_upgrade_reaches_the_link() -> None:
    connection = connection_with(UPGRADE + MASKED_HELLO)
    connection.receive_eof()
    take(connection)
    link = connection.accept_websocket()
    assert link.messages() == [b"hello"]
    assert link.state is WebSocketState.CLOSED
    assert link.failure is not None
    assert link.failure.cause is WebSocketCause.UNCLEAN_EOF


def test_plain_requests_before_an_upgrade_are_answered_first() -> None:
    connection = connection_with(GET + UPGRADE)
    take(connection)
    connection.respond(HttpResponse(status=200))
    assert take(connection).wants_websocket
    sent = connection.accept_websocket().bytes_to_send()
    assert sent.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 101 Switching" in sent


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_websocket_may_be_refused_and_the_connection_goes_on(status: int) -> None:
    connection = connection_with(UPGRADE + GET)
    take(connection)
    connection.respond(HttpResponse(status=status, body=b"no"))
    assert status_of(connection) == status
    assert take(connection).path == "/a"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade: WebSocket", b"Upgrade: h2c"),
        (b"keep-alive, upgrade", b"keep-alive"),
    ],
)
def test_what_is_no_websocket_request_is_a_plain_one(old: bytes, new: bytes) -> None:
    connection = connection_with(UPGRADE.replace(old, new))
    assert not take(connection).wants_websocket
    assert misuse(connection.accept_websocket) is LocalCause.BAD_ARGUMENT
    connection.respond(HttpResponse(status=400))
    assert status_of(connection) == 400


# Misuse


def test_only_a_request_that_was_taken_can_be_answered() -> None:
    connection = connection_with()
    for _ in range(2):
        assert misuse(partial(connection.respond, HttpResponse(status=200))) is LocalCause.NOT_OPEN
        assert misuse(connection.accept_websocket) is LocalCause.NOT_OPEN
        connection.receive_bytes(UPGRADE)
    take(connection)
    connection.respond(HttpResponse(status=200))
    assert misuse(partial(connection.respond, HttpResponse(status=200))) is LocalCause.NOT_OPEN


def test_after_an_upgrade_the_link_takes_over() -> None:
    connection = connection_with(UPGRADE)
    take(connection)
    connection.accept_websocket()
    assert misuse(partial(connection.receive_bytes, b"x")) is LocalCause.NOT_OPEN
    assert misuse(connection.receive_eof) is LocalCause.NOT_OPEN
    assert connection.next_request() is None


@pytest.mark.parametrize(
    "response",
    [
        HttpResponse(status=101),
        HttpResponse(status=199),
        HttpResponse(status=600),
        HttpResponse(status=200, headers=Headers([("Content-Length", "3")])),
        HttpResponse(status=200, headers=Headers([("transfer-encoding", "chunked")])),
        HttpResponse(status=200, headers=Headers([("x", "a\r\nb: c")])),
        HttpResponse(status=200, headers=Headers([("x", "\u20ac")])),
        HttpResponse(status=200, headers=Headers([("x y", "z")])),
    ],
)
def test_a_response_that_is_not_http_changes_nothing(response: HttpResponse) -> None:
    connection = connection_with(GET)
    take(connection)
    assert misuse(partial(connection.respond, response)) is LocalCause.BAD_ARGUMENT
    assert connection.bytes_to_send() == b""
    connection.respond(HttpResponse(status=599))
    assert status_of(connection) == 599


def test_a_limit_below_one_byte_changes_nothing() -> None:
    connection = connection_with(UPGRADE)
    take(connection)
    assert misuse(partial(connection.accept_websocket, max_message_size=0)) is (
        LocalCause.BAD_ARGUMENT
    )
    assert connection.accept_websocket().state is WebSocketState.OPEN


def test_the_default_limit_is_what_it_says() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    connections = [HttpServerConnection(), HttpServerConnection()]
    for extra, connection in enumerate(connections):
        connection.receive_bytes(head % (DEFAULT_MAX_REQUEST_BODY + extra))
    assert [connection.should_close_transport for connection in connections] == [False, True]
