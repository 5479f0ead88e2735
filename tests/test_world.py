"""Whole worlds, used as a test of an own application would use them; and an oracle that is lied to.

What random schedules find is in `test_simulation.py`.
"""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sansrelay import (
    DataReceived,
    Event,
    LocalProtocolError,
    Outcome,
    Profile,
    RelayConfig,
    RelayConnection,
    Role,
    StreamReset,
)
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import DataFrame, HeartbeatFrame, InvalidFrame
from sansrelay.rendezvous import Rendezvous
from sansrelay.testing import (
    Executor,
    Harness,
    LinkConditions,
    Promise,
    PromiseBroken,
    StreamEnd,
    World,
)

ROUGH = LinkConditions(
    delay=0.02, loss=0.1, duplication=0.1, reordering=0.2, corruption=0.05, scatter=0.2
)


NARROW = RelayConfig(send_window_segments=4, opening_window_segments=4)
"""Windows that make a transfer of twenty messages last."""


def numbered(count: int, name: str = "message") -> list[bytes]:
    return [b"%s %d" % (name.encode(), n) for n in range(count)]


def echo(end: StreamEnd, message: bytes) -> None:
    end.send(b"re: " + message)


class Scene:
    """A world with one executor, that echoes and counts, and some harnesses."""

    def __init__(
        self,
        *harnesses: str,
        seed: int = 1,
        conditions: LinkConditions | None = None,
        websockets: bool = False,
        config: RelayConfig | None = None,
        trace: bool = False,
    ) -> None:
        self.effects: Counter[bytes] = Counter()
        self.world = World(
            random.Random(seed),
            conditions=conditions or LinkConditions(),
            websockets=websockets,
            trace=trace,
        )
        self.world.add_rendezvous()
        self.executor = self.world.add_executor(config=config, on_message=self.run)
        self.harnesses = [
            self.world.add_harness(name, config=config) for name in harnesses or ["harness"]
        ]
        self.world.run(1.0)

    @property
    def harness(self) -> Harness:
        return self.harnesses[0]

    def run(self, end: StreamEnd, message: bytes) -> None:
        self.effects[message] += 1
        echo(end, message)

    def say(self, messages: list[bytes], harness: Harness | None = None) -> StreamEnd:
        stream = (harness or self.harness).open_stream()
        for message in messages:
            stream.send(message)
        return stream


def answers(messages: list[bytes]) -> list[bytes]:
    return [b"re: " + message for message in messages]


# -- the names


