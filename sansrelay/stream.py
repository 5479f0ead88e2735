"""One stream: what each incoming frame means at this point of its life.

The half that speaks is `Outgoing`; the two directions are `sender` and `receiver`; the theory is in
`sansrelay.states`. `RelayConnection` brings resets to `on_reset`, and every other frame to the
method of the stream's profile: `on_reliable`, `on_basic` or `on_undecided`.
"""

from .config import ProfilePolicy
from .errors import FrameCause, ResetReason
from .events import (
    AckCause,
    DataAcknowledged,
    DataReceived,
    EndedBy,
    FrameRejected,
    SendCapacityAvailable,
    StreamOpened,
    StreamResumed,
)
from .frames import (
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from .outgoing import Outgoing
from .states import Profile, StreamState
from .timers import NEVER

__all__ = ["Stream"]


class Stream(Outgoing):
    """One virtual session with the peer."""

    __slots__ = ()

    def open(self) -> None:
        """A basic stream begins: it needs no confirmation."""
        self.receiver.next_seq = 0
        self._tell_opened()

    def offered(self, frame: ResumeFrame, now: float) -> None:
        """At an acceptor: the opening that made this stream."""
        self.peer = frame.incarnation
        if self._shared.config.early_data:
            self._tell_opened()
        if self.peer:
            self.ask()
        else:
            self._on_pair(frame, now)  # a peer without incarnations is confirmed at once

    # -- what comes in, any profile

    def on_reset(self, frame: ResetFrame, now: float) -> None:
        """The peer has ended the stream, or never knew it."""
        if self.profile is Profile.UNKNOWN and frame.reason == ResetReason.UNKNOWN_STREAM:
            # Our data outlived our opening, which was lost: the repeated opening puts that right.
            self._drop(FrameCause.NOT_DECISIVE)
            return
        if (
            self.profile is Profile.RELIABLE
            and self.state is not StreamState.UNCONFIRMED
            and not self._on_report(frame.ack, frame.ack_bits, now)
        ):
            self._reject_report(frame.ack, frame.ack_bits)
        self.end(frame.reason, by=EndedBy.PEER)

    def on_undecided(self, frame: Frame, now: float) -> None:
        """At an opener that has not found out about its peer."""
        silent = not frame.ack and not frame.ack_bits
        match frame:
            case ResumeFrame() if frame.next_seq:
                self.on_resume(frame, now)
            case ResumeFrame() if silent:
                self.becomes_basic()
            case DataFrame() if silent and not frame.seq:
                self.becomes_basic()
                if self.state is StreamState.OPEN:
                    self._on_basic_data(frame)
                else:
                    self._drop(FrameCause.ENDED_STREAM)
            case HandshakeFrame():
                self._reject(FrameCause.HANDSHAKE_UNSUPPORTED, "not asked for")
                self.end(ResetReason.PROTOCOL_ERROR)
            case _:
                self._drop(FrameCause.NOT_DECISIVE)

    # -- reliable profile

    def on_reliable(self, frame: Frame, now: float) -> None:
        """Any frame but a reset, of a peer that is reliable."""
        if isinstance(frame, ResumeFrame):
            if frame.next_seq:
                self.on_resume(frame, now)
            else:
                self._drop(FrameCause.NOT_DECISIVE)
            return
        if isinstance(frame, DataFrame) and self._disowns(frame):
            return
        confirmed = self.state is not StreamState.UNCONFIRMED
        if confirmed:
            self._heard(now)
            if not self._on_report(frame.ack, frame.ack_bits, now):
                self._reject_report(frame.ack, frame.ack_bits)
        if isinstance(frame, DataFrame):
            self._on_data(frame, now)
        elif isinstance(frame, HandshakeFrame):
            self._reject(FrameCause.HANDSHAKE_UNSUPPORTED, "on a stream that is open")
        elif not confirmed:
            self._drop(FrameCause.NOT_CONFIRMED)
        elif isinstance(frame, HeartbeatFrame):
            self._ack_now(AckCause.HEARTBEAT)
        if self.closing:
            self.finish_closing()

    def _heard(self, now: float) -> None:
        """A frame of the peer came that this stream takes seriously."""
        was_silent = self._liveness.silence_said
        answered = self._liveness.heard(now)
        if was_silent:
            self._rearm()  # it may fall silent again before any other deadline
        if answered:
            if not self.sender.has_unacked:
                self._rto_deadline = NEVER
            self._still_waiting()

    def _on_report(self, ack: int, bits: int, now: float, *, afresh: bool = False) -> bool:
        """The ack fields of a frame. False if they speak of what was never sent."""
        sender = self.sender
        if not sender.valid(ack, bits):
            return False
        before, low = sender.acked_message, self._shared.config.send_buffer_size // 2
        buffered = sender.buffered
        covered, fresh = sender.acknowledge(ack, bits, afresh=afresh)
        if fresh is not None and not afresh:
            # Of a report that was asked for, or waited for a link, the delay says nothing.
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

    def _reject_report(self, ack: int, bits: int) -> None:
        """The peer speaks of what was never sent: counted and ignored."""
        self._reject(FrameCause.ACK_BEYOND_SENT, f"ack {ack}, ack_bits {bits:#x}")

    def _still_waiting(self) -> None:
        if not (self.sender.has_unacked or self._asking or self._liveness.heartbeat_unanswered):
            self._liveness.rest()

    def _disowns(self, frame: DataFrame) -> bool:
        """Whether data that claims that nothing was received here can't be the executor's.

        A basic executor, in the place of the reliable one, acknowledges nothing; it may have been
        handed late copies of our frames, and its replies carry numbers that are waited for here.
        """
        if not self.is_opener or frame.ack or frame.ack_bits:
            return False
        if not frame.seq:  # only a basic peer counts from 0
            self._drop(FrameCause.BASIC_SUCCESSOR)
            self.end(ResetReason.PEER_RESTARTED)
            return True
        if self.sender.acked_message:  # a late copy of the executor's own will be repeated
            self._drop(FrameCause.STALE_DATA)
            return True
        return False

    def _on_data(self, frame: DataFrame, now: float) -> None:
        """A segment of a reliable peer."""
        if self.state is StreamState.UNCONFIRMED and not self._shared.config.early_data:
            cause = self.receiver.hold(frame)
            if cause is not None:
                self._refuse(cause, f"seq {frame.seq}")
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

    def _deliver(self, ready: list[bytes]) -> None:
        for data in ready:
            self._shared.counters.messages_received += 1
            self._shared.emit(DataReceived(stream_id=self.stream_id, data=data))

    def _not_taken(self, frame: DataFrame, cause: FrameCause, now: float) -> None:
        if not self._refuse(cause, f"seq {frame.seq}"):
            return
        if cause is FrameCause.DUPLICATE and self._acks.duplicate(now):
            self._ack_now(AckCause.DUPLICATE)
        self._want_ack(now)

    def _refuse(self, cause: FrameCause, detail: str) -> bool:
        """Count what was not taken; a violation ends the stream. True if the stream lives."""
        reason = _VIOLATIONS.get(cause)
        if reason is None:
            self._drop(cause)
            return True
        self._reject(cause, detail)
        self.end(reason)
        return False

    def _drop(self, cause: FrameCause) -> None:
        """Count a frame of which nothing was taken."""
        self._shared.counters.dropped[cause] += 1

    def _reject(self, cause: FrameCause, detail: str) -> None:
        """Count a frame that broke a rule, and tell the owner."""
        self._drop(cause)
        self._shared.emit(FrameRejected(stream_id=self.stream_id, cause=cause, detail=detail))

    def on_resume(self, frame: ResumeFrame, now: float) -> None:
        """A `resume{>= 1}` on a stream that is reliable, or becomes so by it."""
        if frame.peer_incarnation not in (0, self.own):
            self._on_foreign_resume()
        elif self.profile is Profile.RELIABLE and frame.incarnation != self.peer:
            self.end(ResetReason.PEER_RESTARTED)
        elif self.peer and not frame.peer_incarnation:
            # An opening, perhaps a stale one: it proves nothing about the peer's being alive.
            if self.state is StreamState.UNCONFIRMED:
                self.ask()
            else:
                self._answer(now)
        elif (
            frame.next_seq <= self.receiver.highest
            and self.state is not StreamState.UNCONFIRMED  # data overtook the confirmation
        ):
            self._drop(FrameCause.STALE_RESUME)
            self._ack_now(AckCause.DUPLICATE)
        else:
            self._on_pair(frame, now)

    def _on_foreign_resume(self) -> None:
        self._drop(FrameCause.FOREIGN_INCARNATION)
        if not self.is_opener:
            self.end(ResetReason.UNKNOWN_STREAM)

    def _on_pair(self, frame: ResumeFrame, now: float) -> None:
        """The peer's resume names this pair: whoever was asking has the answer."""
        if not self.sender.valid(frame.ack, frame.ack_bits):
            self._reject_report(frame.ack, frame.ack_bits)
            return
        self._heard(now)
        if self.profile is Profile.UNKNOWN:
            self.peer = frame.incarnation
            self.profile = Profile.RELIABLE
        was_asking = self._asking
        # A question that crosses ours on the same link was put before our last data arrived; the
        # answer to ours is still to come.
        if frame.answer:
            answered = was_asking or self._awaits_answer
            self._awaits_answer = False
        else:
            answered = was_asking and (self._link_fresh or not self.peer)
        fresh_link = self._link_fresh and self.state is StreamState.RESUMING
        first = self.state in (StreamState.OPENING, StreamState.UNCONFIRMED)
        self._asking = self._owes_question = self._link_fresh = False
        self._question_deadline = NEVER
        self.state = StreamState.OPEN
        self.rtt.progress()
        if first:
            self._confirmed()
            if self._has_ended():
                return
        elif fresh_link:
            self._shared.counters.resumes += 1
            self._shared.emit(StreamResumed(stream_id=self.stream_id))
        self._on_report(frame.ack, frame.ack_bits, now, afresh=True)
        if answered:
            self.sender.missing_since(self._asked_at)
        else:
            arrived = self.rtt.certainly_arrived
            if arrived is not None:
                self.sender.missing_before(now - arrived)
        if self.sender.has_unacked and (answered or self._rto_deadline == NEVER):
            self._rto_deadline = now + self.rtt.rto
        self._still_waiting()
        self._shared.scheduler.want_data(self)
        if not frame.answer and not (was_asking and not self.peer):
            self._answer(now)
        if self._acks.missed:
            self._want_ack(now)
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

    def _tell_opened(self) -> None:
        self._shared.counters.streams_opened += 1
        self._shared.emit(StreamOpened(stream_id=self.stream_id, profile=self.profile))

    def _confirmed(self) -> None:
        """A reliable stream is open: what was held goes to the application."""
        if self.is_opener or not self._shared.config.early_data:
            self._tell_opened()
        ready: list[bytes] = []
        cause = self.receiver.release(ready)
        self._deliver(ready)
        if cause is not None:
            self._refuse(cause, "held before the confirmation")
        elif self.receiver.highest:
            self._ack_now(AckCause.CONFIRMATION)

    # -- basic profile

    def becomes_basic(self) -> None:
        """The peer proved basic."""
        self._asking = self._owes_question = False
        self._question_deadline = self._rto_deadline = NEVER
        self._liveness.rest()
        if self._lost_while_unknown:
            self.end(ResetReason.LINK_LOST)
        elif self._shared.config.profile is ProfilePolicy.RELIABLE:
            self.end(ResetReason.PROFILE_REFUSED)
        else:
            self.profile = Profile.BASIC
            self.state = StreamState.OPEN
            waited = self.sender.has_unacked
            self.sender.becomes_basic()
            self.open()
            if waited and not self.sender.buffered:
                self._shared.emit(SendCapacityAvailable(stream_id=self.stream_id))
            self._shared.scheduler.want_data(self)
            self.finish_closing()

    def on_basic(self, frame: Frame) -> None:
        """Any frame but a reset, of a peer that is basic."""
        if isinstance(frame, DataFrame):
            self._on_basic_data(frame)
        elif isinstance(frame, ResumeFrame) and frame.next_seq:
            if self._shared.config.profile is ProfilePolicy.BASIC:
                self._drop(FrameCause.NOT_DECISIVE)
                return
            self._reject(FrameCause.RESUME_ON_BASIC, f"resume {frame.next_seq}")
            self.end(ResetReason.PROTOCOL_ERROR)
        elif isinstance(frame, HandshakeFrame):
            self._reject(FrameCause.HANDSHAKE_UNSUPPORTED, "on a stream that is open")
        else:
            self._drop(FrameCause.NOT_ON_BASIC)

    def _on_basic_data(self, frame: DataFrame) -> None:
        """A message of a basic peer."""
        any_first = self._shared.config.profile is ProfilePolicy.BASIC
        cause = self.receiver.take_basic(frame, any_first=any_first)
        if cause is None:
            self._deliver([frame.payload])
            return
        if cause is FrameCause.DUPLICATE:
            self._drop(cause)
        else:
            self._reject(cause, f"seq {frame.seq}")
        reason = _BASIC_VIOLATIONS.get(cause)
        if reason is not None:
            self.end(reason)


_VIOLATIONS = {
    FrameCause.SEGMENT_MISMATCH: ResetReason.PROTOCOL_ERROR,
    FrameCause.MESSAGE_TOO_LARGE: ResetReason.MESSAGE_TOO_LARGE,
}
_BASIC_VIOLATIONS = {
    FrameCause.SEQUENCE_GAP: ResetReason.GAP,
    FrameCause.MESSAGE_TOO_LARGE: ResetReason.MESSAGE_TOO_LARGE,
    FrameCause.BUFFER_FULL: ResetReason.SLOW_CONSUMER,
}
