"""Our harness on the executor of a real Codex, registered at our rendezvous.

The executor dials through a proxy that records what reaches it: a Codex runs every frame it gets,
so no data frame may ever come to it twice.
"""

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import trio
from apps_kit import PATIENCE, rendezvous, run_exec, started
from interop.codex import Executor, codex_executor, needs
from interop.ours import OurHarness, our_harness
from sansrelay.frames import DataFrame, ResetFrame

pytestmark = [
    pytest.mark.trio,
    pytest.mark.interop,
    pytest.mark.parametrize(
        "version", [pytest.param(each, marks=needs(each)) for each in ("0.131.0", "0.133.0")]
    ),
]


async def _gone(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


async def test_a_command_runs(version: str) -> None:
    async with codex_executor(version) as executor:
        done = await run_exec(
            executor.place, "sh", "-c", "echo $FRUIT; pwd; exit 5", options=("--env", "FRUIT=pear")
        )
        assert (done.status, done.out, done.err) == (5, b"pear\n/\n", b"")
        executor.proxy.check_client()


async def test_large_output_comes_whole_and_a_signal_is_told(version: str) -> None:
    async with codex_executor(version) as executor, our_harness(executor.place) as harness:
        done = await harness.run("seq", "1", "300000")
        assert done.out == "".join(f"{n}\n" for n in range(1, 300_001)).encode()
        assert done.status == 0
        assert (await harness.run("sh", "-c", "kill -9 $$")).status == 255
        executor.proxy.check_client()


async def test_a_missing_program(version: str) -> None:
    async with codex_executor(version) as executor:
        done = await run_exec(executor.place, "no-such-program")
        assert done.status == 127
        assert "no-such-program" in done.line


async def test_the_end_of_stdin_can_not_be_told(version: str) -> None:
    async with codex_executor(version) as executor:
        done = await run_exec(executor.place, "cat", stdin=b"some input")
        assert done.status == 255
        assert "the input ends here" in done.line
        executor.proxy.check_client()


async def test_files_go_there_and_back(version: str, tmp_path: Path) -> None:
    content = os.urandom(700_000)
    file, folder = tmp_path / "file", tmp_path / "folder"
    async with (
        codex_executor(version) as executor,
        our_harness(executor.place) as harness,
        harness.session() as client,
    ):

        async def call(method: str, **params: Any) -> Any:
            answer = await client.call(method, {"sandbox": None, **params})
            return answer.result if answer.error is None else answer.error.code

        with trio.fail_after(PATIENCE):
            encoded = base64.b64encode(content).decode()
            assert await call("fs/writeFile", path=str(file), dataBase64=encoded) == {}
            assert file.read_bytes() == content
            assert await call("fs/readFile", path=str(file)) == {"dataBase64": encoded}
            assert await call("fs/createDirectory", path=str(folder), recursive=False) == {}
            found = await call("fs/getMetadata", path=str(folder))
            assert (found["isDirectory"], found["isFile"]) == (True, False)
            copied = str(folder / "copy")
            options = {"sourcePath": str(file), "destinationPath": copied, "recursive": False}
            assert await call("fs/copy", **options) == {}
            assert (folder / "copy").read_bytes() == content
            listed = await call("fs/readDirectory", path=str(folder))
            assert [each["fileName"] for each in listed["entries"]] == ["copy"]
            assert await call("fs/remove", path=copied, recursive=False, force=False) == {}
            assert await call("fs/readFile", path=copied) == -32004
            assert list(folder.iterdir()) == []
        executor.proxy.check_client()


async def test_streams_at_once_do_not_mix(version: str) -> None:
    async with codex_executor(version) as executor:

        async def agent(numbers: range) -> None:
            async with our_harness(executor.place) as harness, trio.open_nursery() as nursery:
                for number in numbers:
                    nursery.start_soon(one, harness, number)

        async def one(harness: OurHarness, number: int) -> None:
            script = f"for i in $(seq 300); do echo {number}; done"
            done = await harness.run("sh", "-c", script)
            assert done.out == b"%d\n" % number * 300

        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent, range(3))
            nursery.start_soon(agent, range(3, 6))
        assert len({frame.stream_id for frame in executor.proxy.check_client()}) == 6


async def test_the_reset_of_one_stream_leaves_the_others_alone(version: str) -> None:
    script = "echo $$; read line; echo got $line"
    async with codex_executor(version) as executor:
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
                assert (
                    len([f for f in executor.proxy.to_client() if isinstance(f, ResetFrame)]) == 1
                )
                await kept.stdin.send_all(b"this\n")
                assert await kept.stdout.receive_some() == b"got this\n"
                assert await kept.wait() == 0
        executor.proxy.check_client()


async def test_a_cut_ends_the_stream_with_a_reason_and_runs_nothing_twice(
    version: str, tmp_path: Path
) -> None:
    await _lose_the_executor(version, tmp_path / "ran", restart=False)


async def test_a_restart_ends_the_stream_with_a_reason_and_runs_nothing_twice(
    version: str, tmp_path: Path
) -> None:
    await _lose_the_executor(version, tmp_path / "ran", restart=True)


async def test_without_a_rendezvous_it_ends_and_can_be_started_at_another(version: str) -> None:
    async with rendezvous() as place, codex_executor(version, place) as executor:
        await executor.proxy.until(lambda: executor.proxy.websockets == 1)
        place.server.kill()
        with trio.fail_after(PATIENCE):
            assert await executor.process.wait() == 1
        async with rendezvous(port=place.port) as successor:
            await executor.restart()
            done = await run_exec(successor, "echo", "back", options=("--wait", "30s"))
            assert done.out == b"back\n"
        executor.proxy.check_client()


async def _lose_the_executor(version: str, ran: Path, *, restart: bool) -> None:
    async with codex_executor(version) as executor:
        script = f"echo once >> {ran}; echo begun; exec sleep 600"
        async with started(
            "exec", *executor.place.options, "--", "sh", "-c", script, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            with trio.fail_after(PATIENCE):
                assert await process.stdout.receive_some() == b"begun\n"
                before = len(executor.proxy.to_client())
                if restart:
                    await executor.restart()
                else:
                    executor.proxy.cut()
                assert await process.wait() == 255
                line = await process.stderr.receive_some()
            assert line.startswith(b"sansrelay: ")
            assert b"executor" in line
        # It registers and dials again by itself, and what was sent before stays unsent.
        done = await run_exec(executor.place, "echo", "back", options=("--wait", "30s"))
        assert done.out == b"back\n"
        assert ran.read_text() == "once\n"
        _check_nothing_of_the_old(executor, before)


def _check_nothing_of_the_old(executor: Executor, before: int) -> None:
    """That no stream from before is heard of again."""
    executor.proxy.check_client()
    frames = executor.proxy.to_client()
    old = {frame.stream_id for frame in frames[:before]}
    new = {frame.stream_id for frame in frames[before:] if isinstance(frame, DataFrame)}
    assert old
    assert new
    assert not old & new