def test_the_world_is_loaded_when_it_is_asked_for() -> None:
    code = (
        "import sys, sansrelay.testing\n"
        "def loaded(*names): return [name for name in names if name in sys.modules]\n"
        "print(loaded('sansrelay.testing.world', 'sansrelay.rendezvous', 'h11', 'wsproto'))\n"
        "from sansrelay.testing import World\n"
        "print(loaded('sansrelay.testing.world', 'h11', 'wsproto'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "['sansrelay.testing.world']"]


def test_every_name_is_there_and_no_other() -> None:
    import sansrelay.testing

    names = sansrelay.testing.__all__
    assert names == sorted(names)
    assert {"World", "Schedule", "ScheduleKind", "Promise", "PromiseBroken"} <= set(names)
    for name in names:
        assert getattr(sansrelay.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Wrold'"):
        getattr(sansrelay.testing, "Wrold")  # noqa: B009


# -- a world as a user has it


@pytest.mark.parametrize("websockets", [False, True])
@pytest.mark.parametrize("conditions", [None, ROUGH])
def test_two_harnesses_and_one_executor(
    conditions: LinkConditions | None, websockets: bool
) -> None:
    scene = Scene("left", "right", conditions=conditions, websockets=websockets)
    said = [numbered(30, "left"), numbered(30, "right")]
    streams = [
        scene.say(messages, harness)
        for messages, harness in zip(said, scene.harnesses, strict=True)
    ]
    scene.world.run(60.0)
    assert (scene.world.faults > 0) == (conditions is not None)
    scene.world.finish(quiet=60.0)
    for messages, stream in zip(said, streams, strict=True):
        assert stream.received == answers(messages)
        assert stream.outcome(30) is Outcome.ACKNOWLEDGED
        assert stream.ended is not None
        assert stream.ended.reason == "closed"
    assert set(scene.effects.values()) == {1}
    assert scene.world.frames > 120


def test_the_same_seed_is_the_same_world() -> None:
    def trace(seed: int) -> list[str]:
        scene = Scene(seed=seed, conditions=ROUGH, trace=True)
        scene.say(numbered(10))
        scene.world.run(20.0)
        return scene.world.trace_lines()

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
    assert any("data 1, 9 bytes" in line for line in trace(1))


def test_without_trace_there_is_none() -> None:
    assert Scene().world.trace_lines() == []


def cut_both(scene: Scene, **learns: float) -> None:
    scene.world.cut(scene.harness, **learns)
    scene.world.cut(scene.executor, **learns)


LINK_FAULTS: dict[str, Callable[[Scene], None]] = {
    "harness cut": lambda scene: scene.world.cut(scene.harness),
    "executor cut": lambda scene: scene.world.cut(scene.executor),
    "both cut": cut_both,
    "harness learns late": lambda scene: scene.world.cut(scene.harness, peer_learns=5.0),
    "rendezvous learns late": lambda scene: scene.world.cut(scene.executor, hub_learns=5.0),
    "frames come after the cut": lambda scene: scene.world.cut(scene.harness, late=1.0),
    "second link": lambda scene: scene.world.dial_again(scene.harness),
    "stall": lambda scene: scene.world.stall(scene.executor, 5.0),
    "black hole": lambda scene: scene.world.black_hole(scene.executor, 5.0, up=False),
    "held": lambda scene: scene.world.hold(scene.harness, 3, 5.0, up=True),
    "copies held": lambda scene: scene.world.hold(scene.executor, 3, 5.0, up=False, copies=True),
}


@pytest.mark.parametrize("fault", LINK_FAULTS)
@pytest.mark.parametrize("messages_before", [1, 7, 15])
def test_a_transfer_survives_what_happens_to_links(fault: str, messages_before: int) -> None:
    scene = Scene(config=NARROW)
    messages = numbered(20)
    stream = scene.say(messages)
    assert scene.world.run_until(lambda: len(stream.received) >= messages_before, 5.0)
    assert len(stream.received) < 20
    LINK_FAULTS[fault](scene)
    assert scene.world.faults >= (fault not in {"held", "copies held"})
    assert scene.world.run_until(lambda: len(stream.received) == 20, 60.0)
    assert stream.received == answers(messages)
    assert set(scene.effects.values()) == {1}
    scene.world.finish()


def kill(scene: Scene) -> None:
    scene.world.kill_rendezvous(peers_learn=0.5)
    assert scene.world.rendezvous() is None
    scene.world.at(3.0, scene.world.restart_rendezvous)


def take_over(scene: Scene) -> None:
    before = scene.world.rendezvous()
    scene.world.replace_rendezvous()
    assert scene.world.rendezvous() is not before
    scene.world.cut(scene.harness)
    scene.world.at(2.0, scene.world.cut, scene.executor)


def move(scene: Scene) -> None:
    scene.world.add_rendezvous("elsewhere")
    for peer in scene.world.peers:
        scene.world.move(peer, "elsewhere")
    cut_both(scene)
    scene.world.kill_rendezvous()


@pytest.mark.parametrize("change", [kill, take_over, move])
def test_a_transfer_survives_its_rendezvous(change: Callable[[Scene], None]) -> None:
    scene = Scene(config=NARROW)
    messages = numbered(20)
    stream = scene.say(messages)
    scene.world.run(0.2)
    assert 0 < len(stream.received) < 20
    change(scene)
    assert scene.world.run_until(lambda: len(stream.received) == 20, 60.0)
    assert stream.received == answers(messages)
    assert set(scene.effects.values()) == {1}
    scene.world.finish()


def test_a_crash_of_the_executor_is_told_and_runs_nothing_twice() -> None:
    scene = Scene(config=NARROW)
    messages = numbered(20)
    stream = scene.say(messages)
    scene.world.run(0.12)
    scene.world.crash(scene.executor)
    scene.world.at(2.0, scene.world.restart, scene.executor)
    assert scene.world.run_until(lambda: stream.ended is not None, 60.0)
    assert stream.ended is not None
    assert stream.ended.reason in {"peer_restarted", "unknown_stream"}
    outcomes = [stream.outcome(number) for number in range(1, 21)]
    assert set(outcomes) == {Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.NEVER_SENT}
    for message, outcome in zip(messages, outcomes, strict=True):
        assert scene.effects[message] <= 1
        if outcome is Outcome.ACKNOWLEDGED:
            assert scene.effects[message] == 1
        if outcome is Outcome.NEVER_SENT:
            assert scene.effects[message] == 0
    again = scene.say([b"once more"])
    scene.world.finish()
    assert again.received == [b"re: once more"]


def test_a_crash_of_a_harness_ends_its_streams_alone() -> None:
    scene = Scene("left", "right")
    left, right = (scene.say([b"hello"], harness) for harness in scene.harnesses)
    scene.world.run(1.0)
    scene.world.crash(scene.harness)
    assert left.gone
    with pytest.raises(ValueError, match="takes no more messages"):
        left.send(b"into the void")
    with pytest.raises(ValueError, match="left has crashed; restart it first"):
        scene.harness.open_stream()
    right.send(b"still here")
    scene.world.run(130.0)  # the rendezvous waits 120 s for a harness
    ends = scene.executor.ends
    assert ends[left.stream_id].ended is not None
    assert ends[right.stream_id].live
    assert right.received == answers([b"hello", b"still here"])
    scene.world.finish()


def test_a_slow_reader_holds_up_its_own_stream_alone() -> None:
    config = RelayConfig(send_window_segments=4, send_buffer_messages=5)
    scene = Scene("slow", "quick", config=config)
    slow = scene.say([b"first"], scene.harnesses[0])
    scene.world.run(1.0)
    scene.executor.ends[slow.stream_id].stop_reading()
    for message in numbered(50):
        slow.send(message)
    quick = scene.say(numbered(50), scene.harnesses[1])
    scene.world.run(30.0)
    assert len(quick.received) == 50
    assert (len(slow.sent), len(slow.outbox), slow.acknowledged) == (6, 45, 1)
    scene.executor.ends[slow.stream_id].read_on()
    scene.world.run(30.0)
    assert slow.received == answers([b"first", *numbered(50)])
    scene.world.finish()


def test_a_basic_executor_gets_everything_once_and_loses_its_streams_with_its_link() -> None:
    world = World(random.Random(3))
    world.add_rendezvous()
    executor = world.add_basic_executor(on_message=echo)
    harness = world.add_harness("harness")
    world.run(1.0)
    stream = harness.open_stream()
    for message in numbered(5):
        stream.send(message)
    world.run(2.0)
    assert stream.profile is Profile.BASIC
    assert stream.received == answers(numbered(5))
    world.cut(executor)
    world.run(5.0)
    assert stream.ended is not None
    assert stream.ended.reason == "executor_unavailable"
    assert {stream.outcome(number) for number in range(1, 6)} == {Outcome.UNKNOWN}
    world.finish()


def test_a_basic_harness_is_served() -> None:
    world = World(random.Random(3))
    world.add_rendezvous()
    world.add_executor(on_message=echo)
    harness = world.add_basic_harness("codex")
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    world.run(1.0)
    assert stream.received == [b"re: hello"]
    world.cut(harness)
    with pytest.raises(ValueError, match="codex has no link"):
        harness.open_stream()
    world.finish()


def test_two_ends_on_one_wire() -> None:
    world = World(random.Random(4), conditions=ROUGH)
    world.add_wire()
    world.add_executor(on_message=echo)
    harness = world.add_harness("harness")
    stream = harness.open_stream()
    for message in numbered(20):
        stream.send(message)
    world.finish()
    assert stream.received == answers(numbered(20))
    assert world.rendezvous() is None


def test_hooks_are_called_at_the_opening_and_at_the_end() -> None:
    seen: list[tuple[str, str]] = []

    def note(what: str) -> Callable[[StreamEnd], None]:
        return lambda end: seen.append((end.owner_name, what))

    world = World(random.Random(5))
    world.add_rendezvous()
    world.add_executor(on_message=echo, on_open=note("open"), on_end=note("end"))
    harness = world.add_harness("harness", on_open=note("open"), on_end=note("end"))
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    stream.close()
    stream.close()
    world.run(2.0)
    assert sorted(seen) == sorted(
        (name, what) for name in ("executor", "harness") for what in ("open", "end")
    )
    assert stream.ended is not None
    stream.reset()


def test_time_passes_as_it_is_told() -> None:
    world = Scene().world
    seen: list[float] = []
    world.at(2.5, lambda: seen.append(world.now))
    assert not world.run_until(lambda: bool(seen), 2.0)
    assert world.now == world.clock() == 3.0
    assert world.run_until(lambda: bool(seen), 2.0)
    assert seen == [3.5]


def test_the_network_can_change_its_mind() -> None:
    scene = Scene()
    scene.world.conditions = LinkConditions(loss=1.0)
    stream = scene.say([b"hello"])
    scene.world.run(10.0)
    assert stream.received == []
    scene.world.heal()
    assert scene.world.conditions.loss == 0
    assert scene.world.run_until(lambda: stream.received == [b"re: hello"], 20.0)


def test_a_frame_from_nowhere_harms_nobody() -> None:
    scene = Scene()
    stream = scene.say([b"hello"])
    scene.world.run(1.0)
    for up in (True, False):
        scene.world.inject(scene.harness, b"\xff nonsense", up=up)
        scene.world.inject(scene.executor, encode_frame(HeartbeatFrame("ghost", 0, 0)), up=up)
    stream.send(b"still here")
    scene.world.finish()
    assert stream.received == answers([b"hello", b"still here"])


def test_retired_means_for_good() -> None:
    scene = Scene()
    scene.world.retire(scene.executor)
    scene.world.heal()
    assert not scene.executor.alive
    successor = scene.world.add_executor("successor", executor_id="executor", on_message=echo)
    scene.world.run(1.0)
    stream = scene.say([b"hello"])
    scene.world.finish()
    assert stream.received == [b"re: hello"]
    assert len(successor.ends) == 1


def test_more_streams_than_allowed_are_the_callers_mistake() -> None:
    scene = Scene(config=RelayConfig(max_streams=2))
    scene.say([b"1"])
    scene.say([b"2"])
    with pytest.raises(LocalProtocolError):
        scene.say([b"3"])


def test_an_error_of_the_application_is_not_hidden() -> None:
    def fail(end: StreamEnd, message: bytes) -> None:
        raise ZeroDivisionError(message)

    world = World(random.Random(6))
    world.add_rendezvous()
    world.add_executor(on_message=fail)
    harness = world.add_harness("harness")
    world.run(1.0)
    harness.open_stream().send(b"boom")
    with pytest.raises(ZeroDivisionError, match="boom"):
        world.run(1.0)


# -- an oracle that is lied to: each peer breaks one rule, and the promise it belongs to is named


class Lying(RelayConnection):
    """Both ends run this in place of the real connection."""

    def __init__(self, role: Role, **options: Any) -> None:
        super().__init__(role, **options)
        self.role_here = role


class DeliversTwice(Lying):
    """Each message is handed out twice."""

    again: Event | None = None

    def next_event(self) -> Event | None:
        event, self.again = self.again, None
        if event is None:
            event = super().next_event()
            if isinstance(event, DataReceived):
                self.again = event
        return event


class DeliversSomethingElse(Lying):
    """The last byte of each message is lost."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        if isinstance(event, DataReceived):
            return replace(event, data=event.data[:-1])
        return event


class AcknowledgesAtOnce(Lying):
    """Messages are acknowledged before the application has taken them over."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        if isinstance(event, DataReceived):
            super().consume(event.stream_id, 1)
        return event

    def consume(self, stream_id: str, messages: int = 1) -> None:
        pass


class ForgetsTheReason(Lying):
    """A stream ends without a word."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        return replace(event, reason="") if isinstance(event, StreamReset) else event


class InventsAReason(Lying):
    """The peer is said to have restarted."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        if isinstance(event, StreamReset):
            return replace(event, reason="peer_restarted")
        return event


class SaysNeverSent(Lying):
    """What may have arrived is reported as never sent."""

    def next_event(self) -> Event | None:
        event = super().next_event()
        if isinstance(event, StreamReset) and event.unknown:
            merged = range(event.unknown.start, max(event.unknown.stop, event.never_sent.stop))
            return replace(event, unknown=range(merged.start, merged.start), never_sent=merged)
        return event


class SetsTimersInThePast(Lying):
    """A timer that was handled is due at once again."""

    handled: float | None = None

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.handled = now

    def next_timeout(self) -> float | None:
        return super().next_timeout() if self.handled is None else self.handled


class SendsTwice(Lying):
    """Each data frame goes out twice."""

    def frames_to_send(self, now: float, max_bytes: int = 64 * 1024) -> list[bytes]:
        frames = super().frames_to_send(now, max_bytes)
        return [frame for frame in frames for _ in range(1 + (b"payload" in frame))]


class SendsNonsense(Lying):
    """What goes out is no frame."""

    def frames_to_send(self, now: float, max_bytes: int = 64 * 1024) -> list[bytes]:
        return [frame + b"\x00" for frame in super().frames_to_send(now, max_bytes)]


class SendsNoData(Lying):
    """Data never goes out."""

    def frames_to_send(self, now: float, max_bytes: int = 64 * 1024) -> list[bytes]:
        frames = super().frames_to_send(now, max_bytes)
        return [frame for frame in frames if b"payload" not in frame]


class IgnoresItsWindow(Lying):
    """More segments are under way than the configuration says."""

    def __init__(self, role: Role, **options: Any) -> None:
        config = options.pop("config")
        super().__init__(role, config=replace(config, opening_window_segments=32), **options)


class Chatters(Lying):
    """A heartbeat goes out twice a second, though there is nothing to say."""

    pace = 0.5
    """Seconds."""
    handled = 0.0
    report = 0, 0
    """The ack fields of its last frame: what it says is true, there is no need to say it."""
    due = False

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.due = now >= self.handled + self.pace
        self.handled = now

    def next_timeout(self) -> float | None:
        following = super().next_timeout()
        own = self.handled + self.pace
        return own if following is None else min(following, own)

    def frames_to_send(self, now: float, max_bytes: int = 64 * 1024) -> list[bytes]:
        frames = super().frames_to_send(now, max_bytes)
        for data in frames:
            frame = decode_frame(data, RelayConfig())
            assert not isinstance(frame, InvalidFrame)
            self.report = frame.ack, frame.ack_bits
        if self.due and self.role_here is Role.HARNESS and now > 2.0:  # the stream is open
            frames.append(encode_frame(HeartbeatFrame("harness/1", *self.report)))
        self.due = False
        return frames


class AsksAllTheTime(Chatters):
    """The same twenty times a second, which no pace of the configuration allows."""

    pace = 0.05


def talk(scene: Scene) -> StreamEnd:
    stream = scene.say([b"payload 1", b"payload 2", b"payload 3"])
    scene.world.run(5.0)
    return stream


def talk_and_finish(scene: Scene) -> None:
    talk(scene)
    scene.world.finish(quiet=60.0)


def talk_to_a_stopped_reader(scene: Scene) -> None:
    stream = talk(scene)
    scene.executor.ends[stream.stream_id].stop_reading()
    stream.send(b"payload 4")
    scene.world.run(5.0)


def cut_short(scene: Scene) -> None:
    """The executor crashes, so that nobody knows what became of what was sent."""
    stream = scene.say([b"payload 1", b"payload 2", b"payload 3"])
    scene.world.run(0.015)
    scene.world.crash(scene.executor)
    scene.world.at(1.0, scene.world.restart, scene.executor)
    assert scene.world.run_until(lambda: stream.ended is not None, 400.0)


@pytest.mark.parametrize(
    ("liar", "play", "promise"),
    [
        (DeliversTwice, talk, Promise.EXACTLY_ONCE),
        (DeliversSomethingElse, talk, Promise.EXACTLY_ONCE),
        (AcknowledgesAtOnce, talk_to_a_stopped_reader, Promise.ACKNOWLEDGED),
        (ForgetsTheReason, talk_and_finish, Promise.REASON),
        (InventsAReason, talk_and_finish, Promise.REASON),
        (SaysNeverSent, cut_short, Promise.OUTCOME),
        (SetsTimersInThePast, talk, Promise.TIMERS),
        (SendsTwice, talk, Promise.SENT_ONCE),
        (SendsNonsense, talk, Promise.VALID),
        (SendsNoData, talk_and_finish, Promise.LIVENESS),
        (IgnoresItsWindow, talk, Promise.BOUNDED),
        (Chatters, talk_and_finish, Promise.QUIET),
        (AsksAllTheTime, talk_and_finish, Promise.WASTE),
    ],
)
def test_a_lie_is_found_and_named(
    liar: type[Lying],
    play: Callable[[Scene], object],
    promise: Promise,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = RelayConfig(opening_window_segments=2)
    play(Scene(config=config))  # the truth passes
    monkeypatch.setattr("sansrelay.testing.world.peers.RelayConnection", liar)
    with pytest.raises(PromiseBroken) as found:
        play(Scene(config=config))
    assert found.value.promise is promise, str(found.value)
    assert str(found.value).startswith(f"{promise.name} at {found.value.at:.6f}: ")
    assert found.value.detail in str(found.value)


class PassesOnTwice(Rendezvous):
    """Each frame leaves twice."""

    def frames_to_send(self, link: int, max_bytes: int) -> list[bytes]:
        return [frame for frame in super().frames_to_send(link, max_bytes) for _ in range(2)]


class ChangesFrames(Rendezvous):
    """Each frame gets a field of the rendezvous's own."""

    def frames_to_send(self, link: int, max_bytes: int) -> list[bytes]:
        return [frame + b"\xf8\x3e\x01" for frame in super().frames_to_send(link, max_bytes)]


@pytest.mark.parametrize("liar", [PassesOnTwice, ChangesFrames])
def test_a_rendezvous_that_meddles_is_found(
    liar: type[Rendezvous], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sansrelay.testing.world.hubs.Rendezvous", liar)
    with pytest.raises(PromiseBroken) as found:
        talk(Scene())
    assert found.value.promise is Promise.ROUTED_ONCE


def test_a_message_that_is_run_twice_is_found() -> None:
    world = World(random.Random(8))
    world.add_rendezvous()
    executor = world.add_basic_executor(on_message=echo)
    harness = world.add_harness("harness")
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"rm -r build")
    world.run(1.0)
    # Something was lost, so order is not promised to a basic executor any more: running once is.
    world.black_hole(executor, 0.1, up=False)
    stream.send(b"lost")
    world.run(1.0)
    again = encode_frame(DataFrame(stream.stream_id, 0, 0, 1, 0, 1, b"rm -r build"))
    with pytest.raises(PromiseBroken) as found:
        world.inject(executor, again, up=False)
    assert found.value.promise is Promise.AT_MOST_ONCE


def test_an_executor_under_another_id_is_another() -> None:
    scene = Scene()
    other = scene.world.add_executor("other", on_message=echo)
    stranger = scene.world.add_harness("stranger", executor="other")
    scene.world.run(1.0)
    stream = scene.say([b"hello"], stranger)
    scene.world.finish()
    assert isinstance(other, Executor)
    assert list(other.ends) == [stream.stream_id]
    assert scene.effects == {}
