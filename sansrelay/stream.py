"""One stream: its life, its timers, and what it owes the wire.

The theory is in `sansrelay.states`; the two directions are `sender` and `receiver`. This module is
what binds them: which frame may be sent when, and what each incoming frame means at this point of
the stream's life. `RelayConnection` routes frames here and asks here for frames to send.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .config import ProfilePolicy, RelayConfig
from .errors import FrameCause, ResetReason
from .events import (
    AckCause,
    AckDue,
    DataAcknowledged,
    DataReceived,
    EndedBy,
    Event,
    FrameRejected,
    PeerSilent,
    Retransmit,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
    StreamResumed,
)
from .frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from .receiver import Budget, Receiver
from .rtt import RttEstimator
from .scheduler import Scheduler
from .sender import Sender
from .states import Profile, StreamState
from .stats import Counters
from .timers import NEVER, TimerHeap, TimerKind

__all__ = ["Shared", "Stream"]


@dataclass(slots=True)
class Shared:
    """What the streams of one connection have in common."""

    config: RelayConfig
    emit: Callable[[Event], None]
    ended: Callable[["Stream", str, int, int, bool], None]
    budget: Budget
    early_budget: Budget
    counters: Counters
    scheduler: Scheduler["Stream"]
    timers: TimerHeap["Stream"]
    link_up: bool = False


class Stream:
    """One virtual session with the peer.

    `own` and `peer` are the incarnations of the two ends, 0 where there is none or it is not known.
    """

    __slots__ = (
        "_ack_deadline",
        "_ack_due",
        "_announced",
        "_asked_at",
        "_asking",
        "_closing",
        "_duplicate_acked_at",
        "_heartbeat_unanswered",
        "_last_answer",
        "_last_heard",
        "_last_sent",
        "_link_fresh",
        "_lost_while_unknown",
        "_owes_answer",
        "_owes_heartbeat",
        "_owes_question",
        "_question_deadline",
        "_rto_deadline",
        "_shared",
        "_silence_said",
        "_unreported_bytes",
        "_unreported_segments",
        "_waiting_since",
        "deficit",
        "in_control_line",
        "in_data_line",
        "is_opener",
        "own",
        "peer",
        "profile",
        "queued_at",
        "receiver",
        "rtt",
        "sender",
        "state",
        "stream_id",
    )

    def __init__(
        self, stream_id: str, shared: Shared, *, is_opener: bool, own: int, profile: Profile
    ) -> None:
        self.stream_id = stream_id
        self.is_opener = is_opener
        self.own = own
        self.peer = 0
        self.profile = profile
        self.state = StreamState.OPENING if is_opener else StreamState.UNCONFIRMED
        self.sender = Sender(shared.config, first_seq=0 if profile is Profile.BASIC else 1)
        self.receiver = Receiver(shared.config, shared.budget)
        self.rtt = RttEstimator(shared.config)
        self._shared = shared
        self._closing: str | None = None

        # The line of questions and answers. `_announced`: a resume, or data, has left.
        # `_link_fresh`: the peer's resume has not come since this link began.
        self._announced = False
        self._asking = False
        self._asked_at = 0
        self._link_fresh = False
        self._lost_while_unknown = False
        self._owes_question = False
        self._owes_answer = False
        self._last_answer = -NEVER
        self._owes_heartbeat = False
        self._heartbeat_unanswered = False

        self._ack_due = False
        self._unreported_segments = 0
        self._unreported_bytes = 0
        self._duplicate_acked_at = -NEVER

        self._ack_deadline = NEVER
        self._rto_deadline = NEVER
        self._question_deadline = NEVER
        self._waiting_since = NEVER
        self._last_heard = -NEVER
        self._last_sent = NEVER
        self._silence_said = False

        self.queued_at = NEVER
        self.in_control_line = False
        self.in_data_line = False
        self.deficit = 0

    def open(self) -> None:
        """A basic stream needs no confirmation: it is open as soon as it exists."""
        self.state = StreamState.OPEN
        self.receiver.next_seq = 0
        self._open()

    def offered(self, frame: ResumeFrame, now: float) -> None:
        """At an acceptor: the opening that made this stream."""
        self.peer = frame.incarnation
        self._link_fresh = True
        if self.peer:
            self.ask()
        else:
            self._on_pair(frame, now)  # a peer without incarnations is confirmed at once

    # -- what the application wants

    @property
    def closing(self) -> bool:
        """Whether the application has closed it and it waits for the last acks."""
        return self._closing is not None

    def send(self, data: bytes) -> int:
        """Queue one message that fits; returns its id."""
        message_id = self.sender.queue(data)
        self._shared.scheduler.want_data(self)
        return message_id

    def consume(self, messages: int) -> None:
        """The application has taken over that many messages."""
        segments, size = self.receiver.consume(messages)
        if self.profile is Profile.RELIABLE:
            self._progress(segments, size)
            # An ack delay can only begin when the time is known: at the next drain.
            self._shared.scheduler.want_control(self)

    def close(self, reason: str) -> None:
        """End the stream once everything is acknowledged (basic: sent)."""
        self._closing = reason
        self.finish_closing()

    def finish_closing(self) -> None:
        """End the stream if it is closing and nothing is left to wait for."""
        if self._closing is not None and self.sender.idle and self.state is not StreamState.ENDED:
            self.end(self._closing)

    def end(self, reason: str, *, by: EndedBy = EndedBy.LOCAL) -> None:
        """The stream is over. A reset is owed to the peer unless the peer said so itself."""
        shared = self._shared
        trusted = self.profile is Profile.RELIABLE and self.state is not StreamState.UNCONFIRMED
        ack, bits = (self.receiver.ack, self.receiver.ack_bits()) if trusted else (0, 0)
        known = self.is_opener or self.state is not StreamState.UNCONFIRMED
        if self.state is StreamState.UNCONFIRMED and not shared.config.early_data:
            shared.early_budget.used -= self.receiver.held_bytes
        self.state = StreamState.ENDED
        self.receiver.discard()
        owed = by is EndedBy.LOCAL and (self._announced or not self.is_opener)
        shared.ended(self, reason, ack, bits, owed)
        if known:
            unknown, never_sent = self.sender.outcomes()
            shared.emit(
                StreamReset(
                    stream_id=self.stream_id,
                    reason=reason,
                    by=by,
                    unknown=unknown,
                    never_sent=never_sent,
                )
            )

    # -- the link

    def link_opened(self) -> None:
        """A new link: announce, or ask; basic streams that never were announced begin."""
        if self.profile is Profile.BASIC:
            self._owes_question = True
            self._shared.scheduler.want_control(self)
        else:
            self._link_fresh = True
            self.ask()
            self._asked_at = self.sender.transmissions
        self._shared.scheduler.want_data(self)

    def link_closed(self, now: float) -> None:
        """The link is gone: a basic stream ends, others will ask on the next one."""
        if self.profile is Profile.BASIC:
            if self._announced or not self.is_opener:
                self.end(ResetReason.LINK_LOST)
            return
        if self.profile is Profile.UNKNOWN and self._announced:
            self._lost_while_unknown = True
        self._owes_answer = self._owes_heartbeat = self._ack_due = False
        self._heartbeat_unanswered = False
        self._ack_deadline = self._rto_deadline = self._question_deadline = NEVER
        self._wait_from(now)
        self._rearm()

    def _wait_from(self, now: float) -> None:
        if self._waiting_since == NEVER:
            self._waiting_since = now

    def ask(self) -> None:
        """Ask the peer with a `resume`; until it answers no data goes out."""
        if not self._asking:
            self._asking = True
            self._asked_at = self.sender.transmissions
        if self.state is StreamState.OPEN:
            self.state = StreamState.RESUMING
        self._owes_question = True
        self._question_deadline = NEVER
        self._shared.scheduler.want_control(self)
        self._rearm()

    # -- what goes out

    def next_control(self, now: float) -> Frame | None:
        """The next control frame that is owed, if any."""
        if self.state is StreamState.ENDED:
            return None
        frame = self._control(now)
        if self._owes_question or self._owes_answer or self._owes_heartbeat:
            self._shared.scheduler.want_control(self)
        return frame

    def _control(self, now: float) -> Frame | None:
        if self._owes_answer:
            self._owes_answer = False
            self._last_answer = now
            return self._resume(now, answer=True)
        if self._owes_question:
            self._owes_question = False
            if self.profile is not Profile.BASIC:
                self._wait_from(now)
                self._question_deadline = now + self.rtt.rto
                self._rearm()
            return self._resume(now, answer=False)
        if not self._may_talk():
            self._owes_heartbeat = False
            return None
        if self._owes_heartbeat:
            self._owes_heartbeat = False
            self._heartbeat_unanswered = True
            self._wait_from(now)
            self._rto_deadline = now + self.rtt.rto
            self._rearm()
            return HeartbeatFrame(self.stream_id, *self._report(now))
        if self._ack_due and not self.next_size():
            return AckFrame(self.stream_id, *self._report(now))
        if self._unreported_segments and self._ack_deadline == NEVER and not self._ack_due:
            self._ack_deadline = now + self._shared.config.ack_delay
            self._rearm()
        return None

    def _resume(self, now: float, *, answer: bool) -> ResumeFrame:
        self._announced = True
        if self.profile is Profile.BASIC:
            return ResumeFrame(self.stream_id, 0, 0, 0)
        if self.is_opener and self.profile is Profile.UNKNOWN:
            self._last_sent = now
            return ResumeFrame(self.stream_id, 0, 0, 1, self.own)
        return ResumeFrame(
            self.stream_id,
            *self._report(now),
            self.sender.next_seq,
            self.own,
            self.peer,
            answer,
        )

    def _may_talk(self) -> bool:
        """Acks and heartbeats: both ends know each other, and on this link too."""
        return (
            self.profile is Profile.RELIABLE
            and self.state in (StreamState.OPEN, StreamState.RESUMING)
            and not self._link_fresh
        )

    def _report(self, now: float) -> tuple[int, int]:
        self._last_sent = now
        self._ack_due = False
        self._ack_deadline = NEVER
        self._unreported_segments = self._unreported_bytes = 0
        return self.receiver.ack, self.receiver.ack_bits()

    def next_size(self) -> int:
        """Payload bytes of the segment that may go out now, 0 if none."""
        if self.state is StreamState.ENDED:
            return 0
        if self.profile is Profile.RELIABLE:
            if self.state is StreamState.OPEN:
                window = self._shared.config.send_window_segments
                return self.sender.next_size(window, segmented=True)
            return 0
        if self.profile is Profile.UNKNOWN and (not self._announced or self._lost_while_unknown):
            return 0
        window = self._shared.config.opening_window_segments
        return self.sender.next_size(window, segmented=False)

    def next_data(self, now: float) -> DataFrame:
        """The segment that `next_size` spoke of."""
        shared = self._shared
        self._announced = True
        shared.counters.segments_sent += 1
        if self.profile is Profile.BASIC:
            seq, payload = self.sender.take_basic()
            self._last_sent = now
            if not self.sender.buffered:
                shared.emit(SendCapacityAvailable(stream_id=self.stream_id))
            return DataFrame(self.stream_id, 0, 0, seq, 0, 1, payload)
        reliable = self.profile is Profile.RELIABLE
        segment = self.sender.take(now, segmented=reliable)
        if segment.lost is not None:
            shared.counters.segments_retransmitted += 1
            shared.emit(
                Retransmit(
                    stream_id=self.stream_id,
                    seq=segment.seq,
                    attempt=segment.attempts,
                    cause=segment.lost,
                )
            )
            segment.lost = None
        self._wait_from(now)
        if reliable and self._rto_deadline == NEVER:
            self._rto_deadline = now + self.rtt.rto
            self._rearm()
        ack, bits = self._report(now) if reliable else (0, 0)
        return DataFrame(
            self.stream_id,
            ack,
            bits,
            segment.seq,
            segment.index,
            segment.count,
            bytes(segment.payload),
        )

    # -- what comes in, reliable profile

    def heard(self, now: float) -> None:
        """A frame of the peer came that this stream takes seriously."""
        self._last_heard = now
        self._silence_said = False
        if self._heartbeat_unanswered:
            self._heartbeat_unanswered = False
            if not self.sender.has_unacked:
                self._rto_deadline = NEVER
            self._still_waiting()

    def on_report(self, ack: int, bits: int, now: float, *, afresh: bool = False) -> bool:
        """The ack fields of a frame. False if they speak of what was never sent."""
        sender = self.sender
        if not sender.valid(ack, bits):
            return False
        before, low = sender.acked_message, self._shared.config.send_buffer_size // 2
        buffered = sender.buffered
        covered, fresh = sender.acknowledge(ack, bits, afresh=afresh)
        if fresh is not None:
            self.rtt.sample(now - fresh.sent_at)
        if covered:
            self.rtt.progress()
            if sender.acked_message != before:
                self._shared.emit(
                    DataAcknowledged(stream_id=self.stream_id, message_id=sender.acked_message)
                )
            if not sender.buffered or (sender.buffered <= low < buffered):
                self._shared.emit(SendCapacityAvailable(stream_id=self.stream_id))
        if covered or fresh is not None:
            self._rto_deadline = NEVER
            if sender.has_unacked and self.state is StreamState.OPEN:
                self._rto_deadline = now + self.rtt.rto
                self._rearm()
            self._still_waiting()
        if sender.detect_loss() or covered:
            self._shared.scheduler.want_data(self)
        return True

    def _still_waiting(self) -> None:
        if not (self.sender.has_unacked or self._asking or self._heartbeat_unanswered):
            self._waiting_since = NEVER

    def on_data(self, frame: DataFrame, now: float) -> None:
        """A segment of a reliable peer."""
        if self.state is StreamState.UNCONFIRMED and not self._shared.config.early_data:
            self._hold(frame)
            return
        receiver = self.receiver
        before = receiver.ack
        had_gap = receiver.has_gap
        ready: list[bytes] = []
        cause = receiver.take(frame, ready)
        self._deliver(ready)
        if cause is None:
            moved = receiver.ack - before
            if moved:
                self._progress(moved, len(frame.payload))
            if had_gap or receiver.has_gap:
                self._ack_now(AckCause.GAP)
            self._want_ack(now)
        else:
            self._not_taken(frame, cause, now)

    def _hold(self, frame: DataFrame) -> None:
        budget = self._shared.early_budget
        size = len(frame.payload)
        if budget.used + size > budget.limit:
            self._shared.counters.dropped[FrameCause.BUFFER_FULL] += 1
            return
        cause = self.receiver.take(frame, [], hold=True)
        if cause is None:
            budget.used += size
        else:
            self._refuse(cause, f"seq {frame.seq}")

    def _deliver(self, ready: list[bytes]) -> None:
        for data in ready:
            self._shared.counters.messages_received += 1
            self._shared.emit(DataReceived(stream_id=self.stream_id, data=data))

    def _not_taken(self, frame: DataFrame, cause: FrameCause, now: float) -> None:
        if not self._refuse(cause, f"seq {frame.seq}"):
            return
        if cause is FrameCause.DUPLICATE:
            since = now - self._duplicate_acked_at
            if since >= self._shared.config.duplicate_ack_interval:
                self._duplicate_acked_at = now
                self._ack_now(AckCause.DUPLICATE)
        self._want_ack(now)

    def _refuse(self, cause: FrameCause, detail: str) -> bool:
        """Count what was not taken; a violation ends the stream. True if the stream lives."""
        self._shared.counters.dropped[cause] += 1
        reason = _VIOLATIONS.get(cause)
        if reason is None:
            return True
        self.reject(cause, detail)
        self.end(reason)
        return False

    def reject(self, cause: FrameCause, detail: str) -> None:
        """Tell the owner of a frame that broke a rule. It is counted by the caller."""
        self._shared.emit(FrameRejected(stream_id=self.stream_id, cause=cause, detail=detail))

    def reject_report(self, ack: int, bits: int) -> None:
        """The peer speaks of what was never sent: counted and ignored."""
        self._shared.counters.dropped[FrameCause.ACK_BEYOND_SENT] += 1
        self.reject(FrameCause.ACK_BEYOND_SENT, f"ack {ack}, ack_bits {bits:#x}")

    def on_heartbeat(self) -> None:
        """The peer asks for a sign of life."""
        self._ack_now(AckCause.HEARTBEAT)

    def on_resume(self, frame: ResumeFrame, now: float) -> None:
        """A `resume{>= 1}` on a stream that is reliable, or becomes so by it."""
        if frame.peer_incarnation not in (0, self.own):
            self._on_foreign_resume()
        elif self.profile is Profile.RELIABLE and frame.incarnation != self.peer:
            self.end(ResetReason.PEER_RESTARTED)
        elif not self.is_opener and self.peer and not frame.peer_incarnation:
            # An opening, perhaps a stale one: it proves nothing about the opener's being alive.
            if self.state is StreamState.UNCONFIRMED:
                self.ask()
            else:
                self._answer(now)
        elif frame.next_seq <= self.receiver.highest:
            self._shared.counters.dropped[FrameCause.STALE_RESUME] += 1
            self._ack_now(AckCause.DUPLICATE)
        else:
            self._on_pair(frame, now)

    def _on_foreign_resume(self) -> None:
        self._shared.counters.dropped[FrameCause.FOREIGN_INCARNATION] += 1
        if not self.is_opener:
            self.end(ResetReason.UNKNOWN_STREAM)

    def _on_pair(self, frame: ResumeFrame, now: float) -> None:
        """The peer's resume names this pair: whoever was asking has the answer."""
        if not self.sender.valid(frame.ack, frame.ack_bits):
            self.reject_report(frame.ack, frame.ack_bits)
            return
        self.heard(now)
        if self.is_opener and self.profile is Profile.UNKNOWN:
            self.peer = frame.incarnation
            self.profile = Profile.RELIABLE
        was_asking = self._asking
        fresh_link = self._link_fresh and self.state is StreamState.RESUMING
        first = self.state in (StreamState.OPENING, StreamState.UNCONFIRMED)
        self._asking = self._owes_question = self._link_fresh = False
        self._question_deadline = NEVER
        self.state = StreamState.OPEN
        self.rtt.progress()
        if first:
            self._open()
            if self._has_ended():
                return
        elif fresh_link:
            self._shared.counters.resumes += 1
            self._shared.emit(StreamResumed(stream_id=self.stream_id))
        self.on_report(frame.ack, frame.ack_bits, now, afresh=True)
        if was_asking:
            self.sender.missing_since(self._asked_at)
        else:
            arrived = self.rtt.certainly_arrived
            if arrived is not None:
                self.sender.missing_before(now - arrived)
        if self.sender.has_unacked:
            self._rto_deadline = now + self.rtt.rto
        self._still_waiting()
        self._shared.scheduler.want_data(self)
        if not frame.answer and not (was_asking and not self.peer):
            self._answer(now)
        self._rearm()
        self.finish_closing()

    def _has_ended(self) -> bool:
        return self.state is StreamState.ENDED

    def _answer(self, now: float) -> None:
        # A peer without incarnations has no `answer` flag either: it might take our answer for a
        # question, and two ends that answer each other's answers never stop.
        if not self.peer and now - self._last_answer < self.rtt.rto:
            return
        self._owes_answer = True
        self._shared.scheduler.want_control(self)

    def _open(self) -> None:
        shared = self._shared
        shared.counters.streams_opened += 1
        shared.emit(StreamOpened(stream_id=self.stream_id, profile=self.profile))
        if self.is_opener or self.profile is not Profile.RELIABLE:
            return
        if not shared.config.early_data:
            shared.early_budget.used -= self.receiver.held_bytes
        ready: list[bytes] = []
        cause = self.receiver.release(ready)
        self._deliver(ready)
        if cause is not None:
            self._refuse(cause, "held before the confirmation")
        elif self.receiver.highest:
            self._ack_now(AckCause.COUNT)

    # -- acks

    def _progress(self, segments: int, size: int) -> None:
        self._unreported_segments += segments
        self._unreported_bytes += size
        config = self._shared.config
        if (
            self._unreported_segments >= config.ack_after_segments
            or self._unreported_bytes >= config.ack_after_bytes
        ):
            self._ack_now(AckCause.COUNT)

    def _ack_now(self, cause: AckCause) -> None:
        if not self._ack_due and self._may_talk():
            self._ack_due = True
            self._ack_deadline = NEVER
            self._shared.emit(AckDue(stream_id=self.stream_id, cause=cause))
            self._shared.scheduler.want_control(self)

    def _want_ack(self, now: float) -> None:
        if self._ack_deadline == NEVER and not self._ack_due:
            self._ack_deadline = now + self._shared.config.ack_delay
            self._rearm()

    # -- basic profile

    def becomes_basic(self) -> None:
        """The peer proved basic."""
        self._asking = self._owes_question = False
        self._question_deadline = self._rto_deadline = NEVER
        self._waiting_since = NEVER
        if self._lost_while_unknown:
            self.end(ResetReason.LINK_LOST)
        elif self._shared.config.profile is ProfilePolicy.RELIABLE:
            self.end(ResetReason.PROFILE_REFUSED)
        else:
            self.profile = Profile.BASIC
            self.sender.becomes_basic()
            self.open()
            self._shared.scheduler.want_data(self)
            self.finish_closing()

    def on_basic_data(self, frame: DataFrame) -> None:
        """A message of a basic peer."""
        any_first = self._shared.config.profile is ProfilePolicy.BASIC
        cause = self.receiver.take_basic(frame, any_first=any_first)
        if cause is None:
            self._deliver([frame.payload])
            return
        self._shared.counters.dropped[cause] += 1
        if cause is not FrameCause.DUPLICATE:
            self.reject(cause, f"seq {frame.seq}")
        reason = _BASIC_VIOLATIONS.get(cause)
        if reason is not None:
            self.end(reason)

    # -- time

    def _rearm(self) -> None:
        self._shared.timers.rearm(self)

    def next_deadline(self) -> tuple[float, TimerKind]:
        """The earliest of the stream's deadlines."""
        best, kind = NEVER, TimerKind.RESUME_TIMEOUT
        if self.state is StreamState.ENDED:
            return best, kind
        config = self._shared.config
        waiting = self._waiting_since
        if waiting != NEVER:
            if self.state is StreamState.UNCONFIRMED:
                since = waiting  # openings that are repeated for ever don't keep it alive
            else:
                since = max(waiting, self._last_heard)
            best = since + config.resume_timeout
            if not self._silence_said and self._shared.link_up:
                silence = since + config.silence_timeout
                if silence < best:
                    best, kind = silence, TimerKind.SILENCE
        if not self._shared.link_up:
            return best, kind
        if self._ack_deadline < best:
            best, kind = self._ack_deadline, TimerKind.ACK_DELAY
        if self._rto_deadline < best:
            best, kind = self._rto_deadline, TimerKind.RTO
        if self._question_deadline < best:
            best, kind = self._question_deadline, TimerKind.QUESTION
        if self.state is StreamState.OPEN and self.profile is Profile.RELIABLE:
            beat = self._last_sent + config.heartbeat_interval
            if beat < best and not self._owes_heartbeat:
                best, kind = beat, TimerKind.HEARTBEAT
        return best, kind

    def on_timer(self, kind: TimerKind, now: float) -> None:
        """One deadline has passed."""
        match kind:
            case TimerKind.ACK_DELAY:
                self._ack_deadline = NEVER
                self._ack_now(AckCause.DELAY)
            case TimerKind.RTO:
                self._on_rto(now)
            case TimerKind.QUESTION:
                self.rtt.back_off()
                self.ask()
            case TimerKind.HEARTBEAT:
                self._beat()
            case TimerKind.SILENCE:
                self._silence_said = True
                since = max(self._waiting_since, self._last_heard)
                self._shared.emit(PeerSilent(stream_id=self.stream_id, silence=now - since))
            case _:
                self.end(ResetReason.TIMEOUT)

    def _on_rto(self, now: float) -> None:
        self._rto_deadline = NEVER
        if self.state is not StreamState.OPEN:
            return
        if self._heartbeat_unanswered or not self.sender.all_reported():
            self.rtt.back_off()
            self.ask()
        elif self.sender.has_unacked:
            # Everything is there, held for a slow reader: only a lost ack could be the matter.
            self.rtt.back_off()
            self._beat()

    def _beat(self) -> None:
        self._owes_heartbeat = True
        self._shared.scheduler.want_control(self)


_VIOLATIONS = {
    FrameCause.SEGMENT_MISMATCH: ResetReason.PROTOCOL_ERROR,
    FrameCause.MESSAGE_TOO_LARGE: ResetReason.MESSAGE_TOO_LARGE,
}
_BASIC_VIOLATIONS = {
    FrameCause.SEQUENCE_GAP: ResetReason.GAP,
    FrameCause.MESSAGE_TOO_LARGE: ResetReason.MESSAGE_TOO_LARGE,
    FrameCause.BUFFER_FULL: ResetReason.SLOW_CONSUMER,
}
