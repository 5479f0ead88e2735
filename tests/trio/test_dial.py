"""One attempt to connect: what each way of failing is called. Real sockets where that matters."""

import errno
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio.testing
import trustme

import trio
from sansrelay.http import HttpResponse
from sansrelay.http_server import HttpServerConnection
from sansrelay.registry import error_response
from sansrelay_trio import (
    ConnectCause,
    ConnectError,
    Registry,
    RegistryRefused,
    open_harness,
    serve_executor,
    serve_http,
)
from trio_net import GRANTED, HARNESS_URL, MemoryNet, Relay, echo

pytestmark = pytest.mark.trio

REGISTRY = Registry("http://localhost/prefix", "box1", token="secret")


async def connect(
    target: Registry | str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    insecure: bool = False,
    net: MemoryNet | None = None,
    connect_timeout: float = 10,
    wait: float = 0,
) -> None:
    async with open_harness(
        target,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        insecure=insecure,
        open_socket=net.open_socket if net else None,
        connect_timeout=connect_timeout,
        wait=wait,
    ):
        pass


async def failure_of(awaitable: Awaitable[None]) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await awaitable
    assert "secret" not in str(caught.value)
    return caught.value


@asynccontextmanager
async def server(
    handler: Callable[[trio.SocketStream], Awaitable[object]],
) -> AsyncGenerator[int]:
    """A bare TCP server on a free port of the loopback interface."""
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
        )
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class TestTcp:
    async def test_refused(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        failure = await failure_of(connect(f"ws://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.REFUSED
        assert f"127.0.0.1:{port} refused the connection" in str(failure)

    async def test_a_name_that_can_not_be_one(self) -> None:
        failure = await failure_of(connect(f"wss://{'a' * 64}.test/"))
        assert failure.cause is ConnectCause.UNKNOWN_HOST

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (socket.gaierror(socket.EAI_NONAME, "unknown"), ConnectCause.UNKNOWN_HOST),
            (socket.gaierror(socket.EAI_AGAIN, "no server"), ConnectCause.UNKNOWN_HOST),
            (OSError(errno.EHOSTUNREACH, "no route"), ConnectCause.UNREACHABLE),
            (OSError(errno.ETIMEDOUT, "timed out"), ConnectCause.TIMED_OUT),
            (OSError(errno.ECONNRESET, "reset"), ConnectCause.BROKEN_OFF),
            (OSError("something"), ConnectCause.UNREACHABLE),
        ],
    )
    async def test_errors_of_the_socket(self, error: OSError, cause: ConnectCause) -> None:
        net = MemoryNet()
        net.faults.append(error)
        failure = await failure_of(connect(HARNESS_URL, net=net))
        assert failure.cause is cause
        assert failure.__cause__ is error

    async def test_of_several_addresses_the_most_telling_error_counts(self) -> None:
        net = MemoryNet()
        error = OSError("all attempts failed")
        error.__cause__ = ExceptionGroup(
            "", [OSError(errno.ENETUNREACH, "v6"), OSError(errno.ECONNREFUSED, "v4")]
        )
        net.faults.append(error)
        failure = await failure_of(connect(HARNESS_URL, net=net))
        assert failure.cause is ConnectCause.REFUSED

    @pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["FIN", "RST"])
    async def test_a_server_that_hangs_up(self, linger: bytes | None) -> None:
        async def hang_up(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            if linger is not None:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        async with server(hang_up) as port:
            failure = await failure_of(connect(f"ws://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.BROKEN_OFF

    @pytest.mark.parametrize(
        "answer",
        [
            b"SSH-2.0-OpenSSH_9\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            (
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoaXM=\r\n\r\n"
            ),
        ],
        ids=["another protocol", "200", "wrong key"],
    )
    async def test_a_server_that_speaks_something_else(self, answer: bytes) -> None:
        async def speak(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(answer)
            await stream.receive_some()

        async with server(speak) as port:
            failure = await failure_of(connect(f"ws://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.BAD_ANSWER

    @pytest.mark.parametrize("target", [HARNESS_URL, REGISTRY], ids=["server", "registry"])
    async def test_a_server_that_says_nothing(
        self, autojump_clock: trio.testing.MockClock, target: Registry | str
    ) -> None:
        net = MemoryNet()
        failure = await failure_of(connect(target, net=net, connect_timeout=4))
        assert failure.cause is ConnectCause.TIMED_OUT
        assert "within 4 seconds" in str(failure)
        assert trio.current_time() == pytest.approx(4)
        with pytest.raises(trio.ClosedResourceError):
            await net.cables[0].client.receive_some()

    async def test_a_url_that_can_not_be_dialled(self) -> None:
        failure = await failure_of(connect("http://relay.test/?token=secret"))
        assert failure.cause is ConnectCause.BAD_URL


class TestInsecure:
    """Plain ws:// and http:// to another machine have to be asked for."""

    FAR = "ws://relay.test/harness"

    @pytest.mark.parametrize(
        ("target", "remedy"),
        [
            (FAR, "relay.test:80: use wss://, or insecure=True"),
            (
                Registry("http://relay.test", "box1", token="secret"),
                "the registry at relay.test:80: use https://, or insecure=True",
            ),
        ],
        ids=["server", "registry"],
    )
    async def test_it_is_refused_before_anything_is_connected(
        self, relay: Relay, target: Registry | str, remedy: str
    ) -> None:
        failure = await failure_of(connect(target, net=relay.net, wait=60))
        assert failure.cause is ConnectCause.INSECURE
        assert remedy in str(failure)
        assert relay.net.dialled_at == []

    @pytest.mark.parametrize("insecure", [False, True])
    async def test_what_a_registry_answers_is_not_dialled_either(
        self, relay: Relay, insecure: bool
    ) -> None:
        body = b'{"environment_id": "box1", "url": "%s"}' % self.FAR.encode()
        relay.router.refusals.append(HttpResponse(status=200, body=body))
        if insecure:
            await connect(REGISTRY, net=relay.net, insecure=True)
        else:
            failure = await failure_of(connect(REGISTRY, net=relay.net))
            assert failure.cause is ConnectCause.INSECURE
        assert len(relay.net.dialled_at) == 1 + insecure

    async def test_an_executor_is_as_careful(self, relay: Relay) -> None:
        with pytest.raises(ConnectError) as caught:
            with trio.fail_after(10):
                await serve_executor(echo, self.FAR, open_socket=relay.net.open_socket)
        assert caught.value.cause is ConnectCause.INSECURE

    async def test_asked_for_it_is_done(self, relay: Relay) -> None:
        registry = Registry("http://relay.test", "box1", token="secret")
        relay.router.refusals.append(GRANTED)
        await connect(registry, net=relay.net, insecure=True)
        assert len(relay.net.dialled_at) == 2


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def serving(self, authority: trustme.CA) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        return context

    @asynccontextmanager
    async def tls_server(self, context: ssl.SSLContext, relay: Relay) -> AsyncGenerator[int]:
        async with trio.open_nursery() as nursery:
            [(_, port)] = await nursery.start(
                partial(serve_http, relay.router.serve, ssl_context=context)
            )
            yield port
            nursery.cancel_scope.cancel()

    async def test_a_certificate_of_a_trusted_authority(
        self, relay: Relay, authority: trustme.CA, serving: ssl.SSLContext
    ) -> None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with self.tls_server(serving, relay) as port:
            relay.router.refusals.append(
                HttpResponse(
                    status=200,
                    body=b'{"executor_id":"box1","url":"wss://localhost:%d/executor"}' % port,
                )
            )
            registry = Registry(f"https://localhost:{port}", "box1", token="secret")
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(serve_executor, echo, registry, ssl_context=trusting))
                async with open_harness(
                    f"wss://localhost:{port}/harness", ssl_context=trusting
                ) as harness:
                    stream = await harness.open_stream()
                    await stream.send(bytes(1_000_000))
                    assert await stream.receive() == bytes(1_000_000)
                nursery.cancel_scope.cancel()

    async def test_a_certificate_of_an_unknown_authority(
        self, relay: Relay, serving: ssl.SSLContext
    ) -> None:
        async with self.tls_server(serving, relay) as port:
            failure = await failure_of(connect(f"wss://localhost:{port}/"))
        assert failure.cause is ConnectCause.TLS
        assert "certificate verify failed" in str(failure)

    async def test_a_certificate_for_another_name(
        self, relay: Relay, authority: trustme.CA, serving: ssl.SSLContext
    ) -> None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with self.tls_server(serving, relay) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/", ssl_context=trusting))
            assert failure.cause is ConnectCause.TLS
            assert "127.0.0.1" in str(failure)
            await connect(
                f"wss://127.0.0.1:{port}/", ssl_context=trusting, server_hostname="localhost"
            )

    async def test_a_server_that_does_not_speak_tls(self) -> None:
        async def speak(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await stream.receive_some()

        async with server(speak) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.TLS

    async def test_a_server_that_hangs_up_during_the_handshake(self) -> None:
        async def hang_up(stream: trio.SocketStream) -> None:
            await stream.receive_some()

        async with server(hang_up) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.BROKEN_OFF

    async def test_a_link_over_tls_that_is_dropped_ends(
        self,
        authority: trustme.CA,
        serving: ssl.SSLContext,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Leaving while the peer is silent closes by force, with a reader blocked in TLS."""
        monkeypatch.setattr("sansrelay_trio._driver.LEAVE_TIMEOUT", 0.05)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)

        async def be_silent(stream: trio.SocketStream) -> None:
            tls = trio.SSLStream(stream, serving, server_side=True)
            http = HttpServerConnection()
            while http.next_request() is None:
                http.receive_bytes(bytes(await tls.receive_some()))
            link = http.accept_websocket()
            await tls.send_all(link.bytes_to_send())
            await trio.sleep_forever()

        async with server(be_silent) as port:
            await connect(f"wss://localhost:{port}/", ssl_context=trusting)


class TestRegistry:
    @pytest.mark.parametrize(
        ("answer", "cause", "status", "code"),
        [
            (error_response(401, "bad_token", "no"), ConnectCause.UNAUTHORIZED, 401, "bad_token"),
            (error_response(403, "forbidden", "no"), ConnectCause.UNAUTHORIZED, 403, "forbidden"),
            (error_response(404, "no_such", "no"), ConnectCause.DENIED, 404, "no_such"),
            (HttpResponse(status=409), ConnectCause.DENIED, 409, None),
            (error_response(503, "busy", "no"), ConnectCause.UNAVAILABLE, 503, "busy"),
        ],
    )
    async def test_an_error(
        self,
        relay: Relay,
        answer: HttpResponse,
        cause: ConnectCause,
        status: int,
        code: str | None,
    ) -> None:
        relay.router.refusals.append(answer)
        failure = await failure_of(connect(REGISTRY, net=relay.net))
        assert isinstance(failure, RegistryRefused)
        assert (failure.cause, failure.status, failure.code) == (cause, status, code)
        [request] = relay.router.requests
        assert request.target == "/prefix/cloud/environment/box1/connect"
        assert request.headers.get("authorization") == "Bearer secret"

    @pytest.mark.parametrize(
        "body",
        [
            b"not json",
            b'{"environment_id": "box2", "url": "ws://relay.test/"}',
            b'{"environment_id": "box1", "url": "ftp://relay.test/"}',
        ],
    )
    async def test_an_answer_without_a_good_url(self, relay: Relay, body: bytes) -> None:
        relay.router.refusals.append(HttpResponse(status=200, body=body))
        failure = await failure_of(connect(REGISTRY, net=relay.net))
        assert failure.cause is ConnectCause.BAD_ANSWER
        assert not isinstance(failure, RegistryRefused)

    @pytest.mark.parametrize(
        ("sent", "cause"),
        [
            (b"", ConnectCause.BROKEN_OFF),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", ConnectCause.BROKEN_OFF),
            (b"nonsense\r\n\r\n", ConnectCause.BAD_ANSWER),
        ],
        ids=["nothing", "half an answer", "nonsense"],
    )
    async def test_a_broken_answer(self, sent: bytes, cause: ConnectCause) -> None:
        async def speak(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            if sent:
                await stream.send_all(sent)

        async with server(speak) as port:
            registry = Registry(f"http://127.0.0.1:{port}", "box1", token="secret")
            failure = await failure_of(connect(registry))
        assert failure.cause is cause

    async def test_an_executor_registers(self, relay: Relay) -> None:
        relay.router.refusals.append(error_response(401, "bad_token", "no"))
        with pytest.raises(RegistryRefused):
            await serve_executor(echo, REGISTRY, open_socket=relay.net.open_socket)
        [request] = relay.router.requests
        assert request.target == "/prefix/cloud/environment/box1/register"
