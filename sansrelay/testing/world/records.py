"""What the oracle writes down, and what it needs to see of peers and hubs."""

from collections import Counter
from typing import Protocol

from ...config import RelayConfig
from ...connection import RelayConnection, Role
from ...rendezvous import Rendezvous, RendezvousConfig
from ...states import Profile
from .ends import StreamEnd
from .lanes import Link
from .passage import Dialler

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
    link: Link | None

    @property
    def machine(self) -> RelayConnection | None:
        """Its connection; None for a basic peer."""
        ...


class HubView(Protocol):
    """A rendezvous, as the oracle sees it."""

    name: str
    config: RendezvousConfig
    facts: "HubFacts"
    diallers: dict[int, Dialler]

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
        "ended_at",
        "ends",
        "executor_lost",
        "executor_resumed",
        "harness_heard",
        "harness_lost",
        "inside",
        "resets",
        "route_ended",
        "route_opened",
        "said_by_harness",
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
        self.said_by_harness: dict[str, set[str]] = {}
        """Reasons of resets that came from a harness, by stream; a route is not needed for that."""
        self.route_ended: dict[str, str] = {}
        """The reason with which the route of each stream last ended."""
        self.resets: set[bytes] = set()
        """The resets that came in: the one that ended a route may be repeated."""
        self.ends = 0
        """How many routes have ended."""
        self.ended_at: dict[tuple[str, str], tuple[float, int]] = {}
        """When a route that has to be remembered ended, and the how manieth it was; by executor id
        and stream."""
        self.inside: Counter[bytes] = Counter()
        """Frames that came in and have not left."""


class StreamRecord:
    """All that is known of one stream id."""

    __slots__ = (
        "acceptors",
        "answered_unseen",
        "asked_unseen",
        "copies",
        "dropped",
        "early",
        "executor_id",
        "first_at",
        "harness",
        "hub_reasons",
        "late_reset",
        "opened_at",
        "opener",
        "routes",
        "runs",
        "said",
        "spoiled",
        "stream_id",
        "told",
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
        self.first_at: dict[tuple[str, int], float] = {}
        """By name and life of an executor: when the first frame came that its application did not
        know a stream for."""
        self.asked_unseen: Counter[tuple[str, int]] = Counter()
        """By the same: questions of an acceptor that was not confirmed."""
        self.answered_unseen: Counter[tuple[str, int]] = Counter()
        """By the same: answers to them."""
        self.early: Counter[tuple[str, int]] = Counter()
        """By the same: the segments that came, as bits, bit 0 for seq 0."""
        self.dropped: set[tuple[Role, int]] = set()
        """Segments that an end dropped at a limit: the role of that end, and the seq."""
        self.said: set[str] = set()
        """Reasons with which executors reset it, whose applications did not know it."""
        self.routes = 0
        """Routes that were made for it, at all rendezvous together."""
        self.told: set[str] = set()
        """Reasons of its end that a rendezvous repeated."""

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
