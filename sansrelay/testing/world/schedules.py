"""Random schedules: a world, its applications, and its faults, all drawn from one source.

First anything may break; then everything heals, and what was promised has to come true within a
bound of simulated time.
"""

from enum import Enum

from .._link import LinkConditions
from .codex import BasicHarness
from .dice import Dice, RandomSource
from .draws import draw_conditions, draw_limits, draw_rendezvous
from .faults import Faults
from .peers import Harness, Peer, RelayPeer
from .workload import Workload
from .world import World

__all__ = ["Schedule", "ScheduleKind"]

_QUIET_CHANCE = 0.2
"""Chance that a schedule ends with a while in which next to nothing may be sent."""
_QUIET = 60.0
"""Seconds of it."""


class ScheduleKind(Enum):
    """What is simulated."""

    PAIR = "pair"
    """One harness and one executor, joined by a wire."""
    WORLD = "world"
    """Harnesses and executors, joined by rendezvous."""


class Schedule:
    """One drawn schedule. `run` raises `PromiseBroken`; `world` holds what happened."""

    def __init__(self, kind: ScheduleKind, source: RandomSource, *, trace: bool = False) -> None:
        self.kind = kind
        self.dice = dice = Dice(source)
        self.limits = limits = draw_limits(dice)
        self.world = World(
            source,
            conditions=draw_conditions(dice),
            websockets=kind is ScheduleKind.WORLD and dice.chance(0.1),
            redial=dice.pick([(0.01, 0.1), (0.1, 2.0), (1.0, 15.0)]),
            capacity=dice.pick([700, 4096, 1 << 20]),
            trace=trace,
        )
        self.world.listen()
        self.workload = Workload(self.world, dice, largest=limits.harness.max_message_size)
        self.rendezvous: list[str] = []
        self.over = False
        """Whether all faults have ended."""
        self.may_turn_basic = False
        """Whether a basic executor may take the place of another."""
        self._executors = 0
        self._few_links = False
        """Whether a principal may have one link alone: each harness is a principal of its own."""
        if kind is ScheduleKind.PAIR:
            self._build_pair()
        else:
            self._build_world()
        self._faults = Faults(self)

    # -- who is in it

    def _build_pair(self) -> None:
        self.world.add_wire()
        luck = self.dice.random()
        self.add_executor("executor", basic=luck < 0.1)
        self._add_harness("harness", "executor", basic=0.1 <= luck < 0.2)
        if luck < 0.2:
            self._clear_up()

    def _build_world(self) -> None:
        dice = self.dice
        some_basic = dice.chance(0.25)
        self.may_turn_basic = some_basic or dice.chance(0.5)
        for number in range(dice.pick([1, 1, 2])):
            name = f"rendezvous{number or ''}"
            config = draw_rendezvous(dice, basic=self.may_turn_basic)
            self._few_links |= config.max_links_per_principal == 1
            self.world.add_rendezvous(name, config=config)
            self.rendezvous.append(name)
        ids = [f"executor{number}" for number in range(dice.pick([1, 1, 2]))]
        for executor_id in ids:
            self.add_executor(executor_id, basic=some_basic and dice.chance(0.5))
        for number in range(dice.whole(1, 4)):
            basic = some_basic and dice.chance(0.3)
            self._add_harness(f"harness{number}", dice.pick(ids), basic=basic)
        if some_basic:
            self._clear_up()

    def _clear_up(self) -> None:
        """Half of the schedules with basic peers have links that lose nothing while they last.

        What the network does to a basic peer, nobody can mend; without it more can be promised.
        """
        if self.dice.chance(0.5):
            delay = self.world.conditions.delay
            self.world.conditions = LinkConditions(delay=delay)

    def add_executor(self, executor_id: str, *, basic: bool) -> Peer:
        """One more process under an executor id."""
        self._executors += 1
        name = executor_id if self._executors == 1 else f"{executor_id}.{self._executors}"
        if basic:
            return self.world.add_basic_executor(
                name, executor_id=executor_id, on_message=self.workload.answer_basic
            )
        executor = self.world.add_executor(
            name,
            executor_id=executor_id,
            config=self.limits.executor,
            on_message=self.workload.run_message,
        )
        self.workload.early_data = self.limits.executor.early_data
        self._vary(executor)
        return executor

    def _add_harness(self, name: str, executor: str, *, basic: bool) -> None:
        if basic:
            self.world.add_basic_harness(name, executor=executor)
        else:
            harness = self.world.add_harness(
                name,
                executor=executor,
                principal=self.dice.pick([name, name, name if self._few_links else "shared"]),
                config=self.limits.harness,
            )
            self._vary(harness)

    def _vary(self, peer: RelayPeer) -> None:
        dice = self.dice
        peer.read_delay = dice.pick([0.0, 0.0, dice.scaled(0.001, 2.0)])
        peer.timer_lag = dice.pick([0.0, 0.0, dice.scaled(0.001, 0.1)])

    # -- what happens

    def run(self) -> None:
        """Run it to its end."""
        dice = self.dice
        world = self.world
        length = dice.scaled(1.0, dice.pick([10.0, 60.0, 1000.0]))
        self._plan(length)
        world.run(length)
        self._faults.end()
        for peer in world.peers:
            world.move(peer, self.rendezvous[0] if self.rendezvous else "rendezvous")
            if self.rendezvous[1:]:
                world.cut(peer)
        world.heal()
        self.sessions(1)
        world.run(max(1.0, self.workload.busy_until - world.now))
        world.finish(quiet=_QUIET if dice.chance(_QUIET_CHANCE) else 0.0)
        self.workload.check_effects()

    def _plan(self, length: float) -> None:
        dice = self.dice
        world = self.world
        self.sessions(2)
        most = 4 if self.kind is ScheduleKind.PAIR else 8
        for _ in range(dice.whole(0, most)):
            world.at(dice.random() * length, self.sessions, 1)
        enabled = [kind for kind in self._faults.kinds() if dice.chance(0.4)]
        if enabled:
            for _ in range(dice.whole(0, 3 * most)):
                world.at(dice.random() * length, dice.pick(enabled))

    def sessions(self, most: int) -> None:
        """Each harness opens some streams and sends on them."""
        for peer in self.world.peers:
            if isinstance(peer, Harness | BasicHarness):
                for _ in range(self.dice.whole(1, most)):
                    self.workload.session(peer)
