"""Whom a fault strikes, and for how long: what all kinds of fault draw alike."""

from typing import Protocol

from ...connection import Role
from .dice import Dice
from .draws import Limits
from .ends import StreamEnd
from .peers import Peer
from .strangers import Stranger
from .workload import Workload
from .world import World

__all__ = ["Cast", "Victims"]


class Cast(Protocol):
    """Who is in a schedule."""

    world: World
    workload: Workload
    dice: Dice
    limits: Limits
    rendezvous: list[str]
    may_turn_basic: bool
    over: bool

    def add_executor(self, executor_id: str, *, basic: bool) -> Peer:
        """One more process under an executor id."""
        ...


class Victims:
    """The cast, and draws from it."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        self.world = cast.world
        self.dice = cast.dice

    def soon(self) -> float:
        """Seconds until a side learns of something: none, or a few."""
        return 0.0 if self.dice.chance(0.5) else self.dice.scaled(0.001, 2.0)

    def basic(self, chance: float) -> bool:
        """Whether the next executor is a basic one."""
        return self.cast.may_turn_basic and self.dice.chance(chance)

    def directions(self) -> tuple[bool, bool]:
        """Up and down, or one of them."""
        return self.dice.pick([(True, True), (True, False), (False, True)])

    def peers(self) -> list[Peer]:
        """All that take part in streams."""
        return [
            peer for peer in self.world.peers if not peer.retired and not isinstance(peer, Stranger)
        ]

    def peer(self) -> Peer:
        """One of them."""
        return self.dice.pick(self.peers())

    def of_role(self, role: Role) -> list[Peer]:
        """All of one kind."""
        return [peer for peer in self.peers() if peer.role is role]

    def executor(self) -> Peer:
        """One executor; one that has stopped for good if there is no other at the moment."""
        stopped = [peer for peer in self.world.peers if peer.role is Role.EXECUTOR]
        return self.dice.pick(self.of_role(Role.EXECUTOR) or stopped)

    def ends(self) -> list[StreamEnd]:
        """All ends of streams that live."""
        return [end for peer in self.world.peers for end in peer.ends.values() if end.live]

    def some_talk(self) -> None:
        """Every harness says something on its streams, so that a fault strikes amid traffic."""
        for peer in self.of_role(Role.HARNESS):
            for end in list(peer.ends.values()):
                for _ in range(self.dice.whole(0, 3)):
                    self.cast.workload.say(end)
