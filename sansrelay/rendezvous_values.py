"""What a `Rendezvous` is told and what it tells: limits, events, causes, counters."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum

from .config import RelayConfig
from .errors import FrameCause, ResetReason
from .fairqueue import FRAME_COST, STREAM_COST

__all__ = [
    "DropCause",
    "LinkId",
    "LinkRefusal",
    "LinkSuperseded",
    "RendezvousConfig",
    "RendezvousEvent",
    "RendezvousStats",
    "RouteEnded",
    "RouteEndedBy",
    "RouteOpened",
]

LinkId = int
"""The caller's name for one link. Not used again before the link is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RendezvousConfig:
    """Limits and paces of a `Rendezvous`. Sizes are in bytes, times in seconds.

    Raises `ValueError` where a value makes no sense, naming the field.
    """

    relay: RelayConfig = field(default_factory=RelayConfig)
    """Only its limits for incoming frames are used: `max_frame_size`, `max_stream_id_size`,
    `max_reason_size`. A frame beyond them is dropped and counted under its `FrameCause`."""

    # -- numbers of things
    max_links: int = 10_000
    """Open links of both kinds. A further one is refused (`LinkRefusal.TOO_MANY_LINKS`), unless it
    replaces an executor's."""
    max_harness_links: int = 1000
    """Open harness links of one executor id. A further one is refused
    (`LinkRefusal.TOO_MANY_HARNESS_LINKS`)."""
    max_links_per_principal: int = 1000
    """Open harness links of one principal, over all executor ids. A further one is refused
    (`LinkRefusal.TOO_MANY_PRINCIPAL_LINKS`)."""
    max_routes: int = 100_000
    """Routes in total. A stream beyond gets none and is reset (`too_many_streams`)."""
    max_routes_per_principal: int = 10_000
    """Routes of one principal, over all executor ids. A stream beyond gets none and is reset
    (`too_many_streams`)."""
    max_ended_routes: int = 16_384
    """Routes that are remembered after their end, over all principals; up to 1 KiB each. One more
    makes the oldest forgotten: late frames may then make a route anew."""
    resets_per_second: float = 100.0
    """Resets on one link for streams that have no route, as rate and as burst. Above it they are
    counted, not sent."""

    # -- queues. What each frame and each stream takes in memory is counted too.
    link_queue_size: int = 64 * 1024 * 1024
    """Bytes queued for one link. A stream may never have more queued than is left of it; a frame
    beyond counts as an overflow of its stream, see `stream_queue_size`."""
    stream_queue_size: int = 4 * 1024 * 1024
    """Bytes of one stream queued for one link; an empty queue takes any one frame. On a route that
    is reliable in both directions a frame beyond is dropped and counted, and the endpoints repair
    it; any other stream is reset (`slow_consumer`). Keep it above the endpoints'
    `send_window_bytes`, or they lose frames to every pause of the reader."""
    total_queue_size: int = 256 * 1024 * 1024
    """Bytes queued for all links. A link may never have more queued than is left of it; a frame
    beyond counts as an overflow of its stream, see `stream_queue_size`. So one reader that has
    stopped holds about half of it at most, and the next one half of what that leaves."""
    reset_queue_size: int = 1024 * 1024
    """Bytes of resets made here that a link's queue takes beyond `link_queue_size` and
    `total_queue_size`. Further ones are counted, not sent."""

    # -- patience
    executor_grace: float = 300.0
    """Seconds that a suspended route waits for the executor's `resume`. Then it ends
    (`executor_unavailable`)."""
    harness_grace: float = 120.0
    """Seconds that a reliable route waits for its harness. Then it ends
    (`harness_disconnected`)."""
    ended_route_ttl: float = 600.0
    """Seconds that a route is remembered after its end. Keep it above the endpoints'
    `resume_timeout`, or one that was away for long is not told."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if item.type is int and not (number and isinstance(value, int) and value >= 1):
                raise ValueError(f"{item.name} must be a whole number of 1 or more, not {value!r}")
            if item.type is float and not (number and 0 < value < float("inf")):
                raise ValueError(f"{item.name} must be a number above 0, not {value!r}")
        if self.stream_queue_size > self.link_queue_size:
            raise ValueError(
                f"stream_queue_size ({self.stream_queue_size}) must not be larger than"
                f" link_queue_size ({self.link_queue_size})"
            )
        if self.link_queue_size > self.total_queue_size:
            raise ValueError(
                f"link_queue_size ({self.link_queue_size}) must not be larger than"
                f" total_queue_size ({self.total_queue_size})"
            )
        least = self.relay.max_frame_size + FRAME_COST + STREAM_COST
        if self.link_queue_size < least:
            raise ValueError(
                f"link_queue_size ({self.link_queue_size}) must be at least {least}, or a frame of"
                f" relay.max_frame_size ({self.relay.max_frame_size}) never gets through"
            )


class LinkRefusal(Enum):
    """Why a link was not taken. It does not exist for the rendezvous then."""

    TOO_MANY_LINKS = "max_links links are open already"
    TOO_MANY_HARNESS_LINKS = "max_harness_links harness links are open for this executor id already"
    TOO_MANY_PRINCIPAL_LINKS = "max_links_per_principal links of this principal are open already"


class DropCause(Enum):
    """Why a frame was not forwarded."""

    NO_ROUTE = "the stream has no route, and the frame makes none"
    FOREIGN_STREAM = "the stream belongs to another principal"
    ENDED_ROUTE = "the stream's route has ended"
    STALE_LINK = "the stream has moved to a newer link of its harness"
    SUPERSEDED_LINK = "a newer link took over the executor id"
    TOO_MANY_ROUTES = "max_routes or max_routes_per_principal are in use"
    NO_EXECUTOR = "no executor is attached"
    HARNESS_AWAY = "the harness has no link"
    SUSPENDED = "the executor has not resumed the stream on its new link"
    STREAM_QUEUE_FULL = "the frame passes stream_queue_size"
    LINK_QUEUE_FULL = "the frame passes what is left of link_queue_size"
    TOTAL_QUEUE_FULL = "the frame passes what is left of total_queue_size"
    SLOW_CONSUMER = "the frame was queued when its stream was reset with slow_consumer"
    LINK_CLOSED = "the frame was queued for a link that is gone"


class RouteEndedBy(Enum):
    """Where the reset came from that ended a route."""

    HARNESS = "harness"
    EXECUTOR = "executor"
    RENDEZVOUS = "rendezvous"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSuperseded:
    """A newer link took over the executor id of `link`, which the caller should close now.

    What comes in on it is dropped and counted; there is nothing to send on it.
    """

    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOpened:
    """A harness made a route. `link` is the one it came from."""

    executor_id: str
    stream_id: str
    principal: str
    link: LinkId


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEnded:
    """A route is gone, in both directions.

    `reason` is the reset's text. If `by` is not `RENDEZVOUS`, it comes from a peer: `clean_reason`
    makes it fit for a log.
    """

    executor_id: str
    stream_id: str
    principal: str
    reason: str
    by: RouteEndedBy


RendezvousEvent = LinkSuperseded | RouteOpened | RouteEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class RendezvousStats:
    """A snapshot of the counters. All but the first five only grow.

    A frame counts as forwarded once it is queued. It counts as dropped too if it is thrown out of
    the queue later (`SLOW_CONSUMER`, `LINK_CLOSED`).
    """

    executor_links: int
    harness_links: int
    routes: int
    ended_routes: int
    """Routes remembered after their end."""
    bytes_queued: int
    """Of `total_queue_size`, what is in use."""
    frames_forwarded: int
    bytes_forwarded: int
    dropped: Mapping[DropCause | FrameCause, int]
    """Frames by cause; a cause that never occurred is missing."""
    resets_sent: Mapping[ResetReason | None, int]
    """Resets made here, by reason; None stands for words that are not in the vocabulary, which are
    repeated for ended routes. Those passed on are forwarded frames."""
    resets_suppressed: int
    """Resets not sent because of `resets_per_second` or `reset_queue_size`."""
