"""Sessions of the exec-server: what outlives a stream, and for how long."""

import os
import signal
from pathlib import Path

import pytest
import trio.testing

import trio
from execserver_client import (
    LONG,
    Place,
    begun,
    is_running,
    lose,
    open_place,
)
from sansrelay.errors import ResetReason
from sansrelay.events import EndedBy
from sansrelay_apps.execserver import groups, open_exec_server

pytestmark = pytest.mark.trio


# -- resuming


async def test_a_session_goes_on_with_another_stream() -> None:
    async with open_place() as place:
        client, _, session_id = await begun(place)
        pid = await client.start_cat()
        await lose(client)
        assert is_running(pid)
        again, _ = place.connect_relay()
        assert await again.begin(session_id) == session_id
        await again.call("process/write", processId="p", chunk="aGk=")
        assert await again.output_until(b"hi") == b"hi"
        await lose(again)
        third = place.connect()
        assert await third.begin(session_id) == session_id
        await third.call("process/closeStdin", processId="p")
        ended = await third.until_closed(first_seq=3)
        assert ended.exit_code == 0


async def test_what_was_missed_can_be_read(tmp_path: Path) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    for gate in gates:
        os.mkfifo(gate)
    script = "echo told; read x <$0; echo missed; read x <$1; echo later; exit 3"
    async with open_place() as place:
        client, relay, session_id = await begun(place)
        await client.start("sh", "-c", script, *map(str, gates))
        await client.output_until(b"told\n")
        relay.settle()
        await lose(client)
        await trio.Path(gates[0]).write_text("go\n")
        writer = await trio.open_file(gates[1], "w")  # opens when "missed" was said
        await trio.testing.wait_all_tasks_blocked()
        again = place.connect()
        await again.begin(session_id)
        output, read = await again.read(afterSeq=1)
        assert (output, read["nextSeq"], read["exited"]) == (b"missed\n", 3, False)
        await writer.write("go\n")
        await writer.aclose()
        ended = await again.until_closed(first_seq=3)
        assert (ended.output, ended.exit_code) == ({"stdout": b"later\n"}, 3)
        output, read = await again.read()
        assert output == b"told\nmissed\nlater\n"
        assert (read["exitCode"], read["closed"]) == (3, True)


