"""Which attempts to connect are repeated, and when: a relay in memory and a mock clock."""

import errno
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio.testing

import trio
from sansrelay import ResetReason
from sansrelay.http import HttpResponse
from sansrelay.registry import error_response
from sansrelay_trio import (
    ConnectCause,
    ConnectError,
    Harness,
    LinkFailed,
    LinkStatus,
    RegistryRefused,
    ServerConnection,
    StreamEnded,
    open_harness,
    serve_http,
)
from trio_net import (
    GRANTED,
    HARNESS_URL,
    REGISTRY,
    MemoryNet,
    Relay,
    echo,
    refused,
    wait_for,
)

pytestmark = pytest.mark.trio


class LongestPauses(random.Random):
    """Each pause as long as the jitter may make it."""

    def uniform(self, a: float, b: float) -> float:
        return b


@asynccontextmanager
async def registered(relay: Relay) -> AsyncGenerator[Harness]:
    """A harness whose first link a registry granted."""
    relay.router.refusals.append(GRANTED)
    async with open_harness(REGISTRY, open_socket=relay.net.open_socket) as harness:
        yield harness


class TestPauses:
    async def test_they_double_from_a_tenth_to_ten_seconds(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        await relay.start_executor(echo)
        async with open_harness(
            HARNESS_URL, open_socket=relay.net.open_socket, rng=LongestPauses(1)
        ) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.net.dialled_at.clear()
            relay.net.faults.extend([refused()] * 9)
            lost_at = trio.current_time()
            relay.net.cables.pop().cut()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
            times = [lost_at, *relay.net.dialled_at]
            pauses = [b - a for a, b in pairwise(times)]
            assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10])

    @pytest.mark.parametrize("seed", [1, 2])
    async def test_they_come_from_the_source_of_randomness_that_was_given(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, seed: int
    ) -> None:
        async def dial_times() -> list[float]:
            net = MemoryNet()
            net.faults.extend([ConnectionResetError(errno.ECONNRESET, "reset")] * 12)
            start = trio.current_time()
            with pytest.raises(ConnectError):
                async with open_harness(
                    HARNESS_URL, open_socket=net.open_socket, rng=random.Random(seed), wait=20
                ):
                    pytest.fail("no link")
            return [at - start for at in net.dialled_at]

        first = await dial_times()
        assert len(first) > 5
        assert await dial_times() == pytest.approx(first)

    async def test_they_start_over_only_once_a_frame_has_come_through(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        net = MemoryNet()
        greet = False

        async def hang_up(connection: ServerConnection) -> None:
            await connection.next_request()
            link = await connection.accept_websocket()
            if greet:
                await link.send([b"any frame, a bad one too"])

        async def serve() -> None:
            await serve_http(hang_up, listeners=[net])

        nursery.start_soon(serve)
        async with open_harness(HARNESS_URL, open_socket=net.open_socket, rng=LongestPauses(1)):
            await trio.sleep(3)
            pauses = [b - a for a, b in pairwise(net.dialled_at)]
            assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.001)
            greet = True
            await trio.sleep(10)
            pauses = [b - a for a, b in pairwise(net.dialled_at)]
            assert pauses[:5] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6], abs=0.001)
            assert pauses[5:] == pytest.approx([0.1] * len(pauses[5:]), abs=0.001)
            assert len(pauses) > 20


