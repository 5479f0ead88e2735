"""The exec-server on real streams: harness, rendezvous and executor, in one loop."""

from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
import trio.testing

import trio
from execserver_client import Client, is_running
from rendezvous_kit import serving
from sansrelay import RelayConfig, ResetReason
from sansrelay.config import ProfilePolicy
from sansrelay.jsonrpc import Event, NotificationReceived
from sansrelay_apps.execserver import ExecServerConfig, open_exec_server
from sansrelay_trio import (
    Harness,
    Registry,
    RelayStream,
    StreamEnded,
    open_harness,
    serve_executor,
)

pytestmark = pytest.mark.trio

both_profiles = pytest.mark.parametrize("profile", [ProfilePolicy.RELIABLE, ProfilePolicy.BASIC])

PATIENCE = 30.0


@dataclass
class Far:
    """An executor, and its ends of the streams."""

    registry: Registry
    streams: list[RelayStream] = field(default_factory=list)


@asynccontextmanager
async def executor(**limits: Any) -> AsyncGenerator[Far]:
    with trio.fail_after(PATIENCE):
        async with (
            serving() as place,
            open_exec_server(config=ExecServerConfig(**limits)) as server,
            trio.open_nursery() as nursery,
        ):
            far = Far(Registry(place.url, "box1", token="token"))

            async def serve(stream: RelayStream) -> None:
                far.streams.append(stream)
                await server.serve(stream)

            await nursery.start(partial(serve_executor, serve, far.registry))
            yield far
            nursery.cancel_scope.cancel()


def harness_of(far: Far, profile: ProfilePolicy) -> AbstractAsyncContextManager[Harness]:
    return open_harness(far.registry, config=RelayConfig(profile=profile))


async def client_on(harness: Harness) -> tuple[Client, RelayStream]:
    stream = await harness.open_stream()
    return Client(cast(Any, stream), cast(Any, None)), stream


@both_profiles
async def test_a_client_whose_stream_is_lost_finds_its_processes(profile: ProfilePolicy) -> None:
    async with executor() as far, harness_of(far, profile) as harness:
        client, _ = await client_on(harness)
        session_id = await client.begin()
        pid = await client.start_cat()
        far.streams[0].reset(ResetReason.LINK_LOST)
        with pytest.raises(StreamEnded):
            await client.receive()
        assert is_running(pid)
        again, _ = await client_on(harness)
        assert await again.begin(session_id) == session_id
        await again.call("process/write", processId="p", chunk="aGk=")
        assert await again.output_until(b"hi") == b"hi"
        await again.call("process/closeStdin", processId="p")
        assert (await again.until_closed(first_seq=3)).exit_code == 0


@both_profiles
@pytest.mark.parametrize("reason", [ResetReason.CANCELLED, ResetReason.CLOSED])
async def test_a_client_that_is_done_ends_its_session(
    profile: ProfilePolicy, reason: ResetReason
) -> None:
    async with executor() as far, harness_of(far, profile) as harness:
        client, stream = await client_on(harness)
        await client.begin()
        pid = await client.start_cat()
        stream.reset(reason)
        while is_running(pid):
            await trio.lowlevel.checkpoint()


@both_profiles
async def test_a_large_output_passes_within_the_bound(profile: ProfilePolicy) -> None:
    """More than is kept: it goes on as it is acknowledged, or written to a basic peer's link."""
    async with (
        executor(retain_bytes=100_000) as far,
        harness_of(far, profile) as harness,
    ):
        client, _ = await client_on(harness)
        await client.begin()
        ended = await client.run("head", "-c", "3000000", "/dev/zero")
        assert (ended.output["stdout"], ended.exit_code) == (bytes(3_000_000), 0)


@pytest.mark.parametrize("retain_bytes", [20_000, 1024 * 1024])
async def test_no_output_is_lost_with_the_streams(retain_bytes: int) -> None:
    """What was on its way when a stream broke was not acknowledged, and can be read."""
    expected = b"".join(b"%d\n" % number for number in range(1, 200_001))
    limits = {"retain_bytes": retain_bytes, "chunk_size": 10_000}
    async with executor(**limits) as far, harness_of(far, ProfilePolicy.RELIABLE) as harness:
        client, _ = await client_on(harness)
        session_id = await client.begin()
        await client.start("seq", "200000")
        heard: dict[int, bytes] = {}
        for wanted in range(12, 72, 12):
            while len(heard) < wanted:
                hear(heard, await client.receive())
            far.streams[-1].reset(ResetReason.LINK_LOST)
            with suppress(StreamEnded):
                while True:
                    hear(heard, await client.receive())
            client, _ = await client_on(harness)
            await client.begin(session_id)
            await catch_up(client, heard)
        while not (await catch_up(client, heard))["closed"]:
            pass
    assert b"".join(heard[seq] for seq in sorted(heard)) == expected


def hear(heard: dict[int, bytes], event: Event) -> None:
    assert isinstance(event, NotificationReceived)
    assert isinstance(event.params, dict)
    if event.method != "process/closed":
        seq = event.params["seq"]
        assert isinstance(seq, int)
        heard[seq] = b64decode(str(event.params.get("chunk", "")))


async def catch_up(client: Client, heard: dict[int, bytes]) -> dict[str, Any]:
    """Read once from where something is missing. What is notified meanwhile counts as well."""
    last = 0
    while last + 1 in heard:
        last += 1
    read = await client.call("process/read", processId="p", afterSeq=last, waitMs=10_000)
    heard |= {chunk["seq"]: b64decode(chunk["chunk"]) for chunk in read["chunks"]}
    for event in client.notifications:
        hear(heard, event)
    client.notifications.clear()
    return read
