"""What the adapters know about the network, and a WebSocket on a transport: without either."""

import errno
import re
from collections.abc import Callable

import pytest

from sansrelay.connection import Role
from sansrelay.http import HttpResponse, UrlCause, UrlError
from sansrelay.http_server import HttpServerConnection
from sansrelay.links import (
    ConnectCause,
    ConnectError,
    KeepAlive,
    LinkCause,
    PingTimer,
    RegistryRefused,
)
from sansrelay.network import (
    WRITE_SIZE,
    Registry,
    RegistryQuestion,
    ServerLimits,
    WebSocketCore,
    broken_off,
    rejected,
    timed_out,
    tls_failed,
    unconnected,
    unknown_host,
    url_to_dial,
)
from sansrelay.registry import error_response
from sansrelay.websocket import WebSocketLink

REGISTRY = Registry("http://localhost", "box1", token="secret")


# -- asking the registry


def served(question: RegistryQuestion) -> HttpServerConnection:
    """A server that has received the question."""
    server = HttpServerConnection()
    server.receive_bytes(question.exchange.bytes_to_send())
    return server


class TestRegistryQuestion:
    @pytest.mark.parametrize(
        ("role", "verb"), [(Role.EXECUTOR, "register"), (Role.HARNESS, "connect")]
    )
    def test_an_answer_is_where_to_dial(self, role: Role, verb: str) -> None:
        question = RegistryQuestion(role, REGISTRY, insecure=False)
        server = served(question)
        request = server.next_request()
        assert request is not None
        assert request.target == f"/cloud/environment/box1/{verb}"
        assert not question.is_answered
        url = b'{"environment_id": "box1", "url": "wss://relay.test/x"}'
        server.respond(HttpResponse(status=200, body=url))
        question.exchange.receive_bytes(server.bytes_to_send())
        assert question.is_answered
        assert (question.answer().host, question.answer().port) == ("relay.test", 443)

    @pytest.mark.parametrize(
        ("response", "cause", "code"),
        [
            (error_response(401, "bad_token", "no"), ConnectCause.UNAUTHORIZED, "bad_token"),
            (HttpResponse(status=409), ConnectCause.DENIED, None),
        ],
    )
    def test_a_refusal(self, response: HttpResponse, cause: ConnectCause, code: str | None) -> None:
        failure = self.failure_after(response)
        assert isinstance(failure, RegistryRefused)
        assert (failure.cause, failure.status, failure.code) == (cause, response.status, code)
        assert "the registry at localhost:80 answered with status" in str(failure)

    def test_an_answer_without_a_url(self) -> None:
        failure = self.failure_after(HttpResponse(status=200, body=b"{}"))
        assert (failure.cause, failure.status) == (ConnectCause.BAD_ANSWER, 200)
        assert not isinstance(failure, RegistryRefused)

    def test_a_url_without_tls_to_another_machine(self) -> None:
        body = b'{"environment_id": "box1", "url": "ws://relay.test/x"}'
        failure = self.failure_after(HttpResponse(status=200, body=body))
        assert failure.cause is ConnectCause.INSECURE
        assert "the WebSocket server that the registry names at relay.test:80" in str(failure)

    @pytest.mark.parametrize(
        ("sent", "cause"),
        [(b"", ConnectCause.BROKEN_OFF), (b"nonsense\r\n\r\n", ConnectCause.BAD_ANSWER)],
    )
    def test_no_answer(self, sent: bytes, cause: ConnectCause) -> None:
        question = RegistryQuestion(Role.HARNESS, REGISTRY, insecure=False)
        if sent:
            question.exchange.receive_bytes(sent)
        question.exchange.receive_eof()
        with pytest.raises(ConnectError, match="no answer from the registry") as caught:
            question.answer()
        assert caught.value.cause is cause

    def failure_after(self, response: HttpResponse) -> ConnectError:
        question = RegistryQuestion(Role.HARNESS, REGISTRY, insecure=False)
        server = served(question)
        assert server.next_request() is not None
        server.respond(response)
        question.exchange.receive_bytes(server.bytes_to_send())
        with pytest.raises(ConnectError) as caught:
            question.answer()
        assert "secret" not in str(caught.value)
        return caught.value


# -- what to call a failed attempt


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda: timed_out("it", 4), ConnectCause.TIMED_OUT),
        (lambda: unknown_host("it", OSError("x")), ConnectCause.UNKNOWN_HOST),
        (lambda: tls_failed("it", OSError("x")), ConnectCause.TLS),
        (lambda: broken_off("it", OSError()), ConnectCause.BROKEN_OFF),
        (lambda: unconnected("it", OSError(errno.ECONNREFUSED, "x")), ConnectCause.REFUSED),
        (lambda: unconnected("it", OSError(errno.ENETUNREACH, "x")), ConnectCause.UNREACHABLE),
    ],
)
def test_every_failure_says_whom_it_is_about(
    make: Callable[[], ConnectError], cause: ConnectCause
) -> None:
    error = make()
    assert error.cause is cause
    assert re.search(r"\bit\b", str(error))


def test_of_several_addresses_the_most_telling_error_counts() -> None:
    error = OSError("all of them failed")
    several = [OSError(errno.ENETUNREACH, "v6"), OSError(errno.ECONNREFUSED, "v4"), ValueError()]
    error.__cause__ = ExceptionGroup("", several)
    assert unconnected("it", error).cause is ConnectCause.REFUSED


def test_a_url_that_can_not_be_dialled() -> None:
    with pytest.raises(ConnectError) as caught:
        url_to_dial("http://localhost/", insecure=False)
    assert caught.value.cause is ConnectCause.BAD_URL


