"""The faults that a schedule draws from."""

from collections.abc import Callable

from ...connection import Role
from .codex import BasicHarness
from .compounds import Compounds
from .draws import draw_conditions
from .impostors import Impostors
from .peers import Harness, Peer
from .strangers import Stranger
from .victims import Cast, Victims

__all__ = ["Faults"]


class Faults:
    """Each public method is one kind of fault, on a victim that is drawn."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._world = cast.world
        self._dice = cast.dice
        self._victims = Victims(cast)
        self._compounds = Compounds(self._victims)
        self._impostors = Impostors(self._victims)

    def kinds(self) -> list[Callable[[], None]]:
        """All kinds that can happen in this world."""
        common = [
            self.cut,
            self.half_open,
            self.cut_all,
            self.second_link,
            self.stall,
            self.black_hole,
            self.hold,
            self.crash,
            self.stop_reading,
            self.end_stream,
            self.flood,
            self.change_of_weather,
            *self._compounds.kinds(),
            *self._impostors.kinds(),
        ]
        if not self._cast.rendezvous:
            return common
        return [
            *common,
            self.kill_rendezvous,
            self.replace_rendezvous,
            self.move,
            self.twin,
            self.change_executor,
        ]

    def end(self) -> None:
        """No more faults; under each executor id one process is left, the last."""
        self._cast.over = True
        last: dict[str, Peer] = {}
        for peer in list(self._world.peers):
            peer.wants_link = True
            peer.dial()
            if isinstance(peer, Stranger):
                self._world.retire(peer)
            elif peer.role is Role.EXECUTOR:
                earlier = last.get(peer.executor_id, peer)
                if peer.retired:
                    peer = earlier
                elif earlier is not peer:
                    self._world.retire(earlier)
                last[peer.executor_id] = peer
        for executor_id, peer in last.items():
            if peer.retired:
                self._cast.add_executor(executor_id, basic=False)

    # -- links

    def cut(self) -> None:
        """A link breaks, and both sides learn of it soon. Frames on it may turn up later."""
        late = self._dice.scaled(0.01, 200.0) if self._dice.chance(0.3) else None
        self._world.cut(
            self._victims.peer(),
            peer_learns=self._victims.soon(),
            hub_learns=self._victims.soon(),
            late=late,
        )

    def half_open(self) -> None:
        """A link breaks, and one side does not learn of it for long."""
        self._world.stage.fault("half-open")
        learns = [self._victims.soon(), self._dice.scaled(1.0, 120.0)]
        if self._dice.chance(0.5):
            learns.reverse()
        self._world.cut(self._victims.peer(), peer_learns=learns[0], hub_learns=learns[1])

    def cut_all(self) -> None:
        """All links break at once."""
        for peer in self._world.peers:
            self._world.cut(peer, peer_learns=self._victims.soon(), hub_learns=self._victims.soon())

    def second_link(self) -> None:
        """A peer dials while its hub still has its old link."""
        self._world.dial_again(self._victims.peer(), hub_learns=self._dice.scaled(0.01, 60.0))

    def stall(self) -> None:
        """A link stands still."""
        up, down = self._victims.directions()
        self._world.stall(self._victims.peer(), self._dice.scaled(0.05, 30.0), up=up, down=down)

    def black_hole(self) -> None:
        """A link swallows everything."""
        up, down = self._victims.directions()
        self._world.black_hole(
            self._victims.peer(), self._dice.scaled(2.0, 600.0), up=up, down=down
        )

    def hold(self) -> None:
        """Some frames, or copies of them, arrive much later."""
        self._world.hold(
            self._victims.peer(),
            self._dice.whole(1, 10),
            self._dice.scaled(0.05, 200.0),
            up=self._dice.chance(0.5),
            copies=self._dice.chance(0.5),
        )

    def change_of_weather(self) -> None:
        """The network treats frames differently from now on."""
        self._world.stage.fault("change of weather")
        self._world.conditions = draw_conditions(self._dice)

    # -- processes

    def crash(self) -> None:
        """A process dies and comes back without its state."""
        peer = self._victims.peer()
        self._world.crash(peer, hub_learns=self._dice.pick([0.0, self._dice.scaled(0.01, 60.0)]))
        self._world.at(self._dice.scaled(0.01, 60.0), self._world.restart, peer)

    def kill_rendezvous(self) -> None:
        """A rendezvous dies and another takes its place, knowing nothing."""
        name = self._dice.pick(self._cast.rendezvous)
        self._world.kill_rendezvous(name, peers_learn=self._victims.soon())
        self._world.at(self._dice.scaled(0.01, 30.0), self._world.restart_rendezvous, name)

    def replace_rendezvous(self) -> None:
        """A second rendezvous takes over an address while the first still has its links."""
        self._world.replace_rendezvous(self._dice.pick(self._cast.rendezvous))

    def move(self) -> None:
        """A peer is told to use another rendezvous; sooner or later all are back at one."""
        names = self._cast.rendezvous
        self._world.stage.fault("peer moved")
        for peer in self._world.peers if self._dice.chance(0.5) else [self._victims.peer()]:
            self._world.move(peer, self._dice.pick(names))
        self._world.cut(self._victims.peer())

    def twin(self) -> None:
        """A second process under the same executor id, until one of them stops for good."""
        victim = self._victims.executor()
        twin = self._cast.add_executor(victim.executor_id, basic=self._victims.basic(0.2))
        self._world.stage.fault("twin executor")
        self._world.at(self._dice.scaled(0.1, 60.0), self._retire, self._dice.pick([victim, twin]))

    def change_executor(self) -> None:
        """An executor stops for good, and one of another kind takes its place."""
        victim = self._victims.executor()
        self._world.retire(victim)
        self._world.stage.fault("executor replaced")
        self._cast.add_executor(victim.executor_id, basic=self._victims.basic(0.5))

    def _retire(self, peer: Peer) -> None:
        if not self._cast.over:
            self._world.retire(peer)

    # -- applications

    def stop_reading(self) -> None:
        """An application stops reading for a while, on one stream or on all."""
        ends = self._victims.ends()
        if ends and self._dice.chance(0.5):
            ends = [self._dice.pick(ends)]
        if ends:
            self._world.stage.fault("reader stopped")
        for end in ends:
            end.stop_reading()
            self._world.at(self._dice.scaled(0.05, 600.0), end.read_on)

    def end_stream(self) -> None:
        """An application closes or resets a stream."""
        ends = self._victims.ends()
        if ends:
            self._world.stage.fault("stream ended")
            end = self._dice.pick(ends)
            if self._dice.chance(0.5):
                end.close()
            else:
                end.reset()

    def flood(self) -> None:
        """A harness opens many streams and gives them up."""
        harnesses = [peer for peer in self._world.peers if isinstance(peer, Harness | BasicHarness)]
        self._world.stage.fault("flood")
        self._cast.workload.flood(self._dice.pick(harnesses), self._dice.whole(3, 25))
