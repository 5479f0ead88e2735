"""What is known to be amiss, each under a name: the oracle lets exactly these cases pass.

Whoever closes a gap deletes its function; then the simulation guards it. `docs/simulation.md` tells
more about each.
"""

from ...states import Profile
from .ends import StreamEnd
from .records import StreamRecord

__all__ = [
    "answer_to_another_question",
    "basic_tail_in_new_session",
    "reliable_after_basic",
    "reply_of_successor",
    "stale_unknown_stream",
]


def reliable_after_basic(record: StreamRecord, end: StreamEnd) -> bool:
    """A basic executor ran what an opener sent blindly; its replies were lost with the opener's
    link; a reliable executor took its place, proved reliable, and was sent the same again. It takes
    a rendezvous that does not remember the first route."""
    return (
        record.routes > 1
        and end.profile is Profile.RELIABLE
        and any(other.profile is Profile.BASIC for other in record.acceptors)
    )


def reply_of_successor(record: StreamRecord, end: StreamEnd) -> bool:
    """Late copies of an opener's frames made a new route, to a basic executor that had taken the
    place of the reliable one. Its replies carry numbers that the opener waits for. It takes one for
    the other's if `data 0` was lost and nothing of its own was acknowledged yet. It takes a
    rendezvous that does not remember the first route."""
    return (
        record.routes > 1
        and end is record.opener
        and not end.acknowledged
        and any(other.profile is Profile.BASIC for other in record.acceptors)
    )


def stale_unknown_stream(record: StreamRecord) -> bool:
    """Data overtook its opening and was answered with `unknown_stream`; that reset was overtaken in
    turn by the answer to the opening. It carries no incarnation, so it ends the stream."""
    return record.late_reset


def basic_tail_in_new_session(record: StreamRecord, end: StreamEnd) -> bool:
    """A rendezvous ended the route of a basic stream; data still under way made another, and a
    basic executor a session for the rest of the stream, which nobody ends. It takes a rendezvous
    that does not remember the first route."""
    return record.routes > 1 and end is not record.opener and bool(record.hub_reasons)


def answer_to_another_question(record: StreamRecord, end: StreamEnd, seq: int) -> bool:
    """An end asked again before the answer came. It takes the first answer for one to its last
    question, and what it has sent since for lost."""
    return (
        seq < end.facts.excused_below
        or record.opener.facts.openings_out > 1
        or any(count > 1 for count in record.asked_unseen.values())
    )
