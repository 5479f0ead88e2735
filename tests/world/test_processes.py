"""Peers and rendezvous of a world: what they do when a hook, a limit or a test meddles."""

import random
from dataclasses import replace

import pytest

from sansrelay.codec import encode_frame
from sansrelay.errors import Outcome
from sansrelay.frames import DataFrame, HeartbeatFrame, ResetFrame
from sansrelay.rendezvous import Rendezvous, RendezvousConfig, RendezvousStats
from sansrelay.states import Profile
from sansrelay.testing import LinkConditions, Promise, StreamEnd, World
from sansrelay.testing.world.codex import BasicExecutor, BasicHarness
from sansrelay.testing.world.peers import Executor, Harness
from world_kit import guilty


def reliable(world: World) -> tuple[Harness, Executor]:
    return world.add_harness("harness"), world.add_executor()


def basic(world: World) -> tuple[BasicHarness, BasicExecutor]:
    return world.add_basic_harness("harness"), world.add_basic_executor()


def made_world(config: RendezvousConfig | None = None) -> World:
    world = World(random.Random(1))
    world.add_rendezvous(config=config)
    return world


# -- hooks that meddle


@pytest.mark.parametrize("is_basic", [False, True])
@pytest.mark.parametrize("fault", ["cut", "crash"])
def test_what_a_hook_ends_hears_no_more(is_basic: bool, fault: str) -> None:
    """Three messages come in one batch; with the first the application ends the link, or its own
    process."""
    world = made_world()
    seen: list[bytes] = []

    def meddle(end: StreamEnd, data: bytes) -> None:
        seen.append(data)
        getattr(world, fault)(executor)

    executor: Executor | BasicExecutor
    if is_basic:
        executor = world.add_basic_executor(on_message=meddle)
    else:
        executor = world.add_executor(on_message=meddle)
    harness = world.add_harness("harness")
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    world.conditions = LinkConditions(delay=0.01)
    assert world.run_until(lambda: len(seen) == 1, 5.0)
    world.run(0.5)
    assert seen == [b"hello"]


@pytest.mark.parametrize("is_basic", [False, True])
def test_a_batch_ends_with_its_link(is_basic: bool) -> None:
    world = made_world()
    seen: list[bytes] = []

    def cut(end: StreamEnd, data: bytes) -> None:
        seen.append(data)
        if data == b"cut":
            world.cut(executor)

    executor: Executor | BasicExecutor
    if is_basic:
        executor = world.add_basic_executor(on_message=cut)
    else:
        executor = world.add_executor(on_message=cut)
    harness = world.add_harness("harness")
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    world.run(1.0)
    link = executor.link
    assert link is not None
    first = 1 if is_basic else 2
    batch = [
        encode_frame(DataFrame(stream.stream_id, 0, 0, first + number, 0, 1, data))
        for number, data in enumerate((b"cut", b"too late"))
    ]
    stream.sent += [b"cut", b"too late"]
    link.arrived_at_peer(batch)
    assert seen == [b"hello", b"cut"]


# -- basic peers


def test_a_basic_harness_loses_its_streams_with_its_link() -> None:
    world = made_world()
    harness, _ = basic(world)
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    stream.send(b"again")
    world.cut(harness)
    assert stream.ended is not None
    assert stream.ended.reason == "link_lost"
    assert {stream.outcome(number) for number in (1, 2)} == {Outcome.UNKNOWN}
    assert stream.outcome(3) is Outcome.NEVER_SENT
    harness.reset(stream, "cancelled")  # there is no link to say it on
    world.run(5.0)
    assert harness.link is not None
    assert len(world.oracle.streams) == 1


def test_a_basic_peer_runs_whole_messages_of_its_streams_alone() -> None:
    world = made_world()
    harness, executor = basic(world)
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    world.run(1.0)
    (end,) = executor.ends.values()
    for index, count in ((0, 2), (1, 2)):
        part = DataFrame(stream.stream_id, 0, 0, 1, index, count, b"part")
        world.inject(executor, encode_frame(part), up=False)
    world.inject(executor, encode_frame(HeartbeatFrame(stream.stream_id, 0, 0)), up=False)
    assert end.received == [b"hello"]
    stranger = DataFrame("nobody's", 0, 0, 0, 0, 1, b"boo")
    world.inject(harness, encode_frame(stranger), up=False)
    reset = encode_frame(ResetFrame("nobody's", 0, 0, "cancelled"))
    world.inject(harness, reset, up=False)
    stream.close()
    world.inject(harness, encode_frame(stranger._replace(stream_id=stream.stream_id)), up=False)
    assert stream.received == []
    world.finish()


