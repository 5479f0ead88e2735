"""The rendezvous as a pure machine: links, routes, quotas, grace periods.

It passes frames between the harnesses and the executor of an executor id, by stream id, and never
changes a byte of them. It keeps no message: what is queued for a link dies with that link, and the
endpoints repair it. So it may be killed and replaced at any time.

A *route* says where the frames of one stream go. It belongs to the principal whose harness made
it. For anyone else the stream does not exist: their frames are dropped, and what would have made a
route is answered with `unknown_stream`.

The life of a route::

                        resume of a known peer            executor lost,
      resume, data,   +--------------------> SUSPENDED <------------------+
      handshake       |                          |      executor reliable |
    ------------------+                          | executor's resume      |
                      |                          v                        |
                      +------------------------> OPEN --------------------+

* A harness makes it. A `resume` that names a peer incarnation, or has `next_seq >= 2`, shows that
  the stream is not new: this rendezvous was restarted. Such a route starts SUSPENDED, with or
  without an executor. Any other stream needs an executor that is attached.
* While SUSPENDED only `resume` and `reset` pass, in both directions, until the executor's current
  link has sent a `resume{next_seq >= 1}`. A basic executor that takes the place of a reliable one
  never does, so it is never handed data that was sent before. `executor_grace` bounds this.
* What each side can do goes by evidence: a `resume{next_seq >= 1}` from it that was passed on. A
  route made SUSPENDED counts as reliable in both directions, on the harness's word: it can only
  know of a reliable peer, and the suspension holds until that is proved.
* It follows the newest link of its principal that has sent on it. When that link goes, a reliable
  route waits `harness_grace` for the harness; any other ends at once.
* A reset that is passed on ends it. One that can't be passed on does not: the side that was away
  asks with `resume` when it comes back, and is answered with the reset again. Only what an endpoint
  would take for a reset counts as one.
* A harness's reset makes no route. It is passed on if it can be, and remembered: the stream may
  have had its route at another rendezvous, and an executor that asks has to hear of the end.
* An ended route is remembered for `ended_route_ttl`, within `max_ended_routes`. Its id is not
  revived: frames still under way make no route, so they reach no executor that takes them for a new
  stream. A side that may not know of the end is told it again, by the reset that ended the route:
  the harness for what would make a route, the executor for a `resume`. One end is not remembered:
  an executor that has shown nothing says `unknown_stream` to data that came without its opening,
  which the harness repeats.
"""

from collections import Counter, deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, TypeVar

from .codec import RoutingHeader, decode_frame, encode_frame, read_header
from .errors import FrameCause, LocalCause, LocalProtocolError, ResetReason, reason_of
from .fairqueue import Full, Pool
from .frames import InvalidFrame, ResetFrame
from .rendezvous_values import (
    DropCause,
    LinkId,
    LinkRefusal,
    LinkSuperseded,
    RendezvousConfig,
    RendezvousEvent,
    RendezvousStats,
    RouteEnded,
    RouteEndedBy,
    RouteOpened,
)
from .routes import EndedRoute, EndedRoutes, Link, LinkTable, Route, RouteTable

__all__ = [
    "DropCause",
    "LinkId",
    "LinkRefusal",
    "LinkSuperseded",
    "Rendezvous",
    "RendezvousConfig",
    "RendezvousEvent",
    "RendezvousStats",
    "RouteEnded",
    "RouteEndedBy",
    "RouteOpened",
]

_MAKES_ROUTE: Final = frozenset({"resume", "data", "handshake"})
_ASKS_AGAIN: Final = frozenset({"resume"})
_PASSES_SUSPENDED: Final = frozenset({"resume", "reset"})
_QUEUE_FULL: Final = {
    Full.STREAM: DropCause.STREAM_QUEUE_FULL,
    Full.LINK: DropCause.LINK_QUEUE_FULL,
    Full.TOTAL: DropCause.TOTAL_QUEUE_FULL,
}

_K = TypeVar("_K")


