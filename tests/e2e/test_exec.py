"""`sansrelay exec` through a rendezvous to an executor: all real, all processes of their own."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

import trio
from apps_kit import (
    PATIENCE,
    children,
    executor,
    interrupt,
    relay,
    rendezvous,
    run,
    run_exec,
    started,
)

pytestmark = pytest.mark.trio


async def test_output_and_status_pass_through() -> None:
    async with relay() as place:
        done = await run_exec(place, "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (done.status, done.out, done.err) == (7, b"out\n", b"err\n")


async def test_bytes_pass_through_unchanged() -> None:
    async with relay() as place:
        data = bytes(range(256)) * 4096
        done = await run_exec(place, "cat", stdin=data)
        assert done.status == 0
        assert hashlib.sha256(done.out).digest() == hashlib.sha256(data).digest()
        assert done.err == b""


async def test_the_remote_program_sees_the_end_of_stdin() -> None:
    async with relay() as place:
        done = await run_exec(place, "wc", "-c", stdin=b"12345")
        assert done.out.split() == [b"5"]


async def test_directory_and_environment(tmp_path: Path) -> None:
    async with relay() as place:
        options = ("--cwd", str(tmp_path), "--env", "FRUIT=pear", "--env", "EMPTY=")
        done = await run_exec(place, "sh", "-c", "pwd; echo $FRUIT-$EMPTY-", options=options)
        assert done.out.decode().splitlines() == [str(tmp_path), "pear--"]


async def test_the_default_directory_is_the_executors() -> None:
    async with relay() as place:
        done = await run_exec(place, "pwd")
        assert done.out.decode().strip() == str(Path.cwd())


async def test_the_local_environment_is_not_sent() -> None:
    async with relay() as place:
        done = await run(
            "exec",
            *place.options,
            "--",
            "env",
            env={**os.environ, "SANSRELAY_TOKEN": "x", "PEAR": "1"},
        )
        assert b"PEAR" not in done.out


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("no-such-program-at-all",), 127, ("no-such-program-at-all",)),
        (("/etc/passwd",), 126, ("/etc/passwd",)),
        (("sh", "-c", "kill -9 $$"), 137, ()),
        (("sh", "-c", "kill -TERM $$"), 143, ()),
        (("false",), 1, ()),
    ],
)
async def test_exit_statuses(argv: tuple[str, ...], status: int, words: tuple[str, ...]) -> None:
    async with relay() as place:
        done = await run_exec(place, *argv)
        assert done.status == status
        assert not words or all(word in done.line for word in words)
        assert words or done.err == b""


async def test_a_missing_directory_is_named() -> None:
    async with relay() as place:
        done = await run_exec(place, "true", options=("--cwd", "/no/such/directory"))
        assert done.status == 255
        assert "/no/such/directory" in done.line


async def test_streams_do_not_mix() -> None:
    async with relay() as place:

        async def one(number: int) -> None:
            script = f"for i in $(seq 200); do echo {number}; done"
            assert (await run_exec(place, "sh", "-c", script)).out == b"%d\n" % number * 200

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(one, number)


async def test_interrupt_ends_the_remote_program() -> None:
    async with rendezvous() as place, executor(place) as remote:
        argv = (
            "sh",
            "-c",
            "trap 'echo stopped; exit 3' INT; echo ready; sleep 600 & wait",
        )
        async with started("exec", *place.options, "--", *argv, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            with trio.fail_after(PATIENCE):
                assert await process.stdout.receive_some() == b"ready\n"
                interrupt(process)
                assert await process.stdout.receive_some() == b"stopped\n"
                assert await process.wait() == 130
        assert children(remote.pid) == []


async def test_killing_the_harness_ends_the_remote_program() -> None:
    """The harness is gone without a word: a reset for its stream comes after the grace period, or
    when the executor ends, which leaves nothing behind either."""
    async with rendezvous() as place:
        async with executor(place) as remote:
            async with started(
                "exec", *place.options, "--", "sh", "-c", "echo $$; exec sleep 600"
            ) as p:
                assert p.stdout is not None
                with trio.fail_after(PATIENCE):
                    pid = int(await p.stdout.receive_some())
                p.kill()
                await p.wait()
            remote.terminate()
            with trio.fail_after(PATIENCE):
                assert await remote.wait() == 0
        assert not Path(f"/proc/{pid}").exists()


async def test_no_executor_is_tried_again_and_then_said() -> None:
    async with rendezvous() as place:
        done = await run("exec", *place.options, "--wait", "1s", "--", "true")
    assert done.status == 255
    assert "box1" in done.line


async def test_an_executor_that_comes_late_is_waited_for() -> None:
    async with rendezvous() as place:
        async with started(
            "exec", *place.options, "--wait", "20s", "--", "echo", "late"
        ) as process:
            assert process.stdout is not None
            async with executor(place):
                with trio.fail_after(PATIENCE):
                    assert await process.stdout.receive_some() == b"late\n"
                    assert await process.wait() == 0
