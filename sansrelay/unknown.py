"""Frames for ids that have no live stream: openings, what overtook them, and what comes too late.

An opener expects no such frame. An acceptor makes streams of openings, and holds data whose opening
has not come yet. Everything else is answered with a reset, at a limited rate; a reset is never
answered.
"""

from typing import Final

from .config import ProfilePolicy
from .ended import EndedStreams, ResetLimiter
from .errors import FrameCause, ResetReason
from .events import FrameRejected
from .frames import DataFrame, Frame, HandshakeFrame, ResetFrame, ResumeFrame
from .outgoing import Shared
from .pending import PendingData
from .states import Profile
from .stream import Stream

__all__ = ["INCARNATIONS", "UnknownIds"]

INCARNATIONS: Final = 2**64
"""How many numbers an incarnation is one of; 0 stands for none."""


class UnknownIds:
    """What one connection makes of them.

    `streams`, `ended` and `pending` are the connection's tables: a stream that is accepted is put
    into the first, an id that is refused into the second. Nothing here raises.
    """

    __slots__ = (
        "_accepts",
        "_ended",
        "_incarnation",
        "_limiter",
        "_pending",
        "_shared",
        "_streams",
        "accepted",
    )

    def __init__(
        self,
        shared: Shared,
        streams: dict[str, Stream],
        ended: EndedStreams,
        pending: PendingData,
        *,
        incarnation: int,
        accepts: bool,
    ) -> None:
        self._shared = shared
        self._streams = streams
        self._ended = ended
        self._pending = pending
        self._incarnation = incarnation
        self._accepts = accepts
        self._limiter = ResetLimiter(shared.config.resets_per_second)
        self.accepted = 0
        """Streams made so far."""

    def receive(self, frame: Frame, now: float) -> None:
        """A valid frame came whose id has no live stream."""
        stream_id = frame.stream_id
        if isinstance(frame, ResetFrame):
            ended = stream_id in self._ended
            self._drop(FrameCause.ENDED_STREAM if ended else FrameCause.UNKNOWN_STREAM)
            self._ended.settle(stream_id)
            self._drop_pending(stream_id)
        elif stream_id in self._ended:
            self._drop(FrameCause.ENDED_STREAM)
            if self._allow_reset(now):
                self._ended.owe(stream_id)
        elif self._accepts:
            self._on_offer(frame, now)
        else:
            self._answer_unknown(stream_id, now)

    def give_up(self, stream_id: str, now: float) -> None:
        """The opening of data that is held has not come in time (`pending_timeout`)."""
        self._drop_pending(stream_id)
        self._reset_unknown(stream_id, now)

    def link_closed(self) -> None:
        """The link is gone, and with it the data that waited for its opening."""
        frames = self._pending.clear()
        if frames:
            self._shared.counters.dropped[FrameCause.NO_LINK] += frames

    # -- at an acceptor

    def _on_offer(self, frame: Frame, now: float) -> None:
        stream_id = frame.stream_id
        silent = not frame.ack and not frame.ack_bits
        basic_only = self._shared.config.profile is ProfilePolicy.BASIC
        match frame:
            case DataFrame() if basic_only or (silent and not frame.seq):
                stream = self._accept(stream_id, Profile.BASIC)
                if stream is not None:
                    stream.on_basic(frame)
            case _ if basic_only:
                self._drop(FrameCause.UNKNOWN_STREAM)
            case ResumeFrame() if silent and not frame.next_seq:
                self._accept(stream_id, Profile.BASIC)
            case ResumeFrame() if silent and frame.next_seq == 1 and not frame.peer_incarnation:
                stream = self._accept(stream_id, Profile.RELIABLE)
                early = self._pending.take(stream_id)
                if stream is not None:
                    stream.offered(frame, now)
                    for data in early:
                        if stream_id in self._streams:  # a bad segment ends it
                            stream.on_reliable(data, now)
            case DataFrame() if frame.seq and self._pending.has_room_for(stream_id):
                if not self._pending.hold(frame, now):
                    self._drop(FrameCause.BUFFER_FULL)
            case HandshakeFrame():
                cause = FrameCause.HANDSHAKE_UNSUPPORTED
                self._drop(cause)
                self._shared.emit(
                    FrameRejected(stream_id=stream_id, cause=cause, detail="no encryption here")
                )
                self._refuse(stream_id, ResetReason.PROTOCOL_ERROR)
            case _:
                self._answer_unknown(stream_id, now)

    def _accept(self, stream_id: str, profile: Profile) -> Stream | None:
        config = self._shared.config
        if len(self._streams) >= config.max_streams:
            self._drop(FrameCause.TOO_MANY_STREAMS)
            self._refuse(stream_id, ResetReason.TOO_MANY_STREAMS)
            return None
        if profile is Profile.BASIC and config.profile is ProfilePolicy.RELIABLE:
            self._drop(FrameCause.PROFILE_REFUSED)
            self._refuse(stream_id, ResetReason.PROFILE_REFUSED)
            return None
        self.accepted += 1
        own = (self._incarnation + self.accepted - 1) % (INCARNATIONS - 1) + 1  # never 0
        stream = Stream(stream_id, self._shared, is_opener=False, own=own, profile=profile)
        self._streams[stream_id] = stream
        if profile is Profile.BASIC:
            self._drop_pending(stream_id)  # a gap from the start: a basic stream can't mend it
            stream.open()
        return stream

    def _refuse(self, stream_id: str, reason: ResetReason) -> None:
        self._drop_pending(stream_id)
        self._ended.add(ResetFrame(stream_id, 0, 0, reason), owed=True)

    # -- what both do

    def _answer_unknown(self, stream_id: str, now: float) -> None:
        self._drop(FrameCause.UNKNOWN_STREAM)
        self._reset_unknown(stream_id, now)

    def _reset_unknown(self, stream_id: str, now: float) -> None:
        if self._allow_reset(now):
            self._ended.owe_unknown(ResetFrame(stream_id, 0, 0, ResetReason.UNKNOWN_STREAM))

    def _allow_reset(self, now: float) -> bool:
        if self._limiter.allow(now):
            return True
        self._shared.counters.resets_suppressed += 1
        return False

    def _drop_pending(self, stream_id: str) -> None:
        frames = len(self._pending.take(stream_id))
        if frames:
            self._shared.counters.dropped[FrameCause.UNKNOWN_STREAM] += frames

    def _drop(self, cause: FrameCause) -> None:
        self._shared.counters.dropped[cause] += 1
