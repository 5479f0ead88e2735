"""Two connections with a hostile middle: it drops, repeats, reorders, replays, cuts, and forges.

As long as nothing was forged, the promises are checked: each message at most once and in order,
what is called acknowledged was taken over, what is called never sent was not; and on a link that
works again everything arrives, and no stream ends without a cause. Once a valid frame was forged,
only what must hold for any input is.
"""

from dataclasses import dataclass, field
from typing import Final

from fuzz.frame_choice import choose_frame, raw_frame
from fuzz.program import Program
from fuzz.states import CONFIGS
from fuzz.target_connection import use
from fuzz.valid_frames import VALID
from fuzz.watched import Watched
from sansrelay import (
    DataAcknowledged,
    EndedBy,
    LinkState,
    Outcome,
    Profile,
    RelayConfig,
    ResetReason,
    Role,
    StreamReset,
    StreamState,
)
from sansrelay.codec import decode_frame
from sansrelay.frames import InvalidFrame, ResetFrame
from wirekit import EXECUTOR, OWN

__all__ = ["End", "Life", "Middle", "play", "seeds"]

_CONFIGS: Final = CONFIGS[:2]
_STREAM_IDS: Final = ("s1", "s2", "s3")
_SIZES: Final = (1, 3, 8, 9, 20, 33, 48)
_PAUSES: Final = (0.01, 0.1, 0.3, 1.0, 3.0)
_HEALING: Final = 400
"""Rounds on a good link, a timer each, within which everything has to arrive."""
_ROUNDING: Final = 0.001
"""Seconds by which a deadline may seem earlier or later than it is."""
_IN_FLIGHT: Final = 4000
"""Frames on the way at once: beyond, they are lost."""


@dataclass(slots=True)
class Life:
    """One stream as one end has it.

    An executor may have several of one id, one after the other: where the id was forgotten, a late
    copy of the opening makes it a new stream, which nobody confirms. Messages are numbered anew.
    """

    own: int
    """The incarnation, which tells them apart."""
    alive_at: float
    """When it began, or when the peer last said something new."""
    said: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)
    consumed: int = 0
    """How many of those heard the application has taken over."""
    acknowledged: int = 0
    """How many of those said are acknowledged."""
    end: StreamReset | None = None


class End(Watched):
    """One end, and the lives of its streams, by stream."""

    def __init__(self, role: Role, config: RelayConfig, *, incarnation: int, now: float) -> None:
        super().__init__(role, config, incarnation=incarnation, now=now)
        self.lives: dict[str, list[Life]] = {}

    def life(self, stream_id: str) -> Life:
        """The latest of an id."""
        lives = self.lives.setdefault(stream_id, [])
        if not lives:
            lives.append(Life(0, self.now))
        return lives[-1]

    def settle(self) -> list[bytes]:
        for stream_id, stream in self.conn._streams.items():
            lives = self.lives.setdefault(stream_id, [])
            if not lives or lives[-1].own != stream.own:
                lives.append(Life(stream.own, self.now))
        return super().settle()

    def say(self, stream_id: str, data: bytes) -> list[bytes]:
        """Send a message, if that is allowed; what is sent at once."""
        if self.send(stream_id, data):
            self.life(stream_id).said.append(data)
        return self.settle()

    def received(self, stream_id: str, data: bytes) -> None:
        life = self.life(stream_id)
        life.heard.append(data)
        life.alive_at = self.now
        super().received(stream_id, data)

    def consumed(self, stream_id: str, messages: int) -> None:
        self.life(stream_id).consumed += messages

    def acknowledged(self, event: DataAcknowledged) -> None:
        life = self.life(event.stream_id)
        assert life.acknowledged < event.message_id, "acknowledged once more"
        life.acknowledged = event.message_id
        life.alive_at = self.now

    def ended(self, event: StreamReset) -> None:
        life = self.life(event.stream_id)
        life.end = event
        if _timed_out(event):
            assert life.alive_at + self.config.resume_timeout <= self.now, "given up too early"


