"""Our own ends across a router that knows nothing of them, and keeps nothing."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import trio
from apps_kit import PATIENCE
from interop.capture import RecordingProxy, recording
from interop.ours import OurHarness, our_harness
from interop.plain_router import PlainRouter
from sansrelay.frames import DataFrame
from sansrelay_apps.execserver import open_exec_server
from sansrelay_trio import ExecutorHandle, serve_executor

pytestmark = [pytest.mark.trio, pytest.mark.interop]

LAST = 400_000
"""How far a program counts: 2,688,895 bytes of output."""


@dataclass
class _World:
    router: PlainRouter
    to_executor: RecordingProxy
    to_harness: RecordingProxy
    executor: ExecutorHandle
    harness: OurHarness
    nursery: trio.Nursery
    _serving: trio.CancelScope

    async def replace_router(self) -> None:
        """Another one in its place, on the same port, to which nothing is known."""
        self._serving.cancel()
        self.router = PlainRouter(self.router.port)
        self._serving = await self.nursery.start(_serve, self.router)


async def _serve(router: PlainRouter, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(router.serve)
            task_status.started(scope)


@asynccontextmanager
async def _world() -> AsyncGenerator[_World]:
    router = PlainRouter(0)
    async with trio.open_nursery() as nursery:
        serving = await nursery.start(_serve, router)
        async with (
            recording(router.port) as to_executor,
            recording(router.port) as to_harness,
            open_exec_server() as server,
            trio.open_nursery() as executors,
        ):

            async def serve(task_status: trio.TaskStatus[ExecutorHandle]) -> None:
                url = router.url(to_executor.port, "executor")
                await serve_executor(server.serve, url, task_status=task_status)

            executor: ExecutorHandle = await executors.start(serve)
            async with our_harness(router.url(to_harness.port, "harness")) as harness:
                yield _World(router, to_executor, to_harness, executor, harness, nursery, serving)
            executors.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_commands_and_files(tmp_path: Path) -> None:
    async with _world() as world, world.harness.session() as client:
        with trio.fail_after(PATIENCE):
            done = await world.harness.run("sh", "-c", "cat; exit 5", stdin=b"pear")
            assert (done.status, done.out, done.err) == (5, b"pear", b"")
            file = str(tmp_path / "file")
            encoded = base64.b64encode(bytes(3_000_000)).decode()
            await client.call("fs/writeFile", {"path": file, "dataBase64": encoded})
            answer = await client.call("fs/readFile", {"path": file})
            assert answer.result == {"dataBase64": encoded}
        for frames in (world.to_executor.to_client(), world.to_harness.to_client()):
            assert any(isinstance(f, DataFrame) and f.segment_count > 1 for f in frames)


async def test_streams_at_once_do_not_mix() -> None:
    async with _world() as world:

        async def one(number: int) -> None:
            script = f"for i in $(seq 300); do echo {number}; done"
            done = await world.harness.run("sh", "-c", script)
            assert done.out == b"%d\n" % number * 300

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(one, number)
    assert len({frame.stream_id for frame in world.to_harness.to_client()}) == 6


@pytest.mark.parametrize("what", ["executor", "harness", "both", "router"])
async def test_a_command_goes_on_after_a_cut(what: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    async with _world() as world:

        async def strike_when_under_way() -> None:
            await world.to_harness.until(lambda: len(world.to_harness.to_client()) > 20)
            if what == "router":
                await world.replace_router()
            if what in ("executor", "both"):
                world.to_executor.cut()
            if what in ("harness", "both"):
                world.to_harness.cut()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(strike_when_under_way)
            done = await world.harness.run("sh", "-c", f"echo once >> {ran}; seq 1 {LAST}")
        assert done.out == "".join(f"{n}\n" for n in range(1, LAST + 1)).encode()
        assert (done.status, done.err) == (0, b"")
        assert ran.read_text() == "once\n"
        assert world.harness.harness.stats().resumes + world.executor.stats().resumes > 0
        websockets = world.to_executor.websockets, world.to_harness.websockets
        assert (
            websockets
            == {"executor": (2, 1), "harness": (1, 2), "both": (2, 2), "router": (2, 2)}[what]
        )