async def test_a_process_that_closed_meanwhile_is_kept_until_somebody_can_read_it() -> None:
    async with open_place(closed_retention=0) as place:
        client, _, session_id = await begun(place)
        pid = await client.start_cat()
        await lose(client)
        os.kill(pid, signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked()
        while is_running(pid):
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        again = place.connect()
        await again.begin(session_id)
        _, read = await again.read(afterSeq=1, waitMs=LONG * 1000)
        while not read["closed"]:
            _, read = await again.read(afterSeq=read["nextSeq"] - 1, waitMs=LONG * 1000)
        assert read["exitCode"] == 143


async def test_the_time_of_a_closed_process_stands_still_while_nobody_is_there(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_place(closed_retention=3, detached_retention=20) as place:
        client, _, session_id = await begun(place)
        await client.run("echo", "hi")
        await lose(client)
        mock_clock.jump(4)
        await trio.testing.wait_all_tasks_blocked()
        await groups.find_processes()  # a process is forgotten after such a search
        await trio.testing.wait_all_tasks_blocked()
        again = place.connect()
        await again.begin(session_id)
        assert (await again.read())[0] == b"hi\n"
        mock_clock.jump(4)
        while (response := await again.attempt("process/read", processId="p")).error is None:
            pass
        assert response.error.code == -32600


async def test_requests_under_way_end_with_their_stream() -> None:
    async with open_place(max_requests_in_flight=2) as place:
        client, _, session_id = await begun(place)
        await client.start_cat()
        for _ in range(2):  # as many as there may be: nothing is received any more
            await client.post("process/read", processId="p", afterSeq=1, waitMs=LONG * 1000)
        await lose(client)
        again = place.connect()
        await again.begin(session_id)
        assert (await again.read())[0].endswith(b"\n")


@pytest.mark.parametrize("resume", ["", "x" * 1000, "00000000-0000-4000-8000-000000000000"])
async def test_an_unknown_session(resume: str) -> None:
    async with open_place() as place:
        client = place.connect()
        error = await client.fail("initialize", clientName="c", resumeSessionId=resume)
        assert error.code == -32600
        assert error.message.startswith("unknown session id ")
        assert len(error.message) < 300
        await client.begin()  # the stream is as good as before


async def test_a_session_that_another_stream_has() -> None:
    async with open_place() as place:
        client, _, session_id = await begun(place)
        other = place.connect()
        error = await other.fail("initialize", clientName="c", resumeSessionId=session_id)
        assert error.code == -32010
        assert "attached to another stream" in error.message
        assert (await client.run("true")).exit_code == 0
        await lose(client)
        assert await other.begin(session_id) == session_id


async def test_initialize_once_after_a_resume_too() -> None:
    async with open_place() as place:
        client, _, session_id = await begun(place)
        await lose(client)
        again = place.connect()
        await again.begin(session_id)
        error = await again.fail("initialize", clientName="c", resumeSessionId=session_id)
        assert (error.code, error.message) == (-32600, "initialize was called already")


# -- the end of a session


@pytest.mark.parametrize(
    ("reason", "by", "ends"),
    [
        (ResetReason.CLOSED, EndedBy.PEER, True),
        (ResetReason.CANCELLED, EndedBy.PEER, True),
        (ResetReason.CANCELLED, EndedBy.LOCAL, False),
        (ResetReason.GOING_AWAY, EndedBy.PEER, False),
        (ResetReason.LINK_LOST, EndedBy.LOCAL, False),
        (ResetReason.TIMEOUT, EndedBy.LOCAL, False),
        (ResetReason.HARNESS_DISCONNECTED, EndedBy.PEER, False),
        ("a foreign word", EndedBy.PEER, False),
    ],
)
@pytest.mark.parametrize("busy", [False, True])
async def test_which_ends_of_a_stream_end_its_session(
    reason: str, by: EndedBy, ends: bool, busy: bool
) -> None:
    async with open_place(max_requests_in_flight=1) as place:
        client, relay, session_id = await begun(place)
        pid = await client.start_cat()
        if busy:
            await client.post("process/read", processId="p", afterSeq=1, waitMs=LONG * 1000)
            await trio.testing.wait_all_tasks_blocked()
        relay.end(reason, by)
        await relay.closed.wait()
        assert is_running(pid) is not ends
        again = place.connect()
        response = await again.attempt("initialize", clientName="c", resumeSessionId=session_id)
        assert (response.error is not None) is ends
    assert not is_running(pid)


async def test_a_stream_closed_in_good_order_ends_its_session() -> None:
    async with open_place() as place:
        client = place.connect()
        session_id = await client.begin()
        pid = await client.start_cat()
        await client.channel.aclose()
        await client.server_end.closed.wait()
        assert not is_running(pid)
        error = await place.connect().fail("initialize", clientName="c", resumeSessionId=session_id)
        assert error.code == -32600


async def test_a_stream_that_is_served_no_more_leaves_its_session() -> None:
    async with open_place() as place, trio.open_nursery() as nursery:
        client = Place(place.server, nursery).connect()
        session_id = await client.begin()
        pid = await client.start_cat()
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await client.server_end.closed.wait()
            assert is_running(pid)
            assert await place.connect().begin(session_id) == session_id


async def test_a_detached_session_ends_after_its_time() -> None:
    async with open_place(detached_retention=0.05) as place:
        client, _, session_id = await begun(place)
        pid = await client.start_cat()
        await lose(client)
        handle = os.pidfd_open(pid)
        await trio.lowlevel.wait_readable(handle)
        os.close(handle)
        error = await place.connect().fail("initialize", clientName="c", resumeSessionId=session_id)
        assert (error.code, "0.05 s" in error.message) == (-32600, True)


async def test_a_session_that_was_resumed_does_not_end_after_the_first_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_place(detached_retention=1) as place:
        client, _, session_id = await begun(place)
        await trio.sleep(1.1)
        for _ in range(3):
            await lose(client)
            await trio.sleep(0.9)
            client, _ = place.connect_relay()
            await client.begin(session_id)
            await trio.sleep(1.1)
        await lose(client)
        await trio.sleep(1.1)
        error = await place.connect().fail("initialize", clientName="c", resumeSessionId=session_id)
        assert error.code == -32600


async def test_no_more_sessions_are_kept_than_may_and_the_oldest_go() -> None:
    async with open_place(max_detached_sessions=2) as place:
        sessions = [await begun(place) for _ in range(4)]
        pids = [await client.start_cat() for client, _, _ in sessions]
        for number in (2, 0, 3, 1):
            await lose(sessions[number][0])
        gone = []
        for _, _, session_id in sessions:
            response = await place.connect().attempt(
                "initialize", clientName="c", resumeSessionId=session_id
            )
            gone.append(response.error is not None)
        assert gone == [True, False, True, False]
        for number in (0, 2):
            while is_running(pids[number]):
                await trio.lowlevel.checkpoint()
        assert [is_running(pid) for pid in pids] == [False, True, False, True]


async def test_without_room_for_any_a_session_ends_with_its_stream() -> None:
    async with open_place(max_detached_sessions=0) as place:
        client, relay, _ = await begun(place)
        pid = await client.start_cat()
        relay.end(ResetReason.LINK_LOST)
        await relay.closed.wait()
        assert not is_running(pid)


async def test_the_end_of_the_server_ends_attached_and_detached_sessions() -> None:
    async with open_place() as place:
        lost, _, _ = await begun(place)
        client, _, _ = await begun(place)
        pids = [await lost.start_cat(), await client.start_cat()]
        await lose(lost)
        await place.server.end_all()
        assert [is_running(pid) for pid in pids] == [False, False]
        await client.server_end.closed.wait()
        error = await place.connect().fail("initialize", clientName="c")
        assert (error.code, error.message) == (-32603, "this executor is shutting down")


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_exec_server():
            raise ZeroDivisionError
