"""What every kind of frame does in each place: the parts of the table in `sansrelay.outcomes`.

A table is written as a base and what differs from it: `base | {...}`. Some hold only what a role or
a setting changes in a place; `sansrelay.outcomes` puts them together.
"""

from collections.abc import Iterable
from dataclasses import replace

from .cells import (
    DATA_FROM_1,
    RELIABLE_RESUMES,
    RESETS,
    SEGMENTS,
    Cell,
    FrameKind,
    Reply,
    Where,
)
from .errors import FrameCause, ResetReason
from .events import (
    AckDue,
    DataAcknowledged,
    DataReceived,
    Event,
    FrameRejected,
    Retransmit,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
    StreamResumed,
)

__all__ = [
    "ASKING",
    "ASKING_UNTAGGED",
    "BASIC",
    "BASIC_REFUSED",
    "CODEX",
    "ENDED",
    "FORGETS",
    "FROM_0",
    "FROM_ANYWHERE",
    "NO_STREAM",
    "OFFERED",
    "OFFERED_EARLY",
    "OFFERED_TO_BASIC",
    "OPEN",
    "OPENER_REFUSES",
    "OPENING",
    "OPENING_AGAIN",
    "PENDING",
    "PENDING_BASIC_REFUSED",
    "PENDING_EARLY",
    "RESUMING",
    "RESUMING_UNTAGGED",
    "SUCCEEDED",
    "UNCONFIRMED",
    "UNCONFIRMED_EARLY",
    "UNTAGGED",
    "Cells",
]

Cells = dict[FrameKind, Cell]
"""The outcome of each kind of frame in one place."""


# -- what many places have in common


def _each(kinds: Iterable[FrameKind], cell: Cell) -> dict[FrameKind, Cell]:
    return dict.fromkeys(kinds, cell)


def _refused(reason: ResetReason, counted: FrameCause, *events: type[Event]) -> Cell:
    """No stream comes of it, and the id is used up."""
    return Cell(
        to=Where.ENDED, replies=(Reply.RESET,), reason=reason, counted=(counted,), events=events
    )


def _ends(reason: ResetReason, counted: FrameCause | None = None, *events: type[Event]) -> Cell:
    """We end the stream and say so to both sides."""
    return Cell(
        to=Where.ENDED,
        replies=(Reply.RESET,),
        reason=reason,
        counted=() if counted is None else (counted,),
        events=(*events, StreamReset),
    )


_DROPPED = {cause: Cell(counted=(cause,)) for cause in FrameCause}
_REJECTED = {cause: Cell(counted=(cause,), events=(FrameRejected,)) for cause in FrameCause}
_ENDED_BY_PEER = Cell(to=Where.ENDED, events=(StreamReset,))
_UNKNOWN_STREAM = Cell(
    replies=(Reply.RESET,),
    reason=ResetReason.UNKNOWN_STREAM,
    counted=(FrameCause.UNKNOWN_STREAM,),
)
_PROFILE_REFUSED = _refused(ResetReason.PROFILE_REFUSED, FrameCause.PROFILE_REFUSED)
_RESTARTED = _ends(ResetReason.PEER_RESTARTED)
_FORGOTTEN = _ends(ResetReason.UNKNOWN_STREAM, FrameCause.FOREIGN_INCARNATION)
_TOO_LARGE = _ends(ResetReason.MESSAGE_TOO_LARGE, FrameCause.MESSAGE_TOO_LARGE, FrameRejected)
_MISMATCH = _ends(ResetReason.PROTOCOL_ERROR, FrameCause.SEGMENT_MISMATCH, FrameRejected)
_ANSWERED = Cell(replies=(Reply.ANSWER,))
_STALE = Cell(replies=(Reply.ACK,), counted=(FrameCause.STALE_RESUME,), events=(AckDue,))
_TWICE = Cell(replies=(Reply.ACK,), counted=(FrameCause.DUPLICATE,), events=(AckDue,))
_ACKED = (DataAcknowledged, SendCapacityAvailable)


# -- no stream

