"""One queue of deadlines for all streams.

Each stream has a handful of named deadlines (`TimerKind`), most of which move with every frame. The
queue holds one live entry per stream, and an entry may be too early but never too late: moving a
deadline back costs nothing, and the entry is put right when it comes to the top. Entries that were
superseded, and those of streams that have ended, are cleared out before they outnumber the others.
"""

from enum import Enum
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["NEVER", "Timed", "TimerHeap", "TimerKind"]

NEVER: Final = float("inf")


class TimerKind(Enum):
    """What a deadline is for."""

    ACK_DELAY = "an ack has waited long enough for data to ride on"
    RTO = "nothing was acknowledged for a retransmission time-out"
    QUESTION = "a resume was not answered and is repeated"
    HEARTBEAT = "nothing was sent for a while"
    SILENCE = "nothing was heard for a while"
    RESUME_TIMEOUT = "the peer is given up"
    PENDING = "data came whose opening did not follow"


class Timed(Protocol):
    """What the queue needs of a stream."""

    queued_at: float
    """The time of its live entry, `NEVER` without one. Written by the queue alone."""

    def next_deadline(self) -> tuple[float, TimerKind]:
        """The earliest of its deadlines, `NEVER` if it has none."""
        ...


T = TypeVar("T", bound=Timed)

_SMALL: Final = 64
"""Entries below which clearing out is not worth it."""


class TimerHeap(Generic[T]):
    """Finds the stream whose deadline comes first, without looking at the others."""

    __slots__ = ("_heap", "_limit", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._serial = 0
        self._limit = _SMALL

    def __len__(self) -> int:
        return len(self._heap)

    def rearm(self, timed: T) -> None:
        """Say that a deadline of `timed` may have come nearer."""
        deadline, _ = timed.next_deadline()
        if deadline < timed.queued_at:
            timed.queued_at = deadline
            self._serial += 1
            heappush(self._heap, (deadline, self._serial, timed))
            if len(self._heap) > self._limit:
                self._clear_out()

    def _clear_out(self) -> None:
        live: dict[int, tuple[float, int, T]] = {}
        for _, serial, timed in self._heap:
            timed.queued_at = deadline = timed.next_deadline()[0]
            if deadline < NEVER:
                live[id(timed)] = deadline, serial, timed
        self._heap = list(live.values())
        heapify(self._heap)
        self._limit = max(_SMALL, 2 * len(self._heap))

    def first(self) -> tuple[float, TimerKind, T] | None:
        """The earliest deadline of all, exactly; None if there is none."""
        heap = self._heap
        while heap:
            when, _, timed = heap[0]
            if when != timed.queued_at:
                heappop(heap)  # superseded by an earlier entry
                continue
            deadline, kind = timed.next_deadline()
            if deadline <= when:
                return deadline, kind, timed
            timed.queued_at = deadline
            if deadline == NEVER:
                heappop(heap)
            else:
                self._serial += 1
                heapreplace(heap, (deadline, self._serial, timed))
        return None
