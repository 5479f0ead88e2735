"""The exec-server's `http/request`, against a server on this machine."""

import base64
import gzip
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import trustme

import trio
from apps_kit import closed_port
from execserver_client import Client, open_session
from sansrelay.config import RelayConfig
from sansrelay.jsonrpc import ResponseReceived, RpcError
from sansrelay_apps.execserver import ExecServerConfig, http_client

pytestmark = pytest.mark.trio

INVALID_REQUEST, INVALID_PARAMS, INTERNAL = -32600, -32602, -32603
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Request:
    """What came to the server."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes


Page: TypeAlias = bytes | Callable[[trio.abc.Stream, Request], Awaitable[None]]


@dataclass
class Site:
    """A server that answers each path with bytes, or by a function."""

    pages: dict[str, Page]
    port: int = 0
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, stream: trio.abc.Stream) -> None:
        data = b""
        with suppress(trio.BrokenResourceError):  # the handshake of TLS has failed
            while b"\r\n\r\n" not in data and (more := await stream.receive_some()):
                data += more
        if b"\r\n\r\n" not in data:
            return
        head, _, body = data.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in map(_split, fields)]
        while len(body) < int(dict(headers).get("content-length", 0)):
            body += await stream.receive_some()
        request = Request(line, headers, body)
        self.requests.append(request)
        page = self.pages[line.split()[1]]
        if isinstance(page, bytes):
            await stream.send_all(page)
        else:
            await page(stream, request)
        await stream.aclose()


def _split(text: str) -> tuple[str, str, str]:
    return text.partition(":")


@asynccontextmanager
async def site(pages: dict[str, Page], tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    here = Site(pages, scheme="https" if tls else "http")
    async with trio.open_nursery() as nursery:
        if tls is None:
            listeners = await nursery.start(trio.serve_tcp, here.serve, 0)
        else:
            listeners = await nursery.start(trio.serve_ssl_over_tcp, here.serve, 0, tls)
        here.port = getattr(listeners[0], "transport_listener", listeners[0]).socket.getsockname()[
            1
        ]
        yield here
        nursery.cancel_scope.cancel()


def page(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def redirect(location: str, status: int = 302) -> bytes:
    return page(b"", f"Location: {location}", "Set-Cookie: a=1", status=f"{status} Elsewhere")


async def post(client: Client, url: str, **params: Any) -> int:
    params = {"requestId": "r", "method": "GET", "url": url, "headers": []} | params
    request_id, data = client.rpc.call("http/request", params)
    await client.channel.send(data)
    return request_id


async def attempt(client: Client, url: str, **params: Any) -> ResponseReceived:
    return await client.answer(await post(client, url, **params))


async def fetch(client: Client, url: str, **params: Any) -> dict[str, Any]:
    response = await attempt(client, url, **params)
    assert isinstance(response.result, dict), response.error
    return response.result


async def refused(client: Client, url: str, **params: Any) -> RpcError:
    response = await attempt(client, url, **params)
    assert response.error is not None, response.result
    return response.error


async def delta(client: Client, request_id: str = "r") -> tuple[int, bytes, bool, str | None]:
    method, params = await client.notification()
    assert (method, params.pop("requestId")) == ("http/request/bodyDelta", request_id)
    data = base64.b64decode(params.pop("deltaBase64"), validate=True)
    assert params.keys() == {"seq", "done", "error"}
    return params["seq"], data, params["done"], params["error"]


async def whole_body(client: Client) -> tuple[bytes, str | None]:
    body, wanted_seq = bytearray(), 1
    while True:
        seq, data, done, error = await delta(client)
        assert seq == wanted_seq
        wanted_seq += 1
        body += data
        if done:
            assert data == b""
            return bytes(body), error
        assert 0 < len(data) <= 64 * 1024
        assert error is None


class Held:
    """A page that goes on until the test says so."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.begun = trio.Event()
        self.go_on = trio.Event()
        self.gone = trio.Event()

    async def __call__(self, stream: trio.abc.Stream, request: Request) -> None:
        await stream.send_all(self.first)
        self.begun.set()

        async def watch() -> None:
            try:
                assert await stream.receive_some() == b""
            except trio.BrokenResourceError:
                pass
            self.gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await self.go_on.wait()
            nursery.cancel_scope.cancel()


# -- requests and answers


