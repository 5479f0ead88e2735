"""Whether the reason with which a stream ended is true.

A machine may end a stream only for what has really happened. Each function says what is false in
what was said, or None.
"""

from ...connection import Role
from ...errors import ResetReason
from ...events import EndedBy
from ...frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResumeFrame
from ...rendezvous import LinkRefusal, RouteEnded
from ...states import Profile
from .ends import StreamEnd
from .gaps import stale_unknown_stream
from .passage import Dialler
from .records import HubView, Life, PeerView, StreamRecord

__all__ = [
    "false_offer_reset",
    "false_reason",
    "false_refusal",
    "false_reset_of_hub",
    "false_route_end",
    "is_answer",
]

_SETTLING = 40.0
"""Seconds after the last fault within which every peer has dialled and frames that were held are
through."""
_CLOCK_ERROR = 1e-6
"""Seconds that sums of floats may be off."""


def false_reason(
    record: StreamRecord,
    end: StreamEnd,
    peer: PeerView,
    lives: list[Life],
    now: float,
    *,
    healed_at: float | None,
) -> str | None:
    """Judge the end of a stream at one of its ends."""
    event = end.ended
    assert event is not None
    reason = event.reason
    if not reason.strip():
        return "no reason was given"
    if event.by is EndedBy.LOCAL:
        if reason == end.reason_given:
            return None
        if reason == ResetReason.TIMEOUT and healed_at is not None:
            patience = peer.config.resume_timeout + peer.config.max_rto + _SETTLING
            if now > healed_at + patience and record.live_other(end) is not None:
                return "both ends live, and nothing has failed for long"
        return _false_verdict(record, end, peer, lives, now, reason)
    if reason in record.hub_reasons:
        return None
    if any(
        other.ended is not None and other.ended.reason == reason for other in record.others(end)
    ):
        return None
    return _false_news(record, end, peer, lives, reason)


def _false_verdict(
    record: StreamRecord,
    end: StreamEnd,
    peer: PeerView,
    lives: list[Life],
    now: float,
    reason: str,
) -> str | None:
    """A machine has ended the stream by itself."""
    is_opener = end is record.opener
    match reason:
        case ResetReason.TIMEOUT:
            heard = end.facts.heard_at
            if heard is None or peer.config.early_data:  # unconfirmed, it hears nothing
                heard = end.opened_at
            if now - heard < peer.config.resume_timeout - _CLOCK_ERROR:
                return f"the peer was heard {now - heard:.3f} s ago"
        case ResetReason.PEER_RESTARTED:
            # An executor that has ended the stream and forgotten the id takes a late copy of its
            # opening for a new one; so does one whose route a rendezvous has ended.
            forgotten = any(other.ended is not None for other in record.acceptors)
            restarted = _executors_since(record, lives) > 1 or forgotten or record.hub_reasons
            if not (is_opener and restarted):
                return "the peer did not restart"
        case ResetReason.UNKNOWN_STREAM:
            earlier = any(other is not end for other in record.acceptors) or record.said
            if is_opener or not (earlier or _executors_since(record, lives) > 1):
                return "the opener knows no other acceptor"
        case ResetReason.LINK_LOST:
            if end.profile is Profile.RELIABLE:
                return "the peer is reliable"
        case ResetReason.GAP:
            if end.profile is not Profile.BASIC or not record.spoiled:
                return "nothing was lost"
        case ResetReason.SLOW_CONSUMER:
            if end.profile is not Profile.BASIC:
                return "the peer can be slowed down"
        case ResetReason.PROFILE_REFUSED:
            if peer.config.profile != "reliable":
                return "any profile is welcome"
        case _:
            return "nothing of that kind has happened"
    return None


def _false_news(
    record: StreamRecord, end: StreamEnd, peer: PeerView, lives: list[Life], reason: str
) -> str | None:
    """The peer is said to have ended the stream, for another reason than the one known of it."""
    if end is not record.opener:
        # An opener that has forgotten the stream knows no more than that.
        if reason == ResetReason.UNKNOWN_STREAM and not record.opener.live:
            return None
        if reason in record.told:
            return None
        return "the opener has not said so"
    if reason == ResetReason.UNKNOWN_STREAM:
        forgotten = (
            _executors_since(record, lives) > 1
            or any(not other.live for other in record.acceptors)
            or bool(record.hub_reasons)
            or bool(record.said - {reason})
            or stale_unknown_stream(record)
        )
        return None if forgotten else "no executor has forgotten the stream"
    if reason not in record.said:
        return "nobody said so"
    return None


