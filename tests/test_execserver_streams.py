"""Input and output of processes: order, limits, backpressure."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import FLOOD, LONG, Client, open_report, open_session

pytestmark = pytest.mark.trio

START = {"processId": "p", "argv": ["true"], "cwd": "/", "env": {}}


# -- input


async def test_input_and_its_end() -> None:
    async with open_session() as client:
        await client.start("cat", pipeStdin=True)
        for number, text in enumerate((b"first ", b"", b"second")):
            chunk = base64.b64encode(text).decode()
            answer = await client.call(
                "process/write", processId="p", chunk=chunk, writeId=f"w{number}"
            )
            assert answer == {"status": "accepted"}
        assert await client.call("process/closeStdin", processId="p") == {}
        answer = await client.call("process/write", processId="p", chunk="aGk=")
        assert answer == {"status": "stdinClosed"}
        assert await client.call("process/closeStdin", processId="p") == {}
        ended = await client.until_closed()
    assert ended.output == {"stdout": b"first second"}
    assert ended.exit_code == 0


async def test_a_write_with_a_known_id_is_not_written_again() -> None:
    async with open_session(max_write_ids=2) as client:
        await client.start("cat", pipeStdin=True)
        for write_id in ("a", "a", None, None, "b", "a", "c", "b", "a"):
            text = base64.b64encode((write_id or "-").encode()).decode()
            params = {"processId": "p", "chunk": text, "writeId": write_id}
            assert await client.call("process/write", **params) == {"status": "accepted"}
        await client.call("process/closeStdin", processId="p")
        # Known, however the input stands; of two that are remembered, a came last.
        for write_id, status in (("a", "accepted"), ("b", "stdinClosed"), ("x", "stdinClosed")):
            params = {"processId": "p", "chunk": "aGk=", "writeId": write_id}
            assert await client.call("process/write", **params) == {"status": status}
        ended = await client.until_closed()
    assert ended.output == {"stdout": b"a--bca"}


async def test_input_keeps_its_order_and_goes_before_its_end() -> None:
    chunks = [bytes([number]) * 50_000 for number in range(20)]
    async with open_session(stdin_queue_bytes=60_000) as client:
        await client.start("cat", pipeStdin=True)

        async def feed() -> None:
            for chunk in chunks:
                text = base64.b64encode(chunk).decode()
                await client.post("process/write", processId="p", chunk=text)
            await client.post("process/closeStdin", processId="p")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            ended = await client.until_closed()
        for response in client.responses.values():
            assert response.result in ({"status": "accepted"}, {})
    assert ended.output == {"stdout": b"".join(chunks)}


async def test_a_process_that_does_not_read_blocks_only_its_own_writes() -> None:
    chunk = base64.b64encode(bytes(100_000)).decode()
    async with open_session(stdin_queue_bytes=50_000) as client:
        await client.start("sleep", str(LONG), pipeStdin=True)
        writes = [await client.post("process/write", processId="p", chunk=chunk) for _ in range(4)]
        closing = await client.post("process/closeStdin", processId="p")
        await client.start("echo", "other", process_id="q")
        await client.until_closed("q")
        assert (await client.call("process/read", processId="p"))["exited"] is False
        assert set(client.responses) == {writes[0]}
        assert await client.call("process/terminate", processId="p") == {"running": True}
        results = [(await client.answer(request_id)).result for request_id in writes]
        assert results == [{"status": "accepted"}, *[{"status": "stdinClosed"}] * 3]
        assert (await client.answer(closing)).result == {}


def text_of(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        ({"max_waiting_writes": 3}, 100_000),
        ({"max_waiting_write_bytes": 300_000}, 100_000),
        ({"max_waiting_write_bytes": 30_000}, 10_000),
    ],
)
async def test_no_more_writes_wait_for_a_process_than_may(
    limits: dict[str, int], size: int
) -> None:
    async with open_session(stdin_queue_bytes=1, max_requests_in_flight=2, **limits) as client:
        await client.start("sh", "-c", "echo; exec sleep 60", pipeStdin=True)
        await client.output_until(b"\n")
        first = await client.post("process/write", processId="p", chunk=text_of(100_000))
        assert (await client.answer(first)).error is None
        waiting = [
            await client.post("process/write", processId="p", chunk=text_of(size)) for _ in range(3)
        ]
        error = await client.fail("process/write", processId="p", chunk=text_of(size))
        assert error.code == -32600
        assert "nothing of this was written" in error.message
        # Other processes, and other requests about this one, are not held up.
        await client.start("echo", "other", process_id="q")
        await client.until_closed("q")
        await client.call("process/terminate", processId="p")
        for request_id in waiting:
            assert (await client.answer(request_id)).result == {"status": "stdinClosed"}


async def test_one_write_may_wait_whatever_its_size() -> None:
    async with open_session(stdin_queue_bytes=1, max_waiting_write_bytes=1) as client:
        await client.start("head", "-c", "400000", pipeStdin=True)
        for _ in range(2):
            answer = await client.call("process/write", processId="p", chunk=text_of(200_000))
            assert answer == {"status": "accepted"}
        ended = await client.until_closed()
    assert ended.output == {"stdout": bytes(400_000)}


async def test_the_end_of_input_waits_with_the_writes() -> None:
    async with open_session(stdin_queue_bytes=1, max_waiting_writes=1) as client:
        await client.start("sh", "-c", "echo; exec sleep 60", pipeStdin=True)
        await client.output_until(b"\n")
        await client.call("process/write", processId="p", chunk=text_of(100_000))
        closing = await client.post("process/closeStdin", processId="p")
        for method, params in (("process/closeStdin", {}), ("process/write", {"chunk": "aGk="})):
            error = await client.fail(method, processId="p", **params)
            assert (error.code, "max_waiting_writes" in error.message) == (-32600, True)
        await client.call("process/terminate", processId="p")
        assert (await client.answer(closing)).result == {}


async def test_answers_to_writes_that_nobody_takes_count_as_in_flight() -> None:
    async with open_session(max_requests_in_flight=3) as client:
        await client.start("cat", pipeStdin=True)
        writes: list[int] = []

        async def feed() -> None:
            while True:
                writes.append(await client.post("process/write", processId="p", chunk=""))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            await trio.testing.wait_all_tasks_blocked()
            # Each end holds one message, three are in flight, and a few were about to be.
            assert len(writes) < 15
            nursery.cancel_scope.cancel()
        for request_id in writes:
            assert (await client.answer(request_id)).result == {"status": "accepted"}


async def test_writes_that_nobody_can_take() -> None:
    async with open_session() as client:

        async def write() -> str:
            answer = await client.call("process/write", processId="p", chunk="aGk=")
            status: str = answer["status"]
            return status

        assert await write() == "unknownProcess"
        error = await client.fail("process/closeStdin", processId="p")
        assert error.code == -32602
        assert "unknown process 'p'" in error.message
        await client.start("sh", "-c", "cat; echo end; exec sleep 60")  # cat finds /dev/null
        await client.output_until(b"end\n")
        assert await write() == "stdinClosed"
        assert await client.call("process/closeStdin", processId="p") == {}


async def test_a_process_that_closes_its_input() -> None:
    async with open_session() as client:
        await client.start("sh", "-c", "exec <&-; echo closed; exec sleep 60", pipeStdin=True)
        await client.output_until(b"closed\n")
        statuses = []
        while "stdinClosed" not in statuses:
            answer = await client.call("process/write", processId="p", chunk="aGk=")
            statuses.append(answer["status"])
        assert statuses[0] == "accepted"  # only the attempt shows that nobody reads


async def test_a_process_that_has_exited_takes_no_input() -> None:
    async with open_session() as client:
        await client.start("true", pipeStdin=True)
        await client.until_closed()
        answer = await client.call("process/write", processId="p", chunk="aGk=")
    assert answer == {"status": "stdinClosed"}


# -- reading


async def read_all(client: Client, max_bytes: int | None) -> tuple[bytes, dict[str, Any]]:
    output, after_seq = b"", None
    while True:
        read = await client.call(
            "process/read", processId="p", afterSeq=after_seq, maxBytes=max_bytes, waitMs=1000
        )
        for chunk in read["chunks"]:
            assert after_seq is None or chunk["seq"] > after_seq
            output += base64.b64decode(chunk["chunk"])
        after_seq = read["nextSeq"] - 1
        if read["closed"]:
            return output, read


@pytest.mark.parametrize("max_bytes", [None, 0, 1, 3000, 100_000])
async def test_reading_to_the_end_misses_nothing(max_bytes: int | None) -> None:
    async with open_session(chunk_size=1000) as client:
        await client.start("seq", "2000")
        await client.until("process/closed")
        output, last = await read_all(client, max_bytes)
    assert output == "".join(f"{number}\n" for number in range(1, 2001)).encode()
    assert (last["exited"], last["exitCode"], last["failure"]) == (True, 0, None)


async def test_reading_a_process_that_says_nothing() -> None:
    async with open_session(max_wait_ms=20) as client:
        await client.start("cat", pipeStdin=True)
        for wait_ms in (None, 0, LONG * 100_000):
            read = await client.call("process/read", processId="p", waitMs=wait_ms)
            assert read == {
                "chunks": [],
                "nextSeq": 1,
                "exited": False,
                "exitCode": None,
                "closed": False,
                "failure": None,
            }


async def test_a_long_poll_waits_for_what_is_new_and_blocks_nobody() -> None:
    async with open_session() as client:
        await client.start("cat", pipeStdin=True)
        poll = await client.post("process/read", processId="p", afterSeq=0, waitMs=LONG * 1000)
        write = await client.post("process/write", processId="p", chunk="aGk=")
        read = (await client.answer(poll)).result
        await client.answer(write)
        assert client.answer_order[-2:] in ([write, poll], [poll, write])
        assert isinstance(read, dict)
        assert read["chunks"] == [{"seq": 1, "stream": "stdout", "chunk": "aGk="}]
        assert read["nextSeq"] == 2
        poll = await client.post("process/read", processId="p", afterSeq=1, waitMs=LONG * 1000)
        await client.call("process/closeStdin", processId="p")
        read = (await client.answer(poll)).result
        assert isinstance(read, dict)
        assert (read["chunks"], read["exited"]) == ([], True)


async def test_reading_an_unknown_process() -> None:
    async with open_session() as client:
        error = await client.fail("process/read", processId="p", waitMs=1000)
    assert error.code == -32600
    assert "unknown process 'p'" in error.message


async def test_only_the_latest_output_is_kept() -> None:
    async with open_session(chunk_size=100, retain_bytes=2000) as client:
        ended = await client.run("seq", "1000")
        read = await client.call("process/read", processId="p")
    kept = b"".join(base64.b64decode(chunk["chunk"]) for chunk in read["chunks"])
    assert 0 < len(kept) < 2000
    assert ended.output["stdout"].endswith(kept)


# -- backpressure


async def test_a_client_that_does_not_read_stops_the_process(tmp_path: Path) -> None:
    limit = 8 * 1024 * 1024
    async with open_report(tmp_path / "stalled") as stalled, open_session() as client:
        await client.start(sys.executable, "-c", FLOOD, str(limit), str(tmp_path / "stalled"))
        written = int(await stalled.receive_some())
        # One pipe, one chunk on its way to the channel, two messages in the channel.
        assert 64 * 1024 <= written <= 6 * 64 * 1024
        ended = await client.until_closed()
        assert (len(ended.output["stdout"]), ended.exit_code) == (limit, 0)


async def test_a_flood_does_not_stop_other_requests() -> None:
    async with open_session() as client:
        await client.start("yes", process_id="flood")
        assert (await client.call("process/read", processId="flood", waitMs=1000))["chunks"]
        assert await client.call("process/terminate", processId="flood") == {"running": True}
        await client.until("process/closed")
