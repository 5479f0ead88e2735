"""What a driver owes a `RelayConnection`, without the loop: draining, timers, faces of streams.

An adapter owns a `Session`. It tells it what happened on the link and takes the frames to write;
the session drains the machine in the right order after each call, keeps the earliest deadline set,
and passes events on to the streams. What is left for the adapter is sockets, tasks and waiting.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum

from .config import RelayConfig
from .connection import RelayConnection, Role
from .errors import ResetReason
from .events import (
    DataAcknowledged,
    DataReceived,
    Event,
    MessageId,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
)
from .links import ConnectError, LinkStatus
from .states import Profile
from .stats import ConnectionStats

__all__ = ["OnEvent", "RelayEnd", "Session", "Standing", "StreamCore", "StreamFace"]

_BATCH_SIZE = 64 * 1024
"""Bytes of frames that are chosen at once. What comes later can still overtake the rest."""

OnEvent = Callable[[Event], None]
"""Called with every event of the `RelayConnection`, for tracing. It must not block, nor raise."""


class Standing(Enum):
    """How it stands with a stream, for who wants to use it."""

    LIVE = "it can be used"
    CLOSED_HERE = "this side has closed or reset it"
    CLOSED_BY_PEER = "the peer has closed it in good order"
    ENDED = "it has ended in any other way"


class StreamCore:
    """A stream as the application sees it, short of the waiting.

    `notify` is called after every event, and after a local close or reset: set it to what wakes
    the tasks that wait on this stream. An acknowledgement, of which there are many and that few
    wait for, calls `notify_settled` instead.
    """

    __slots__ = (
        "_inbox",
        "_session",
        "closed",
        "ended",
        "last_message_id",
        "notify",
        "notify_settled",
        "profile",
        "settled",
        "stream_id",
    )

    def __init__(self, stream_id: str, session: "Session") -> None:
        self.stream_id = stream_id
        self.profile: Profile | None = None
        """What the peer can do; None until that is known."""
        self.ended: StreamReset | None = None
        """How the stream ended, None while it lives."""
        self.closed = False
        """Whether this side has closed or reset it."""
        self.last_message_id: MessageId = 0
        self.settled: MessageId = 0
        """The newest message that needs nothing more: acknowledged by a reliable peer, or given to
        the link of a basic one."""
        self.notify: Callable[[], None] = _nobody
        self.notify_settled: Callable[[], None] = _nobody
        self._inbox: deque[bytes] = deque()
        self._session = session

    def __repr__(self) -> str:
        state = "ended" if self.ended else "closing" if self.closed else "live"
        return f"<RelayStream {self.stream_id} {state}>"

    @property
    def standing(self) -> Standing:
        """How it stands with the stream; messages that were not received yet do not count."""
        if self.closed:
            return Standing.CLOSED_HERE
        if self.ended is None:
            return Standing.LIVE
        in_order = self.ended.known_reason is ResetReason.CLOSED
        return Standing.CLOSED_BY_PEER if in_order else Standing.ENDED

    @property
    def failure(self) -> ConnectError | None:
        """The final failure of the link, if there is one."""
        return self._session.failure

    def next_message(self) -> bytes | None:
        """The next message that has arrived, taken over by the application; None without one."""
        if not self._inbox:
            return None
        value = self._inbox.popleft()
        if self.ended is None:
            self._session.conn.consume(self.stream_id, 1)
            self._session.command_done()
        return value

    def send(self, value: bytes) -> bool:
        """Queue a message for sending; False if there is no room for it. For a LIVE stream.

        Raises `LocalProtocolError` (MESSAGE_TOO_LARGE, BAD_ARGUMENT, SEQUENCE_EXHAUSTED).
        """
        session, size = self._session, len(value)
        # A message that never fits is not waited for: send_data says what is wrong with it.
        if session.conn.send_capacity(self.stream_id) < size <= session.config.max_message_size:
            return False
        try:
            self.last_message_id = session.conn.send_data(self.stream_id, value)
        finally:
            session.command_done()
        return True

    def close(self) -> None:
        """Close in good order: the stream ends once all is acknowledged. Harmless if repeated."""
        if self.ended is None and not self.closed:
            self._session.conn.close_stream(self.stream_id, ResetReason.CLOSED)
            self._close_here()
        self.closed = True

    def reset(self, reason: str = ResetReason.CANCELLED) -> None:
        """End the stream at once. Harmless on one that has ended.

        Raises `LocalProtocolError` (BAD_ARGUMENT) for a reason that can't be sent.
        """
        if self.ended is None:
            self._session.conn.reset_stream(self.stream_id, reason)
        self._close_here()

    def _close_here(self) -> None:
        self.closed = True
        self._inbox.clear()
        self.notify()
        self._session.command_done()

    def _take(self, event: Event) -> None:
        match event:
            case DataReceived():
                self._inbox.append(event.data)
            case StreamOpened():
                self.profile = event.profile
            case DataAcknowledged():
                self.settled = event.message_id
                self.notify_settled()
                return
            case SendCapacityAvailable() if self.profile is Profile.BASIC:
                # A basic stream says so only when nothing is left in its buffer.
                self.settled = self.last_message_id
            case StreamReset():
                self.ended = event
        self.notify()


def _nobody() -> None:
    """Nobody waits yet."""


class StreamFace:
    """What a stream shows on any loop: the base of the adapters' `RelayStream`."""

    def __init__(self, core: StreamCore) -> None:
        self._core = core

    def __repr__(self) -> str:
        return repr(self._core)

    @property
    def stream_id(self) -> str:
        """The stream's id on the wire."""
        return self._core.stream_id

    @property
    def profile(self) -> Profile | None:
        """What the peer can do; None until that is known."""
        return self._core.profile

    @property
    def ended(self) -> StreamReset | None:
        """How the stream ended, None while it lives. It tells the outcome of each message."""
        return self._core.ended

    @property
    def last_message_id(self) -> MessageId:
        """The id of the newest message sent, 0 before the first; `ended.outcome` speaks of it.

        Read directly after `send` returned, it is that of the message just sent.
        """
        return self._core.last_message_id

    def reset(self, reason: str = ResetReason.CANCELLED) -> None:
        """End the stream at once, for a reason that the peer is told. Does not wait.

        Harmless on a stream that has ended. Raises `sansrelay.LocalProtocolError` (BAD_ARGUMENT)
        for a reason that is blank or longer than `RelayConfig.max_reason_size`.
        """
        self._core.reset(reason)


