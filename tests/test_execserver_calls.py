"""What a handler may do, and what comes of its errors."""

import pytest

from execserver_client import (
    begun,
    is_running,
    lose,
    open_place,
)
from sansrelay.jsonrpc import JsonValue
from sansrelay_apps.execserver import METHODS, Call, Session

pytestmark = pytest.mark.trio


async def test_own_methods_and_their_state() -> None:
    async def count(call: Call, params: JsonValue) -> JsonValue:
        counted = call.session.state(_made)
        counted.append(params)
        return len(counted)

    methods = {"own/count": count, "process/start": METHODS["process/start"]}
    async with open_place(methods=methods) as place:
        client, _ = place.connect_relay()
        result = await client.call("initialize", clientName="c")
        session_id = result["sessionId"]
        assert result["serverInfo"]["capabilities"] == ["own/count"]
        for number in range(1, 3):
            assert (await client.attempt("own/count")).result == number
        await lose(client)
        again = place.connect()
        await again.begin(session_id)
        assert (await again.attempt("own/count")).result == 3
        assert (await again.fail("process/read")).code == -32601
        other = place.connect()
        await other.begin()
        assert (await other.attempt("own/count")).result == 1


def _made(session: Session) -> list[JsonValue]:
    return []


async def test_a_handler_may_answer_and_go_on() -> None:
    async def early(call: Call, params: JsonValue) -> JsonValue:
        await call.notify("own/before", {"n": 1})
        await call.answer({"n": 2})
        await call.notify("own/after", {"n": 3})
        with pytest.raises(RuntimeError, match="answered already"):
            await call.answer(None)
        raise OSError(1, "nobody hears of this")

    async with open_place(methods={"own/early": early}) as place:
        client = place.connect()
        await client.begin()
        request = await client.post("own/early")
        assert await client.notification() == ("own/before", {"n": 1})
        assert (await client.answer(request)).result == {"n": 2}
        assert await client.notification() == ("own/after", {"n": 3})
        assert (await client.attempt("own/early")).result == {"n": 2}


@pytest.mark.parametrize(("size", "fits"), [(900, True), (1100, False)])
async def test_an_answer_may_be_too_large(size: int, fits: bool) -> None:
    async def large(call: Call, params: JsonValue) -> JsonValue:
        return "x" * size

    async with open_place(methods={"own/large": large}, max_answer_size=1000) as place:
        client = place.connect()
        await client.begin()
        response = await client.attempt("own/large")
        assert (response.error is None) is fits
        if response.error is not None:
            assert response.error.code == -32603
            assert "the limit is 1000" in response.error.message


async def test_a_read_gives_no_more_than_an_answer_may_hold() -> None:
    async with open_place(max_answer_size=10_000, chunk_size=1000) as place:
        client = place.connect()
        await client.begin()
        await client.start("seq", "5000")
        await client.until("process/closed")
        output, after_seq, reads = b"", 0, 0
        while not output.endswith(b"5000\n"):
            more, read = await client.read(afterSeq=after_seq)
            output += more
            after_seq = read["nextSeq"] - 1
            reads += 1
        assert output == b"".join(b"%d\n" % number for number in range(1, 5001))
        assert reads > 5


async def test_nonsense_from_a_handler_is_an_internal_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nonsense(call: Call, params: JsonValue) -> JsonValue:
        return float("nan")

    async with open_place(methods={"own/nonsense": nonsense}) as place:
        client = place.connect()
        await client.begin()
        error = await client.fail("own/nonsense")
        assert (error.code, error.message) == (-32603, "internal error")
    assert "ValueError" in caplog.text


async def test_what_fails_in_a_session_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_place() as place:
        client, relay, _ = await begun(place)
        other, _, _ = await begun(place)
        pid = await client.start_cat()
        with monkeypatch.context() as patch:
            patch.setattr(Session, "notify", lambda *_: 1 // 0)
            await client.post("process/write", processId="p", chunk="aGk=")
            await relay.closed.wait()
        assert not is_running(pid)
        assert "ZeroDivisionError" in caplog.text
        assert (await other.run("true")).exit_code == 0
