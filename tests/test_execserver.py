"""The exec-server's session: order, limits, input, output and backpressure."""

import base64
import os
import signal
import sys
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import LONG, Client, open_session, open_stream
from sansrelay.jsonrpc import JsonValue, ResponseReceived, RpcError, UnmatchedResponse
from sansrelay_apps.execserver.server import METHODS

pytestmark = pytest.mark.trio

START = {"processId": "p", "argv": ["true"], "cwd": "/", "env": {}}


# -- the session


async def test_initialize_tells_who_serves() -> None:
    async with open_stream() as client:
        result = await client.call("initialize", clientName="c", resumeSessionId=None)
    assert uuid.UUID(result["sessionId"]).version == 4
    assert result == {
        "sessionId": result["sessionId"],
        "serverInfo": {
            "name": "sansrelay",
            "version": version("sansrelay"),
            "cwd": os.getcwd(),
            "capabilities": ["process/closeStdin", "process/signal"],
        },
    }


async def test_initialize_survives_a_removed_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def removed() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", removed)
    async with open_stream() as client:
        result = await client.call("initialize", clientName="c")
    assert result["serverInfo"]["cwd"] is None


@pytest.mark.parametrize("method", [*sorted(METHODS.keys() - {"initialize"}), "fs/readFile"])
async def test_nothing_works_before_initialize(method: str) -> None:
    async with open_stream() as client:
        error = await client.fail(method)
    assert error == RpcError(code=-32600, message="call initialize first")


async def test_initialize_once_and_never_to_resume() -> None:
    async with open_stream() as client:
        error = await client.fail("initialize", clientName="c", resumeSessionId="x")
        assert error.code == -32600
        assert "without resumeSessionId" in error.message
        await client.call("initialize", clientName="c")
        error = await client.fail("initialize", clientName="c")
        assert error == RpcError(code=-32600, message="initialize was called already")


@pytest.mark.parametrize("method", ["fs/readFile", "http/request", "process/resize", "initialized"])
async def test_unknown_methods(method: str) -> None:
    async with open_session() as client:
        error = await client.fail(method)
    assert error == RpcError(code=-32601, message=f"unknown method {method!r}")


@pytest.mark.parametrize(
    ("data", "request_id"),
    [
        (b"{", -1),
        (b'{"id":null,"method":"initialize"}', -1),
        (b'{"id":"x","method":1}', "x"),
        (b'{"method":"process/kill"}', -1),
    ],
)
async def test_bad_messages_are_refused_and_the_session_goes_on(
    data: bytes, request_id: int | str
) -> None:
    async with open_session() as client:
        await client.channel.send(data)
        event = await client.receive()
        assert isinstance(event, UnmatchedResponse)
        assert event.id == request_id
        assert event.error is not None
        assert event.error.code == -32600
        assert (await client.call("process/terminate", processId="p")) == {"running": False}


@pytest.mark.parametrize("data", [b'{"id":1,"result":{}}', b'{"id":1}', b'{"id":1,"error":7}'])
async def test_responses_are_never_answered(data: bytes) -> None:
    async with open_session() as client:
        await client.channel.send(data)
        request_id = await client.post("process/terminate", processId="p")
        event = await client.receive()
        assert isinstance(event, ResponseReceived)
        assert event.id == request_id


async def test_a_fault_of_ours_is_an_answer_and_a_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: 1 // 0)
    async with open_stream() as client:
        error = await client.fail("initialize", clientName="c")
    assert error == RpcError(code=-32603, message="internal error")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("method", "params", "complaint"),
    [
        ("initialize", {}, "clientName"),
        ("initialize", {"clientName": 1}, "$.clientName"),
        ("process/start", {}, "processId"),
        ("process/start", START | {"processId": ""}, "$.processId"),
        ("process/start", START | {"processId": "x" * 257}, "$.processId"),
        ("process/start", START | {"argv": []}, "$.argv"),
        ("process/start", START | {"argv": "true"}, "$.argv"),
        ("process/start", START | {"argv": [""]}, "must name a program"),
        ("process/start", START | {"argv": ["a", None]}, "$.argv[1]"),
        ("process/start", START | {"argv": ["a\0b"]}, "$.argv[0]"),
        ("process/start", START | {"arg0": "a\0b"}, "$.arg0"),
        ("process/start", START | {"cwd": None}, "$.cwd"),
        ("process/start", START | {"cwd": ""}, "must be absolute"),
        ("process/start", START | {"cwd": "tmp"}, "must be absolute"),
        ("process/start", START | {"cwd": "/a\0b"}, "must be absolute"),
        ("process/start", START | {"cwd": "file://host/tmp"}, "must be local"),
        ("process/start", START | {"cwd": "file:///tmp?x"}, "must be local"),
        ("process/start", START | {"env": None}, "$.env"),
        ("process/start", START | {"env": {"A=B": "x"}}, "$.env"),
        ("process/start", START | {"env": {"": "x"}}, "$.env"),
        ("process/start", START | {"env": {"A": "x\0"}}, "$.env"),
        ("process/start", START | {"envPolicy": {}}, "inherit"),
        ("process/start", START | {"envPolicy": {"inherit": "some"}}, "$.envPolicy.inherit"),
        ("process/start", START | {"tty": "yes"}, "$.tty"),
        ("process/read", {"processId": "p", "afterSeq": -1}, "$.afterSeq"),
        ("process/read", {"processId": "p", "waitMs": 1.5}, "$.waitMs"),
        ("process/read", {"processId": "p", "maxBytes": True}, "$.maxBytes"),
        ("process/write", {"processId": "p"}, "chunk"),
        ("process/write", {"processId": "p", "chunk": "a"}, "$.chunk"),
        ("process/write", {"processId": "p", "chunk": "aGk=\n"}, "$.chunk"),
        ("process/closeStdin", {"processId": 3}, "$.processId"),
        ("process/signal", {"processId": "p"}, "signal"),
        ("process/signal", {"processId": "p", "signal": "SIGINT"}, "$.signal"),
        ("process/terminate", {}, "processId"),
    ],
)
async def test_bad_params_name_the_member(
    method: str, params: dict[str, Any], complaint: str
) -> None:
    async with open_stream() as client:
        if method != "initialize":
            await client.call("initialize", clientName="c")
        error = await client.fail(method, **params)
    assert error.code == -32602
    assert complaint in error.message


