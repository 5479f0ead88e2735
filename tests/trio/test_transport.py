"""`WebSocketConnection` at both ends of a pair of streams."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio.testing

import trio
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import WebSocketLink
from sansrelay_trio import KeepAlive, LinkCause, LinkClosed, WebSocketConnection
from trio_net import Cable, cancel_after

pytestmark = pytest.mark.trio


async def join(
    client_stream: trio.abc.Stream,
    server_stream: trio.abc.Stream,
    keepalive: KeepAlive | None = None,
    max_message_size: int = 1_000_000,
) -> tuple[WebSocketConnection, WebSocketConnection]:
    """A client and a server, after their handshake. Nobody keeps them alive yet."""
    keepalive = keepalive or KeepAlive()
    link = WebSocketLink.client("ws://relay.test/", max_message_size=max_message_size)
    client = WebSocketConnection(client_stream, link, keepalive)
    servers: list[WebSocketConnection] = []

    async def serve() -> None:
        http = HttpServerConnection()
        while http.next_request() is None:
            http.receive_bytes(bytes(await server_stream.receive_some()))
        accepted = http.accept_websocket(max_message_size=max_message_size)
        server = WebSocketConnection(server_stream, accepted, keepalive)
        await server.open()
        servers.append(server)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await client.open()
    return client, servers[0]


@asynccontextmanager
async def alive(*connections: WebSocketConnection) -> AsyncGenerator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        for connection in connections:
            nursery.start_soon(connection.keep_alive)
        yield nursery
        nursery.cancel_scope.cancel()


async def receive_for_ever(connection: WebSocketConnection, into: list[bytes]) -> None:
    try:
        while True:
            into.extend(await connection.receive())
    except LinkClosed:
        pass


async def test_messages_go_both_ways_in_batches() -> None:
    cable = Cable()
    client, server = await join(cable.client, cable.server)
    await client.send([b"one", b"two", bytes(200_000)])
    received: list[bytes] = []
    while len(received) < 3:
        received += await server.receive()
    assert received == [b"one", b"two", bytes(200_000)]
    await server.send([b"three"])
    assert await client.receive() == [b"three"]


async def test_messages_that_came_with_the_handshake_are_received() -> None:
    cable = Cable()
    link = WebSocketLink.client("ws://relay.test/")
    client = WebSocketConnection(cable.client, link, KeepAlive())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        http = HttpServerConnection()
        while http.next_request() is None:
            http.receive_bytes(bytes(await cable.server.receive_some()))
        accepted = http.accept_websocket()
        accepted.send_message(b"at once")
        await cable.server.send_all(accepted.bytes_to_send())
    with trio.testing.assert_checkpoints():
        assert await client.receive() == [b"at once"]


async def test_messages_that_came_with_the_handshake_and_a_close_are_received() -> None:
    cable = Cable()
    link = WebSocketLink.client("ws://relay.test/")
    client = WebSocketConnection(cable.client, link, KeepAlive())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.open)
        http = HttpServerConnection()
        while http.next_request() is None:
            http.receive_bytes(bytes(await cable.server.receive_some()))
        accepted = http.accept_websocket()
        accepted.send_message(b"at once")
        accepted.close(4001, "and that was it")
        await cable.server.send_all(accepted.bytes_to_send())
    assert await client.receive() == [b"at once"]
    with pytest.raises(LinkClosed, match="code 4001: and that was it") as caught:
        await client.receive()
    assert caught.value.cause is LinkCause.CLOSED_BY_PEER


async def test_a_cancelled_receive_loses_nothing() -> None:
    for ticks in range(6):
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        await client.send([b"one"])
        received: list[bytes] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_after, ticks, scope)
                received += await server.receive()
                await trio.sleep_forever()
        if not received:
            received += await server.receive()
        assert received == [b"one"]


async def test_one_task_receives_at_a_time() -> None:
    cable = Cable()
    client, _ = await join(cable.client, cable.server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.receive()
        nursery.cancel_scope.cancel()


class TestClosing:
    async def test_in_order_both_ends_learn_the_code(self) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        await client.send([b"last"])
        async with alive(client, server) as nursery:
            nursery.start_soon(client.aclose, 4001, "enough")
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

    async def test_a_task_that_receives_meanwhile_gets_what_still_comes(self) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        received: list[bytes] = []
        async with alive(client, server) as nursery:
            nursery.start_soon(receive_for_ever, client, received)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(client.aclose)
            nursery.start_soon(server.send, [b"on its way"])
            nursery.start_soon(receive_for_ever, server, [])
            await trio.testing.wait_all_tasks_blocked()
        assert received == [b"on its way"]
        assert client.link.close_code == 1000

    async def test_a_silent_peer_is_waited_for_a_second(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        cable = Cable()
        client, _ = await join(cable.client, cable.server)
        await client.aclose()
        assert trio.current_time() == pytest.approx(1, abs=0.01)
        await client.aclose()
        assert trio.current_time() == pytest.approx(1, abs=0.01)
        with pytest.raises(trio.ClosedResourceError):
            await cable.client.receive_some()

    @pytest.mark.parametrize("ticks", range(8))
    async def test_cancelled_it_still_closes(self, ticks: int) -> None:
        cable = Cable()
        client, _ = await join(cable.client, cable.server)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel_after, ticks, scope)
                await client.aclose()
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await cable.client.receive_some()

    async def test_after_a_fault_the_peer_is_told_why(self) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server, max_message_size=100)
        await client.send([bytes(101)])
        with pytest.raises(LinkClosed, match="larger than 100 bytes") as caught:
            await server.receive()
        assert caught.value.cause is LinkCause.PROTOCOL_ERROR
        async with alive(client) as nursery:
            nursery.start_soon(server.aclose)
            with pytest.raises(LinkClosed) as told:
                await client.receive()
            assert (told.value.cause, told.value.code) == (LinkCause.CLOSED_BY_PEER, 1009)
            await client.aclose()

    async def test_a_reset_does_not_overtake_the_reason(self) -> None:
        """Over a real socket, with much unread at the end that closes."""
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            client_stream = await trio.testing.open_stream_to_socket_listener(listener)
            server_stream = await listener.accept()
            client, server = await join(client_stream, server_stream, max_message_size=100)

            async def serve() -> None:
                with pytest.raises(LinkClosed):
                    await server.receive()
                await server.aclose()

            async with alive(client) as nursery:
                nursery.start_soon(serve)
                await client.send([bytes(3_000_000)])
                with pytest.raises(LinkClosed) as caught:
                    await client.receive()
                assert caught.value.code == 1009
                await client.aclose()


class TestBreaking:
    async def test_a_cut_cable_is_a_lost_connection_at_both_ends(self) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        cable.cut()
        for end in (client, server):
            with pytest.raises(LinkClosed) as caught:
                await end.receive()
            assert caught.value.cause is LinkCause.CONNECTION_LOST

    async def test_a_write_into_a_cut_cable_says_so_too(self) -> None:
        cable = Cable()
        client, _ = await join(cable.client, cable.server)
        cable.cut()
        with pytest.raises(LinkClosed, match="broke") as caught:
            await client.send([b"x"])
        assert caught.value.cause is LinkCause.CONNECTION_LOST
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)

    async def test_a_send_cancelled_half_way_breaks_the_link(self) -> None:
        client_stream, server_stream = trio.testing.lockstep_stream_pair()
        client, _ = await join(client_stream, server_stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, [b"x"])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        for operation in (client.receive, lambda: client.send([b"y"])):
            with pytest.raises(LinkClosed) as caught:
                await operation()
            assert caught.value.cause is LinkCause.SEND_CANCELLED

    async def test_a_send_cancelled_before_its_turn_breaks_nothing(self) -> None:
        client_stream, server_stream = trio.testing.lockstep_stream_pair()
        client, server = await join(client_stream, server_stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, [b"first"])
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as second:
                second.start_soon(client.send, [b"given up"])
                await trio.testing.wait_all_tasks_blocked()
                second.cancel_scope.cancel()
            nursery.start_soon(client.send, [b"third"])
            received: list[bytes] = []
            while len(received) < 2:
                received += await server.receive()
        assert received == [b"first", b"third"]

    async def test_a_peer_that_does_not_read_runs_into_the_write_timeout(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        client_stream, server_stream = trio.testing.lockstep_stream_pair()
        client, _ = await join(client_stream, server_stream, KeepAlive(write_timeout=7))
        start = trio.current_time()
        with pytest.raises(LinkClosed, match="took nothing for 7 seconds") as caught:
            await client.send([b"x"])
        assert caught.value.cause is LinkCause.WRITE_TIMEOUT
        assert trio.current_time() - start == pytest.approx(7)

    async def test_a_slow_peer_does_not_as_long_as_each_block_gets_through(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        client_stream, server_stream = trio.testing.lockstep_stream_pair()
        client, server = await join(client_stream, server_stream, KeepAlive(write_timeout=7))
        received: list[bytes] = []

        async def read_slowly() -> None:
            while True:
                await trio.sleep(5)
                data = bytes(await server_stream.receive_some(64 * 1024))
                server.link.receive_bytes(data)
                received.extend(server.link.messages())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_slowly)
            await client.send([bytes(600_000)])
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        assert received == [bytes(600_000)]
        assert trio.current_time() > 40


class TestKeepAlive:
    async def test_pings_are_answered_and_nothing_happens(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        received: list[bytes] = []
        async with alive(client, server) as nursery:
            nursery.start_soon(receive_for_ever, client, received)
            nursery.start_soon(receive_for_ever, server, received)
            await trio.sleep(3600)
            assert len(client.link.pongs()) <= 1
            await client.send([b"alive"])
            await trio.testing.wait_all_tasks_blocked()
        assert received == [b"alive"]

    @pytest.mark.parametrize(("interval", "patience"), [(20, 20), (20, 50), (30, 5)])
    async def test_a_silent_peer_is_dropped(
        self, autojump_clock: trio.testing.MockClock, interval: float, patience: float
    ) -> None:
        cable = Cable()
        keepalive = KeepAlive(ping_interval=interval, pong_timeout=patience)
        client, _ = await join(cable.client, cable.server, keepalive)
        async with alive(client):
            with pytest.raises(LinkClosed, match="after a ping") as caught:
                await client.receive()
        assert caught.value.cause is LinkCause.PONG_TIMEOUT
        assert trio.current_time() == pytest.approx(interval + patience, abs=0.01)

    async def test_any_byte_counts_as_a_sign_of_life(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        received: list[bytes] = []
        async with alive(client) as nursery:
            nursery.start_soon(receive_for_ever, client, received)
            # The server never reads, so it never answers a ping.
            for i in range(20):
                await trio.sleep(10)
                await server.send([b"%d" % i])
            await trio.testing.wait_all_tasks_blocked()
        assert len(received) == 20

    async def test_a_flood_of_pings_that_reads_no_answers_does_not_grow_memory(self) -> None:
        client_stream, server_stream = trio.testing.lockstep_stream_pair()
        client, server = await join(client_stream, server_stream)
        async with alive(server) as nursery:
            nursery.start_soon(receive_for_ever, server, [])
            for _ in range(200):
                client.link.ping(bytes(125))
                await client_stream.send_all(client.link.bytes_to_send())
            await trio.testing.wait_all_tasks_blocked()
            assert sum(map(len, server._core._pending)) + len(server.link.bytes_to_send()) < 1000

    @pytest.mark.parametrize("how", ["closed", "cut"])
    async def test_it_returns_when_the_link_has_ended(
        self, autojump_clock: trio.testing.MockClock, how: str
    ) -> None:
        cable = Cable()
        client, server = await join(cable.client, cable.server)
        async with trio.open_nursery() as nursery:
            for end in (client, server):
                nursery.start_soon(end.keep_alive)
                nursery.start_soon(receive_for_ever, end, [])
            await trio.testing.wait_all_tasks_blocked()
            if how == "cut":
                cable.cut()
            else:
                await client.aclose()
        assert trio.current_time() < 1
