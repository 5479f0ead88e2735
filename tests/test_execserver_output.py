"""Output that is kept: until when, and how much."""

import base64
import sys
from pathlib import Path

import pytest
import trio.testing

import trio
from execserver_client import (
    FLOOD,
    LONG,
    Client,
    begun,
    lose,
    open_place,
    open_report,
)

pytestmark = pytest.mark.trio


NEWLINE = base64.b64encode(b"\n").decode()


NUMBERS = b"".join(b"%d\n" % number for number in range(1, 100_001))


BOUND = {"retain_bytes": 20_000, "chunk_size": 4096}
PIPE = 64 * 1024
FLOOD_SIZE = 300_000


async def test_a_detached_process_waits_at_the_bound_and_loses_nothing(tmp_path: Path) -> None:
    fifo = tmp_path / "stalled"
    async with open_report(fifo) as report, open_place(**BOUND) as place:
        client, _, session_id = await begun(place)
        gated = 'read x; exec "$@"'
        flood = (sys.executable, "-c", FLOOD, str(FLOOD_SIZE), str(fifo))
        await client.start("sh", "-c", gated, "-", *flood, pipeStdin=True)
        await client.call("process/write", processId="p", chunk=NEWLINE)
        await lose(client)
        assert int(await report.receive_some()) <= 20_000 + 4096 + PIPE
        again, _ = place.connect_relay()  # of which nothing is ever settled
        await again.begin(session_id)
        assert await everything(again) == bytes(FLOOD_SIZE)


async def everything(client: Client) -> bytes:
    """All output, by reads and notifications together: a chunk that was told may be gone."""
    chunks: dict[int, bytes] = {}
    after_seq = 0
    while True:
        read = await client.call(
            "process/read", processId="p", afterSeq=after_seq, maxBytes=5000, waitMs=LONG * 1000
        )
        told = [event.params for event in client.notifications if event.method == "process/output"]
        for chunk in (*read["chunks"], *told):
            assert isinstance(chunk, dict)
            chunks[chunk["seq"]] = base64.b64decode(chunk["chunk"])
        after_seq = read["nextSeq"] - 1
        if read["closed"]:
            return b"".join(chunks[seq] for seq in sorted(chunks))


async def test_a_client_that_reads_once_and_then_listens_gets_on() -> None:
    """What a read has brought is free to go, though no later cursor ever came."""
    async with open_place(**BOUND) as place:
        client, _, session_id = await begun(place)
        await client.start("sh", "-c", "read x; seq 100000", pipeStdin=True)
        await client.call("process/write", processId="p", chunk=NEWLINE)
        await lose(client)
        again = place.connect()
        await again.begin(session_id)
        output, read = await again.read()
        while True:
            method, params = await again.notification()
            if method == "process/closed":
                break
            if method == "process/output" and params["seq"] >= read["nextSeq"]:
                output += base64.b64decode(params["chunk"])
        assert output == NUMBERS


async def test_output_is_kept_until_it_is_acknowledged(tmp_path: Path) -> None:
    fifo = tmp_path / "stalled"
    async with open_report(fifo) as report, open_place(**BOUND) as place:
        client, relay, session_id = await begun(place)
        await client.start(sys.executable, "-c", FLOOD, str(FLOOD_SIZE), str(fifo))
        told: list[int] = []

        async def listen() -> None:
            while True:
                _, params = await client.notification()
                told.append(params["seq"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            written = int(await report.receive_some())
            nursery.cancel_scope.cancel()
        # Everything was taken, and nothing acknowledged.
        assert told == [1, 2, 3, 4, 5]
        assert written <= 20_000 + 4096 + PIPE
        relay.settle()
        _, params = await client.notification()  # it goes on
        assert params["seq"] == 6
        await lose(client)
        again, _ = place.connect_relay()
        await again.begin(session_id)
        _, read = await again.read(afterSeq=6)
        assert read["chunks"][0]["seq"] == 7


async def test_an_answer_that_was_not_acknowledged_frees_nothing() -> None:
    async with open_place(retain_bytes=1, chunk_size=100) as place:
        client, relay, session_id = await begun(place)
        await client.start("seq", "1000")
        first, _ = await client.read(waitMs=LONG * 1000)
        await lose(client)
        again, relay = place.connect_relay()
        await again.begin(session_id)
        for _ in range(2):
            assert (await again.read())[0] == first
        relay.settle()
        while (await again.read())[0] == first:
            pass


async def test_output_that_nobody_has_taken_keeps_its_process() -> None:
    async with open_place(max_processes=1) as place:
        client, relay, _ = await begun(place)
        await client.run("echo", "hi")
        again = {"processId": "q", "argv": ["true"], "cwd": "/", "env": {}}
        error = await client.fail("process/start", **again)
        assert (error.code, "max_processes" in error.message) == (-32600, True)
        relay.settle()
        await trio.testing.wait_all_tasks_blocked()
        assert (await client.attempt("process/start", **again)).error is None
