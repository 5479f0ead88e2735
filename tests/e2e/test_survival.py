"""Whole programs, whose parts are killed, stopped and replaced while they work."""

import hashlib
from pathlib import Path

import pytest

import trio
from apps_kit import (
    PATIENCE,
    Place,
    executor,
    rendezvous,
    resident_bytes,
    run_exec,
    started,
)

pytestmark = pytest.mark.trio

NUMBERS = 1_200_000
"""`seq 1 NUMBERS` prints 8.5 MB."""


def _expected() -> str:
    text = "".join(f"{n}\n" for n in range(1, NUMBERS + 1))
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_rendezvous_is_killed_and_replaced_under_a_transfer(tmp_path: Path) -> None:
    ticket_key = ("--ticket-key-file", str(tmp_path / "key"))
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(0o600)
    async with (
        rendezvous(*ticket_key) as place,
        executor(place) as remote,
        started("exec", *place.options, "--", "seq", "1", str(NUMBERS)) as process,
    ):
        assert process.stdout is not None
        digest = hashlib.sha256()
        received = 0
        with trio.fail_after(PATIENCE):
            while received < 2_000_000:
                chunk = await process.stdout.receive_some()
                digest.update(chunk)
                received += len(chunk)
            place.server.kill()
            await place.server.wait()
            async with rendezvous(*ticket_key, port=place.port):
                async for chunk in process.stdout:
                    digest.update(chunk)
                assert await process.wait() == 0
        assert digest.hexdigest() == _expected()
        assert remote.returncode is None


async def test_output_without_a_reader_is_held_back_not_hoarded() -> None:
    async with (
        rendezvous() as place,
        executor(place) as remote,
        started("exec", *place.options, "--", "yes") as process,
    ):
        assert process.stdout is not None
        with trio.fail_after(2 * PATIENCE):
            idle = await _echo_seconds(place)
            await process.stdout.receive_some()
            before = {name: resident_bytes(pid) for name, pid in _pids(place, remote)}
            # From here on nobody reads the output of `yes`, and another stream works on.
            began = trio.current_time()
            paces = []
            while trio.current_time() - began < 10:
                paces.append(await _echo_seconds(place))
            for name, pid in _pids(place, remote):
                grown = resident_bytes(pid) - before[name]
                assert grown < 32 * 1024 * 1024, f"the {name} grew by {grown:,} bytes"
            assert min(paces) < 3 * idle, "the other stream did not keep its pace"


def _pids(place: Place, remote: trio.Process) -> list[tuple[str, int]]:
    return [("executor", remote.pid), ("rendezvous", place.server.pid)]


async def _echo_seconds(place: Place) -> float:
    began = trio.current_time()
    assert (await run_exec(place, "echo", "still here")).out == b"still here\n"
    return trio.current_time() - began
