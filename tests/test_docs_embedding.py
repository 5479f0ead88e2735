"""docs/embedding.md: its examples run as they stand there, and what it says holds."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

import sansrelay
import sansrelay.testing.asyncio
from asyncio_net import Router
from sansrelay import (
    DataReceived,
    FrameRejected,
    LocalCause,
    LocalProtocolError,
    RelayConfig,
    RelayConnection,
    ResetReason,
    Role,
    StreamReset,
)
from sansrelay.codec import encode_frame
from sansrelay.frames import DataFrame
from sansrelay.links import Backoff, PingTimer
from sansrelay.rendezvous import RendezvousConfig
from sansrelay.testing import FakeClock, RelayPair, SimulatedLink
from sansrelay_asyncio import RelayStream, WebSocketConnection, serve_executor, serve_http

PAGE = (Path(__file__).parents[1] / "docs" / "embedding.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
SELECTORS, SOCKET_PAIR, ON_ASYNCIO, ON_TRIO = (text for kind, text in BLOCKS if kind == "python")
ANSWERS, EVENTS = (text for kind, text in BLOCKS if not kind)
OWED = PAGE.split("## What you owe the machine")[1]


def run(example: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("example", [SELECTORS, SOCKET_PAIR], ids=["selectors", "socket-pair"])
def test_the_loops_are_short_and_show_all_groups_of_calls(example: str) -> None:
    assert len(example.splitlines()) < 80
    for group in ("# an input", "# a command", "# a getter", "first frames,", "then events,"):
        assert group in example
    order = [f"{name}(" for name in ("frames_to_send", "next_event", "next_timeout")]
    assert sorted(order, key=example.index) == order


def test_the_pair_prints_what_the_page_says() -> None:
    assert run(SOCKET_PAIR) == EVENTS


@pytest.mark.parametrize("example", [ON_ASYNCIO, ON_TRIO], ids=["asyncio", "trio"])
def test_the_outages_pass(example: str) -> None:
    assert run(example) == "b'HELLO' after 10 minutes\n"


class BadRouter(Router):
    """Closes the harness's link behind one frame to it, and loses one frame to the executor."""

    def __init__(self, *, cut_behind: int | None = None, lost: int | None = None) -> None:
        super().__init__()
        self.cut_behind, self.lost = cut_behind, lost
        self.passed_on = {Role.HARNESS: 0, Role.EXECUTOR: 0}

    async def _pass_on(self, target: WebSocketConnection | None, frame: bytes) -> None:
        assert target is not None
        role = Role.EXECUTOR if target is self.executor else Role.HARNESS
        self.passed_on[role] += 1
        if role is Role.EXECUTOR and self.passed_on[role] == self.lost:
            return
        await super()._pass_on(target, frame)
        if role is Role.HARNESS and self.passed_on[role] == self.cut_behind:
            await target.aclose()


@pytest.mark.parametrize("faults", [{}, {"cut_behind": 1}, {"cut_behind": 2}, {"lost": 1}], ids=str)
def test_the_harness_on_selectors_gets_its_answers(faults: dict[str, int]) -> None:
    router = BadRouter(**faults)

    async def shout(stream: RelayStream) -> None:
        async for message in stream:
            await stream.send(message.upper())

    async def main() -> str:
        loop = asyncio.get_running_loop()
        bound: asyncio.Future[list[tuple[str, int]]] = loop.create_future()
        serving = asyncio.create_task(serve_http(router.serve, on_started=bound.set_result))
        url = f"ws://127.0.0.1:{(await bound)[0][1]}"
        started: asyncio.Future[object] = loop.create_future()
        executor = asyncio.create_task(
            serve_executor(shout, f"{url}/executor", on_started=started.set_result)
        )
        await started
        printed = await asyncio.to_thread(run, SELECTORS, f"{url}/harness", "one", "two")
        for task in (executor, serving):
            task.cancel()
            await asyncio.wait([task])
        return printed

    assert asyncio.run(main()) == ANSWERS
    dialled = sum(request.path == "/harness" for request in router.requests)
    assert dialled == (2 if router.cut_behind else 1)


# -- what is owed


def machine() -> RelayConnection:
    """A harness with a link and a stream."""
    conn = RelayConnection(Role.HARNESS, incarnation=1)
    conn.link_opened(0.0)
    conn.open_stream("s")
    return conn


def the_end(conn: RelayConnection) -> StreamReset:
    (event,) = [event for event in iter(conn.next_event, None) if isinstance(event, StreamReset)]
    return event


def pair(link: SimulatedLink | None = None) -> RelayPair:
    pair = RelayPair(link=link)
    pair.harness.conn.open_stream("s")
    pair.harness.conn.send_data("s", b"hello")
    pair.run(1.0)
    return pair


def use_an_id_again(conn: RelayConnection) -> None:
    conn.reset_stream("s")
    conn.open_stream("s")


MISUSES: list[tuple[LocalCause, Callable[[RelayConnection], object]]] = [
    (LocalCause.TIME_WENT_BACK, lambda conn: conn.handle_timeout(-1.0)),
    (LocalCause.STREAM_EXISTS, use_an_id_again),
    (LocalCause.LINK_STATE, lambda conn: conn.link_opened(1.0)),
    (LocalCause.NO_CAPACITY, lambda conn: [conn.send_data("s", bytes(100_000)) for _ in range(99)]),
]


@pytest.mark.parametrize(("cause", "misuse"), MISUSES, ids=[cause.name for cause, _ in MISUSES])
def test_misuse_raises(cause: LocalCause, misuse: Callable[[RelayConnection], object]) -> None:
    assert f"`{cause.name}`" in OWED
    with pytest.raises(LocalProtocolError) as caught:
        misuse(machine())
    assert caught.value.cause is cause


