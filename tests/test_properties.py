"""Any order and any split of inputs that the API allows keeps the promises.

Two ends and what is under way between them, driven one call at a time: frames are lost, repeated,
overtaken and damaged, old ones come again, links come and go at each end for itself, drains stop in
the middle. Hypothesis draws the configurations and how long it goes on; dice with a seed draw the
steps, because lists of steps from Hypothesis are mostly small and full of repetitions, and then
little happens.
"""

from collections import Counter
from collections.abc import Callable
from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    FrameRejected,
    LinkState,
    Profile,
    RelayConfig,
    RelayConnection,
    ResetReason,
    Role,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.codec import decode_frame
from sansrelay.config import SEGMENT_OVERHEAD
from sansrelay.frames import DataFrame, Frame, InvalidFrame, ResumeFrame
from sansrelay.testing import FakeClock
from sansrelay.testing.strategies import configs

EVERYTHING = 1 << 20
"""Bytes; more than there ever is to send."""
PATIENCE = 5000
"""Rounds within which everything has to arrive once nothing goes wrong any more."""


class Sent:
    """What one end has put on the wire of one stream, and what it was told of it."""

    def __init__(self) -> None:
        self.begun: set[int] = set()
        """First numbers of the messages of which something went out."""
        self.outstanding: dict[int, int] = {}
        """Bytes by number."""
        self.ack = 0
        self.held: set[int] = set()
        """Numbers above `ack` that the peer holds, by what it said last."""

    def goes_out(self, frame: DataFrame, config: RelayConfig) -> None:
        assert frame.seq > self.ack, "sent again after it was acknowledged"
        assert frame.seq not in self.held, "sent again though the peer holds it"
        self.begun.add(frame.seq - frame.segment_index)
        self.outstanding[frame.seq] = len(frame.payload)
        window = max(config.send_window_segments, config.opening_window_segments)
        assert len(self.outstanding) <= window
        size = sum(self.outstanding.values())
        assert size <= config.send_window_bytes or len(self.outstanding) == 1

    def reported(self, frame: Frame) -> None:
        if frame.ack < self.ack:
            return
        for seq in range(self.ack + 1, frame.ack + 1):
            self.outstanding.pop(seq)
        self.ack = frame.ack
        bits = {frame.ack + 1 + bit for bit in range(32) if frame.ack_bits >> bit & 1}
        if isinstance(frame, ResumeFrame):  # it may take bits back, or be too old to be believed
            self.held &= bits
        else:
            self.held |= bits


class End:
    """One end, and what its application knows."""

    def __init__(self, role: Role, config: RelayConfig, clock: FakeClock) -> None:
        self.conn = RelayConnection(role, incarnation=0xA1 + 0xB000 * len(role.name), config=config)
        self.config = config
        self.clock = clock
        self.opened: list[str] = []
        self.sent: dict[str, list[bytes]] = {}
        self.on_wire: dict[str, Sent] = {}
        self.received: Counter[str] = Counter()
        self.consumed: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.ended_at: dict[str, float] = {}
        self.given = 0
        self.given_bytes = 0
        self.let_out: list[bytes] = []
        self.let_out_bytes = 0

    @property
    def up(self) -> bool:
        return self.conn.state is LinkState.UP

    def live(self) -> list[str]:
        return [sid for sid in self.opened if sid not in self.ended_at]

    def open_stream(self, stream_id: str) -> None:
        self.conn.open_stream(stream_id)
        self.opened.append(stream_id)

    def send(self, stream_id: str, data: bytes) -> None:
        messages = self.sent.setdefault(stream_id, [])
        messages.append(data)
        assert self.conn.send_data(stream_id, data) == len(messages)

    def consume(self, stream_id: str, count: int) -> None:
        self.conn.consume(stream_id, count)
        self.consumed[stream_id] += count

    def waiting(self, stream_id: str) -> int:
        return self.received[stream_id] - self.consumed[stream_id]

    def receive(self, data: bytes) -> None:
        self.given += 1
        self.given_bytes += len(data)
        frame = decode_frame(data, self.config)
        if self.up and not isinstance(frame, InvalidFrame) and self._believes(frame.stream_id):
            self.on_wire.setdefault(frame.stream_id, Sent()).reported(frame)
        self.conn.receive_frame(data, self.clock())

    def _believes(self, stream_id: str) -> bool:
        known = self.conn.stream_state(stream_id) in (StreamState.OPEN, StreamState.RESUMING)
        return known and self.conn.profile(stream_id) is Profile.RELIABLE

    def send_out(self, max_bytes: int) -> list[bytes]:
        frames = self.conn.frames_to_send(self.clock(), max_bytes)
        for data in frames:
            frame = decode_frame(data, self.config)
            if isinstance(frame, DataFrame):
                self.on_wire.setdefault(frame.stream_id, Sent()).goes_out(frame, self.config)
            self.let_out_bytes += len(data)
        self.let_out += frames
        if max_bytes == EVERYTHING:
            self._no_timer_is_in_the_past()
        return frames

    def serve_timer(self) -> None:
        due = self.conn.next_timeout()
        if due is not None and due <= self.clock():
            self.conn.handle_timeout(self.clock())
            self._no_timer_is_in_the_past()

    def _no_timer_is_in_the_past(self) -> None:
        due = self.conn.next_timeout()
        assert due is None or due > self.clock()