async def test_params_must_be_an_object() -> None:
    async with open_session() as client:
        not_objects: list[JsonValue] = [None, [], "p"]
        for params in not_objects:
            request_id, data = client.rpc.call("process/terminate", params)
            await client.channel.send(data)
            response = await client.answer(request_id)
            assert response.error is not None
            assert response.error.code == -32602


async def test_no_more_is_received_than_may_be_in_flight() -> None:
    async with open_session(max_requests_in_flight=2) as client:
        pid = await client.start_cat()
        polls = [
            await client.post("process/read", processId="p", afterSeq=1, waitMs=LONG * 1000)
            for _ in range(2)
        ]
        third = await client.post("process/terminate", processId="p")
        await trio.testing.wait_all_tasks_blocked()
        assert client.server_end.inbound.statistics().current_buffer_used == 1
        os.kill(pid, signal.SIGTERM)
        for request_id in (*polls, third):
            assert (await client.answer(request_id)).error is None
        assert client.answer_order[-1] == third


async def test_no_more_bytes_are_received_than_may_be_in_flight() -> None:
    async with open_session(max_request_bytes_in_flight=1000, stdin_queue_bytes=1) as client:
        await client.start("sh", "-c", f"echo $$; exec sleep {LONG}", pipeStdin=True)
        pid = int(await client.output_until(b"\n"))
        chunk = base64.b64encode(bytes(200_000)).decode()
        for _ in range(2):  # one fills the pipe and the queue, one waits
            await client.post("process/write", processId="p", chunk=chunk)
        third = await client.post("process/terminate", processId="p")
        await trio.testing.wait_all_tasks_blocked()
        assert client.server_end.inbound.statistics().current_buffer_used == 1
        os.kill(pid, signal.SIGTERM)
        assert (await client.answer(third)).result in ({"running": True}, {"running": False})


async def test_answers_that_nobody_takes_count_as_in_flight() -> None:
    async with open_session(max_request_bytes_in_flight=100_000) as client:
        await client.start("sh", "-c", "head -c 50000 /dev/zero; echo; cat", pipeStdin=True)
        await client.output_until(b"\n")
        reads = [await client.post("process/read", processId="p") for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked()
        # Of 67 kB each, the first answer is in the channel, and two wait to get there.
        assert client.server_end.inbound.statistics().current_buffer_used == 1
        for request_id in reads:
            assert (await client.answer(request_id)).error is None


# -- input


async def test_input_and_its_end() -> None:
    async with open_session() as client:
        await client.start("cat", pipeStdin=True)
        for text in (b"first ", b"", b"second"):
            chunk = base64.b64encode(text).decode()
            answer = await client.call("process/write", processId="p", chunk=chunk, writeId="w")
            assert answer == {"status": "accepted"}
        assert await client.call("process/closeStdin", processId="p") == {}
        answer = await client.call("process/write", processId="p", chunk="aGk=")
        assert answer == {"status": "stdinClosed"}
        assert await client.call("process/closeStdin", processId="p") == {}
        ended = await client.until_closed()
    assert ended.output == {"stdout": b"first second"}
    assert ended.exit_code == 0


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

FLOOD = """
import os, select, sys
limit, fifo = int(sys.argv[1]), sys.argv[2]
os.set_blocking(1, False)
written, stalled = 0, None
while written < limit:
    try:
        written += os.write(1, bytes(min(4096, limit - written)))
    except BlockingIOError:
        if not select.select([], [1], [], 0.5 if stalled is None else None)[1]:
            stalled = written
            open(fifo, "w").write(f"{stalled}\\n")
if stalled is None:
    open(fifo, "w").write(f"{written}\\n")
"""


async def test_a_client_that_does_not_read_stops_the_process(tmp_path: Path) -> None:
    """The child tells by another way how far it got when nobody took its output for a while."""
    limit = 8 * 1024 * 1024
    fifo = tmp_path / "stalled"
    os.mkfifo(fifo)
    report = trio.lowlevel.FdStream(os.open(fifo, os.O_RDWR | os.O_NONBLOCK))
    async with report, open_session() as client:
        await client.start(sys.executable, "-c", FLOOD, str(limit), str(fifo))
        written = int(await report.receive_some())
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