@pytest.mark.parametrize("fresh", [True, False])
def test_with_an_old_incarnation_what_the_network_held_back_runs_again(fresh: bool) -> None:
    held_back: list[bytes] = []

    class Recorded(SimulatedLink):
        def send(self, direction: int, frame: bytes, now: float) -> None:
            if direction == 0:
                held_back.append(frame)
            super().send(direction, frame, now)

    ends = pair(Recorded())
    assert ends.executor.received == {"s": [b"hello"]}
    successor = RelayConnection(Role.EXECUTOR, incarnation=0xC20000 if fresh else 0xB10000)
    successor.link_opened(0.0)
    for frame in held_back:
        successor.receive_frame(frame, 0.0)
    ran = [event.data for event in iter(successor.next_event, None) if type(event) is DataReceived]
    assert ran == ([] if fresh else [b"hello"])


@pytest.mark.parametrize("lives", [True, False])
def test_an_id_that_another_process_used_brings_no_new_stream(lives: bool) -> None:
    ends = pair()
    executor = ends.executor.conn
    if not lives:
        ends.harness.conn.close_stream("s")
        ends.run(1.0)
        assert ends.executor.ended["s"].known_reason is ResetReason.CLOSED
    newcomer = machine()
    for frame in newcomer.frames_to_send(ends.clock()):
        executor.receive_frame(frame, ends.clock())
    for frame in executor.frames_to_send(ends.clock()):
        newcomer.receive_frame(frame, ends.clock())
    expected = ResetReason.PEER_RESTARTED if lives else ResetReason.CLOSED
    assert the_end(newcomer).known_reason is expected
    ends.executor.drain_events()
    assert ends.executor.ended["s"].known_reason is expected


@pytest.mark.parametrize("whole", [True, False])
def test_one_frame_is_one_message(whole: bool) -> None:
    ends = pair()
    for number in range(2):
        ends.harness.conn.send_data("s", b"message %d" % number)
    frames = ends.harness.conn.frames_to_send(1.0)
    assert len(frames) == 2
    for message in frames if whole else [b"".join(frames), frames[0][:-1]]:
        ends.executor.conn.receive_frame(message, 1.0)
    ends.executor.drain_events()
    assert len(ends.executor.received["s"]) == (3 if whole else 1)
    assert len(ends.executor.events_of(FrameRejected)) == (0 if whole else 2)


def test_what_comes_from_a_basic_peer_in_the_wrong_order_ends_the_stream() -> None:
    conn = machine()
    for seq in (0, 2):
        conn.receive_frame(encode_frame(DataFrame("s", 0, 0, seq, 0, 1, b"x")), 0.0)
    assert the_end(conn).known_reason is ResetReason.GAP


def test_a_loss_that_is_not_told_ends_streams_that_could_have_gone_on() -> None:
    ends = pair()
    conn, clock = ends.harness.conn, FakeClock(ends.clock())
    ends.harness.drain_events()
    conn.send_data("s", b"into the void")
    while (due := conn.next_timeout()) is not None:
        conn.frames_to_send(clock())
        clock.advance_to(due)
        conn.handle_timeout(clock())
        if conn.send_capacity("s") == 0:
            break
    assert the_end(conn).known_reason is ResetReason.TIMEOUT


@pytest.mark.parametrize("reading", [True, False])
def test_without_consume_the_window_closes(reading: bool) -> None:
    ends = pair()
    ends.executor.reading = reading
    conn, message, sent = ends.harness.conn, bytes(1_000_000), 0
    while sent < 20 and conn.send_capacity("s") >= len(message):
        conn.send_data("s", message)
        ends.run(10.0)
        sent += 1
    assert (sent == 20) is reading


def test_without_handle_timeout_nothing_is_repaired() -> None:
    conn = machine()
    conn.frames_to_send(0.0)  # lost
    due = conn.next_timeout()
    assert due is not None
    assert conn.frames_to_send(due + 100.0) == []
    conn.handle_timeout(due + 100.0)
    assert conn.frames_to_send(due + 100.0) != []


@pytest.mark.parametrize("told", [True, False])
def test_a_peer_that_is_not_told_of_the_end_waits(told: bool) -> None:
    ends = pair()
    ends.executor.conn.send_data("s", b"is anybody there?")
    if told:
        ends.harness.conn.reset_stream("s")
        ends.run(1.0)
    conn, clock = ends.executor.conn, FakeClock(ends.clock())
    while "s" not in ends.executor.ended:
        due = conn.next_timeout()
        assert due is not None
        clock.advance_to(due)
        conn.handle_timeout(clock())
        conn.frames_to_send(clock())
        ends.executor.drain_events()
    waited = clock() - ends.clock()
    assert waited == (0.0 if told else pytest.approx(RelayConfig().resume_timeout, rel=0.2))


def test_every_name_on_the_page_exists() -> None:
    known = {name for name in dir(RelayConnection) if not name.startswith("_")}
    known |= set(sansrelay.__all__) | set(sansrelay.testing.__all__)
    known |= set(sansrelay.testing.asyncio.__all__)
    known |= set(dir(sansrelay.testing.asyncio.LocalRendezvous))
    known |= {field.name for kind in (RelayConfig, RendezvousConfig) for field in fields(kind)}
    known |= {cause.name for cause in LocalCause} | {reason.value for reason in ResetReason}
    known |= {kind.__name__ for kind in (Backoff, PingTimer)} | {"now", "silent", "max_bytes"}
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    names = set(re.findall(r"`([A-Za-z_]+)(?:\([\w, ]*\))?`", prose))
    assert len(names) > 30
    assert names - known == {"one", "two"}
