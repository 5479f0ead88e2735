"""`sansrelay rendezvous` as a process: the ready line, what it serves, the end on a signal."""

import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from websockets.trio.client import ClientConnection, connect

import trio
from apps_kit import SANSRELAY, environment, first_line, run, started
from rendezvous_kit import ask, close_code, dial

pytestmark = pytest.mark.trio

PATIENCE = 20.0
LISTEN = ("--listen", "127.0.0.1:0")


def secret(path: Path, text: str = "executor e-token\nharness h-token\n") -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


async def rest_of_output(process: trio.Process) -> bytes:
    assert process.stdout is not None
    return b"".join([bytes(chunk) async for chunk in process.stdout])


async def connect_to(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))


async def relay_url(url: str, token: str = "any", verb: str = "connect") -> str:
    async with await connect_to(url) as stream:
        response = await ask(
            stream,
            "POST",
            f"/cloud/environment/box1/{verb}",
            headers=[("Authorization", f"Bearer {token}")],
        )
    assert response.status == 200, response.text
    start, _, _ = response.text.partition('", "expires_in"')
    return start.partition('"url": "')[2]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
async def test_it_says_when_it_is_ready_and_ends_on_a_signal(
    number: signal.Signals, status: int
) -> None:
    with trio.fail_after(PATIENCE):
        async with started("rendezvous", "--dev", *LISTEN, stderr=subprocess.PIPE) as process:
            line = await first_line(process)
            scheme, _, port = line.rpartition(":")
            assert scheme == "ready http://127.0.0.1"
            assert int(port) > 0
            async with await connect_to(line) as stream:
                assert (await ask(stream, "GET", "/readyz")).status == 200
                process.send_signal(number)
                assert await process.wait() == status
            assert await rest_of_output(process) == b""
            assert process.stderr is not None
            assert b"".join([bytes(chunk) async for chunk in process.stderr]) == b""


async def test_nohup_is_respected() -> None:
    with trio.fail_after(PATIENCE):
        process = await trio.lowlevel.open_process(
            ["nohup", *SANSRELAY, "rendezvous", "--dev", *LISTEN],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment(),
        )
        try:
            base = await first_line(process)
            process.send_signal(signal.SIGHUP)
            async with await connect_to(base) as stream:
                assert (await ask(stream, "GET", "/healthz")).status == 200
        finally:
            process.terminate()
            assert await process.wait() == 0


async def test_it_closes_its_websockets_in_order() -> None:
    with trio.fail_after(PATIENCE):
        async with started("rendezvous", "--dev", *LISTEN) as process:
            base = (await first_line(process)).removeprefix("ready ")
            # The kit's requests name the host relay.test.
            url = (await relay_url(base)).replace("relay.test", base.removeprefix("http://"))
            async with dial(url) as websocket:
                process.terminate()
                assert await close_code(websocket) == 1001
            assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    with trio.fail_after(PATIENCE):
        async with started("rendezvous", "--dev", *LISTEN) as process:
            base = (await first_line(process)).removeprefix("ready ")
            target = (await relay_url(base)).removeprefix("ws://relay.test")
            async with await connect_to(base) as deaf:
                await deaf.send_all(
                    f"GET {target} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
                )
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += await deaf.receive_some(1)
                process.send_signal(number)
                # The Close frame, which this client never answers, shows that it is closing.
                assert (await deaf.receive_some(1)) == b"\x88"
                process.send_signal(number)
                assert await process.wait() == -number


async def test_only_the_tokens_of_the_file_are_let_in(tmp_path: Path) -> None:
    tokens = secret(tmp_path / "tokens")
    with trio.fail_after(PATIENCE):
        async with started("rendezvous", "--token-file", tokens, *LISTEN) as process:
            base = await first_line(process)
            async with await connect_to(base) as stream:
                for token, verb, status in (
                    ("e-token", "register", 200),
                    ("e-token", "connect", 403),
                    ("h-token", "connect", 200),
                    ("other", "connect", 401),
                ):
                    path = f"/cloud/environment/box1/{verb}"
                    headers = [("Authorization", f"Bearer {token}")]
                    assert (await ask(stream, "POST", path, headers=headers)).status == status