NO_STREAM: Cells = (
    _each(FrameKind, _UNKNOWN_STREAM)
    | _each(RESETS, _DROPPED[FrameCause.UNKNOWN_STREAM])
    | {FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY]}
)
OFFERED: Cells = (
    NO_STREAM
    | _each(DATA_FROM_1, Cell(to=Where.PENDING))
    | {
        FrameKind.HANDSHAKE: _refused(
            ResetReason.PROTOCOL_ERROR, FrameCause.HANDSHAKE_UNSUPPORTED, FrameRejected
        ),
        FrameKind.RESUME_BASIC: Cell(to=Where.BASIC_NEW, events=(StreamOpened,)),
        FrameKind.DATA_ZERO: Cell(to=Where.BASIC, events=(StreamOpened, DataReceived)),
        FrameKind.RESUME_FIRST: Cell(to=Where.UNCONFIRMED, replies=(Reply.QUESTION,)),
        FrameKind.RESUME_FIRST_OTHER: Cell(to=Where.UNCONFIRMED, replies=(Reply.QUESTION,)),
        FrameKind.RESUME_UNTAGGED: Cell(
            to=Where.UNTAGGED, replies=(Reply.ANSWER,), events=(StreamOpened,)
        ),
    }
)


def _loses_held(cell: Cell) -> Cell:
    """What is held has no stream to go to."""
    return replace(cell, counted=(*cell.counted, FrameCause.UNKNOWN_STREAM))


PENDING: Cells = (
    OFFERED
    | _each(RESETS, _loses_held(replace(_DROPPED[FrameCause.UNKNOWN_STREAM], to=Where.ABSENT)))
    | {
        kind: _loses_held(OFFERED[kind])
        for kind in (FrameKind.HANDSHAKE, FrameKind.RESUME_BASIC, FrameKind.DATA_ZERO)
    }
    | _each(DATA_FROM_1, Cell())
    | {
        FrameKind.RESUME_UNTAGGED: Cell(
            to=Where.UNTAGGED, replies=(Reply.ANSWER,), events=(StreamOpened, DataReceived)
        ),
    }
)
BASIC_REFUSED: Cells = _each((FrameKind.RESUME_BASIC, FrameKind.DATA_ZERO), _PROFILE_REFUSED)
PENDING_BASIC_REFUSED: Cells = {kind: _loses_held(cell) for kind, cell in BASIC_REFUSED.items()}
"""A basic opening where only a reliable one may be."""


def _early(*events: type[Event]) -> Cells:
    """With `early_data` the application hears of an opening before its confirmation."""
    opened = Cell(to=Where.UNCONFIRMED, replies=(Reply.QUESTION,), events=events)
    return _each((FrameKind.RESUME_FIRST, FrameKind.RESUME_FIRST_OTHER), opened)


OFFERED_EARLY = _early(StreamOpened)
PENDING_EARLY = _early(StreamOpened, DataReceived)
OFFERED_TO_BASIC: Cells = (
    _each(FrameKind, _DROPPED[FrameCause.UNKNOWN_STREAM])
    | _each(
        (FrameKind.DATA_ZERO, FrameKind.DATA_ZERO_ACK, *DATA_FROM_1),
        Cell(to=Where.BASIC, events=(StreamOpened, DataReceived)),
    )
    | _each(
        SEGMENTS,
        Cell(
            to=Where.BASIC_NEW,
            counted=(FrameCause.SEGMENTED_ON_BASIC,),
            events=(StreamOpened, FrameRejected),
        ),
    )
    | {FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY]}
)
ENDED: Cells = (
    _each(FrameKind, Cell(replies=(Reply.RESET_AGAIN,), counted=(FrameCause.ENDED_STREAM,)))
    | _each(RESETS, _DROPPED[FrameCause.ENDED_STREAM])
    | {FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY]}
)


# -- an opener that does not know its peer

OPENING: Cells = (
    _each(FrameKind, _DROPPED[FrameCause.NOT_DECISIVE])
    | _each(
        RELIABLE_RESUMES,
        Cell(to=Where.OPEN, replies=(Reply.ANSWER,), events=(StreamOpened,)),
    )
    | {
        FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY],
        FrameKind.RESET: _ENDED_BY_PEER,
        FrameKind.RESET_BEYOND: _ENDED_BY_PEER,
        FrameKind.HANDSHAKE: _ends(
            ResetReason.PROTOCOL_ERROR, FrameCause.HANDSHAKE_UNSUPPORTED, FrameRejected
        ),
        FrameKind.RESUME_BASIC: Cell(
            to=Where.BASIC_NEW, events=(StreamOpened, SendCapacityAvailable)
        ),
        FrameKind.DATA_ZERO: Cell(
            to=Where.BASIC, events=(StreamOpened, SendCapacityAvailable, DataReceived)
        ),
        FrameKind.RESUME_FIRST_ACK: Cell(
            to=Where.OPEN, replies=(Reply.ANSWER,), events=(StreamOpened, *_ACKED)
        ),
        FrameKind.RESUME_UNTAGGED: Cell(to=Where.UNTAGGED, events=(StreamOpened,)),
        FrameKind.ANSWER: Cell(to=Where.OPEN, events=(StreamOpened,)),
        FrameKind.RESUME_BEYOND: _REJECTED[FrameCause.ACK_BEYOND_SENT],
        FrameKind.RESUME_FOREIGN: _DROPPED[FrameCause.FOREIGN_INCARNATION],
    }
)