class Session:
    """One `RelayConnection`, kept drained.

    `wake` is called when there may be frames to write, `set_alarm` with an absolute time when
    `time_passed` is wanted at that time and no alarm for an earlier one is set. `on_stream` gets
    each stream that the peer opens.
    """

    def __init__(
        self,
        role: Role,
        *,
        incarnation: int,
        config: RelayConfig,
        wake: Callable[[], None],
        set_alarm: Callable[[float], None],
        on_event: OnEvent | None = None,
        on_stream: Callable[[StreamCore], None] | None = None,
    ) -> None:
        self.config = config
        self.conn = RelayConnection(role, incarnation=incarnation, config=config)
        self.status = LinkStatus.CONNECTING
        self.failure: ConnectError | None = None
        self.leaving: ResetReason | None = None
        """Set once this end of the relay was left: no stream may begin any more."""
        self._streams: dict[str, StreamCore] = {}
        self._wake = wake
        self._set_alarm = set_alarm
        self._alarm_at = math.inf
        self._on_event = on_event
        self._on_stream = on_stream

    # -- the link

    def link_up(self, now: float) -> None:
        """A link is open."""
        self.conn.link_opened(now)
        self.status = LinkStatus.UP

    def link_down(self, now: float) -> None:
        """The link is gone."""
        self.status = LinkStatus.CONNECTING
        self.conn.link_closed(now)
        self._settle()

    def receive(self, frames: Iterable[bytes], now: float) -> None:
        """Frames have come."""
        for frame in frames:
            self.conn.receive_frame(frame, now)
            # Before the next frame, which may end the stream that this one has begun.
            self._pass_on_events()
        self.command_done()

    def frames_to_send(self, now: float) -> list[bytes]:
        """The next frames to write, a bounded amount. They count as sent."""
        frames = self.conn.frames_to_send(now, _BATCH_SIZE)
        self._settle()
        return frames

    def time_passed(self, now: float) -> None:
        """The alarm has gone off. Early or late is harmless."""
        self._alarm_at = math.inf
        due = self.conn.next_timeout()
        self.conn.handle_timeout(now)
        if due is not None and due <= now:
            self._wake()
        self._settle()

    # -- the application

    def open_stream(self, stream_id: str) -> StreamCore:
        """Open a stream. Raises what `RelayConnection.open_stream` does."""
        self.conn.open_stream(stream_id)
        stream = self._adopt(stream_id)
        self.command_done()
        return stream

    def command_done(self) -> None:
        """Something was asked of `conn`: have it sent, and pass on what came of it."""
        self._wake()
        if self.status is LinkStatus.CONNECTING:
            # Nobody asks for frames without a link, so nothing else tells the machine the time from
            # which on a new stream waits.
            self._alarm_at = 0.0
            self._set_alarm(0.0)
        self._settle()

    def leave(self, reason: ResetReason) -> None:
        """Reset all streams, those to come too. Then write what there is to write, and close."""
        self.leaving = reason
        for stream in list(self._streams.values()):
            stream.reset(reason)

    def give_up(self, error: ConnectError) -> None:
        """There will be no link any more: all streams end."""
        self.failure = error
        self.status = LinkStatus.DOWN
        for stream_id in list(self._streams):
            self.conn.reset_stream(stream_id, ResetReason.UNAUTHORIZED)
        self._settle()

    # -- draining

    def _settle(self) -> None:
        """Pass on events, and see to it that the next deadline is met."""
        self._pass_on_events()
        due = self.conn.next_timeout()
        if due is not None and due < self._alarm_at:
            self._alarm_at = due
            self._set_alarm(due)

    def _pass_on_events(self) -> None:
        next_event = self.conn.next_event
        while (event := next_event()) is not None:
            if self._on_event is not None:
                self._on_event(event)
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        match event:
            case StreamOpened():
                stream = self._streams.get(event.stream_id)
                if stream is not None:
                    stream._take(event)
                else:
                    self._accept(event)
            case DataReceived() | DataAcknowledged() | SendCapacityAvailable():
                self._streams[event.stream_id]._take(event)
            case StreamReset():
                self._streams.pop(event.stream_id)._take(event)

    def _accept(self, event: StreamOpened) -> None:
        stream = self._adopt(event.stream_id)
        stream._take(event)
        if self.leaving is not None:
            stream.reset(self.leaving)
        elif self._on_stream is not None:
            self._on_stream(stream)

    def _adopt(self, stream_id: str) -> StreamCore:
        stream = self._streams[stream_id] = StreamCore(stream_id, self)
        return stream


class RelayEnd:
    """What an end of the relay tells about itself on any loop."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def link(self) -> LinkStatus:
        """How it stands with the link."""
        return self._session.status

    @property
    def failure(self) -> ConnectError | None:
        """Why there will be no link any more; None as long as there is hope."""
        return self._session.failure

    def stats(self) -> ConnectionStats:
        """The counters of the `RelayConnection`, as they are now."""
        return self._session.conn.stats()
