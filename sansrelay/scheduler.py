"""Which stream sends next: control first, then deficit round robin by bytes.

Control is what keeps streams alive and windows open: resumes, acks, heartbeats. It is small, so it
goes before all data. Data is shared out by deficit round robin (Shreedhar and Varghese, 1996): each
stream that comes to the head of the line gets a quantum of bytes and sends while it lasts, so a
stream of large messages and one of small ones get equal bytes.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["QUANTUM", "Scheduled", "Scheduler"]

QUANTUM = 64 * 1024
"""Bytes that a stream may send each time its turn comes."""


class Scheduled(Protocol):
    """What the scheduler keeps on a stream. Written by the scheduler alone."""

    in_control_line: bool
    in_data_line: bool
    deficit: int


S = TypeVar("S", bound=Scheduled)


class Scheduler(Generic[S]):
    """Two lines of streams that have something to send. A stream stands at most once in each."""

    __slots__ = ("_control", "_data")

    def __init__(self) -> None:
        self._control: deque[S] = deque()
        self._data: deque[S] = deque()

    def want_control(self, stream: S) -> None:
        """`stream` has a control frame to send."""
        if not stream.in_control_line:
            stream.in_control_line = True
            self._control.append(stream)

    def want_data(self, stream: S) -> None:
        """`stream` may have data to send."""
        if not stream.in_data_line:
            stream.in_data_line = True
            stream.deficit = QUANTUM
            self._data.append(stream)

    def next_control(self) -> S | None:
        """Take the stream at the head of the control line out of it."""
        if not self._control:
            return None
        stream = self._control.popleft()
        stream.in_control_line = False
        return stream

    def data_head(self) -> S | None:
        """The stream whose turn it is. It stays at the head until `turn_over` or `drop_head`."""
        return self._data[0] if self._data else None

    def turn_over(self, size: int) -> None:
        """The head can't pay for its next segment of `size` bytes: on to the next stream."""
        stream = self._data[0]
        if len(self._data) == 1:
            stream.deficit = size
            return
        stream.deficit += QUANTUM
        self._data.rotate(-1)

    def drop_head(self) -> None:
        """The head has nothing to send any more."""
        stream = self._data.popleft()
        stream.in_data_line = False
