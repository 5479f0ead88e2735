"""Whether an end says more than it has to, or less: what each frame that it lets out must be for.

Segments are sent again for a reason that came over the wire, never because time has passed. Each
ack, answer and question has a cause. What has come is reported in time, so that nobody has to ask.
"""

from ...errors import FrameCause
from ...frames import AckFrame, DataFrame, Frame, HeartbeatFrame, ResetFrame, ResumeFrame
from ...rendezvous import DropCause
from ...states import Profile
from .bounds import dropped_by, may_talk
from .ends import StreamEnd
from .records import HubView, PeerView

__all__ = [
    "drops_at_hub",
    "drops_at_peer",
    "heard",
    "needless",
    "poor_report",
    "said",
    "unreported",
    "untrue_report",
]

_SLACK = 3
"""Frames beyond those with a known cause: what came before an acceptor's application was told."""
_CLOCK_ERROR = 1e-6


def _may_report(peer: PeerView, end: StreamEnd) -> bool:
    """Whether an ack may go out at all. If not, it falls due when the gate opens: not judged."""
    return peer.machine is not None and may_talk(peer.machine, end.stream_id)


def heard(end: StreamEnd, frame: Frame, peer: PeerView, now: float) -> None:
    """A frame is about to be handed to an end: note what it calls for."""
    facts = end.facts
    if isinstance(frame, ResetFrame) or end.disowns(frame):
        return
    facts.reports += 1
    match frame:
        case ResumeFrame():
            facts.calls += 1
            facts.resumes_in += 1
            if frame.answer:
                facts.answers_in += 1
                if facts.answers_in != facts.resumes_out:
                    facts.excused_below = facts.next_seq or 0
            else:
                facts.questions_in += 1
        case HeartbeatFrame():
            facts.calls += 1
            if _may_report(peer, end):
                facts.report_due = min(facts.report_due, now)
        case DataFrame():
            facts.calls += 1
            if end.profile is not None:  # an opener that knows nothing of its peer keeps nothing
                facts.held |= 1 << frame.seq
            if _may_report(peer, end):
                facts.report_due = min(facts.report_due, now + peer.config.ack_delay)
        case _:
            pass


def said(end: StreamEnd, frame: Frame, peer: PeerView, links: int, now: float) -> str | None:
    """An end has let a frame out, no reset: what is needless about it, or None."""
    facts = end.facts
    config = peer.config
    if end.profile is Profile.BASIC:
        if frame.ack or frame.ack_bits or not isinstance(frame, DataFrame | ResumeFrame):
            return "a basic peer can't understand it"
        return None
    facts.report_due = float("inf")
    match frame:
        case AckFrame():
            facts.acks_out += 1
            if facts.acks_out > facts.calls + end.consumed + _SLACK:
                return f"its ack number {facts.acks_out}, after {facts.calls} frames"
        case ResumeFrame() if frame.answer:
            facts.answers_out += 1
            if facts.answers_out > facts.questions_in + _SLACK:
                return f"its answer number {facts.answers_out} to {facts.questions_in} questions"
        case ResumeFrame() | HeartbeatFrame():
            facts.questions_out += 1
            if isinstance(frame, ResumeFrame):
                facts.resumes_out += bool(frame.peer_incarnation)
                facts.openings_out += not frame.peer_incarnation
            paced = (now - end.opened_at) / min(config.min_rto, config.heartbeat_interval)
            if facts.questions_out > paced + facts.resumes_in + links + _SLACK:
                return f"its question number {facts.questions_out}"
        case _:
            pass
    return None


def needless(end: StreamEnd, seq: int) -> str | None:
    """A segment is sent once more to a reliable peer: why that can't be called for, or None."""
    facts = end.facts
    if seq <= facts.acked_seq:
        return f"{facts.acked_seq} segments were acknowledged"
    ack, bits = facts.report
    if seq > ack and bits >> (seq - ack - 1) & 1:
        return "the peer has just said that it holds it"
    if facts.reports_at[seq] == facts.reports:
        return "nothing was heard since it was sent last"
    return None


def untrue_report(end: StreamEnd, frame: Frame) -> str | None:
    """What a report claims of segments that never came, or None."""
    facts = end.facts
    came = (facts.held | facts.early) >> 1
    ack, bits = frame.ack, frame.ack_bits
    if came & ((1 << ack) - 1) != (1 << ack) - 1 or bits & ~(came >> ack):
        return "not all of it has come"
    return None


def poor_report(end: StreamEnd, frame: Frame) -> str | None:
    """What a report leaves out, so that it is sent again, or None."""
    missing = end.facts.held >> (frame.ack + 1) & ~frame.ack_bits & 0xFFFF_FFFF
    if missing:
        return f"it leaves out bits {missing:x} of what it holds"
    return None


def unreported(peer: PeerView, end: StreamEnd) -> str | None:
    """After a drain: whether what came is reported, or a timer runs for it. Not called while the
    link takes no frames."""
    machine = peer.machine
    if machine is None or not end.live or not may_talk(machine, end.stream_id):
        return None
    following = machine.next_timeout()
    due = end.facts.report_due
    if following is None or following > due + _CLOCK_ERROR:
        return f"a report due at {due:.6f} has neither left nor a timer"
    return None


def drops_at_peer(peer: PeerView) -> int:
    """How many segments a peer has dropped at a limit: they are sent again."""
    if peer.machine is None:
        return 0
    dropped = dropped_by(peer.machine)
    return dropped[FrameCause.BUFFER_FULL] + dropped[FrameCause.WINDOW_OVERRUN]


def drops_at_hub(hub: HubView) -> bool:
    """Whether a rendezvous has dropped frames at a limit."""
    dropped = hub.machine.stats().dropped
    return any(dropped.get(cause) for cause in _AT_LIMIT_OF_HUB)


_AT_LIMIT_OF_HUB = (
    DropCause.STREAM_QUEUE_FULL,
    DropCause.LINK_QUEUE_FULL,
    DropCause.TOTAL_QUEUE_FULL,
)
