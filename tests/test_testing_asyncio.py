"""The public loop in virtual time: what it does with timers, sockets, threads and deadlocks."""

import asyncio
import math
import random
import socket
import ssl
import threading
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest
import trustme

from sansrelay.testing.asyncio import Deadlock, VirtualTimeLoop, run

DAY = 24 * 3600.0


def now() -> float:
    return asyncio.get_running_loop().time()


def work() -> int:
    """Takes a thread some milliseconds, in which a clock that does not stand still would jump."""
    return sum(range(1_000_000))


def pair() -> tuple[socket.socket, socket.socket]:
    one, two = socket.socketpair()
    one.setblocking(False)
    two.setblocking(False)
    return one, two


class TestTime:
    @pytest.mark.parametrize("early", [1e-12, 5e-10])
    def test_no_timer_fires_early(self, early: float) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            due = 3.0 + early
            loop.call_at(3.0, lambda: None)
            fired = loop.create_future()
            loop.call_at(due, fired.set_result, None)
            await fired
            return loop.time() - due

        assert run(main()) == 0.0

    @pytest.mark.parametrize("seconds", [0.1, 600.0, 30 * DAY])
    def test_it_jumps_to_the_next_timer(self, seconds: float) -> None:
        async def main() -> float:
            await asyncio.sleep(seconds)
            return now()

        assert run(main()) == pytest.approx(seconds)
        assert run(main(), start=1000.0) == pytest.approx(1000.0 + seconds)

    def test_timers_fire_in_their_order_each_at_its_time(self) -> None:
        fired: list[tuple[int, float]] = []

        async def fire(seconds: int) -> None:
            await asyncio.sleep(seconds)
            fired.append((seconds, now()))

        async def main() -> None:
            await asyncio.gather(*map(fire, [30, 10, 600, 20]))

        run(main())
        assert fired == [(10, 10.0), (20, 20.0), (30, 30.0), (600, 600.0)]

    def test_it_stands_still_while_something_can_run(self) -> None:
        async def main() -> float:
            for _ in range(1000):
                await asyncio.sleep(0)
            return now()

        assert run(main()) == 0.0

    def test_a_time_out_fires(self) -> None:
        async def main() -> float:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(600):
                    await asyncio.Event().wait()
            return now()

        assert run(main()) == 600.0

    def test_the_loop_is_a_loop_factory(self) -> None:
        async def main() -> float:
            await asyncio.sleep(600)
            return now()

        with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=True) as runner:
            assert runner.run(main()) == 600.0
            assert runner.run(main()) == 1200.0
        with asyncio.Runner(loop_factory=partial(VirtualTimeLoop, start=5.0)) as runner:
            assert runner.run(main()) == 605.0

    def test_what_main_raises_comes_out(self) -> None:
        async def main() -> None:
            await asyncio.sleep(600)
            raise KeyError("here")

        with pytest.raises(KeyError, match="here"):
            run(main())


class TestSockets:
    def test_what_was_written_is_read_before_the_clock_jumps(self) -> None:
        async def main() -> tuple[int, float]:
            loop = asyncio.get_running_loop()
            one, two = pair()
            with one, two:
                sending = asyncio.create_task(loop.sock_sendall(one, bytes(5_000_000)))
                received = 0
                async with asyncio.timeout(0.001):
                    while received < 5_000_000:
                        received += len(await loop.sock_recv(two, 100_000))
                await sending
                return received, now()

        assert run(main()) == (5_000_000, 0.0)

    def test_a_quiet_socket_does_not_hold_the_clock(self) -> None:
        async def main() -> float:
            one, two = pair()
            with one, two:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(600):
                        await asyncio.get_running_loop().sock_recv(one, 1)
            return now()

        assert run(main()) == 600.0

    def test_a_server_and_a_client_on_a_unix_socket(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        async def main() -> tuple[bytes, float]:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind("")  # Linux gives it a name that no file has.
            server = await asyncio.start_unix_server(serve, sock=listener)
            async with server, asyncio.timeout(0.001):
                reader, writer = await asyncio.open_unix_connection(listener.getsockname())
                writer.write(b"hello\n")
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
            return answer, now()

        assert run(main()) == (b"HELLO\n", 0.0)

    def test_tls_takes_no_time(self) -> None:
        authority = trustme.CA()
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("relay.test").configure_cert(server_side)
        client_side = ssl.create_default_context()
        authority.configure_trust(client_side)

        async def accept(sock: socket.socket) -> bytes:
            reader = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader), sock, ssl=server_side
            )
            received = await reader.read()
            transport.close()
            return received

        async def main() -> tuple[bytes, float]:
            one, two = pair()
            async with asyncio.timeout(0.001):
                accepting = asyncio.create_task(accept(two))
                _, writer = await asyncio.open_connection(
                    sock=one, ssl=client_side, server_hostname="relay.test"
                )
                writer.write(b"hello")
                writer.close()
                await writer.wait_closed()
                return await accepting, now()

        assert run(main()) == (b"hello", 0.0)

    def test_with_a_threshold_it_waits_for_sockets_that_others_write_to(self) -> None:
        asked = threading.Event()

        def answer(other: socket.socket) -> None:
            asked.wait()
            work()
            other.sendall(b"x")

        async def main() -> tuple[bytes, float]:
            loop = asyncio.get_running_loop()
            loop.call_soon(asked.set)
            async with asyncio.timeout(600):
                return await loop.sock_recv(ours, 1), now()

        ours, theirs = pair()
        peer = threading.Thread(target=answer, args=(theirs,))
        with ours, theirs:
            peer.start()
            factory = partial(VirtualTimeLoop, threshold=60.0)
            with asyncio.Runner(loop_factory=factory) as runner:
                assert runner.run(main()) == (b"x", 0.0)
            peer.join()