class Middle:
    """Two ends and all frames that were ever between them."""

    def __init__(self, config: RelayConfig) -> None:
        self.config = config
        self.now = 0.0
        self.restarts = 0
        self.forged = False
        self.messages = 0
        self.opened: set[str] = set()
        self.past: dict[str, list[Life]] = {}
        """At executors that have crashed."""
        self.past_bytes_in = 0
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

    @property
    def ends(self) -> tuple[End, End]:
        """The harness and the executor that runs."""
        return self.harness, self.executor

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
        self.messages += 1
        data = self.messages.to_bytes(3, "big") + bytes(size)
        self._send(self.ends[side], self.ends[side].say(stream_id, data))

    def use(self, side: int, program: Program, action: int) -> None:
        """Anything else an owner may do, but for opening, sending and the link."""
        self._send(self.ends[side], use(self.ends[side], program, action))

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
        """A frame that perhaps nobody sent arrives."""
        is_valid = not isinstance(decode_frame(frame, self.config), InvalidFrame)
        if is_valid and frame not in self.seen[side]:
            self.forged = True
        self._hand_over(side, frame)

    def drop(self, side: int, count: int) -> None:
        """The oldest frames on the way are lost."""
        del self.flight[side][:count]

    def _hand_over(self, side: int, frame: bytes) -> None:
        self._send(self.ends[side], self.ends[side].receive(frame))

    def cut(self, side: int) -> None:
        """The link of one end is lost, and what was on the way to it; the next one is there."""
        if self.ends[side].conn.state is LinkState.UP:
            self.switch(side)
        self.switch(side)

    def switch(self, side: int) -> None:
        """The link of one end is lost, or there is one again; what was on the way to it is lost."""
        end = self.ends[side]
        self.flight[side].clear()
        if end.conn.state is LinkState.UP:
            self._send(end, end.link_closed())
        else:
            self._send(end, end.link_opened())

    def restart(self) -> None:
        """The executor loses all it knew. What is on the way to it may still arrive."""
        for stream_id, lives in self.executor.lives.items():
            self.past.setdefault(stream_id, []).extend(lives)
        self.past_bytes_in += self.executor.bytes_in
        self.restarts += 1
        self.executor = self._new_executor()
        self._send(self.executor, self.executor.link_opened())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._wait_until(self.now + seconds)

    def wait_for_timer(self) -> None:
        """Time passes until the next timer of either end, if there is one."""
        times = [end.conn.next_timeout() for end in self.ends]
        self._wait_until(min((when for when in times if when is not None), default=self.now))

    def _wait_until(self, when: float) -> None:
        # Both get just this number: adding up pauses could make one of them an ulp younger.
        self.now = when
        for end in self.ends:
            end.now = when
            self._send(end, end.settle())

    # -- what must hold

    def check(self) -> None:
        """The promises, as far as nothing was forged."""
        if self.forged:
            return
        for stream_id in self.opened:
            opener = self.harness.life(stream_id)
            lives = self._executor_lives(stream_id)
            heard = [data for life in lives for data in life.heard]
            assert len(set(heard)) == len(heard), "a message was delivered twice"
            for life in lives:
                _assert_follows(life.heard, opener.said)
            assert len(set(opener.heard)) == len(opener.heard), "a message was delivered twice"
            speakers = [life for life in lives if not set(life.said).isdisjoint(opener.heard)]
            _assert_follows(opener.heard, speakers[0].said if speakers else [])
            # The harness names one incarnation of its peer, and only that life is confirmed.
            involved = [life for life in lives if life.heard or life in speakers]
            assert len(involved) <= 1, "two lives of the executor in one of the harness"
            _check_outcomes(opener, lives)
            for life in lives:
                _check_outcomes(life, [opener])

    def _executor_lives(self, stream_id: str) -> list[Life]:
        return [*self.past.get(stream_id, ()), *self.executor.lives.get(stream_id, ())]

    def heal(self) -> None:
        """From now on every frame arrives; then so does every message."""
        for end in self.ends:
            end.reading = True
            for stream_id, count in list(end.unconsumed.items()):
                self._send(end, end.consume(stream_id, count))
        self.cut(0)
        self.cut(1)  # with what the first has let out, so that it has to ask once more
        patience = [self._patience(end) for end in self.ends]
        suppressed = self._resets_suppressed()
        lasting = self._lasting()
        for _ in range(_HEALING):
            self._settle_flight()
            if self._is_done(lasting):
                break
            self.wait_for_timer()
        else:
            raise AssertionError("a good link, and not everything arrives")
        self.check()
        for stream_id in self.harness.live:
            heard = [data for life in self._executor_lives(stream_id) for data in life.heard]
            # An executor that crashed may have been the one that heard it all.
            _assert_arrived(self.harness.life(stream_id), heard)
        for stream_id in self.executor.live:
            _assert_arrived(self.executor.life(stream_id), self.harness.life(stream_id).heard)
        suppressed = self._resets_suppressed() - suppressed
        for end, until in zip(self.ends, patience, strict=True):
            for stream_id, may_give_up in until.items():
                event = end.life(stream_id).end
                if event is not None and _timed_out(event):
                    assert may_give_up[suppressed > 0], "a good link, and nobody answers"

    def _patience(self, end: End) -> dict[str, tuple[bool, bool]]:
        """Which streams may be given up yet: while no reset is suppressed, and if some are.

        What it asked first may be lost in a cut, and comes again after an RTO. The answer may be a
        reset, which the limit on their rate can suppress: three streams then ask in turn, with a
        pause that doubles, until the tokens of one and a half seconds are there.
        """
        found = {}
        for stream_id, stream in end.conn._streams.items():
            left = stream._liveness._since() + self.config.resume_timeout - self.now
            rto = stream.rtt.rto + _ROUNDING
            found[stream_id] = left <= rto, left <= 6 + 3 * rto
        return found

    def _resets_suppressed(self) -> int:
        return sum(end.conn.stats().resets_suppressed for end in self.ends)

    def _lasting(self) -> set[str]:
        """The streams that have no reason to end any more: both ends hold them, or will."""
        found = set()
        executor = self.executor.conn
        coming = [decode_frame(frame, self.config) for frame in self.flight[0]]
        # An end that was forgotten while there was no link is told all the same.
        ended = {frame.stream_id for frame in coming if isinstance(frame, ResetFrame)}
        for stream_id, ours in self.harness.conn._streams.items():
            theirs = executor._streams.get(stream_id)
            if theirs is None:
                is_over = stream_id in executor._ended or stream_id in ended
                is_new = ours.profile is Profile.UNKNOWN and not is_over
                lasts = is_new and not self._patience(self.harness)[stream_id][0]
            else:
                lasts = not theirs.closing and ours.peer in (0, theirs.own)
            if lasts and not ours.closing:
                found.add(stream_id)
        return found

    def _settle_flight(self) -> None:
        for _ in range(_IN_FLIGHT):
            if not any(self.flight):
                return
            for side in (0, 1):
                self.deliver(side, 0)
        raise AssertionError("the two ends never stop talking")

    def _is_done(self, lasting: set[str]) -> bool:
        """All that was said has been acknowledged, on streams that are not over."""
        assert lasting <= self.harness.live, "a good link, and a stream ends"
        for end in self.ends:
            if any(not stream.sender.idle for stream in end.conn._streams.values()):
                return False
            for stream_id in lasting:
                if end.conn.stream_state(stream_id) is not StreamState.OPEN:
                    return False
        return True

    # -- for the bound on memory

    @property
    def bytes_in(self) -> int:
        """What was handed over, and what is kept here of it."""
        seen = sum(len(frame) for frames in self.seen for frame in frames)
        return seen + self.past_bytes_in + sum(end.bytes_in for end in self.ends)

    @property
    def live_streams(self) -> int:
        """At both ends."""
        return sum(end.live_streams for end in self.ends)

    @property
    def held_segments(self) -> int:
        """Frames that are kept here, lives, messages, and what the ends hold."""
        kept = sum(map(len, self.seen)) + sum(map(len, self.flight)) + self.messages
        for lives in (self.past, *(end.lives for end in self.ends)):
            kept += sum(map(len, lives.values()))
        return kept + sum(end.held_segments for end in self.ends)


