"""Who is in a world, and what joins them."""

from ...config import RelayConfig
from ...rendezvous import RendezvousConfig
from .._clock import FakeClock
from .._link import LinkConditions
from .codex import BasicExecutor, BasicHarness
from .dice import Dice, RandomSource
from .echoes import Echoes
from .ends import Hook, MessageHook
from .hubs import RendezvousProcess, Wire
from .lanes import Link, Weather
from .oracle import Oracle
from .peers import Executor, Harness, Peer
from .stage import Stage
from .strangers import Stranger

__all__ = ["Population"]

_PERFECT = LinkConditions()


class Population:
    """The processes of a world and the links between them. What happens to them, `World` does."""

    def __init__(
        self,
        source: RandomSource,
        *,
        conditions: LinkConditions = _PERFECT,
        websockets: bool = False,
        redial: tuple[float, float] = (0.1, 0.1),
        capacity: int = 256 * 1024,
        trace: bool = False,
    ) -> None:
        self.dice = Dice(source)
        self.stage = Stage(self.dice, trace=trace)
        self.oracle = Oracle(self.stage)
        self.peers: list[Peer] = []
        self._weather = Weather(conditions)
        self._calm = Weather(LinkConditions(delay=0.0))
        self._websockets = websockets
        self._redial = redial
        self._capacity = capacity
        self._hubs: dict[str, RendezvousProcess | Wire] = {}
        self._configs: dict[str, RendezvousConfig] = {}
        self._replaced: list[RendezvousProcess] = []
        self._addresses: dict[str, str] = {}
        self._links: list[Link] = []
        self._dialled = 0
        self._injected = 0
        self._raised = 0
        self.echoes = Echoes(self.oracle)
        """What may be repeated later; empty unless the world listens."""
        self._listens = False

    # -- what there is

    @property
    def clock(self) -> FakeClock:
        """The world's clock."""
        return self.stage.clock

    @property
    def now(self) -> float:
        """The world's time in seconds."""
        return self.stage.now

    @property
    def faults(self) -> int:
        """Faults injected so far, each spoilt frame counted."""
        return self.stage.faults.total()

    @property
    def frames(self) -> int:
        """Frames that peers have let out so far."""
        return self.oracle.frames_by.total()

    def trace_lines(self) -> list[str]:
        """What happened so far, one line each. Empty unless the world was made with `trace`."""
        return list(self.stage.trace or ())

    def add_rendezvous(
        self, name: str = "rendezvous", *, config: RendezvousConfig | None = None
    ) -> None:
        """Start a rendezvous under an address."""
        self._configs[name] = config or RendezvousConfig()
        self._raise_rendezvous(name)

    def add_wire(self, name: str = "rendezvous") -> None:
        """In place of a rendezvous: a wire that joins one harness and one executor."""
        self._hubs[name] = Wire(self.stage, self.oracle, name)

    def rendezvous(self, name: str = "rendezvous") -> RendezvousProcess | None:
        """The rendezvous behind an address, if one is alive."""
        hub = self._hubs.get(name)
        return hub if isinstance(hub, RendezvousProcess) and hub.alive else None

    def add_harness(
        self,
        name: str,
        *,
        executor: str = "executor",
        rendezvous: str = "rendezvous",
        principal: str | None = None,
        config: RelayConfig | None = None,
        on_open: Hook | None = None,
        on_message: MessageHook | None = None,
        on_end: Hook | None = None,
    ) -> Harness:
        """Start a harness that reaches the executor id `executor`.

        The hooks are called when the executor's profile is known, with each message, and at the
        end of a stream. `principal` is as whom the rendezvous knows it; its name if not given.
        """
        harness = Harness(
            self.stage,
            self.oracle,
            self,
            name,
            executor,
            config=config or RelayConfig(),
            on_open=on_open,
            on_message=on_message,
            on_end=on_end,
        )
        harness.principal = principal or name
        self._start(harness, rendezvous)
        return harness

    def add_executor(
        self,
        name: str = "executor",
        *,
        executor_id: str | None = None,
        rendezvous: str = "rendezvous",
        config: RelayConfig | None = None,
        on_open: Hook | None = None,
        on_message: MessageHook | None = None,
        on_end: Hook | None = None,
    ) -> Executor:
        """Start an executor; its id is its name if not given. The hooks are as for a harness."""
        executor = Executor(
            self.stage,
            self.oracle,
            self,
            name,
            executor_id or name,
            config=config or RelayConfig(),
            on_open=on_open,
            on_message=on_message,
            on_end=on_end,
        )
        self._start(executor, rendezvous)
        return executor

    def add_basic_harness(
        self,
        name: str,
        *,
        executor: str = "executor",
        rendezvous: str = "rendezvous",
        on_message: MessageHook | None = None,
    ) -> BasicHarness:
        """Start a harness that behaves as Codex up to 0.136."""
        harness = BasicHarness(self.stage, self.oracle, self, name, executor, on_message=on_message)
        self._start(harness, rendezvous)
        return harness

    def add_basic_executor(
        self,
        name: str = "executor",
        *,
        executor_id: str | None = None,
        rendezvous: str = "rendezvous",
        on_message: MessageHook | None = None,
    ) -> BasicExecutor:
        """Start an executor that behaves as Codex up to 0.136: it runs every frame it gets."""
        executor = BasicExecutor(
            self.stage, self.oracle, self, name, executor_id or name, on_message=on_message
        )
        self._start(executor, rendezvous)
        return executor

    def stranger(self, executor_id: str, rendezvous: str = "rendezvous") -> Stranger:
        """The harness that belongs to nobody here and reaches an executor id; made if need be."""
        name = f"stranger to {executor_id}"
        for peer in self.peers:
            if isinstance(peer, Stranger) and peer.name == name:
                return peer
        stranger = Stranger(self.stage, self.oracle, self, name, executor_id)
        self._start(stranger, rendezvous)
        return stranger

    def _start(self, peer: Peer, rendezvous: str) -> None:
        self._addresses[peer.name] = rendezvous
        self.peers.append(peer)
        peer.start()

    def _raise_rendezvous(self, name: str) -> None:
        self._raised += 1
        process = RendezvousProcess(
            self.stage, self.oracle, f"{name}#{self._raised}", self._configs[name]
        )
        self._hubs[name] = process

    # -- links, for the peers

    def connect(self, peer: Peer) -> Link | None:
        """A new link for `peer`, or None if there is nobody to take it."""
        hub = self._hubs.get(self._addresses[peer.name])
        if hub is None or not hub.alive:
            return None
        self._dialled += 1
        up = self._calm if isinstance(hub, Wire) else self._weather
        kind = Link
        if self._websockets:
            from .sockets import SocketLink

            kind = SocketLink
        link = kind(
            self.stage,
            (up, self._weather),
            self.oracle.spoiled,
            self._dialled,
            peer,
            hub,
            capacity=self._capacity,
        )
        if not hub.accept(link, peer):
            return None
        self._links = [old for old in self._links if old.peer_open or old.hub_open]
        self._links.append(link)
        if self._listens:
            self.echoes.listen(link)
        return link

    def redial_delay(self) -> float:
        """Seconds before a peer dials again."""
        return self.dice.between(*self._redial)
