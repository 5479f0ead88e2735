"""The links of a world: what carries frames between a peer and its hub, and fails to.

A `Link` is one WebSocket. Each side has its own belief about whether it is open; while only one of
them believes it, the link is half-open. A `Lane` is one of its directions.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ...connection import Role
from .._link import LinkConditions
from .stage import Stage

__all__ = ["Hub", "Lane", "Link", "LinkPeer", "Spoiled", "Weather"]

Spoiled = Callable[[bytes, bool], None]
"""Told of each frame that a lane loses, damages, repeats or delays beyond its order. The second
argument says that one more copy of it may arrive, or that it may arrive after its link is gone."""


class Weather:
    """How the lanes of one world treat frames at the moment."""

    __slots__ = ("conditions",)

    def __init__(self, conditions: LinkConditions) -> None:
        self.conditions = conditions


class Lane:
    """One direction of a link: in order, after a delay, with at most `capacity` bytes under way."""

    __slots__ = (
        "_blind_until",
        "_capacity",
        "_deliver",
        "_flight",
        "_hold_copies",
        "_hold_left",
        "_hold_seconds",
        "_inject",
        "_latest",
        "_size",
        "_spoiled",
        "_stage",
        "_stalled_until",
        "_waiting",
        "_weather",
        "broken",
        "drained",
        "starved",
        "tap",
    )

    def __init__(
        self,
        stage: Stage,
        weather: Weather,
        spoiled: Spoiled,
        *,
        capacity: int,
        deliver: Callable[[list[bytes]], None],
        drained: Callable[[], None],
    ) -> None:
        self._stage = stage
        self._weather = weather
        self._spoiled = spoiled
        self._capacity = capacity
        self._deliver = deliver
        self.drained = drained
        """Called when there is room again, if `starved` was set."""
        self.starved = False
        self.broken = False
        """What is sent goes nowhere: the link is cut, whoever knows it."""
        self.tap: Callable[[bytes], None] | None = None
        """Told of each frame that is sent."""
        self._flight: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._latest = 0.0
        self._waiting = False
        self._stalled_until = 0.0
        self._blind_until = 0.0
        self._hold_left = 0
        self._hold_seconds = 0.0
        self._hold_copies = False
        self._inject: Callable[[bytes], None] | None = None

    def room(self) -> int:
        """Bytes that the lane takes now; asking for more than there are sets `starved`."""
        room = self._capacity - self._size
        if room <= 0 and not self.broken:
            self.starved = True
            return 0
        return max(room, 1)

    def send(self, frame: bytes) -> None:
        """Put one frame on the lane."""
        stage = self._stage
        now = stage.now
        if self.broken:
            return
        if self.tap is not None:
            self.tap(frame)
        if now < self._blind_until:
            stage.fault("lost in a black hole")
            self._spoiled(frame, False)
            return
        if self._hold_left:
            self._hold_left -= 1
            self._hold(frame, self._hold_seconds)
            if not self._hold_copies:
                return
        conditions = self._weather.conditions
        dice = stage.dice
        if conditions.loss and dice.random() < conditions.loss:
            stage.fault("lost")
            self._spoiled(frame, False)
            return
        arriving = frame
        if conditions.corruption and dice.random() < conditions.corruption:
            stage.fault("damaged")
            self._spoiled(frame, False)
            arriving = _damage(frame, dice.random())
        arrival = now + conditions.delay
        if conditions.reordering and dice.random() < conditions.reordering:
            stage.fault("reordered")
            self._spoiled(frame, False)
            arrival += dice.random() * conditions.scatter
            stage.at(arrival, self._arrive_alone, arriving)
        else:
            arrival = self._latest = max(arrival, self._latest)
            self._flight.append((arrival, arriving))
            self._size += len(arriving)
            self._wait_for(arrival)
        if conditions.duplication and dice.random() < conditions.duplication:
            stage.fault("repeated")
            self._spoiled(frame, True)
            stage.at(arrival + dice.random() * conditions.scatter, self._arrive_alone, arriving)

    # -- faults

    def stall(self, seconds: float) -> None:
        """Nothing arrives for a while; then all of it does."""
        self._stalled_until = max(self._stalled_until, self._stage.now + seconds)

    def black_hole(self, seconds: float) -> None:
        """What is sent vanishes for a while."""
        self._blind_until = max(self._blind_until, self._stage.now + seconds)

    def hold(
        self, frames: int, seconds: float, inject: Callable[[bytes], None], *, copies: bool
    ) -> None:
        """The next frames go through `inject` as well (`copies`), or instead, so much later."""
        self._hold_left = frames
        self._hold_seconds = seconds
        self._hold_copies = copies
        self._inject = inject

    def heal(self) -> None:
        """No stall, no black hole, nothing held any more."""
        self._stalled_until = self._blind_until = self._stage.now
        self._hold_left = 0

    def cut(self, keep: Callable[[bytes], None] | None, seconds: float) -> None:
        """Lose what is under way; with `keep` it turns up there, so much later."""
        self.broken = True
        if self._flight:
            self._stage.fault("lost in a cut", len(self._flight))
        if keep is not None:
            self._inject = keep
            for _, frame in self._flight:
                self._hold(frame, seconds)
        self._flight.clear()
        self._size = 0

    def _hold(self, frame: bytes, seconds: float) -> None:
        assert self._inject is not None
        self._stage.fault("held")
        self._spoiled(frame, True)
        self._stage.after(seconds, self._inject, frame)

    # -- arrivals

    def _wait_for(self, arrival: float) -> None:
        if not self._waiting:
            self._waiting = True
            self._stage.at(arrival, self._arrive)

    def _arrive(self) -> None:
        self._waiting = False
        if self.broken:
            return
        now = self._stage.now
        if now < self._stalled_until:
            self._wait_for(self._stalled_until)
            return
        flight = self._flight
        batch: list[bytes] = []
        while flight and flight[0][0] <= now:
            frame = flight.popleft()[1]
            self._size -= len(frame)
            batch.append(frame)
        if flight:
            self._wait_for(flight[0][0])
        self._deliver(batch)
        if self.starved and self._size < self._capacity and not self.broken:
            self.starved = False
            self.drained()

    def _arrive_alone(self, frame: bytes) -> None:
        if self.broken:
            return
        if self._stage.now < self._stalled_until:
            self._stage.at(self._stalled_until, self._arrive_alone, frame)
        else:
            self._deliver([frame])


def _damage(frame: bytes, luck: float) -> bytes:
    """A frame that is no valid frame any more: cut short, or begun with a field number of 0."""
    cut = int(luck * len(frame))
    return frame[:cut] if cut else b"\x00" + frame[1:]


class LinkPeer(Protocol):
    """The side of a link that dials."""

    name: str
    role: Role

    def receive(self, link: "Link", frames: list[bytes]) -> None:
        """Frames have arrived."""
        ...

    def lane_drained(self) -> None:
        """The link takes frames again."""
        ...

    def link_lost(self, link: "Link") -> None:
        """The link is known to be gone."""
        ...


class Hub(Protocol):
    """The side of a link that is dialled: a rendezvous, or a wire to the other peer."""

    name: str

    def receive(self, link: "Link", frames: list[bytes]) -> None:
        """Frames have arrived."""
        ...

    def lane_drained(self, link: "Link") -> None:
        """The link takes frames again."""
        ...

    def link_lost(self, link: "Link") -> None:
        """The link is known to be gone."""
        ...


class Link:
    """One WebSocket between a peer and a hub."""

    __slots__ = ("down", "hub", "hub_open", "number", "peer", "peer_open", "up")

    def __init__(
        self,
        stage: Stage,
        weather: tuple[Weather, Weather],
        spoiled: Spoiled,
        number: int,
        peer: LinkPeer,
        hub: Hub,
        *,
        capacity: int,
    ) -> None:
        up, down = weather
        self.number = number
        self.peer = peer
        self.hub = hub
        self.peer_open = True
        """The peer believes the link to be open."""
        self.hub_open = True
        """The hub believes the link to be open."""
        self.up = Lane(
            stage,
            up,
            spoiled,
            capacity=capacity,
            deliver=self.arrived_at_hub,
            drained=peer.lane_drained,
        )
        """From the peer to the hub."""
        self.down = Lane(
            stage,
            down,
            spoiled,
            capacity=capacity,
            deliver=self.arrived_at_peer,
            drained=lambda: hub.lane_drained(self),
        )
        """From the hub to the peer."""

    @property
    def whole(self) -> bool:
        """Both sides believe it to be open, and it is."""
        return self.peer_open and self.hub_open and not self.up.broken

    def arrived_at_hub(self, frames: list[bytes]) -> None:
        """Hand frames to the hub, if it still has this link."""
        if self.hub_open:
            self.hub.receive(self, frames)

    def arrived_at_peer(self, frames: list[bytes]) -> None:
        """Hand frames to the peer, if it still has this link."""
        if self.peer_open:
            self.peer.receive(self, frames)

    def tell_peer(self) -> None:
        """The peer learns that the link is gone."""
        if self.peer_open:
            self.peer_open = False
            self.peer.link_lost(self)

    def tell_hub(self) -> None:
        """The hub learns that the link is gone."""
        if self.hub_open:
            self.hub_open = False
            self.hub.link_lost(self)
