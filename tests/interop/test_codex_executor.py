"""`sansrelay exec` on the executor of a real Codex 0.131.0, registered at our rendezvous.

The executor dials through a proxy that records what reaches it: a Codex runs every frame it gets,
so no data frame may ever come to it twice.
"""

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

import trio
from apps_kit import PATIENCE, Place, rendezvous, run_exec, started
from sansrelay import RelayConfig
from sansrelay.codec import decode_frame
from sansrelay.frames import DataFrame, Frame, InvalidFrame
from sansrelay_apps.demo.proxy import CuttingProxy

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sansrelay"
_CODEX = _CACHE / "codex-0.131.0/package/vendor/x86_64-unknown-linux-musl/codex/codex"

pytestmark = [
    pytest.mark.trio,
    pytest.mark.interop,
    pytest.mark.skipif(
        not _CODEX.exists(),
        reason=f"NO CODEX BINARY at {_CODEX}: run tools/fetch_codex.sh, which needs npm's registry",
    ),
]


class RecordingProxy(CuttingProxy):
    """Keeps what went to each end of each connection."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._recorded: dict[trio.SocketStream, bytearray] = {}

    def passes(self, sink: trio.SocketStream, data: bytes | bytearray) -> None:
        self._recorded.setdefault(sink, bytearray()).extend(data)

    def frames(self) -> list[list[Frame]]:
        """The relay frames that reached the client, by WebSocket. Fails on one it would refuse."""
        answers = (bytes(data) for data in self._recorded.values())
        return [_frames(data) for data in answers if data.startswith(b"HTTP/1.1 101")]


def _frames(data: bytes) -> list[Frame]:
    parser = Connection(ConnectionType.CLIENT)
    parser.receive_data(data.partition(b"\r\n\r\n")[2])
    found: list[Frame] = []
    message = b""
    for event in list(parser.events()):
        if isinstance(event, BytesMessage):
            message += bytes(event.data)
            if event.message_finished:
                frame = decode_frame(message, RelayConfig())
                assert not isinstance(frame, InvalidFrame), frame
                found.append(frame)
                message = b""
    return found


@dataclass
class Codex:
    """A Codex executor and the proxy it dials through."""

    place: Place
    proxy: RecordingProxy
    process: trio.Process

    def check(self) -> list[DataFrame]:
        """Every data frame that reached it; fails if one came twice or would be refused."""
        data = [
            frame for link in self.proxy.frames() for frame in link if isinstance(frame, DataFrame)
        ]
        assert data
        seen = Counter((frame.stream_id, frame.seq) for frame in data)
        assert max(seen.values()) == 1
        assert {(frame.segment_index, frame.segment_count) for frame in data} == {(0, 1)}
        return data


@asynccontextmanager
async def codex() -> AsyncIterator[Codex]:
    """A rendezvous of ours with a real Codex as its executor."""
    # It refuses helper files below /tmp, and must find nothing in its home to call out for.
    home = tempfile.mkdtemp(prefix="codex-home-", dir=_CACHE)
    try:
        async with trio.open_nursery() as nursery:
            async with rendezvous() as place:
                proxy = RecordingProxy(place.port)
                await proxy.start(nursery)
                process = await trio.lowlevel.open_process(
                    [
                        str(_CODEX),
                        "exec-server",
                        "--remote",
                        f"http://127.0.0.1:{proxy.port}",
                        "--executor-id",
                        place.executor_id,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={
                        "PATH": os.environ["PATH"],
                        "HOME": home,
                        "CODEX_HOME": home,
                        "CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN": "codex",
                    },
                )
                try:
                    yield Codex(place, proxy, process)
                finally:
                    with trio.CancelScope(shield=True):
                        process.kill()
                        await process.wait()
            nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


async def test_a_command_runs() -> None:
    async with codex() as executor:
        done = await run_exec(
            executor.place, "sh", "-c", "echo $FRUIT; pwd; exit 5", options=("--env", "FRUIT=pear")
        )
        assert (done.status, done.out, done.err) == (5, b"pear\n/\n", b"")
        executor.check()


async def test_large_output_comes_whole() -> None:
    async with codex() as executor:
        done = await run_exec(executor.place, "seq", "1", "300000")
        assert done.out == "".join(f"{n}\n" for n in range(1, 300_001)).encode()
        executor.check()


async def test_a_death_by_signal_and_a_missing_program() -> None:
    async with codex() as executor:
        assert (await run_exec(executor.place, "sh", "-c", "kill -9 $$")).status == 255
        done = await run_exec(executor.place, "no-such-program")
        assert done.status == 127
        assert "no-such-program" in done.line


async def test_the_end_of_stdin_can_not_be_told() -> None:
    async with codex() as executor:
        done = await run_exec(executor.place, "cat", stdin=b"some input")
        assert done.status == 255
        assert "the input ends here" in done.line
        executor.check()


async def test_streams_at_once_do_not_mix() -> None:
    async with codex() as executor:

        async def one(number: int) -> None:
            script = f"for i in $(seq 300); do echo {number}; done"
            done = await run_exec(executor.place, "sh", "-c", script)
            assert done.out == b"%d\n" % number * 300

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(one, number)
        assert len({frame.stream_id for frame in executor.check()}) == 6


async def test_the_reset_of_one_stream_leaves_the_others_alone() -> None:
    script = "echo $$; read line; echo got $line"
    async with codex() as executor:
        options = executor.place.options
        async with (
            started("exec", *options, "--", "sh", "-c", script, stdin=subprocess.PIPE) as kept,
            started("exec", *options, "--", "sh", "-c", script, stdin=subprocess.PIPE) as killed,
        ):
            assert kept.stdin is not None
            assert kept.stdout is not None
            assert killed.stdout is not None
            with trio.fail_after(PATIENCE):
                await kept.stdout.receive_some()
                pid = int(await killed.stdout.receive_some())
                killed.kill()
                await killed.wait()
                await _gone(pid)  # the reset ends its processes
                await kept.stdin.send_all(b"this\n")
                assert await kept.stdout.receive_some() == b"got this\n"
                assert await kept.wait() == 0
        executor.check()


async def test_a_cut_ends_the_stream_with_a_reason_and_runs_nothing_twice(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with codex() as executor:
        script = f"echo once >> {ran}; echo begun; exec sleep 600"
        async with started(
            "exec", *executor.place.options, "--", "sh", "-c", script, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            with trio.fail_after(PATIENCE):
                assert await process.stdout.receive_some() == b"begun\n"
                executor.proxy.cut()
                assert await process.wait() == 255
                line = await process.stderr.receive_some()
            assert line.startswith(b"sansrelay: ")
            assert b"executor" in line
        # It registers and dials again by itself, and what was sent before stays unsent.
        assert (await run_exec(executor.place, "echo", "back")).out == b"back\n"
        assert ran.read_text() == "once\n"
        executor.check()
