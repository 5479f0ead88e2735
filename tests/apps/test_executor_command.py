"""`sansrelay executor` as a process: ready, patient, serving, and gone with all it started."""

import base64
import json
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

import trio
from apps_kit import TOKEN, closed_port, environment, first_line, run, started
from rendezvous_kit import Place, serving
from sansrelay import DataAcknowledged, Event, ResetReason
from sansrelay.jsonrpc import (
    JsonRpcSession,
    JsonValue,
    NotificationReceived,
    ResponseReceived,
)
from sansrelay_apps.execserver import ExecServerConfig
from sansrelay_apps.rendezvous.tokens import read_token_file
from sansrelay_trio import Harness, Registry, RelayStream, StreamEnded, open_harness

pytestmark = pytest.mark.trio

PATIENCE = 20.0


def options(url: str) -> tuple[str, ...]:
    return "executor", "--registry", url, "--id", "box1"


@asynccontextmanager
async def harness_of(place: Place) -> AsyncGenerator[Harness]:
    async with open_harness(Registry(place.url, "box1", token=TOKEN)) as harness:
        yield harness


class Caller:
    """A client of the exec-server that knows just enough."""

    def __init__(self, stream: RelayStream) -> None:
        self.stream = stream
        self._rpc = JsonRpcSession()

    @classmethod
    async def on(cls, harness: Harness) -> "Caller":
        caller = cls(await harness.open_stream())
        await caller.call("initialize", {"clientName": "test", "resumeSessionId": None})
        return caller

    async def ask(self, method: str, params: JsonValue) -> None:
        await self.stream.send(self._rpc.call(method, params)[1])

    async def call(self, method: str, params: JsonValue) -> JsonValue:
        await self.ask(method, params)
        while True:
            event = self._rpc.receive(await self.stream.receive())
            if isinstance(event, ResponseReceived):
                assert event.error is None, event.error
                return event.result

    async def start(self, script: str) -> None:
        """Run a shell script, with its standard input open."""
        params: JsonValue = {
            "processId": "p",
            "argv": ["sh", "-c", script],
            "cwd": "/",
            "env": {"PATH": os.environ["PATH"]},
            "pipeStdin": True,
            "tty": False,
        }
        await self.call("process/start", params)

    async def output(self) -> bytes:
        """The next output of the script."""
        while True:
            event = self._rpc.receive(await self.stream.receive())
            if isinstance(event, NotificationReceived) and event.method == "process/output":
                assert isinstance(event.params, dict)
                chunk = event.params["chunk"]
                assert isinstance(chunk, str)
                return base64.b64decode(chunk)


async def gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


