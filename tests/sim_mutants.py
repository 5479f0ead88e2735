"""Faults to be planted in the core and the rendezvous, each against one rule of theirs.

`tools/mutants_sim.py` runs them; `docs/mutants.md` tells what came of it. `old` is the exact source
text of `path`, found there once, and `new` what replaces it. `seeds` is how many seeds of the kind,
from 0 on, are allowed to find the fault; it leaves room for changes of the core, which shuffle the
schedules.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault."""

    name: str
    rule: str
    """What must hold, and with the fault does not."""
    path: str
    """The file, from the root of the repository."""
    old: str
    new: str
    kind: Literal["pair", "world"]
    """Which schedules are to find it."""
    seeds: int
    """Within how many of them."""


_ACKS = "sansrelay/acks.py"
_CONNECTION = "sansrelay/connection.py"
_ENDED = "sansrelay/ended.py"
_FAIRQUEUE = "sansrelay/fairqueue.py"
_LIVENESS = "sansrelay/liveness.py"
_OUTGOING = "sansrelay/outgoing.py"
_PENDING = "sansrelay/pending.py"
_RECEIVER = "sansrelay/receiver.py"
_RENDEZVOUS = "sansrelay/rendezvous.py"
_ROUTES = "sansrelay/routes.py"
_SENDER = "sansrelay/sender.py"
_STREAM = "sansrelay/stream.py"
_UNKNOWN = "sansrelay/unknown.py"