async def test_a_request_and_its_answer() -> None:
    answer = page(b"found", "X-Multi: 1", "x-multi:  2 ", "X-Odd: caf\xe9", status="203 So so")
    async with site({"/a?b=c": answer}) as here, open_session() as client:
        assert await fetch(client, here.url("/a?b=c#d")) == {
            "status": 203,
            "headers": [
                {"name": "content-length", "value": "5"},
                {"name": "x-multi", "value": "1"},
                {"name": "x-multi", "value": "2"},
            ],
            "bodyBase64": base64.b64encode(b"found").decode(),
        }
        (request,) = here.requests
        assert request.line == "GET /a?b=c HTTP/1.1"
        assert sorted(request.headers) == [("accept", "*/*"), ("host", f"127.0.0.1:{here.port}")]
        assert request.body == b""


async def test_what_is_sent() -> None:
    headers = [
        {"name": "X-Many", "value": "1"},
        {"name": "x-many", "value": " é "},
        {"name": "Accept", "value": "text/plain"},
        {"name": "Host", "value": "elsewhere"},
        {"name": "User-Agent", "value": "me"},
    ]
    async with site({"/": page()}) as here, open_session() as client:
        body = base64.b64encode(b"\x00\xff").decode()
        await fetch(client, here.url("/"), method="PURGE", headers=headers, bodyBase64=body)
        (request,) = here.requests
    assert request.line == "PURGE / HTTP/1.1"
    assert request.body == b"\x00\xff"
    assert sorted(request.headers) == [
        ("accept", "text/plain"),
        ("content-length", "2"),
        ("host", "elsewhere"),
        ("user-agent", "me"),
        ("x-many", "1"),
        ("x-many", "é"),
    ]


async def test_a_url_may_hold_a_name_and_a_password() -> None:
    async with site({"/": page()}) as here, open_session() as client:
        await fetch(client, here.url("/", host="u:p@127.0.0.1"))
        assert dict(here.requests[0].headers)["authorization"] == "Basic dTpw"


