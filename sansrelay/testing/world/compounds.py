"""Faults that are made of several, in an order and at a pace that are drawn."""

from collections.abc import Callable
from functools import partial

from ...connection import Role
from .codex import BasicHarness
from .peers import Harness, Peer
from .victims import Victims

__all__ = ["Compounds"]


class Compounds:
    """Each kind is one public method."""

    def __init__(self, victims: Victims) -> None:
        self._victims = victims
        self._cast = victims.cast
        self._world = victims.world
        self._dice = victims.dice

    def kinds(self) -> list[Callable[[], None]]:
        """All kinds that can happen in this world."""
        common = [self.absence, self.old_link_speaks, self.cut_while_opening]
        if not self._cast.rendezvous:
            return common
        return [*common, self.take_over, self.take_over_with_queue]

    def absence(self) -> None:
        """A peer keeps its state, but has no link for longer than others may wait for it."""
        peer = self._victims.peer()
        if peer.wants_link:
            self._world.stage.fault("absence")
            peer.wants_link = False
            self._world.cut(peer, peer_learns=self._victims.soon(), hub_learns=self._victims.soon())
            self._world.at(self._dice.scaled(1.0, 700.0), self._return, peer)

    def _return(self, peer: Peer) -> None:
        if self._cast.over:
            return
        peer.wants_link = True
        peer.dial()

    def cut_while_opening(self) -> None:
        """Streams are opened, and a link breaks before their peer is known."""
        harness = self._dice.pick(self._victims.of_role(Role.HARNESS))
        assert isinstance(harness, Harness | BasicHarness)
        self._world.stage.fault("cut while opening")
        for _ in range(self._dice.whole(1, 3)):
            self._cast.workload.session(harness)
        victim = harness if self._dice.chance(0.7) else self._victims.executor()
        late = self._dice.scaled(0.01, 10.0) if self._dice.chance(0.5) else None
        self._world.at(
            self._dice.scaled(0.0001, 0.5),
            partial(self._world.cut, victim, hub_learns=self._victims.soon(), late=late),
        )

    def old_link_speaks(self) -> None:
        """What a peer sent on its old link arrives when it has sent on its new one already."""
        victims = self._victims
        peer = victims.peer()
        self._world.stage.fault("old link speaks")
        victims.some_talk()
        late = self._dice.scaled(0.01, 20.0)
        self._world.stall(peer, late, down=False)
        self._world.dial_again(peer, hub_learns=late + self._dice.scaled(0.01, 20.0))
        for _ in range(self._dice.whole(0, 3)):
            self._world.at(late * self._dice.between(0.1, 1.5), victims.some_talk)

    def take_over(self) -> None:
        """Amid traffic an executor id passes to another process, often a basic one, while links of
        its harnesses break and the rendezvous may be killed; in any order."""
        dice = self._dice
        victims = self._victims
        world = self._world
        victim = victims.executor()
        world.stage.fault("executor taken over")
        victims.some_talk()
        steps: list[Callable[[], None]] = [
            partial(self._appear, victim.executor_id),
            partial(self._leave, victim),
        ]
        if dice.chance(0.4):
            steps.append(partial(self._lose_rendezvous, dice.pick(self._cast.rendezvous)))
        steps += [
            partial(world.cut, harness, hub_learns=victims.soon())
            for harness in victims.of_role(Role.HARNESS)
            if dice.chance(0.5)
        ]
        if dice.chance(0.5):
            steps.append(victims.some_talk)
        self._in_any_order(steps)

    def take_over_with_queue(self) -> None:
        """A rendezvous has frames for an executor that does not read, when another takes over."""
        victims = self._victims
        victim = victims.executor()
        self._world.stage.fault("executor taken over with a queue")
        self._world.stall(victim, 60.0, up=False)
        for _ in range(self._dice.whole(1, 5)):
            victims.some_talk()
        self._world.at(self._dice.scaled(0.01, 5.0), self._appear, victim.executor_id)
        self._world.at(self._dice.scaled(0.1, 20.0), self._leave, victim)

    def _in_any_order(self, steps: list[Callable[[], None]]) -> None:
        dice = self._dice
        at = 0.0
        while steps:
            self._world.at(at, self._unless_over, steps.pop(dice.whole(0, len(steps) - 1)))
            at += 0.0 if dice.chance(0.3) else dice.scaled(0.001, 5.0)

    def _unless_over(self, step: Callable[[], None]) -> None:
        if not self._cast.over:
            step()

    def _appear(self, executor_id: str) -> None:
        if not self._cast.over:
            self._cast.add_executor(executor_id, basic=self._victims.basic(0.8))

    def _leave(self, peer: Peer) -> None:
        if not self._cast.over:
            self._world.retire(peer)

    def _lose_rendezvous(self, name: str) -> None:
        self._world.kill_rendezvous(name, peers_learn=self._victims.soon())
        self._world.at(self._dice.scaled(0.01, 10.0), self._world.restart_rendezvous, name)
