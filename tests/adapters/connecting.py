"""Rows about links that do not come about: refused, misled, unanswered, untrusted."""

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import cache

import trustme

from adapters.links import IMPATIENT
from adapters.table import Relay, behaviour
from adapters.wires import closed_port
from sansrelay import Role
from sansrelay.http import HttpResponse
from sansrelay.network import Registry

RST = struct.pack("ii", 1, 0)


def refusal(status: int) -> HttpResponse:
    """A registry's, or a server's that knows nothing of registries: both understand it."""
    return HttpResponse(status=status, body=b'{"error": {"code": "no", "message": "not today"}}')


def registry(relay: Relay, token: str = "secret") -> Registry:
    scheme = "https" if relay.scheme == "wss" else "http"
    return Registry(f"{scheme}://localhost:{relay.port}", "box1", token=token)


def refuse_tls(connection: socket.socket, tls: ssl.SSLContext) -> None:
    """Do a handshake that fails, and tell the peer why."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    handshake = tls.wrap_bio(received, to_send, server_side=True)
    while data := connection.recv(64 * 1024):
        received.write(data)
        try:
            handshake.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            connection.sendall(to_send.read())
            connection.shutdown(socket.SHUT_WR)
        connection.sendall(to_send.read())


@contextmanager
def server_that_says(
    answer: bytes, *, reset: bool = False, tls: ssl.SSLContext | None = None
) -> Generator[int]:
    """A server that reads something, says the same to everybody, and hangs up. None of ours."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                if tls is not None:
                    refuse_tls(connection, tls)
                connection.recv(64 * 1024)
                connection.sendall(answer)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@behaviour(
    steps=[
        "no link: REFUSED",
        "no link: REFUSED",
        "no link: REFUSED",
        "no link: REFUSED",
        "no link: REFUSED",
        "no link: REFUSED",
    ]
)
def where_nothing_listens(relay: Relay) -> Iterator[object]:
    for role in Role:
        yield relay.attempt(role, f"ws://127.0.0.1:{closed_port()}/")
        yield relay.attempt(role, f"ws://localhost:{closed_port()}/")
        yield relay.attempt(role, Registry(f"http://127.0.0.1:{closed_port()}", "id", token="t"))


@behaviour(
    steps=[
        "no link: BAD_URL",
        "no link: BAD_URL",
        "no link: BAD_URL",
        "no link: BAD_URL",
        "no link: BAD_URL",
    ]
)
def a_url_that_can_not_be_dialled(relay: Relay) -> Iterator[object]:
    for url in ("http://localhost/", "ws://", "ws://localhost:99999/", "ws://user@localhost/"):
        yield relay.attempt(Role.HARNESS, url)
    yield relay.attempt(Role.EXECUTOR, "nonsense")


@behaviour(steps=["no link: UNKNOWN_HOST", "no link: UNKNOWN_HOST"])
def a_name_that_can_not_be_one(relay: Relay) -> Iterator[object]:
    for role in Role:
        yield relay.attempt(role, f"ws://{'x' * 64}.test/", insecure=True)


@behaviour(
    steps=[
        "no link: INSECURE",
        "no link: INSECURE",
        "no link: INSECURE",
        "no link: INSECURE",
        "no link: INSECURE",
    ]
)
def a_plain_connection_that_leads_to_another_machine(relay: Relay) -> Iterator[object]:
    """Nothing is looked up or connected to, and a registry can't talk one into it."""
    for role in Role:
        yield relay.attempt(role, "ws://relay.test/")
        yield relay.attempt(role, Registry("http://relay.test", "box1", token="secret"))
    body = b'{"environment_id": "box1", "url": "ws://relay.test/"}'
    relay.middle.answers.append(HttpResponse(status=200, body=body))
    yield relay.attempt(Role.HARNESS, registry(relay))


