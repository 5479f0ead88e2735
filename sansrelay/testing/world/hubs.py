"""What links lead to: a `Rendezvous`, or a wire from one peer to the other."""

from typing import Protocol

from ...connection import Role
from ...rendezvous import (
    LinkSuperseded,
    Rendezvous,
    RendezvousConfig,
    RouteEnded,
)
from .lanes import Link
from .oracle import Oracle
from .passage import Dialler, Passage
from .records import HubFacts
from .stage import Stage

__all__ = ["HubProcess", "RendezvousProcess", "Wire"]

_TAKE = 64 * 1024
"""Bytes asked of a rendezvous at a time, at most."""


class HubProcess(Protocol):
    """A hub that peers can be attached to."""

    name: str
    alive: bool

    def accept(self, link: Link, peer: Dialler) -> bool:
        """A peer dials; whether it is taken."""
        ...


class RendezvousProcess:
    """One life of a rendezvous: a `Rendezvous`, driven as its documentation says."""

    def __init__(self, stage: Stage, oracle: Oracle, name: str, config: RendezvousConfig) -> None:
        self.stage = stage
        self.oracle = oracle
        self.name = name
        self.config = config
        self.alive = True
        self.machine = Rendezvous(config)
        self.links: dict[int, Link] = {}
        self.facts = HubFacts()
        self.passage = Passage(name, oracle)
        self.diallers: dict[int, Dialler] = {}
        """Who has the links that are open and not superseded."""
        self._executors: dict[str, Link] = {}
        self._starved: dict[int, None] = {}
        self._armed: float | None = None

    def kill(self) -> list[Link]:
        """Die, with all that is queued. Returns the links; their peers don't know yet."""
        self.alive = False
        self.stage.note(self.name, "is killed")
        links = list(self.links.values())
        self.links.clear()
        self._starved.clear()
        for link in links:
            link.hub_open = False
        return links

    # -- links

    def accept(self, link: Link, peer: Dialler) -> bool:
        """Take a new link, unless the machine refuses it."""
        now = self.stage.now
        if peer.role is Role.EXECUTOR:
            refused = self.machine.executor_opened(link.number, peer.executor_id, now)
            if refused is None:
                if peer.executor_id in self._executors:
                    self.facts.executor_lost.setdefault(peer.executor_id, []).append(now)
                self._executors[peer.executor_id] = link
                self.facts.attached_at[peer.executor_id] = now
        else:
            refused = self.machine.harness_opened(
                link.number, peer.executor_id, peer.principal, now
            )
        if refused is not None:
            self.stage.note(self.name, f"refuses {peer.name}: {refused.name}")
            self.oracle.link_refused(self, peer, refused)
            return False
        self.links[link.number] = link
        self.diallers[link.number] = peer
        self._hear()
        self.passage.opened(link, peer)
        self.settle()
        return True

    def link_lost(self, link: Link) -> None:
        """A link is known to be gone."""
        del self.links[link.number]
        self.diallers.pop(link.number, None)
        self._starved.pop(link.number, None)
        now = self.stage.now
        self.stage.note(self.name, f"link {link.number} of {link.peer.name} is gone")
        self.facts.harness_lost[link.peer.name] = now
        for executor_id, present in list(self._executors.items()):
            if present is link:
                del self._executors[executor_id]
                del self.facts.attached_at[executor_id]
                self.facts.executor_lost.setdefault(executor_id, []).append(now)
        self.machine.link_closed(link.number, now)
        self._hear()
        self.passage.closed(link)
        self.settle()

    # -- frames

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Frames have arrived on a link."""
        now = self.stage.now
        for frame in frames:
            if self.passage.arrived(link, frame):
                self.oracle.arrived_at_hub(self, link, frame)
            self.machine.receive_frame(link.number, frame, now)
            self.oracle.taken_by_hub(self)
            self._hear()
        self.settle()

    def lane_drained(self, link: Link) -> None:
        """A link takes frames again."""
        if self._starved.pop(link.number, self) is None:
            self._send(link)
            self.settle()

    def settle(self) -> None:
        """Drain the machine: events, frames, next timeout."""
        machine = self.machine
        self._hear()
        for number in machine.links_with_output():
            link = self.links.get(number)
            if link is not None and number not in self._starved:
                self._send(link)
        self._arm()
        self.oracle.hub_settled(self)

    def _hear(self) -> None:
        while (event := self.machine.next_event()) is not None:
            if isinstance(event, LinkSuperseded):
                self._superseded(self.links[event.link])
            elif isinstance(event, RouteEnded):
                self.passage.route_ended(event)
                self.oracle.route_ended(self, event)
            else:
                self.passage.route_opened(event)
                self.oracle.route_opened(self, event)

    def _send(self, link: Link) -> None:
        while room := link.down.room():
            frames = self.machine.frames_to_send(link.number, min(room, _TAKE))
            if not frames:
                return
            for frame in frames:
                self.passage.left(link, frame)
                self.oracle.left_hub(self, link, frame)
                link.down.send(frame)
        self._starved[link.number] = None

    def _superseded(self, link: Link) -> None:
        # The owner of the machine closes the link, which takes a while: until then frames come in.
        # Its peer learns of it a moment later.
        del self.diallers[link.number]
        link.down.cut(None, 0.0)
        dice = self.stage.dice
        self.stage.after(dice.scaled(0.01, 1.0) if dice.chance(0.5) else 0.0, self._close, link)

    def _close(self, link: Link) -> None:
        link.up.broken = True
        link.tell_hub()
        self.stage.after(0.01, link.tell_peer)

    # -- time

    def _arm(self) -> None:
        due = self.machine.next_timeout()
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = due
            self.stage.at(due, self._on_timer, due)

    def _on_timer(self, due_then: float) -> None:
        if not self.alive or due_then != self._armed:
            return  # an earlier one has taken its place
        self._armed = None
        now = self.stage.now
        due = self.machine.next_timeout()
        if due is not None and due <= now:
            self.machine.handle_timeout(now)
            self.settle()
            self.oracle.timer_handled(self.name, self.machine.next_timeout())
        else:
            self._arm()


class Wire:
    """Joins one harness and one executor: what comes from one goes to the other, if it is there.

    It keeps nothing and says nothing: when one side loses its link, the other is not told. Its
    delays and faults are those of the lanes that lead away from it.
    """

    def __init__(self, stage: Stage, oracle: Oracle, name: str) -> None:
        self.stage = stage
        self.oracle = oracle
        self.name = name
        self.alive = True
        self._links: dict[Role, Link] = {}

    def accept(self, link: Link, peer: Dialler) -> bool:
        """Take a new link; an older one of the same role is forgotten."""
        self.oracle.told_nobody()
        self._links[peer.role] = link
        return True

    def link_lost(self, link: Link) -> None:
        """A link is gone, and nobody tells the other side."""
        self.oracle.told_nobody()
        for role, present in list(self._links.items()):
            if present is link:
                del self._links[role]

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Pass frames on."""
        for role, present in self._links.items():
            if present is link:
                to = self._links.get(_OTHER[role])
                for frame in frames:
                    if to is None:
                        self.stage.fault("lost without a link")
                        self.oracle.spoiled(frame, False)
                    else:
                        to.down.send(frame)

    def lane_drained(self, link: Link) -> None:
        """A wire has no queue of its own: whatever comes is under way at once."""


_OTHER = {Role.HARNESS: Role.EXECUTOR, Role.EXECUTOR: Role.HARNESS}
