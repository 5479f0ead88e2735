"""The life of a stream.

A stream is opened by a harness and accepted by an executor. What may happen on it depends on two
things: where it stands in its life (`StreamState`), and what its peer can do (`Profile`).

The profile is decided by evidence, once. An opener starts out UNKNOWN: it announces itself with
`resume{1}`, which a reliable peer answers and a basic one ignores. The first decisive frame of the
peer settles the matter:

* `resume{next_seq >= 1}`: RELIABLE;
* `resume{0}`, or `data{0}` with both ack fields zero: BASIC;
* anything else decides nothing.

Why both ends of a reliable stream have to be confirmed. Sequence numbers alone can't tell an
endpoint that restarted from one that is only slow: a restarted acceptor would take an old opening
for a new one and run its messages a second time. So each end has an incarnation, an opening is
answered with a question that names it, and only a frame that names the acceptor's own incarnation
proves that the opener is alive now and means this acceptor. Until then the acceptor holds what
comes, sends nothing but `resume` and `reset`, and delivers nothing.

A new link closes a gate: each end asks with `resume` and sends nothing else on the stream until the
peer's `resume` naming this pair of incarnations has come. Nothing is retransmitted blind: a segment
goes out again only when acks of later ones, or the answer to a resume, show that it is missing.

A timer asks on the same link too. Then both ends know each other already, so acks and heartbeats
still go out, and only data waits for the answer.

`TRANSITIONS` has the states alone. `sansrelay.cells` has the places behind them, which are finer,
and `sansrelay.outcomes` says what every kind of frame does in each.
"""

from enum import Enum

__all__ = ["TRANSITIONS", "Profile", "StreamInput", "StreamState"]


class Profile(Enum):
    """What the peer of a stream can do."""

    UNKNOWN = "unknown"
    """Nothing decisive has come yet."""
    RELIABLE = "reliable"
    """Acks, suppresses duplicates, resumes."""
    BASIC = "basic"
    """Runs every frame it gets and answers none: nothing may be sent twice."""


class StreamState(Enum):
    """Where a stream stands in its life."""

    OPENING = "opening"
    """Opener: announced, the peer's profile is not known."""
    UNCONFIRMED = "unconfirmed"
    """Acceptor: answered, the opener has not named our incarnation yet."""
    OPEN = "open"
    """Both ends know each other; messages flow."""
    RESUMING = "resuming"
    """The link changed or the peer was asked: no data until it answers; on a new link nothing but
    `resume`."""
    ENDED = "ended"
    """Over. The id is remembered for a while and never revived."""


class StreamInput(Enum):
    """What moves a stream from one state to another."""

    PEER_IS_BASIC = "the peer proves basic"
    PEER_RESUMES = "the peer's resume names this pair"
    ASK = "a new link, or a timer that asks"
    END = "reset by either side, timeout, violation"


TRANSITIONS: dict[tuple[StreamState, StreamInput], StreamState] = {
    (StreamState.OPENING, StreamInput.PEER_IS_BASIC): StreamState.OPEN,
    (StreamState.OPENING, StreamInput.PEER_RESUMES): StreamState.OPEN,
    (StreamState.OPENING, StreamInput.ASK): StreamState.OPENING,
    (StreamState.OPENING, StreamInput.END): StreamState.ENDED,
    (StreamState.UNCONFIRMED, StreamInput.PEER_RESUMES): StreamState.OPEN,
    (StreamState.UNCONFIRMED, StreamInput.ASK): StreamState.UNCONFIRMED,
    (StreamState.UNCONFIRMED, StreamInput.END): StreamState.ENDED,
    (StreamState.OPEN, StreamInput.PEER_RESUMES): StreamState.OPEN,
    (StreamState.OPEN, StreamInput.ASK): StreamState.RESUMING,
    (StreamState.OPEN, StreamInput.END): StreamState.ENDED,
    (StreamState.RESUMING, StreamInput.PEER_RESUMES): StreamState.OPEN,
    (StreamState.RESUMING, StreamInput.ASK): StreamState.RESUMING,
    (StreamState.RESUMING, StreamInput.END): StreamState.ENDED,
}
"""Whatever is not listed can't happen; a test compares the table with the code."""
