"""`sansrelay url`, against a registry of one answer on a real socket."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import trustme
from click.testing import CliRunner, Result

from sansrelay_apps import registry_http
from sansrelay_apps.url_command import command

URL = "ws://localhost:80/relay/box1?role=harness&ticket=x%2Fy"


def response(status: int, body: object, *, headers: str = "") -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


def granted(url: object = URL, **more: object) -> bytes:
    return response(200, {"environment_id": "box1", "url": url, **more})


@dataclass
class OneAnswer:
    """A server that reads one request, gives one answer, and leaves."""

    answer: bytes
    ssl_context: ssl.SSLContext | None = None
    request: bytes = b""
    done: threading.Event = field(default_factory=threading.Event)

    def serve(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if self.ssl_context is not None:
                try:
                    connection = self.ssl_context.wrap_socket(connection, server_side=True)
                except ssl.SSLError:
                    return
            connection.settimeout(10)
            while not self._is_whole():
                self.request += connection.recv(65536)
            connection.sendall(self.answer)
            self.done.wait(10)
            connection.close()

    def _is_whole(self) -> bool:
        head, end, body = self.request.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in [*head.lower().split(b"\r\n"), b"content-length: 0"]
            if line.startswith(b"content-length")
        )
        return bool(end) and len(body) >= length

    @property
    def body(self) -> bytes:
        return self.request.partition(b"\r\n\r\n")[2]


@contextmanager
def registry(server: OneAnswer) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.done.set()
        thread.join()


def call(base: str, *arguments: str) -> Result:
    env = {"SANSRELAY_TOKEN": "tok"}
    return CliRunner().invoke(command, ["--registry", base, "--id", "box1", *arguments], env=env)


def ask(answer: bytes, *arguments: str) -> tuple[Result, OneAnswer]:
    server = OneAnswer(answer)
    with registry(server) as host:
        return call(f"http://{host}/base", *arguments), server


def test_the_url_is_printed_as_it_came() -> None:
    result, server = ask(granted())
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{URL}\n", "")
    assert server.request.startswith(b"POST /base/cloud/environment/box1/connect HTTP/1.1\r\n")
    assert b"\r\nauthorization: bearer tok\r\n" in server.request.lower()
    assert server.body == b""


@pytest.mark.parametrize(("arguments", "said"), [((), True), (("--insecure",), False)])
def test_a_url_that_others_can_listen_to(arguments: tuple[str, ...], said: bool) -> None:
    url = "ws://relay.test/e?role=harness"
    result, _ = ask(granted(url), *arguments)
    assert (result.exit_code, result.stdout) == (0, f"{url}\n")
    assert ("the URL is not wss://" in result.stderr) is said


def test_an_executors_url() -> None:
    result, server = ask(granted("wss://h/e?role=executor"), "--role", "executor")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "wss://h/e?role=executor\n", "")
    assert server.request.startswith(b"POST /base/cloud/environment/box1/register ")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"expires_in": 43200}, None),
        ({"expires_in": 3600}, "lets the URL live 3600 s, not the 43200 s asked for"),
        ({}, "does not tell how long the URL is good"),
        ({"expires_in": "long"}, "does not tell how long the URL is good"),
        ({"expires_in": True}, "does not tell how long the URL is good"),
    ],
)
def test_the_time_to_live_is_sent_and_compared(more: dict[str, object], words: str | None) -> None:
    result, server = ask(granted(**more), "--ttl", "12h")
    assert json.loads(server.body) == {"ttl": 43200}
    assert b"\r\ncontent-type: application/json\r\n" in server.request.lower()
    assert (result.exit_code, result.stdout) == (0, f"{URL}\n")
    assert result.stderr == "" if words is None else words in result.stderr


@pytest.mark.parametrize("url", ["ws://h/", "ws://h/?role=harnesses", "ws://h/role=harness?x"])
def test_a_url_without_the_role_is_worth_a_word(url: str) -> None:
    result, _ = ask(granted(url))
    assert result.stdout == f"{url}\n"
    assert "the URL has no role=harness" in result.stderr


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            response(401, {"error": {"code": "c", "message": "who are you?"}}),
            (
                "no URL from the registry: who are you?; check the token, and that it is "
                "good for this id and this role"
            ),
        ),
        (
            response(404, b""),
            (
                "no URL from the registry: the registry answered with HTTP status 404; "
                "check --registry and --id"
            ),
        ),
        (
            response(400, {"error": {"code": "bad_ttl", "message": "too long"}}),
            "no URL from the registry: too long; check --id and --ttl",
        ),
        (
            response(503, {"error": {"code": "c", "message": "later\x1b"}}),
            "no URL from the registry: later\ufffd; try again later",
        ),
        (
            response(200, b"<html>"),
            (
                "no URL from the registry: the answer is not a JSON object; check that "
                "--registry leads to a registry, and not past it"
            ),
        ),
        (
            response(200, {"environment_id": "box2", "url": URL}),
            "no URL from the registry: the answer is for another id; check --id",
        ),
    ],
)
def test_answers_that_hold_no_url(answer: bytes, line: str) -> None:
    result, _ = ask(answer)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"sansrelay: {line}\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP\r\n\r\n",
        response(301, b"", headers="Location: http://elsewhere/\r\n"),
        response(200, {"environment_id": "box1", "url": "http://h/"}),
        response(200, {"environment_id": "box1", "url": 5}),
        response(200, b"x" * 2_000_000),
    ],
)
def test_every_other_answer_has_one_line_too(answer: bytes) -> None:
    result, _ = ask(answer)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1


def test_a_registry_that_hangs_up() -> None:
    server = OneAnswer(b"")
    server.done.set()
    with registry(server) as host:
        result = call(f"http://{host}")
    assert result.exit_code == 1
    assert f"no answer from the registry at {host}: " in result.stderr


def test_a_registry_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_http, "TIMEOUT", 0.05)
    server = OneAnswer(b"")
    with registry(server) as host:
        result = call(f"http://{host}")
    assert result.exit_code == 1
    assert f"no answer from the registry at {host} within 0.05 seconds" in result.stderr


def test_a_registry_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    result = call(f"http://{host}")
    assert result.exit_code == 1
    assert f"the registry at {host} refused the connection: nothing listens there" in result.stderr


def test_a_host_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> socket.socket:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    result = call("http://nowhere.invalid", "--insecure")
    assert result.exit_code == 1
    assert "the host name of the registry at nowhere.invalid:80 has no address" in result.stderr


def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    client_context = ssl.create_default_context()
    server = OneAnswer(granted(), ssl_context=server_context)
    with registry(server) as host:
        result = call(f"https://{host}")
    assert result.exit_code == 1
    assert "no TLS connection to the registry" in result.stderr
    assert result.stderr.count("\n") == 1

    authority.configure_trust(client_context)
    monkeypatch.setattr(ssl, "create_default_context", lambda: client_context)
    server = OneAnswer(granted(), ssl_context=server_context)
    with registry(server) as host:
        result = call(f"https://{host}")
    assert (result.exit_code, result.stdout) == (0, f"{URL}\n")
