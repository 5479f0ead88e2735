"""The promises, kept under faults of every kind.

Each test is one seeded run of two ends over a bad link; its id holds the seed, so the line that
pytest prints for a failure runs it again.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    FrameRejected,
    LinkState,
    Outcome,
    Profile,
    ProfilePolicy,
    RelayConfig,
    ResetReason,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.codec import decode_frame
from sansrelay.frames import DataFrame
from sansrelay.testing import End, LinkConditions, RelayPair, SimulatedLink

MINUTES = 60.0


def swarm(chance: random.Random) -> LinkConditions:
    """A link with some of the faults: a run without a fault finds what it would hide."""

    def maybe(*values: float) -> float:
        return chance.choice([0.0, *values])

    return LinkConditions(
        delay=chance.choice([0.001, 0.02, 0.15]),
        loss=maybe(0.02, 0.1, 0.3),
        duplication=maybe(0.05, 0.3),
        reordering=maybe(0.05, 0.3),
        corruption=maybe(0.02, 0.1),
        scatter=chance.choice([0.01, 0.1, 1.0]),
    )


def any_config(chance: random.Random) -> RelayConfig:
    """Windows small enough to close, segments small enough to be many."""
    segment = chance.choice([500, 4_000, 60_000])
    window = chance.choice([4, 40, 256])
    return RelayConfig(
        segment_size=segment,
        send_window_segments=window,
        send_window_bytes=chance.choice([segment, 10 * segment, 1 << 20]),
        opening_window_segments=chance.choice([1, 32]),
        send_buffer_size=chance.choice([20_000, 1 << 20]),
        ack_after_segments=chance.choice([1, 16]),
        ack_delay=chance.choice([0.001, 0.025]),
        reorder_threshold=chance.choice([1, 3]),
        heartbeat_interval=chance.choice([1.0, 30.0]),
    )


@dataclass
class Life:
    """One end from its start to its crash: what it was given to send, and what was checked."""

    end: End
    sent: dict[str, list[bytes]] = field(default_factory=dict)
    checked: int = 0
    over: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)

    def taken(self, sid: str) -> int:
        """Messages of a stream that its application has taken over."""
        return len(self.end.received.get(sid, [])) - self.end._unread.count(sid)


class Trial:
    """A run: both ends send, read or not, lose links, and the executor may crash."""

    def __init__(self, seed: str, *, faults: bool = True) -> None:
        self.chance = chance = random.Random(seed)
        conditions = swarm(chance) if faults else LinkConditions(delay=chance.choice([0.001, 0.1]))
        self.pair = RelayPair(
            config=any_config(chance), link=SimulatedLink(conditions, chance=chance.random)
        )
        self.config = self.pair.harness.conn._config
        self.harness = Life(self.pair.harness)
        self.executors = [Life(self.pair.executor)]
        self.sids: list[str] = []
        self.born: dict[str, int] = {}
        """Executor lives when each stream was opened."""

    @property
    def executor(self) -> Life:
        return self.executors[-1]

    # -- what happens

    def open(self) -> None:
        sid = f"stream {len(self.sids)}"
        self.sids.append(sid)
        self.born[sid] = len(self.executors)
        self.pair.harness.conn.open_stream(sid)

    def send(self, life: Life) -> None:
        sid = self.chance.choice(self.sids)
        conn = life.end.conn
        known = life is self.harness or sid in life.opened
        if not known or conn.stream_state(sid) in (None, StreamState.ENDED):
            return
        number = len(life.sent.setdefault(sid, []))
        message = b"%d of %s" % (number, sid.encode())
        message += bytes(self.chance.choice([0, 0, 100, 3_000, 30_000, 100_000]))
        if len(message) <= conn.send_capacity(sid):
            assert conn.send_data(sid, message) == number + 1
            life.sent[sid].append(message)

    def cut(self, seconds: float) -> None:
        self.pair.cut()
        self.pair.clock.advance(seconds)
        self.pair.join()

    def relink(self, life: Life) -> None:
        """One end gets a new link; the other has noticed nothing."""
        self.pair.link.cut()
        conn = life.end.conn
        conn.link_closed(self.pair.clock())
        conn.link_opened(self.pair.clock())

    def crash_executor(self) -> None:
        self.pair.cut()
        self.check()
        self.pair.restart_executor(self.chance.getrandbits(63) | 1, self.config)
        self.executors.append(Life(self.pair.executor))
        self.pair.join()

    def step(self) -> None:
        chance = self.chance
        for life in (self.harness, self.executor):
            for _ in range(chance.choice([0, 1, 1, 4])):
                self.send(life)
            if chance.random() < 0.1:
                life.end.reading = not life.end.reading
        self.go(chance.choice([0.0, 0.01, 0.2, 1.0]) * chance.random())
        dice = chance.random()
        if dice < 0.04:
            self.cut(chance.random() * 5)
        elif dice < 0.08:
            self.relink(self.harness)
        elif dice < 0.12:
            self.relink(self.executor)

    def go(self, seconds: float) -> None:
        self.pair.run(seconds, until=self.check)

    # -- what must hold

    def check(self) -> bool:
        """Look at what is new. False, so that it can be a condition that never holds."""
        for life, peers in ((self.harness, self.executors), (self.executor, [self.harness])):
            events = life.end.events
            for event in events[life.checked :]:
                sid = getattr(event, "stream_id", None)
                if sid is None or isinstance(event, FrameRejected):
                    continue
                assert sid not in life.over, f"{event} after the end"
                if isinstance(event, StreamOpened):
                    assert sid not in life.opened
                    life.opened.add(sid)
                elif isinstance(event, DataReceived):
                    assert sid in life.opened
                elif isinstance(event, DataAcknowledged):
                    taken = max(peer.taken(sid) for peer in peers)
                    assert event.message_id <= taken, f"{event}: {taken} were taken over"
                elif isinstance(event, StreamReset):
                    life.over.add(sid)
            life.checked = len(events)
        return False

    def in_order_and_once(self) -> None:
        """What arrived is a beginning of what was sent, and at one executor life only."""
        for sid in self.sids:
            lives = [life for life in self.executors if life.end.received.get(sid)]
            assert len(lives) <= 1, f"{sid} ran in {len(lives)} lives"
            for life in lives:
                got = life.end.received[sid]
                assert got == self.harness.sent[sid][: len(got)]
            got = self.harness.end.received.get(sid, [])
            sources = [life for life in self.executors if life.sent.get(sid, [])[: len(got)] == got]
            assert sources or not got

    def outcomes(self) -> Counter[Outcome]:
        """What each end was told of its messages is true. Dead ends were told nothing."""
        found: Counter[Outcome] = Counter()
        for life in (self.harness, self.executor):
            peers = self.executors if life is self.harness else [self.harness]
            for sid, end in life.end.ended.items():
                sent = life.sent.get(sid, [])
                received = [m for peer in peers for m in peer.end.received.get(sid, [])]
                taken = max(peer.taken(sid) for peer in peers)
                assert end.unknown.stop == end.never_sent.start
                assert end.never_sent.stop == len(sent) + 1
                for number, message in enumerate(sent, start=1):
                    outcome = end.outcome(number)
                    found[outcome] += 1
                    if outcome is Outcome.ACKNOWLEDGED:
                        assert number <= taken
                    elif outcome is Outcome.NEVER_SENT:
                        assert message not in received
        return found

    def delivered(self) -> bool:
        """Everything on streams that live has arrived and is acknowledged."""
        self.check()
        for sid in self.sids:
            if sid in self.harness.over:
                continue
            for one, other in ((self.harness, self.executor), (self.executor, self.harness)):
                sent = one.sent.get(sid, [])
                if len(other.end.received.get(sid, [])) != len(sent):
                    return False
                stream = one.end.conn._streams.get(sid)
                if stream is None or not stream.sender.idle:
                    return False
        return True

    def heal(self) -> None:
        """No more faults, and all read: everything that can arrive does."""
        self.pair.link.conditions = [LinkConditions()] * 2
        for life in (self.harness, self.executor):
            life.end.reading = True
        assert self.pair.run(10 * MINUTES, until=self.delivered), "stuck"
        self.in_order_and_once()

    def finish(self) -> None:
        """Close what is open; then both ends are empty and at rest."""
        for sid in self.sids:
            if sid not in self.harness.over:
                self.harness.end.conn.close_stream(sid)
        self.pair.run(10 * MINUTES, until=self.check)
        self.outcomes()
        for life in (self.harness, self.executor):
            stats = life.end.conn.stats()
            assert (stats.streams_live, stats.bytes_held) == (0, 0)
            assert life.end.conn.state is LinkState.UP
            assert life.end.conn.next_timeout() is None


@pytest.mark.parametrize("seed", range(80))
def test_exactly_once_in_order_while_both_ends_live(seed: int) -> None:
    trial = Trial(f"exactly once {seed}")
    for _ in range(trial.chance.choice([1, 3])):
        trial.open()
    for _ in range(40):
        trial.step()
        trial.in_order_and_once()
    trial.heal()
    # No stream ends by itself: no crash, no reset, no time-out.
    assert trial.harness.over == trial.executor.over == set()
    trial.finish()
    for life, by in ((trial.harness, EndedBy.LOCAL), (trial.executor, EndedBy.PEER)):
        assert set(life.end.ended) == set(trial.sids)
        for sid, end in life.end.ended.items():
            assert (end.known_reason, end.by) == (ResetReason.CLOSED, by)
            sent = len(life.sent.get(sid, []))
            assert [end.outcome(n) for n in range(1, sent + 1)] == [Outcome.ACKNOWLEDGED] * sent


@pytest.mark.parametrize("seed", range(80))
def test_at_most_once_across_restarts_of_the_executor(seed: int) -> None:
    trial = Trial(f"at most once {seed}")
    trial.open()
    for _ in range(50):
        if trial.chance.random() < 0.1:
            trial.open()
        trial.step()
        if trial.chance.random() < 0.06:
            trial.crash_executor()
        trial.in_order_and_once()
    trial.heal()
    lives = len(trial.executors)
    for sid, end in trial.harness.end.ended.items():
        # Only a crash ends a stream, and the opener learns it from the peer, not by waiting.
        assert trial.born[sid] < lives, f"{sid}: {end}"
        assert end.known_reason in (ResetReason.UNKNOWN_STREAM, ResetReason.PEER_RESTARTED)
    trial.finish()
    # And the last life serves whatever comes next.
    trial.open()
    sid = trial.sids[-1]
    trial.harness.sent[sid] = [b"after all"]
    trial.harness.end.conn.send_data(sid, b"after all")
    trial.heal()
    assert trial.executor.end.received[sid] == [b"after all"]


@pytest.mark.parametrize("seed", range(60))
def test_outcomes_are_true_whoever_ends_a_stream_and_when(seed: int) -> None:
    trial = Trial(f"outcomes {seed}")
    trial.open()
    for _ in range(40):
        if trial.chance.random() < 0.2:
            trial.open()
        trial.step()
        life = trial.chance.choice([trial.harness, trial.executor])
        sid = trial.chance.choice(trial.sids)
        if sid in life.opened and trial.chance.random() < 0.15:
            life.end.conn.reset_stream(sid)
        elif sid in life.opened and trial.chance.random() < 0.15:
            life.end.conn.close_stream(sid)
        trial.in_order_and_once()
    trial.heal()
    for life in (trial.harness, trial.executor):
        for end in life.end.ended.values():
            assert end.known_reason in (ResetReason.CANCELLED, ResetReason.CLOSED)
    trial.finish()


@pytest.mark.parametrize("seed", range(20))
def test_on_a_link_that_loses_nothing_nothing_is_sent_twice(seed: int) -> None:
    trial = Trial(f"clean {seed}", faults=False)
    for _ in range(3):
        trial.open()
    for _ in range(40):
        for life in (trial.harness, trial.executor):
            trial.send(life)
            if trial.chance.random() < 0.1:
                life.end.reading = not life.end.reading
        trial.go(trial.chance.random())
    trial.heal()
    for life in (trial.harness, trial.executor):
        stats = life.end.conn.stats()
        assert stats.segments_retransmitted == stats.duplicates_dropped == 0
        assert stats.dropped == {}
    trial.finish()


class Listening(SimulatedLink):
    """A link that writes down every data frame that the harness puts on it."""

    def __init__(self, conditions: LinkConditions, chance: random.Random) -> None:
        super().__init__(conditions, chance=chance.random)
        self.heard: Counter[tuple[str, int]] = Counter()

    def send(self, direction: int, frame: bytes, now: float) -> None:
        if direction == 0:
            decoded = decode_frame(frame, RelayConfig())
            if isinstance(decoded, DataFrame):
                self.heard[decoded.stream_id, decoded.seq] += 1
        super().send(direction, frame, now)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_ever_sent_twice_to_a_basic_peer(seed: int) -> None:
    chance = random.Random(f"basic {seed}")
    link = Listening(swarm(chance), chance)
    pair = RelayPair(executor_config=RelayConfig(profile=ProfilePolicy.BASIC), link=link)
    sent: dict[str, list[bytes]] = {}
    for step in range(60):
        if step % 6 == 0:
            pair.harness.conn.open_stream(f"stream {step}")
            sent[f"stream {step}"] = []
        sid = chance.choice(list(sent))
        if pair.harness.conn.send_capacity(sid):
            sent[sid].append(b"%d" % step)
            pair.harness.conn.send_data(sid, sent[sid][-1])
        if pair.executor.conn.send_capacity(sid):
            pair.executor.conn.send_data(sid, b"reply %d" % step)
        pair.run(chance.random())
        if chance.random() < 0.05:
            pair.cut()
            pair.join()
    pair.run(10 * MINUTES)
    assert set(link.heard.values()) <= {1}
    for sid, messages in sent.items():
        got = pair.executor.received.get(sid, [])
        assert [m for m in messages if m in got] == got
        assert pair.harness.conn.profile(sid) in (None, Profile.BASIC)
        if sid in pair.harness.ended:
            end = pair.harness.ended[sid]
            for number, message in enumerate(messages, start=1):
                assert end.outcome(number) is not Outcome.ACKNOWLEDGED
                assert end.outcome(number) is Outcome.UNKNOWN or message not in got
