"""The state machine: many streams over one link at a time.

`RelayConnection` does no I/O and has no clock. Its owner tells it what happened, says what the
application wants, and then drains it, always in the same order:

1. `frames_to_send(now)` until it returns nothing or the link can take no more,
2. `next_event()` until it returns None,
3. `next_timeout()`: call `handle_timeout` at that time.

Events never wait for frames and frames never wait for events, so an owner whose link is slow may
read all events and come back for frames later.
"""

from collections import deque
from enum import Enum

from .codec import decode_frame, encode_frame
from .config import ProfilePolicy, RelayConfig
from .ended import EndedStreams
from .errors import FrameCause, LocalCause, LocalProtocolError, ResetReason
from .events import Event, FrameRejected, LinkLost, MessageId
from .frames import Frame, InvalidFrame, ResetFrame
from .outgoing import Outgoing, Shared
from .pending import PendingData
from .receiver import Budget
from .scheduler import Scheduler
from .states import Profile, StreamState
from .stats import ConnectionStats, Counters
from .stream import Stream
from .timers import TimerHeap, TimerKind
from .unknown import INCARNATIONS, UnknownIds

__all__ = ["LinkState", "RelayConnection", "Role"]


class Role(Enum):
    """Which end of the relay this is."""

    HARNESS = "harness"
    """Opens streams."""
    EXECUTOR = "executor"
    """Accepts them."""


class LinkState(Enum):
    """Whether frames can go out."""

    DOWN = "down"
    UP = "up"


