"""Two connections with a hostile middle: it drops, repeats, reorders, replays, cuts, and forges.

As long as nothing was forged, the promises are checked: each message at most once and in order,
what is called acknowledged was delivered, what is called never sent was not; and on a link that
works again everything arrives. Once a valid frame was forged, only what must hold for any input is.
"""

from typing import Final

from fuzz.frame_choice import choose_frame, raw_frame
from fuzz.program import Program
from fuzz.states import CONFIGS
from fuzz.target_connection import use
from fuzz.valid_frames import VALID
from fuzz.watched import Watched
from sansrelay import EndedBy, Outcome, RelayConfig, ResetReason, Role, StreamReset
from sansrelay.codec import decode_frame
from sansrelay.frames import InvalidFrame
from wirekit import EXECUTOR, OWN

__all__ = ["Middle", "play", "seeds"]

_CONFIGS: Final = CONFIGS[:2]
_STREAM_IDS: Final = ("s1", "s2", "s3")
_SIZES: Final = (1, 3, 8, 9, 20, 33, 48)
_PAUSES: Final = (0.01, 0.1, 0.3, 1.0, 3.0)
_HEALING: Final = 400
"""Rounds on a good link, a timer each, within which everything has to arrive."""
_IN_FLIGHT: Final = 4000
"""Frames on the way at once: beyond, they are lost."""


class End(Watched):
    """One end, and what it said and heard, by stream."""

    def __init__(self, role: Role, config: RelayConfig, *, incarnation: int, now: float) -> None:
        super().__init__(role, config, incarnation=incarnation, now=now)
        self.said: dict[str, list[bytes]] = {}
        self.heard: dict[str, list[bytes]] = {}
        self.ends: dict[str, StreamReset] = {}

    def received(self, stream_id: str, data: bytes) -> None:
        self.heard.setdefault(stream_id, []).append(data)
        super().received(stream_id, data)

    def ended(self, event: StreamReset) -> None:
        self.ends[event.stream_id] = event


