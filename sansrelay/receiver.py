"""One direction of a stream, at its receiving end.

Puts segments in order, drops what came before, joins messages, and knows what to acknowledge.

`ack` covers a segment once the application has taken its message over, or while its message is
still incomplete. Segments of complete messages that wait for the application are *withheld*: their
bits are set, so nothing sends them again, but `ack` stands still and the peer's window closes. That
is the whole of flow control on a wire that has no credit field. A message larger than the window
still gets through, because its segments are acknowledged as they come.
"""

from .config import RelayConfig
from .errors import FrameCause
from .frames import DataFrame

__all__ = ["Budget", "Receiver"]

_ALL_BITS = 0xFFFF_FFFF


class Budget:
    """Bytes held for peers by several streams together."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Receiver:
    """In order, once, whole messages.

    `next_seq` is the next segment in order. Bit *i* of `_early` stands for segment `next_seq + i`
    received ahead of its turn, kept in `_held`.
    """

    __slots__ = (
        "_budget",
        "_config",
        "_count",
        "_early",
        "_held",
        "_message_no",
        "_part_bytes",
        "_parts",
        "_tail_bytes",
        "_window_bytes",
        "_withheld",
        "_withheld_from",
        "ack",
        "held_bytes",
        "highest",
        "next_seq",
    )

    def __init__(self, config: RelayConfig, budget: Budget) -> None:
        self._config = config
        self._budget = budget
        self.next_seq = 1
        self.ack = 0
        self.highest = 0
        """The highest sequence number taken so far."""
        self.held_bytes = 0
        """Everything this stream keeps: early, incomplete and withheld."""
        self._early = 0
        self._held: dict[int, DataFrame] = {}
        self._parts: list[bytes] | None = None
        self._part_bytes = 0
        self._count = 0
        # Messages handed out and not consumed, numbered from _withheld_from to _message_no - 1:
        # (last seq, bytes not acknowledged, bytes).
        self._withheld: dict[int, tuple[int, int, int]] = {}
        self._withheld_from = 0
        self._message_no = 0
        self._window_bytes = 0
        self._tail_bytes = 0

    # -- taking segments

    def take(
        self, frame: DataFrame, ready: list[bytes], *, hold: bool = False
    ) -> FrameCause | None:
        """Take one segment; messages it completes are added to `ready`.

        With `hold`, nothing is put in order yet (see `release`). Returns why the segment was not
        taken. `SEGMENT_MISMATCH` and `MESSAGE_TOO_LARGE` are violations that end the stream.
        """
        seq = frame.seq
        ahead = seq - self.next_seq
        if ahead < 0 or self._early >> ahead & 1:
            return FrameCause.DUPLICATE
        size = len(frame.payload)
        config = self._config
        if seq - self.ack > config.receive_window_segments:
            return FrameCause.WINDOW_OVERRUN
        # What is next in order is taken while the application keeps up, or streams that wait for
        # one another's memory would wait for ever, and one whose window is full of what came early
        # for its own. max_message_size bounds it per stream.
        if ahead or hold or self._withheld:
            if self._window_bytes and self._window_bytes + size > config.receive_window_bytes:
                return FrameCause.WINDOW_OVERRUN
            if self.held_bytes and self._budget.used + size > self._budget.limit:
                return FrameCause.BUFFER_FULL
        limit = config.max_message_size
        count = frame.segment_count
        if count > limit:
            return FrameCause.MESSAGE_TOO_LARGE
        if frame.segment_index + 1 < count and (count - 1) * size >= limit:
            return FrameCause.MESSAGE_TOO_LARGE
        if size > limit:
            return FrameCause.MESSAGE_TOO_LARGE
        if seq > self.highest:
            self.highest = seq
        self._add(size)
        self._window_bytes += size
        if ahead or hold:
            self._early |= 1 << ahead
            self._held[seq] = frame
            return None
        return self._in_order(frame, ready)

    def release(self, ready: list[bytes]) -> FrameCause | None:
        """Put in order what was taken with `hold`."""
        if not self._early & 1:
            return None
        self._early &= ~1
        return self._in_order(self._held.pop(self.next_seq), ready)

    def _in_order(self, frame: DataFrame, ready: list[bytes]) -> FrameCause | None:
        while True:
            bad = self._append(frame, ready)
            if bad is not None:
                return bad
            self.next_seq += 1
            self._early >>= 1
            if not self._early & 1:
                return None
            self._early &= ~1
            frame = self._held.pop(self.next_seq)

    def _append(self, frame: DataFrame, ready: list[bytes]) -> FrameCause | None:
        size = len(frame.payload)
        count = frame.segment_count
        parts = self._parts
        if parts is None:
            if frame.segment_index != 0:
                return FrameCause.SEGMENT_MISMATCH
            if count == 1:
                self._complete(frame.payload, frame.seq, size + self._tail_bytes, ready)
                return None
            self._parts = [frame.payload]
            self._part_bytes = size
            self._count = count
        else:
            if frame.segment_index != len(parts) or count != self._count:
                return FrameCause.SEGMENT_MISMATCH
            self._part_bytes += size
            if self._part_bytes > self._config.max_message_size:
                return FrameCause.MESSAGE_TOO_LARGE
            parts.append(frame.payload)
            if len(parts) == count:
                self._parts = None
                self._complete(b"".join(parts), frame.seq, size + self._tail_bytes, ready)
                return None
        if self._withheld:
            self._tail_bytes += size
        else:
            self.ack = frame.seq
            self._window_bytes -= size
        return None

    def _complete(self, data: bytes, seq: int, window: int, ready: list[bytes]) -> None:
        self._tail_bytes = 0
        self._withheld[self._message_no] = (seq, window, len(data))
        self._message_no += 1
        ready.append(data)

    # -- what the application has taken over

    @property
    def unconsumed(self) -> int:
        """Messages handed out and not consumed."""
        return self._message_no - self._withheld_from

    def consume(self, messages: int) -> tuple[int, int]:
        """The application has taken over that many messages, oldest first.

        Returns how many segments and bytes `ack` moved on by.
        """
        before = self.ack
        moved = 0
        for _ in range(messages):
            last, window, size = self._withheld.pop(self._withheld_from)
            self._withheld_from += 1
            self.ack = last
            moved += window
            self._add(-size)
        if not self._withheld:
            self.ack = self.next_seq - 1
            moved += self._tail_bytes
            self._tail_bytes = 0
        self._window_bytes -= moved
        return self.ack - before, moved

    def ack_bits(self) -> int:
        """Which of the 32 segments past `ack` are here."""
        withheld = self.next_seq - 1 - self.ack
        if not withheld:
            return self._early & _ALL_BITS
        if withheld >= 32:
            return _ALL_BITS
        return ((1 << withheld) - 1 | self._early << withheld) & _ALL_BITS

    @property
    def has_gap(self) -> bool:
        """Whether segments wait for an earlier one."""
        return self._early != 0

    def discard(self) -> None:
        """The stream has ended: nothing is kept."""
        self._add(-self.held_bytes)
        self._held.clear()
        self._parts = None
        self._withheld.clear()

    def _add(self, size: int) -> None:
        self.held_bytes += size
        self._budget.used += size

    # -- basic profile

    def take_basic(self, frame: DataFrame, *, any_first: bool) -> FrameCause | None:
        """Take one frame of a basic peer: each a whole message, in order, never acknowledged.

        A basic peer numbers from 0; with `any_first` the first frame may have any number.
        """
        if frame.segment_count != 1:
            return FrameCause.SEGMENTED_ON_BASIC
        seq = frame.seq
        if any_first and self._message_no == 0:
            self.next_seq = seq
        if seq < self.next_seq:
            return FrameCause.DUPLICATE
        if seq > self.next_seq:
            return FrameCause.SEQUENCE_GAP
        size = len(frame.payload)
        if size > self._config.max_message_size:
            return FrameCause.MESSAGE_TOO_LARGE
        if self.held_bytes and (
            self.held_bytes + size > self._config.basic_buffer_size
            or self._budget.used + size > self._budget.limit
        ):
            return FrameCause.BUFFER_FULL
        self.next_seq = seq + 1
        self.highest = seq
        self._add(size)
        self._window_bytes += size
        self._withheld[self._message_no] = (seq, size, size)
        self._message_no += 1
        return None
