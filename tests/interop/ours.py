"""Our own ends, in this process: a harness, and executors to stand beside a Codex."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from apps_kit import PATIENCE, TOKEN, Done, Place, environment, first_line, started
from exec_kit import MemorySource, Terminal
from interop.capture import RecordingProxy, recording
from sansrelay_apps.exec_session import open_session
from sansrelay_apps.rpc_client import RpcClient
from sansrelay_trio import Harness, Registry, open_harness

__all__ = ["OurHarness", "our_executor", "our_harness"]


@dataclass
class OurHarness:
    """Opens a stream for each thing that it is told to do."""

    harness: Harness

    async def run(
        self, *argv: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Done:
        """Run one remote command to its end."""
        terminal = Terminal(MemorySource(*([stdin] if stdin else [])))
        status = await terminal.run(self.harness.open_stream, *argv, env=env or {}, wait=PATIENCE)
        return Done(status, terminal.stdout.data, terminal.stderr.data)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[RpcClient]:
        """A session on which only the test calls. Notifications are thrown away."""
        deadline = trio.current_time() + PATIENCE
        session = await open_session(self.harness.open_stream, executor="box1", deadline=deadline)

        async def listen() -> None:
            while True:
                await session.client.step()

        async with session.channel, trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            yield session.client
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def our_harness(target: Place | str) -> AsyncGenerator[OurHarness]:
    """A harness of ours at a rendezvous, or at a URL."""
    if isinstance(target, Place):
        where: Registry | str = Registry(target.url, target.executor_id, token=TOKEN)
    else:
        where = target
    async with open_harness(where) as harness:
        yield OurHarness(harness)


@asynccontextmanager
async def our_executor(place: Place) -> AsyncGenerator[RecordingProxy]:
    """An executor of ours at a rendezvous; yields the proxy that it dials through."""
    # A Codex has its commands run by login shells, which must not run what is in this user's home.
    env = environment(HOME="/nonexistent")
    async with recording(place.port) as proxy:
        registry = f"http://127.0.0.1:{proxy.port}"
        options = ("--registry", registry, "--id", place.executor_id)
        async with started("executor", *options, env=env) as process:
            assert await first_line(process) == f"ready {place.executor_id}"
            yield proxy