class Middle:
    """Two ends and all frames that were ever between them."""

    def __init__(self, config: RelayConfig) -> None:
        self.config = config
        self.now = 0.0
        self.restarts = 0
        self.forged = False
        self.messages = 0
        self.opened: set[str] = set()
        self.past: list[End] = []
        """Executors that have crashed."""
        self.harness = End(Role.HARNESS, config, incarnation=OWN, now=0.0)
        self.executor = self._new_executor()
        self.flight: tuple[list[bytes], list[bytes]] = ([], [])
        """Towards the harness and towards the executor."""
        self.seen: tuple[list[bytes], list[bytes]] = ([], [])
        self._send(self.harness, self.harness.link_opened())
        self._send(self.executor, self.executor.link_opened())

    def _new_executor(self) -> End:
        incarnation = EXECUTOR + 0x10000 * self.restarts
        return End(Role.EXECUTOR, self.config, incarnation=incarnation, now=self.now)

    def end(self, side: int) -> End:
        """The harness is 0, the executor 1."""
        return self.executor if side else self.harness

    def _send(self, source: End, frames: list[bytes]) -> None:
        side = 1 if source is self.harness else 0
        for frame in frames:
            self.seen[side].append(frame)
            if len(self.flight[side]) < _IN_FLIGHT:
                self.flight[side].append(frame)

    # -- what the applications do

    def open(self, stream_id: str) -> None:
        """Open a stream; an id is used once, even where it has been forgotten."""
        if stream_id not in self.opened:
            self.opened.add(stream_id)
            self._send(self.harness, self.harness.open(stream_id))

    def say(self, side: int, stream_id: str, size: int) -> None:
        """A message that is like no other."""
        end = self.end(side)
        self.messages += 1
        data = self.messages.to_bytes(3, "big") + bytes(size)
        if end.send(stream_id, data):
            end.said.setdefault(stream_id, []).append(data)
        self._send(end, end.settle())

    def use(self, side: int, program: Program, action: int) -> None:
        """Anything else an owner may do, but for opening, sending and the link."""
        end = self.end(side)
        end.now = self.now
        self._send(end, use(end, program, action))

    # -- what the middle does

    def deliver(self, side: int, at: int, *, keep: bool = False) -> None:
        """A frame on the way arrives; it may arrive again if it is kept."""
        flight = self.flight[side]
        if flight:
            at %= len(flight)
            self._hand_over(side, flight[at] if keep else flight.pop(at))

    def replay(self, side: int, at: int, *, size: int | None = None) -> None:
        """A frame from any time, whole or truncated, arrives again."""
        seen = self.seen[side]
        if seen:
            frame = seen[at % len(seen)]
            if size is not None:
                frame = frame[: size % len(frame)]
                assert isinstance(decode_frame(frame, self.config), InvalidFrame)
            self._hand_over(side, frame)

    def forge(self, side: int, frame: bytes) -> None:
        """A frame that nobody sent arrives."""
        if not isinstance(decode_frame(frame, self.config), InvalidFrame):
            self.forged = True
        self._hand_over(side, frame)

    def drop(self, side: int, count: int) -> None:
        """The oldest frames on the way are lost."""
        del self.flight[side][:count]

    def _hand_over(self, side: int, frame: bytes) -> None:
        end = self.end(side)
        end.now = self.now
        self._send(end, end.receive(frame))

    def cut(self, side: int) -> None:
        """The link of one end is lost, and what was on the way to it; the next one is there."""
        end = self.end(side)
        end.now = self.now
        self._send(end, end.link_closed())
        self.flight[side].clear()
        self._send(end, end.link_opened())

    def restart(self) -> None:
        """The executor loses all it knew. What is on the way to it may still arrive."""
        self.past.append(self.executor)
        self.restarts += 1
        self.executor = self._new_executor()
        self._send(self.executor, self.executor.link_opened())

    def wait(self, seconds: float) -> None:
        """Time passes at both ends."""
        self.now += seconds
        for side in (0, 1):
            end = self.end(side)
            self._send(end, end.wait(self.now - end.now))

    # -- what must hold

    def check(self) -> None:
        """The promises, as far as nothing was forged."""
        if self.forged:
            return
        executors = [*self.past, self.executor]
        for stream_id in _STREAM_IDS:
            to_harness = self.harness.heard.get(stream_id, [])
            to_executors = [end.heard.get(stream_id, []) for end in executors]
            heard = [data for one in to_executors for data in one]
            assert len(set(heard)) == len(heard), "a message was delivered twice"
            for one in to_executors:
                _assert_follows(one, self.harness.said.get(stream_id, []))
            said = [end.said.get(stream_id, []) for end in executors]
            assert len(set(to_harness)) == len(to_harness), "a message was delivered twice"
            for one in said:
                _assert_follows([data for data in to_harness if data in one], one)
            assert set(to_harness) <= {data for one in said for data in one}
            _check_outcomes(self.harness, stream_id, heard)
            for end in executors:
                _check_outcomes(end, stream_id, to_harness)

    def heal(self) -> None:
        """From now on every frame arrives; then so does every message."""
        gone = {*self.harness.ends, *self.executor.ends}
        for end in (self.harness, self.executor):
            end.reading = True
            for stream_id, count in list(end.unconsumed.items()):
                self._send(end, end.consume(stream_id, count))
        self.cut(0)
        self.cut(1)  # with what the first has let out, so that it has to ask once more
        for end in (self.harness, self.executor):
            config = end.conn._config
            for stream_id, stream in end.conn._streams.items():
                patience = stream._liveness._since() + config.resume_timeout
                if patience <= self.now + config.max_rto:
                    gone.add(stream_id)  # it may be given up before that
        for _ in range(_HEALING):
            self._settle_flight()
            if self._is_done():
                break
            times = [end.conn.next_timeout() for end in (self.harness, self.executor)]
            self.wait(max(0.0, min(t for t in times if t is not None) - self.now))
        else:
            raise AssertionError("a good link, and not everything arrives")
        self.check()
        # An executor that crashed may have been the one that heard it all.
        self._check_arrived(self.harness, [*self.past, self.executor], gone)
        self._check_arrived(self.executor, [self.harness], gone)

    def _check_arrived(self, source: End, targets: list[End], gone: set[str]) -> None:
        for stream_id in source.live - gone:
            heard = {data for target in targets for data in target.heard.get(stream_id, [])}
            said = set(source.said.get(stream_id, []))
            assert said <= heard, "a good link, and not everything arrives"
        for event in source.ends.values():
            timed_out = event.known_reason is ResetReason.TIMEOUT and event.by is EndedBy.LOCAL
            assert event.stream_id in gone or not timed_out, "a good link, and nobody answers"

    def _settle_flight(self) -> None:
        for _ in range(_IN_FLIGHT):
            if not any(self.flight):
                return
            for side in (0, 1):
                self.deliver(side, 0)
        raise AssertionError("the two ends never stop talking")

    def _is_done(self) -> bool:
        """No stream is live whose messages have not all arrived and been acknowledged."""
        for end in (self.harness, self.executor):
            if any(not stream.sender.idle for stream in end.conn._streams.values()):
                return False
        return True

    # -- for the bound on memory

    @property
    def bytes_in(self) -> int:
        """What was handed over, and what is kept here of it."""
        ends = [self.harness, self.executor, *self.past]
        seen = sum(len(frame) for frames in self.seen for frame in frames)
        return seen + sum(end.bytes_in for end in ends)

    @property
    def live_streams(self) -> int:
        """At all ends, those that crashed too."""
        ends = [self.harness, self.executor, *self.past]
        return 2 * len(ends) + sum(end.live_streams for end in ends)

    @property
    def held_segments(self) -> int:
        """Frames that are kept here, and what the ends hold."""
        ends = [self.harness, self.executor, *self.past]
        kept = sum(map(len, self.seen)) + sum(map(len, self.flight)) + self.messages
        return kept + sum(end.held_segments for end in ends)


