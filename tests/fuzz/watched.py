"""A connection that is drained and checked after each input, as a careful owner would.

What must hold, whatever came in: `docs/fuzzing.md` lists it.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from fuzz.refusals import refusal
from sansrelay import (
    ConnectionStats,
    DataAcknowledged,
    DataReceived,
    Event,
    FrameCause,
    FrameRejected,
    LinkState,
    LocalCause,
    Profile,
    RelayConfig,
    RelayConnection,
    Role,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.codec import decode_frame
from sansrelay.config import SEGMENT_OVERHEAD
from sansrelay.frames import DataFrame, InvalidFrame
from wirekit import EXECUTOR, OWN

__all__ = ["Watched"]

_ROUNDS: Final = 100
"""How often a drain may have to start again before it counts as endless."""
_MOST_FRAMES: Final = 20_000
"""Frames of one drain before it counts as endless."""
_READ: Final = RelayConfig(max_frame_size=1 << 30, max_stream_id_size=1 << 20)
_HEAP_SLACK: Final = 64


class Watched:
    """One end, its clock, and what its owner has to remember."""

    def __init__(
        self,
        role: Role,
        config: RelayConfig,
        *,
        incarnation: int = 0,
        now: float = 0.0,
        checked: bool = True,
    ) -> None:
        self.role = role
        self.config = config
        self.now = now
        usual = OWN if role is Role.HARNESS else EXECUTOR
        self.conn = RelayConnection(role, incarnation=incarnation or usual, config=config)
        self.bytes_in = 0
        """What came from the peer or the application: memory is allowed in proportion to it."""
        self.live: set[str] = set()
        """The streams that the application knows of."""
        self.unconsumed: dict[str, int] = {}
        self.reading = True
        self.checked = checked
        """Whether each step is looked at: the way to a prepared state need not be, every time."""
        self._received_total = 0
        self._sent_once: dict[str, set[int]] = {}

    # -- the world

    def receive(self, data: bytes) -> list[bytes]:
        """A frame comes in; what is sent at once. Checks how it was counted."""
        self.bytes_in += len(data)
        if not self.checked:
            self.conn.receive_frame(data, self.now)
            return self.settle()
        before = self.conn.stats()
        self.conn.receive_frame(data, self.now)
        after = self.conn.stats()
        assert after.frames_received == before.frames_received + 1
        assert after.bytes_received == before.bytes_received + len(data)
        self._check_counted(data, before, after)
        return self.settle()

    def _check_counted(self, data: bytes, before: ConnectionStats, after: ConnectionStats) -> None:
        for cause, count in after.dropped.items():
            assert isinstance(cause, FrameCause)
            assert count >= before.dropped.get(cause, 0)
        if self.conn.state is LinkState.DOWN:
            cause = FrameCause.NO_LINK
        else:
            frame = decode_frame(data, self.config)
            if not isinstance(frame, InvalidFrame):
                return
            cause = frame.cause
        # A frame that is not valid changes nothing but its own counter.
        assert after.dropped[cause] == before.dropped.get(cause, 0) + 1
        assert sum(after.dropped.values()) == sum(before.dropped.values()) + 1
        assert after.bytes_held == before.bytes_held
        assert after.streams_live == before.streams_live

    def link_opened(self) -> list[bytes]:
        """A link comes up; nothing happens if one is."""
        if self.conn.state is LinkState.DOWN:
            self.conn.link_opened(self.now)
        return self.settle()

    def link_closed(self) -> list[bytes]:
        """The link goes; nothing happens if there is none."""
        if self.conn.state is LinkState.UP:
            self.conn.link_closed(self.now)
        return self.settle()

    def wait(self, seconds: float) -> list[bytes]:
        """Time passes, and timers are served late."""
        self.now += seconds
        return self.settle()

    def wait_for_timer(self) -> list[bytes]:
        """Time passes until the next timer."""
        when = self.conn.next_timeout()
        if when is not None:
            self.now = max(self.now, when)
        return self.settle()

    # -- the application; a refusal must change nothing

    def open(self, stream_id: str) -> list[bytes]:
        """Open a stream, if that is allowed."""
        if self._takes(lambda: self.conn.open_stream(stream_id)):
            self.live.add(stream_id)
        return self.settle()

    def send(self, stream_id: str, data: bytes) -> bool:
        """Send a message; whether that is allowed. Settle afterwards."""
        taken = self._takes(lambda: self.conn.send_data(stream_id, data))
        if taken:
            self.bytes_in += len(data)
        return taken

    def consume(self, stream_id: str, messages: int) -> list[bytes]:
        """Consume, if that is allowed."""
        taken = self._takes(lambda: self.conn.consume(stream_id, messages))
        if taken and stream_id in self.unconsumed:
            self.unconsumed[stream_id] -= messages
            self.consumed(stream_id, messages)
        return self.settle()

    def end(self, stream_id: str, reason: str, *, at_once: bool) -> list[bytes]:
        """Close or reset a stream, if that is allowed."""
        end = self.conn.reset_stream if at_once else self.conn.close_stream
        self._takes(lambda: end(stream_id, reason))
        return self.settle()

    def misuse(self) -> None:
        """What an owner must not do: it has to be refused."""
        conn = self.conn
        is_up = conn.state is LinkState.UP
        again = conn.link_opened if is_up else conn.link_closed
        before = conn.stats()
        for now in (self.now - 1, float("nan")):
            assert refusal(partial(conn.handle_timeout, now)) is LocalCause.TIME_WENT_BACK
        assert refusal(partial(again, self.now)) is LocalCause.LINK_STATE
        assert conn.stats() == before

    def _takes(self, call: Callable[[], object]) -> bool:
        before = self.conn.stats()
        cause = refusal(call)
        assert cause is None or self.conn.stats() == before, f"{cause} changed something"
        return cause is None

    # -- the drain, and what must hold after it

    def settle(self) -> list[bytes]:
        """Serve timers that are due, and drain. Everything is checked; what was sent."""
        sent: list[bytes] = []
        self._drain(sent)
        when = self.conn.next_timeout()
        if when is not None and when <= self.now:
            self.conn.handle_timeout(self.now)
            self._drain(sent)
            when = self.conn.next_timeout()
        assert when is None or when > self.now, "a timer in the past after a drain"
        assert (when is None) == (self.conn.next_timeout_reason is None)
        if self.checked:
            self._check_limits()
        return sent

    def _drain(self, sent: list[bytes]) -> None:
        for _ in range(_ROUNDS):
            before = len(sent)
            while frames := self.conn.frames_to_send(self.now):
                sent += frames
                assert len(sent) < _MOST_FRAMES, "a drain without end"
                for raw in frames:
                    self._check_sent(raw)
            some = self._take_events()
            if len(sent) == before and not some:
                break
        else:
            raise AssertionError("a drain without end")

    def _check_sent(self, raw: bytes) -> None:
        frame = decode_frame(raw, _READ)
        assert not isinstance(frame, InvalidFrame), f"sent what is not valid: {frame}"
        if isinstance(frame, DataFrame):
            profile = self.conn.profile(frame.stream_id)
            if profile in (Profile.UNKNOWN, Profile.BASIC):
                once = self._sent_once.setdefault(frame.stream_id, set())
                assert frame.seq not in once, "sent twice to a peer that may run it twice"
                assert frame.segment_count == 1, "segmented for a peer that may not join it"
                once.add(frame.seq)

    def _take_events(self) -> bool:
        some = False
        while (event := self.conn.next_event()) is not None:
            some = True
            self._on_event(event)
        return some

    def _on_event(self, event: Event) -> None:
        if isinstance(event, StreamOpened):
            if self.role is Role.HARNESS:
                assert event.stream_id in self.live
            self.live.add(event.stream_id)
        elif isinstance(event, DataReceived):
            assert event.stream_id in self.live, "a message outside the life of its stream"
            assert 0 < len(event.data) <= self.config.max_message_size
            self._received_total += 1
            self.received(event.stream_id, event.data)
        elif isinstance(event, DataAcknowledged):
            assert event.stream_id in self.live, "an acknowledgement outside the life of its stream"
            self.acknowledged(event)
        elif isinstance(event, StreamReset):
            assert event.stream_id in self.live, "an end outside the life of its stream"
            assert event.reason
            self.live.remove(event.stream_id)
            self.unconsumed.pop(event.stream_id, None)
            self._sent_once.pop(event.stream_id, None)
            self.ended(event)
        elif isinstance(event, FrameRejected):
            assert isinstance(event.cause, FrameCause)
            assert event.detail

    def received(self, stream_id: str, data: bytes) -> None:
        """A message was delivered: consumed at once, or remembered."""
        if self.conn.stream_state(stream_id) in (None, StreamState.ENDED):
            return  # its end is the next event
        if self.reading and not self.unconsumed.get(stream_id):
            self.conn.consume(stream_id, 1)
            self.consumed(stream_id, 1)
        else:
            self.unconsumed[stream_id] = self.unconsumed.get(stream_id, 0) + 1

    def consumed(self, stream_id: str, messages: int) -> None:
        """Messages were taken over."""

    def acknowledged(self, event: DataAcknowledged) -> None:
        """The peer has taken messages over."""

    def ended(self, event: StreamReset) -> None:
        """A stream is over."""

    def _check_limits(self) -> None:
        conn, config, stats = self.conn, self.config, self.conn.stats()
        streams = list(conn._streams.values())
        assert stats.streams_live == len(streams) <= config.max_streams
        assert stats.streams_ended_remembered <= config.max_ended_streams
        assert stats.messages_received == self._received_total
        most = config.receive_buffer_size + config.max_message_size + SEGMENT_OVERHEAD
        assert 0 <= conn._budget.used <= most
        assert conn._budget.used == sum(stream.receiver.held_bytes for stream in streams)
        assert 0 <= conn._shared.unconfirmed_budget.used <= config.unconfirmed_buffer_size
        assert 0 <= stats.bytes_held <= most + config.unconfirmed_buffer_size
        assert len(conn._pending._held) <= config.max_pending_streams
        assert len(conn._ended._owed) <= 2 * config.max_ended_streams
        assert len(conn._timers) <= _HEAP_SLACK + 2 * (config.max_streams + 1)
        for stream_id in self.live:
            assert conn.stream_state(stream_id) not in (None, StreamState.ENDED)
        for stream in streams:
            receiver, sender = stream.receiver, stream.sender
            assert receiver.held_bytes >= 0
            if stream.profile is Profile.RELIABLE:
                assert receiver.next_seq - 1 - receiver.ack <= config.receive_window_segments
            assert 0 <= sender.buffered <= max(config.send_buffer_size, config.max_message_size)
            windows = config.send_window_segments, config.opening_window_segments
            assert len(sender._unacked) <= max(windows)
            assert sender.in_flight <= config.send_window_bytes or len(sender._unacked) == 1
            assert len(sender._pending) <= config.send_buffer_messages
            assert conn.send_capacity(stream.stream_id) >= 0

    # -- for the bound on memory

    @property
    def live_streams(self) -> int:
        """Streams, and ids whose opening has not come."""
        return len(self.conn._streams) + len(self.conn._pending._held)

    @property
    def held_segments(self) -> int:
        """Segments that are kept for either side, and messages that were not consumed."""
        held = sum(len(frames) for _, frames in self.conn._pending._held.values())
        for stream in self.conn._streams.values():
            receiver, sender = stream.receiver, stream.sender
            held += len(receiver._held) + receiver.unconsumed
            held += len(sender._unacked) + len(sender._pending)
        return held
