"""Where a rendezvous listens, and the URLs it hands out."""

import pytest

from sansrelay import Role
from sansrelay.http import Headers, HttpRequest, parse_http_url, parse_websocket_url
from sansrelay.network import is_loopback
from sansrelay_apps.rendezvous.addresses import (
    ListenAddress,
    PublicBase,
    parse_listen_address,
    relay_url,
)


@pytest.mark.parametrize(
    ("text", "host", "port", "url"),
    [
        ("127.0.0.1:8700", "127.0.0.1", 8700, "http://127.0.0.1:8700"),
        ("0.0.0.0:0", "0.0.0.0", 0, "http://0.0.0.0:0"),
        ("[::1]:65535", "::1", 65535, "http://[::1]:65535"),
        ("localhost:80", "localhost", 80, "http://localhost:80"),
        ("relay.example-1.org:443", "relay.example-1.org", 443, "http://relay.example-1.org:443"),
    ],
)
def test_a_listen_address(text: str, host: str, port: int, url: str) -> None:
    address = parse_listen_address(text)
    assert address == ListenAddress(host, port)
    assert address.url(secure=False) == url
    assert address.url(secure=True) == url.replace("http:", "https:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8700",
        ":8700",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:x",
        "127.0.0.1:\u0661",
        "127.0.0.1:8700/",
        "http://127.0.0.1:8700",
        "::1:8700",
        "[::1]",
        "[::1:8700",
        "[1.2.3.4]:8700",
        "[:::]:8700",
        "a b:1",
        "127.0.0.1:8700\n",
    ],
)
def test_what_is_no_listen_address_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"^write "):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("localhost.example.org", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_what_only_this_machine_can_reach(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def request(path: str = "/", **headers: str) -> HttpRequest:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return HttpRequest(method="POST", target=path, headers=Headers(fields))


def base_url(base: PublicBase, **headers: str) -> str:
    return relay_url(base.of(request(**headers)), "box1", Role.HARNESS, "T")


PLAIN = PublicBase(None, listening=parse_http_url("http://10.0.0.1:8700"), trust_proxy=False)
TLS = PublicBase(None, listening=parse_http_url("https://10.0.0.1:8700"), trust_proxy=False)
PROXY = PublicBase(None, listening=parse_http_url("http://10.0.0.1:8700"), trust_proxy=True)


@pytest.mark.parametrize(
    ("base", "headers", "start"),
    [
        (PLAIN, {"host": "relay.test:8700"}, "ws://relay.test:8700"),
        (PLAIN, {"host": "[::1]:8700"}, "ws://[::1]:8700"),
        (PLAIN, {"host": "Relay.Test"}, "ws://relay.test"),
        (TLS, {"host": "relay.test"}, "wss://relay.test"),
        (TLS, {"host": "relay.test:80"}, "wss://relay.test:80"),
        # Whoever can write headers without a proxy in between can't change the scheme.
        (PLAIN, {"host": "relay.test", "x_forwarded_proto": "https"}, "ws://relay.test"),
        (PROXY, {"host": "relay.test", "x_forwarded_proto": "https"}, "wss://relay.test"),
        (PROXY, {"host": "relay.test", "x_forwarded_proto": "HTTPS"}, "wss://relay.test"),
        (PROXY, {"host": "relay.test", "x_forwarded_proto": "http"}, "ws://relay.test"),
        (PROXY, {"host": "relay.test"}, "ws://relay.test"),
    ],
)
def test_urls_start_as_the_request_says(
    base: PublicBase, headers: dict[str, str], start: str
) -> None:
    assert base_url(base, **headers) == f"{start}/relay/box1?role=harness&ticket=T"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "relay.test/evil",
        "relay.test?x",
        "relay.test#x",
        "user@relay.test",
        "user:secret@relay.test",
        "relay.test:0",
        "relay.test:65536",
        "relay.test:80:90",
        "[::1",
        "a,b",
        "a\tb",
        "é",
        'x"><script>',
    ],
)
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    assert base_url(PLAIN, host=host).startswith("ws://10.0.0.1:8700/relay/")


def test_without_a_host_the_listening_address_serves() -> None:
    assert base_url(TLS).startswith("wss://10.0.0.1:8700/relay/")


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("https://relay.example", "wss://relay.example/relay/box1?"),
        ("http://relay.example:81/", "ws://relay.example:81/relay/box1?"),
        ("https://relay.example/some/prefix/", "wss://relay.example/some/prefix/relay/box1?"),
    ],
)
def test_a_public_url_goes_before_the_host_header(url: str, start: str) -> None:
    base = PublicBase(
        parse_http_url(url), listening=parse_http_url("http://127.0.0.1:1"), trust_proxy=True
    )
    assert base_url(base, host="evil.test", x_forwarded_proto="http").startswith(start)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/pre/healthz", "/healthz"),
        ("/healthz", "/healthz"),
        ("/prefix/healthz", "/prefix/healthz"),
        ("/pre", "/pre"),
        ("/pre/pre/healthz", "/pre/healthz"),
    ],
)
def test_a_proxy_may_leave_or_drop_the_prefix(path: str, seen: str) -> None:
    base = PublicBase(
        parse_http_url("https://relay.example/pre"),
        listening=parse_http_url("http://127.0.0.1:1"),
        trust_proxy=True,
    )
    assert base.path_of(request(path)) == seen


def test_the_role_stands_in_the_query_word_by_word() -> None:
    url = relay_url(parse_http_url("http://h"), "box1", Role.EXECUTOR, "v1.1.a.b-_")
    assert parse_websocket_url(url).target == "/relay/box1?role=executor&ticket=v1.1.a.b-_"