def _timed_out(event: StreamReset) -> bool:
    return event.known_reason is ResetReason.TIMEOUT and event.by is EndedBy.LOCAL


def _assert_follows(heard: list[bytes], said: list[bytes]) -> None:
    """In order, and none left out before the last: a message is delivered after all before it."""
    assert heard == said[: len(heard)], "messages out of order, or one is missing"


def _assert_arrived(life: Life, heard: list[bytes]) -> None:
    assert set(life.said) <= set(heard), "a good link, and not everything arrives"


def _check_outcomes(life: Life, others: list[Life]) -> None:
    taken_over = {data for other in others for data in other.heard[: other.consumed]}
    assert set(life.said[: life.acknowledged]) <= taken_over, "acknowledged and not taken over"
    event = life.end
    if event is None:
        return
    if event.known_reason is ResetReason.CLOSED and event.by is EndedBy.LOCAL:
        assert not event.unknown, "closed, and not everything was acknowledged"
        assert not event.never_sent, "closed, and not everything was sent"
    delivered = {data for other in others for data in other.heard}
    for message_id, data in enumerate(life.said, start=1):
        outcome = event.outcome(message_id)
        if outcome is Outcome.ACKNOWLEDGED:
            assert data in taken_over, "acknowledged in the end and not taken over"
        elif outcome is Outcome.NEVER_SENT:
            assert data not in delivered, "delivered and called never sent"


