"""What an end may not say yet: before its peer has shown itself, and before there is a reason.

Kept for one life of one peer, from what it says and hears. That one of these rules is broken shows
in no message until a peer has lost its state, or a basic one has taken its place.
"""

from typing import NoReturn, Protocol

from ...connection import RelayConnection, Role
from ...frames import DataFrame, Frame, InvalidFrame, ResetFrame, ResumeFrame
from ...states import Profile
from .promises import Promise
from .trace import describe

__all__ = ["Restraint"]


class Judge(Protocol):
    """Decodes frames, and is told of what should not have been."""

    def frame_of(self, data: bytes) -> Frame | InvalidFrame:
        """A frame, decoded."""
        ...

    def broken(self, promise: Promise, detail: str) -> NoReturn:
        """A promise is broken."""
        ...


class _Stream:
    """One stream, as far as it was heard."""

    __slots__ = ("acked", "announced_on", "heard", "last_sent", "open_on", "own")

    def __init__(self) -> None:
        self.own = 0
        """The incarnation that its end goes by."""
        self.announced_on = 0
        """The link on which its first resume left."""
        self.open_on = 0
        """The link on which the peer's resume has come."""
        self.acked = 0
        """The highest ack that it has given: what comes below is old."""
        self.heard = 0
        """Frames that have come."""
        self.last_sent: dict[int, int] = {}
        """How many had come when a segment was last sent, by seq."""


class Restraint:
    """The streams of one life of a peer."""

    def __init__(self, name: str, judge: Judge) -> None:
        self._name = name
        self._judge = judge
        self._link = 0
        self._streams: dict[str, _Stream] = {}
        self._openings: set[str] = set()
        """Ids whose opening came while no stream had them, and that were not offered since."""

    def link_opened(self) -> None:
        """A new link: every gate is closed."""
        self._link += 1

    def heard(self, conn: RelayConnection, data: bytes) -> None:
        """A frame is about to be handed to the connection."""
        frame = self._judge.frame_of(data)
        if isinstance(frame, InvalidFrame):
            return
        if _is_opening(frame) and conn.profile(frame.stream_id) is None:
            self._openings.add(frame.stream_id)
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return
        stream.heard += 1
        if (
            isinstance(frame, ResumeFrame)
            and frame.peer_incarnation == stream.own
            and (frame.next_seq > stream.acked or not stream.open_on)
        ):
            stream.open_on = self._link

    def said(self, conn: RelayConnection, data: bytes) -> None:
        """A frame has left the connection."""
        frame = self._judge.frame_of(data)
        if isinstance(frame, InvalidFrame | ResetFrame):
            return
        stream = self._streams.setdefault(frame.stream_id, _Stream())
        if isinstance(frame, ResumeFrame) and stream.own not in (0, frame.incarnation):
            # An acceptor that has forgotten the stream takes it for a new one.
            stream = self._streams[frame.stream_id] = _Stream()
        stream.acked = max(stream.acked, frame.ack)
        if isinstance(frame, ResumeFrame):
            if not stream.announced_on and conn.role is Role.EXECUTOR:
                self._offered(frame)
            stream.own = frame.incarnation
            stream.announced_on = stream.announced_on or self._link
            return
        profile = conn.profile(frame.stream_id)
        if profile is None:
            return  # only a basic stream ends by what it sends
        if profile is Profile.BASIC:
            if stream.announced_on not in (0, self._link):
                self._judge.broken(
                    Promise.SENT_ONCE,
                    f"{self._name} sent {describe(frame)} on a basic stream that has lost its link",
                )
            return
        if stream.open_on != self._link:
            first = isinstance(frame, DataFrame) and profile is Profile.UNKNOWN
            if not first or stream.announced_on != self._link:
                self._judge.broken(
                    Promise.SENT_ONCE,
                    f"{self._name} sent {describe(frame)} before the peer's resume on this link",
                )
        if isinstance(frame, DataFrame):
            if stream.last_sent.get(frame.seq) == stream.heard:
                self._judge.broken(
                    Promise.SENT_ONCE,
                    f"{self._name} sent {describe(frame)} again, though nothing has come since",
                )
            stream.last_sent[frame.seq] = stream.heard

    def _offered(self, frame: ResumeFrame) -> None:
        """The first resume of an acceptor, in the life of a stream that its incarnation stands for.

        Who resumes a stream that it has forgotten would replay into it what it may have run.
        """
        if frame.stream_id not in self._openings:
            self._judge.broken(
                Promise.AT_MOST_ONCE,
                f"{self._name} offers {frame.stream_id}, of which no opening has come",
            )
        self._openings.discard(frame.stream_id)


def _is_opening(frame: Frame) -> bool:
    """Whether a frame asks an acceptor for a new reliable stream."""
    return (
        isinstance(frame, ResumeFrame)
        and frame.next_seq == 1
        and not (frame.peer_incarnation or frame.ack or frame.ack_bits)
    )
