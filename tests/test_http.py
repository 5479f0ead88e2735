import random

import pytest

from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import (
    MAX_HEADERS_SIZE,
    MAX_URL_LENGTH,
    Headers,
    HttpCause,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
    UrlCause,
    UrlError,
    parse_http_url,
    parse_websocket_url,
)

REQUEST = HttpRequest(
    method="POST", target="/a?b=c", headers=Headers([("Host", "h")]), body=b"hello"
)


def exchange_with(*pieces: bytes, max_body_size: int = 100) -> HttpClientConnection:
    exchange = HttpClientConnection(REQUEST, max_body_size=max_body_size)
    for piece in pieces:
        exchange.receive_bytes(piece)
    return exchange


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "target", "host_header"),
    [
        ("ws://relay.example", False, "relay.example", 80, "/", "relay.example"),
        ("wss://relay.example", True, "relay.example", 443, "/", "relay.example"),
        ("WS://Relay.Example:80/", False, "relay.example", 80, "/", "relay.example"),
        ("ws://h:443/p", False, "h", 443, "/p", "h:443"),
        ("wss://h:80/p", True, "h", 80, "/p", "h:80"),
        ("ws://127.0.0.1:8765/a/b?role=x&t=1%20", False, "127.0.0.1", 8765, None, "127.0.0.1:8765"),
        ("wss://[2001:DB8::1]/p", True, "2001:db8::1", 443, "/p", "[2001:db8::1]"),
        ("ws://[::1]:9000", False, "::1", 9000, "/", "[::1]:9000"),
        ("ws://h?x=1", False, "h", 80, "/?x=1", "h"),
        ("ws://h/p?", False, "h", 80, "/p?", "h"),
        ("ws://h:/p", False, "h", 80, "/p", "h"),
        ("ws://some_host~1/p@q", False, "some_host~1", 80, "/p@q", "some_host~1"),
    ],
)
def test_websocket_urls_are_taken_apart(
    url: str, secure: bool, host: str, port: int, target: str | None, host_header: str
) -> None:
    parsed = parse_websocket_url(url)
    assert (parsed.secure, parsed.host, parsed.port) == (secure, host, port)
    assert parsed.target == (target or "/a/b?role=x&t=1%20")
    assert parsed.host_header == host_header


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("", UrlCause.BAD_SCHEME),
        ("relay.example:80", UrlCause.BAD_SCHEME),
        ("http://h/", UrlCause.BAD_SCHEME),
        ("ws:/h/", UrlCause.BAD_SCHEME),
        ("ws://", UrlCause.NO_HOST),
        ("ws:///path", UrlCause.NO_HOST),
        ("ws://:80/", UrlCause.NO_HOST),
        ("ws://h:0/", UrlCause.BAD_PORT),
        ("ws://h:65536/", UrlCause.BAD_PORT),
        ("ws://h:+80/", UrlCause.BAD_PORT),
        ("ws://h:8:0/", UrlCause.BAD_PORT),
        ("ws://h:http/", UrlCause.BAD_PORT),
        ("ws://h/#top", UrlCause.FRAGMENT),
        ("ws://h#", UrlCause.FRAGMENT),
        ("ws://user:secret@h/", UrlCause.CREDENTIALS),
        ("ws://@h/", UrlCause.CREDENTIALS),
        ("ws://h /", UrlCause.BAD_CHARACTER),
        ("ws://h/a\r\nX: y", UrlCause.BAD_CHARACTER),
        ("ws://h\u00e9/", UrlCause.BAD_CHARACTER),
        ("ws://h/\x00", UrlCause.BAD_CHARACTER),
        ("ws://[::1/", UrlCause.BAD_HOST),
        ("ws://[nonsense]/", UrlCause.BAD_HOST),
        ("ws://[]/", UrlCause.BAD_HOST),
        ("ws://[fe80::1%eth0]/", UrlCause.BAD_HOST),
        ("ws://::1/", UrlCause.NO_HOST),
        ("ws://a[::1]/", UrlCause.BAD_HOST),
        ("ws://h\\evil/", UrlCause.BAD_HOST),
        ("ws://a,b/", UrlCause.BAD_HOST),
        ("ws://" + "h" * 254, UrlCause.BAD_HOST),
        ("ws://h/" + "p" * MAX_URL_LENGTH, UrlCause.TOO_LONG),
    ],
)
def test_bad_websocket_urls_are_refused(url: str, cause: UrlCause) -> None:
    with pytest.raises(UrlError) as caught:
        parse_websocket_url(url)
    assert caught.value.cause is cause
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "secure", "port", "target"),
    [
        ("http://h", False, 80, ""),
        ("https://h/", True, 443, ""),
        ("http://h:8080/some/prefix", False, 8080, "/some/prefix"),
        ("https://h/some/prefix//", True, 443, "/some/prefix"),
    ],
)
def test_base_urls_are_taken_apart(url: str, secure: bool, port: int, target: str) -> None:
    parsed = parse_http_url(url)
    assert (parsed.secure, parsed.host, parsed.port, parsed.target) == (secure, "h", port, target)


