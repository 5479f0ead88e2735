"""One remote command, against our exec-server and against a scripted executor like Codex."""

import base64
import errno
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from exec_kit import (
    FakeExecutor,
    FakeHost,
    MemoryChannel,
    MemorySink,
    MemorySource,
    Terminal,
    channel_pair,
    ended,
)
from sansrelay.errors import ResetReason
from sansrelay.jsonrpc import RpcError
from sansrelay_apps.exec_client import STDIN_CHUNK, STDIN_WRITES, TERMINATE_TIMEOUT
from sansrelay_apps.execserver import ExecServerConfig, serve_session
from sansrelay_apps.remote_failure import RemoteFailure

pytestmark = pytest.mark.trio


class RealHost:
    """Opens streams to our exec-server."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.served = trio.Event()

    async def open_stream(self) -> MemoryChannel:
        ours, theirs = channel_pair()
        self._nursery.start_soon(self._serve, theirs)
        return ours

    async def _serve(self, channel: MemoryChannel) -> None:
        await serve_session(channel, config=ExecServerConfig(kill_grace=0.1, drain_grace=0.1))
        self.served.set()


@asynccontextmanager
async def real_host() -> AsyncIterator[RealHost]:
    """At the end everything that was opened must be over."""
    async with trio.open_nursery() as nursery:
        yield RealHost(nursery)


@asynccontextmanager
async def fake_host(*descriptions: dict[str, Any]) -> AsyncIterator[FakeHost]:
    async with trio.open_nursery() as nursery:
        yield FakeHost(nursery, list(descriptions))
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def in_background(
    terminal: Terminal, host: RealHost | FakeHost, *argv: str, status: int
) -> AsyncIterator[None]:
    """Runs a command beside the block, and expects its status."""

    async def run() -> None:
        assert await terminal.run(host.open_stream, *argv) == status

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        yield


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


# -- our own exec-server


async def test_output_goes_to_its_stream_and_the_status_comes_back() -> None:
    terminal = Terminal()
    async with real_host() as host:
        script = "echo out; echo err >&2; exit 7"
        assert await terminal.run(host.open_stream, "sh", "-c", script) == 7
    assert (terminal.stdout.data, terminal.stderr.data) == (b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
async def test_exit_statuses(script: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    async with real_host() as host:
        assert await Terminal().run(host.open_stream, "sh", "-c", script) == status
    assert capsys.readouterr().err == ""


async def test_input_goes_through_whole() -> None:
    data = bytes(range(256)) * 5000
    terminal = Terminal(stdin=MemorySource(b"first\n", data))
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "cat") == 0
    assert terminal.stdout.data == b"first\n" + data


async def test_input_that_is_at_its_end_is_none() -> None:
    terminal = Terminal()
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "readlink", "/proc/self/fd/0") == 0
    assert terminal.stdout.data == b"/dev/null\n"


async def test_input_that_stays_open_holds_nothing_up() -> None:
    terminal = Terminal(stdin=MemorySource(b"line\n", stays_open=True))
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "head", "-1") == 0
    assert terminal.stdout.data == b"line\n"


async def test_a_program_that_reads_nothing_ends_all_the_same() -> None:
    terminal = Terminal(stdin=MemorySource(b"x" * 10_000_000))
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "true") == 0


async def test_the_directory_is_the_executors_own_or_the_one_asked_for(tmp_path: Path) -> None:
    terminal = Terminal()
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "pwd") == 0
        assert await terminal.run(host.open_stream, "pwd", cwd=str(tmp_path)) == 0
    assert terminal.stdout.data.decode().splitlines() == [str(Path.cwd()), str(tmp_path)]


async def test_the_environment_is_the_executors_less_its_secrets_and_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRUIT", "pear")
    monkeypatch.setenv("SANSRELAY_TOKEN", "secret")
    terminal = Terminal()
    async with real_host() as host:
        script = "echo $FRUIT:$SANSRELAY_TOKEN:$MY_TOKEN"
        env = {"MY_TOKEN": "given"}
        assert await terminal.run(host.open_stream, "sh", "-c", script, env=env) == 0
    assert terminal.stdout.data == b"pear::given\n"


async def test_a_program_that_is_not_there() -> None:
    async with real_host() as host:
        with pytest.raises(RemoteFailure, match=r"^box1: no such program: no-such-prog$") as caught:
            await Terminal().run(host.open_stream, "no-such-prog")
    assert caught.value.status == 127


async def test_a_program_that_can_not_be_run() -> None:
    async with real_host() as host:
        with pytest.raises(
            RemoteFailure, match="can't run /etc/passwd: Permission denied"
        ) as caught:
            await Terminal().run(host.open_stream, "/etc/passwd")
    assert caught.value.status == 126


async def test_a_directory_that_is_not_there() -> None:
    async with real_host() as host:
        with pytest.raises(RemoteFailure, match="can't use the directory /no/such") as caught:
            await Terminal().run(host.open_stream, "true", cwd="/no/such")
    assert caught.value.status == 255


async def test_interrupt_is_passed_on_and_the_end_awaited() -> None:
    terminal = Terminal()
    script = "trap 'echo cleaned up; exit 3' INT; echo ready; while :; do sleep 0.01; done"
    async with real_host() as host:
        async with in_background(terminal, host, "sh", "-c", script, status=130):
            await terminal.stdout.until(b"ready\n")
            await terminal.press.send(signal.SIGINT)
    assert terminal.stdout.data == b"ready\ncleaned up\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_other_signals_terminate(number: int) -> None:
    terminal = Terminal()
    script = "trap 'echo cleaned up; exit 3' TERM; echo ready; while :; do sleep 0.01; done"
    async with real_host() as host:
        async with in_background(terminal, host, "sh", "-c", script, status=128 + number):
            await terminal.stdout.until(b"ready\n")
            await terminal.press.send(number)
    assert terminal.stdout.data == b"ready\ncleaned up\n"


async def test_the_second_interrupt_gives_up_and_leaves_nothing_behind() -> None:
    terminal = Terminal()
    script = "trap 'echo ignored' INT; echo $$; while :; do sleep 0.01; done"
    async with real_host() as host:
        async with in_background(terminal, host, "sh", "-c", script, status=130):
            await terminal.stdout.until(b"\n")
            await terminal.press.send(signal.SIGINT)
            await terminal.stdout.until(b"ignored\n")
            await terminal.press.send(signal.SIGINT)
        await host.served.wait()
    assert not is_running(int(terminal.stdout.data.split()[0]))


async def test_the_second_interrupt_works_while_an_output_is_stuck() -> None:
    terminal = Terminal()
    async with real_host() as host:
        async with in_background(terminal, host, "yes", status=130):
            await terminal.stdout.until(b"y\n")
            terminal.stdout.gate = trio.Event()
            await terminal.press.send(signal.SIGINT)
            await terminal.press.send(signal.SIGINT)


async def test_an_output_that_nobody_reads_ends_the_program_quietly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal(stdout=MemorySink(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "yes") == 141
        await host.served.wait()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("stream", "name"), [("", "output"), (" >&2", "error")])
async def test_an_output_that_can_not_be_written_is_told(stream: str, name: str) -> None:
    full = MemorySink(OSError(errno.ENOSPC, "No space left on device"))
    async with real_host() as host:
        with pytest.raises(RemoteFailure, match=f"standard {name}: No space left") as caught:
            await Terminal(stdout=full, stderr=full).run(
                host.open_stream, "sh", "-c", f"echo hello{stream}"
            )
    assert caught.value.status == 255


# -- what goes over the wire


async def finish(executor: FakeExecutor) -> None:
    await executor.exit(0)


async def test_the_calls_of_a_run() -> None:
    async with fake_host({"script": finish}) as host:
        assert await Terminal().run(host.open_stream, "ls", "-l", env={"A": "1"}) == 0
        executor = host.executor
    assert executor.methods == ["initialize", "initialized", "process/start"]
    assert executor.params("initialize") == {"clientName": "sansrelay", "resumeSessionId": None}
    assert executor.params("process/start") == {
        "processId": "1",
        "argv": ["ls", "-l"],
        "cwd": "/",
        "env": {"A": "1"},
        "envPolicy": {
            "inherit": "all",
            "ignoreDefaultExcludes": False,
            "exclude": [],
            "set": {},
            "includeOnly": [],
        },
        "tty": False,
        "pipeStdin": False,
        "arg0": None,
    }
    assert host.channels[0].closed.is_set()


@pytest.mark.parametrize(
    ("server_info", "cwd"),
    [
        ({"name": "x", "version": "1", "cwd": "/home/x", "capabilities": []}, "/home/x"),
        ({"cwd": None}, "/"),
        ({}, "/"),
        (None, "/"),
    ],
)
async def test_the_default_directory(server_info: dict[str, Any] | None, cwd: str) -> None:
    async with fake_host({"script": finish, "server_info": server_info}) as host:
        assert await Terminal().run(host.open_stream) == 0
    assert host.executor.params("process/start")["cwd"] == cwd


async def test_nothing_is_received_while_an_output_is_written() -> None:
    sent = 0

    async def chatter(executor: FakeExecutor) -> None:
        nonlocal sent
        for _ in range(5):
            await executor.output(b"x")
            sent += 1
        await executor.exit(0)

    terminal = Terminal()
    terminal.stdout.gate = trio.Event()
    async with fake_host({"script": chatter}) as host:
        async with in_background(terminal, host, status=0):
            await trio.testing.wait_all_tasks_blocked()
            assert sent == 1
            terminal.stdout.gate.set()
    assert (sent, terminal.stdout.data) == (5, b"xxxxx")


async def test_input_is_sent_in_bounded_chunks_with_few_unanswered() -> None:
    terminal = Terminal(stdin=MemorySource(b"x" * STDIN_CHUNK * 10))
    async with fake_host({"silent": frozenset({"process/write"})}) as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run, host.open_stream)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    chunks = [params["chunk"] for name, params in host.executor.received if name.endswith("write")]
    assert [len(base64.b64decode(chunk)) for chunk in chunks] == [STDIN_CHUNK] * STDIN_WRITES
    assert terminal.stdin.reads == STDIN_WRITES + 1


async def test_no_input_is_read_before_the_start_was_answered() -> None:
    terminal = Terminal(stdin=MemorySource(b"x"))
    async with fake_host({"silent": frozenset({"process/start"})}) as host:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run, host.open_stream)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert terminal.stdin.reads == 0


# -- executors without our extensions


async def test_a_death_that_a_foreign_executor_does_not_explain(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def die(executor: FakeExecutor) -> None:
        await executor.exit(-1)

    async with fake_host({"script": die}) as host:
        assert await Terminal().run(host.open_stream) == 255
    assert "box1 does not tell how the program ended" in capsys.readouterr().err


@pytest.mark.parametrize("capabilities", [None, ["process/signal"]])
async def test_where_the_end_of_input_can_not_be_told_the_program_is_terminated(
    capabilities: list[str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    server_info = None if capabilities is None else {"capabilities": capabilities}
    terminal = Terminal(stdin=MemorySource(b"some"))
    async with fake_host({"server_info": server_info}) as host:
        assert await terminal.run(host.open_stream) == 255
    calls = host.executor.methods[3:]
    tried = ["process/closeStdin"] if capabilities is None else []
    assert calls == ["process/write", *tried, "process/terminate"]
    assert capsys.readouterr().err.count("\n") == 1


async def test_an_end_of_input_that_comes_too_late_is_no_failure() -> None:
    async def close(executor: FakeExecutor) -> None:
        await executor.notify("process/exited", processId="1", exitCode=0)
        await executor.until("process/closeStdin")
        await executor.notify("process/closed", processId="1")

    terminal = Terminal(stdin=MemorySource(b"some"))
    refused = {"process/closeStdin": RpcError(code=-32602, message="unknown process")}
    async with fake_host({"script": close, "answers": refused}) as host:
        assert await terminal.run(host.open_stream) == 0
    assert "process/terminate" not in host.executor.methods


@pytest.mark.parametrize("capabilities", [None, ["process/closeStdin"]])
async def test_where_an_interrupt_can_not_be_passed_on_it_terminates(
    capabilities: list[str] | None,
) -> None:
    server_info = None if capabilities is None else {"capabilities": capabilities}
    terminal = Terminal()
    async with fake_host({"server_info": server_info}) as host:
        async with in_background(terminal, host, status=130):
            await trio.testing.wait_all_tasks_blocked()
            await terminal.press.send(signal.SIGINT)
    tried = ["process/signal"] if capabilities is None else []
    assert host.executor.methods[3:] == [*tried, "process/terminate"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_an_executor_that_does_not_terminate_is_given_up(
    number: int, autojump_clock: trio.testing.MockClock
) -> None:
    async def begin(executor: FakeExecutor) -> None:
        await executor.output(b"begun")

    terminal = Terminal()
    async with fake_host({"silent": frozenset({"process/terminate"}), "script": begin}) as host:
        async with in_background(terminal, host, status=128 + number):
            await terminal.stdout.until(b"begun")
            pressed = trio.current_time()
            await terminal.press.send(number)
            await host.channels[0].closed.wait()
            assert trio.current_time() == pressed + TERMINATE_TIMEOUT


async def test_an_interrupted_program_may_take_its_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def take_time(executor: FakeExecutor) -> None:
        await executor.output(b"begun")
        await executor.until("process/signal")
        await trio.sleep(3 * TERMINATE_TIMEOUT)
        await executor.output(b", ended")
        await executor.exit(0)

    terminal = Terminal()
    async with fake_host({"script": take_time, "answers": {"process/signal": {}}}) as host:
        async with in_background(terminal, host, status=130):
            await terminal.stdout.until(b"begun")
            await terminal.press.send(signal.SIGINT)
    assert terminal.stdout.data == b"begun, ended"


async def test_a_later_codex_can_be_interrupted() -> None:
    async def wait(executor: FakeExecutor) -> None:
        await executor.until("process/signal")
        await executor.exit(-1)

    terminal = Terminal()
    async with fake_host({"script": wait, "answers": {"process/signal": {}}}) as host:
        async with in_background(terminal, host, status=130):
            await trio.testing.wait_all_tasks_blocked()
            await terminal.press.send(signal.SIGINT)
    assert host.executor.received[3:] == [
        ("process/signal", {"processId": "1", "signal": "interrupt"})
    ]


async def test_an_exit_may_be_told_before_the_start_is_answered() -> None:
    async with fake_host({"silent": frozenset({"process/start"})}) as host:
        terminal = Terminal()
        async with in_background(terminal, host, status=3):
            await trio.testing.wait_all_tasks_blocked()
            await host.executor.output(b"quick")
            await host.executor.exit(3)
    assert terminal.stdout.data == b"quick"


async def test_an_exit_before_the_answer_is_remembered() -> None:
    async with fake_host({"silent": frozenset({"process/start"})}) as host:

        async def run() -> None:
            with pytest.raises(RemoteFailure, match="the program has exited"):
                await Terminal().run(host.open_stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            await host.executor.notify("process/exited", processId="1", exitCode=0)
            await host.executor.channel.send(b'{"id":2,"result":{"processId":"1"}}')
            await host.executor.channel.aclose()


async def test_output_of_a_terminal_and_of_other_processes() -> None:
    async def talk(executor: FakeExecutor) -> None:
        await executor.output(b"mine", stream="pty")
        await executor.output(b"not mine", process_id="2")
        await executor.notify("something/new", processId="1")
        await executor.exit(0)

    terminal = Terminal()
    async with fake_host({"script": talk}) as host:
        assert await terminal.run(host.open_stream) == 0
    assert terminal.stdout.data == b"mine"


# -- input that comes to nothing


@pytest.mark.parametrize("status", ["stdinClosed", "unknownProcess", "starting", 7])
async def test_a_program_that_takes_no_more_input_gets_no_more(status: object) -> None:
    async def wait(executor: FakeExecutor) -> None:
        await executor.until("process/write")
        await trio.testing.wait_all_tasks_blocked()
        await executor.exit(0)

    terminal = Terminal(stdin=MemorySource(b"x" * STDIN_CHUNK * 50))
    answers = {"process/write": {"status": status}}
    async with fake_host({"script": wait, "answers": answers}) as host:
        assert await terminal.run(host.open_stream) == 0
    assert host.executor.methods.count("process/write") <= STDIN_WRITES + 1
    assert "process/closeStdin" not in host.executor.methods


async def test_input_that_is_refused_is_a_failure() -> None:
    answers = {"process/write": RpcError(code=-32602, message="too\nlarge")}
    async with fake_host({"answers": answers}) as host:
        with pytest.raises(RemoteFailure, match=r"^box1 refused the input: too\ufffdlarge$"):
            await Terminal(stdin=MemorySource(b"x")).run(host.open_stream)


async def test_input_that_can_not_be_read_ends(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(stdin=MemorySource(b"some", OSError(errno.EIO, "Input/output error")))
    async with real_host() as host:
        assert await terminal.run(host.open_stream, "cat") == 0
    assert terminal.stdout.data == b"some"
    assert capsys.readouterr().err == (
        "sansrelay: can't read standard input, so it ends here: Input/output error\n"
    )


# -- ends that are no ends of the program


@pytest.mark.parametrize(
    ("silent", "reset", "what_became_of_it"),
    [
        # Message 3 is the start, behind initialize and initialized.
        ("process/start", ended("timeout", never_sent=range(3, 4)), "the program was not started"),
        ("process/start", ended("timeout", unknown=range(3, 4)), "is not known"),
        ("process/start", ended("timeout"), "is not known"),
        ("", ended("timeout"), "the program was running"),
    ],
)
async def test_a_stream_that_ends_early_tells_what_became_of_the_program(
    silent: str, reset: Any, what_became_of_it: str
) -> None:
    async with fake_host({"silent": frozenset({silent})}) as host:

        async def run() -> None:
            with pytest.raises(RemoteFailure, match=what_became_of_it) as caught:
                await Terminal().run(host.open_stream)
            assert caught.value.status == 255
            assert str(caught.value).startswith("nothing came from box1 for too long")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            host.channels[0].ended = reset
            await host.executor.channel.aclose()


async def test_a_stream_that_ends_before_the_last_output() -> None:
    async def leave(executor: FakeExecutor) -> None:
        await executor.notify("process/exited", processId="1", exitCode=0)
        await executor.channel.aclose()

    async with fake_host({"script": leave}) as host:
        with pytest.raises(RemoteFailure, match=r"closed the stream; .* output may be missing"):
            await Terminal().run(host.open_stream)


@pytest.mark.parametrize(
    "params",
    [
        {"stream": "stdout", "chunk": "no base64!"},
        {"stream": "stdout", "chunk": None},
        {"stream": "stdout"},
        {"stream": "stdfoo", "chunk": ""},
        {"stream": ["stdout"], "chunk": ""},
    ],
)
async def test_output_that_is_malformed_ends_the_run(params: dict[str, Any]) -> None:
    async def talk(executor: FakeExecutor) -> None:
        await executor.notify("process/output", processId="1", **params)

    async with fake_host({"script": talk}) as host:
        with pytest.raises(RemoteFailure, match="box1 does not speak the exec-server protocol"):
            await Terminal().run(host.open_stream)


async def test_a_signal_before_the_start_ends_everything_at_once() -> None:
    async with fake_host({"silent": frozenset({"initialize"})}) as host:
        terminal = Terminal()
        async with in_background(terminal, host, status=130):
            await trio.testing.wait_all_tasks_blocked()
            await terminal.press.send(signal.SIGINT)
    assert host.executor.methods == ["initialize"]


async def test_waiting_for_an_executor_is_over_at_a_signal() -> None:
    away = {"answers": {"initialize": ended(ResetReason.EXECUTOR_UNAVAILABLE)}}
    async with fake_host(away) as host:
        terminal = Terminal()

        async def run() -> None:
            assert await terminal.run(host.open_stream, wait=3600.0) == 143

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            await terminal.press.send(signal.SIGTERM)
