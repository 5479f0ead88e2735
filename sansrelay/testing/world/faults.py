"""The faults that a schedule draws from."""

from collections.abc import Callable
from typing import Protocol

from ...codec import encode_frame
from ...frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from .codex import BasicExecutor, BasicHarness
from .dice import Dice
from .draws import Limits, draw_conditions
from .ends import StreamEnd
from .peers import Harness, Peer
from .workload import Workload
from .world import World

__all__ = ["Faults"]


class Cast(Protocol):
    """Who is in a schedule."""

    world: World
    workload: Workload
    dice: Dice
    limits: Limits
    rendezvous: list[str]
    may_turn_basic: bool

    def add_executor(self, executor_id: str, *, basic: bool) -> Peer:
        """One more process under an executor id."""
        ...


class Faults:
    """Each public method is one kind of fault, on a victim that is drawn."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._world = cast.world
        self._dice = cast.dice
        self._over = False

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
            self.noise,
            self.change_of_weather,
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
        """No more faults; of several processes under one executor id only the last stays."""
        self._over = True
        last: dict[str, Peer] = {}
        for peer in self._cast.world.peers:
            if peer.role.value == "executor" and not peer.retired:
                earlier = last.get(peer.executor_id)
                if earlier is not None:
                    self._world.retire(earlier)
                last[peer.executor_id] = peer

    # -- links

    def cut(self) -> None:
        """A link breaks, and both sides learn of it soon. Frames on it may turn up later."""
        late = self._dice.scaled(0.01, 200.0) if self._dice.chance(0.3) else None
        self._world.cut(self._peer(), peer_learns=self._soon(), hub_learns=self._soon(), late=late)

    def half_open(self) -> None:
        """A link breaks, and one side does not learn of it for long."""
        learns = [self._soon(), self._dice.scaled(1.0, 120.0)]
        if self._dice.chance(0.5):
            learns.reverse()
        self._world.cut(self._peer(), peer_learns=learns[0], hub_learns=learns[1])

    def cut_all(self) -> None:
        """All links break at once."""
        for peer in self._world.peers:
            self._world.cut(peer, peer_learns=self._soon(), hub_learns=self._soon())

    def second_link(self) -> None:
        """A peer dials while its hub still has its old link."""
        self._world.dial_again(self._peer(), hub_learns=self._dice.scaled(0.01, 60.0))

    def stall(self) -> None:
        """A link stands still."""
        up, down = self._directions()
        self._world.stall(self._peer(), self._dice.scaled(0.05, 30.0), up=up, down=down)

    def black_hole(self) -> None:
        """A link swallows everything."""
        up, down = self._directions()
        self._world.black_hole(self._peer(), self._dice.scaled(2.0, 600.0), up=up, down=down)

    def hold(self) -> None:
        """Some frames, or copies of them, arrive much later."""
        self._world.hold(
            self._peer(),
            self._dice.whole(1, 10),
            self._dice.scaled(0.05, 200.0),
            up=self._dice.chance(0.5),
            copies=self._dice.chance(0.5),
        )

    def change_of_weather(self) -> None:
        """The network treats frames differently from now on."""
        self._world.conditions = draw_conditions(self._dice)

    def noise(self) -> None:
        """Frames come out of nowhere: bytes that are no frame, and streams that nobody opened."""
        peer = self._peer()
        self._world.stage.fault("noise")
        up = self._dice.chance(0.5)
        for number in range(self._dice.whole(1, 40)):
            self._world.inject(peer, self._nonsense(f"ghost/{number}"), up=up)

    def _nonsense(self, stream_id: str) -> bytes:
        dice = self._dice
        if dice.chance(0.3):
            return bytes(dice.whole(0, 255) for _ in range(dice.whole(0, 30)))
        number = dice.whole(1, 2**32 - 1)
        frames: list[Frame] = [
            ResumeFrame(stream_id, number, 0, number, dice.incarnation(), dice.incarnation()),
            DataFrame(stream_id, number, number, number, 3, 7, b"boo"),
            AckFrame(stream_id, number, number),
            HeartbeatFrame(stream_id, number, 0),
        ]
        # Some executors would rightly take these for streams.
        if not self._cast.limits.executor.early_data:
            frames.append(ResumeFrame(stream_id, 0, 0, 1, dice.incarnation()))
        if not any(isinstance(peer, BasicExecutor) for peer in self._world.peers):
            frames.append(DataFrame(stream_id, 0, 0, number, 0, 1, b"boo"))
        return encode_frame(dice.pick(frames))

    # -- processes

    def crash(self) -> None:
        """A process dies and comes back without its state."""
        peer = self._peer()
        self._world.crash(peer, hub_learns=self._dice.pick([0.0, self._dice.scaled(0.01, 60.0)]))
        self._world.at(self._dice.scaled(0.01, 60.0), self._world.restart, peer)

    def kill_rendezvous(self) -> None:
        """A rendezvous dies and another takes its place, knowing nothing."""
        name = self._dice.pick(self._cast.rendezvous)
        self._world.kill_rendezvous(name, peers_learn=self._soon())
        self._world.at(self._dice.scaled(0.01, 30.0), self._world.restart_rendezvous, name)

    def replace_rendezvous(self) -> None:
        """A second rendezvous takes over an address while the first still has its links."""
        self._world.replace_rendezvous(self._dice.pick(self._cast.rendezvous))

    def move(self) -> None:
        """A peer is told to use another rendezvous; sooner or later all are back at one."""
        names = self._cast.rendezvous
        for peer in self._world.peers if self._dice.chance(0.5) else [self._peer()]:
            self._world.move(peer, self._dice.pick(names))
        self._world.cut(self._peer())

    def twin(self) -> None:
        """A second process under the same executor id, until one of them stops for good."""
        victim = self._executor()
        twin = self._cast.add_executor(victim.executor_id, basic=self._basic(0.2))
        self._world.stage.fault("twin executor")
        self._world.at(self._dice.scaled(0.1, 60.0), self._retire, self._dice.pick([victim, twin]))

    def change_executor(self) -> None:
        """An executor stops for good, and one of another kind takes its place."""
        victim = self._executor()
        self._world.retire(victim)
        self._world.stage.fault("executor replaced")
        self._cast.add_executor(victim.executor_id, basic=self._basic(0.5))

    def _retire(self, peer: Peer) -> None:
        if not self._over:
            self._world.retire(peer)

    # -- applications

    def stop_reading(self) -> None:
        """An application stops reading for a while, on one stream or on all."""
        ends = self._ends()
        if ends and self._dice.chance(0.5):
            ends = [self._dice.pick(ends)]
        if ends:
            self._world.stage.fault("reader stopped")
        for end in ends:
            end.stop_reading()
            self._world.at(self._dice.scaled(0.05, 60.0), end.read_on)

    def end_stream(self) -> None:
        """An application closes or resets a stream."""
        ends = self._ends()
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

    # -- draws

    def _soon(self) -> float:
        return 0.0 if self._dice.chance(0.5) else self._dice.scaled(0.001, 2.0)

    def _basic(self, chance: float) -> bool:
        return self._cast.may_turn_basic and self._dice.chance(chance)

    def _directions(self) -> tuple[bool, bool]:
        return self._dice.pick([(True, True), (True, False), (False, True)])

    def _peer(self) -> Peer:
        return self._dice.pick([peer for peer in self._world.peers if not peer.retired])

    def _executor(self) -> Peer:
        return self._dice.pick(
            [
                peer
                for peer in self._world.peers
                if peer.role.value == "executor" and not peer.retired
            ]
        )

    def _ends(self) -> list[StreamEnd]:
        return [end for peer in self._world.peers for end in peer.ends.values() if end.live]
