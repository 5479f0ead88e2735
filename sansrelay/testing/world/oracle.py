"""Watches a world and knows what is true in it, whatever the machines believe.

It sees each call at both ends of a stream, each frame that a machine lets out, and each fault.
After each of these it checks the promises that can be broken by it; `promises.Promise` lists them.
"""

from collections import Counter

from ...config import ProfilePolicy
from ...connection import Role
from ...events import EndedBy
from ...frames import (
    DataFrame,
    Frame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from ...states import Profile
from .bounds import peer_excess
from .ends import StreamEnd
from .gaps import answer_to_another_question, reliable_after_basic, reply_of_successor
from .hub_oracle import BOUNDS_EVERY, HubOracle
from .lanes import Link
from .promises import Promise
from .reasons import false_offer_reset, false_reason, is_answer
from .records import Life, PeerView, StreamRecord
from .stage import Stage
from .trace import describe
from .waste import (
    drops_at_hub,
    drops_at_peer,
    heard,
    needless,
    poor_report,
    said,
    unreported,
    untrue_report,
)

__all__ = ["Oracle"]

_NEVER = float("inf")


_MISLEADING = ("stall", "change of weather", "false ack", "false resume")
"""Faults after which what is merely late looks lost."""
_OTHER = {Role.HARNESS: Role.EXECUTOR, Role.EXECUTOR: Role.HARNESS}


class Oracle(HubOracle):
    """The memory and the judge of one world."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.lives: list[Life] = []
        self.frames_by: Counter[str] = Counter()
        """Frames let out, by name of the peer."""
        self._life_of: dict[str, Life] = {}
        self._opened_by: Counter[str] = Counter()
        self._peers: dict[str, PeerView] = {}
        self._links: Counter[str] = Counter()
        """Links that each peer had so far, and when it last was without one."""
        self._unlinked_at: dict[str, float] = {}
        self._last_link: dict[str, Link | None] = {}
        self._arrived_data: dict[str, DataFrame | None] = {}
        """The frame that each peer was handed last, if it was a segment."""
        self._dropped: Counter[str] = Counter()
        """Segments dropped at a limit, by peer."""
        self._unseen: list[ResetFrame] = []
        """Let out in this drain, for streams that the application does not know."""
        self._due: dict[str, dict[str, StreamEnd]] = {}
        """Ends that owe a report, by peer and stream."""
        self._healed_at: float | None = None

    # -- lives and streams

    def life_began(self, peer: PeerView) -> None:
        """A process has started."""
        self._life_of[peer.name] = life = Life(peer, self.stage.now)
        self.lives.append(life)
        self._peers[peer.name] = peer
        self._due[peer.name] = {}

    def life_ended(self, peer: PeerView) -> None:
        """A process has died."""
        self._life_of[peer.name].ended = self.stage.now
        self._unseen.clear()

    def healed(self) -> None:
        """From now on nothing fails any more."""
        self._healed_at = self.stage.now

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
            end.facts.resumes_out = record.asked_unseen[peer.name, peer.life]
            end.facts.answers_in = record.answered_unseen[peer.name, peer.life]
            end.facts.early = record.early[peer.name, peer.life]
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
        if peer.machine is None:
            return
        end = peer.ends.get(frame.stream_id)
        if isinstance(frame, ResetFrame):
            if end is None and frame.stream_id in self.streams:
                self._unseen.append(frame)
        elif end is None or end.ended is not None:
            record = self.streams.get(frame.stream_id)
            if record is not None:
                record.asked_unseen[peer.name, peer.life] += 1
        else:
            end.facts.announced = True
            if isinstance(frame, ResumeFrame):
                end.facts.own = frame.incarnation
            if self._profile(peer, end) is Profile.RELIABLE:
                self._see_drops(peer)
                false = untrue_report(end, frame)
                if false is not None:
                    self.broken(
                        Promise.ACKNOWLEDGED, f"{peer.name} sent {describe(frame)}: {false}"
                    )
                false = poor_report(end, frame)
                if false is not None:
                    self.broken(Promise.WASTE, f"{peer.name} sent {describe(frame)}: {false}")
            false = said(end, frame, peer, self._links[peer.name], self.stage.now)
            if false is not None:
                self.broken(Promise.WASTE, f"{peer.name} sent {describe(frame)}: {false}")

    def _judge_unseen(self, peer: PeerView) -> None:
        """Resets of streams that the application of their sender was never told of."""
        for frame in self._unseen:
            record = self.streams[frame.stream_id]
            if frame.stream_id in peer.ends:
                continue  # it was told just now, and of its end too
            false = false_offer_reset(record, peer, frame.reason, self.stage.now)
            if false is not None:
                self.broken(
                    Promise.REASON,
                    f"{peer.name} resets {record.stream_id} with {frame.reason!r}: {false}",
                )
            record.said.add(frame.reason)
        self._unseen.clear()

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
            self._emitted_again(peer, end, frame)
            return
        if seq > facts.next_seq:
            self.broken(Promise.VALID, f"{peer.name} left out seq {facts.next_seq}: {frame}")
        facts.next_seq = seq + 1
        if not frame.segment_index:
            facts.started += 1
        facts.message_of[seq] = facts.started
        facts.reports_at[seq] = facts.reports
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

    def _emitted_again(self, peer: PeerView, end: StreamEnd, frame: DataFrame) -> None:
        false = needless(end, frame.seq)
        record = self.streams[end.stream_id]
        excused = (_OTHER[peer.role], frame.seq) in record.dropped or answer_to_another_question(
            record, end, frame.seq
        )
        if false is None and not excused and self._undisturbed(record):
            false = "nothing of the stream was lost"
        if false is not None:
            self.broken(Promise.WASTE, f"{peer.name} sent {describe(frame)} again: {false}")
        end.facts.reports_at[frame.seq] = end.facts.reports

    def _undisturbed(self, record: StreamRecord) -> bool:
        """Whether the network kept all of a stream's frames, each end its process and its link, and
        nobody dropped anything at a limit."""
        lives = [
            life
            for life in self.lives
            if life.name == record.harness
            or (life.executor_id == record.executor_id and life.role is Role.EXECUTOR)
        ]
        return not (
            record.spoiled
            or any(self.stage.faults[name] for name in _MISLEADING)
            or any(life.ended is not None and life.ended >= record.opened_at for life in lives)
            or any(self._unlinked_at.get(life.name, -1.0) >= record.opened_at for life in lives)
            or any(drops_at_hub(hub) for hub in self._hubs.values())
        )

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
        self._arrived_data[peer.name] = frame if isinstance(frame, DataFrame) else None
        end = peer.ends.get(frame.stream_id)
        if end is None or end.ended is not None:
            self._offered(peer, frame)
            return
        facts = end.facts
        if end.profile is Profile.RELIABLE and is_answer(end, frame):
            facts.heard_at = self.stage.now
        if peer.machine is not None:
            heard(end, frame, peer, self.stage.now)
            if facts.report_due < _NEVER and end.profile is Profile.RELIABLE:
                self._due[peer.name][end.stream_id] = end
        ack = frame.ack
        beyond = ack + frame.ack_bits.bit_length()  # a report of what was never sent is no report
        if facts.next_seq is None or beyond >= facts.next_seq:
            return
        if ack >= facts.acked_seq and not isinstance(frame, ResetFrame):
            facts.report = ack, frame.ack_bits
        if facts.acked_seq < ack:
            flight = facts.flight
            for seq in range(facts.acked_seq + 1, ack + 1):
                facts.flight_bytes -= flight.pop(seq, 0)
            facts.acked_seq = ack

    def _offered(self, peer: PeerView, frame: Frame) -> None:
        record = self.streams.get(frame.stream_id)
        if record is not None:
            life = peer.name, peer.life
            record.first_at.setdefault(life, self.stage.now)
            if isinstance(frame, ResumeFrame) and frame.answer:
                record.answered_unseen[life] += 1
            elif isinstance(frame, DataFrame):
                record.early[life] |= 1 << frame.seq

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
        index = len(end.received) - 1
        facts = end.facts
        known = record.others(end) if facts.partners is None else facts.partners
        facts.partners = [
            other for other in known if len(other.sent) > index and other.sent[index] == data
        ]
        if end.profile is Profile.BASIC:
            right = self._is_next_basic(record, end, peer, index, data)
        else:
            right = bool(facts.partners) or reply_of_successor(record, end)
        if not right:
            self.broken(
                Promise.EXACTLY_ONCE,
                f"{peer.name} received {data!r} as message {index + 1} of {end.stream_id}",
            )
        if end is not record.opener and not peer.config.early_data:
            self._ran(record, index + 1, end, data)

    def _is_next_basic(
        self, record: StreamRecord, end: StreamEnd, peer: PeerView, index: int, data: bytes
    ) -> bool:
        """Whether a message is the next one of a basic peer. It runs on one link from its first
        number on, each number once, whatever the network does."""
        facts = end.facts
        if peer.config.profile is ProfilePolicy.BASIC and end is not record.opener:
            # As Codex does, it begins wherever the first frame says.
            sent = record.opener.sent
            if not index:
                facts.run_next = sent.index(data) if data in sent else len(sent)
            right = sent[facts.run_next : facts.run_next + 1] == [data]
            facts.run_next += 1
            return right
        if facts.partners or not record.spoiled:
            return bool(facts.partners)
        # Sessions of several basic executors number alike, and nobody can tell them apart.
        return any(
            other.profile is Profile.BASIC and other.sent[index : index + 1] == [data]
            for other in record.others(end)
        )

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
        false = false_reason(
            record, end, peer, self.lives, self.stage.now, healed_at=self._healed_at
        )
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
        if self._drains[peer.name] % BOUNDS_EVERY == 0:
            self.check_bounds(peer)
        if self._unseen:
            self._judge_unseen(peer)
        self._see_drops(peer)
        link = peer.link
        if link is not self._last_link.get(peer.name):
            self._last_link[peer.name] = link
            self._links[peer.name] += 1
        due = self._due[peer.name]
        if link is None:
            self._without_link(peer)
            due.clear()
        elif due and not link.up.starved:
            self._check_reports(peer, due)

    def _see_drops(self, peer: PeerView) -> None:
        dropped = drops_at_peer(peer)
        if dropped == self._dropped[peer.name]:
            return
        self._dropped[peer.name] = dropped
        # Each frame is handed in alone, so it is the last one.
        frame = self._arrived_data.get(peer.name)
        record = self.streams.get(frame.stream_id) if frame is not None else None
        if frame is not None and record is not None:
            record.dropped.add((peer.role, frame.seq))
            end = peer.ends.get(frame.stream_id)
            if end is not None:
                end.facts.held &= ~(1 << frame.seq)

    def _without_link(self, peer: PeerView) -> None:
        self._unlinked_at[peer.name] = self.stage.now
        for end in peer.ends.values():
            end.facts.report_due = _NEVER
            if end.profile is Profile.BASIC and end.live and end.facts.announced:
                self.broken(Promise.OUTCOME, f"{end.stream_id} is basic and outlives its link")

    def _check_reports(self, peer: PeerView, due: dict[str, StreamEnd]) -> None:
        for stream_id, end in list(due.items()):
            if end.facts.report_due < _NEVER:
                false = unreported(peer, end)
                if false is not None:
                    self.broken(Promise.WASTE, f"{peer.name}, {stream_id}: {false}")
            else:
                del due[stream_id]

    def check_bounds(self, peer: PeerView) -> None:
        """Look at a peer's bounds now."""
        excess = peer_excess(peer)
        if excess is not None:
            self.broken(Promise.BOUNDED, f"{peer.name}: {excess}")

    def timer_handled(self, name: str, following: float | None) -> None:
        """A timer was handled and everything drained."""
        if following is not None and following <= self.stage.now:
            self.broken(Promise.TIMERS, f"{name} has a timer due at {following} again")
