"""The frames that wait for one link: bounded by bytes, fair between streams.

Streams take turns by deficit round robin (M. Shreedhar, G. Varghese, "Efficient Fair Queueing using
Deficit Round Robin", 1995): a turn is worth `QUANTUM` bytes, and what a frame is too large for
is saved up. Within a stream the frames keep their order, whatever their bodies.

Three bounds hold at once. A stream's queue has its own; it may never hold more than is left free
in the link's (dynamic thresholds: A. Choudhury, E. Hahne, 1998, with alpha = 1); and the link's may
never hold more than is left free in the pool that all links share. So streams that don't move can't
fill the link's queue, nor links that don't move the pool: n of them that grow side by side leave
one part in n + 1 free, and one that comes later takes half of the rest at most. A queue that is
empty takes a frame of any size that fits into what is free, since basic peers don't cut their
messages.
"""

from collections import OrderedDict, deque
from enum import Enum

__all__ = ["FRAME_COST", "QUANTUM", "STREAM_COST", "FairQueue", "Full", "Pool"]

QUANTUM = 64 * 1024
"""Bytes of a stream's turn."""
FRAME_COST = 64
"""Bytes that each queued frame counts beyond its length: what the object takes in memory."""
STREAM_COST = 1024
"""Bytes that each stream with queued frames counts towards the link's bound."""


class Full(Enum):
    """Which bound a frame was refused by."""

    STREAM = "the stream's queue is full"
    LINK = "the stream's queue may not be longer than the link's queue has room left"
    TOTAL = "the link's queue may not be longer than all links' queues together have room left"


class Pool:
    """The room that queues share: `limit` bytes, of which `used` are in use."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    @property
    def free(self) -> int:
        """Bytes that are left."""
        return self.limit - self.used


class _StreamQueue:
    __slots__ = ("credit", "frames", "size")

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.credit = QUANTUM


class FairQueue:
    """A bounded queue of frames, shared fairly by the streams.

    `limit` and `stream_limit` are the bounds in bytes for all streams and for one; `reserve` is
    what `put_reserved` may use beyond `limit` and `pool`. Not safe for use by several threads.
    """

    __slots__ = (
        "_limit",
        "_pool",
        "_reserve",
        "_reserve_used",
        "_size",
        "_stream_limit",
        "_streams",
    )

    def __init__(self, *, limit: int, stream_limit: int, reserve: int, pool: Pool) -> None:
        self._limit = limit
        self._stream_limit = stream_limit
        self._reserve = reserve
        self._pool = pool
        # The part of the size that is not in the pool.
        self._reserve_used = 0
        self._size = 0
        # The order of the dict is the order of the turns.
        self._streams: OrderedDict[str, _StreamQueue] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes queued, with `FRAME_COST` for each frame and `STREAM_COST` for each stream."""
        return self._size

    def put(self, stream_id: str, frame: bytes) -> Full | None:
        """Queue a frame behind those of its stream, or say which bound forbids it."""
        cost = len(frame) + FRAME_COST
        free = self._limit - self._size
        queue = self._streams.get(stream_id)
        if queue is None:
            if cost + STREAM_COST > free:
                return Full.LINK
        elif queue.size + cost > self._stream_limit:
            return Full.STREAM
        elif queue.size + cost > free:
            return Full.LINK
        growth = cost if queue is not None else cost + STREAM_COST
        if self._size + growth > self._pool.free:
            return Full.TOTAL
        self._append(stream_id, queue, frame, cost)
        self._pool.used += growth
        return None

    def put_reserved(self, stream_id: str, frame: bytes) -> bool:
        """Queue a frame regardless of its stream's bound, and if need be from the reserve.

        False if even that is used up; the frame is not queued then.
        """
        cost = len(frame) + FRAME_COST
        queue = self._streams.get(stream_id)
        growth = cost if queue is not None else cost + STREAM_COST
        room = max(0, min(self._limit, self._pool.free) - self._size)
        beyond = max(0, growth - room)
        if self._reserve_used + beyond > self._reserve:
            return False
        self._append(stream_id, queue, frame, cost)
        self._reserve_used += beyond
        self._pool.used += growth - beyond
        return True

    def _append(self, stream_id: str, queue: _StreamQueue | None, frame: bytes, cost: int) -> None:
        if queue is None:
            queue = self._streams[stream_id] = _StreamQueue()
            self._size += STREAM_COST
        queue.frames.append(frame)
        queue.size += cost
        self._size += cost

    def take(self, max_bytes: int) -> list[bytes]:
        """The next frames, not more than `max_bytes` of them together, but at least one."""
        before = self._size
        taken = self._take(max_bytes)
        self._give_back(before - self._size)
        return taken

    def _take(self, max_bytes: int) -> list[bytes]:
        taken: list[bytes] = []
        streams = self._streams
        while streams:
            stream_id, queue = next(iter(streams.items()))
            frames = queue.frames
            while frames:
                length = len(frames[0])
                if length > max_bytes and taken:
                    return taken
                if length > queue.credit:
                    queue.credit += QUANTUM
                    streams.move_to_end(stream_id)
                    break
                taken.append(frames.popleft())
                max_bytes -= length
                queue.credit -= length
                queue.size -= length + FRAME_COST
                self._size -= length + FRAME_COST
            else:
                del streams[stream_id]
                self._size -= STREAM_COST
        return taken

    def discard(self, stream_id: str) -> int:
        """Throw away what a stream has queued. Returns the number of frames."""
        queue = self._streams.pop(stream_id, None)
        if queue is None:
            return 0
        self._size -= queue.size + STREAM_COST
        self._give_back(queue.size + STREAM_COST)
        return len(queue.frames)

    def clear(self) -> int:
        """Throw everything away. Returns the number of frames."""
        count = sum(len(queue.frames) for queue in self._streams.values())
        self._streams.clear()
        self._give_back(self._size)
        self._size = 0
        return count

    def _give_back(self, size: int) -> None:
        # The reserve first: it is for what can't wait.
        reserved = min(size, self._reserve_used)
        self._reserve_used -= reserved
        self._pool.used -= size - reserved