def false_offer_reset(record: StreamRecord, peer: PeerView, reason: str, now: float) -> str | None:
    """Judge a reset of a stream that the sender's application was never told of."""
    opener = record.opener.ended
    if (opener is not None and opener.reason == reason) or reason in record.hub_reasons:
        return None  # what it was told, repeated
    match reason:
        case ResetReason.TIMEOUT:
            first = record.first_at.get((peer.name, peer.life))
            if first is None or now - first < peer.config.resume_timeout - _CLOCK_ERROR:
                return "its opening is not that old"
        case ResetReason.PROFILE_REFUSED:
            if peer.config.profile != "reliable":
                return "any profile is welcome"
        case ResetReason.UNKNOWN_STREAM | ResetReason.TOO_MANY_STREAMS:
            pass
        case _:
            return "nothing of that kind has happened"
    return None


def is_answer(end: StreamEnd, frame: Frame) -> bool:
    """Whether a frame shows that the peer lives. A resume may be a stale copy."""
    facts = end.facts
    if end.disowns(frame):
        return False
    if isinstance(frame, DataFrame):
        facts.highest_in = max(facts.highest_in, frame.seq)
        return True
    if isinstance(frame, ResumeFrame):
        named = frame.peer_incarnation
        return bool(named) and named == (facts.own or named) and frame.next_seq > facts.highest_in
    return isinstance(frame, AckFrame | HeartbeatFrame)


def _executors_since(record: StreamRecord, lives: list[Life]) -> int:
    """Lives of processes under the stream's executor id, since the stream was opened."""
    return sum(
        life.executor_id == record.executor_id
        and life.role is Role.EXECUTOR
        and (life.ended is None or life.ended >= record.opened_at)
        for life in lives
    )


def false_route_end(
    record: StreamRecord, hub: HubView, event: RouteEnded, now: float
) -> str | None:
    """Judge a rendezvous that ended a route by itself."""
    facts = hub.facts
    stream_id = record.stream_id
    opened = facts.route_opened[stream_id]
    resumed = facts.executor_resumed.get(stream_id, float("-inf"))
    # A rendezvous that was replaced does not know what was agreed on elsewhere.
    established = record.established and resumed >= opened
    match event.reason:
        case ResetReason.EXECUTOR_UNAVAILABLE:
            if not established and _false_absence(record, hub, now) is None:
                return None
            # The grace period began with the first loss after which no resume came, or with the
            # route, if a resume of a stream that was not new made it.
            lost = [opened, *facts.executor_lost.get(record.executor_id, ())]
            since = [when for when in lost if when >= max(resumed, opened)]
            grace = hub.config.executor_grace - _CLOCK_ERROR
            if not since or now - min(since) < grace:
                return "the executor was not away for executor_grace"
        case ResetReason.HARNESS_DISCONNECTED:
            if not established:
                lost_at = facts.harness_lost.get(record.harness)
                if lost_at is None or lost_at < record.opened_at:
                    return "the harness lost no link"
            elif now - facts.harness_heard[stream_id] < hub.config.harness_grace - _CLOCK_ERROR:
                return "the harness was not away for harness_grace"
        case ResetReason.SLOW_CONSUMER:
            if established:
                return "both ends are reliable"
        case _:
            return "a rendezvous has no such reason"
    return None


def false_reset_of_hub(record: StreamRecord, hub: HubView, reason: str, now: float) -> str | None:
    """Judge a reset that a rendezvous made for a stream without a route."""
    if reason in record.hub_reasons:
        return None
    match reason:
        case ResetReason.EXECUTOR_UNAVAILABLE:
            return _false_absence(record, hub, now)
        case ResetReason.TOO_MANY_STREAMS:
            if len(hub.facts.route_opened) < hub.config.max_routes:
                return "there never were so many routes"
        case _:
            return "a rendezvous has no such reason for a stream of its own harness"
    return None


def false_refusal(hub: HubView, peer: Dialler, refusal: LinkRefusal) -> str | None:
    """Judge a rendezvous that did not take a link."""
    config = hub.config
    harnesses = [other for other in hub.diallers.values() if other.role is Role.HARNESS]
    if refusal is LinkRefusal.TOO_MANY_LINKS:
        count, limit = len(hub.diallers), config.max_links
    elif refusal is LinkRefusal.TOO_MANY_HARNESS_LINKS:
        count = sum(other.executor_id == peer.executor_id for other in harnesses)
        limit = config.max_harness_links
    else:
        count = sum(other.principal == peer.principal for other in harnesses)
        limit = config.max_links_per_principal
    return None if count >= limit else f"{count} links are open, and {limit} may be"


def _false_absence(record: StreamRecord, hub: HubView, now: float) -> str | None:
    """The executor must have been away at some moment since the stream was opened."""
    attached = hub.facts.attached_at.get(record.executor_id)
    if attached is None or attached >= record.opened_at:
        return None
    return "the executor was there all the time"