MUTANTS: tuple[Mutant, ...] = (
    # -- acks
    Mutant(
        name="ack-counts-held-data",
        rule="An ack covers nothing beyond a gap.",
        path=_OUTGOING,
        old="        return self.receiver.ack, self.receiver.ack_bits()\n",
        new="        if self.receiver.has_gap:\n            return self.receiver.highest, 0\n"
        "        return self.receiver.ack, self.receiver.ack_bits()\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="ack-before-consume",
        rule="An ack waits until the application has taken the message over.",
        path=_RECEIVER,
        old="        self._withheld[self._message_no] = (seq, window, len(data))\n",
        new="        self._withheld[self._message_no] = (seq, window, len(data))\n"
        "        self.ack = seq\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="consume-moves-no-ack",
        rule="What the application has taken over is acknowledged.",
        path=_RECEIVER,
        old="            self.ack = last\n            moved += window\n"
        "            self._give_back(size + SEGMENT_OVERHEAD)\n"
        "        if not self._withheld:\n            self.ack = self.next_seq - 1\n",
        new="            moved += window\n            self._give_back(size + SEGMENT_OVERHEAD)\n"
        "        if not self._withheld:\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="incomplete-message-withheld",
        rule="Segments of an incomplete message are acknowledged as they come,"
        " or one larger than the window would never end.",
        path=_RECEIVER,
        old="            self.ack = frame.seq\n            self._window_bytes -= size\n",
        new="            self._tail_bytes += size\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="bits-counted-from-next-seq",
        rule="`ack_bits` count from `ack`, not from the next number in order.",
        path=_RECEIVER,
        old="return ((1 << withheld) - 1 | self._early << withheld) & _ALL_BITS",
        new="return ((1 << withheld) - 1 | self._early) & _ALL_BITS",
        kind="pair",
        seeds=400,
    ),
    Mutant(
        name="bits-acknowledge",
        rule="Acknowledged means covered by `ack`, never by a bit.",
        path=_SENDER,
        old="        covered = ack + 1 - self.una\n",
        new="        run = (~bits & (bits + 1)).bit_length() - 1\n"
        "        ack, bits = ack + run, bits >> run\n"
        "        covered = ack + 1 - self.una\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="closed-before-acked",
        rule="A graceful close waits until everything is acknowledged.",
        path=_OUTGOING,
        old="self._closing is not None and self.sender.idle and",
        new="self._closing is not None and",
        kind="pair",
        seeds=25,
    ),
    # -- receiving
    Mutant(
        name="duplicate-delivered",
        rule="A segment that came before is not delivered again.",
        path=_RECEIVER,
        old="        if ahead < 0 or self._early >> ahead & 1:\n",
        new="        if ahead < 0:\n            ready.append(frame.payload)\n"
        "        if ahead < 0 or self._early >> ahead & 1:\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="gap-delivered",
        rule="Segments are delivered in order.",
        path=_RECEIVER,
        old="        if ahead or hold:\n",
        new="        if ahead and frame.segment_count == 1 and not hold:\n"
        "            ready.append(frame.payload)\n"
        "        if ahead or hold:\n",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="next-in-order-needs-room",
        rule="What is next in order is taken while the application keeps up, however full it is.",
        path=_RECEIVER,
        old="keeps_up = not (ahead or hold or self._withheld)",
        new="keeps_up = False",
        kind="pair",
        seeds=100,
    ),
    Mutant(
        name="budget-leaks",
        rule="What an ended stream held is given back to the common budget.",
        path=_RECEIVER,
        old="        self._give_back(self.held_bytes)\n",
        new="        self.held_bytes = 0\n",
        kind="pair",
        seeds=25,
    ),
    # -- sending
    Mutant(
        name="window-segments-unchecked",
        rule="No more segments than the window are under way.",
        path=_SENDER,
        old="len(self._unacked) >= window_segments\n            or ",
        new="",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="window-bytes-unchecked",
        rule="No more bytes than the window are under way.",
        path=_SENDER,
        old="\n            or self.in_flight + size > self._config.send_window_bytes",
        new="",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="send-buffer-uncounted",
        rule="`send_buffer_messages` bounds the messages that wait.",
        path=_SENDER,
        old="if self.last_message - done >= config.send_buffer_messages:",
        new="if False:",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="last-segment-cut-off",
        rule="All of a message is cut into segments, the rest as well.",
        path=_SENDER,
        old="return -(-size // self._config.segment_size)",
        new="return max(1, size // self._config.segment_size)",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="segmented-towards-unknown",
        rule="Nothing is segmented before the peer has proved reliable.",
        path=_SENDER,
        old="if not (segmented or self._cut) or len(data) <= limit:",
        new="if len(data) <= limit:",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="acks-open-no-window",
        rule="An ack that opens the window lets waiting data go.",
        path=_STREAM,
        old="if sender.detect_loss() or covered:",
        new="if sender.detect_loss():",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="rto-says-nothing",
        rule="When the retransmission timer fires, the sender asks.",
        path=_OUTGOING,
        old="            return\n        self.rtt.back_off()\n",
        new="            return\n        return\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="answer-shows-no-loss",
        rule="What the answer to a question does not cover is sent again.",
        path=_STREAM,
        old="self.sender.missing_since(self._asked_at)",
        new="pass",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="unknown-peer-resent",
        rule="Nothing is sent twice to a peer that is not known to be reliable.",
        path=_OUTGOING,
        old="                self.rtt.back_off()\n                self.ask()\n            case",
        new="                self.rtt.back_off()\n                self.ask()\n"
        "                self.sender.missing_since(self.sender.transmissions)\n"
        "                self._shared.scheduler.want_data(self)\n            case",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="basic-peer-resent",
        rule="What was sent before a peer proved basic is never sent again.",
        path=_SENDER,
        old="        self.buffered -= self.in_flight\n        self.in_flight = 0\n",
        new="        for segment in self._unacked.values():\n"
        "            self._pending[segment.message_id] = bytes(segment.payload)\n"
        "            self._next_pending = min(self._next_pending, segment.message_id)\n"
        "        self.in_flight = 0\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="cut-message-never-sent",
        rule="A message of which one segment has left is not reported as never sent.",
        path=_SENDER,
        old="first_unsent = self._next_pending + (1 if self._cut else 0)",
        new="first_unsent = self._next_pending",
        kind="pair",
        seeds=200,
    ),
    Mutant(
        name="unacked-never-sent",
        rule="What was sent and not acknowledged is unknown, not never sent.",
        path=_SENDER,
        old="first_unsent = self._next_pending + (1 if self._cut else 0)",
        new="first_unsent = self.acked_message + 1",
        kind="pair",
        seeds=25,
    ),
    # -- opening
    Mutant(
        name="confirmed-at-once",
        rule="An acceptor delivers nothing before its opener has confirmed.",
        path=_STREAM,
        old="        if self.peer:\n            self.ask()\n",
        new="        if self.peer and False:\n            self.ask()\n",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="delivered-unconfirmed",
        rule="Data held before the confirmation is not delivered.",
        path=_STREAM,
        old="if self.state is StreamState.UNCONFIRMED and not self._shared.config.early_data:",
        new="if False:",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="opening-confirms",
        rule="Only a resume that names the acceptor confirms; an opening may be a stale copy.",
        path=_STREAM,
        old="elif self.peer and not frame.peer_incarnation:",
        new="elif False:",
        kind="pair",
        seeds=400,
    ),
    Mutant(
        name="forgotten-peer-welcome",
        rule="A resume that knows us though we don't know it is answered with `unknown_stream`.",
        path=_UNKNOWN,
        old="case ResumeFrame() if silent and frame.next_seq == 1 and not frame.peer_incarnation:",
        new="case ResumeFrame() if frame.next_seq:",
        kind="pair",
        seeds=100,
    ),
    Mutant(
        name="question-not-repeated",
        rule="A question is repeated until it is answered.",
        path=_OUTGOING,
        old="                self.rtt.back_off()\n                self.ask()\n            case",
        new="                self.rtt.back_off()\n"
        "                self._question_deadline = NEVER\n            case",
        kind="pair",
        seeds=100,
    ),
    Mutant(
        name="question-not-answered",
        rule="A question is answered.",
        path=_STREAM,
        old="if not frame.answer and not (was_asking and not self.peer):",
        new="if False:",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="answer-answered",
        rule="An answer is never answered.",
        path=_STREAM,
        old="if not frame.answer and not (was_asking and not self.peer):",
        new="if True:",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="pending-kept-for-ever",
        rule="Data whose opening does not come is held for `pending_timeout`.",
        path=_PENDING,
        old="deadline = now + self._config.pending_timeout",
        new="deadline = now + 1e9",
        kind="pair",
        seeds=200,
    ),
    # -- resuming
    Mutant(
        name="no-question-on-new-link",
        rule="On a new link each end asks.",
        path=_OUTGOING,
        old="            self.ask()\n            self._asked_at",
        new="            if not self._announced:\n                self.ask()\n"
        "            self._asked_at",
        kind="pair",
        seeds=25,
    ),
    # -- liveness
    Mutant(
        name="no-heartbeats",
        rule="An idle stream sends heartbeats.",
        path=_LIVENESS,
        old="self.sent_at + self._config.heartbeat_interval",
        new="NEVER",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="peer-never-given-up",
        rule="A peer that answers nothing for `resume_timeout` is given up.",
        path=_LIVENESS,
        old="end = since + config.resume_timeout",
        new="end = since + 1e9",
        kind="pair",
        seeds=50,
    ),
    # -- ended streams
    Mutant(
        name="tombstone-forgotten",
        rule="An ended id is remembered and never revived.",
        path=_CONNECTION,
        old="self._ended.add(ResetFrame(stream.stream_id, ack, bits, reason), owed=owed)",
        new="if owed:\n"
        "            self._ended.owe_unknown(ResetFrame(stream.stream_id, ack, bits, reason))",
        kind="pair",
        seeds=100,
    ),
    Mutant(
        name="ended-table-unbounded",
        rule="`max_ended_streams` bounds the table of ended ids.",
        path=_ENDED,
        old="if len(self._resets) >= limit:",
        new="if False:",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="reset-answered",
        rule="A reset is never answered.",
        path=_UNKNOWN,
        old="            self._ended.settle(stream_id)\n"
        "            self._drop_pending(stream_id)\n",
        new="            self._answer_unknown(stream_id, now)\n",
        kind="pair",
        seeds=400,
    ),
    # -- rendezvous
    Mutant(
        name="reliable-routes-end-with-executor",
        rule="When an executor's link goes, its reliable routes wait for the next one.",
        path=_RENDEZVOUS,
        old="            if route.executor_reliable:\n",
        new="            if False:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="no-suspension-at-loss",
        rule="After an executor's link went, its routes are suspended until the next one's resume.",
        path=_RENDEZVOUS,
        old="                self._table.suspend(route, now)\n",
        new="                pass\n",
        kind="world",
        seeds=1000,
    ),
    Mutant(
        name="data-passes-suspension",
        rule="No data passes a suspended route.",
        path=_RENDEZVOUS,
        old='_PASSES_SUSPENDED: Final = frozenset({"resume", "reset"})',
        new='_PASSES_SUSPENDED: Final = frozenset({"resume", "reset", "data"})',
        kind="world",
        seeds=1000,
    ),
    Mutant(
        name="harness-not-waited-for",
        rule="A reliable route waits `harness_grace` for its harness.",
        path=_RENDEZVOUS,
        old="            self._table.detach(route, now)\n            if not route.reliable:\n",
        new="            self._table.detach(route, now)\n            if True:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="harness-waited-for-ever",
        rule="A route waits no longer than `harness_grace` for its harness.",
        path=_ROUTES,
        old="now + self._config.harness_grace",
        new="now + 1e9",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="full-queue-ends-reliable",
        rule="A full queue drops the frames of a reliable stream; it does not end the stream.",
        path=_RENDEZVOUS,
        old="            if not route.reliable:\n                for link in",
        new="            if True:\n                for link in",
        kind="world",
        seeds=50,
    ),
    Mutant(
        name="principal-links-unbounded",
        rule="`max_links_per_principal` bounds a principal's links.",
        path=_ROUTES,
        old="        if self._links_of[principal] >= self._config.max_links_per_principal:\n",
        new="        if False:\n",
        kind="world",
        seeds=100,
    ),
    Mutant(
        name="full-queue-eats-basic",
        rule="A full queue ends a basic stream: what is dropped of it nobody sends again.",
        path=_RENDEZVOUS,
        old="            if not route.reliable:\n                for link in",
        new="            if False:\n                for link in",
        kind="world",
        seeds=50,
    ),
    Mutant(
        name="total-queue-unbounded",
        rule="`total_queue_size` bounds what all links of a rendezvous have queued.",
        path=_FAIRQUEUE,
        old="        if self._size + growth > self._pool.free:\n            return Full.TOTAL\n",
        new="",
        kind="world",
        seeds=100,
    ),
    Mutant(
        name="links-share-no-total",
        rule="A link's queue leaves room for what the others hold.",
        path=_FAIRQUEUE,
        old="if self._size + growth > self._pool.free:",
        new="if self._size + growth > self._pool.limit:",
        kind="world",
        seeds=100,
    ),
    Mutant(
        name="total-queue-leaks",
        rule="What has left a queue is given back to the room that all links share.",
        path=_FAIRQUEUE,
        old="        self._pool.used -= size - reserved",
        new="        self._pool.used -= (size - reserved) // 2",
        kind="world",
        seeds=100,
    ),
    Mutant(
        name="routes-unbounded",
        rule="`max_routes` bounds the routes.",
        path=_ROUTES,
        old="self.count >= self._config.max_routes\n",
        new="False\n",
        kind="world",
        seeds=50,
    ),
    Mutant(
        name="frames-doubled",
        rule="A rendezvous passes each frame on once.",
        path=_RENDEZVOUS,
        old="        full = target.queue.put(stream_id, data)\n",
        new="        full = target.queue.put(stream_id, data)\n"
        "        target.queue.put(stream_id, data)\n",
        kind="world",
        seeds=25,
    ),
    # -- waste, and basic streams at our own ends
    Mutant(
        name="basic-duplicate-run",
        rule="On a basic stream a repeated number is dropped.",
        path=_RECEIVER,
        old="        if seq < self.next_seq:\n            return FrameCause.DUPLICATE\n",
        new="",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="basic-gap-accepted",
        rule="On a basic stream a missing number ends the stream.",
        path=_RECEIVER,
        old="        if seq > self.next_seq:\n            return FrameCause.SEQUENCE_GAP\n",
        new="",
        kind="pair",
        seeds=150,
    ),
    Mutant(
        name="basic-survives-its-link",
        rule="A basic stream ends with its link.",
        path=_OUTGOING,
        old="            if self._announced or not self.is_opener:\n"
        "                self.end(ResetReason.LINK_LOST)\n            return\n",
        new="            return\n",
        kind="pair",
        seeds=150,
    ),
    Mutant(
        name="withheld-bits-unset",
        rule="The bits of segments that wait for the application are set.",
        path=_RECEIVER,
        old="        if withheld >= 32:\n            return _ALL_BITS\n"
        "        return ((1 << withheld) - 1 | self._early << withheld) & _ALL_BITS",
        new="        return (self._early << withheld) & _ALL_BITS",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="duplicate-not-acked-again",
        rule="A duplicate is acknowledged again: its ack was lost.",
        path=_STREAM,
        old="        if cause is FrameCause.DUPLICATE and self._acks.duplicate(now):\n",
        new="        if cause is FrameCause.DUPLICATE:\n            return\n        if False:\n",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="ack-delay-endless",
        rule="What came is reported within `ack_delay`.",
        path=_ACKS,
        old="self.deadline = now + self._config.ack_delay",
        new="self.deadline = now + 1e9",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="heartbeat-unanswered",
        rule="A heartbeat is answered at once.",
        path=_STREAM,
        old="            self._ack_now(AckCause.HEARTBEAT)\n",
        new="            return\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="acks-answered",
        rule="An ack is never acknowledged.",
        path=_STREAM,
        old="        elif isinstance(frame, HeartbeatFrame):\n"
        "            self._ack_now(AckCause.HEARTBEAT)\n",
        new="        else:\n            self._ack_now(AckCause.HEARTBEAT)\n",
        kind="pair",
        seeds=25,
    ),
    Mutant(
        name="rto-resends-blind",
        rule="When the retransmission timer fires, nothing is sent again before an answer.",
        path=_OUTGOING,
        old="        if self._liveness.heartbeat_unanswered or not self.sender.all_reported():\n"
        "            self.ask()\n",
        new="        if self._liveness.heartbeat_unanswered or not self.sender.all_reported():\n"
        "            self.sender.missing_since(self.sender.transmissions)\n"
        "            self._shared.scheduler.want_data(self)\n",
        kind="pair",
        seeds=25,
    ),
    # -- untrue reasons
    Mutant(
        name="lost-opening-ends-stream",
        rule="`unknown_stream` does not end a stream that is still opening.",
        path=_STREAM,
        old="if self.profile is Profile.UNKNOWN and frame.reason == ResetReason.UNKNOWN_STREAM:",
        new="if False:",
        kind="pair",
        seeds=200,
    ),
    Mutant(
        name="unconfirmed-gives-up-early",
        rule="An acceptor waits `resume_timeout` for the confirmation.",
        path=_OUTGOING,
        old="            case TimerKind.QUESTION:\n                self.rtt.back_off()\n",
        new="            case TimerKind.QUESTION:\n"
        "                if self.state is StreamState.UNCONFIRMED:\n"
        "                    self.end(ResetReason.TIMEOUT)\n                    return\n"
        "                self.rtt.back_off()\n",
        kind="pair",
        seeds=25,
    ),
    # -- budgets
    Mutant(
        name="any-stream-overdraws",
        rule="One stream at a time may go beyond `receive_buffer_size`.",
        path=_RECEIVER,
        old="        elif self.debtor is not receiver:\n            return False\n",
        new="",
        kind="pair",
        seeds=400,
    ),
    Mutant(
        name="unconfirmed-unbounded",
        rule="`unconfirmed_buffer_size` bounds what is held before the confirmation.",
        path=_RECEIVER,
        old="if not self._unconfirmed.take(size):",
        new="if not self._unconfirmed.take(size) and self._unconfirmed._add(size):",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="pending-unbounded",
        rule="The same limit bounds data whose opening has not come.",
        path=_PENDING,
        old="if not self._share.take(len(frame.payload) + SEGMENT_OVERHEAD):",
        new="size = len(frame.payload) + SEGMENT_OVERHEAD\n"
        "        if not self._share.take(size) and self._share._add(size):",
        kind="pair",
        seeds=200,
    ),
    # -- incarnations, gates, reports
    Mutant(
        name="other-incarnation-welcome",
        rule="An acceptor ends the stream at a resume that names another incarnation than its own.",
        path=_STREAM,
        old="        if frame.peer_incarnation not in (0, self.own):\n",
        new="        if self.is_opener and frame.peer_incarnation not in (0, self.own):\n",
        kind="pair",
        seeds=200,
    ),
    Mutant(
        name="foreign-pair-welcome",
        rule="An opener ignores a resume that names another opener.",
        path=_STREAM,
        old="        if frame.peer_incarnation not in (0, self.own):\n",
        new="        if not self.is_opener and frame.peer_incarnation not in (0, self.own):\n",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="one-incarnation-for-all",
        rule="Each accepted stream has an incarnation of its own.",
        path=_UNKNOWN,
        old="(self._incarnation + self.accepted - 1) % (INCARNATIONS - 1) + 1",
        new="self._incarnation",
        kind="pair",
        seeds=2000,
    ),
    Mutant(
        name="gate-open-on-new-link",
        rule="On a new link no data goes out before the peer's resume.",
        path=_OUTGOING,
        old="            if self.state is StreamState.OPEN:\n                window =",
        new="            if self.state in (StreamState.OPEN, StreamState.RESUMING):\n"
        "                window =",
        kind="pair",
        seeds=100,
    ),
    Mutant(
        name="stale-resume-taken",
        rule="A resume whose `next_seq` is not above what was received is stale,"
        " and answers nothing.",
        path=_STREAM,
        old="            frame.next_seq <= self.receiver.highest\n            and self",
        new="            False\n            and self",
        kind="pair",
        seeds=200,
    ),
    Mutant(
        name="acks-before-the-peer-resumes",
        rule="On a new link no ack and no heartbeat goes out before the peer's resume.",
        path=_OUTGOING,
        old="            and not self._link_fresh\n        )\n",
        new="        )\n",
        kind="pair",
        seeds=50,
    ),
    Mutant(
        name="lost-while-unknown-forgotten",
        rule="An opener whose link was lost before its peer was known sends no data on the next.",
        path=_OUTGOING,
        old="            self._lost_while_unknown = True\n",
        new="            pass\n",
        kind="pair",
        seeds=1000,
    ),
    Mutant(
        name="unknown-peer-fed-on-next-link",
        rule="Towards an unknown peer data goes out on the first link only.",
        path=_OUTGOING,
        old="(not self._announced or self._lost_while_unknown):",
        new="not self._announced:",
        kind="pair",
        seeds=1000,
    ),
    Mutant(
        name="basic-after-loss-goes-on",
        rule="A peer that proves basic after a link was lost has lost messages: the stream ends.",
        path=_STREAM,
        old="        if self._lost_while_unknown:\n",
        new="        if False:\n",
        kind="pair",
        seeds=2000,
    ),
    Mutant(
        name="ack-beyond-sent",
        rule="An ack beyond what was sent is ignored.",
        path=_SENDER,
        old="        return ack + bits.bit_length() < self.next_seq\n",
        new="        return True\n",
        kind="pair",
        seeds=25,
    ),
    # -- routing
    Mutant(
        name="old-stream-taken-for-new",
        rule="A resume of a stream that is not new makes a suspended route.",
        path=_RENDEZVOUS,
        old="        peer_known = header.peer_incarnation != 0 or header.next_seq >= 2\n",
        new="        peer_known = False\n",
        kind="world",
        seeds=600,
    ),
    Mutant(
        name="any-resume-lifts-suspension",
        rule="Only the executor's resume lifts the suspension of a route.",
        path=_RENDEZVOUS,
        old="            self._table.move(route, source)\n        if executor.link is None:\n",
        new="            self._table.move(route, source)\n"
        '        if route.suspended and header.body == "resume":\n'
        "            self._table.resume(route)\n"
        "        if executor.link is None:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="basic-routes-outlive-executor",
        rule="A route whose executor has not proved reliable ends with the executor's link.",
        path=_RENDEZVOUS,
        old="            if route.executor_reliable:\n",
        new="            if True:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="route-across-principals",
        rule="A stream belongs to the principal that opened it: another can't send on it.",
        path=_RENDEZVOUS,
        old="        if known is not None and known.principal != principal:\n",
        new="        if False:\n",
        kind="world",
        seeds=100,
    ),
    Mutant(
        name="route-sticks-to-old-link",
        rule="A route follows the newest link of its harness.",
        path=_RENDEZVOUS,
        old="        elif route.harness is not source:\n",
        new="        elif route.harness is None:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="older-link-moves-route",
        rule="An older link of a harness does not move a route.",
        path=_RENDEZVOUS,
        old="        elif source.age < route.age:\n",
        new="        elif False:\n",
        kind="world",
        seeds=200,
    ),
    Mutant(
        name="superseded-link-heard",
        rule="What comes on an executor's superseded link is dropped.",
        path=_RENDEZVOUS,
        old="        if source.superseded:\n"
        "            self._dropped[DropCause.SUPERSEDED_LINK] += 1\n"
        "            return\n",
        new="",
        kind="world",
        seeds=50,
    ),
    Mutant(
        name="queue-outlives-link",
        rule="What is queued for a link dies with it.",
        path=_RENDEZVOUS,
        old="        if old is not None:\n"
        "            self._lose_executor(old, now)\n"
        "            old.superseded = True\n"
        "            self._events.append(LinkSuperseded(link=old.link_id))\n"
        "        elif self._links.is_full:\n"
        "            return LinkRefusal.TOO_MANY_LINKS\n"
        "        executor = self._table.find_or_add(executor_id)\n"
        "        executor.link = self._links.add(link, executor, None)\n",
        new="        queued = [] if old is None else old.queue.take(10**9)\n"
        "        if old is not None:\n"
        "            self._lose_executor(old, now)\n"
        "            old.superseded = True\n"
        "            self._events.append(LinkSuperseded(link=old.link_id))\n"
        "        elif self._links.is_full:\n"
        "            return LinkRefusal.TOO_MANY_LINKS\n"
        "        executor = self._table.find_or_add(executor_id)\n"
        "        executor.link = self._links.add(link, executor, None)\n"
        "        for frame in queued:\n"
        '            executor.link.queue.put("queued", frame)\n'
        "            self._with_output[link] = None\n",
        kind="world",
        seeds=600,
    ),
    Mutant(
        name="new-stream-without-executor",
        rule="A new stream needs an executor that is there.",
        path=_RENDEZVOUS,
        old="        if source.executor.link is None and not peer_known:\n",
        new="        if False:\n",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="executor-waited-for-ever",
        rule="A suspended route waits no longer than `executor_grace`.",
        path=_ROUTES,
        old="now + self._config.executor_grace",
        new="now + 1e9",
        kind="world",
        seeds=25,
    ),
    Mutant(
        name="executor-not-waited-for",
        rule="A suspended route waits `executor_grace` for the executor.",
        path=_ROUTES,
        old="now + self._config.executor_grace",
        new="now + 0.1",
        kind="world",
        seeds=25,
    ),
)
