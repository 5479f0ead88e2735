"""The limits of `RelayConfig` and `RendezvousConfig`, checked from the outside and a little inside.

Most of it comes from `stats()`. The lengths of a few inner queues have no getter; the reads of
private attributes are gathered here.
"""

from collections import Counter

from ...config import SEGMENT_OVERHEAD
from ...connection import RelayConnection, Role
from ...errors import FrameCause
from ...states import Profile
from .records import HubView, PeerView

__all__ = ["dropped_by", "hub_excess", "may_talk", "peer_excess", "queue_excess"]

_HEAP_SLACK = 64
"""Entries that a queue of timers may have beyond two for each stream there ever was."""


def peer_excess(peer: PeerView) -> str | None:
    """What has grown beyond its limit at a peer, or None."""
    conn = peer.machine
    if conn is None:
        return None
    config = peer.config
    stats = conn.stats()
    pending = conn._pending.size
    # One stream at a time may go beyond by the rest of one message.
    held = config.receive_buffer_size + config.max_message_size + SEGMENT_OVERHEAD
    # Some end before their application hears of them.
    ever = max(len(peer.ends), conn._unknown.accepted)
    sizes = [
        ("bytes_held", stats.bytes_held - pending, held),
        ("bytes unconfirmed", conn._shared.unconfirmed_budget.used, config.unconfirmed_buffer_size),
        ("bytes pending", pending, conn._shared.unconfirmed_budget.used),
        ("streams", stats.streams_live, config.max_streams),
        ("ended streams", stats.streams_ended_remembered, config.max_ended_streams),
        ("resets owed", len(conn._ended._owed), 2 * config.max_ended_streams),
        ("pending streams", len(conn._pending._held), config.max_pending_streams),
        ("timers", len(conn._timers), 2 * ever + _HEAP_SLACK),
    ]
    for stream_id, stream in conn._streams.items():
        sender = stream.sender
        most = max(config.send_buffer_size, config.max_message_size)  # an empty one takes any
        sizes.append((f"send buffer of {stream_id}", sender.buffered, most))
    for end in peer.ends.values():
        if end.live and end.profile is Profile.RELIABLE:
            waiting = len(end.sent) - end.acknowledged
            sizes.append((f"messages of {end.stream_id}", waiting, config.send_buffer_messages))
    return _first_excess(sizes)


def dropped_by(machine: RelayConnection) -> Counter[FrameCause]:
    """The frames dropped so far, by cause; `stats()` would make a copy each time."""
    return machine._counters.dropped


def may_talk(machine: RelayConnection, stream_id: str) -> bool:
    """Whether an end may send acks: both ends know each other, and on this link too."""
    stream = machine._streams.get(stream_id)
    return stream is not None and stream._may_talk()


def queue_excess(hub: HubView) -> str | None:
    """What all queues of a rendezvous together hold beyond their limit, or None."""
    return _first_excess([("bytes queued", hub.machine._pool.used, hub.config.total_queue_size)])


def hub_excess(hub: HubView, now: float) -> str | None:
    """What has grown beyond its limit at a rendezvous, or None."""
    following = hub.machine.next_timeout()
    grace = max(hub.config.executor_grace, hub.config.harness_grace)
    if following is not None and following > now + grace:
        return f"a timer for {following}, later than any grace period ends"
    config = hub.config
    stats = hub.machine.stats()
    queue = config.link_queue_size + config.reset_queue_size
    sizes = [
        ("routes", stats.routes, config.max_routes),
        ("ended routes", stats.ended_routes, config.max_ended_routes),
        ("links", stats.executor_links + stats.harness_links, config.max_links),
        ("bytes queued", stats.bytes_queued, config.total_queue_size),
    ]
    harnesses = [peer for peer in hub.diallers.values() if peer.role is Role.HARNESS]
    of_principal = Counter(peer.principal for peer in harnesses)
    of_executor = Counter(peer.executor_id for peer in harnesses)
    sizes += [
        (f"links of {principal}", count, config.max_links_per_principal)
        for principal, count in of_principal.items()
    ]
    sizes += [
        (f"links to {executor_id}", count, config.max_harness_links)
        for executor_id, count in of_executor.items()
    ]
    sizes += [
        (f"queue of link {number}", link.queue.size, queue)
        for number, link in hub.machine._links._open.items()
    ]
    return _first_excess(sizes)


def _first_excess(sizes: list[tuple[str, int, int]]) -> str | None:
    for name, size, limit in sizes:
        if size > limit:
            return f"{name}: {size}, at most {limit}"
    return None
