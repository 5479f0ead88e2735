"""Every operation of both adapters, cancelled at each of its checkpoints.

Whatever is cancelled, and at whichever of its checkpoints: no message is lost, halved or repeated,
no task is left, and the rest of the connection works on. The numbers of checkpoints are part of the
table, so a new one is noticed. With asyncio an operation that need not wait has none.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.strikes import ADAPTERS, Moment, Strike, World, run_world
from adapters.table import open_sockets
from sansrelay import EndedBy, Outcome, ResetReason
from sansrelay.http import HttpResponse
from sansrelay.links import ConnectCause, ConnectError, LinkCause
from sansrelay.network import Registry

REGISTRY = Registry("http://localhost", "box1", token="secret")

GONE = (LinkCause.CLOSED_BY_PEER, LinkCause.CONNECTION_LOST)
"""What a peer may see of a WebSocket that was given up: never half a message."""

Play = Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """An operation in a world, which calls `World.strike` once."""

    play: Play
    checkpoints: dict[str, int]

    def __str__(self) -> str:
        return self.play.__name__


ROWS: list[Row] = []


def checkpoints(*, trio: int, asyncio: int) -> Callable[[Play], Play]:
    """Make a function a row of the table."""

    def add(play: Play) -> Play:
        ROWS.append(Row(play, {"trio": trio, "asyncio": asyncio}))
        return play

    return add


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_cancelled_at_each_checkpoint(row: Row, adapter: str) -> None:
    count = run_world(adapter, row.play)
    assert count == row.checkpoints[adapter], "another number of checkpoints: update the table"
    if adapter == "trio":
        run_world(adapter, row.play, Strike(0, Moment.BEFORE))
    for number in range(1, count + 1):
        for moment in (Moment.WAITING, Moment.WOKEN):
            run_world(adapter, row.play, Strike(number, moment))


# -- whole lives of both ends, with the tasks behind them

GRANTED = {
    role: HttpResponse(
        status=200,
        body=json.dumps({"environment_id": "box1", "url": f"ws://localhost/{role}"}).encode(),
    )
    for role in ("harness", "executor")
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_harness_cancelled_at_each_turn_of_the_loop(adapter: str) -> None:
    """While it asks a registry, dials, shakes hands, is used, and leaves."""

    async def play(world: World) -> None:
        async def use() -> None:
            async with world.adapter.open_harness(REGISTRY, open_socket=open_socket) as harness:
                async with await harness.open_stream() as stream:
                    await stream.send(b"x")
                    assert await stream.receive() == b"x"

        answers, open_socket = world.relay.router.refusals, world.relay.net.open_socket
        async with world.open(handler=world.net.echo):
            tasks, turns, was_cancelled = world.tasks(), 0, True
            while was_cancelled:
                answers.append(GRANTED["harness"])
                was_cancelled = await world.strike_at_turn(turns, use)
                answers.clear()
                turns += 1
                await world.later()
                assert world.tasks() == tasks
                for cable in world.relay.net.cables[2:]:
                    assert await world.is_closed(cable)
                del world.relay.net.cables[2:]
            assert turns > 20
            async with await world.harness.open_stream() as stream:
                await stream.send(b"still alive")
                assert await stream.receive() == b"still alive"
            assert world.harness.stats().links_opened == 1

    sockets = open_sockets()
    run_world(adapter, play)
    assert open_sockets() == sockets


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_executor_cancelled_at_each_turn_of_the_loop(adapter: str) -> None:
    """While it asks a registry, dials, shakes hands, and has just come to its link."""

    async def play(world: World) -> None:
        router, tasks = world.relay.router, world.tasks()
        turns, turns_linked = 0, 0
        while turns_linked < 10:
            router.refusals.append(GRANTED["executor"])
            assert await world.strike_at_turn(turns, lambda: world.serve(target=REGISTRY))
            turns_linked += router.executor is not None
            router.refusals.clear()
            router.executor = None
            turns += 1
            await world.later()
            assert world.tasks() == tasks
            for cable in world.relay.net.cables:
                assert await world.is_closed(cable)
            world.relay.net.cables.clear()
        assert turns > 20

    sockets = open_sockets()
    run_world(adapter, play)
    assert open_sockets() == sockets


# -- streams


@checkpoints(trio=1, asyncio=0)
async def opening_a_stream_makes_none_or_a_whole_one(world: World) -> None:
    async with world.open():
        struck = await world.strike(lambda: world.harness.open_stream())
        assert world.harness.stats().streams_live == (not struck.cancelled)
        if not struck.cancelled:
            await struck.value.send(b"works")
            assert await (await world.idle.accepted()).receive() == b"works"
            struck.value.reset()
        await world.check()


@checkpoints(trio=1, asyncio=1)
async def waiting_until_a_stream_is_open(world: World) -> None:
    async with world.open():
        ours = await world.harness.open_stream()
        await world.strike(ours.wait_opened)
        await ours.wait_opened()
        await ours.send(b"works")
        assert await (await world.idle.accepted()).receive() == b"works"
        await world.check()


@checkpoints(trio=1, asyncio=0)
async def a_send_with_room_queues_the_whole_message_or_nothing(world: World) -> None:
    async with world.open():
        ours, theirs = await world.stream()
        struck = await world.strike(lambda: ours.send(b"perhaps"))
        assert ours.last_message_id == (not struck.cancelled)
        await ours.send(b"surely")
        received = [await theirs.receive() for _ in range(ours.last_message_id)]
        assert received == [b"perhaps"] * (not struck.cancelled) + [b"surely"]
        await world.check()


@checkpoints(trio=3, asyncio=1)
async def a_send_without_room_queues_the_whole_message_or_nothing(world: World) -> None:
    async with world.open(world.net.SMALL):
        ours, theirs = await world.stream()
        taken = await world.net.fill(ours)
        received: list[bytes] = []

        async def make_room() -> None:
            received.extend([await theirs.receive() for _ in taken])

        message = world.net.padded(b"perhaps")
        struck = await world.strike(lambda: ours.send(message), then=make_room)
        assert ours.last_message_id == len(taken) + (not struck.cancelled)
        await ours.send(b"surely")
        received += [await theirs.receive() for _ in range(ours.last_message_id - len(taken))]
        assert received == [*taken, *[message] * (not struck.cancelled), b"surely"]
        await world.check()


@checkpoints(trio=1, asyncio=1)
async def a_send_in_a_queue_of_senders_lets_the_others_pass(world: World) -> None:
    async with world.open(world.net.SMALL):
        ours, theirs = await world.stream()
        taken = await world.net.fill(ours)
        first, last = world.net.padded(b"first"), world.net.padded(b"last")
        await world.background(lambda: ours.send(first))
        received: list[bytes] = []

        async def make_room() -> None:
            await world.background(lambda: ours.send(last))
            received.extend([await theirs.receive() for _ in range(len(taken) + 2)])

        message = world.net.padded(b"perhaps")
        struck = await world.strike(lambda: ours.send(message), then=make_room)
        if not struck.cancelled:
            received.append(await theirs.receive())
        assert received == [*taken, first, *[message] * (not struck.cancelled), last]
        await world.check()


@checkpoints(trio=1, asyncio=0)
async def a_receive_takes_a_message_or_leaves_it(world: World) -> None:
    async with world.open():
        ours, theirs = await world.stream()
        for message in (b"1", b"2"):
            await theirs.send(message)
        await world.settle()
        struck = await world.strike(ours.receive)
        rest = [await ours.receive() for _ in range(1 + struck.cancelled)]
        assert [struck.value, *rest][struck.cancelled :] == [b"1", b"2"]
        await world.check()


@checkpoints(trio=2, asyncio=1)
async def a_receive_that_waits_takes_a_message_or_leaves_it(world: World) -> None:
    async with world.open():
        ours, theirs = await world.stream()
        struck = await world.strike(ours.receive, then=lambda: theirs.send(b"1"))
        await theirs.send(b"2")
        rest = [await ours.receive() for _ in range(1 + struck.cancelled)]
        assert [struck.value, *rest][struck.cancelled :] == [b"1", b"2"]
        await world.check()


@checkpoints(trio=2, asyncio=1)
async def a_step_of_a_loop_takes_a_message_or_leaves_it(world: World) -> None:
    async with world.open():
        ours, theirs = await world.stream()
        struck = await world.strike(ours.__anext__, then=lambda: theirs.send(b"1"))
        if struck.cancelled:
            assert await ours.__anext__() == b"1"
        await world.check()


@checkpoints(trio=1, asyncio=1)
async def a_close_that_waits_is_done_or_resets(world: World) -> None:
    async with world.open():
        ours, theirs = await world.stream()
        await ours.send(b"1")
        await world.settle()

        async def take_over() -> None:
            assert await theirs.receive() == b"1"

        struck = await world.strike(ours.aclose, then=take_over)
        assert ours.ended.by is EndedBy.LOCAL
        if ours.ended.known_reason is ResetReason.CLOSED:
            assert ours.ended.outcome(1) is Outcome.ACKNOWLEDGED
        else:
            assert struck.cancelled
            assert ours.ended.known_reason is ResetReason.CANCELLED
            assert ours.ended.outcome(1) is Outcome.UNKNOWN
        await world.settle()
        assert theirs.ended.known_reason is ours.ended.known_reason
        await world.check()


@checkpoints(trio=6, asyncio=2)
async def a_block_with_a_stream_closes_it_or_resets(world: World) -> None:
    async with world.open(handler=world.net.echo):

        async def talk() -> None:
            async with await world.harness.open_stream() as stream:
                await stream.wait_opened()
                await stream.send(b"x")
                assert await stream.receive() == b"x"

        await world.strike(talk)
        await world.later()
        stats = world.harness.stats()
        assert stats.streams_live == 0
        assert stats.links_opened == 1
        async with await world.harness.open_stream() as stream:
            await stream.send(b"still alive")
            assert await stream.receive() == b"still alive"


# -- both ends


@checkpoints(trio=7, asyncio=3)
async def a_harness_from_its_beginning_to_its_end(world: World) -> None:
    async with world.open():
        tasks = world.tasks()
        stream: Any = None

        async def use() -> None:
            nonlocal stream
            async with world.relay.harness() as harness:
                stream = await harness.open_stream()
                await stream.send(b"x")
                await stream.wait_opened()

        await world.strike(use)
        await world.later()
        if stream is not None:
            assert stream.ended.known_reason is ResetReason.CANCELLED
        # The executor's handler stays, if the stream came that far.
        assert world.tasks() - tasks in (0, 1)
        await world.settle()
        if world.tasks() > tasks:
            peer = await world.idle.accepted()
            assert peer.ended.known_reason is ResetReason.CANCELLED
        await world.check()


@checkpoints(trio=5, asyncio=3)
async def an_executor_from_its_beginning_to_its_end(world: World) -> None:
    """Nothing but cancelling ends it; here that may strike twice."""
    async with world.relay.harness() as world.harness:
        tasks = world.tasks()
        stream: Any = None

        async def use_it() -> None:
            nonlocal stream
            stream = await world.harness.open_stream()
            await world.settle()
            world.give_up()

        struck = await world.strike(world.serve, then=use_it)
        assert struck.cancelled
        await world.later()
        assert world.tasks() == tasks
        # Cancelled twice, it may not have found the time to say so.
        if stream.ended is not None:
            assert stream.ended.known_reason is ResetReason.GOING_AWAY
        stream.reset()
        world.idle = world.net.Idle()
        await world.relay.start_executor(world.idle)
        await world.check()


# -- WebSockets and servers


@checkpoints(trio=6, asyncio=1)
async def a_handshake_is_done_or_the_connection_closed(world: World) -> None:
    async with world.open():
        tasks = world.tasks()
        client = await world.client()
        struck = await world.strike(client.open)
        if not struck.cancelled:
            assert client.link.was_open
        await client.aclose()
        await world.later()
        assert world.tasks() == tasks
        await world.check()


@checkpoints(trio=3, asyncio=0)
async def a_websocket_receives_its_messages_or_leaves_them(world: World) -> None:
    async with world.open():
        client, server = await world.pair()
        await client.send([b"1", b"2"])
        await world.settle()
        struck = await world.strike(server.receive)
        received = [] if struck.cancelled else struck.value
        await client.send([b"3"])
        while len(received) < 3:
            received += await server.receive()
        assert received == [b"1", b"2", b"3"]
        await client.aclose()
        await world.check()


@checkpoints(trio=3, asyncio=1)
async def a_websocket_that_waits_receives_its_messages_or_leaves_them(world: World) -> None:
    async with world.open():
        client, server = await world.pair()
        struck = await world.strike(server.receive, then=lambda: client.send([b"1", b"2"]))
        received = [] if struck.cancelled else struck.value
        await client.send([b"3"])
        while len(received) < 3:
            received += await server.receive()
        assert received == [b"1", b"2", b"3"]
        await client.aclose()
        await world.check()


@checkpoints(trio=3, asyncio=0)
async def a_websocket_sends_whole_messages_or_breaks(world: World) -> None:
    async with world.open():
        client, server = await world.pair()
        struck = await world.strike(lambda: client.send([b"1", b"2"]))
        received: list[bytes] = []

        async def receive_all() -> None:
            while True:
                received.extend(await server.receive())

        cause = await world.cause_of(lambda: client.send([b"3"]))
        if cause is None:
            await client.aclose()
        else:
            assert struck.cancelled
            assert cause is LinkCause.SEND_CANCELLED
        assert await world.cause_of(receive_all) in GONE
        assert received in ([], [b"3"], [b"1", b"2"], [b"1", b"2", b"3"])
        assert struck.cancelled or received == [b"1", b"2", b"3"]
        await world.check()


@checkpoints(trio=10, asyncio=2)
async def a_websocket_is_closed_whatever_happens(world: World) -> None:
    async with world.open():
        client, server = await world.pair()

        async def take_notice() -> None:
            assert await world.cause_of(server.receive) in GONE

        await world.strike(lambda: client.aclose(1000, "done"), then=take_notice)
        assert await world.cause_of(client.receive) in (
            LinkCause.CLOSED_HERE,
            LinkCause.SEND_CANCELLED,
        )
        await world.check()


@checkpoints(trio=10, asyncio=1)
async def a_server_answers_a_request_or_hangs_up(world: World) -> None:
    """From the first byte of the request to the last one of the answer."""
    async with world.open():
        tasks = world.tasks()

        async def converse(connection: Any) -> None:
            assert await connection.next_request() is not None
            await connection.respond(HttpResponse(status=404))
            assert await connection.next_request() is None

        async def handle(connection: Any) -> None:
            await world.strike(lambda: converse(connection))

        world.next_connection = handle
        with pytest.raises(ConnectError) as caught:
            async with world.relay.harness():
                pass
        assert caught.value.cause in (ConnectCause.DENIED, ConnectCause.BROKEN_OFF)
        await world.later()
        assert world.tasks() == tasks
        await world.check()


@checkpoints(trio=3, asyncio=0)
async def a_server_accepts_a_websocket_or_hangs_up(world: World) -> None:
    async with world.open():
        tasks = world.tasks()

        async def handle(connection: Any) -> None:
            await connection.next_request()
            await world.strike(connection.accept_websocket)

        world.next_connection = handle
        client = await world.client()
        assert await world.cause_of(client.open) in (None, LinkCause.CONNECTION_LOST)
        await client.aclose()
        await world.later()
        assert world.tasks() == tasks
        await world.check()
