"""Both adapters on one relay: a server, an executor and a harness, each on either of them.

What runs on trio does so in a thread of its own. Real sockets on the loopback interface.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import product
from typing import Any

import pytest

import asyncio_net
import sansrelay_asyncio
import sansrelay_trio
import trio
import trio_net
from sansrelay import ResetReason

pytestmark = [
    pytest.mark.asyncio(loop_factories=["plain"]),
    pytest.mark.usefixtures("complaints"),
]

MESSAGES = [b"small", bytes(range(256)) * 2000, b"last"]

Serve = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def on_asyncio(serve: Serve) -> AsyncGenerator[Any]:
    """Run something that reports once it is ready; yields what it reports."""
    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(on_started=started.set_result))
    done, _ = await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
    assert started in done
    yield started.result()
    task.cancel()
    await asyncio.wait([task])


@asynccontextmanager
async def on_trio(serve: Serve) -> AsyncGenerator[Any]:
    """The same, in a thread."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[Any] = loop.create_future()
    cancels: list[Callable[[], None]] = []

    class Status(trio.TaskStatus[Any]):
        def started(self, value: Any = None) -> None:
            loop.call_soon_threadsafe(started.set_result, value)

    async def main() -> None:
        with trio.CancelScope() as scope:
            token = trio.lowlevel.current_trio_token()
            cancels.append(lambda: token.run_sync_soon(scope.cancel))
            await serve(task_status=Status())

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    try:
        yield await started
    finally:
        cancels[0]()
        await asyncio.to_thread(thread.join)


async def talk_on_asyncio(url: str) -> list[bytes]:
    async with sansrelay_asyncio.open_harness(url) as harness:
        async with await harness.open_stream() as stream:
            for message in MESSAGES:
                await stream.send(message)
            return [await stream.receive() for _ in MESSAGES]


async def talk_on_trio(url: str) -> list[bytes]:
    async def main() -> list[bytes]:
        async with sansrelay_trio.open_harness(url) as harness:
            async with await harness.open_stream() as stream:
                for message in MESSAGES:
                    await stream.send(message)
                return [await stream.receive() for _ in MESSAGES]

    return await asyncio.to_thread(trio.run, main)


@asynccontextmanager
async def server_on(kind: str) -> AsyncGenerator[str]:
    if kind == "trio":
        router = trio_net.Router()
        running = on_trio(partial(sansrelay_trio.serve_http, router.serve))
    else:
        running = on_asyncio(partial(sansrelay_asyncio.serve_http, asyncio_net.Router().serve))
    async with running as [(_, port)]:
        yield f"ws://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("server", "executor", "harness"),
    [each for each in product(["trio", "asyncio"], repeat=3) if len(set(each)) > 1],
)
async def test_the_adapters_talk_to_each_other(server: str, executor: str, harness: str) -> None:
    async with server_on(server) as base:
        url = f"{base}/executor"
        if executor == "trio":
            serving = on_trio(partial(sansrelay_trio.serve_executor, trio_net.echo, url))
        else:
            serving = on_asyncio(partial(sansrelay_asyncio.serve_executor, asyncio_net.echo, url))
        talk = talk_on_trio if harness == "trio" else talk_on_asyncio
        async with serving:
            assert await talk(f"{base}/harness") == MESSAGES


async def test_an_executor_on_trio_that_leaves_tells_a_harness_on_asyncio() -> None:
    async with server_on("asyncio") as base:
        serve = partial(sansrelay_trio.serve_executor, trio_net.echo, f"{base}/executor")
        async with sansrelay_asyncio.open_harness(f"{base}/harness") as harness:
            async with on_trio(serve):
                stream = await harness.open_stream()
                await stream.send(b"x")
                assert await stream.receive() == b"x"
            with pytest.raises(sansrelay_asyncio.StreamEnded) as caught:
                await stream.receive()
            assert caught.value.reset.known_reason is ResetReason.GOING_AWAY
