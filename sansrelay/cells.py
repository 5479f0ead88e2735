"""The words of the table in `sansrelay.outcomes`: places, kinds of frames, what may follow.

The places are finer than `StreamState`, because more decides than the state alone: whether the peer
may be told anything on this link yet (RESUMING) or was merely asked again (ASKING), whether data
may have reached a basic peer on an earlier link (OPENING_AGAIN), whether the peer has incarnations
at all (the UNTAGGED places).

So that one frame has one outcome, a place comes with a certain past. A reliable stream has had one
message each way: the peer's is consumed and acknowledged, ours was sent and is not acknowledged. A
basic stream the same, without acks; a new one has only sent. An opener has sent one message. An
unconfirmed acceptor and a pending id hold the first segment. No limit is reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from .errors import FrameCause, ResetReason
from .events import Event
from .states import Profile, StreamState

__all__ = [
    "DATA_FROM_1",
    "NO_SUCH_PAIR",
    "OPENED",
    "POSITIONS",
    "RELIABLE_RESUMES",
    "RESETS",
    "SEGMENTS",
    "STEPS",
    "Cell",
    "FrameKind",
    "Reply",
    "Setting",
    "Step",
    "Where",
]


class Setting(Enum):
    """What `RelayConfig` says about peers."""

    AUTO = "profile auto"
    EARLY = "profile auto, early_data"
    RELIABLE = "profile reliable"
    BASIC = "profile basic"


class Where(Enum):
    """Where a frame finds the stream that it names."""

    ABSENT = "no such id"
    PENDING = "no such id, but data came before its opening and is held"
    OPENING = "announced on the first link; the peer is not known"
    OPENING_AGAIN = "announced on a later link; the peer is not known"
    UNCONFIRMED = "answered; the opener has not named our incarnation"
    OPEN = "both ends know each other"
    RESUMING = "a new link: asked, the gate is closed"
    ASKING = "the same link: a timer asked, new data waits for the answer"
    UNTAGGED = "open, and the peer has no incarnation"
    RESUMING_UNTAGGED = "a new link, and the peer has no incarnation"
    ASKING_UNTAGGED = "a timer asked, and the peer has no incarnation"
    BASIC_NEW = "open, and the peer is basic; no message has come"
    BASIC = "open, and the peer is basic"
    ENDED = "over, and remembered"


POSITIONS: Mapping[Where, tuple[StreamState | None, Profile | None]] = {
    Where.ABSENT: (None, None),
    Where.PENDING: (None, None),
    Where.OPENING: (StreamState.OPENING, Profile.UNKNOWN),
    Where.OPENING_AGAIN: (StreamState.OPENING, Profile.UNKNOWN),
    Where.UNCONFIRMED: (StreamState.UNCONFIRMED, Profile.RELIABLE),
    Where.OPEN: (StreamState.OPEN, Profile.RELIABLE),
    Where.RESUMING: (StreamState.RESUMING, Profile.RELIABLE),
    Where.ASKING: (StreamState.RESUMING, Profile.RELIABLE),
    Where.UNTAGGED: (StreamState.OPEN, Profile.RELIABLE),
    Where.RESUMING_UNTAGGED: (StreamState.RESUMING, Profile.RELIABLE),
    Where.ASKING_UNTAGGED: (StreamState.RESUMING, Profile.RELIABLE),
    Where.BASIC_NEW: (StreamState.OPEN, Profile.BASIC),
    Where.BASIC: (StreamState.OPEN, Profile.BASIC),
    Where.ENDED: (StreamState.ENDED, None),
}
"""What `stream_state` and `profile` say in each place."""

NO_SUCH_PAIR: Mapping[tuple[StreamState | None, Profile | None], str] = {
    (None, Profile.UNKNOWN): "only a live stream has a profile",
    (None, Profile.RELIABLE): "only a live stream has a profile",
    (None, Profile.BASIC): "only a live stream has a profile",
    (StreamState.ENDED, Profile.UNKNOWN): "only a live stream has a profile",
    (StreamState.ENDED, Profile.RELIABLE): "only a live stream has a profile",
    (StreamState.ENDED, Profile.BASIC): "only a live stream has a profile",
    (StreamState.OPENING, None): "a live stream has a profile",
    (StreamState.UNCONFIRMED, None): "a live stream has a profile",
    (StreamState.OPEN, None): "a live stream has a profile",
    (StreamState.RESUMING, None): "a live stream has a profile",
    (StreamState.OPENING, Profile.RELIABLE): "what shows the profile ends the opening",
    (StreamState.OPENING, Profile.BASIC): "what shows the profile ends the opening",
    (StreamState.UNCONFIRMED, Profile.UNKNOWN): "the opening that makes the stream decides",
    (StreamState.UNCONFIRMED, Profile.BASIC): "a basic stream needs no confirmation",
    (StreamState.OPEN, Profile.UNKNOWN): "a stream opens by finding out about its peer",
    (StreamState.RESUMING, Profile.UNKNOWN): "a stream that never opened is opening still",
    (StreamState.RESUMING, Profile.BASIC): "a basic stream ends with its link",
}
"""Why no stream is ever in the other combinations of state and profile."""


class Step(Enum):
    """What moves a stream besides the peer's frames."""

    NEW_LINK = "the link is lost, and another is up"
    ASK = "no answer for a while: a timer asks"
    END = "reset by this side, or resume_timeout"
    LATE = "pending_timeout"
    FORGET = "ended_ttl"


