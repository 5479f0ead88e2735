"""`WebSocketConnection` at both ends of a pair of sockets, in virtual time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from asyncio_net import Cable, after_ticks, all_wait, cable_pair, now
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import WebSocketLink
from sansrelay_asyncio import KeepAlive, LinkCause, LinkClosed, WebSocketConnection
from sansrelay_asyncio._socket import accept_stream, connect_stream

pytestmark = [
    pytest.mark.asyncio(loop_factories=["virtual"]),
    pytest.mark.usefixtures("complaints"),
]


class Pair:
    """A client and a server after their handshake. Nobody keeps them alive yet."""

    def __init__(
        self, client: WebSocketConnection, server: WebSocketConnection, cable: Cable
    ) -> None:
        self.client, self.server, self.cable = client, server, cable


@asynccontextmanager
async def joined(
    keepalive: KeepAlive | None = None, max_message_size: int = 10_000_000
) -> AsyncGenerator[Pair]:
    client_sock, server_sock, cable = cable_pair()
    client_stream = await connect_stream(
        client_sock, ssl_context=None, server_hostname="relay.test"
    )
    server_stream = await accept_stream(server_sock, ssl_context=None)
    link = WebSocketLink.client("ws://relay.test/", max_message_size=max_message_size)
    client = WebSocketConnection(client_stream, link, keepalive or KeepAlive())

    async def serve() -> WebSocketConnection:
        http = HttpServerConnection()
        while http.next_request() is None:
            http.receive_bytes(await server_stream.receive_some())
        accepted = http.accept_websocket(max_message_size=max_message_size)
        server = WebSocketConnection(server_stream, accepted, keepalive or KeepAlive())
        await server.open()
        return server

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        await client.open()
    try:
        yield Pair(client, await serving, cable)
    finally:
        for stream in (client_stream, server_stream):
            stream.abort()
            await stream.wait_gone()
        cable.cut()


@pytest_asyncio.fixture
async def pair() -> AsyncGenerator[Pair]:
    async with joined() as made:
        yield made


@asynccontextmanager
async def alive(*connections: WebSocketConnection) -> AsyncGenerator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.keep_alive()) for each in connections]
        yield group
        for task in tasks:
            task.cancel()


async def receive_for_ever(connection: WebSocketConnection, into: list[bytes]) -> None:
    with suppress(LinkClosed):
        while True:
            into.extend(await connection.receive())


async def test_messages_go_both_ways_in_batches(pair: Pair) -> None:
    messages = [b"one", b"two", bytes(200_000)]
    received: list[bytes] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(pair.client.send(messages))
        while len(received) < 3:
            received += await pair.server.receive()
    assert received == messages
    await pair.server.send([b"three"])
    assert await pair.client.receive() == [b"three"]


async def test_what_is_not_read_is_held_back_at_the_peer(pair: Pair) -> None:
    sending = asyncio.create_task(pair.client.send([bytes(5_000_000)]))
    await asyncio.sleep(1)
    assert not sending.done()
    # What was read from the socket, and not taken.
    assert len(pair.server._stream._received) <= 2 * 256 * 1024
    assert await pair.server.receive() == [bytes(5_000_000)]
    await sending


async def test_messages_that_came_with_the_handshake_and_a_close_are_received() -> None:
    client_sock, server_sock, cable = cable_pair()
    client_stream = await connect_stream(client_sock, ssl_context=None, server_hostname="")
    server_stream = await accept_stream(server_sock, ssl_context=None)
    link = WebSocketLink.client("ws://relay.test/")
    client = WebSocketConnection(client_stream, link, KeepAlive())
    async with asyncio.TaskGroup() as group:
        group.create_task(client.open())
        http = HttpServerConnection()
        while http.next_request() is None:
            http.receive_bytes(await server_stream.receive_some())
        accepted = http.accept_websocket()
        accepted.send_message(b"at once")
        accepted.close(4001, "and that was it")
        server_stream.write(accepted.bytes_to_send())
    assert await client.receive() == [b"at once"]
    with pytest.raises(LinkClosed, match="code 4001: and that was it") as caught:
        await client.receive()
    assert caught.value.cause is LinkCause.CLOSED_BY_PEER
    for stream in (client_stream, server_stream):
        stream.abort()
        await stream.wait_gone()
    cable.cut()


async def test_a_cancelled_receive_loses_nothing() -> None:
    for ticks in range(6):
        async with joined() as pair:
            await pair.client.send([b"one"])
            received: list[bytes] = []

            async def receive(pair: Pair = pair, received: list[bytes] = received) -> None:
                received += await pair.server.receive()

            task: asyncio.Task[object] = asyncio.create_task(receive())
            await after_ticks(ticks, task)
            await asyncio.wait([task])
            if not received:
                received += await pair.server.receive()
            assert received == [b"one"]


async def test_one_task_receives_at_a_time(pair: Pair) -> None:
    first = asyncio.create_task(pair.client.receive())
    await all_wait()
    with pytest.raises(RuntimeError, match="another task"):
        await pair.client.receive()
    first.cancel()
    await asyncio.wait([first])


class TestClosing:
    async def test_in_order_both_ends_learn_the_code(self, pair: Pair) -> None:
        client, server = pair.client, pair.server
        await client.send([b"last"])
        async with alive(client, server) as group:
            group.create_task(client.aclose(4001, "enough"))
            assert await server.receive() == [b"last"]
            with pytest.raises(LinkClosed, match="code 4001: enough") as caught:
                await server.receive()
            assert caught.value.cause is LinkCause.CLOSED_BY_PEER
            assert (caught.value.code, caught.value.reason) == (4001, "enough")
            with pytest.raises(LinkClosed):
                await server.send([b"too late"])
            await server.aclose()
        with pytest.raises(LinkClosed) as here:
            await client.receive()
        assert here.value.cause is LinkCause.CLOSED_HERE
        assert client.link.close_code == 4001

    async def test_a_silent_peer_is_waited_for_a_second(self, pair: Pair) -> None:
        await pair.client.aclose()
        assert now() == pytest.approx(1, abs=0.01)
        await pair.client.aclose()
        assert now() == pytest.approx(1, abs=0.01)

    @pytest.mark.parametrize("ticks", range(1, 8))
    async def test_cancelled_it_still_closes(self, pair: Pair, ticks: int) -> None:
        task: asyncio.Task[object] = asyncio.create_task(pair.client.aclose())
        await after_ticks(ticks, task)
        await asyncio.wait([task])
        assert task.cancelled()
        assert pair.client._stream._gone.is_set()
        assert now() == pytest.approx(0, abs=0.01)

    async def test_after_a_fault_the_peer_is_told_why(self) -> None:
        async with joined(max_message_size=100) as pair:
            await pair.client.send([bytes(101)])
            with pytest.raises(LinkClosed, match="larger than 100 bytes") as caught:
                await pair.server.receive()
            assert caught.value.cause is LinkCause.PROTOCOL_ERROR
            async with alive(pair.client) as group:
                group.create_task(pair.server.aclose())
                with pytest.raises(LinkClosed) as told:
                    await pair.client.receive()
                assert (told.value.cause, told.value.code) == (LinkCause.CLOSED_BY_PEER, 1009)
                await pair.client.aclose()


class TestBreaking:
    async def test_a_cut_cable_is_a_lost_connection_at_both_ends(self, pair: Pair) -> None:
        pair.cable.cut()
        for end in (pair.client, pair.server):
            with pytest.raises(LinkClosed) as caught:
                await end.receive()
            assert caught.value.cause is LinkCause.CONNECTION_LOST

    async def test_a_write_into_a_cut_cable_says_so_too(self, pair: Pair) -> None:
        pair.cable.cut()

        async def send_twice() -> None:
            # The first write finds out, or the transport has before.
            await pair.client.send([b"x"])
            await all_wait()
            await pair.client.send([b"x"])

        with pytest.raises(LinkClosed) as caught:
            await send_twice()
        assert caught.value.cause is LinkCause.CONNECTION_LOST
        assert isinstance(caught.value.__cause__, ConnectionError)

    async def test_a_send_cancelled_half_way_breaks_the_link(self, pair: Pair) -> None:
        pair.cable.block()
        sending = asyncio.create_task(pair.client.send([bytes(5_000_000)]))
        await all_wait()
        sending.cancel()
        await asyncio.wait([sending])
        for operation in (pair.client.receive, lambda: pair.client.send([b"y"])):
            with pytest.raises(LinkClosed) as caught:
                await operation()
            assert caught.value.cause is LinkCause.SEND_CANCELLED

    async def test_a_send_cancelled_before_its_turn_breaks_nothing(self, pair: Pair) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(pair.client.send([bytes(5_000_000)]))
            await all_wait()
            second = asyncio.create_task(pair.client.send([b"given up"]))
            await all_wait()
            second.cancel()
            await asyncio.wait([second])
            group.create_task(pair.client.send([b"third"]))
            received: list[bytes] = []
            while len(received) < 2:
                received += await pair.server.receive()
        assert received == [bytes(5_000_000), b"third"]

    async def test_a_peer_that_does_not_read_runs_into_the_write_timeout(self) -> None:
        async with joined(KeepAlive(write_timeout=7)) as pair:
            pair.cable.block()
            with pytest.raises(LinkClosed, match="took nothing for 7 seconds") as caught:
                await pair.client.send([bytes(5_000_000)])
            assert caught.value.cause is LinkCause.WRITE_TIMEOUT
            assert now() == pytest.approx(7, abs=0.01)


class TestKeepAlive:
    async def test_pings_are_answered_and_nothing_happens(self, pair: Pair) -> None:
        received: list[bytes] = []
        async with alive(pair.client, pair.server) as group:
            readers = [
                group.create_task(receive_for_ever(end, received))
                for end in (pair.client, pair.server)
            ]
            await asyncio.sleep(3600)
            assert len(pair.client.link.pongs()) <= 1
            await pair.client.send([b"alive"])
            await all_wait()
            for reader in readers:
                reader.cancel()
        assert received == [b"alive"]

    @pytest.mark.parametrize(("interval", "patience"), [(20, 20), (20, 50), (30, 5)])
    async def test_a_silent_peer_is_dropped(self, interval: float, patience: float) -> None:
        keepalive = KeepAlive(ping_interval=interval, pong_timeout=patience)
        async with joined(keepalive) as pair, alive(pair.client):
            with pytest.raises(LinkClosed, match="after a ping") as caught:
                await pair.client.receive()
        assert caught.value.cause is LinkCause.PONG_TIMEOUT
        assert now() == pytest.approx(interval + patience, abs=0.01)

    async def test_any_byte_counts_as_a_sign_of_life(self, pair: Pair) -> None:
        received: list[bytes] = []
        async with alive(pair.client) as group:
            reader = group.create_task(receive_for_ever(pair.client, received))
            # The server never reads, so it never answers a ping.
            for i in range(20):
                await asyncio.sleep(10)
                await pair.server.send([b"%d" % i])
            await all_wait()
            reader.cancel()
        assert len(received) == 20

    async def test_rules_that_are_switched_off_never_strike(self) -> None:
        inf = float("inf")
        keepalive = KeepAlive(ping_interval=inf, pong_timeout=inf, write_timeout=inf)
        async with joined(keepalive) as pair, alive(pair.client):
            sending = asyncio.create_task(pair.client.send([bytes(5_000_000)]))
            await asyncio.sleep(100_000)
            assert await pair.server.receive() == [bytes(5_000_000)]
            await sending

    @pytest.mark.parametrize("how", ["closed", "cut"])
    async def test_it_returns_when_the_link_has_ended(self, pair: Pair, how: str) -> None:
        async with asyncio.TaskGroup() as group:
            for end in (pair.client, pair.server):
                group.create_task(end.keep_alive())
                group.create_task(receive_for_ever(end, []))
            await all_wait()
            if how == "cut":
                pair.cable.cut()
            else:
                await pair.client.aclose()
        assert now() < 1