async def test_a_compressed_body_stays_so() -> None:
    packed = gzip.compress(b"text")
    pages: dict[str, Page] = {"/": page(packed, "Content-Encoding: gzip")}
    async with site(pages) as here, open_session() as client:
        result = await fetch(client, here.url("/"))
    assert base64.b64decode(result["bodyBase64"]) == packed
    assert {"name": "content-encoding", "value": "gzip"} in result["headers"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_an_answer_without_a_body(method: str) -> None:
    pages: dict[str, Page] = {
        "/": OK + b"Content-Length: 7\r\n\r\n" + b"1234567" * (method == "GET")
    }
    async with site(pages) as here, open_session() as client:
        result = await fetch(client, here.url("/"), method=method)
    assert base64.b64decode(result["bodyBase64"]) == (b"1234567" if method == "GET" else b"")


# -- redirects


@pytest.mark.parametrize(
    ("status", "line", "body"),
    [
        (301, "GET /there HTTP/1.1", b""),
        (302, "GET /there HTTP/1.1", b""),
        (303, "GET /there HTTP/1.1", b""),
        (307, "POST /there HTTP/1.1", b"x"),
        (308, "POST /there HTTP/1.1", b"x"),
    ],
)
async def test_redirects_are_followed_without_cookies(status: int, line: str, body: bytes) -> None:
    pages: dict[str, Page] = {"/": redirect("/there", status), "/there": page(b"here")}
    async with site(pages) as here, open_session() as client:
        secret = [{"name": "Authorization", "value": "s"}]
        params = {"method": "POST", "bodyBase64": "eA==", "headers": secret}
        result = await fetch(client, here.url("/"), **params)
        await fetch(client, here.url("/there"))
    assert result["status"] == 200
    first, second, third = here.requests
    assert (first.body, second.line, second.body) == (b"x", line, body)
    assert dict(second.headers)["authorization"] == "s"
    for request in (second, third):
        assert "cookie" not in dict(request.headers)


async def test_another_host_gets_no_secrets() -> None:
    async with site({"/there": page()}) as here, open_session() as client:
        here.pages["/"] = redirect(here.url("/there", host="localhost"))
        secret = [{"name": "Authorization", "value": "s"}, {"name": "Cookie", "value": "c"}]
        await fetch(client, here.url("/"), headers=secret)
        assert here.requests[1].headers.count(("host", f"localhost:{here.port}")) == 1
        assert not {"authorization", "cookie"} & dict(here.requests[1].headers).keys()


async def test_ten_redirects_are_enough() -> None:
    pages: dict[str, Page] = {f"/{n}": redirect(f"/{n - 1}") for n in range(1, 12)}
    async with site({**pages, "/0": page(b"end")}) as here, open_session() as client:
        assert (await fetch(client, here.url("/10")))["status"] == 200
        error = await refused(client, here.url("/11"))
    assert (error.code, error.message.startswith("http/request failed: ")) == (INTERNAL, True)


async def test_the_body_of_a_redirect_is_not_waited_for() -> None:
    held = Held(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 9\r\n\r\npart")

    async def there(stream: trio.abc.Stream, request: Request) -> None:
        await held.gone.wait()
        await stream.send_all(page(b"here"))

    async with site({"/": held, "/there": there}) as here, open_session() as client:
        assert (await fetch(client, here.url("/")))["status"] == 200


async def test_a_redirect_can_be_the_answer() -> None:
    async with site({"/": redirect("/there")}) as here, open_session() as client:
        result = await fetch(client, here.url("/"), redirectPolicy="stop")
    assert result["status"] == 302
    assert {"name": "location", "value": "/there"} in result["headers"]


# -- what goes wrong


@pytest.mark.parametrize(
    "params",
    [
        {"method": "G T"},
        {"method": ""},
        {"url": "nonsense"},
        {"url": "http://"},
        {"url": "ftp://127.0.0.1/"},
        {"url": "file:///etc/passwd"},
        {"url": "http://127.0.0.1:70000/"},
        {"url": "http://127.0.0.1/\x00"},
        {"url": None},
        {"headers": [{"name": "a b", "value": ""}]},
        {"headers": [{"name": "", "value": ""}]},
        {"headers": [{"name": "a", "value": "1\r\nx: y"}]},
        {"headers": [{"name": "a"}]},
        {"bodyBase64": "!"},
        {"timeoutMs": -1},
        {"timeoutMs": "1"},
        {"requestId": None},
        {"requestId": "r" * 257},
        {"redirectPolicy": "maybe"},
    ],
)
async def test_what_is_no_request_is_refused(params: dict[str, Any]) -> None:
    async with open_session() as client:
        error = await refused(client, **({"url": "http://127.0.0.1:1/"} | params))
    assert error.code == INVALID_PARAMS


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        OK + b"Content-Length: 5\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        OK + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        redirect("ftp://127.0.0.1/"),
        redirect("http://" + "x" * 70 + ".invalid/"),
        redirect("http://[/"),
    ],
)
async def test_an_exchange_that_breaks_off(answer: bytes) -> None:
    async with site({"/": answer}) as here, open_session() as client:
        error = await refused(client, here.url("/"))
    assert (error.code, error.message.startswith("http/request failed: ")) == (INTERNAL, True)
    assert error.message != "http/request failed: "


@pytest.mark.parametrize("length", ["1", "3", "x"])
async def test_a_wrong_length_fails(length: str) -> None:
    headers = [{"name": "Content-Length", "value": length}]
    async with site({"/": page()}) as here, open_session() as client:
        params = {"method": "POST", "bodyBase64": "eHg=", "headers": headers}
        error = await refused(client, here.url("/"), **params)
        assert (error.code, error.message.startswith("http/request failed: ")) == (INTERNAL, True)
        await fetch(client, here.url("/"))


async def test_nobody_listens() -> None:
    async with open_session() as client:
        error = await refused(client, f"http://127.0.0.1:{closed_port()}/")
    assert (error.code, error.message.startswith("http/request failed: ")) == (INTERNAL, True)


