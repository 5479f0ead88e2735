"""Attempts to connect: what each failure is called, which are repeated, and when."""

import asyncio
import errno
import random
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
import trustme

from asyncio_net import (
    GRANTED,
    HARNESS_URL,
    REAL_LOOPS,
    REGISTRY,
    LongestPauses,
    Net,
    Relay,
    Router,
    echo,
    now,
    refused,
    wait_for,
)
from sansrelay import ResetReason
from sansrelay.http import HttpResponse
from sansrelay.registry import error_response
from sansrelay_asyncio import (
    ConnectCause,
    ConnectError,
    LinkFailed,
    LinkStatus,
    Registry,
    RegistryRefused,
    StreamEnded,
    open_harness,
    serve_executor,
    serve_http,
)

virtual = pytest.mark.asyncio(loop_factories=["virtual"])
real = pytest.mark.asyncio(loop_factories=REAL_LOOPS)

pytestmark = pytest.mark.usefixtures("complaints")


async def connect(
    target: Registry | str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    insecure: bool = False,
    net: Net | None = None,
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


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(handler: Peer) -> AsyncGenerator[int]:
    """A bare TCP server on a free port of the loopback interface."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(OSError):
            await handler(reader, writer)
        writer.transport.abort()

    listening = await asyncio.start_server(run, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        if tasks:
            await asyncio.wait({task for task in tasks if task is not None})


@real
class TestTcp:
    async def test_refused(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        failure = await failure_of(connect(f"ws://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.REFUSED
        assert f"127.0.0.1:{port} refused the connection" in str(failure)

    async def test_refused_at_each_address_of_a_name(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        failure = await failure_of(connect(f"ws://localhost:{port}/"))
        assert failure.cause is ConnectCause.REFUSED
        assert isinstance(failure.__cause__, OSError)

    async def test_a_name_that_can_not_be_one(self) -> None:
        failure = await failure_of(connect(f"wss://{'a' * 64}.test/"))
        assert failure.cause is ConnectCause.UNKNOWN_HOST

    async def test_a_url_that_can_not_be_dialled(self) -> None:
        failure = await failure_of(connect("http://relay.test/?token=secret"))
        assert failure.cause is ConnectCause.BAD_URL

    @pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["FIN", "RST"])
    async def test_a_server_that_hangs_up(self, linger: bytes | None) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            if linger is not None:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

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
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(answer)
            await reader.read(1000)

        async with server(speak) as port:
            failure = await failure_of(connect(f"ws://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.BAD_ANSWER

    @pytest.mark.parametrize(
        ("sent", "cause"),
        [
            (b"", ConnectCause.BROKEN_OFF),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", ConnectCause.BROKEN_OFF),
            (b"nonsense\r\n\r\n", ConnectCause.BAD_ANSWER),
        ],
        ids=["nothing", "half an answer", "nonsense"],
    )
    async def test_a_broken_answer_of_the_registry(self, sent: bytes, cause: ConnectCause) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(sent)
            await writer.drain()

        async with server(speak) as port:
            registry = Registry(f"http://127.0.0.1:{port}", "box1", token="secret")
            failure = await failure_of(connect(registry))
        assert failure.cause is cause


@virtual
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
            async with asyncio.timeout(10):
                await serve_executor(echo, self.FAR, open_socket=relay.net.open_socket)
        assert caught.value.cause is ConnectCause.INSECURE

    async def test_asked_for_it_is_done(self, relay: Relay) -> None:
        registry = Registry("http://relay.test", "box1", token="secret")
        relay.router.refusals.append(GRANTED)
        await connect(registry, net=relay.net, insecure=True)
        assert len(relay.net.dialled_at) == 2


@real
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
    async def tls_server(self, context: ssl.SSLContext, router: Router) -> AsyncGenerator[int]:
        listening: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            serve_http(router.serve, ssl_context=context, on_started=listening.set_result)
        )
        [(_, port)] = await listening
        yield port
        task.cancel()
        await asyncio.wait([task])

    async def test_a_registry_behind_tls(
        self, authority: trustme.CA, serving: ssl.SSLContext
    ) -> None:
        trusting, router = ssl.create_default_context(), Router()
        authority.configure_trust(trusting)
        async with self.tls_server(serving, router) as port:
            body = b'{"environment_id":"box1","url":"wss://localhost:%d/harness"}' % port
            router.refusals.append(HttpResponse(status=200, body=body))
            registry = Registry(f"https://localhost:{port}", "box1", token="secret")
            await connect(registry, ssl_context=trusting)
        assert [each.method for each in router.requests] == ["POST", "GET"]

    async def test_a_certificate_of_an_unknown_authority(self, serving: ssl.SSLContext) -> None:
        async with self.tls_server(serving, Router()) as port:
            failure = await failure_of(connect(f"wss://localhost:{port}/"))
        assert failure.cause is ConnectCause.TLS
        assert "certificate verify failed" in str(failure)

    async def test_a_certificate_for_another_name(
        self, authority: trustme.CA, serving: ssl.SSLContext
    ) -> None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        async with self.tls_server(serving, Router()) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/", ssl_context=trusting))
            assert failure.cause is ConnectCause.TLS
            assert "127.0.0.1" in str(failure)
            await connect(
                f"wss://127.0.0.1:{port}/", ssl_context=trusting, server_hostname="localhost"
            )

    async def test_a_server_that_does_not_speak_tls(self) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read(1000)

        async with server(speak) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.TLS

    async def test_a_server_that_hangs_up_during_the_handshake(self) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)

        async with server(hang_up) as port:
            failure = await failure_of(connect(f"wss://127.0.0.1:{port}/"))
        assert failure.cause is ConnectCause.BROKEN_OFF


@virtual
class TestAttempts:
    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (socket.gaierror(socket.EAI_NONAME, "unknown"), ConnectCause.UNKNOWN_HOST),
            (OSError(errno.EHOSTUNREACH, "no route"), ConnectCause.UNREACHABLE),
            (OSError(errno.ETIMEDOUT, "timed out"), ConnectCause.TIMED_OUT),
            (OSError(errno.ECONNRESET, "reset"), ConnectCause.BROKEN_OFF),
            (OSError("something"), ConnectCause.UNREACHABLE),
        ],
    )
    async def test_errors_of_the_socket(
        self, relay: Relay, error: OSError, cause: ConnectCause
    ) -> None:
        relay.net.faults.append(error)
        failure = await failure_of(connect(HARNESS_URL, net=relay.net))
        assert failure.cause is cause
        assert failure.__cause__ is error

    @pytest.mark.parametrize("target", [HARNESS_URL, REGISTRY], ids=["server", "registry"])
    async def test_a_server_that_says_nothing(self, target: Registry | str) -> None:
        net = Net()
        failure = await failure_of(connect(target, net=net, connect_timeout=4))
        assert failure.cause is ConnectCause.TIMED_OUT
        assert "within 4 seconds" in str(failure)
        assert now() == pytest.approx(4)
        net.close()

    @pytest.mark.parametrize(
        ("answer", "cause", "code"),
        [
            (error_response(401, "bad_token", "no"), ConnectCause.UNAUTHORIZED, "bad_token"),
            (error_response(404, "no_such", "no"), ConnectCause.DENIED, "no_such"),
            (HttpResponse(status=409), ConnectCause.DENIED, None),
            (error_response(503, "busy", "no"), ConnectCause.UNAVAILABLE, "busy"),
        ],
    )
    async def test_an_error_of_the_registry(
        self, relay: Relay, answer: HttpResponse, cause: ConnectCause, code: str | None
    ) -> None:
        relay.router.refusals.append(answer)
        failure = await failure_of(connect(REGISTRY, net=relay.net))
        assert isinstance(failure, RegistryRefused)
        assert (failure.cause, failure.status, failure.code) == (cause, answer.status, code)

    @pytest.mark.parametrize(
        ("kind", "cause"),
        [
            ("refused", ConnectCause.REFUSED),
            ("401", ConnectCause.UNAUTHORIZED),
            ("404", ConnectCause.DENIED),
            ("301", ConnectCause.BAD_ANSWER),
        ],
    )
    async def test_a_first_failure_that_is_final_is_raised_at_once(
        self, relay: Relay, kind: str, cause: ConnectCause
    ) -> None:
        if kind == "refused":
            relay.net.faults.append(refused())
        else:
            relay.router.refusals.append(HttpResponse(status=int(kind)))
        failure = await failure_of(connect(HARNESS_URL, net=relay.net, wait=60))
        assert failure.cause is cause
        assert "localhost:80" in str(failure)
        assert len(relay.net.dialled_at) == 1

    async def test_a_first_failure_that_may_pass_is_tried_again_while_wait_lasts(
        self, relay: Relay
    ) -> None:
        relay.router.refusals.extend([HttpResponse(status=503)] * 4)
        await connect(HARNESS_URL, net=relay.net, wait=10)
        assert len(relay.net.dialled_at) == 5
        relay.router.refusals.extend([HttpResponse(status=503)] * 1000)
        start = now()
        failure = await failure_of(connect(HARNESS_URL, net=relay.net, wait=30))
        assert failure.cause is ConnectCause.UNAVAILABLE
        assert 15 < now() - start <= 30

    async def test_pauses_double_from_a_tenth_to_ten_seconds(self, relay: Relay) -> None:
        await relay.start_executor(echo)
        async with open_harness(
            HARNESS_URL, open_socket=relay.net.open_socket, rng=LongestPauses()
        ) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.net.dialled_at.clear()
            relay.net.faults.extend([refused()] * 9)
            lost_at = now()
            relay.net.cables.pop().cut()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
            pauses = [b - a for a, b in pairwise([lost_at, *relay.net.dialled_at])]
            assert pauses == pytest.approx(
                [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10], abs=0.001
            )

    async def test_pauses_come_from_the_source_of_randomness_that_was_given(self) -> None:
        async def dial_times(seed: int) -> list[float]:
            net = Net()
            net.faults.extend([ConnectionResetError(errno.ECONNRESET, "reset")] * 12)
            start = now()
            with pytest.raises(ConnectError):
                async with open_harness(
                    HARNESS_URL, open_socket=net.open_socket, rng=random.Random(seed), wait=20
                ):
                    pytest.fail("no link")
            net.close()
            return [at - start for at in net.dialled_at]

        first = await dial_times(1)
        assert len(first) > 5
        assert await dial_times(1) == pytest.approx(first)
        assert await dial_times(2) != pytest.approx(first)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_401_and_403_from_the_registry_are_final_later_too(
        self, relay: Relay, status: int
    ) -> None:
        await relay.start_executor(echo)
        relay.router.refusals.append(GRANTED)
        async with open_harness(REGISTRY, open_socket=relay.net.open_socket) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.router.refusals.append(error_response(status, "revoked", "token was revoked"))
            relay.net.cables.pop().cut()
            with pytest.raises(StreamEnded) as ended:
                await stream.receive()
            assert ended.value.reset.known_reason is ResetReason.UNAUTHORIZED
            failure = ended.value.__cause__
            assert isinstance(failure, RegistryRefused)
            assert (failure.status, failure.code) == (status, "revoked")
            assert harness.failure is failure
            assert harness.link is LinkStatus.DOWN
            with pytest.raises(LinkFailed, match="revoked") as refusal:
                await harness.open_stream()
            assert refusal.value.__cause__ is failure
            # The block was not cancelled for it.
            await asyncio.sleep(1)