def _sends_missing(cell: Cell) -> Cell:
    """On a later link the peer's resume shows that what was sent before has not arrived."""
    if cell.to not in (Where.OPEN, Where.UNTAGGED) or DataAcknowledged in cell.events:
        return cell
    return replace(cell, replies=(*cell.replies, Reply.MISSING), events=(*cell.events, Retransmit))


OPENING_AGAIN: Cells = {kind: _sends_missing(cell) for kind, cell in OPENING.items()} | {
    FrameKind.RESUME_BASIC: _ends(ResetReason.LINK_LOST),
    FrameKind.DATA_ZERO: _ends(ResetReason.LINK_LOST, FrameCause.ENDED_STREAM),
}

OPENER_REFUSES: Cells = {
    FrameKind.RESUME_BASIC: _ends(ResetReason.PROFILE_REFUSED),
    FrameKind.DATA_ZERO: _ends(ResetReason.PROFILE_REFUSED, FrameCause.ENDED_STREAM),
}
"""A basic peer where only a reliable one may be."""


# -- an acceptor that waits for the confirmation

UNCONFIRMED_EARLY: Cells = {
    FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY],
    **_each(RESETS, _ENDED_BY_PEER),
    FrameKind.HANDSHAKE: _REJECTED[FrameCause.HANDSHAKE_UNSUPPORTED],
    FrameKind.RESUME_BASIC: _DROPPED[FrameCause.NOT_DECISIVE],
    FrameKind.RESUME_BASIC_ACK: _DROPPED[FrameCause.NOT_DECISIVE],
    FrameKind.RESUME_FIRST: Cell(replies=(Reply.QUESTION,)),
    FrameKind.RESUME_FIRST_ACK: Cell(replies=(Reply.QUESTION,)),
    FrameKind.RESUME_FIRST_OTHER: _RESTARTED,
    FrameKind.RESUME_LATER: Cell(replies=(Reply.QUESTION,)),
    FrameKind.RESUME_UNTAGGED: _RESTARTED,
    FrameKind.QUESTION: Cell(to=Where.OPEN, replies=(Reply.ANSWER,), events=(AckDue,)),
    FrameKind.ANSWER: Cell(to=Where.OPEN, replies=(Reply.ACK,), events=(AckDue,)),
    FrameKind.RESUME_STALE: Cell(to=Where.OPEN, replies=(Reply.ANSWER,), events=(AckDue,)),
    FrameKind.RESUME_BEYOND: _REJECTED[FrameCause.ACK_BEYOND_SENT],
    FrameKind.RESUME_FOREIGN: _FORGOTTEN,
    FrameKind.RESUME_RESTARTED: _RESTARTED,
    FrameKind.DATA_ZERO: _DROPPED[FrameCause.DUPLICATE],
    FrameKind.DATA_ZERO_ACK: _DROPPED[FrameCause.DUPLICATE],
    FrameKind.DATA_NEXT: Cell(events=(DataReceived,)),
    FrameKind.DATA_EARLY: Cell(),
    FrameKind.DATA_DUPLICATE: _DROPPED[FrameCause.DUPLICATE],
    FrameKind.DATA_OUTSIDE: _DROPPED[FrameCause.WINDOW_OVERRUN],
    FrameKind.DATA_FIRST_PART: Cell(),
    FrameKind.DATA_BROKEN: _MISMATCH,
    FrameKind.DATA_TOO_LARGE: _TOO_LARGE,
    FrameKind.ACK: _DROPPED[FrameCause.NOT_CONFIRMED],
    FrameKind.ACK_OLD: _DROPPED[FrameCause.NOT_CONFIRMED],
    FrameKind.ACK_BEYOND: _DROPPED[FrameCause.NOT_CONFIRMED],
    FrameKind.HEARTBEAT: _DROPPED[FrameCause.NOT_CONFIRMED],
}