@behaviour(
    steps=[
        "no link: BROKEN_OFF",
        "no link: BROKEN_OFF",
        "no link: BROKEN_OFF",
        "no link: BROKEN_OFF",
    ]
)
def a_server_that_hangs_up(relay: Relay) -> Iterator[object]:
    for reset in (False, True):
        with server_that_says(b"", reset=reset) as port:
            yield relay.attempt(Role.HARNESS, f"ws://127.0.0.1:{port}/")
            yield relay.attempt(
                Role.EXECUTOR, Registry(f"http://127.0.0.1:{port}", "id", token="t")
            )


@behaviour(
    steps=[
        "no link: BROKEN_OFF",
        "no link: BROKEN_OFF",
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER",
        "no link: BAD_ANSWER",
        "no link: BAD_ANSWER 200",
        "no link: BROKEN_OFF",
    ]
)
def a_server_that_speaks_something_else(relay: Relay) -> Iterator[object]:
    for answer in (
        b"220 smtp.test ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Hello\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
    ):
        with server_that_says(answer) as port:
            yield relay.attempt(Role.HARNESS, f"ws://127.0.0.1:{port}/")
            yield relay.attempt(
                Role.EXECUTOR, Registry(f"http://127.0.0.1:{port}", "id", token="t")
            )


