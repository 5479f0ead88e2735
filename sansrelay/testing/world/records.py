"""What the oracle writes down, and what it needs to see of peers and hubs."""

from collections import Counter
from typing import Protocol

from ...config import RelayConfig
from ...connection import RelayConnection, Role
from ...rendezvous import Rendezvous, RendezvousConfig
from ...states import Profile
from .ends import StreamEnd

__all__ = ["HubFacts", "HubView", "Life", "PeerView", "StreamRecord"]


class PeerView(Protocol):
    """A peer, as the oracle sees it."""

    name: str
    role: Role
    life: int
    alive: bool
    executor_id: str
    config: RelayConfig
    ends: dict[str, StreamEnd]

    @property
    def machine(self) -> RelayConnection | None:
        """Its connection; None for a basic peer."""
        ...


class HubView(Protocol):
    """A rendezvous, as the oracle sees it."""

    name: str
    config: RendezvousConfig
    facts: "HubFacts"

    @property
    def machine(self) -> Rendezvous:
        """The machine."""
        ...


class Life:
    """One life of a peer's process."""

    __slots__ = ("began", "ended", "executor_id", "name", "role")

    def __init__(self, peer: PeerView, began: float) -> None:
        self.name = peer.name
        self.role = peer.role
        self.executor_id = peer.executor_id
        self.began = began
        self.ended: float | None = None


class HubFacts:
    """What has happened at one rendezvous."""

    __slots__ = (
        "attached_at",
        "executor_lost",
        "executor_resumed",
        "harness_heard",
        "harness_lost",
        "inside",
        "route_opened",
    )

    def __init__(self) -> None:
        self.attached_at: dict[str, float] = {}
        """Since when each executor id has its present link; missing without one."""
        self.executor_lost: dict[str, list[float]] = {}
        """When each executor id lost a link."""
        self.harness_lost: dict[str, float] = {}
        """When each harness last lost a link."""
        self.executor_resumed: dict[str, float] = {}
        """When the executor's last `resume{>= 1}` came, by stream."""
        self.harness_heard: dict[str, float] = {}
        """When the last frame of its harness came, by stream."""
        self.route_opened: dict[str, float] = {}
        """When the route of each stream was last made."""
        self.inside: Counter[bytes] = Counter()
        """Frames that came in and have not left."""


class StreamRecord:
    """All that is known of one stream id."""

    __slots__ = (
        "acceptors",
        "copies",
        "executor_id",
        "harness",
        "hub_reasons",
        "late_reset",
        "opened_at",
        "opener",
        "runs",
        "spoiled",
        "stream_id",
    )

    def __init__(self, stream_id: str, peer: PeerView, opener: StreamEnd) -> None:
        self.stream_id = stream_id
        self.harness = peer.name
        self.executor_id = peer.executor_id
        self.opened_at = opener.opened_at
        self.opener = opener
        self.acceptors: list[StreamEnd] = []
        """The ends at executors, one for each life of a process that took the stream."""
        self.spoiled = False
        """A frame of it was lost, damaged, repeated or delayed beyond its order, by the network."""
        self.late_reset = False
        """A reset of it may have arrived after frames that were sent later."""
        self.copies: Counter[bytes] = Counter()
        """By payload: how often the network may have delivered a data frame once more."""
        self.runs: Counter[int] = Counter()
        """How often each message to the executor was handed to an application."""
        self.hub_reasons: dict[str, None] = {}
        """Reasons with which a rendezvous ended it, found to be true."""

    @property
    def ends(self) -> list[StreamEnd]:
        """All its ends."""
        return [self.opener, *self.acceptors]

    def others(self, end: StreamEnd) -> list[StreamEnd]:
        """The ends that this end can be talking to."""
        return self.acceptors if end is self.opener else [self.opener]

    def live_other(self, end: StreamEnd) -> StreamEnd | None:
        """The other end, in a process that lives, if it has not ended there."""
        for other in self.others(end):
            if other.live:
                return other
        return None

    @property
    def established(self) -> bool:
        """Both ends have opened it, reliably, and none has ended it; both processes live."""
        return (
            self.opener.live
            and self.opener.profile is Profile.RELIABLE
            and any(end.live and end.profile is Profile.RELIABLE for end in self.acceptors)
        )