STEPS: Mapping[tuple[Where, Step], Where] = {
    (Where.PENDING, Step.NEW_LINK): Where.ABSENT,
    (Where.PENDING, Step.LATE): Where.ABSENT,
    (Where.OPENING, Step.NEW_LINK): Where.OPENING_AGAIN,
    (Where.OPENING, Step.ASK): Where.OPENING,
    (Where.OPENING, Step.END): Where.ENDED,
    (Where.OPENING_AGAIN, Step.NEW_LINK): Where.OPENING_AGAIN,
    (Where.OPENING_AGAIN, Step.ASK): Where.OPENING_AGAIN,
    (Where.OPENING_AGAIN, Step.END): Where.ENDED,
    (Where.UNCONFIRMED, Step.NEW_LINK): Where.UNCONFIRMED,
    (Where.UNCONFIRMED, Step.ASK): Where.UNCONFIRMED,
    (Where.UNCONFIRMED, Step.END): Where.ENDED,
    (Where.OPEN, Step.NEW_LINK): Where.RESUMING,
    (Where.OPEN, Step.ASK): Where.ASKING,
    (Where.OPEN, Step.END): Where.ENDED,
    (Where.RESUMING, Step.NEW_LINK): Where.RESUMING,
    (Where.RESUMING, Step.ASK): Where.RESUMING,
    (Where.RESUMING, Step.END): Where.ENDED,
    (Where.ASKING, Step.NEW_LINK): Where.RESUMING,
    (Where.ASKING, Step.ASK): Where.ASKING,
    (Where.ASKING, Step.END): Where.ENDED,
    (Where.UNTAGGED, Step.NEW_LINK): Where.RESUMING_UNTAGGED,
    (Where.UNTAGGED, Step.ASK): Where.ASKING_UNTAGGED,
    (Where.UNTAGGED, Step.END): Where.ENDED,
    (Where.RESUMING_UNTAGGED, Step.NEW_LINK): Where.RESUMING_UNTAGGED,
    (Where.RESUMING_UNTAGGED, Step.ASK): Where.RESUMING_UNTAGGED,
    (Where.RESUMING_UNTAGGED, Step.END): Where.ENDED,
    (Where.ASKING_UNTAGGED, Step.NEW_LINK): Where.RESUMING_UNTAGGED,
    (Where.ASKING_UNTAGGED, Step.ASK): Where.ASKING_UNTAGGED,
    (Where.ASKING_UNTAGGED, Step.END): Where.ENDED,
    (Where.BASIC_NEW, Step.NEW_LINK): Where.ENDED,
    (Where.BASIC_NEW, Step.END): Where.ENDED,
    (Where.BASIC, Step.NEW_LINK): Where.ENDED,
    (Where.BASIC, Step.END): Where.ENDED,
    (Where.ENDED, Step.NEW_LINK): Where.ENDED,
    (Where.ENDED, Step.FORGET): Where.ABSENT,
}
"""What is not listed leaves the stream where it is."""

OPENED: Mapping[Setting, Where] = {
    Setting.AUTO: Where.OPENING,
    Setting.EARLY: Where.OPENING,
    Setting.RELIABLE: Where.OPENING,
    Setting.BASIC: Where.BASIC_NEW,
}
"""Where `open_stream` puts a stream."""