class TestThreads:
    def test_the_clock_stands_still_for_them(self) -> None:
        async def main() -> tuple[int, float]:
            waiting = asyncio.create_task(asyncio.sleep(600))
            result = await asyncio.to_thread(work)
            finished_at = now()
            await waiting
            return result, finished_at

        assert run(main()) == (work(), 0.0)

    def test_it_stands_still_for_looking_up_names_too(self) -> None:
        async def main() -> float:
            async with asyncio.timeout(0.001):
                await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            return now()

        assert run(main()) == 0.0

    def test_one_that_was_given_up_does_not_hold_the_clock(self) -> None:
        go_on = threading.Event()

        async def main() -> float:
            task = asyncio.create_task(asyncio.to_thread(go_on.wait))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.sleep(600)
            go_on.set()
            return now()

        assert run(main()) == 600.0

    def test_one_that_raises_is_heard(self) -> None:
        async def main() -> None:
            await asyncio.to_thread(lambda: 1 // 0)

        with pytest.raises(ZeroDivisionError):
            run(main())


async def wait_for_nothing() -> None:
    await asyncio.Event().wait()


async def wait_for_silence() -> None:
    one, two = pair()
    with one, two:
        await asyncio.get_running_loop().sock_recv(one, 1)


async def wait_for_doomsday() -> None:
    await asyncio.sleep(math.inf)


class TestDeadlock:
    @pytest.mark.parametrize("wait", [wait_for_nothing, wait_for_silence, wait_for_doomsday])
    def test_it_is_an_error_that_tells_where_each_task_waits(self, wait: Any) -> None:
        async def main() -> None:
            await asyncio.sleep(600)
            task = asyncio.create_task(wait(), name="the other")
            await task

        with pytest.raises(Deadlock) as caught:
            run(main())
        lines = str(caught.value).splitlines()
        assert lines[0] == "all tasks wait, and nothing can wake any of them:"
        places = {line.split(" in ")[0].strip(): line for line in lines[1:]}
        assert len(places) == 2
        assert f"{wait.__name__} at {__file__}:" in places["the other"]

    def test_the_tasks_are_cancelled_and_clean_up(self) -> None:
        cleaned: list[float] = []

        async def main() -> None:
            try:
                await wait_for_nothing()
            finally:
                await asyncio.sleep(5)
                cleaned.append(now())

        with pytest.raises(Deadlock):
            run(main())
        assert cleaned == [5.0]

    def test_it_comes_after_the_threshold_too(self) -> None:
        factory = partial(VirtualTimeLoop, threshold=0.001)
        with asyncio.Runner(loop_factory=factory) as runner, pytest.raises(Deadlock):
            runner.run(wait_for_nothing())

    def test_a_timer_that_was_cancelled_is_nothing_to_wait_for(self) -> None:
        async def main() -> None:
            for delay in (600, math.inf):
                asyncio.get_running_loop().call_later(delay, pytest.fail, "it fired").cancel()
            await wait_for_nothing()

        with pytest.raises(Deadlock):
            run(main())


def chatter(seed: int, said: list[tuple[int, float, bytes]]) -> Coroutine[Any, Any, None]:
    """Tasks that talk over socket pairs, at random times."""
    rng = random.Random(seed)

    async def talk(number: int, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await asyncio.sleep(rng.choice([0, 0.1, 0.2]))
            await loop.sock_sendall(sock, rng.randbytes(1))
            said.append((number, now(), await loop.sock_recv(sock, 1)))

    async def main() -> None:
        socks = [sock for _ in range(10) for sock in pair()]
        await asyncio.gather(*(talk(*each) for each in enumerate(socks)))
        for sock in socks:
            sock.close()

    return main()


def test_the_same_program_does_the_same_again() -> None:
    runs: list[list[tuple[int, float, bytes]]] = []
    for seed in (1, 1, 2):
        runs.append([])
        run(chatter(seed, runs[-1]))
    assert len(runs[0]) == 400
    assert runs[0] == runs[1] != runs[2]
