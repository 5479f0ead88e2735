"""What a schedule draws before it begins: limits, paces, and how bad the network is.

Each schedule has its own mixture, and leaves most kinds of fault out ("swarm testing", Groce et
al., 2012): what is rare among many faults at once is found where it is alone.
"""

from dataclasses import dataclass

from ...config import SEGMENT_OVERHEAD, ProfilePolicy, RelayConfig
from ...rendezvous import RendezvousConfig
from .._link import LinkConditions
from .dice import Dice

__all__ = ["Limits", "draw_conditions", "draw_limits", "draw_rendezvous"]

_ROOMY = 64 * 1024 * 1024
"""Bytes of a queue that is never full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The configurations of the two sides, which fit each other."""

    harness: RelayConfig
    executor: RelayConfig


def draw_conditions(dice: Dice) -> LinkConditions:
    """How links treat frames: half of the kinds of fault are left out."""

    def rate(most: float) -> float:
        return dice.random() * most if dice.chance(0.5) else 0.0

    delay = dice.scaled(0.0005, 0.3)
    if dice.chance(0.25):
        return LinkConditions(delay=delay)
    return LinkConditions(
        delay=delay,
        loss=rate(0.3),
        duplication=rate(0.3),
        reordering=rate(0.3),
        corruption=rate(0.1),
        scatter=dice.scaled(0.001, 3.0),
    )


def draw_limits(dice: Dice) -> Limits:
    """Small windows and buffers, so that a few messages reach the limits."""
    pick = dice.pick
    message = pick([64, 200, 600])
    window_bytes = pick([50, 300, 2000, 1024 * 1024])
    window = pick([1, 2, 5, 16, 256])
    rto = pick([0.05, 0.2, 1.0])
    common: dict[str, object] = {
        "max_message_size": message,
        "segment_size": min(message, pick([20, 60, 600])),
        "send_window_segments": window,
        "send_window_bytes": window_bytes,
        "opening_window_segments": pick([1, 3, 32]),
        "receive_window_segments": 2 * max(window, 32),
        "receive_window_bytes": 2 * max(window_bytes, message * 32),
        "min_rto": rto,
        "initial_rto": max(rto, pick([0.3, 1.0])),
        "max_rto": pick([2.0, 15.0]),
        "resume_timeout": pick([30.0, 120.0, 300.0]),
        "heartbeat_interval": pick([5.0, 30.0]),
        "silence_timeout": pick([2.0, 20.0]),
        "ended_ttl": pick([3.0, 60.0, 600.0]),
    }
    return Limits(harness=_one_side(dice, common), executor=_one_side(dice, common))


def _one_side(dice: Dice, common: dict[str, object]) -> RelayConfig:
    pick = dice.pick
    message = common["max_message_size"]
    assert isinstance(message, int)
    held = message + SEGMENT_OVERHEAD
    own: dict[str, object] = {
        "send_buffer_size": pick([100, 2000, 2 * 1024 * 1024]),
        "send_buffer_messages": pick([1, 3, 1024]),
        "receive_buffer_size": pick([message, 6 * held, 64 * 1024 * 1024]),
        "unconfirmed_buffer_size": pick([held, 4 * held, 4 * 1024 * 1024]),
        "basic_buffer_size": pick([2 * held, 32 * 1024 * 1024]),
        "max_ended_streams": pick([1, 4, 4096]),
        "max_pending_streams": pick([1, 64]),
        "pending_timeout": pick([0.3, 2.0]),
        "resets_per_second": pick([1.0, 100.0]),
        "ack_after_segments": pick([1, 2, 16]),
        "ack_after_bytes": pick([40, 64 * 1024]),
        "ack_delay": pick([0.001, 0.025, 0.2]),
        "duplicate_ack_interval": pick([0.001, 0.1]),
        "reorder_threshold": pick([1, 3, 5]),
        "early_data": dice.chance(0.04),
        "profile": ProfilePolicy.RELIABLE if dice.chance(0.08) else ProfilePolicy.AUTO,
    }
    return RelayConfig(**{**common, **own})  # type: ignore[arg-type]


def draw_rendezvous(dice: Dice, *, basic: bool) -> RendezvousConfig:
    """Limits and paces of the rendezvous. A basic harness that is not told does not ask again."""
    pick = dice.pick
    relay = RelayConfig(max_frame_size=2048, max_message_size=600, segment_size=600)
    stream_queue = pick([400, 4000, 4 * 1024 * 1024])
    max_routes, principal_links = (
        pick([(4, 1000), (100_000, 1)]) if dice.chance(0.3) else (100_000, 1000)
    )
    max_ended_routes = pick([1, 10, 16_384])
    ended_route_ttl = pick([2.0, 60.0, 600.0])
    resets_per_second = 100.0 if basic else pick([1.0, 100.0])
    queues = [(4000, _ROOMY), (4000, 4000), (_ROOMY, _ROOMY), (_ROOMY, _ROOMY)]
    link_queue, total_queue = pick(queues)
    link_queue = max(stream_queue, link_queue)
    return RendezvousConfig(
        relay=relay,
        max_links_per_principal=principal_links,
        max_routes=max_routes,
        max_ended_routes=max_ended_routes,
        ended_route_ttl=ended_route_ttl,
        resets_per_second=resets_per_second,
        stream_queue_size=stream_queue,
        link_queue_size=link_queue,
        total_queue_size=max(link_queue, total_queue),
        reset_queue_size=1024 * 1024 if basic else pick([1500, 1024 * 1024]),
        executor_grace=pick([10.0, 60.0, 300.0]),
        harness_grace=pick([5.0, 30.0, 120.0]),
    )