@pytest.mark.parametrize(
    ("url", "cause"),
    [("ws://h/", UrlCause.BAD_SCHEME), ("http://h/?a=b", UrlCause.QUERY)],
)
def test_bad_base_urls_are_refused(url: str, cause: UrlCause) -> None:
    with pytest.raises(UrlError) as caught:
        parse_http_url(url)
    assert caught.value.cause is cause


@pytest.mark.parametrize(
    "value",
    [
        parse_websocket_url("ws://h/p?ticket=secret"),
        HttpRequest(
            method="POST",
            target="/p?ticket=secret",
            headers=Headers([("Authorization", "Bearer secret"), ("Cookie", "secret")]),
            body=b"secret",
        ),
        HttpResponse(status=200, headers=Headers([("Set-Cookie", "secret")]), body=b"secret"),
    ],
)
def test_repr_shows_no_secret(value: object) -> None:
    assert "secret" not in repr(value)
    assert "redacted" in repr(value)


def test_repr_shows_what_is_no_secret() -> None:
    request = HttpRequest(
        method="GET", target="/p", headers=Headers([("Host", "h.example")]), body=b"123"
    )
    for part in ("GET", "'/p'", "h.example", "3 bytes"):
        assert part in repr(request)


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([("X-One", "1"), ("x-ONE", "2"), ("Connection", "keep-alive, UPGRADE")])
    assert headers.get("X-ONE") == "1"
    assert headers.get_all("x-one") == ["1", "2"]
    assert headers.get("absent") is None
    assert headers.has_token("connection", "Upgrade")
    assert not headers.has_token("connection", "keep")
    assert headers == Headers([("x-one", "1"), ("X-One", "2"), headers[2]])


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", {}),
        ("/a%20b/c?x=1&y=%32+z&x=3&flag", "/a%20b/c", {"x": "1", "y": "2 z", "flag": ""}),
        ("http://other:80/p?x=1", "/p", {"x": "1"}),
        ("http://other?x=1", "/", {"x": "1"}),
        ("//other/p", "//other/p", {}),
        ("*", "*", {}),
        ("/?%ff=%ff", "/", {"\ufffd": "\ufffd"}),
        ("/?a=http://b?c=d", "/", {"a": "http://b?c=d"}),
    ],
)
def test_a_target_is_path_and_query(target: str, path: str, query: dict[str, str]) -> None:
    request = HttpRequest(method="GET", target=target)
    assert (request.path, request.query) == (path, query)


def test_a_request_goes_out_once_and_framed() -> None:
    exchange = HttpClientConnection(REQUEST)
    head, _, body = exchange.bytes_to_send().partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[:2] == [b"POST /a?b=c HTTP/1.1", b"host: h"]
    assert sorted(head.split(b"\r\n")[2:]) == [b"connection: close", b"content-length: 5"]
    assert body == b"hello"
    assert exchange.bytes_to_send() == b""


@pytest.mark.parametrize(("method", "framed"), [("GET", False), ("POST", True)])
def test_an_empty_body_has_a_length_only_where_one_is_expected(method: str, framed: bool) -> None:
    request = HttpRequest(method=method, target="/", headers=REQUEST.headers)
    sent = HttpClientConnection(request).bytes_to_send()
    assert (b"content-length: 0" in sent) is framed