class Rendezvous:
    """The router between executors and harnesses. Pure: no I/O, no clock.

    `now` is any monotonic time in seconds. After each input, drain: `next_event` until it gives
    None, then `frames_to_send` for each of `links_with_output`, then set a timer for
    `next_timeout`. Nothing a peer sends raises; the caller's own misuse raises
    `LocalProtocolError` and changes nothing. Not safe for use by several threads.
    """

    def __init__(self, config: RendezvousConfig) -> None:
        self._config = config
        self._table = RouteTable(config)
        self._ended = EndedRoutes(config)
        self._pool = Pool(config.total_queue_size)
        self._now = float("-inf")
        self._links = LinkTable(config, self._pool)
        self._events: deque[RendezvousEvent] = deque()
        self._with_output: dict[LinkId, None] = {}
        self._frames_forwarded = 0
        self._bytes_forwarded = 0
        self._dropped: Counter[DropCause | FrameCause] = Counter()
        self._resets_sent: Counter[ResetReason | None] = Counter()
        self._resets_suppressed = 0

    # -- inputs

    def executor_opened(self, link: LinkId, executor_id: str, now: float) -> LinkRefusal | None:
        """An executor attached under an id; a link that it had before is superseded.

        Returns why the link is refused, or None. Raises `LocalProtocolError` if `link` is open
        already (`LINK_STATE`).
        """
        self._links.check_new(link)
        self._advance(now)
        executor = self._table.find(executor_id)
        old = executor.link if executor is not None else None
        if old is not None:
            self._lose_executor(old, now)
            old.superseded = True
            self._events.append(LinkSuperseded(link=old.link_id))
        elif self._links.is_full:
            return LinkRefusal.TOO_MANY_LINKS
        executor = self._table.find_or_add(executor_id)
        executor.link = self._links.add(link, executor, None)
        return None

    def harness_opened(
        self, link: LinkId, executor_id: str, principal: str, now: float
    ) -> LinkRefusal | None:
        """A harness of `principal` attached, to reach the executor of an id.

        Returns why the link is refused, or None. Raises `LocalProtocolError` if `link` is open
        already (`LINK_STATE`).
        """
        self._links.check_new(link)
        self._advance(now)
        refusal = self._links.refusal(self._table.find(executor_id), principal)
        if refusal is None:
            self._links.add(link, self._table.find_or_add(executor_id), principal)
        return refusal

    def link_closed(self, link: LinkId, now: float) -> None:
        """A link is gone, with all that was queued for it. Due for superseded links too.

        Raises `LocalProtocolError` if the link is not open (`LINK_STATE`).
        """
        gone = self._links.get(link)
        self._advance(now)
        self._links.remove(gone)
        if gone.superseded:
            return
        if gone.principal is None:
            self._lose_executor(gone, now)
        else:
            self._lose_harness(gone, now)
        self._table.tidy(gone.executor)

    def receive_frame(self, link: LinkId, data: bytes, now: float) -> None:
        """One whole frame came in on a link. Whatever it holds, this does not raise.

        Raises `LocalProtocolError` if the link is not open (`LINK_STATE`).
        """
        source = self._links.get(link)
        self._advance(now)
        if source.superseded:
            self._dropped[DropCause.SUPERSEDED_LINK] += 1
            return
        header = read_header(data, self._config.relay)
        if isinstance(header, InvalidFrame):
            self._dropped[header.cause] += 1
        elif source.principal is None:
            self._from_executor(source, header, data)
        else:
            self._from_harness(source, source.principal, header, data)

    def handle_timeout(self, now: float) -> None:
        """End the routes whose grace period is over."""
        self._advance(now)
        while (expired := self._table.next_expired(now)) is not None:
            route, reason = expired
            self._end(route, reason)
            self._table.tidy(route.executor)

    # -- outputs

    def next_event(self) -> RendezvousEvent | None:
        """The oldest event not taken yet, or None."""
        return self._events.popleft() if self._events else None

    def links_with_output(self) -> list[LinkId]:
        """The open links that something was queued for since the last call, each once."""
        links = list(self._with_output)
        self._with_output.clear()
        return links

    def frames_to_send(self, link: LinkId, max_bytes: int) -> list[bytes]:
        """The next frames for a link, in order, each to be one binary WebSocket message.

        Not more than `max_bytes` together, but at least one if any is queued: call again until
        there is none. They are out of the queue then. Raises `LocalProtocolError` if the link is
        not open (`LINK_STATE`) or `max_bytes` is not positive (`BAD_ARGUMENT`).
        """
        target = self._links.get(link)
        if max_bytes < 1:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT, f"max_bytes is {max_bytes}; ask for 1 or more"
            )
        return target.queue.take(max_bytes)

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is due, or None."""
        return self._table.next_timeout()

    def stats(self) -> RendezvousStats:
        """A snapshot of the counters."""
        return RendezvousStats(
            executor_links=self._links.executors,
            harness_links=self._links.harnesses,
            routes=self._table.count,
            ended_routes=len(self._ended),
            bytes_queued=self._pool.used,
            frames_forwarded=self._frames_forwarded,
            bytes_forwarded=self._bytes_forwarded,
            dropped=_snapshot(self._dropped),
            resets_sent=_snapshot(self._resets_sent),
            resets_suppressed=self._resets_suppressed,
        )

    # -- links

    def _advance(self, now: float) -> None:
        # Written so that NaN fails too.
        if not now >= self._now:
            raise LocalProtocolError(
                LocalCause.TIME_WENT_BACK, f"now is {now}, was {self._now}; use a monotonic clock"
            )
        self._now = now
        self._ended.expire(now)

    def _drop_queue(self, link: Link) -> None:
        self._dropped[DropCause.LINK_CLOSED] += link.queue.clear()
        self._with_output.pop(link.link_id, None)

    def _lose_executor(self, link: Link, now: float) -> None:
        self._drop_queue(link)
        self._links.discount(link)
        executor = link.executor
        executor.link = None
        for route in list(executor.routes.values()):
            if route.executor_reliable:
                self._table.suspend(route, now)
            else:
                self._end(route, ResetReason.EXECUTOR_UNAVAILABLE)

    def _lose_harness(self, link: Link, now: float) -> None:
        self._drop_queue(link)
        self._links.discount(link)
        for route in list(link.routes):
            self._table.detach(route, now)
            if not route.reliable:
                self._end(route, ResetReason.HARNESS_DISCONNECTED)

    # -- frames

    def _from_executor(self, source: Link, header: RoutingHeader, data: bytes) -> None:
        executor, stream_id = source.executor, header.stream_id
        route = executor.routes.get(stream_id)
        if route is None:
            ended = self._ended.find(executor.executor_id, stream_id)
            if ended is None:
                self._dropped[DropCause.NO_ROUTE] += 1
            else:
                self._after_end(source, header, ended, answered=_ASKS_AGAIN)
            return
        if route.suspended:
            if header.body == "resume" and header.next_seq:
                self._table.resume(route)
            elif header.body not in _PASSES_SUSPENDED:
                self._dropped[DropCause.SUSPENDED] += 1
                return
        if route.harness is None:
            self._dropped[DropCause.HARNESS_AWAY] += 1
        else:
            self._forward(route, source, route.harness, header, data)

    def _from_harness(
        self, source: Link, principal: str, header: RoutingHeader, data: bytes
    ) -> None:
        executor, stream_id = source.executor, header.stream_id
        route = executor.routes.get(stream_id)
        known = route or self._ended.find(executor.executor_id, stream_id)
        if known is not None and known.principal != principal:
            self._dropped[DropCause.FOREIGN_STREAM] += 1
            if header.body in _MAKES_ROUTE:
                self._answer(source, _reset(stream_id, ResetReason.UNKNOWN_STREAM))
            return
        if isinstance(known, EndedRoute):
            self._after_end(source, header, known, answered=_MAKES_ROUTE)
            return
        if route is None and header.body == "reset":
            self._end_unrouted(source, principal, data)
            return
        if route is None:
            route = self._make_route(source, principal, header)
            if route is None:
                return
        elif source.age < route.age:
            self._dropped[DropCause.STALE_LINK] += 1
            return
        elif route.harness is not source:
            self._table.move(route, source)
        if executor.link is None:
            self._dropped[DropCause.NO_EXECUTOR] += 1
        elif route.suspended and header.body not in _PASSES_SUSPENDED:
            self._dropped[DropCause.SUSPENDED] += 1
        else:
            self._forward(route, source, executor.link, header, data)

    def _forward(
        self, route: Route, source: Link, target: Link, header: RoutingHeader, data: bytes
    ) -> None:
        if not self._pass_on(target, route.stream_id, data):
            if not route.reliable:
                for link in (source, target):
                    self._dropped[DropCause.SLOW_CONSUMER] += link.queue.discard(route.stream_id)
                self._end(route, ResetReason.SLOW_CONSUMER)
            return
        from_executor = source.principal is None
        if header.body == "resume" and header.next_seq:
            if from_executor:
                route.executor_reliable = True
            else:
                route.harness_reliable = True
        elif header.body == "reset":
            reset = decode_frame(data, self._config.relay)
            if isinstance(reset, ResetFrame):
                by = RouteEndedBy.EXECUTOR if from_executor else RouteEndedBy.HARNESS
                # The module's text tells of the one end that the harness does not take for final.
                final = (
                    not from_executor
                    or route.executor_reliable
                    or reset.reason != ResetReason.UNKNOWN_STREAM
                )
                self._forget(route, reset, by, remember=final)

    def _end_unrouted(self, source: Link, principal: str, data: bytes) -> None:
        """A harness ends a stream whose route was lost with another rendezvous, or never was."""
        reset = decode_frame(data, self._config.relay)
        target = source.executor.link
        if not isinstance(reset, ResetFrame):
            self._dropped[DropCause.NO_ROUTE] += 1
            return
        executor_id = source.executor.executor_id
        self._ended.add(executor_id, principal, reset, RouteEndedBy.HARNESS, self._now)
        if target is None:
            self._dropped[DropCause.NO_EXECUTOR] += 1
        else:
            self._pass_on(target, reset.stream_id, data)

    def _pass_on(self, target: Link, stream_id: str, data: bytes) -> bool:
        """Queue a frame; whether there was room."""
        full = target.queue.put(stream_id, data)
        if full is not None:
            self._dropped[_QUEUE_FULL[full]] += 1
            return False
        self._with_output[target.link_id] = None
        self._frames_forwarded += 1
        self._bytes_forwarded += len(data)
        return True

    def _after_end(
        self, source: Link, header: RoutingHeader, ended: EndedRoute, *, answered: AbstractSet[str]
    ) -> None:
        """A frame for a route that has ended: it is dropped, and some are told so."""
        self._dropped[DropCause.ENDED_ROUTE] += 1
        if header.body in answered:
            self._answer(source, ended.reset_for(executor=source.principal is None))

    # -- routes

    def _make_route(self, source: Link, principal: str, header: RoutingHeader) -> Route | None:
        """The route that a harness's frame makes, or None if it makes none."""
        if header.body not in _MAKES_ROUTE:
            self._dropped[DropCause.NO_ROUTE] += 1
            return None
        stream_id = header.stream_id
        # Both fields are 0 in anything but a resume.
        peer_known = header.peer_incarnation != 0 or header.next_seq >= 2
        if source.executor.link is None and not peer_known:
            self._dropped[DropCause.NO_EXECUTOR] += 1
            self._answer(source, _reset(stream_id, ResetReason.EXECUTOR_UNAVAILABLE))
            return None
        route = self._table.add(stream_id, source, principal)
        if route is None:
            self._dropped[DropCause.TOO_MANY_ROUTES] += 1
            self._answer(source, _reset(stream_id, ResetReason.TOO_MANY_STREAMS))
            return None
        if peer_known:
            route.harness_reliable = route.executor_reliable = True
            self._table.suspend(route, self._now)
        self._events.append(
            RouteOpened(
                executor_id=route.executor.executor_id,
                stream_id=stream_id,
                principal=principal,
                link=source.link_id,
            )
        )
        return route

    def _end(self, route: Route, reason: ResetReason) -> None:
        """End a route, and say so to each side that is there."""
        reset = _reset(route.stream_id, reason)
        for link in (route.executor.link, route.harness):
            if link is not None:
                self._send_reset(link, reset)
        self._forget(route, reset, RouteEndedBy.RENDEZVOUS, remember=True)

    def _forget(self, route: Route, reset: ResetFrame, by: RouteEndedBy, *, remember: bool) -> None:
        self._table.remove(route)
        if remember:
            executor_id = route.executor.executor_id
            # One text serves for the route and for what is remembered of it.
            reset = reset._replace(stream_id=route.stream_id)
            self._ended.add(executor_id, route.principal, reset, by, self._now)
        self._events.append(
            RouteEnded(
                executor_id=route.executor.executor_id,
                stream_id=route.stream_id,
                principal=route.principal,
                reason=reset.reason,
                by=by,
            )
        )

    # -- resets made here

    def _answer(self, link: Link, reset: ResetFrame) -> None:
        """Reset a stream that has no route, within the link's rate."""
        if link.resets.allow(self._now):
            self._send_reset(link, reset)
        else:
            self._resets_suppressed += 1

    def _send_reset(self, link: Link, reset: ResetFrame) -> None:
        if link.queue.put_reserved(reset.stream_id, encode_frame(reset)):
            self._with_output[link.link_id] = None
            self._resets_sent[reason_of(reset.reason)] += 1
        else:
            self._resets_suppressed += 1


def _reset(stream_id: str, reason: ResetReason) -> ResetFrame:
    return ResetFrame(stream_id, 0, 0, reason.value)


def _snapshot(counter: Counter[_K]) -> Mapping[_K, int]:
    return MappingProxyType({key: count for key, count in counter.items() if count})
