"""What one stream owes the wire: the half of a stream that speaks.

Holds the state of the stream and decides which frame may be sent when: questions and answers first,
then heartbeats and acks, data when the gate is open. `sansrelay.stream` adds what incoming frames
mean; `sansrelay.states` has the theory.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .acks import AckPolicy
from .config import RelayConfig
from .errors import ResetReason
from .events import (
    AckCause,
    AckDue,
    EndedBy,
    Event,
    PeerSilent,
    Retransmit,
    SendCapacityAvailable,
    StreamReset,
)
from .frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from .liveness import Liveness
from .receiver import Budget, Receiver
from .rtt import RttEstimator
from .scheduler import Scheduler
from .sender import Sender
from .states import Profile, StreamState
from .stats import Counters
from .timers import NEVER, TimerHeap, TimerKind

__all__ = ["Outgoing", "Shared"]


@dataclass(slots=True)
class Shared:
    """What the streams of one connection have in common."""

    config: RelayConfig
    emit: Callable[[Event], None]
    ended: Callable[["Outgoing", str, int, int, bool], None]
    """A stream is over: its reason, its last ack and ack_bits, whether a reset is owed."""
    budget: Budget
    """All that is held for the peer (`receive_buffer_size`)."""
    unconfirmed_budget: Budget
    """What is held before a confirmation, or an opening (`unconfirmed_buffer_size`)."""
    counters: Counters
    scheduler: Scheduler["Outgoing"]
    timers: TimerHeap["Outgoing"]
    link_up: bool = False


class Outgoing:
    """The half of a stream that speaks.

    `own` and `peer` are the incarnations of the two ends, 0 where there is none or it is not known.
    """

    __slots__ = (
        "_acks",
        "_announced",
        "_asked_at",
        "_asking",
        "_awaits_answer",
        "_closing",
        "_last_answer",
        "_link_fresh",
        "_liveness",
        "_lost_while_unknown",
        "_owes_answer",
        "_owes_question",
        "_question_deadline",
        "_rto_deadline",
        "_shared",
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
        if profile is Profile.BASIC:
            self.state = StreamState.OPEN  # there is nothing to confirm
        else:
            self.state = StreamState.OPENING if is_opener else StreamState.UNCONFIRMED
        self.sender = Sender(shared.config, first_seq=0 if profile is Profile.BASIC else 1)
        self.receiver = Receiver(shared.config, shared.budget, shared.unconfirmed_budget)
        self.rtt = RttEstimator(shared.config)
        self._shared = shared
        self._closing: str | None = None

        # The line of questions and answers. `_announced`: a resume has left.
        # `_asking`: nothing else may go out.
        # `_awaits_answer`: a question has left, and no answer has come on this link.
        # `_link_fresh`: the peer's resume has not come on this link, or there is none.
        self._announced = False
        self._asking = False
        self._awaits_answer = False
        self._asked_at = 0
        self._link_fresh = True
        self._lost_while_unknown = False
        self._owes_question = False
        self._owes_answer = False
        self._last_answer = -NEVER

        self._acks = AckPolicy(shared.config)
        self._liveness = Liveness(shared.config)
        self._rto_deadline = NEVER
        self._question_deadline = NEVER

        self.queued_at = NEVER
        self.in_control_line = False
        self.in_data_line = False
        self.deficit = 0

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
        known = self._is_known()
        self.state = StreamState.ENDED
        self.receiver.discard()
        owed = by is EndedBy.LOCAL and (self._announced or not self.is_opener)
        shared.ended(self, reason, ack, bits, owed)
        unknown, never_sent = self.sender.outcomes()
        self.sender.discard()
        if known:
            shared.emit(
                StreamReset(
                    stream_id=self.stream_id,
                    reason=reason,
                    by=by,
                    unknown=unknown,
                    never_sent=never_sent,
                )
            )

    def _is_known(self) -> bool:
        """Whether the application has been told of the stream."""
        return self.state is not StreamState.UNCONFIRMED or self._shared.config.early_data

    # -- the link

    def begins_to_wait(self, now: float) -> None:
        """It was opened without a link: that its peer is out of reach counts from here on."""
        self._liveness.wait(now)
        self._rearm()

    def link_opened(self, now: float) -> None:
        """A new link: announce, or ask; basic streams that never were announced begin."""
        if self.profile is Profile.BASIC:
            self._owes_question = True
            self._shared.scheduler.want_control(self)
        else:
            self._liveness.link_opened(now)
            self.rtt.progress()  # a new link knows nothing of the silence on the old one
            self.ask()
            self._asked_at = self.sender.transmissions

    def link_closed(self, now: float) -> None:
        """The link is gone: a basic stream ends, others will ask on the next one."""
        if self.profile is Profile.BASIC:
            if self._announced or not self.is_opener:
                self.end(ResetReason.LINK_LOST)
            return
        if self.profile is Profile.UNKNOWN and self._announced:
            self._lost_while_unknown = True
        self._link_fresh = True
        self._owes_answer = self._awaits_answer = False
        self._rto_deadline = self._question_deadline = NEVER
        self._acks.link_closed()
        self._liveness.link_closed(now)
        self._rearm()

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
        if self._owes_question or self._owes_answer or self._liveness.heartbeat_owed:
            self._shared.scheduler.want_control(self)
        return frame

    def _control(self, now: float) -> Frame | None:
        if self._owes_answer:
            self._owes_answer = False
            self._last_answer = now
            frame = self._resume(now, answer=True)
            self._rearm()
            return frame
        if self._owes_question:
            self._owes_question = False
            if self.profile is not Profile.BASIC:
                self._awaits_answer = True
                self._liveness.wait(now)
                self._question_deadline = now + self.rtt.rto
                self._rearm()
            return self._resume(now, answer=False)
        if not self._may_talk():
            self._liveness.heartbeat_owed = False
            return None
        if self._liveness.heartbeat_owed:
            self._liveness.heartbeat_owed = False
            self._liveness.heartbeat_unanswered = True
            self._liveness.wait(now)
            if self._rto_deadline == NEVER:  # or heartbeats in quick succession would put it off
                self._rto_deadline = now + self.rtt.rto
            self._rearm()
            return HeartbeatFrame(self.stream_id, *self._report(now))
        if self._acks.due and not self.next_size():
            return AckFrame(self.stream_id, *self._report(now))
        if self._acks.undelayed:
            self._want_ack(now)
        return None

    def _resume(self, now: float, *, answer: bool) -> ResumeFrame:
        self._announced = True
        if self.profile is Profile.BASIC:
            return ResumeFrame(self.stream_id, 0, 0, 0)
        if self.is_opener and self.profile is Profile.UNKNOWN:
            self._liveness.sent_at = now
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
        self._liveness.sent_at = now
        self._acks.reported()
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
        shared.counters.segments_sent += 1
        if self.profile is Profile.BASIC:
            seq, payload = self.sender.take_basic()
            if not self.sender.buffered:
                shared.emit(SendCapacityAvailable(stream_id=self.stream_id))
            return DataFrame(self.stream_id, 0, 0, seq, 0, 1, payload)
        reliable = self.profile is Profile.RELIABLE
        # A timer that runs for segments held by a slow reader says nothing about a new one.
        first = reliable and (self._rto_deadline == NEVER or self.sender.all_reported())
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
        self._liveness.wait(now)
        if first:
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

    # -- acks

    def _progress(self, segments: int, size: int) -> None:
        if self._acks.progress(segments, size):
            self._ack_now(AckCause.COUNT)

    def _ack_now(self, cause: AckCause) -> None:
        if self._acks.due:
            return
        if not self._may_talk():
            self._acks.missed = True
        else:
            self._acks.due = True
            self._acks.deadline = NEVER
            self._shared.emit(AckDue(stream_id=self.stream_id, cause=cause))
            self._shared.scheduler.want_control(self)

    def _want_ack(self, now: float) -> None:
        if self._acks.delay(now):
            self._rearm()

    # -- time

    def _rearm(self) -> None:
        self._shared.timers.rearm(self)

    def next_deadline(self) -> tuple[float, TimerKind]:
        """The earliest of the stream's deadlines."""
        if self.state is StreamState.ENDED:
            return NEVER, TimerKind.RESUME_TIMEOUT
        link_up = self._shared.link_up
        best, kind = self._liveness.deadline(link_up=link_up)
        if not link_up:
            return best, kind
        if self._acks.deadline < best:
            best, kind = self._acks.deadline, TimerKind.ACK_DELAY
        if self._rto_deadline < best:
            best, kind = self._rto_deadline, TimerKind.RTO
        if self._question_deadline < best:
            best, kind = self._question_deadline, TimerKind.QUESTION
        if self.state is StreamState.OPEN and self.profile is Profile.RELIABLE:
            beat = self._liveness.next_heartbeat()
            if beat < best:
                best, kind = beat, TimerKind.HEARTBEAT
        return best, kind

    def on_timer(self, kind: TimerKind, now: float) -> None:
        """One deadline has passed."""
        match kind:
            case TimerKind.ACK_DELAY:
                self._acks.deadline = NEVER
                self._ack_now(AckCause.DELAY)
            case TimerKind.RTO:
                self._on_rto()
            case TimerKind.QUESTION:
                self.rtt.back_off()
                self.ask()
            case TimerKind.HEARTBEAT:
                self._beat()
            case TimerKind.SILENCE:
                silence = self._liveness.silence(now)
                if self._is_known():
                    self._shared.emit(PeerSilent(stream_id=self.stream_id, silence=silence))
            case _:
                self.end(ResetReason.TIMEOUT)

    def _on_rto(self) -> None:
        self._rto_deadline = NEVER
        if self.state is not StreamState.OPEN:
            return
        self.rtt.back_off()
        if self._liveness.heartbeat_unanswered or not self.sender.all_reported():
            self.ask()
        else:
            # Everything is there, held for a slow reader: only a lost ack could be the matter.
            self._beat()

    def _beat(self) -> None:
        self._liveness.heartbeat_owed = True
        self._shared.scheduler.want_control(self)
