"""The small parts of a world: lanes, WebSocket links, the stage, traces, applications, liars."""

import random
from dataclasses import replace

import pytest

from sansrelay.codec import encode_frame
from sansrelay.connection import Role
from sansrelay.errors import FrameCause
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResumeFrame,
)
from sansrelay.states import Profile
from sansrelay.testing import LinkConditions, Promise, World
from sansrelay.testing.world.dice import Dice
from sansrelay.testing.world.faults import Faults
from sansrelay.testing.world.impostors import Impostors
from sansrelay.testing.world.lanes import Weather
from sansrelay.testing.world.schedules import Schedule, ScheduleKind
from sansrelay.testing.world.sockets import SocketLink
from sansrelay.testing.world.stage import Stage
from sansrelay.testing.world.trace import describe
from sansrelay.testing.world.victims import Victims
from sansrelay.testing.world.workload import Workload
from sansrelay.websocket import WebSocketLink, WebSocketState
from world_kit import Case, DumbHub, DumbPeer, Machine, guilty

NAME = "harness/1"


# -- the stage and its trace


def run_to_the_end(stage: Stage) -> None:
    while stage.step(1.0):
        pass


def test_a_world_that_goes_round_in_circles_is_stopped() -> None:
    stage = Stage(Dice(random.Random(1)), trace=False)

    def again() -> None:
        stage.after(0.0, again)

    again()
    with pytest.raises(RuntimeError, match=r"20001 actions at 0\.0: the world does not move on"):
        run_to_the_end(stage)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (DataFrame(NAME, 0, 0, 3, 0, 1, b"xx"), "harness/1: data 3, 2 bytes"),
        (
            DataFrame(NAME, 2, 5, 3, 1, 4, b""),
            "harness/1: data 3 part 2 of 4, 0 bytes, ack 2 bits 5",
        ),
        (ResumeFrame(NAME, 0, 0, 1, 0xABCDE), "harness/1: resume 1, bcde to 0000"),
        (ResumeFrame(NAME, 1, 0, 2, 1, 2, True), "harness/1: answer 2, 0001 to 0002, ack 1"),
        (HandshakeFrame(NAME, 0, 0, b"abc"), "harness/1: handshake, 3 bytes"),
        (HeartbeatFrame(NAME, 0, 0), "harness/1: heartbeat"),
        (AckFrame(NAME, 0, 1), "harness/1: ack, ack 0 bits 1"),
        (InvalidFrame(FrameCause.NO_BODY, None, "why"), "invalid frame: NO_BODY"),
    ],
)
def test_frames_are_told_in_one_line(frame: Frame | InvalidFrame, text: str) -> None:
    assert describe(frame) == text


# -- WebSocket links


def socket_link() -> tuple[SocketLink, DumbPeer]:
    case = Case()
    weather = Weather(LinkConditions())
    peer = DumbPeer(Role.HARNESS, "harness")
    both = weather, weather
    link = SocketLink(case.stage, both, case.oracle.spoiled, 1, peer, DumbHub(), capacity=1000)
    return link, peer


def test_a_peer_that_has_left_gets_nothing() -> None:
    link, peer = socket_link()
    link.arrived_at_peer([b"first"])
    link.tell_peer()
    link.arrived_at_peer([b"second"])
    assert peer.handed == [b"first"]


class NeverOpens(WebSocketLink):
    """Its handshake does not come to an end."""

    @property
    def state(self) -> WebSocketState:
        return WebSocketState.CONNECTING


class HandsOutTheRest(WebSocketLink):
    """What has not arrived whole is handed out when the connection ends."""

    ended = False

    def receive_eof(self) -> None:
        super().receive_eof()
        self.ended = True

    def messages(self) -> list[bytes]:
        return [b"cut off"] if self.ended else super().messages()


def test_a_websocket_that_does_not_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansrelay.testing.world.sockets.WebSocketLink", NeverOpens)
    with pytest.raises(AssertionError, match="the opening handshake failed"):
        socket_link()


def test_a_websocket_that_hands_out_half_a_message_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sansrelay.testing.world.sockets.WebSocketLink", HandsOutTheRest)
    link, _ = socket_link()
    link.down.broken = True
    with pytest.raises(AssertionError, match="received that did not arrive whole"):
        link.tell_peer()


# -- applications


def test_a_message_with_two_effects_is_found() -> None:
    world = World(random.Random(1))
    workload = Workload(world, Dice(random.Random(1)), largest=100)
    case = Case()
    end = case.accept()
    world.oracle.streams[NAME] = case.record
    case.opener.sent = [b"rm -r build"]
    workload.reply_chance = 0.0
    workload.run_message(end, b"rm -r build")
    workload.check_effects()
    workload.run_message(end, b"rm -r build")
    with guilty(Promise.AT_MOST_ONCE, "b'rm -r build' had 2 effects"):
        workload.check_effects()
    case.record.copies[b"rm -r build"] = 1
    with guilty(Promise.AT_MOST_ONCE, "had 2 effects"):
        workload.check_effects()  # only a basic executor runs copies
    end.profile = Profile.BASIC
    workload.check_effects()
    case.record.copies.clear()
    workload.early_data = True
    workload.check_effects()


