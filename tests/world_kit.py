"""A court for the simulation's judges: peers and rendezvous that do nothing, and a history by hand.

A test writes down what is said to have happened, and asks the judge.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sansrelay.codec import encode_frame
from sansrelay.config import RelayConfig
from sansrelay.connection import RelayConnection, Role
from sansrelay.events import EndedBy, StreamReset
from sansrelay.frames import Frame
from sansrelay.rendezvous import Rendezvous, RendezvousConfig
from sansrelay.states import Profile
from sansrelay.testing import LinkConditions, Promise, PromiseBroken, StreamEnd
from sansrelay.testing.world.dice import Dice
from sansrelay.testing.world.lanes import Link, Weather
from sansrelay.testing.world.oracle import Oracle
from sansrelay.testing.world.passage import Dialler
from sansrelay.testing.world.records import HubFacts, StreamRecord
from sansrelay.testing.world.stage import Stage

__all__ = ["Case", "DumbHub", "DumbPeer", "Machine", "guilty"]


@contextmanager
def guilty(promise: Promise, detail: str) -> Iterator[None]:
    """What is done within breaks a promise; `detail` is a part of what is said of it."""
    with pytest.raises(PromiseBroken) as found:
        yield
    assert found.value.promise is promise
    assert detail in found.value.detail


class Machine(RelayConnection):
    """A connection that takes every peer for what a test says."""

    def __init__(self, role: Role = Role.HARNESS, taken_for: Profile | None = None) -> None:
        super().__init__(role, incarnation=7)
        self.taken_for = taken_for

    def profile(self, stream_id: str) -> Profile | None:
        return self.taken_for


class DumbPeer:
    """A peer that does nothing by itself."""

    def __init__(
        self,
        role: Role,
        name: str,
        *,
        config: RelayConfig | None = None,
        machine: RelayConnection | None = None,
        executor_id: str = "executor",
    ) -> None:
        self.role = role
        self.name = name
        self.config = config or RelayConfig()
        self.machine = machine
        self.executor_id = executor_id
        self.principal = name
        self.life = 1
        self.alive = True
        self.ends: dict[str, StreamEnd] = {}
        self.link: Link | None = None
        self.handed: list[bytes] = []

    def push(self, end: StreamEnd) -> None:
        """What is sent stays in the outbox."""

    def take(self, end: StreamEnd) -> None:
        """Nothing has come."""

    def close(self, end: StreamEnd, reason: str) -> None:
        """Nobody is told."""

    def reset(self, end: StreamEnd, reason: str) -> None:
        """Nobody is told."""

    def receive(self, link: Link, frames: list[bytes]) -> None:
        self.handed += frames

    def lane_drained(self) -> None:
        """There is nothing to send."""

    def link_lost(self, link: Link) -> None:
        self.link = None

    def dies(self) -> None:
        """Its process ends."""
        self.life += 1
        self.alive = False


class DumbHub:
    """A rendezvous whose machine is told of nothing, unless a test does so."""

    def __init__(self, config: RendezvousConfig | None = None) -> None:
        self.name = "rendezvous"
        self.config = config or RendezvousConfig()
        self.machine = Rendezvous(self.config)
        self.facts = HubFacts()
        self.diallers: dict[int, Dialler] = {}

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Frames go nowhere."""

    def lane_drained(self, link: Link) -> None:
        """There is nothing to send."""

    def link_lost(self, link: Link) -> None:
        """Links are of no interest."""


class Case:
    """An oracle; a harness and an executor that are new to it; the harness has opened a stream."""

    def __init__(
        self, *, harness: RelayConfig | None = None, executor: RelayConfig | None = None
    ) -> None:
        self.stage = Stage(Dice(random.Random(1)), trace=True)
        self.oracle = Oracle(self.stage)
        self.hub = DumbHub()
        self.harness = DumbPeer(Role.HARNESS, "harness", config=harness)
        self.executor = DumbPeer(Role.EXECUTOR, "executor", config=executor)
        for peer in (self.harness, self.executor):
            self.oracle.life_began(peer)
        self.opener = self.open()
        self.stream_id = self.opener.stream_id

    @property
    def record(self) -> StreamRecord:
        """What the oracle knows of the first stream."""
        return self.oracle.streams[self.stream_id]

    def open(self, profile: Profile | None = None) -> StreamEnd:
        """The harness opens a stream; `profile` is what it takes the executor for."""
        stream_id = self.oracle.fresh_stream_id(self.harness)
        end = StreamEnd(self.harness, stream_id, self.stage.now)
        end.profile = profile
        self.harness.ends[stream_id] = end
        self.oracle.opened(self.harness, end)
        return end

    def accept(
        self, profile: Profile = Profile.RELIABLE, peer: DumbPeer | None = None
    ) -> StreamEnd:
        """The executor, or another, takes the first stream, and both ends know of each other."""
        peer = peer or self.executor
        end = StreamEnd(peer, self.stream_id, self.stage.now)
        end.profile = profile
        self.opener.profile = self.opener.profile or profile
        peer.ends[self.stream_id] = end
        self.oracle.opened(peer, end)
        return end

    def another_executor(self, name: str = "successor") -> DumbPeer:
        """One more process under the same executor id begins."""
        peer = DumbPeer(Role.EXECUTOR, name)
        self.oracle.life_began(peer)
        return peer

    def at(self, now: float) -> None:
        """Let the time be `now`."""
        while self.stage.step(now):
            pass

    def link(self, peer: DumbPeer) -> Link:
        """A link of a peer to the hub, on which nothing is sent yet."""
        weather = Weather(LinkConditions())
        peer.link = Link(
            self.stage,
            (weather, weather),
            self.oracle.spoiled,
            len(self.stage.trace or ()) + 1,
            peer,
            self.hub,
            capacity=1000,
        )
        return peer.link

    def emit(self, peer: DumbPeer, frame: Frame) -> None:
        """A peer lets a frame out."""
        self.oracle.emitted(peer, encode_frame(frame))

    def arrive(self, peer: DumbPeer, frame: Frame) -> None:
        """A peer is handed a frame."""
        self.oracle.arrived(peer, encode_frame(frame))

    def end(
        self,
        end: StreamEnd,
        reason: str,
        by: EndedBy = EndedBy.LOCAL,
        *,
        unknown: range = range(0),
        never_sent: range = range(0),
    ) -> None:
        """A stream ends at one end; nobody judges it."""
        end.ended = StreamReset(
            stream_id=end.stream_id, reason=reason, by=by, unknown=unknown, never_sent=never_sent
        )
        end.ended_at = self.stage.now