def play(data: bytes) -> Middle:
    """One input."""
    program = Program(data)
    start = program.byte()
    middle = Middle(_CONFIGS[start & 1])
    forges = not start & 2  # or too few long programs would have the promises checked
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
            case 15:
                middle.cut(side)
            case 16:
                middle.switch(side)
            case 17:
                middle.wait(program.pick(_PAUSES))
            case 18 | 19:
                middle.wait_for_timer()
            case 20:
                middle.use(side, program, program.pick((4, 5, 6)))
            case 21:
                middle.restart()
            case 22 if forges:
                frame = bytearray(program.pick(middle.seen[side] or [b"\0"]))
                frame[program.byte() % len(frame)] ^= program.byte()
                middle.forge(side, bytes(frame))
            case 23 if forges:
                middle.forge(side, choose_frame(program))
            case _:
                middle.deliver(1 - side, 0)
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
        bytes([16, 0, 18, 0, 16, 1, 16, 0]),
        bytes([17, 0, 3, 18, 0, 18, 0]),
        bytes([20, 0, 1, 0, 0, 0]),
        bytes([20, 1, 1, 0, 0, 1]),
        bytes([20, 0, 2]),
        bytes([20, 1, 2]),
        bytes([21, 0]),
        bytes([21, 0, 12, 1, 0, 0, 7, 0, 9, 7, 1, 9]),
        bytes([22, 1, 1, 4, 1]),
        *(bytes([23, side]) + raw_frame(frame) for frame in VALID[::4] for side in (0, 1)),
    ]
    found = []
    for start in range(4):
        for fault in faults:
            found.append(bytes([start]) + open_both + flow + talk + fault + flow + talk + flow)
            found.append(bytes([start]) + open_both + talk + fault + flow * 2 + talk)
            found.append(bytes([start]) + open_both + flow + talk * 3 + flow + fault + talk + flow)
    return found
