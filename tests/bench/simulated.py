"""Rows in simulated time: a link with a delay, losses and cuts. The same on any machine.

The link has no bandwidth of its own, so that goodput is what windows and recovery make of it.
"""

import time
from collections.abc import Callable
from random import Random

from sansrelay import RelayConfig, RelayConnection, Role
from sansrelay.testing import LinkConditions, RelayPair, SimulatedLink
from sansrelay.timers import NEVER, TimerHeap, TimerKind

from .core import LARGE, payload, stream_ids
from .measure import Effort

ROUND_TRIP = 0.05
_STREAM = "stream-1"


class Transfer:
    """Messages on one stream, the send buffer always full."""

    def __init__(
        self, effort: Effort, *, loss: float = 0.0, size: int = LARGE, messages: int = 512
    ) -> None:
        conditions = LinkConditions(delay=ROUND_TRIP / 2, loss=loss)
        link = SimulatedLink(conditions, chance=Random(effort.seed).random)
        self.pair = RelayPair(link=link)
        self.count = effort.named(messages)
        self._left = self.count
        self._data = payload(size)
        self.pair.harness.conn.open_stream(_STREAM)
        self.pair.run(until=self._is_open)

    def _is_open(self) -> bool:
        return self.pair.executor.conn.stream_state(_STREAM) is not None

    def _done(self) -> bool:
        conn = self.pair.harness.conn
        while self._left and conn.send_capacity(_STREAM) >= len(self._data):
            conn.send_data(_STREAM, self._data)
            self._left -= 1
        return self.received == self.count

    @property
    def received(self) -> int:
        return len(self.pair.executor.received.get(_STREAM, ()))

    @property
    def wire(self) -> int:
        """Bytes of frames sent, both ways."""
        return sum(end.conn.stats().bytes_sent for end in self.pair.ends)

    def run(self, *, cut_after: float = NEVER, cut_for: float = 0.0) -> float:
        """Send it all; returns the simulated seconds that it took."""
        pair, began = self.pair, self.pair.clock()
        if cut_after < NEVER:
            assert not pair.run(cut_after, until=self._done), "it was over before the cut"
            pair.cut()
            pair.run(cut_for, until=self._done)
            pair.join()
        assert pair.run(3600.0, until=self._done)
        return pair.clock() - began


def transfer_time(loss: float, size: int = LARGE, messages: int = 512) -> Callable[[Effort], float]:
    """Simulated seconds of a transfer."""
    return lambda effort: Transfer(effort, loss=loss, size=size, messages=messages).run()


def transfer_cost(loss: float) -> Callable[[Effort], float]:
    """Microseconds of CPU time per message, the simulated link included."""

    def sample(effort: Effort) -> float:
        transfer = Transfer(effort, loss=loss)
        began = time.process_time()
        transfer.run()
        return (time.process_time() - began) / transfer.count * 1e6

    return sample


def transfer_waste(loss: float) -> Callable[[Effort], float]:
    """Bytes on the wire, both ways, per byte of payload."""

    def sample(effort: Effort) -> float:
        transfer = Transfer(effort, loss=loss)
        before = transfer.wire
        transfer.run()
        return (transfer.wire - before) / (transfer.count * LARGE)

    return sample


CUT = 1.0
"""Seconds without a link."""


def recovery(effort: Effort) -> float:
    """Round trips lost to one cut beyond its length; each round cuts at another moment."""
    whole = Transfer(effort).run()
    moment = whole * Random(effort.seed).uniform(0.3, 0.7)
    with_cut = Transfer(effort).run(cut_after=moment, cut_for=CUT)
    return (with_cut - whole - CUT) / ROUND_TRIP


def idle_cost(streams: int, seconds: float) -> Callable[[Effort], float]:
    """Milliseconds of CPU time per simulated second and end, with heartbeats, streams idle.

    They were opened one after the other, spread over a heartbeat's interval.
    """

    def sample(effort: Effort) -> float:
        config = RelayConfig()
        count, idle_for = effort.named(streams), seconds
        ends = [
            RelayConnection(Role.HARNESS, incarnation=0xA1, config=config),
            RelayConnection(Role.EXECUTOR, incarnation=0xB10000, config=config),
        ]
        now = 0.0
        for end in ends:
            end.link_opened(now)
        for number, stream_id in enumerate(stream_ids(count)):
            _live_until(ends, now, now := config.heartbeat_interval * number / count)
            ends[0].open_stream(stream_id)
            _settle(ends, now)
        _live_until(ends, now, now := now + config.heartbeat_interval)
        began = time.process_time()
        _live_until(ends, now, now + idle_for)
        cost = time.process_time() - began
        assert ends[1].stats().streams_live == count
        return cost * 1e3 / idle_for / len(ends)

    return sample


def _live_until(ends: list[RelayConnection], now: float, until: float) -> None:
    """Meet every deadline, each by itself, as a driver does."""
    while True:
        due = min((at for end in ends if (at := end.next_timeout()) is not None), default=NEVER)
        if due > until:
            return
        now = max(now, due)
        for end in ends:
            timeout = end.next_timeout()
            if timeout is not None and timeout <= now:
                end.handle_timeout(now)
        _settle(ends, now)


def _settle(ends: list[RelayConnection], now: float) -> None:
    moved = True
    while moved:
        moved = False
        for sender, receiver in (ends, ends[::-1]):
            for frame in sender.frames_to_send(now):
                receiver.receive_frame(frame, now)
                moved = True
            while sender.next_event() is not None:
                pass


class _Deadline:
    """What the queue of deadlines sees of a stream."""

    __slots__ = ("at", "queued_at")

    def __init__(self) -> None:
        self.at = NEVER
        self.queued_at = NEVER

    def next_deadline(self) -> tuple[float, TimerKind]:
        return self.at, TimerKind.RTO


def rearm_cost(streams: int, moves: int) -> Callable[[Effort], float]:
    """Microseconds of CPU time to move a deadline among those of so many streams, either way."""

    def sample(effort: Effort) -> float:
        chance = Random(effort.seed)
        heap: TimerHeap[_Deadline] = TimerHeap()
        deadlines = [_Deadline() for _ in range(effort.named(streams))]
        for deadline in deadlines:
            deadline.at = chance.uniform(0.0, 60.0)
            heap.rearm(deadline)
        plan = [
            (chance.choice(deadlines), chance.uniform(0.0, 60.0)) for _ in range(effort.of(moves))
        ]
        began = time.process_time()
        for deadline, at in plan:
            deadline.at = at
            heap.rearm(deadline)
        return (time.process_time() - began) / len(plan) * 1e6

    return sample