def test_a_basic_executor_replies_on_streams_that_live() -> None:
    world = World(random.Random(1))
    workload = Workload(world, Dice(random.Random(1)), largest=100)
    case = Case()
    end = case.accept(Profile.BASIC)
    workload.answer_basic(end, b"one")
    case.end(end, "cancelled")
    workload.answer_basic(end, b"two")
    assert len(end.outbox) == 1
    assert workload.effects == {b"one": 1, b"two": 1}


# -- impostors and strangers


def storm(seed: str, kind: ScheduleKind = ScheduleKind.WORLD) -> Schedule:
    return Schedule(kind, random.Random(seed))


class Deaf(Machine):
    """Counts nothing, whatever comes in."""

    def receive_frame(self, data: bytes, now: float) -> None:
        pass


def test_a_lie_that_is_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = storm("liar", ScheduleKind.PAIR)
    schedule.world.run(1.0)
    harness = schedule.world.peers[1]
    monkeypatch.setattr(harness, "conn", Deaf())
    impostors = Impostors(Victims(schedule))
    with guilty(Promise.VALID, "harness took AckFrame"):
        impostors._lie(harness, AckFrame(NAME, 9, 0), FrameCause.ACK_BEYOND_SENT)


@pytest.mark.parametrize("early", [False, True])
def test_noise_opens_no_stream_that_an_executor_would_rightly_take(early: bool) -> None:
    schedule = storm("noise", ScheduleKind.PAIR)
    limits = schedule.limits
    schedule.limits = replace(limits, executor=replace(limits.executor, early_data=early))
    impostors = Impostors(Victims(schedule))
    frames = [schedule.world.oracle.frame_of(impostors._nonsense("ghost/1")) for _ in range(300)]
    openings = [
        frame for frame in frames if isinstance(frame, ResumeFrame) and not frame.peer_incarnation
    ]
    assert bool(openings) is not early
    assert any(isinstance(frame, InvalidFrame) for frame in frames)


def test_a_stranger_may_learn_that_no_such_stream_exists_and_nothing_else() -> None:
    world = World(random.Random(1))
    world.add_rendezvous()
    stranger = world.stranger("executor")
    assert world.stranger("executor") is stranger
    world.run(1.0)
    link = stranger.link
    assert link is not None
    denial = encode_frame(AckFrame(NAME, 0, 0))
    stranger.receive(link, [b"\xff"])
    with guilty(Promise.ROUTED_ONCE, "stranger to executor was shown another's harness/1: ack"):
        stranger.receive(link, [denial])


# -- schedules


def test_a_schedule_may_have_no_faults_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = storm("calm", ScheduleKind.PAIR)
    schedule.world.conditions = LinkConditions(delay=0.01)
    monkeypatch.setattr(schedule._faults, "kinds", list)
    schedule.run()
    assert set(schedule.world.stage.faults) == {"cut"}, "the links are closed at the end"
    assert schedule.world.faults == len(schedule.world.peers)


def test_when_the_faults_are_over_none_begins() -> None:
    schedule = storm("over")
    faults = Faults(schedule)
    for _ in range(4):
        for fault in faults.kinds():
            fault()
    faults.end()
    before = [(peer.name, peer.retired) for peer in schedule.world.peers]
    killed = schedule.world.stage.faults["rendezvous killed"]
    schedule.world.run(800.0)
    assert [(peer.name, peer.retired) for peer in schedule.world.peers] == before
    assert schedule.world.stage.faults["rendezvous killed"] == killed


def test_an_executor_id_is_not_left_without_a_process() -> None:
    schedule = storm("orphans")
    for peer in list(schedule.world.peers):
        if peer.role is Role.EXECUTOR:
            schedule.world.retire(peer)
    ids = {peer.executor_id for peer in schedule.world.peers}
    Faults(schedule).end()
    alive = [
        peer.executor_id
        for peer in schedule.world.peers
        if peer.role is Role.EXECUTOR and peer.alive
    ]
    assert sorted(alive) == sorted(ids)


def test_one_executor_of_two_is_left() -> None:
    schedule = storm("twins", ScheduleKind.PAIR)
    twin = schedule.add_executor("executor", basic=False)
    stopped = schedule.add_executor("executor", basic=False)
    schedule.world.retire(stopped)
    Faults(schedule).end()
    executors = [peer for peer in schedule.world.peers if peer.role is Role.EXECUTOR]
    assert [peer for peer in executors if peer.alive] == [twin]