class TwoEnds:
    """A harness, an executor, and two directions of frames under way.

    The public methods that `STEPS` names are the steps.
    """

    def __init__(self, dice: Random, config: RelayConfig, other: RelayConfig) -> None:
        self.dice = dice
        self.clock = FakeClock()
        self.spoken = 0
        self.ends = [End(Role.HARNESS, config, self.clock), End(Role.EXECUTOR, other, self.clock)]
        self.under_way: list[list[bytes]] = [[], []]  # towards the end of that index
        for end in self.ends:
            end.conn.link_opened(self.clock())
        for _ in range(dice.randint(1, 3)):
            self.open_stream()

    # -- applications

    def open_stream(self) -> None:
        harness = self.ends[0]
        if harness.conn.stats().streams_live < harness.config.max_streams:
            harness.open_stream(f"s{len(harness.opened) + 1}")

    def send(self) -> None:
        self._send(self.dice.choice((self.ends[:1], self.ends[1:], self.ends)))

    def _send(self, ends: list[End]) -> None:
        for end in ends:
            for stream_id in end.live():
                for _ in range(self.dice.choice((0, 1, 1, 2, 5))):
                    wanted = self.dice.choice((5, 50, 250, 1000))
                    size = min(self.dice.randint(1, wanted), end.conn.send_capacity(stream_id))
                    if size:
                        self.spoken += 1
                        end.send(stream_id, (b"%d|" % self.spoken).ljust(size, b".")[:size])

    def consume(self) -> None:
        end = self.dice.choice(self.ends)
        for stream_id in end.live():
            end.consume(stream_id, self.dice.randint(0, end.waiting(stream_id)))

    def end_stream(self) -> None:
        end = self.dice.choice(self.ends)
        if live := end.live():
            finish = self.dice.choice((end.conn.close_stream, end.conn.reset_stream))
            finish(self.dice.choice(live))

    # -- the network

    def let_out(self) -> None:
        self._let_out(self.dice.randrange(2), self.dice.choice((1, 100, 1000)))

    def _let_out(self, which: int, max_bytes: int) -> None:
        frames = self.ends[which].send_out(max_bytes)
        if self.ends[1 - which].up:
            self.under_way[1 - which] += frames

    def exchange(self) -> None:
        for _ in range(self.dice.randint(1, 3)):
            for which in (0, 1):
                self._let_out(which, EVERYTHING)
            self.all_arrive()
            self._live_through(self.clock() + 0.001)

    def one_is_lost(self) -> None:
        frames = self.dice.choice(self.under_way)
        if frames:
            frames.pop(self.dice.randrange(len(frames)))

    def all_are_lost(self) -> None:
        for which in (0, 1):
            self._let_out(which, EVERYTHING)
            self.under_way[which].clear()

    def one_is_repeated(self) -> None:
        frames = self.dice.choice(self.under_way)
        if frames:
            frames.append(self.dice.choice(frames))

    def an_old_one_comes_again(self) -> None:
        which = self.dice.randrange(2)
        old = self.ends[1 - which].let_out
        if old and self.ends[which].up:
            among = self.dice.choice((4, len(old)))  # the first ones are the openings
            self.under_way[which].append(self.dice.choice(old[:among]))

    def one_is_damaged(self) -> None:
        frames = self.dice.choice(self.under_way)
        if frames:
            position = self.dice.randrange(len(frames))
            frames[position] = frames[position][: len(frames[position]) // 2]

    def one_arrives(self) -> None:
        which = self.dice.randrange(2)
        if frames := self.under_way[which]:
            self.ends[which].receive(frames.pop(self.dice.randrange(len(frames))))

    def all_arrive(self) -> None:
        for end, frames in zip(self.ends, self.under_way, strict=True):
            for frame in frames:
                end.receive(frame)
            frames.clear()

    def links_go(self) -> None:
        for which in self.dice.choice(((0,), (1,), (0, 1))):
            if self.ends[which].up:
                self.ends[which].conn.link_closed(self.clock())
                self.under_way[which].clear()

    def links_come(self) -> None:
        for end in self.dice.choice((self.ends[:1], self.ends[1:], self.ends)):
            if not end.up:
                end.conn.link_opened(self.clock())

    def time_passes(self) -> None:
        seconds = self.dice.choice((0.001, 0.03, 0.2, 0.2, 1.0, 1.0, 10.0, 100.0))
        if self.dice.random() < 0.3:  # the timers are served late
            self.clock.advance(seconds)
        self._live_through(self.clock() + seconds)

    def _live_through(self, until: float) -> None:
        """Serve the timers up to a time; what falls due to be sent stays where it is."""
        while True:
            first = self._first_due()
            self.clock.advance_to(min(first, until))
            for end in self.ends:
                end.serve_timer()
            if first >= until:
                return

    def _first_due(self) -> float:
        dues = [due for end in self.ends if (due := end.conn.next_timeout()) is not None]
        return min(dues, default=inf)

    # -- what has to hold

    def check(self) -> None:
        for end, other in zip(self.ends, reversed(self.ends), strict=True):
            self.events_are_true(end, other)
            self.bounds_hold(end)
            self.stats_add_up(end)
            end.serve_timer()

    def events_are_true(self, end: End, other: End) -> None:
        while (event := end.conn.next_event()) is not None:
            stream_id = getattr(event, "stream_id", None)
            if isinstance(event, FrameRejected) or stream_id is None:
                continue
            assert stream_id not in end.ended_at, "the reset is the last that one hears of a stream"
            match event:
                case StreamOpened() if stream_id not in end.opened:
                    end.opened.append(stream_id)
                case DataReceived():
                    assert stream_id in end.opened, "nothing is delivered before the confirmation"
                    number = end.received[stream_id]
                    expected = other.sent[stream_id][number : number + 1]
                    assert [event.data] == expected, "once and in order"
                    end.received[stream_id] += 1
                case DataAcknowledged():
                    end.acknowledged[stream_id] = event.message_id
                    assert event.message_id <= other.consumed[stream_id]
                case StreamReset():
                    end.ended_at[stream_id] = self.clock()
                    self.outcome_is_true(end, other, event)

    def outcome_is_true(self, end: End, other: End, event: StreamReset) -> None:
        sent = len(end.sent.get(event.stream_id, ()))
        begun = len(end.on_wire.get(event.stream_id, Sent()).begun)
        acknowledged = sent - len(event.unknown) - len(event.never_sent)
        assert acknowledged <= other.consumed[event.stream_id]
        assert event.unknown == range(acknowledged + 1, begun + 1)
        assert event.never_sent == range(begun + 1, sent + 1)
        if event.by is EndedBy.LOCAL and event.reason == ResetReason.CLOSED:
            assert acknowledged == sent, "a graceful close waits"

    def bounds_hold(self, end: End) -> None:
        stats, config = end.conn.stats(), end.config
        most = config.receive_buffer_size + config.max_message_size + SEGMENT_OVERHEAD
        if end.conn.role is Role.EXECUTOR:
            most += config.unconfirmed_buffer_size
        assert stats.bytes_held <= (most if end.opened else config.unconfirmed_buffer_size)
        assert stats.streams_live <= config.max_streams
        assert stats.streams_ended_remembered <= config.max_ended_streams
        if stats.streams_ended_remembered < config.max_ended_streams:  # none is forgotten yet
            young = [
                sid for sid, when in end.ended_at.items() if self.clock() - when < config.ended_ttl
            ]
            states = {end.conn.stream_state(stream_id) for stream_id in young}
            assert states <= {StreamState.ENDED}, "an ended id is never revived"

    def stats_add_up(self, end: End) -> None:
        stats = end.conn.stats()
        assert (stats.frames_received, stats.bytes_received) == (end.given, end.given_bytes)
        assert (stats.frames_sent, stats.bytes_sent) == (len(end.let_out), end.let_out_bytes)
        assert stats.messages_received == sum(end.received.values())
        assert stats.segments_retransmitted <= stats.segments_sent
        assert stats.streams_ended >= len(end.ended_at)

    # -- and in the end

    def heal(self) -> None:
        """From now on nothing goes wrong any more, and what the two say may cross."""
        for end in self.ends:
            if not end.up:
                end.conn.link_opened(self.clock())
        if self.dice.random() < 0.5:
            self.last_blow()
        rounds = 0
        while rounds < PATIENCE and not self.all_done():
            rounds += 1
            for which in (0, 1):
                self._let_out(which, EVERYTHING)
            quiet = not any(self.under_way)
            self._live_through(self._first_due() if quiet else self.clock() + 0.01)
            self.all_arrive()
            self.check()
            for end in self.ends:
                for stream_id in end.live():
                    end.consume(stream_id, end.waiting(stream_id))
        self.check()
        assert self.all_done(), "everything arrives once nothing goes wrong any more"
        assert not self.ends[0].conn.stats().bytes_held, "all was taken over"

    def last_blow(self) -> None:
        """Both lose all they say at one moment, and so will ask at one moment."""
        self.open_stream()
        for _ in range(3):
            self.exchange()
            self.check()
        self._send(self.ends)
        self.all_are_lost()

    def all_done(self) -> bool:
        """Everything is acknowledged, and whoever has not ended a stream is not alone with it."""
        return all(
            end.acknowledged[stream_id] == len(end.sent.get(stream_id, ()))
            and stream_id not in other.ended_at
            for end, other in zip(self.ends, reversed(self.ends), strict=True)
            for stream_id in end.live()
        )


STEPS: dict[Callable[[TwoEnds], None], float] = {
    TwoEnds.exchange: 8,
    TwoEnds.send: 6,
    TwoEnds.consume: 4,
    TwoEnds.let_out: 7,
    TwoEnds.one_arrives: 8,
    TwoEnds.links_come: 4,
    TwoEnds.time_passes: 2,
    TwoEnds.one_is_lost: 2,
    TwoEnds.one_is_repeated: 2,
    TwoEnds.an_old_one_comes_again: 2,
    TwoEnds.one_is_damaged: 1,
    TwoEnds.all_arrive: 1,
    TwoEnds.all_are_lost: 2,
    TwoEnds.links_go: 1,
    TwoEnds.open_stream: 1,
    TwoEnds.end_stream: 0.5,
}
"""What may happen, and how likely each is."""

pairs = configs().map(lambda config: (config, config)) | st.tuples(configs(), configs())


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(0, 2**64), st.integers(60, 160), pairs)
def test_any_order_of_inputs_keeps_the_promises(
    seed: int, steps: int, pair: tuple[RelayConfig, RelayConfig]
) -> None:
    # All that was drawn is the seed, or examples that Hypothesis varies would be much alike.
    ends = TwoEnds(Random(f"{seed} {steps} {pair}"), *pair)
    for step in ends.dice.choices(list(STEPS), list(STEPS.values()), k=steps):
        step(ends)
        ends.check()
    ends.heal()