@behaviour(steps=["no link: TIMED_OUT", "no link: TIMED_OUT", "no link: TIMED_OUT"])
def a_server_that_says_nothing(relay: Relay) -> Iterator[object]:
    """Its system takes the connection, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for target in (
            f"ws://127.0.0.1:{port}/",
            f"wss://127.0.0.1:{port}/",
            Registry(f"http://127.0.0.1:{port}", "id", token="t"),
        ):
            yield relay.attempt(Role.HARNESS, target, connect_timeout=0.05)


@behaviour(
    steps=[
        "no link: UNAUTHORIZED 401",
        "no link: UNAUTHORIZED 403",
        "no link: DENIED 404",
        "no link: UNAVAILABLE 429",
        "no link: BAD_ANSWER 301",
        "no link: UNAVAILABLE 500",
        "no link: UNAVAILABLE 503",
        "no link: BAD_ANSWER 200",
        "no link: UNAUTHORIZED 401",
    ]
)
def a_server_that_refuses_the_websocket(relay: Relay) -> Iterator[object]:
    for status in (401, 403, 404, 429, 301, 500, 503, 200):
        relay.middle.answers.append(refusal(status))
        yield relay.attempt(Role.HARNESS)
    relay.middle.answers.append(refusal(401))
    yield relay.attempt(Role.EXECUTOR)


@behaviour(
    steps=[
        "registry: UNAUTHORIZED 401 no",
        "registry: UNAUTHORIZED 403 no",
        "registry: DENIED 404 no",
        "registry: UNAVAILABLE 429 no",
        "no link: BAD_ANSWER 302",
        "registry: UNAVAILABLE 500 no",
        "registry: UNAVAILABLE 503 no",
        "registry: UNAUTHORIZED 403 no",
    ]
)
def a_registry_that_refuses(relay: Relay) -> Iterator[object]:
    for status in (401, 403, 404, 429, 302, 500, 503):
        relay.middle.answers.append(refusal(status))
        yield relay.attempt(Role.HARNESS, registry(relay))
    relay.middle.answers.append(refusal(403))
    yield relay.attempt(Role.EXECUTOR, registry(relay))


@behaviour(
    steps=[
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER 200",
        "no link: BAD_ANSWER 200",
    ]
)
def a_registry_whose_answer_is_no_good(relay: Relay) -> Iterator[object]:
    for body in (
        b"",
        b"[]",
        b'{"environment_id": "box1"}',
        b'{"environment_id": "box2", "url": "ws://localhost/"}',
        b'{"environment_id": "box1", "url": "http://localhost/"}',
    ):
        relay.middle.answers.append(HttpResponse(status=200, body=body))
        yield relay.attempt(Role.HARNESS, registry(relay))


@behaviour(
    steps=[
        ("done", b"x"),
        ["/cloud/environment/box1/register", "/cloud/environment/box1/connect"],
        ["Bearer secret", "Bearer secret"],
    ]
)
def both_ends_by_way_of_a_registry(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(registry(relay)), relay.harness(registry(relay))
    ours = harness.open_stream()
    yield ours.send(b"x"), executor.accept().receive()
    asked = [each for each in relay.middle.requests if each.method == "POST"]
    yield [each.path for each in asked]
    yield [each.headers.get("authorization") for each in asked]


@behaviour(steps=["linked", 4, "no link: DENIED 404"])
def a_first_connection_is_tried_again_while_wait_lasts(relay: Relay) -> Iterator[object]:
    for status in (503, 429, 500):
        relay.middle.answers.append(refusal(status))
    yield relay.attempt(Role.HARNESS, wait=60)
    yield len(relay.middle.requests)
    relay.middle.answers += [refusal(503), refusal(404)]
    yield relay.attempt(Role.EXECUTOR, wait=60)


@behaviour(steps=[("done", b"x"), 0])
def a_link_that_was_lost_is_dialled_again_whatever_happens(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    relay.middle.answers += [refusal(status) for status in (401, 403, 404, 500, 200)]
    relay.wires[Role.HARNESS].cut()
    yield ours.send(b"x"), theirs.receive()
    yield len(relay.middle.answers)


@behaviour(
    steps=[
        "ended: unauthorized, by local (registry: UNAUTHORIZED 401 no)",
        "ended: unauthorized, by local (registry: UNAUTHORIZED 401 no)",
        "no link any more (registry: UNAUTHORIZED 401 no)",
        "DOWN",
        "done",
    ]
)
def a_registry_that_withdraws_its_leave_from_a_harness(relay: Relay) -> Iterator[object]:
    """401 and 403 of the registry are final at any time, unlike those of the server."""
    executor, harness = relay.executor(), relay.harness(registry(relay))
    ours = harness.open_stream()
    ours.wait_opened()
    executor.accept()
    relay.middle.answers += [refusal(503), refusal(401)]
    waiting = ours.later("receive")
    relay.wires[Role.HARNESS].cut()
    yield waiting.outcome()
    yield ours.send(b"x")
    yield harness.open_later().outcome()
    yield harness.link
    yield harness.leave()


@behaviour(steps=["registry: UNAUTHORIZED 403 no", "closed here", "DOWN"])
def a_registry_that_withdraws_its_leave_from_an_executor(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(registry(relay)), relay.harness()
    ours = harness.open_stream()
    ours.wait_opened()
    theirs = executor.accept()
    relay.middle.answers.append(refusal(403))
    relay.wires[Role.EXECUTOR].cut()
    yield executor.outcome()
    yield theirs.receive()
    yield executor.link


# -- TLS


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, *names: str, days: float = 1) -> ssl.SSLContext:
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, not_after=until).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def good() -> ssl.SSLContext:
    return server_context(authority(), "localhost", "127.0.0.1")


def of_another_name() -> ssl.SSLContext:
    return server_context(authority(), "elsewhere.test")


def expired() -> ssl.SSLContext:
    return server_context(authority(), "localhost", days=-1)


def of_another_authority() -> ssl.SSLContext:
    return server_context(trustme.CA(), "localhost")


def that_asks_for_one() -> ssl.SSLContext:
    context = good()
    context.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(context)
    return context


def new_versions_only() -> ssl.SSLContext:
    context = good()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def both(relay: Relay, context: ssl.SSLContext | None) -> list[str]:
    return [relay.attempt(role, ssl_context=context) for role in Role]


@behaviour(
    steps=[(True, "done"), 1, ("done", b"x"), "done"],
    tls=good,
)
def a_certificate_of_a_trusted_authority(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(ssl_context=trusting(), config=IMPATIENT)
    message = bytes(range(256)) * 4096
    sending = ours.later("send", message)
    yield theirs.receive() == message, sending.outcome()
    yield relay.wires[Role.HARNESS].cut()
    yield theirs.send(b"x"), ours.receive()
    yield ours.aclose()


@behaviour(
    steps=["linked"],
    tls=good,
)
def a_certificate_for_an_address(relay: Relay) -> Iterator[object]:
    url = f"wss://127.0.0.1:{relay.port}/harness"
    yield relay.attempt(Role.HARNESS, url, ssl_context=trusting())


@behaviour(
    steps=["linked", "linked"],
    tls=good,
)
def a_registry_over_tls(relay: Relay) -> Iterator[object]:
    for role in Role:
        yield relay.attempt(role, registry(relay), ssl_context=trusting())


@behaviour(
    steps=[["no link: TLS", "no link: TLS"]],
    tls=of_another_authority,
)
def a_certificate_of_another_authority(relay: Relay) -> Iterator[object]:
    yield both(relay, trusting())


@behaviour(
    steps=[["no link: TLS", "no link: TLS"], "no link: TLS"],
    tls=good,
)
def a_certificate_that_the_system_does_not_trust(relay: Relay) -> Iterator[object]:
    """Without a context of one's own, the system's authorities count."""
    yield both(relay, None)
    yield relay.attempt(Role.HARNESS, registry(relay))


@behaviour(
    steps=[["no link: TLS", "no link: TLS"]],
    tls=of_another_name,
)
def a_certificate_for_another_name(relay: Relay) -> Iterator[object]:
    yield both(relay, trusting())


@behaviour(steps=[["linked", "linked"], "no link: TLS"], tls=of_another_name)
def a_certificate_for_the_name_that_is_asked_for(relay: Relay) -> Iterator[object]:
    yield [
        relay.attempt(role, ssl_context=trusting(), server_hostname="elsewhere.test")
        for role in Role
    ]
    yield relay.attempt(Role.HARNESS, ssl_context=trusting(), server_hostname="localhost")


@behaviour(
    steps=[["no link: TLS", "no link: TLS"]],
    tls=expired,
)
def a_certificate_that_has_expired(relay: Relay) -> Iterator[object]:
    yield both(relay, trusting())


@behaviour(steps=["no link: TLS", "no link: TLS", "linked"], tls=that_asks_for_one)
def a_server_that_asks_for_a_certificate(relay: Relay) -> Iterator[object]:
    """It says so after its peer's end of the handshake is done, or hangs up without a word."""
    with server_that_says(b"", tls=that_asks_for_one()) as port:
        for target in (
            f"wss://localhost:{port}/",
            Registry(f"https://localhost:{port}", "id", token="t"),
        ):
            yield relay.attempt(Role.HARNESS, target, ssl_context=trusting())
    context = trusting()
    authority().issue_cert("client").configure_cert(context)
    yield relay.attempt(Role.HARNESS, ssl_context=context)


@behaviour(steps=["no link: TLS", "no link: TLS"])
def a_server_that_speaks_newer_versions_of_tls_only(relay: Relay) -> Iterator[object]:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with server_that_says(b"", tls=new_versions_only()) as port:
        for role in Role:
            yield relay.attempt(role, f"wss://localhost:{port}/", ssl_context=context)


@behaviour(steps=["no link: TLS", "no link: BROKEN_OFF"])
def tls_where_there_is_none(relay: Relay) -> Iterator[object]:
    yield relay.attempt(Role.HARNESS, f"wss://localhost:{relay.port}/", ssl_context=trusting())
    with server_that_says(b"") as port:
        yield relay.attempt(Role.HARNESS, f"wss://localhost:{port}/", ssl_context=trusting())


@behaviour(
    steps=["no link: BROKEN_OFF"],
    tls=good,
)
def no_tls_where_there_is_some(relay: Relay) -> Iterator[object]:
    yield relay.attempt(Role.HARNESS, f"ws://localhost:{relay.port}/harness")