class Log:
    """What a process writes to standard error."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stderr is not None
        self._pipe = process.stderr
        self.text = ""

    async def until(self, words: str, times: int = 1) -> str:
        while self.text.count(words) < times:
            chunk = await self._pipe.receive_some()
            assert chunk, f"not said: {words}"
            self.text += chunk.decode()
        return self.text

    async def whole(self) -> str:
        async for chunk in self._pipe:
            self.text += chunk.decode()
        return self.text


async def rest_of_output(process: trio.Process) -> bytes:
    assert process.stdout is not None
    return b"".join([bytes(chunk) async for chunk in process.stdout])


async def test_it_is_ready_once_it_can_be_reached() -> None:
    async with serving() as place, started(*options(place.url)) as process:
        assert await first_line(process) == "ready box1"
        assert place.server.stats().executor_links == 1
        async with harness_of(place) as harness:
            caller = await Caller.on(harness)
            await caller.start("echo here")
            assert await caller.output() == b"here\n"


async def test_commands_run_in_its_own_directory(tmp_path: Path) -> None:
    async with serving() as place, started(*options(place.url), cwd=tmp_path) as process:
        await first_line(process)
        async with harness_of(place) as harness:
            stream = await harness.open_stream()
            answer = await Caller(stream).call("initialize", {"clientName": "test"})
            assert isinstance(answer, dict)
            info = answer["serverInfo"]
            assert isinstance(info, dict)
            assert info["cwd"] == str(tmp_path)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
async def test_a_signal_ends_everything_in_order(number: signal.Signals, status: int) -> None:
    async with serving() as place:
        async with started(*options(place.url), stderr=subprocess.PIPE) as process:
            await first_line(process)
            async with harness_of(place) as harness:
                caller = await Caller.on(harness)
                await caller.start("trap '' TERM HUP; sleep 1000 & echo $$ $!; wait; sleep 1000")
                pids = [int(word) for word in (await caller.output()).split()]
                process.send_signal(number)
                with trio.fail_after(5.0):
                    assert await process.wait() == status
                for pid in pids:
                    await gone(pid)
                with pytest.raises(StreamEnded):
                    await caller.output()
                ended = caller.stream.ended
                assert ended is not None
                assert ended.known_reason is ResetReason.GOING_AWAY
            assert await rest_of_output(process) == b""
            assert await Log(process).whole() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    async with serving() as place, started(*options(place.url)) as process:
        await first_line(process)
        async with harness_of(place) as harness:
            caller = await Caller.on(harness)
            await caller.start("trap '' TERM; echo $$; while :; do sleep 1000; done")
            pid = int(await caller.output())
            process.send_signal(number)
            # Its end takes until the script, which does not listen, is killed.
            with pytest.raises(StreamEnded):
                await caller.stream.receive()
            process.send_signal(number)
            assert await process.wait() == -number
            os.kill(pid, signal.SIGKILL)


async def test_a_busy_session_ends_with_its_stream_all_the_same() -> None:
    acknowledged, progress = [0], trio.Event()

    def watch(event: Event) -> None:
        nonlocal progress
        if isinstance(event, DataAcknowledged):
            acknowledged.append(event.message_id)
            progress.set()
            progress = trio.Event()

    async with serving() as place, started(*options(place.url)) as process:
        await first_line(process)
        registry = Registry(place.url, "box1", token=TOKEN)
        async with open_harness(registry, on_event=watch) as harness:
            caller = await Caller.on(harness)
            await caller.start("echo $$; exec sleep 1000")
            pid = int(await caller.output())
            # As many requests as a session answers at a time; it receives nothing from then on.
            for _ in range(ExecServerConfig().max_requests_in_flight):
                await caller.ask(
                    "process/read", {"processId": "p", "afterSeq": 1000, "waitMs": 60_000}
                )
            while acknowledged[-1] < caller.stream.last_message_id:
                await progress.wait()
            caller.stream.reset()
            await gone(pid)
            again = await Caller.on(harness)
            await again.start("echo still serving")
            assert await again.output() == b"still serving\n"


async def test_it_waits_for_a_rendezvous_that_is_not_there_and_says_so_once() -> None:
    port = closed_port()
    with trio.fail_after(PATIENCE):
        async with started(*options(f"http://127.0.0.1:{port}"), stderr=subprocess.PIPE) as process:
            line = await Log(process).until("\n")
            assert line.startswith("sansrelay: the registry at 127.0.0.1:")
            assert "refused the connection" in line
            assert line.endswith("; trying again\n")
            async with serving(port=port) as place:
                assert await first_line(process) == "ready box1"
                assert place.server.stats().executor_links == 1
            process.terminate()
            assert await Log(process).whole() == ""


async def test_it_can_be_ended_while_it_waits() -> None:
    with trio.fail_after(PATIENCE):
        async with started(
            *options(f"http://127.0.0.1:{closed_port()}"), stderr=subprocess.PIPE
        ) as process:
            await Log(process).until("trying again")
            process.terminate()
            assert await process.wait() == 0


async def test_it_comes_back_to_a_rendezvous_that_was_replaced() -> None:
    async with serving() as first:
        async with started("-v", *options(first.url), stderr=subprocess.PIPE) as process:
            log = Log(process)
            await first_line(process)
            first.server.stop()
            await first.returned.wait()
            async with serving(port=first.port) as second:
                await log.until("link up", times=2)
                async with harness_of(second) as harness:
                    caller = await Caller.on(harness)
                    await caller.start("echo back")
                    assert await caller.output() == b"back\n"
                process.terminate()
                assert await process.wait() == 0
            assert await rest_of_output(process) == b"", "it is ready once only"


async def test_a_token_that_is_not_good_any_more_ends_it(tmp_path: Path) -> None:
    async with serving() as first:
        async with started(*options(first.url), stderr=subprocess.PIPE) as process:
            await first_line(process)
            first.server.stop()
            await first.returned.wait()
            tokens = tmp_path / "tokens"
            tokens.write_text("executor another\n")
            tokens.chmod(0o600)
            async with serving(access=read_token_file(tokens), port=first.port):
                assert await process.wait() == 1
                assert "401" in await Log(process).whole()


@pytest.mark.parametrize(
    ("token", "path", "words"),
    [
        ("harness-token", "", "403"),
        ("no-such-token", "", "401"),
        ("executor-token", "/elsewhere", "404"),
    ],
)
async def test_an_answer_that_says_no_is_final(
    tmp_path: Path, token: str, path: str, words: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("executor executor-token\nharness harness-token\n")
    tokens.chmod(0o600)
    async with serving(access=read_token_file(tokens)) as place:
        done = await run(*options(place.url + path), env=environment(SANSRELAY_TOKEN=token))
        assert done.status == 1
        assert words in done.line
        assert token not in done.line
        assert done.out == b""


async def test_a_host_without_an_address_is_final() -> None:
    done = await run(*options("https://no..host:1"))
    assert (done.status, done.out) == (1, b"")
    assert "has no address" in done.line


async def test_a_token_file_serves_as_well(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    env = environment()
    del env["SANSRELAY_TOKEN"]
    async with serving() as place:
        extra = ("--token-file", str(tmp_path / "token"), "--plaintext")
        async with started(*options(place.url), *extra, env=env) as process:
            assert await first_line(process) == "ready box1"


async def test_the_counters_are_written_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "stats"
    async with serving() as place:
        async with started(*options(place.url), "--stats", str(path)) as process:
            await first_line(process)
            async with harness_of(place) as harness:
                caller = await Caller.on(harness)
                await caller.stream.aclose()
            process.terminate()
            assert await process.wait() == 0
    stats = json.loads(path.read_text())
    assert stats["streams_opened"] == 1
    assert stats["messages_received"] == 1
    assert stats["duplicates_dropped"] == 0


async def test_counters_that_can_not_be_written_are_said(tmp_path: Path) -> None:
    async with serving() as place:
        async with started(
            *options(place.url), "--stats", str(tmp_path), stderr=subprocess.PIPE
        ) as process:
            await first_line(process)
            process.terminate()
            assert await process.wait() == 1
            assert (await Log(process).whole()).startswith(
                "sansrelay: can't write the counters to "
            )


async def test_it_registers_and_dials_over_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with serving(ssl_context=context) as place:
        env = environment(SSL_CERT_FILE=str(tmp_path / "ca.pem"))
        async with started(*options(place.url), env=env) as process:
            assert await first_line(process) == "ready box1"
        stranger = await run(*options(place.url))
        assert stranger.status == 1
        assert "certificate" in stranger.line


async def test_the_log_tells_what_happens_and_no_secret() -> None:
    env = environment(SANSRELAY_TOKEN="s3cret-token")
    async with serving() as place:
        async with started("-vv", *options(place.url), stderr=subprocess.PIPE, env=env) as process:
            log = Log(process)
            await first_line(process)
            async with harness_of(place) as other:
                stream = await other.open_stream("a\nb")
                await stream.send(b"s3cret-payload")
                await stream.receive()
                stream.reset("bad\nreason")
                await log.until("bad\N{REPLACEMENT CHARACTER}reason")
            process.terminate()
            text = await log.whole()
            assert "link up" in text
            assert "stream a\N{REPLACEMENT CHARACTER}b opened, reliable" in text
            assert "s3cret" not in text
            assert "ticket=" not in text


async def test_a_rendezvous_on_another_machine_without_tls() -> None:
    async with serving() as place:
        # This machine too, but not by an address that is known to be so.
        url = place.url.replace("127.0.0.1", "0.0.0.0")
        async with started(*options(url), stderr=subprocess.PIPE) as process:
            line = await Log(process).whole()
            assert "use https:// in the registry's URL, or --insecure" in line
            assert await process.wait() == 2
        async with started(*options(url), "--insecure") as process:
            assert await first_line(process) == "ready box1"
            process.terminate()