def test_what_a_stream_takes_no_more_is_said() -> None:
    world = made_world()
    harness, _ = reliable(world)
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    assert stream.outcome(1) is None
    assert stream.outcome(2) is None
    world.run(1.0)
    stream.close()
    with pytest.raises(ValueError, match="takes no more messages"):
        stream.send(b"too late")
    world.run(1.0)
    assert stream.outcome(1) is Outcome.ACKNOWLEDGED
    assert stream.outcome(2) is Outcome.NEVER_SENT


# -- links


@pytest.mark.parametrize(
    "config",
    [
        RendezvousConfig(max_links=2),
        RendezvousConfig(max_harness_links=1),
        RendezvousConfig(max_links_per_principal=1),
    ],
)
def test_a_peer_that_is_refused_dials_again(config: RendezvousConfig) -> None:
    world = made_world(config)
    world.add_executor()
    first = world.add_harness("first", principal="someone")
    second = world.add_harness("second", principal="someone")
    world.run(1.0)
    assert first.link is not None
    assert second.link is None
    first.wants_link = False
    world.cut(first)
    world.run(1.0)
    assert second.link is not None


def test_an_executor_can_be_refused_too_unless_it_takes_over() -> None:
    world = made_world(RendezvousConfig(max_links=1))
    first = world.add_executor("first")
    other = world.add_executor("other")
    successor = world.add_executor("successor", executor_id="first")
    first.wants_link = False
    world.run(1.0)
    assert successor.link is not None
    assert other.link is first.link is None


class RefusesAll(Rendezvous):
    """Has links for nobody."""

    def __init__(self, config: RendezvousConfig) -> None:
        super().__init__(RendezvousConfig(max_links=1))
        self.executor_opened(1_000_000, "squatter", 0.0)


def test_a_rendezvous_that_refuses_for_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansrelay.testing.world.hubs.Rendezvous", RefusesAll)
    world = made_world()
    with guilty(Promise.REASON, "refuses harness: TOO_MANY_LINKS: 0 links are open"):
        world.add_harness("harness")


def test_a_dead_rendezvous_sends_nothing_of_its_queue() -> None:
    """Its links stay open for a while; a lane that has room again gets nothing from it."""
    world = World(random.Random(1), capacity=700)
    world.add_rendezvous()
    executor = world.add_executor()
    harness = world.add_harness("harness")
    world.run(1.0)
    stream = harness.open_stream()
    world.run(1.0)
    world.stall(executor, 5.0)
    for _ in range(20):
        stream.send(b"x" * 200)
    world.run(1.0)
    assert executor.link is not None
    assert executor.link.down.starved
    (end,) = executor.ends.values()
    world.kill_rendezvous(peers_learn=20.0)
    world.run(19.0)
    came = len(end.received)
    assert 0 < came < 20
    assert not executor.link.down.starved
    world.finish()


def test_faults_of_what_is_not_there_change_nothing() -> None:
    world = made_world()
    harness, executor = reliable(world)
    world.crash(executor)
    world.crash(executor)
    for fault in (world.cut, world.dial_again):
        fault(executor)
    world.hold(executor, 3, 1.0, up=True)
    world.stall(executor, 1.0)
    world.kill_rendezvous()
    world.kill_rendezvous()
    world.replace_rendezvous()
    assert world.faults == 2
    world.restart(executor)
    assert executor.life == 3
    world.finish()
    assert harness.link is None


# -- what may not be left


class KeepsRoutes(Rendezvous):
    """Its books say that a route is left for ever."""

    def stats(self) -> RendezvousStats:
        return replace(super().stats(), routes=1)


class KeepsBytes(Rendezvous):
    """Its books say that a byte is queued for ever."""

    def stats(self) -> RendezvousStats:
        return replace(super().stats(), bytes_queued=1)


@pytest.mark.parametrize("machine", [KeepsRoutes, KeepsBytes])
def test_a_rendezvous_that_keeps_something_is_found(
    machine: type[Rendezvous], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sansrelay.testing.world.hubs.Rendezvous", machine)
    world = made_world()
    reliable(world)
    with guilty(Promise.BOUNDED, "left after the end: RendezvousStats("):
        world.finish()


def test_an_executor_that_keeps_a_stream_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    world = made_world()
    harness, _ = reliable(world)
    world.run(1.0)
    stream = harness.open_stream()
    stream.send(b"hello")
    world.run(1.0)
    monkeypatch.setattr(harness, "close", lambda end, reason: None)
    with guilty(Promise.BOUNDED, "left after the end: harness has 1 streams, 0 bytes"):
        world.finish()
    assert stream.profile is Profile.RELIABLE
