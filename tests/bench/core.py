"""The core in memory: two connections in one process, frames handed over by hand."""

import itertools
import time
from collections import deque
from collections.abc import Callable

from sansrelay import DataReceived, ProfilePolicy, RelayConfig, RelayConnection, Role

from .measure import Effort

SMALL = 200
LARGE = 64 * 1024
TURN = 0.001
"""Seconds of the fake clock between two exchanges."""


def payload(size: int) -> bytes:
    """The same bytes each time."""
    return bytes(itertools.islice(itertools.cycle(range(251)), size))


def per_turn(size: int) -> int:
    """Messages that are offered before the other side is heard: the same for all peers."""
    return 16 if size > 4096 else 256


def stream_ids(count: int) -> list[str]:
    return [f"{number:08x}-0000-4000-8000-{number:012x}" for number in range(count)]


class Pair:
    """A harness and an executor, and the frames between them. What arrives is consumed at once."""

    def __init__(self, config: RelayConfig, streams: int) -> None:
        self.now = 0.0
        self.harness = RelayConnection(Role.HARNESS, incarnation=0xA1, config=config)
        self.executor = RelayConnection(Role.EXECUTOR, incarnation=0xB10000, config=config)
        self.ids = stream_ids(streams)
        self.messages = self.size = self.frames = 0
        """What was received: messages and their bytes at the executor, frames at both ends."""
        for end in (self.harness, self.executor):
            end.link_opened(self.now)
        for stream_id in self.ids:
            self.harness.open_stream(stream_id)
        self.exchange()
        self.exchange()

    def exchange(self) -> None:
        """Time passes, and all that both have to say goes over."""
        self.now += TURN
        for sender, receiver in (
            (self.harness, self.executor),
            (self.executor, self.harness),
        ):
            due = sender.next_timeout()
            if due is not None and due <= self.now:
                sender.handle_timeout(self.now)
            while frames := sender.frames_to_send(self.now):
                self.hand_over(frames, receiver)
            while sender.next_event() is not None:
                pass

    def hand_over(self, frames: list[bytes], receiver: RelayConnection) -> None:
        self.frames += len(frames)
        for frame in frames:
            receiver.receive_frame(frame, self.now)
            while (event := receiver.next_event()) is not None:
                if isinstance(event, DataReceived):
                    self.messages += 1
                    self.size += len(event.data)
                    receiver.consume(event.stream_id)


def pump(
    size: int, messages: int, streams: int = 1, *, profile: ProfilePolicy = ProfilePolicy.RELIABLE
) -> Callable[[Effort], float]:
    """Microseconds of CPU time per message, harness to executor, both ends and acks included."""

    def sample(effort: Effort) -> float:
        count = effort.of(messages)
        pair = Pair(RelayConfig(profile=profile), streams)
        harness, data = pair.harness, payload(size)
        turn = itertools.cycle(pair.ids)
        sent = 0
        began = time.process_time()
        while pair.messages < count:
            for _ in range(min(per_turn(size), count - sent)):
                stream_id = next(turn)
                if harness.send_capacity(stream_id) < size:
                    break
                harness.send_data(stream_id, data)
                sent += 1
            pair.exchange()
        cost = time.process_time() - began
        assert pair.size == count * size
        return cost / count * 1e6

    return sample


def per_frame_with_streams(streams: int) -> Callable[[Effort], float]:
    """Microseconds of CPU time per frame, the same amount of data on few or many streams."""

    def sample(effort: Effort) -> float:
        count = effort.of(20_000)
        pair = Pair(RelayConfig(), effort.named(streams))
        harness, data = pair.harness, payload(SMALL)
        turn = itertools.cycle(pair.ids)
        before = pair.frames
        began = time.process_time()
        for start in range(0, count, per_turn(SMALL)):
            for _ in range(min(per_turn(SMALL), count - start)):
                harness.send_data(next(turn), data)
            pair.exchange()
        cost = time.process_time() - began
        assert pair.size == count * SMALL
        return cost / (pair.frames - before) * 1e6

    return sample


_ROOM = 20_000
_WIDE = RelayConfig(
    send_window_segments=_ROOM,
    send_window_bytes=_ROOM * SMALL,
    send_buffer_messages=_ROOM,
    send_buffer_size=_ROOM * SMALL,
    receive_window_segments=_ROOM,
    receive_window_bytes=_ROOM * SMALL,
)
"""The same for all, so that nothing but the frames under way makes a difference."""


def per_frame_with_unacknowledged(segments: int) -> Callable[[Effort], float]:
    """Microseconds of CPU time per frame on one stream, with so many segments always under way."""

    def sample(effort: Effort) -> float:
        pair, limit = Pair(_WIDE, 1), effort.named(segments)
        harness, executor, data = pair.harness, pair.executor, payload(SMALL)
        stream_id = pair.ids[0]
        under_way: deque[bytes] = deque()

        def one_more() -> None:
            pair.now += 1e-6  # so little that no ack is due for the time it has waited
            harness.send_data(stream_id, data)
            under_way.extend(harness.frames_to_send(pair.now))
            while len(under_way) > limit:
                pair.hand_over([under_way.popleft()], executor)
                pair.hand_over(executor.frames_to_send(pair.now), harness)

        for _ in range(limit):
            one_more()
        before, count = pair.frames, effort.of(10_000)
        began = time.process_time()
        for _ in range(count):
            one_more()
        cost = time.process_time() - began
        assert pair.frames - before >= count
        return cost / (pair.frames - before) * 1e6

    return sample