@pytest.mark.parametrize(
    ("sent", "cause", "status"),
    [
        (b"", ConnectCause.BROKEN_OFF, None),
        (b"nonsense\r\n\r\n", ConnectCause.BAD_ANSWER, None),
        (b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n", ConnectCause.UNAUTHORIZED, 401),
    ],
)
def test_a_rejected_websocket(sent: bytes, cause: ConnectCause, status: int | None) -> None:
    link = WebSocketLink.client("ws://localhost/")
    if sent:
        link.receive_bytes(sent)
    link.receive_eof()
    error = rejected(link, "it", "nothing")
    assert (error.cause, error.status) == (cause, status)


def test_values_check_themselves() -> None:
    with pytest.raises(UrlError) as caught:
        Registry("ftp://localhost", "box1", token="t")
    assert caught.value.cause is UrlCause.BAD_SCHEME
    assert ServerLimits() == ServerLimits(request_timeout=10)
    with pytest.raises(ValueError, match=r"^idle_timeout must be"):
        ServerLimits(idle_timeout=0)
    with pytest.raises(ValueError, match=r"^max_connections must be"):
        ServerLimits(max_connections=0)


# -- one WebSocket on its transport


class Pair:
    """A client's core and a server's link, after their handshake."""

    def __init__(self, keepalive: KeepAlive | None = None) -> None:
        self.notices = 0
        link = WebSocketLink.client("ws://localhost/", max_message_size=1_000_000)
        self.core = WebSocketCore(link, keepalive or KeepAlive(), notify=self._notify)
        http = HttpServerConnection()
        http.receive_bytes(self.written())
        assert http.next_request() is not None
        self.server = http.accept_websocket()

    def _notify(self) -> None:
        self.notices += 1

    def written(self) -> bytes:
        """What the client's task would write now."""
        return b"".join(self.core.blocks())

    def answer(self, now: float = 0.0, *, writing: bool = False) -> bool:
        """Let the client read what the server has to send."""
        return self.core.received(self.server.bytes_to_send(), now, writing=writing)


class TestWebSocketCore:
    def test_messages_go_in_blocks_with_what_comes_meanwhile(self) -> None:
        pair = Pair()
        assert not pair.core.queue([b"too early"])
        pair.answer()
        assert pair.core.queue([bytes(150_000), b"small"])
        sizes = []
        for block in pair.core.blocks():
            sizes.append(len(block))
            pair.server.receive_bytes(bytes(block))
            if len(sizes) == 1:
                assert pair.core.queue([b"late"])
        assert sizes[:2] == [WRITE_SIZE, WRITE_SIZE]
        assert max(sizes) == WRITE_SIZE
        assert pair.server.messages() == [bytes(150_000), b"small", b"late"]

    @pytest.mark.parametrize("writing", [False, True])
    def test_the_answer_to_a_ping_goes_out_by_who_writes_or_who_is_woken(
        self, writing: bool
    ) -> None:
        pair = Pair()
        pair.answer()
        pair.server.ping(b"x")
        assert pair.answer(writing=writing)
        assert pair.notices == (not writing)
        pair.server.receive_bytes(pair.written())
        assert pair.server.pongs() == [b"x"]

    def test_what_came_with_the_handshake_and_a_close_counts(self) -> None:
        pair = Pair()
        pair.server.send_message(b"at once")
        pair.server.close(4001, "over\nthere")
        assert pair.answer()
        link = pair.core.link
        assert link.was_open
        assert pair.core.is_over
        assert link.messages() == [b"at once"]
        assert pair.core.ending == (
            LinkCause.CLOSED_BY_PEER,
            "the peer closed the WebSocket with code 4001: over\N{REPLACEMENT CHARACTER}there",
        )
        assert not pair.core.received(b"", 0.0, writing=False)

    def test_a_link_that_was_rejected_was_never_open(self) -> None:
        link = WebSocketLink.client("ws://localhost/")
        core = WebSocketCore(link, KeepAlive(), notify=lambda: None)
        core.received(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", 0.0, writing=False)
        assert not link.was_open
        assert core.ending[0] is LinkCause.PROTOCOL_ERROR

    def test_an_end_without_a_close_is_a_lost_connection(self) -> None:
        pair = Pair()
        pair.answer()
        assert pair.core.received(b"", 0.0, writing=False)
        assert pair.core.ending[0] is LinkCause.CONNECTION_LOST

    def test_closed_here(self) -> None:
        pair = Pair()
        pair.answer()
        pair.core.closing = True
        pair.core.link.close()
        pair.server.receive_bytes(pair.written())
        assert pair.answer()
        assert pair.core.ending == (LinkCause.CLOSED_HERE, "this side closed the WebSocket")

    def test_of_the_transport_the_first_failure_counts(self) -> None:
        pair = Pair(KeepAlive(write_timeout=7))
        pair.answer()
        pair.core.write_timed_out()
        pair.core.closed_here()
        assert pair.core.is_over
        assert not pair.core.queue([b"x"])
        message = "the peer took nothing for 7 seconds"
        assert pair.core.ending == (LinkCause.WRITE_TIMEOUT, message)
        assert pair.notices == 2

    def test_pings_and_silence(self) -> None:
        pair = Pair(KeepAlive(ping_interval=20, pong_timeout=5))
        timer = PingTimer(KeepAlive(ping_interval=20, pong_timeout=5), 0.0)
        pair.answer()
        assert pair.core.keep_alive(timer, 20.0)
        pair.server.receive_bytes(pair.written())
        pair.answer(21.0)
        assert pair.core.keep_alive(timer, 26.0)
        assert pair.core.keep_alive(timer, 40.0)
        assert not pair.core.keep_alive(timer, 45.0)
        message = "nothing came from the peer for 5 seconds after a ping"
        assert pair.core.ending == (LinkCause.PONG_TIMEOUT, message)
