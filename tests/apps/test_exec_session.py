"""The opening of a session: patience where it is safe, one clear line where it is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import trio
from exec_kit import UNAVAILABLE, FakeHost, MemoryChannel, channel_pair, ended
from sansrelay.errors import ResetReason
from sansrelay.jsonrpc import RpcError
from sansrelay_apps.exec_session import (
    ANSWER_TIMEOUT,
    ExecSession,
    ServerInfo,
    explain_end,
    open_session,
)
from sansrelay_apps.remote_failure import RELAY_FAILED, RemoteFailure
from sansrelay_apps.rpc_client import BadMessage
from sansrelay_trio import ConnectCause, ConnectError, LinkFailed

pytestmark = pytest.mark.trio

READY: dict[str, Any] = {}


@asynccontextmanager
async def fake_host(*descriptions: dict[str, Any]) -> AsyncIterator[FakeHost]:
    async with trio.open_nursery() as nursery:
        yield FakeHost(nursery, list(descriptions))
        nursery.cancel_scope.cancel()


async def open_within(host: FakeHost, wait: float) -> ExecSession:
    return await open_session(
        host.open_stream, executor="box1", deadline=trio.current_time() + wait
    )


async def test_initialize_and_what_the_executor_tells() -> None:
    info = {"name": "sansrelay", "version": "9", "cwd": "/srv", "capabilities": ["a", 7, "b"]}
    async with fake_host({"server_info": info}) as host:
        session = await open_within(host, 0)
    assert session.server == ServerInfo(
        name="sansrelay 9", cwd="/srv", capabilities=frozenset({"a", "b"})
    )
    assert session.server.may_have("a")
    assert not session.server.may_have("c")
    assert host.executor.methods == ["initialize", "initialized"]


@pytest.mark.parametrize(
    "result", [None, [], "text", {"serverInfo": None}, {"serverInfo": [1]}, {"sessionId": "s"}]
)
async def test_an_executor_that_tells_nothing_may_have_everything(result: Any) -> None:
    async with fake_host({"answers": {"initialize": result}}) as host:
        session = await open_within(host, 0)
    assert session.server == ServerInfo()
    assert session.server.may_have("anything")


@pytest.mark.parametrize(
    "reason",
    [
        ResetReason.EXECUTOR_UNAVAILABLE,
        ResetReason.LINK_LOST,
        ResetReason.PEER_RESTARTED,
        ResetReason.UNKNOWN_STREAM,
        ResetReason.GOING_AWAY,
    ],
)
async def test_an_executor_that_is_away_is_tried_again(
    reason: ResetReason, autojump_clock: trio.testing.MockClock
) -> None:
    away = {"answers": {"initialize": ended(reason)}}
    async with fake_host(away, away, READY) as host:
        await open_within(host, 10)
    assert [executor.methods for executor in host.executors] == [
        ["initialize"],
        ["initialize"],
        ["initialize", "initialized"],
    ]


@pytest.mark.parametrize(("wait", "attempts"), [(0, 1), (0.05, 1), (0.1, 2), (10, 13)])
async def test_patience_has_an_end(
    wait: float, attempts: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with fake_host(UNAVAILABLE) as host:
        started = trio.current_time()
        with pytest.raises(RemoteFailure, match="no executor is connected as box1") as caught:
            await open_within(host, wait)
        assert trio.current_time() <= started + wait
    assert caught.value.status == RELAY_FAILED
    assert len(host.executors) == attempts
    assert all(channel.closed.is_set() for channel in host.channels)


@pytest.mark.parametrize(
    "reason", [*sorted(set(ResetReason) - {"executor_unavailable"}), "something foreign"]
)
async def test_other_ends_are_final(reason: str, autojump_clock: trio.testing.MockClock) -> None:
    may_pass = {"link_lost", "peer_restarted", "unknown_stream", "going_away"}
    async with fake_host({"answers": {"initialize": ended(reason)}}, READY) as host:
        if reason in may_pass:
            await open_within(host, 10)
        else:
            with pytest.raises(RemoteFailure):
                await open_within(host, 10)
    assert len(host.executors) == (2 if reason in may_pass else 1)


async def test_a_stream_that_the_executor_closes_is_final() -> None:
    async def open_stream() -> MemoryChannel:
        ours, theirs = channel_pair()
        await theirs.aclose()
        return ours

    with pytest.raises(RemoteFailure):
        await open_session(open_stream, executor="box1", deadline=trio.current_time() + 10)


async def test_a_session_that_is_refused() -> None:
    answers = {"initialize": RpcError(code=-32600, message="not\x1b you")}
    async with fake_host({"answers": answers}) as host:
        with pytest.raises(RemoteFailure, match=r"^box1 refused the session: not\ufffd you$"):
            await open_within(host, 10)
    assert host.channels[0].closed.is_set()


async def test_no_answer_at_all(autojump_clock: trio.testing.MockClock) -> None:
    async with fake_host({"silent": frozenset({"initialize"})}) as host:
        started = trio.current_time()
        with pytest.raises(RemoteFailure, match="box1 did not answer within 30 s"):
            await open_within(host, 1000)
        assert trio.current_time() == started + ANSWER_TIMEOUT
    assert host.channels[0].closed.is_set()


async def test_what_is_no_message() -> None:
    ours, theirs = channel_pair()

    async def open_stream() -> MemoryChannel:
        return ours

    async def babble() -> None:
        await theirs.receive()
        await theirs.send(b"hello?")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(babble)
        with pytest.raises(RemoteFailure, match="does not speak the exec-server protocol"):
            await open_session(open_stream, executor="box1", deadline=trio.current_time())
    assert ours.closed.is_set()


def link_failed() -> LinkFailed:
    error = LinkFailed("no link")
    error.__cause__ = ConnectError(ConnectCause.UNAUTHORIZED, "the registry said no", status=401)
    return error


async def test_a_link_that_is_gone_for_good() -> None:
    async def open_stream() -> MemoryChannel:
        raise link_failed()

    with pytest.raises(RemoteFailure, match="the registry said no; check the token"):
        await open_session(open_stream, executor="box1", deadline=trio.current_time() + 10)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (trio.EndOfChannel(), "box1 closed the stream"),
        (BadMessage("not JSON"), "box1 does not speak the exec-server protocol: not JSON"),
        (trio.BrokenResourceError("snap"), "the stream to box1 broke: snap"),
    ],
)
async def test_explanations(error: Exception, line: str) -> None:
    assert explain_end(error, executor="box1") == line