def _not_told(cell: Cell) -> Cell:
    """The application does not know of the stream, so it is not told of its end."""
    return replace(cell, events=tuple(event for event in cell.events if event is not StreamReset))


_DELIVERS = (StreamOpened, DataReceived, AckDue)
UNCONFIRMED: Cells = {kind: _not_told(cell) for kind, cell in UNCONFIRMED_EARLY.items()} | {
    FrameKind.QUESTION: Cell(to=Where.OPEN, replies=(Reply.ANSWER,), events=_DELIVERS),
    FrameKind.ANSWER: Cell(to=Where.OPEN, replies=(Reply.ACK,), events=_DELIVERS),
    FrameKind.RESUME_STALE: Cell(to=Where.OPEN, replies=(Reply.ANSWER,), events=_DELIVERS),
    FrameKind.DATA_NEXT: Cell(),
    FrameKind.DATA_BROKEN: Cell(),  # found out when it is put in order
}


# -- both ends know each other

OPEN: Cells = {
    FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY],
    FrameKind.RESET: _ENDED_BY_PEER,
    FrameKind.RESET_UNKNOWN: _ENDED_BY_PEER,
    FrameKind.RESET_BEYOND: Cell(
        to=Where.ENDED,
        counted=(FrameCause.ACK_BEYOND_SENT,),
        events=(FrameRejected, StreamReset),
    ),
    FrameKind.HANDSHAKE: _REJECTED[FrameCause.HANDSHAKE_UNSUPPORTED],
    FrameKind.RESUME_BASIC: _DROPPED[FrameCause.NOT_DECISIVE],
    FrameKind.RESUME_BASIC_ACK: _DROPPED[FrameCause.NOT_DECISIVE],
    FrameKind.RESUME_FIRST: _ANSWERED,
    FrameKind.RESUME_FIRST_ACK: _ANSWERED,
    FrameKind.RESUME_FIRST_OTHER: _RESTARTED,
    FrameKind.RESUME_LATER: _ANSWERED,
    FrameKind.RESUME_UNTAGGED: _RESTARTED,
    FrameKind.QUESTION: _ANSWERED,
    FrameKind.ANSWER: Cell(),
    FrameKind.RESUME_STALE: _STALE,
    FrameKind.RESUME_BEYOND: _REJECTED[FrameCause.ACK_BEYOND_SENT],
    FrameKind.RESUME_FOREIGN: _DROPPED[FrameCause.FOREIGN_INCARNATION],
    FrameKind.RESUME_RESTARTED: _RESTARTED,
    FrameKind.DATA_ZERO: _TWICE,
    FrameKind.DATA_ZERO_ACK: replace(_TWICE, events=(*_ACKED, AckDue)),
    FrameKind.DATA_NEXT: Cell(replies=(Reply.ACK_LATER,), events=(DataReceived,)),
    FrameKind.DATA_EARLY: Cell(replies=(Reply.ACK,), events=(AckDue,)),
    FrameKind.DATA_DUPLICATE: _TWICE,
    FrameKind.DATA_OUTSIDE: Cell(replies=(Reply.ACK_LATER,), counted=(FrameCause.WINDOW_OVERRUN,)),
    FrameKind.DATA_FIRST_PART: Cell(replies=(Reply.ACK_LATER,)),
    FrameKind.DATA_BROKEN: _MISMATCH,
    FrameKind.DATA_TOO_LARGE: _TOO_LARGE,
    FrameKind.ACK: Cell(events=_ACKED),
    FrameKind.ACK_OLD: Cell(),
    FrameKind.ACK_BEYOND: _REJECTED[FrameCause.ACK_BEYOND_SENT],
    FrameKind.HEARTBEAT: Cell(replies=(Reply.ACK,), events=(AckDue,)),
}

# A question of the peer closes our asking too, but it was put before our last data arrived: only
# an answer shows what is missing.
ASKING: Cells = OPEN | {
    FrameKind.QUESTION: replace(_ANSWERED, to=Where.OPEN),
    FrameKind.ANSWER: Cell(to=Where.OPEN, replies=(Reply.MISSING,), events=(Retransmit,)),
}


