"""The calling side of JSON-RPC."""

import json
from typing import Any

import pytest

import trio
from exec_kit import MemoryChannel, channel_pair
from sansrelay.jsonrpc import NotificationReceived, ResponseReceived, RpcError
from sansrelay_apps.rpc_client import BadMessage, RpcClient

pytestmark = pytest.mark.trio


async def send(channel: MemoryChannel, **message: Any) -> None:
    await channel.send(json.dumps(message).encode())


async def test_answers_go_to_their_requests_in_any_order() -> None:
    ours, theirs = channel_pair()
    client = RpcClient(ours)
    answers: list[ResponseReceived] = []

    async def serve() -> None:
        sent = [json.loads(await theirs.receive()) for _ in range(2)]
        assert sent == [
            {"id": 1, "method": "first", "params": {"a": 1}},
            {"id": 2, "method": "second", "params": {}},
        ]
        await send(theirs, id=2, result="two")
        await send(theirs, id=1, error={"code": -1, "message": "no"})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await client.request("first", {"a": 1}, answers.append)
        await client.request("second", {}, answers.append)
        assert client.messages_sent == 2
        assert await client.step() is None
        assert await client.step() is None
    assert [(answer.method, answer.result) for answer in answers] == [
        ("second", "two"),
        ("first", None),
    ]
    assert answers[1].error == RpcError(code=-1, message="no")


async def test_call_waits_while_another_task_receives() -> None:
    ours, theirs = channel_pair()
    client = RpcClient(ours)

    async def serve() -> None:
        await theirs.receive()
        await send(theirs, id=1, result=5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(client.step)
        answer = await client.call("add", None)
    assert answer.result == 5


async def test_notifications_go_both_ways() -> None:
    ours, theirs = channel_pair()
    client = RpcClient(ours)

    async def serve() -> None:
        assert json.loads(await theirs.receive()) == {"method": "initialized", "params": {}}
        await send(theirs, method="tell", params=[1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await client.notify("initialized", {})
        assert await client.step() == NotificationReceived(method="tell", params=[1])


async def test_a_request_of_the_other_side_is_refused() -> None:
    ours, theirs = channel_pair()
    client = RpcClient(ours)

    async def serve() -> None:
        await send(theirs, id="x", method="do")
        answer = json.loads(await theirs.receive())
        assert (answer["id"], answer["error"]["code"]) == ("x", -32601)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        assert await client.step() is None


@pytest.mark.parametrize(
    "message",
    [
        b'{"id":7,"result":1}',
        b'{"id":-1,"error":{"code":-32600,"message":"what was that?"}}',
    ],
)
async def test_an_answer_to_nothing_is_dropped(message: bytes) -> None:
    ours, theirs = channel_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send, message)
        assert await RpcClient(ours).step() is None


@pytest.mark.parametrize("message", [b"\xff", b"{", b"[]", b'{"id":1}', b'{"method":5}'])
async def test_what_is_no_message_ends_the_session(message: bytes) -> None:
    ours, theirs = channel_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send, message)
        with pytest.raises(BadMessage):
            await RpcClient(ours).step()