@pytest.mark.parametrize("first", [b"", OK + b"\r\npart"])
async def test_the_time_runs_out(first: bytes) -> None:
    held = Held(first)
    async with site({"/": held, "/fast": page()}) as here, open_session() as client:
        error = await refused(client, here.url("/"), timeoutMs=20)
        assert (error.code, "timeoutMs" in error.message) == (INTERNAL, True)
        if held.begun.is_set():  # a machine that is busy may not get that far
            await held.gone.wait()
        await fetch(client, here.url("/fast"), timeoutMs=60_000)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    async with site({"/": page()}) as here, open_session() as client:
        assert (await fetch(client, here.url("/")))["status"] == 200


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[trustme.CA]:
    """A certificate authority that this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    http_client.tls_context.cache_clear()
    yield authority
    http_client.tls_context.cache_clear()


@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates_are_checked(authority: trustme.CA, trusted: bool) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (authority if trusted else trustme.CA()).issue_cert("127.0.0.1").configure_cert(context)
    async with site({"/": page()}, tls=context) as here, open_session() as client:
        if trusted:
            assert (await fetch(client, here.url("/")))["status"] == 200
        else:
            error = await refused(client, here.url("/"))
            assert "CERTIFICATE_VERIFY_FAILED" in error.message
            assert here.requests == []


# -- streamed bodies


async def test_a_body_is_streamed_as_it_comes() -> None:
    held = Held(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")

    async def more(stream: trio.abc.Stream, request: Request) -> None:
        await held(stream, request)
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")

    async with site({"/": more}) as here, open_session() as client:
        assert await fetch(client, here.url("/"), streamResponse=True) == {
            "status": 200,
            "headers": [{"name": "transfer-encoding", "value": "chunked"}],
            "bodyBase64": "",
        }
        assert await delta(client) == (1, b"one", False, None)
        held.go_on.set()
        assert await delta(client) == (2, b"two", False, None)
        assert await delta(client) == (3, b"", True, None)


async def test_an_empty_body_is_streamed() -> None:
    async with site({"/": page()}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        assert await delta(client) == (1, b"", True, None)


async def test_a_large_body_is_streamed_in_pieces() -> None:
    content = bytes(range(256)) * 8192
    async with site({"/": page(content)}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        assert await whole_body(client) == (content, None)


async def test_no_notification_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever httpx gives at once; at present it is never more."""
    pieces = [bytes(150_000), b""]

    async def read(response: http_client.Response) -> bytes:
        await trio.lowlevel.checkpoint()
        return pieces.pop(0)

    monkeypatch.setattr(http_client.Response, "read", read)
    async with site({"/": page()}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        assert await whole_body(client) == (bytes(150_000), None)


async def test_a_streamed_body_breaks_off() -> None:
    async with site({"/": OK + b"Content-Length: 9\r\n\r\npart"}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        body, error = await whole_body(client)
    assert body == b"part"
    assert error


async def test_the_time_of_a_streamed_body_runs_out() -> None:
    held = Held(OK + b"\r\npart")
    async with site({"/": held}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True, timeoutMs=700)
        assert await whole_body(client) == (b"part", "it took longer than timeoutMs")
        await held.gone.wait()


async def test_a_failed_request_has_no_body() -> None:
    async with site({"/": page(b"yes")}) as here, open_session() as client:
        url = f"http://127.0.0.1:{closed_port()}/"
        assert (await refused(client, url, streamResponse=True)).code == INTERNAL
        await fetch(client, here.url("/"), streamResponse=True)
        assert await whole_body(client) == (b"yes", None)


async def test_a_client_that_does_not_read_stops_the_server() -> None:
    size = 32 * 1024 * 1024
    sent = 0
    stalled = trio.Event()

    async def flood(stream: trio.abc.Stream, request: Request) -> None:
        nonlocal sent
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(OK + b"Content-Length: %d\r\n\r\n" % size)
        while sent < size:
            with trio.move_on_after(math.inf if stalled.is_set() else 0.5) as patience:
                sent += await stream.socket.send(bytes(min(64 * 1024, size - sent)))
            if patience.cancelled_caught:
                stalled.set()
        stalled.set()

    async with site({"/": flood}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        await stalled.wait()
        assert sent < size
        # Others are not stopped.
        await client.fail("process/read", processId="none")
        body, error = await whole_body(client)
        assert (len(body), error) == (size, None)


# -- limits


async def test_how_many_may_be_under_way() -> None:
    held, streamed = Held(), Held(OK + b"\r\nx")
    pages: dict[str, Page] = {"/": held, "/stream": streamed, "/fast": page()}
    async with site(pages) as here, open_session(max_http_requests=2) as client:
        first = await post(client, here.url("/"))
        await held.begun.wait()
        await fetch(client, here.url("/stream"), streamResponse=True)
        error = await refused(client, here.url("/fast"))
        assert (error.code, error.message) == (
            INVALID_REQUEST,
            "http/request: 2 requests are under way already",
        )
        streamed.go_on.set()
        assert await whole_body(client) == (b"x", None)
        await fetch(client, here.url("/fast"))
        held.go_on.set()
        assert (await client.answer(first)).error is not None
        await fetch(client, here.url("/fast"))


async def test_a_request_id_streams_once_at_a_time() -> None:
    held = Held(OK + b"\r\nx")
    async with site({"/": held, "/fast": page()}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        error = await refused(client, here.url("/fast"), streamResponse=True)
        assert (error.code, "requestId" in error.message) == (INVALID_PARAMS, True)
        assert (await fetch(client, here.url("/fast")))["status"] == 200
        await fetch(client, here.url("/fast"), streamResponse=True, requestId="other")
        held.go_on.set()
        await delta(client)
        assert await delta(client, "other") == (1, b"", True, None)
        assert await delta(client) == (2, b"", True, None)
        await fetch(client, here.url("/fast"), streamResponse=True)


async def test_the_largest_body() -> None:
    pages: dict[str, Page] = {"/fits": page(b"x" * 1000), "/": page(b"x" * 1001)}
    async with site(pages) as here, open_session(max_http_body_size=1000) as client:
        await fetch(client, here.url("/fits"))
        error = await refused(client, here.url("/"))
        assert (error.code, "larger than 1000 bytes" in error.message) == (INTERNAL, True)
        await fetch(client, here.url("/"), streamResponse=True)
        assert await whole_body(client) == (b"x" * 1001, None)


async def test_the_largest_bodies_together() -> None:
    held = Held(OK + b"\r\n")
    body = base64.b64encode(bytes(600)).decode()
    pages: dict[str, Page] = {"/": held, "/fits": page(bytes(400)), "/more": page(bytes(401))}
    async with site(pages) as here, open_session(http_buffer_size=1000) as client:
        first = await post(client, here.url("/"), method="POST", bodyBase64=body)
        await held.begun.wait()
        error = await refused(client, here.url("/fits"), method="POST", bodyBase64=body)
        assert (error.code, "1000 bytes together" in error.message) == (INVALID_REQUEST, True)
        error = await refused(client, here.url("/more"))
        assert (error.code, "1000 bytes together" in error.message) == (INTERNAL, True)
        await fetch(client, here.url("/fits"))
        held.go_on.set()
        await client.answer(first)
        await fetch(client, here.url("/more"), method="POST", bodyBase64=body[:400])


async def test_the_default_limit_fits_in_a_message_of_the_relay() -> None:
    size = ExecServerConfig().max_http_body_size
    async with site({"/": page(bytes(size))}) as here, open_session() as client:
        await post(client, here.url("/"))
        answer = await client.channel.receive()
    assert size * 4 // 3 < len(answer) <= RelayConfig().max_message_size - 100_000


# -- beside other requests, and the end


async def test_other_requests_do_not_wait() -> None:
    held = Held()
    async with (
        site({"/": held}) as here,
        open_session(max_requests_in_flight=1, max_request_bytes_in_flight=500) as client,
    ):
        body = base64.b64encode(bytes(600)).decode()
        waiting = await post(client, here.url("/"), method="POST", bodyBase64=body)
        await held.begun.wait()
        await client.fail("process/read", processId="none")
        held.go_on.set()
        await client.answer(waiting)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_end_of_the_session_ends_them(streamed: bool) -> None:
    held = Held(OK + b"\r\npart")
    async with site({"/": held}) as here, open_session() as client:
        await post(client, here.url("/"), streamResponse=streamed)
        await held.begun.wait()
        await client.channel.aclose()
        await held.gone.wait()


async def test_the_end_of_the_session_ends_an_upload() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, open_session() as client:
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        body = base64.b64encode(bytes(12_000_000)).decode()
        await post(client, url, method="POST", bodyBase64=body)
        async with await listener.accept() as stream:
            assert await stream.receive_some(10) == b"POST / HTT"
            await client.channel.aclose()
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass


async def test_the_end_of_the_session_ends_a_body_that_nobody_takes() -> None:
    gone = trio.Event()

    async def flood(stream: trio.abc.Stream, request: Request) -> None:
        try:
            await stream.send_all(OK + b"\r\n" + bytes(32 * 1024 * 1024))
        except trio.BrokenResourceError:
            gone.set()

    async with site({"/": flood}) as here, open_session() as client:
        await fetch(client, here.url("/"), streamResponse=True)
        await delta(client)
        await client.channel.aclose()
        await gone.wait()