class FrameKind(Enum):
    """What tells one incoming frame from another.

    "Next" is the next segment in order, or the next_seq that goes with it. A frame beyond has ack
    fields that cover what was never sent; where not said otherwise, ack fields cover nothing new.
    """

    INVALID = "a frame without a body; any other invalid frame has its own cause"
    RESET = "reset, any reason but unknown_stream"
    RESET_UNKNOWN = "reset(unknown_stream)"
    RESET_BEYOND = "reset, beyond"
    HANDSHAKE = "handshake"
    RESUME_BASIC = "resume{0}"
    RESUME_BASIC_ACK = "resume{0} with an ack"
    RESUME_FIRST = "resume{1} of the peer, naming nobody: an opening"
    RESUME_FIRST_ACK = "the same with an ack"
    RESUME_FIRST_OTHER = "the same of another incarnation of the peer"
    RESUME_LATER = "resume{2 or more} of the peer, naming nobody"
    RESUME_UNTAGGED = "resume{next} without incarnations"
    QUESTION = "resume{next} that names this pair, a question"
    ANSWER = "resume{next} that names this pair, an answer"
    RESUME_STALE = "resume that names this pair, with a next_seq received already"
    RESUME_BEYOND = "resume that names this pair, beyond"
    RESUME_FOREIGN = "resume that names another incarnation of ours"
    RESUME_RESTARTED = "resume of another incarnation of the peer, naming ours"
    DATA_ZERO = "data, seq 0"
    DATA_ZERO_ACK = "data, seq 0, with an ack of our message"
    DATA_NEXT = "data, next in order"
    DATA_EARLY = "data, one is missing before it"
    DATA_DUPLICATE = "data, received before"
    DATA_OUTSIDE = "data, outside the receive window"
    DATA_FIRST_PART = "data, next in order, the first of two segments"
    DATA_BROKEN = "data, next in order, a segment that continues no message"
    DATA_TOO_LARGE = "data, next in order, of a message that is too large"
    ACK = "ack of our message"
    ACK_OLD = "ack of nothing new"
    ACK_BEYOND = "ack, beyond"
    HEARTBEAT = "heartbeat"


RESETS = (FrameKind.RESET, FrameKind.RESET_UNKNOWN, FrameKind.RESET_BEYOND)
RELIABLE_RESUMES = (
    FrameKind.RESUME_FIRST,
    FrameKind.RESUME_FIRST_ACK,
    FrameKind.RESUME_FIRST_OTHER,
    FrameKind.RESUME_LATER,
    FrameKind.RESUME_UNTAGGED,
    FrameKind.QUESTION,
    FrameKind.ANSWER,
    FrameKind.RESUME_STALE,
    FrameKind.RESUME_BEYOND,
    FrameKind.RESUME_FOREIGN,
    FrameKind.RESUME_RESTARTED,
)
SEGMENTS = (FrameKind.DATA_FIRST_PART, FrameKind.DATA_BROKEN, FrameKind.DATA_TOO_LARGE)
"""Data that is no whole message."""
DATA_FROM_1 = (
    FrameKind.DATA_NEXT,
    FrameKind.DATA_EARLY,
    FrameKind.DATA_DUPLICATE,
    FrameKind.DATA_OUTSIDE,
    *SEGMENTS,
)
"""Data with a seq that a basic peer does not begin with."""


class Reply(Enum):
    """What goes out for the frame, at once unless said otherwise."""

    QUESTION = "a question"
    ANSWER = "an answer"
    ACK = "an ack"
    ACK_LATER = "an ack after ack_delay"
    MISSING = "what the peer lacks, again"
    RESET = "a reset"
    RESET_AGAIN = "the reset that ended it, again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The outcome of one frame. Without anything: the frame is taken, and that is all.

    `to` is the next place, None if it stays. `reason` is that of the reset in `replies`. `counted`
    has the causes under which frames, or parts of them, count as dropped: this one, and what was
    held. `events` are the types of the events, in order.
    """

    to: Where | None = None
    replies: tuple[Reply, ...] = ()
    reason: ResetReason | None = None
    counted: tuple[FrameCause, ...] = ()
    events: tuple[type[Event], ...] = ()
