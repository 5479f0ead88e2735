"""The exec-server's session: order and limits."""

import os
import signal
import uuid
from importlib.metadata import version
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import LONG, open_session, open_stream
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
            "capabilities": [
                "fs/canonicalize",
                "process/closeStdin",
                "process/resize",
                "process/signal",
            ],
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


async def test_initialize_once() -> None:
    async with open_session() as client:
        error = await client.fail("initialize", clientName="c")
        assert error == RpcError(code=-32600, message="initialize was called already")


@pytest.mark.parametrize("method", ["process/fork", "", "initialized"])
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
        ("process/write", {"processId": "p", "chunk": "", "writeId": 7}, "$.writeId"),
        ("process/resize", {"processId": "p"}, "terminalSize"),
        ("process/resize", {"processId": "p", "terminalSize": {"rows": 0}}, "$.terminalSize.rows"),
        ("process/start", START | {"terminalSize": {"cols": 65536}}, "$.terminalSize.cols"),
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
    async with open_session(max_request_bytes_in_flight=1000) as client:
        pid = await client.start_cat()
        poll = {"processId": "p", "afterSeq": 1, "waitMs": LONG * 1000, "padding": "x" * 500}
        polls = [await client.post("process/read", **poll) for _ in range(2)]
        third = await client.post("process/terminate", processId="p")
        await trio.testing.wait_all_tasks_blocked()
        assert client.server_end.inbound.statistics().current_buffer_used == 1
        os.kill(pid, signal.SIGTERM)
        for request_id in (*polls, third):
            assert (await client.answer(request_id)).error is None
        assert client.answer_order[-1] == third


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