def _assert_follows(heard: list[bytes], said: list[bytes]) -> None:
    """In order, and none left out before the last: a message is delivered after all before it."""
    assert heard == said[: len(heard)], "messages out of order, or one is missing"


def _check_outcomes(end: End, stream_id: str, heard: list[bytes]) -> None:
    event = end.ends.get(stream_id)
    if event is None:
        return
    if event.known_reason is ResetReason.CLOSED and event.by is EndedBy.LOCAL:
        assert not event.unknown, "closed, and not everything was acknowledged"
        assert not event.never_sent, "closed, and not everything was sent"
    delivered = set(heard)
    for message_id, data in enumerate(end.said.get(stream_id, []), start=1):
        outcome = event.outcome(message_id)
        if outcome is Outcome.ACKNOWLEDGED:
            assert data in delivered, "acknowledged and not delivered"
        elif outcome is Outcome.NEVER_SENT:
            assert data not in delivered, "delivered and called never sent"


def play(data: bytes) -> Middle:
    """One input."""
    program = Program(data)
    middle = Middle(program.pick(_CONFIGS))
    while program.goes_on():
        action = program.byte() % 24
        side = program.byte() & 1
        match action:
            case 0:
                middle.open(program.pick(_STREAM_IDS))
            case 1 | 2 | 3:
                middle.say(side, program.pick(_STREAM_IDS), program.pick(_SIZES))
            case 4 | 5 | 6:
                middle.deliver(side, 0)
            case 7 | 8:
                for _ in range(1 + program.byte() % 32):
                    middle.deliver(side, 0)
            case 9:
                middle.deliver(side, program.byte())
            case 10:
                middle.deliver(side, program.byte(), keep=True)
            case 11:
                middle.drop(side, 1 + program.byte() % 8)
            case 12 | 13:
                middle.replay(side, program.word())
            case 14:
                middle.replay(side, program.word(), size=program.byte())
            case 15 | 16:
                middle.cut(side)
            case 17:
                middle.wait(program.pick(_PAUSES))
            case 18 | 19:
                times = [middle.end(i).conn.next_timeout() for i in (0, 1)]
                when = min((t for t in times if t is not None), default=middle.now)
                middle.wait(max(0.0, when - middle.now))
            case 20:
                middle.use(side, program, program.pick((4, 5, 6)))
            case 21:
                middle.restart()
            case 22:
                frame = bytearray(program.pick(middle.seen[side] or [b"\0"]))
                frame[program.byte() % len(frame)] ^= program.byte()
                middle.forge(side, bytes(frame))
            case _:
                middle.forge(side, choose_frame(program))
        middle.check()
    if not middle.forged:
        middle.heal()
    return middle


def seeds() -> list[bytes]:
    """A conversation, with each thing that the middle can do in the midst of it."""
    open_both = bytes([0, 0, 0, 0, 0, 1])
    talk = bytes([1, 0, 0, 4, 2, 1, 0, 5, 3, 0, 1, 2, 1, 1, 1, 3])
    flow = bytes([7, 1, 31, 7, 0, 31])
    faults = [
        bytes([9, 1, 2, 9, 1, 1]),
        bytes([10, 1, 0, 10, 0, 1]),
        bytes([11, 1, 0, 11, 0, 2]),
        bytes([12, 1, 0, 0, 12, 1, 0, 3, 12, 0, 0, 1]),
        bytes([14, 1, 0, 2, 9, 14, 0, 0, 1, 30]),
        bytes([15, 0, 15, 1]),
        bytes([17, 0, 3, 18, 0, 18, 0]),
        bytes([20, 0, 1, 0, 0, 0]),
        bytes([20, 1, 1, 0, 0, 1]),
        bytes([21, 0]),
        bytes([22, 1, 1, 4, 1]),
        *(bytes([23, side]) + raw_frame(frame) for frame in VALID[::4] for side in (0, 1)),
    ]
    found = []
    for config in range(len(_CONFIGS)):
        for fault in faults:
            found.append(bytes([config]) + open_both + flow + talk + fault + flow + talk + flow)
            found.append(bytes([config]) + open_both + talk + fault + flow * 2 + talk)
    return found