def _gated(cell: Cell) -> Cell:
    """On a new link no ack goes out before the peer's resume has come."""
    return replace(
        cell,
        replies=tuple(r for r in cell.replies if r not in (Reply.ACK, Reply.ACK_LATER)),
        events=tuple(event for event in cell.events if event is not AckDue),
    )


_RESUMED = Cell(
    to=Where.OPEN, replies=(Reply.ANSWER, Reply.MISSING), events=(StreamResumed, Retransmit)
)
RESUMING: Cells = {kind: _gated(cell) for kind, cell in OPEN.items()} | {
    FrameKind.QUESTION: _RESUMED,
    FrameKind.ANSWER: replace(_RESUMED, replies=(Reply.MISSING,)),
}

# Only a basic peer counts from 0: an executor of that kind is in the place of the other.
SUCCEEDED: Cells = {
    FrameKind.DATA_ZERO: _ends(ResetReason.PEER_RESTARTED, FrameCause.BASIC_SUCCESSOR)
}

# A resume that names another incarnation means an acceptor that is no more.
FORGETS: Cells = {FrameKind.RESUME_FOREIGN: _FORGOTTEN}


# -- the same with a peer that has no incarnation

_TAGGED_IS_ANOTHER: Cells = _each(
    (FrameKind.RESUME_FIRST, FrameKind.RESUME_FIRST_ACK, FrameKind.RESUME_LATER), _RESTARTED
)
UNTAGGED: Cells = OPEN | _TAGGED_IS_ANOTHER | {FrameKind.RESUME_UNTAGGED: _ANSWERED}
# It can't mark its answers, so whatever it sends when asked is one.
_PAIRS = (FrameKind.RESUME_UNTAGGED, FrameKind.QUESTION, FrameKind.ANSWER)
ASKING_UNTAGGED: Cells = (
    ASKING
    | _TAGGED_IS_ANOTHER
    | _each(_PAIRS, Cell(to=Where.UNTAGGED, replies=(Reply.MISSING,), events=(Retransmit,)))
)
RESUMING_UNTAGGED: Cells = (
    RESUMING
    | _TAGGED_IS_ANOTHER
    | _each(
        _PAIRS,
        Cell(to=Where.UNTAGGED, replies=(Reply.MISSING,), events=(StreamResumed, Retransmit)),
    )
)


# -- basic

_GAP = _ends(ResetReason.GAP, FrameCause.SEQUENCE_GAP, FrameRejected)
BASIC: Cells = (
    _each(FrameKind, _DROPPED[FrameCause.NOT_ON_BASIC])
    | _each(RESETS, _ENDED_BY_PEER)
    | _each(
        RELIABLE_RESUMES,
        _ends(ResetReason.PROTOCOL_ERROR, FrameCause.RESUME_ON_BASIC, FrameRejected),
    )
    | _each(SEGMENTS, _REJECTED[FrameCause.SEGMENTED_ON_BASIC])
    | {
        FrameKind.INVALID: _REJECTED[FrameCause.NO_BODY],
        FrameKind.HANDSHAKE: _REJECTED[FrameCause.HANDSHAKE_UNSUPPORTED],
        FrameKind.DATA_ZERO: _DROPPED[FrameCause.DUPLICATE],
        FrameKind.DATA_ZERO_ACK: _DROPPED[FrameCause.DUPLICATE],
        FrameKind.DATA_NEXT: Cell(events=(DataReceived,)),
        FrameKind.DATA_EARLY: _GAP,
        FrameKind.DATA_DUPLICATE: _DROPPED[FrameCause.DUPLICATE],
        FrameKind.DATA_OUTSIDE: _GAP,
    }
)
CODEX: Cells = BASIC | _each(RELIABLE_RESUMES, _DROPPED[FrameCause.NOT_DECISIVE])
"""As Codex does: a resume means nothing."""
_FIRST_MESSAGE = Cell(to=Where.BASIC, events=(DataReceived,))
FROM_0 = _each(
    (
        FrameKind.DATA_ZERO,
        FrameKind.DATA_ZERO_ACK,
        FrameKind.DATA_NEXT,
        FrameKind.DATA_DUPLICATE,
    ),
    _FIRST_MESSAGE,
)
FROM_ANYWHERE = FROM_0 | _each((FrameKind.DATA_EARLY, FrameKind.DATA_OUTSIDE), _FIRST_MESSAGE)