class TestFirstConnection:
    def failing(self, kind: str, relay: Relay, times: int) -> None:
        """Let the next attempts fail."""
        for _ in range(times):
            match kind:
                case "refused":
                    relay.net.faults.append(refused())
                case "unknown host":
                    relay.net.faults.append(socket.gaierror(socket.EAI_NONAME, "unknown"))
                case "reset":
                    relay.net.faults.append(OSError(errno.ECONNRESET, "reset"))
                case _:
                    relay.router.refusals.append(HttpResponse(status=int(kind)))

    @pytest.mark.parametrize("kind", ["reset", "500", "503", "429"])
    async def test_it_is_tried_again_while_wait_lasts(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, kind: str
    ) -> None:
        self.failing(kind, relay, 4)
        async with open_harness(HARNESS_URL, open_socket=relay.net.open_socket, wait=10) as harness:
            assert harness.link is LinkStatus.UP
        assert len(relay.net.dialled_at) == 5

    @pytest.mark.parametrize(
        ("kind", "wait", "cause"),
        [
            ("503", 0, ConnectCause.UNAVAILABLE),
            ("reset", 0, ConnectCause.BROKEN_OFF),
            ("refused", 60, ConnectCause.REFUSED),
            ("unknown host", 60, ConnectCause.UNKNOWN_HOST),
            ("401", 60, ConnectCause.UNAUTHORIZED),
            ("403", 60, ConnectCause.UNAUTHORIZED),
            ("404", 60, ConnectCause.DENIED),
            ("301", 60, ConnectCause.BAD_ANSWER),
        ],
    )
    async def test_what_is_final_is_raised_at_once(
        self,
        relay: Relay,
        autojump_clock: trio.testing.MockClock,
        kind: str,
        wait: float,
        cause: ConnectCause,
    ) -> None:
        self.failing(kind, relay, 1)
        with pytest.raises(ConnectError) as caught:
            async with open_harness(HARNESS_URL, open_socket=relay.net.open_socket, wait=wait):
                pytest.fail("no link")
        assert caught.value.cause is cause
        assert caught.value.status == (int(kind) if kind.isdigit() else None)
        assert "localhost:80" in str(caught.value)
        assert len(relay.net.dialled_at) == 1

    async def test_it_is_given_up_when_wait_is_over(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        self.failing("503", relay, 1000)
        start = trio.current_time()
        with pytest.raises(ConnectError) as caught:
            async with open_harness(HARNESS_URL, open_socket=relay.net.open_socket, wait=30):
                pytest.fail("no link")
        assert caught.value.cause is ConnectCause.UNAVAILABLE
        assert 15 < trio.current_time() - start <= 30

    async def test_it_can_be_cancelled(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        self.failing("503", relay, 1000)
        with trio.move_on_after(5) as scope:
            async with open_harness(
                HARNESS_URL, open_socket=relay.net.open_socket, wait=float("inf")
            ):
                pytest.fail("no link")
        assert scope.cancelled_caught
        assert trio.current_time() == pytest.approx(scope.deadline)


class TestLaterConnections:
    @pytest.mark.parametrize(
        "answer",
        [
            error_response(503, "busy", "come back later"),
            error_response(404, "unknown", "no such executor"),
            HttpResponse(status=200, body=b"not json"),
        ],
        ids=["503", "404", "not json"],
    )
    async def test_what_a_registry_answers_is_not_final(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, answer: HttpResponse
    ) -> None:
        await relay.start_executor(echo)
        async with registered(relay) as harness:
            relay.router.refusals.extend([answer, answer, GRANTED])
            relay.net.cables.pop().cut()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
            asked = [each for each in relay.router.requests if each.method == "POST"]
            assert {each.target for each in asked} == {"/cloud/environment/box1/connect"}
            assert len(asked) == 4

    @pytest.mark.parametrize("status", [401, 403])
    async def test_401_and_403_from_the_registry_are(
        self, relay: Relay, autojump_clock: trio.testing.MockClock, status: int
    ) -> None:
        await relay.start_executor(echo)
        async with registered(relay) as harness:
            stream = await harness.open_stream()
            await stream.wait_opened()
            relay.router.refusals.append(error_response(status, "revoked", "token was revoked"))
            relay.net.cables.pop().cut()
            with pytest.raises(StreamEnded) as ended:
                await stream.receive()
            assert ended.value.reset.known_reason is ResetReason.UNAUTHORIZED
            failure = ended.value.__cause__
            assert isinstance(failure, RegistryRefused)
            assert failure.status == status
            assert failure.code == "revoked"
            assert "token was revoked" in str(failure)
            assert "secret" not in str(failure)
            assert harness.failure is failure
            assert harness.link is LinkStatus.DOWN
            with pytest.raises(LinkFailed, match="revoked") as refused:
                await harness.open_stream()
            assert refused.value.__cause__ is failure
            # The block was not cancelled for it.
            await trio.sleep(1)

    async def test_a_rejected_websocket_is_tried_again(
        self, relay: Relay, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with relay.harness() as harness:
            relay.router.refusals.extend([HttpResponse(status=401)] * 3)
            relay.net.cut_all()
            await wait_for(harness, LinkStatus.CONNECTING)
            await wait_for(harness, LinkStatus.UP)
            assert harness.failure is None