class RelayConnection:
    """One end of the relay, over its whole life and any number of links.

    Not safe to share between threads or tasks without a lock: each call must end before the next.

    `incarnation` is a random 64-bit number, not 0, that no other connection has: it is how a peer
    tells that this end has lost its state. Give each `RelayConnection` a fresh one.

    Four groups of calls:

    * the world happened: `link_opened`, `receive_frame`, `link_closed`, `handle_timeout`;
    * the application wants: `open_stream`, `send_data`, `consume`, `close_stream`, `reset_stream`;
    * drain: `frames_to_send`, `next_event`, `next_timeout`;
    * look, without effect: `state`, `stream_state`, `profile`, `send_capacity`, `stats`.

    `now` is any monotonic time in seconds, the same clock in all calls; one that goes back raises
    (`TIME_WENT_BACK`). Misuse raises `LocalProtocolError` and changes nothing; nothing that a peer
    sends raises. The rules are in `docs/protocol.md`.
    """

    def __init__(self, role: Role, *, incarnation: int, config: RelayConfig | None = None) -> None:
        if not 0 < incarnation < INCARNATIONS:
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                f"incarnation must be a random number from 1 to 2**64 - 1, not {incarnation!r}",
            )
        self._role = role
        self._config = config = config or RelayConfig()
        self._incarnation = incarnation
        self._now = float("-inf")
        self._events: deque[Event] = deque()
        self._counters = Counters()
        self._budget = Budget(config.receive_buffer_size)
        self._timers: TimerHeap[Outgoing] = TimerHeap()
        self._scheduler: Scheduler[Outgoing] = Scheduler()
        self._shared = Shared(
            config=config,
            emit=self._events.append,
            ended=self._on_stream_ended,
            budget=self._budget,
            unconfirmed_budget=Budget(config.unconfirmed_buffer_size),
            counters=self._counters,
            scheduler=self._scheduler,
            timers=self._timers,
        )
        self._streams: dict[str, Stream] = {}
        self._ended = EndedStreams(config)
        self._pending = PendingData(config, self._shared.unconfirmed_budget)
        self._unknown = UnknownIds(
            self._shared,
            self._streams,
            self._ended,
            self._pending,
            incarnation=incarnation,
            accepts=role is Role.EXECUTOR,
        )
        self._without_link: list[Stream] = []  # opened before there was one, and not waiting yet

    # -- the world happened

    def link_opened(self, now: float) -> None:
        """A link to the peer, or to a rendezvous, is up: whole frames pass in order, or not at all.

        Raises `LocalProtocolError` if one is open already (`LINK_STATE`): report `link_closed`
        first.
        """
        if self._shared.link_up:
            raise LocalProtocolError(
                LocalCause.LINK_STATE, "a link is open; call link_closed before the next one"
            )
        self._advance(now)
        self._shared.link_up = True
        self._counters.links_opened += 1
        for stream in self._streams.values():
            stream.link_opened(now)

    def link_closed(self, now: float) -> None:
        """The link is gone, for whatever reason, with all that was under way on it.

        Basic streams end with `link_lost`; reliable ones wait for the next link.
        Raises `LocalProtocolError` if no link is open (`LINK_STATE`).
        """
        if not self._shared.link_up:
            raise LocalProtocolError(LocalCause.LINK_STATE, "no link is open")
        self._advance(now)
        self._shared.link_up = False
        self._events.append(LinkLost())
        self._unknown.link_closed()
        self._ended.link_closed()
        for stream in list(self._streams.values()):
            stream.link_closed(now)

    def receive_frame(self, data: bytes, now: float) -> None:
        """One whole binary message came over the link. Never raises for what is in it.

        Frames that come while no link is open are dropped and counted (`NO_LINK`).
        """
        self._advance(now)
        counters = self._counters
        counters.frames_received += 1
        counters.bytes_received += len(data)
        if not self._shared.link_up:
            counters.dropped[FrameCause.NO_LINK] += 1
            return
        frame = decode_frame(data, self._config)
        if isinstance(frame, InvalidFrame):
            counters.dropped[frame.cause] += 1
            self._events.append(
                FrameRejected(stream_id=frame.stream_id, cause=frame.cause, detail=frame.detail)
            )
            return
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            self._unknown.receive(frame, now)
        elif isinstance(frame, ResetFrame):
            stream.on_reset(frame, now)
        elif stream.profile is Profile.RELIABLE:
            stream.on_reliable(frame, now)
        elif stream.profile is Profile.BASIC:
            stream.on_basic(frame)
        else:
            stream.on_undecided(frame, now)

    def handle_timeout(self, now: float) -> None:
        """Time has come to `next_timeout()`. Calling early or late is harmless."""
        self._advance(now)
        while (pending := self._pending.first()) is not None and pending[0] <= now:
            self._unknown.give_up(pending[1], now)
        while (first := self._timers.first()) is not None and first[0] <= now:
            _, kind, stream = first
            stream.on_timer(kind, now)
            self._timers.rearm(stream)

    # -- the application wants

    def open_stream(self, stream_id: str) -> None:
        """Open a stream under an id that was never used before; UUIDv4 is the custom.

        Data may be sent at once. Raises `LocalProtocolError` (`WRONG_ROLE`, `BAD_ARGUMENT`,
        `STREAM_EXISTS`, `TOO_MANY_STREAMS`).
        """
        config = self._config
        if self._role is not Role.HARNESS:
            raise LocalProtocolError(LocalCause.WRONG_ROLE, "only a harness opens streams")
        if not _fits(stream_id, config.max_stream_id_size):
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                f"a stream id must not be blank nor longer than {config.max_stream_id_size} bytes",
            )
        if stream_id in self._streams or stream_id in self._ended:
            raise LocalProtocolError(
                LocalCause.STREAM_EXISTS, f"stream id {stream_id!r} was used; take a fresh one"
            )
        if len(self._streams) >= config.max_streams:
            raise LocalProtocolError(
                LocalCause.TOO_MANY_STREAMS,
                f"{config.max_streams} streams are open (max_streams); close one first",
            )
        basic = config.profile is ProfilePolicy.BASIC
        stream = Stream(
            stream_id,
            self._shared,
            is_opener=True,
            own=self._incarnation,
            profile=Profile.BASIC if basic else Profile.UNKNOWN,
        )
        self._streams[stream_id] = stream
        if basic:
            stream.open()
        if self._shared.link_up:
            stream.link_opened(self._now)
        elif not basic:
            self._without_link.append(stream)

    def send_data(self, stream_id: str, data: bytes) -> MessageId:
        """Queue one message, which must not be empty nor larger than `send_capacity(stream_id)`.

        Returns its id. Raises `LocalProtocolError` and queues nothing (`UNKNOWN_STREAM`,
        `STREAM_CLOSING`, `BAD_ARGUMENT`, `MESSAGE_TOO_LARGE`, `NO_CAPACITY`,
        `SEQUENCE_EXHAUSTED`; the last also begins to close the stream). An acceptor has to wait for
        `StreamOpened`: of a stream that ends before it, no `StreamReset` tells what was sent.
        """
        stream = self._live(stream_id)
        if stream.closing:
            raise LocalProtocolError(LocalCause.STREAM_CLOSING, f"stream {stream_id!r} is closing")
        if not isinstance(data, bytes):
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                f"a message must be bytes, not {type(data).__name__}: encode a text, and copy a "
                "buffer that may change with bytes()",
            )
        size = len(data)
        if not size:
            raise LocalProtocolError(LocalCause.BAD_ARGUMENT, "a message must not be empty")
        if size > self._config.max_message_size:
            raise LocalProtocolError(
                LocalCause.MESSAGE_TOO_LARGE,
                f"{size} bytes; max_message_size is {self._config.max_message_size}",
            )
        if size > stream.sender.capacity():
            raise LocalProtocolError(
                LocalCause.NO_CAPACITY,
                f"{size} bytes, but only {stream.sender.capacity()} fit now; "
                "wait for SendCapacityAvailable",
            )
        if not stream.sender.room_in_sequence(size):
            stream.close(ResetReason.SEQUENCE_EXHAUSTED)
            raise LocalProtocolError(
                LocalCause.SEQUENCE_EXHAUSTED, "open a new stream: this one has used up its numbers"
            )
        return stream.send(data)

    def consume(self, stream_id: str, messages: int = 1) -> None:
        """The application has taken over that many messages, oldest first: acks may move.

        Nothing happens on a stream that has ended. Raises `LocalProtocolError`
        (`NOTHING_TO_CONSUME`, `UNKNOWN_STREAM`).
        """
        if stream_id in self._ended:
            return
        stream = self._live(stream_id)
        if not 0 <= messages <= stream.receiver.unconsumed:
            raise LocalProtocolError(
                LocalCause.NOTHING_TO_CONSUME,
                f"{messages} messages, but {stream.receiver.unconsumed} were received and not "
                "consumed",
            )
        if messages:
            stream.consume(messages)

    def close_stream(self, stream_id: str, reason: str = ResetReason.CLOSED) -> None:
        """End a stream once everything sent is acknowledged (basic profile: written).

        `StreamReset` tells when. Closing again is harmless. Raises `LocalProtocolError`
        (`UNKNOWN_STREAM`, `BAD_ARGUMENT`).
        """
        if stream_id in self._ended:
            return
        stream = self._live(stream_id)
        self._check_reason(reason)
        if not stream.closing:
            stream.close(reason)

    def reset_stream(self, stream_id: str, reason: str = ResetReason.CANCELLED) -> None:
        """End a stream at once. Nothing happens if it has ended already.

        Raises `LocalProtocolError` (`UNKNOWN_STREAM`, `BAD_ARGUMENT`).
        """
        if stream_id in self._ended:
            return
        stream = self._live(stream_id)
        self._check_reason(reason)
        stream.end(reason)

    # -- drain

    def frames_to_send(self, now: float, max_bytes: int = 64 * 1024) -> list[bytes]:
        """Encoded frames for the link, chosen now: resets, control, then data in fair turns.

        Stops once `max_bytes` are reached; a single frame may be larger. Empty without a link.
        What was returned counts as sent.
        """
        self._advance(now)
        out: list[bytes] = []
        if not self._shared.link_up:
            return out
        size = 0
        while size < max_bytes:
            frame = self._next_frame(now)
            if frame is None:
                break
            data = encode_frame(frame)
            out.append(data)
            size += len(data)
        counters = self._counters
        counters.frames_sent += len(out)
        counters.bytes_sent += size
        return out

    def next_event(self) -> Event | None:
        """The oldest event not yet read, or None."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called next, by the clock of `now`; None for never."""
        timeout = self._first_timeout()
        return None if timeout is None else timeout[0]

    @property
    def next_timeout_reason(self) -> tuple[TimerKind, str] | None:
        """What `next_timeout` is for: the kind of deadline and the stream's id."""
        timeout = self._first_timeout()
        return None if timeout is None else timeout[1:]

    # -- look

    @property
    def role(self) -> Role:
        """Which end this is."""
        return self._role

    @property
    def state(self) -> LinkState:
        """Whether a link is open."""
        return LinkState.UP if self._shared.link_up else LinkState.DOWN

    def stream_state(self, stream_id: str) -> StreamState | None:
        """Where a stream stands; None for an id that is not known (any more)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            return stream.state
        return StreamState.ENDED if stream_id in self._ended else None

    def profile(self, stream_id: str) -> Profile | None:
        """What the peer of a live stream can do; None for any other id."""
        stream = self._streams.get(stream_id)
        return None if stream is None else stream.profile

    def send_capacity(self, stream_id: str) -> int:
        """Bytes that the next message on this stream may have; 0 if it takes none."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None or stream.closing else stream.sender.capacity()

    def stats(self) -> ConnectionStats:
        """The counters as they are now."""
        return self._counters.snapshot(
            live=len(self._streams),
            remembered=len(self._ended),
            held=self._budget.used + self._pending.size,
        )

    # -- inside: sending

    def _next_frame(self, now: float) -> Frame | None:
        reset = self._ended.next_reset()
        if reset is not None:
            return reset
        scheduler = self._scheduler
        while (stream := scheduler.next_control()) is not None:
            if (frame := stream.next_control(now)) is not None:
                return frame
        while (stream := scheduler.data_head()) is not None:
            size = stream.next_size()
            if not size:
                scheduler.drop_head()
                # An ack that meant to ride on that data goes by itself.
                if (frame := stream.next_control(now)) is not None:
                    return frame
            elif stream.deficit < size:
                scheduler.turn_over(size)
            else:
                stream.deficit -= size
                frame = stream.next_data(now)
                stream.finish_closing()
                return frame
        return None

    # -- inside: the rest

    def _on_stream_ended(
        self, stream: Outgoing, reason: str, ack: int, bits: int, owed: bool
    ) -> None:
        del self._streams[stream.stream_id]
        self._counters.streams_ended += 1
        self._ended.add(ResetFrame(stream.stream_id, ack, bits, reason), owed=owed)

    def _advance(self, now: float) -> None:
        if not now >= self._now:  # also refuses NaN
            raise LocalProtocolError(
                LocalCause.TIME_WENT_BACK, f"now is {now!r} after {self._now!r}; use one clock"
            )
        self._now = now
        self._ended.advance(now)
        if self._without_link:
            for stream in self._without_link:
                stream.begins_to_wait(now)
            self._without_link.clear()

    def _first_timeout(self) -> tuple[float, TimerKind, str] | None:
        first = self._timers.first()
        pending = self._pending.first()
        if pending is not None and (first is None or pending[0] < first[0]):
            return pending[0], TimerKind.PENDING, pending[1]
        return None if first is None else (first[0], first[1], first[2].stream_id)

    def _live(self, stream_id: str) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id in self._ended:
                raise LocalProtocolError(
                    LocalCause.STREAM_CLOSING, f"stream {stream_id!r} has ended"
                )
            raise LocalProtocolError(LocalCause.UNKNOWN_STREAM, f"no stream {stream_id!r}")
        return stream

    def _check_reason(self, reason: str) -> None:
        if not _fits(reason, self._config.max_reason_size):
            raise LocalProtocolError(
                LocalCause.BAD_ARGUMENT,
                f"a reason must not be blank nor longer than {self._config.max_reason_size} bytes",
            )


def _fits(text: str, limit: int) -> bool:
    """Whether a text may go over the wire: not blank, and at most `limit` bytes of UTF-8."""
    try:
        return bool(text.strip()) and len(text.encode()) <= limit
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
