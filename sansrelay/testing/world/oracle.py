"""Watches a world and knows what is true in it, whatever the machines believe.

It sees each call at both ends of a stream, each frame that a machine lets out, and each fault.
After each of these it checks the promises that can be broken by it; `promises.Promise` lists them.
"""

from collections import Counter
from typing import NoReturn

from ...codec import decode_frame
from ...config import ProfilePolicy, RelayConfig
from ...connection import Role
from ...events import EndedBy
from ...frames import (
    AckFrame,
    DataFrame,
    Frame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from ...rendezvous import RouteEnded, RouteEndedBy, RouteOpened
from ...states import Profile
from .bounds import hub_excess, peer_excess
from .ends import StreamEnd
from .gaps import reliable_after_basic
from .lanes import Link
from .promises import Promise, PromiseBroken
from .reasons import false_reason, false_reset_of_hub, false_route_end
from .records import HubView, Life, PeerView, StreamRecord
from .stage import Stage
from .trace import describe

__all__ = ["Oracle"]

_READ = RelayConfig()
_CACHE = 4096
"""Frames whose decoded form is remembered: each is looked at several times on its way."""
_BOUNDS_EVERY = 16
"""Drains of one peer or hub between two looks at its bounds."""


class Oracle:
    """The memory and the judge of one world."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.streams: dict[str, StreamRecord] = {}
        self.lives: list[Life] = []
        self.frames_by: Counter[str] = Counter()
        """Frames let out, by name of the peer."""
        self._life_of: dict[str, Life] = {}
        self._decoded: dict[bytes, Frame | InvalidFrame] = {}
        self._opened_by: Counter[str] = Counter()
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

    # -- lives and streams

    def life_began(self, peer: PeerView) -> None:
        """A process has started."""
        self._life_of[peer.name] = life = Life(peer, self.stage.now)
        self.lives.append(life)

    def life_ended(self, peer: PeerView) -> None:
        """A process has died."""
        self._life_of[peer.name].ended = self.stage.now

    def fresh_stream_id(self, peer: PeerView) -> str:
        """An id that no stream had before."""
        self._opened_by[peer.name] += 1
        return f"{peer.name}/{self._opened_by[peer.name]}"

    def opened(self, peer: PeerView, end: StreamEnd) -> None:
        """A harness has opened a stream, or an executor's application was told of one."""
        record = self.streams.get(end.stream_id)
        if peer.role is Role.HARNESS:
            self.streams[end.stream_id] = StreamRecord(end.stream_id, peer, end)
        elif record is None:
            self.broken(Promise.VALID, f"{peer.name} accepted {end.stream_id}, which nobody opened")
        else:
            record.acceptors.append(end)

    # -- the wire at the peers

    def emitted(self, peer: PeerView, data: bytes) -> None:
        """A peer has let a frame out."""
        frame = self.frame_of(data)
        self.frames_by[peer.name] += 1
        if self.stage.trace is not None:
            self.stage.note(peer.name, f"> {describe(frame)}")
        if isinstance(frame, InvalidFrame):
            self.broken(Promise.VALID, f"{peer.name} sent a frame that is not valid: {frame}")
        if isinstance(frame, DataFrame):
            self._emitted_data(peer, frame)

    def _emitted_data(self, peer: PeerView, frame: DataFrame) -> None:
        end = peer.ends.get(frame.stream_id)
        if end is None or end.ended is not None:
            self.broken(Promise.OUTCOME, f"{peer.name} sent {describe(frame)} after the end")
        facts = end.facts
        seq = frame.seq
        if facts.next_seq is None:
            if seq > 1:
                self.broken(Promise.VALID, f"{end.stream_id} begins with seq {seq}")
            facts.next_seq = seq
        if seq < facts.next_seq:
            if self._profile(peer, end) is not Profile.RELIABLE:
                self.broken(Promise.SENT_ONCE, f"{peer.name} sent {describe(frame)} once more")
            return
        if seq > facts.next_seq:
            self.broken(Promise.VALID, f"{peer.name} left out seq {facts.next_seq}: {frame}")
        facts.next_seq = seq + 1
        if not frame.segment_index:
            facts.started += 1
        facts.message_of[seq] = facts.started
        if peer.machine is None or self._profile(peer, end) is Profile.BASIC:
            return
        size = len(frame.payload)
        flight = facts.flight
        config = peer.config
        reliable = self._profile(peer, end) is Profile.RELIABLE
        limit = config.send_window_segments if reliable else config.opening_window_segments
        if flight and (
            len(flight) >= limit or facts.flight_bytes + size > config.send_window_bytes
        ):
            self.broken(
                Promise.BOUNDED,
                f"{end.stream_id}: {len(flight) + 1} segments, {facts.flight_bytes + size} bytes"
                f" beyond the ack, at most {limit} and {config.send_window_bytes}",
            )
        flight[seq] = size
        facts.flight_bytes += size

    def _profile(self, peer: PeerView, end: StreamEnd) -> Profile:
        """What the sender holds the peer for. Only a basic stream ends by being sent."""
        machine = peer.machine
        return (machine and machine.profile(end.stream_id)) or Profile.BASIC

    def arrived(self, peer: PeerView, data: bytes) -> None:
        """A frame is about to be handed to a peer."""
        frame = self.frame_of(data)
        if self.stage.trace is not None:
            self.stage.note(peer.name, f"< {describe(frame)}")
        if isinstance(frame, InvalidFrame):
            return
        end = peer.ends.get(frame.stream_id)
        if end is None or end.ended is not None:
            return
        facts = end.facts
        if end.profile is Profile.RELIABLE and self._is_answer(end, frame):
            facts.heard_at = self.stage.now
        ack = frame.ack
        if facts.acked_seq < ack and facts.next_seq is not None and ack < facts.next_seq:
            flight = facts.flight
            for seq in range(facts.acked_seq + 1, ack + 1):
                facts.flight_bytes -= flight.pop(seq, 0)
            facts.acked_seq = ack

    def _is_answer(self, end: StreamEnd, frame: Frame) -> bool:
        """Whether a frame shows that the peer lives. A resume may be a stale copy."""
        facts = end.facts
        if isinstance(frame, DataFrame):
            facts.highest_in = max(facts.highest_in, frame.seq)
            return True
        if isinstance(frame, ResumeFrame):
            return bool(frame.peer_incarnation) and frame.next_seq > facts.highest_in
        return isinstance(frame, AckFrame | HeartbeatFrame)

    def spoiled(self, data: bytes, again: bool) -> None:
        """The network loses, damages, repeats or delays a frame; `again`: it may come once more."""
        frame = self.frame_of(data)
        if self.stage.trace is not None:
            self.stage.note("network", f"spoils {describe(frame)}")
        if isinstance(frame, InvalidFrame):
            return
        record = self.streams.get(frame.stream_id)
        if record is not None:
            record.spoiled = True
            if again and isinstance(frame, DataFrame):
                record.copies[frame.payload] += 1
            elif isinstance(frame, ResetFrame):
                record.late_reset = True

    def told_nobody(self) -> None:
        """A link was lost, and the other side is not told: bad for basic streams."""
        for record in self.streams.values():
            record.spoiled = True

    # -- what applications see

    def delivered(self, peer: PeerView, end: StreamEnd, data: bytes) -> None:
        """A `RelayConnection` has handed out a message."""
        record = self.streams[end.stream_id]
        if end.profile is Profile.BASIC and peer.config.profile is ProfilePolicy.BASIC:
            self._ran_in_any_order(record, end, data)
            return
        index = len(end.received) - 1
        facts = end.facts
        known = record.others(end) if facts.partners is None else facts.partners
        facts.partners = [
            other for other in known if len(other.sent) > index and other.sent[index] == data
        ]
        if not facts.partners and not (record.spoiled and end.profile is Profile.BASIC):
            self.broken(
                Promise.EXACTLY_ONCE,
                f"{peer.name} received {data!r} as message {index + 1} of {end.stream_id}",
            )
        if end is not record.opener and not peer.config.early_data:
            self._ran(record, index + 1, end, data)

    def ran(self, peer: PeerView, end: StreamEnd, frame: DataFrame) -> None:
        """A basic peer has run a frame."""
        record = self.streams[end.stream_id]
        if end is record.opener:
            if not record.spoiled:
                self.delivered_to_basic(record, end, frame.payload)
            return
        self._ran_in_any_order(record, end, frame.payload)

    def delivered_to_basic(self, record: StreamRecord, end: StreamEnd, data: bytes) -> None:
        """A basic harness has received a message over a network that spoilt nothing."""
        index = len(end.received) - 1
        if not any(
            len(other.sent) > index and other.sent[index] == data for other in record.acceptors
        ):
            self.broken(Promise.EXACTLY_ONCE, f"{end.stream_id}: {data!r} came out of order")

    def _ran_in_any_order(self, record: StreamRecord, end: StreamEnd, data: bytes) -> None:
        """An acceptor that runs whatever comes: in order only if the network spoilt nothing."""
        sent = record.opener.sent
        start = 0 if record.spoiled else end.facts.run_next
        try:
            index = sent.index(data, start)
        except ValueError:
            self.broken(Promise.EXACTLY_ONCE, f"{end.stream_id}: {data!r} came out of order")
        end.facts.run_next = index + 1
        self._ran(record, index + 1, end, data)

    def _ran(self, record: StreamRecord, message: int, end: StreamEnd, data: bytes) -> None:
        record.runs[message] += 1
        runs = record.runs[message]
        allowed = 1 if end.profile is Profile.RELIABLE else 1 + record.copies[data]
        if runs > allowed and reliable_after_basic(record, end):
            record.copies[data] += 1
        elif runs > allowed:
            self.broken(
                Promise.AT_MOST_ONCE,
                f"message {message} of {record.stream_id} was run {runs} times, last by"
                f" {end.owner_name}",
            )

    def acknowledged(self, end: StreamEnd) -> None:
        """A sender was told that everything up to `end.acknowledged` was taken over."""
        taken = max(
            (other.consumed for other in self.streams[end.stream_id].others(end)), default=0
        )
        if end.acknowledged > taken or end.acknowledged > end.facts.started:
            self.broken(
                Promise.ACKNOWLEDGED,
                f"{end.owner_name} takes message {end.acknowledged} of {end.stream_id} for"
                f" acknowledged; {end.facts.started} were sent, {taken} were taken over",
            )

    def ended(self, peer: PeerView, end: StreamEnd, before: int) -> None:
        """A stream has ended at one end; `before` messages were acknowledged until then."""
        event = end.ended
        assert event is not None
        total = len(end.sent)
        first_unsent = total - len(event.never_sent) + 1
        right = (
            before <= end.acknowledged
            and event.unknown == range(end.acknowledged + 1, first_unsent)
            and event.never_sent == range(first_unsent, total + 1)
            and end.facts.started == first_unsent - 1
        )
        if not right:
            self.broken(
                Promise.OUTCOME,
                f"{peer.name}, {end.stream_id}: {event}; {total} messages were queued,"
                f" {end.facts.started} sent, {before} acknowledged before",
            )
        self.acknowledged(end)
        if end.graceful and event.by is EndedBy.LOCAL and event.reason == end.reason_given:
            left = event.never_sent if end.profile is Profile.BASIC else event.unknown
            if left or event.never_sent:
                self.broken(Promise.OUTCOME, f"{end.stream_id} was closed with {left} left")
        record = self.streams[end.stream_id]
        false = false_reason(record, end, peer, self.lives, self.stage.now)
        if false is not None:
            self.broken(
                Promise.REASON,
                f"{peer.name} ended {end.stream_id} with {event.reason!r} by {event.by.value}:"
                f" {false}",
            )

    # -- drains and timers

    def settled(self, peer: PeerView) -> None:
        """A peer was drained."""
        self._drains[peer.name] += 1
        if self._drains[peer.name] % _BOUNDS_EVERY == 0:
            self.check_bounds(peer)

    def check_bounds(self, peer: PeerView) -> None:
        """Look at a peer's bounds now."""
        excess = peer_excess(peer)
        if excess is not None:
            self.broken(Promise.BOUNDED, f"{peer.name}: {excess}")

    def timer_handled(self, name: str, following: float | None) -> None:
        """A timer was handled and everything drained."""
        if following is not None and following <= self.stage.now:
            self.broken(Promise.TIMERS, f"{name} has a timer due at {following} again")

    # -- at a rendezvous

    def arrived_at_hub(self, hub: HubView, link: Link, data: bytes) -> None:
        """A frame is about to be handed to a rendezvous."""
        frame = self.frame_of(data)
        if self.stage.trace is not None:
            self.stage.note(hub.name, f"< {link.peer.name}: {describe(frame)}")
        facts = hub.facts
        facts.inside[data] += 1
        if isinstance(frame, InvalidFrame):
            return
        if link.peer.role is Role.HARNESS:
            facts.harness_heard[frame.stream_id] = self.stage.now
        elif isinstance(frame, ResumeFrame) and frame.next_seq:
            facts.executor_resumed[frame.stream_id] = self.stage.now

    def left_hub(self, hub: HubView, link: Link, data: bytes) -> None:
        """A rendezvous has let a frame out."""
        inside = hub.facts.inside
        if inside[data] > 0:
            inside[data] -= 1
            if not inside[data]:
                del inside[data]
            return
        frame = self.frame_of(data)
        if not isinstance(frame, ResetFrame) or frame.ack or frame.ack_bits:
            self.broken(Promise.ROUTED_ONCE, f"{hub.name} sent {describe(frame)} of its own")
        if self.stage.trace is not None:
            self.stage.note(hub.name, f"> {link.peer.name}: {describe(frame)}")
        record = self.streams.get(frame.stream_id)
        if record is None or link.peer.role is not Role.HARNESS:
            return
        false = false_reset_of_hub(record, hub, frame.reason, self.stage.now)
        if false is not None:
            self.broken(
                Promise.REASON, f"{hub.name} resets {record.stream_id}: {frame.reason!r}: {false}"
            )
        record.hub_reasons[frame.reason] = None

    def route_opened(self, hub: HubView, event: RouteOpened) -> None:
        """A rendezvous has made a route."""
        hub.facts.route_opened[event.stream_id] = self.stage.now
        self.stage.note(hub.name, f"{event.stream_id}: route")

    def route_ended(self, hub: HubView, event: RouteEnded) -> None:
        """A rendezvous has ended a route, or passed on a reset."""
        record = self.streams.get(event.stream_id)
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

    def hub_settled(self, hub: HubView) -> None:
        """A rendezvous was drained."""
        self._drains[hub.name] += 1
        if self._drains[hub.name] % _BOUNDS_EVERY == 0:
            self.check_hub_bounds(hub)

    def check_hub_bounds(self, hub: HubView) -> None:
        """Look at a rendezvous's bounds now."""
        excess = hub_excess(hub)
        if excess is not None:
            self.broken(Promise.BOUNDED, f"{hub.name}: {excess}")