async def test_urls_start_with_the_public_url_and_live_no_longer_than_allowed() -> None:
    with trio.fail_after(PATIENCE):
        options = ("--public-url", "https://relay.example/base/", "--max-ttl", "5m")
        async with started("rendezvous", "--dev", *LISTEN, *options) as process:
            base = await first_line(process)
            assert base.startswith("ready http://127.0.0.1:")
            assert (await relay_url(base)).startswith("wss://relay.example/base/relay/box1?role=")
            async with await connect_to(base) as stream:
                response = await ask(
                    stream,
                    "POST",
                    "/base/cloud/environment/box1/connect",
                    headers=[("Authorization", "Bearer x")],
                )
                assert '"expires_in": 300' in response.text


async def test_a_ticket_key_outlives_a_restart(tmp_path: Path) -> None:
    key = secret(tmp_path / "key", "k" * 32)
    options = ("rendezvous", "--dev", *LISTEN, "--ticket-key-file", key)
    with trio.fail_after(PATIENCE):
        async with started(*options) as process:
            url = await relay_url(await first_line(process))
        async with started(*options) as process:
            base = (await first_line(process)).removeprefix("ready http://")
            async with dial(url.replace("relay.test", base)):
                pass


async def test_it_speaks_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    ca.configure_trust(context)
    with trio.fail_after(PATIENCE):
        async with started(
            "rendezvous", "--dev", *LISTEN, "--tls-cert", str(chain), "--tls-key", str(key)
        ) as process:
            line = await first_line(process)
            assert line.startswith("ready https://127.0.0.1:")
            stream = trio.SSLStream(
                await connect_to(line), context, server_hostname="127.0.0.1", https_compatible=True
            )
            async with stream:
                response = await ask(
                    stream,
                    "POST",
                    "/cloud/environment/box1/connect",
                    headers=[("Authorization", "Bearer x")],
                )
            url = response.text.partition('"url": "')[2].partition('"')[0]
            assert url.startswith("wss://relay.test/relay/box1?")
            url = url.replace("relay.test", line.removeprefix("ready https://"))
            websocket: ClientConnection
            async with connect(url, ssl=context, compression=None, proxy=None) as websocket:
                process.terminate()
                assert await close_code(websocket) == 1001


async def test_the_log_tells_what_happens_and_no_secret() -> None:
    with trio.fail_after(PATIENCE):
        async with started("-v", "rendezvous", "--dev", *LISTEN, stderr=subprocess.PIPE) as process:
            base = await first_line(process)
            await relay_url(base, token="s3cret")
            process.terminate()
            assert process.stderr is not None
            log = b"".join([bytes(chunk) async for chunk in process.stderr]).decode()
            assert "POST /cloud/environment/box1/connect: status 200" in log
            assert "s3cret" not in log
            assert "ticket" not in log


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await run("rendezvous", "--dev", "--listen", f"127.0.0.1:{port}")
    assert done.status == 1
    assert done.line == (
        f"sansrelay: can't listen on 127.0.0.1 port {port}: another program does. "
        "Choose another port with --listen"
    )
    assert done.out == b""


async def test_nobody_reading_the_ready_line_is_said_in_one_line() -> None:
    with trio.fail_after(PATIENCE), Path("/dev/full").open("wb") as full:  # noqa: ASYNC230
        result = await trio.run_process(
            [*SANSRELAY, "rendezvous", "--dev", *LISTEN],
            stdout=full,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert result.returncode == 1
    assert result.stderr.startswith(b"sansrelay: can't write to standard output: No space left")
    assert result.stderr.count(b"\n") == 1
