"""The half of the oracle that watches the rendezvous, and what both halves need."""

from collections import Counter
from typing import NoReturn

from ...codec import decode_frame
from ...config import RelayConfig
from ...connection import Role
from ...errors import ResetReason
from ...frames import Frame, InvalidFrame, ResetFrame, ResumeFrame
from ...rendezvous import LinkRefusal, RouteEnded, RouteEndedBy, RouteOpened
from .bounds import hub_excess, queue_excess
from .lanes import Link
from .passage import Dialler
from .promises import Promise, PromiseBroken
from .reasons import false_refusal, false_reset_of_hub, false_route_end
from .records import HubView, StreamRecord
from .stage import Stage
from .trace import describe

__all__ = ["BOUNDS_EVERY", "HubOracle"]

_READ = RelayConfig()
_CACHE = 4096
"""Frames whose decoded form is remembered: each is looked at several times on its way."""
BOUNDS_EVERY = 16
"""Drains of one peer or hub between two looks at its bounds."""


class HubOracle:
    """The memory of one world, and the judge of its rendezvous."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.streams: dict[str, StreamRecord] = {}
        self._hubs: dict[str, HubView] = {}
        self._decoded: dict[bytes, Frame | InvalidFrame] = {}
        self._drains: Counter[str] = Counter()

    def broken(self, promise: Promise, detail: str) -> NoReturn:
        """A promise is broken."""
        raise PromiseBroken(promise, detail, self.stage.now)

    def frame_of(self, data: bytes) -> Frame | InvalidFrame:
        """A frame, decoded."""
        frame = self._decoded.get(data)
        if frame is None:
            if len(self._decoded) >= _CACHE:
                self._decoded.clear()
            frame = self._decoded[data] = decode_frame(data, _READ)
        return frame

    # -- at a rendezvous

    def arrived_at_hub(self, hub: HubView, link: Link, data: bytes) -> None:
        """A frame is about to be handed to a rendezvous."""
        frame = self.frame_of(data)
        if self.stage.trace is not None:
            self.stage.note(hub.name, f"< {link.peer.name}: {describe(frame)}")
        self._hubs[hub.name] = hub
        facts = hub.facts
        facts.inside[data] += 1
        if isinstance(frame, InvalidFrame):
            return
        if isinstance(frame, ResetFrame):
            facts.resets.add(data)
            if link.peer.role is Role.HARNESS:
                facts.ends += 1  # without a route it is remembered all the same
                facts.said_by_harness.setdefault(frame.stream_id, set()).add(frame.reason)
        if link.peer.role is Role.HARNESS:
            facts.harness_heard[frame.stream_id] = self.stage.now
        elif isinstance(frame, ResumeFrame) and frame.next_seq:
            facts.executor_resumed[frame.stream_id] = self.stage.now

    def left_hub(self, hub: HubView, link: Link, data: bytes) -> None:
        """A rendezvous has let a frame out."""
        frame = self.frame_of(data)
        record = None if isinstance(frame, InvalidFrame) else self.streams.get(frame.stream_id)
        facts = hub.facts
        told = isinstance(frame, ResetFrame) and (
            facts.route_ended.get(frame.stream_id) == frame.reason
            or frame.reason in facts.said_by_harness.get(frame.stream_id, ())
        )
        if told and record is not None and isinstance(frame, ResetFrame):
            record.told.add(frame.reason)
        inside = facts.inside
        if inside[data] > 0:
            inside[data] -= 1
            if not inside[data]:
                del inside[data]
            return
        repeated = told and data in facts.resets
        if not isinstance(frame, ResetFrame) or ((frame.ack or frame.ack_bits) and not repeated):
            self.broken(Promise.ROUTED_ONCE, f"{hub.name} sent {describe(frame)} of its own")
        if self.stage.trace is not None:
            self.stage.note(hub.name, f"> {link.peer.name}: {describe(frame)}")
        if told or record is None:
            return  # the end of the route was judged when it came
        if link.peer.role is Role.EXECUTOR:
            self.broken(Promise.REASON, f"{hub.name} resets {record.stream_id}: {frame.reason!r}")
        if link.peer.name != record.harness:
            return
        false = false_reset_of_hub(record, hub, frame.reason, self.stage.now)
        if false is not None:
            self.broken(
                Promise.REASON, f"{hub.name} resets {record.stream_id}: {frame.reason!r}: {false}"
            )
        record.hub_reasons[frame.reason] = None

    def link_refused(self, hub: HubView, peer: Dialler, refusal: LinkRefusal) -> None:
        """A rendezvous has not taken a peer's link."""
        false = false_refusal(hub, peer, refusal)
        if false is not None:
            self.broken(Promise.REASON, f"{hub.name} refuses {peer.name}: {refusal.name}: {false}")

    def route_opened(self, hub: HubView, event: RouteOpened) -> None:
        """A rendezvous has made a route."""
        facts, config, stream_id = hub.facts, hub.config, event.stream_id
        facts.route_opened[stream_id] = self.stage.now
        if stream_id in self.streams:
            self.streams[stream_id].routes += 1
        ended, number = facts.ended_at.get((event.executor_id, stream_id), (float("-inf"), 0))
        remembered = facts.ends - number < config.max_ended_routes
        if self.stage.now < ended + config.ended_route_ttl and remembered:
            self.broken(Promise.AT_MOST_ONCE, f"{hub.name} revives {stream_id}, ended at {ended}")
        self.stage.note(hub.name, f"{event.stream_id}: route")

    def route_ended(self, hub: HubView, event: RouteEnded) -> None:
        """A rendezvous has ended a route, or passed on a reset."""
        record = self.streams.get(event.stream_id)
        facts = hub.facts
        facts.route_ended[event.stream_id] = event.reason
        facts.ends += 1
        # What an executor says that knows nothing of the stream is not final.
        if event.by is not RouteEndedBy.EXECUTOR or event.reason != ResetReason.UNKNOWN_STREAM:
            key = event.executor_id, event.stream_id
            facts.ended_at[key] = self.stage.now, facts.ends
        self.stage.note(hub.name, f"{event.stream_id}: route ended, {event.reason!r}")
        if record is None or event.by is not RouteEndedBy.RENDEZVOUS:
            return
        false = false_route_end(record, hub, event, self.stage.now)
        if false is not None:
            self.broken(
                Promise.REASON,
                f"{hub.name} ended {event.stream_id} with {event.reason!r}: {false}",
            )
        record.hub_reasons[event.reason] = None

    def taken_by_hub(self, hub: HubView) -> None:
        """A rendezvous was handed a frame and has let nothing out since: its queues are longest."""
        excess = queue_excess(hub)
        if excess is not None:
            self.broken(Promise.BOUNDED, f"{hub.name}: {excess}")

    def hub_settled(self, hub: HubView) -> None:
        """A rendezvous was drained."""
        self._drains[hub.name] += 1
        if self._drains[hub.name] % BOUNDS_EVERY == 0:
            self.check_hub_bounds(hub)

    def check_hub_bounds(self, hub: HubView) -> None:
        """Look at a rendezvous's bounds now."""
        excess = hub_excess(hub, self.stage.now)
        if excess is not None:
            self.broken(Promise.BOUNDED, f"{hub.name}: {excess}")
