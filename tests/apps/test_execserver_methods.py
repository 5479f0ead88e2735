"""Methods of one's own on the exec-server, and the examples of docs/execserver.md."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import trio
from apps_kit import PATIENCE, environment, rendezvous
from exec_kit import MemoryChannel, channel_pair
from sansrelay.jsonrpc import ErrorCode, JsonValue, NotificationReceived, RpcError
from sansrelay_apps.execserver import (
    FILE_METHODS,
    HTTP_METHODS,
    METHODS,
    PROCESS_METHODS,
    Call,
    Handler,
    Message,
    RpcFailure,
    Session,
    handler,
    open_exec_server,
    serve_session,
)
from sansrelay_apps.rpc_client import RpcClient

pytestmark = pytest.mark.trio

DOCS = (Path(__file__).parents[2] / "docs" / "execserver.md").read_text()
EXAMPLES = re.findall(r"```python\n(import.*?)```", DOCS, re.DOTALL)


class Client:
    """A harness whose other task receives."""

    def __init__(self, channel: MemoryChannel) -> None:
        self.rpc = RpcClient(channel)
        self._put, self.notifications = trio.open_memory_channel[NotificationReceived](100)

    async def listen(self) -> None:
        while True:
            notification = await self.rpc.step()
            if notification is not None:
                self._put.send_nowait(notification)

    async def call(self, method: str, params: JsonValue = None) -> JsonValue:
        answer = await self.rpc.call(method, params)
        assert answer.error is None, answer.error
        return answer.result

    async def fail(self, method: str, params: JsonValue = None) -> RpcError:
        answer = await self.rpc.call(method, params)
        assert answer.error is not None, answer.result
        return answer.error

    async def notification(self) -> tuple[str, JsonValue]:
        notification = await self.notifications.receive()
        return notification.method, notification.params


@asynccontextmanager
async def served(methods: Mapping[str, Handler]) -> AsyncIterator[Client]:
    ours, theirs = channel_pair()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await serve_session(theirs, methods=methods)

            client = Client(ours)
            nursery.start_soon(serve)
            nursery.start_soon(client.listen)
            await client.call("initialize", {"clientName": "test"})
            yield client
            nursery.cancel_scope.cancel()


class Numbers(Message, frozen=True, kw_only=True):
    the_numbers: tuple[int, ...]


class Total(Message, frozen=True, kw_only=True):
    total: int
    as_bytes: bytes


async def add(call: Call, params: Numbers) -> Total:
    total = sum(params.the_numbers)
    return Total(total=total, as_bytes=str(total).encode())


async def echo(call: Call, params: JsonValue) -> JsonValue:
    return params


async def raise_(call: Call, params: JsonValue) -> JsonValue:
    match params:
        case "rpc":
            raise RpcFailure(ErrorCode.NOT_FOUND, "gone", {"what": 1})
        case "os":
            raise FileNotFoundError(2, "No such file", "/x")
        case _:
            raise ZeroDivisionError


async def test_structures_and_plain_values() -> None:
    async with served({"add": handler(Numbers, add), "echo": echo}) as client:
        assert await client.call("add", {"theNumbers": [1, 2], "more": None}) == {
            "total": 3,
            "asBytes": "Mw==",
        }
        assert await client.call("echo", [1, "é", None]) == [1, "é", None]
        assert await client.call("echo") is None
        error = await client.fail("add", {"theNumbers": [1, "2"]})
        assert (error.code, "$.theNumbers[1]" in error.message) == (ErrorCode.INVALID_PARAMS, True)


async def test_errors(caplog: pytest.LogCaptureFixture) -> None:
    async with served({"raise": raise_, "echo": echo}) as client:
        assert await client.fail("raise", "rpc") == RpcError(
            code=ErrorCode.NOT_FOUND, message="gone", data={"what": 1}
        )
        error = await client.fail("raise", "os")
        assert (error.code, error.data) == (-32603, {"errno": 2, "errnoName": "ENOENT"})
        assert await client.fail("raise", "?") == RpcError(code=-32603, message="internal error")
        assert "ZeroDivisionError" in caplog.text
        assert await client.call("echo", "still there") == "still there"


async def test_methods_are_added_to_the_usual_ones() -> None:
    async with served({**METHODS, "echo": echo}) as client:
        assert await client.call("echo", 1) == 1
        assert await client.call("fs/getMetadata", {"path": "/"})
        params: JsonValue = {"processId": "p", "argv": ["/bin/true"], "cwd": "/", "env": {}}
        assert await client.call("process/start", params) == {"processId": "p"}


async def test_only_ones_own_methods() -> None:
    async with served({"echo": echo}) as client:
        assert await client.call("echo", 1) == 1
        for method in METHODS:
            error = await client.fail(method, {})
            assert error.code == ErrorCode.METHOD_NOT_FOUND


async def test_the_usual_methods_have_three_parts() -> None:
    assert METHODS == {**PROCESS_METHODS, **FILE_METHODS, **HTTP_METHODS}
    assert "initialize" not in METHODS


async def test_a_method_of_the_same_name_takes_its_place() -> None:
    async with served({**METHODS, "fs/readFile": echo}) as client:
        assert await client.call("fs/readFile", 1) == 1


async def test_notifications_and_early_answers() -> None:
    go_on = trio.Event()

    async def report(call: Call, params: Numbers) -> None:
        await call.notify("at", {"number": 1})
        await call.answer(Total(total=2, as_bytes=b""))
        await go_on.wait()
        await call.notify("at", Numbers(the_numbers=(2,)))
        with pytest.raises(RuntimeError):
            await call.answer(None)
        raise RpcFailure(ErrorCode.NOT_FOUND, "not sent")

    async with served({"report": handler(Numbers, report), "echo": echo}) as client:
        assert await client.call("report", {"theNumbers": []}) == {"total": 2, "asBytes": ""}
        assert await client.notification() == ("at", {"number": 1})
        assert await client.call("echo", 1) == 1
        go_on.set()
        assert await client.notification() == ("at", {"theNumbers": [2]})
        assert await client.call("echo", 1) == 1


async def test_a_detached_method_holds_up_no_other() -> None:
    go_on = trio.Event()

    async def wait(call: Call, params: JsonValue) -> JsonValue:
        call.detach()
        await go_on.wait()
        return "waited"

    async with served({"wait": wait, "echo": echo}) as client, trio.open_nursery() as nursery:
        answers: list[JsonValue] = []

        async def ask() -> None:
            answers.append(await client.call("wait"))

        nursery.start_soon(ask)
        assert await client.call("echo", 1) == 1
        assert answers == []
        go_on.set()
    assert answers == ["waited"]


async def test_the_end_of_the_stream_cancels_a_method() -> None:
    cancelled = trio.Event()
    begun = trio.Event()

    async def wait(call: Call, params: JsonValue) -> JsonValue:
        call.detach()
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    ours, theirs = channel_pair()
    async with trio.open_nursery() as nursery, open_exec_server(methods={"wait": wait}) as server:
        nursery.start_soon(server.serve, theirs)
        client = RpcClient(ours)
        with trio.fail_after(PATIENCE):
            await client.request("initialize", {"clientName": "t"}, lambda _: None)
            await client.step()
            await client.request("wait", None, lambda _: None)
            await begun.wait()
            await ours.aclose()
            await cancelled.wait()


class Tally:
    def __init__(self, session: Session) -> None:
        self.session_id = session.session_id
        self.count = 0


async def count(call: Call, params: JsonValue) -> JsonValue:
    tally = call.session.state(Tally)
    assert tally.session_id == call.session.session_id
    tally.count += 1
    return tally.count


async def test_a_session_keeps_what_its_methods_need() -> None:
    async with served({"count": count}) as one, served({"count": count}) as other:
        assert [await one.call("count"), await one.call("count")] == [1, 2]
        assert await other.call("count") == 1


async def test_the_examples_of_the_docs() -> None:
    executor, harness = EXAMPLES
    async with rendezvous() as place:

        def at_place(example: str) -> list[str]:
            assert "http://127.0.0.1:8700" in example
            return [sys.executable, "-c", example.replace("http://127.0.0.1:8700", place.url)]

        process = await trio.lowlevel.open_process(
            at_place(executor), env=environment(), stdin=subprocess.DEVNULL
        )
        try:
            with trio.fail_after(PATIENCE):
                while True:
                    done = await trio.run_process(
                        at_place(harness), capture_stdout=True, capture_stderr=True, check=False
                    )
                    # The executor takes a moment to attach; until then its id has nobody.
                    if b"executor_unavailable" not in done.stderr:
                        break
            assert (done.returncode, done.stderr) == (0, b"")
            missing = "No such file or directory (os error 2)"
            assert done.stdout.decode().splitlines() == [
                "digest/file {'name': '/dev/null', 'md5': 'd41d8cd98f00b204e9800998ecf8427e'}",
                str(
                    RpcError(code=-32603, message=missing, data={"errno": 2, "errnoName": "ENOENT"})
                ),
            ]
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