@pytest.mark.parametrize(
    "request_",
    [
        HttpRequest(method="GET", target="/"),
        HttpRequest(method="GET", target="/ x", headers=REQUEST.headers),
        HttpRequest(method="G ET", target="/", headers=REQUEST.headers),
        HttpRequest(method="GET", target="/\u20ac", headers=REQUEST.headers),
        HttpRequest(method="GET", target="/", headers=Headers([("host", "a"), ("host", "b")])),
        *(
            HttpRequest(method="GET", target="/", headers=Headers([("host", "a"), field]))
            for field in [
                ("x", "secret\r\ny: z"),
                ("x y", "secret"),
                ("x", "secret\u20ac"),
                ("Content-Length", "3"),
                ("Transfer-Encoding", "chunked"),
            ]
        ),
    ],
)
def test_a_request_that_is_not_http_is_refused(request_: HttpRequest) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        HttpClientConnection(request_)
    assert caught.value.cause is LocalCause.BAD_ARGUMENT
    assert "secret" not in str(caught.value)


RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Y: z\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("name", RESPONSES)
@pytest.mark.parametrize("seed", range(4))
def test_a_response_is_read_whatever_its_splits(name: str, seed: int) -> None:
    wire, splits = RESPONSES[name], random.Random(seed)
    exchange = exchange_with(b"")
    position = 0
    while position < len(wire):
        assert exchange.response is None
        size = 1 if seed == 0 else splits.randint(1, 20)
        exchange.receive_bytes(wire[position : position + size])
        position += size
    assert exchange.response is not None
    assert (exchange.response.status, exchange.response.text) == (200, "hello")
    exchange.receive_bytes(b"rubbish behind it")
    exchange.receive_eof()
    assert exchange.failure is None


def test_eof_ends_a_body_without_a_length() -> None:
    exchange = exchange_with(b"HTTP/1.1 502 Bad\r\n\r\nsome", b" text\xff")
    assert exchange.response is None
    exchange.receive_eof()
    assert exchange.response is not None
    assert (exchange.response.status, exchange.response.text) == (502, "some text\ufffd")


@pytest.mark.parametrize("cut", range(len(RESPONSES["length"])))
def test_eof_inside_a_response_is_a_failure(cut: int) -> None:
    exchange = exchange_with(RESPONSES["length"][:cut])
    exchange.receive_eof()
    assert exchange.response is None
    exchange.receive_bytes(RESPONSES["length"])
    assert exchange.response is None
    assert exchange.failure is not None
    assert exchange.failure.cause is HttpCause.UNCLEAN_EOF
    head_size = RESPONSES["length"].index(b"hello")
    if cut < head_size:
        assert exchange.failure.response is None
    else:
        assert exchange.failure.response is not None
        assert exchange.failure.response.status == 200
        assert exchange.failure.response.body == b"hello"[: cut - head_size]


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (b"\x16\x03\x01\x02\x00", HttpCause.MALFORMED),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", HttpCause.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", HttpCause.MALFORMED),
        (b"HTTP/1.1 099 Low\r\n\r\n", HttpCause.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", HttpCause.MALFORMED),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", HttpCause.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEADERS_SIZE, HttpCause.HEADERS_TOO_LARGE),
    ],
)
def test_a_response_that_is_not_http_is_a_failure(wire: bytes, cause: HttpCause) -> None:
    exchange = exchange_with(wire)
    assert exchange.response is None
    assert exchange.failure is not None
    assert exchange.failure.cause is cause


@pytest.mark.parametrize("framing", [b"Content-Length: 12", b"X: y"])
def test_a_body_over_the_limit_is_cut(framing: bytes) -> None:
    exchange = exchange_with(
        b"HTTP/1.1 403 No\r\n" + framing + b"\r\n\r\n", b"01234567890", max_body_size=10
    )
    assert exchange.response is None
    assert exchange.failure is not None
    assert exchange.failure.cause is HttpCause.BODY_TOO_LARGE
    assert exchange.failure.response is not None
    assert (exchange.failure.response.status, exchange.failure.response.body) == (
        403,
        b"0123456789",
    )


def test_a_body_at_the_limit_is_taken() -> None:
    exchange = exchange_with(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", max_body_size=10
    )
    assert exchange.response is not None


def test_garbage_never_raises() -> None:
    source = random.Random(7)
    ended = set()
    for _ in range(300):
        wire = bytearray(RESPONSES[source.choice(list(RESPONSES))])
        for _ in range(source.randint(1, 4)):
            wire[source.randrange(len(wire))] = source.randrange(256)
        exchange = exchange_with(bytes(wire))
        exchange.receive_eof()
        assert (exchange.response is None) is not (exchange.failure is None)
        ended.add(exchange.failure and exchange.failure.cause)
    assert {None, HttpCause.MALFORMED, HttpCause.UNCLEAN_EOF} <= ended
