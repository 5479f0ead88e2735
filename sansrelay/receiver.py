"""One direction of a stream, at its receiving end.

Puts segments in order, drops what came before, joins messages, and knows what to acknowledge.

`ack` covers a segment once the application has taken its message over, or while its message is
still incomplete. Segments of complete messages that wait for the application are *withheld*: their
bits are set, so nothing sends them again, but `ack` stands still and the peer's window closes. That
is the whole of flow control on a wire that has no credit field. A message larger than the window
still gets through, because its segments are acknowledged as they come.
"""

from .config import SEGMENT_OVERHEAD, RelayConfig
from .errors import FrameCause
from .frames import DataFrame

__all__ = ["Budget", "Receiver", "Share"]

_ALL_BITS = 0xFFFF_FFFF
_SMALL = 4096
"""Bytes of a part below which keeping it as an object of its own would cost more than copying."""


class Budget:
    """Bytes held for peers by several streams together.

    A stream may hold as much as is still free (dynamic thresholds, Choudhury and Hahne, 1998); what
    waits for an application or for an earlier segment has only half of the budget to share, so that
    slow readers leave room for the others. Messages larger than what is free would wait for one
    another for ever; so one stream at a time may overdraw the budget, by what is missing of one
    message, until it has given back as much.
    """

    __slots__ = ("debtor", "limit", "overdraft", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.overdraft = 0
        """Bytes of `used` beyond what fitted."""
        self.debtor: Receiver | None = None
        """The stream that has taken them."""

    def fits(self, held: int, cost: int, *, waits: bool = False) -> bool:
        """Whether a stream that holds `held` may take `cost` more; `waits`: it is not used now."""
        limit = self.limit // 2 if waits else self.limit
        return held + cost <= limit - self.used + self.overdraft

    def overdraw(self, receiver: "Receiver", size: int) -> bool:
        """Whether a stream may take what does not fit."""
        if self.debtor is None:
            self.debtor = receiver
        elif self.debtor is not receiver:
            return False
        self.overdraft += size
        return True

    def repay(self, size: int) -> None:
        """The debtor has given that much back."""
        self.overdraft -= size
        if self.overdraft <= 0:
            self.overdraft = 0
            self.debtor = None


class Share:
    """What one holder has of a budget that serves whoever comes first."""

    __slots__ = ("_budget", "used")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.used = 0
        """Bytes taken and not given back."""

    def take(self, size: int) -> bool:
        """Take `size` bytes; False, and nothing is taken, if fewer are left."""
        if self._budget.used + size > self._budget.limit:
            return False
        self._add(size)
        return True

    def give_back(self, size: int) -> None:
        """Give back `size` of the bytes taken."""
        self._add(-size)

    def clear(self) -> None:
        """Give back all."""
        self._add(-self.used)

    def _add(self, size: int) -> None:
        self.used += size
        self._budget.used += size


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
        "_part_count",
        "_parts",
        "_tail_bytes",
        "_unconfirmed",
        "_window_bytes",
        "_withheld",
        "_withheld_from",
        "ack",
        "held_bytes",
        "highest",
        "next_seq",
    )

    def __init__(self, config: RelayConfig, budget: Budget, unconfirmed: Budget) -> None:
        self._config = config
        self._budget = budget
        self._unconfirmed = Share(unconfirmed)
        self.next_seq = 1
        self.ack = 0
        self.highest = 0
        """The highest sequence number taken so far."""
        self.held_bytes = 0
        """Everything this stream keeps: early, incomplete and withheld; `SEGMENT_OVERHEAD` more for
        each early segment and each message withheld."""
        self._early = 0
        self._held: dict[int, DataFrame] = {}
        self._parts: list[bytes | bytearray] | None = None
        self._part_count = 0
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

        With `hold`, nothing is put in order yet: use the method `hold`. Returns why the segment was
        not taken. `SEGMENT_MISMATCH` and `MESSAGE_TOO_LARGE` are violations that end the stream.
        """
        seq = frame.seq
        ahead = seq - self.next_seq
        if ahead < 0 or self._early >> ahead & 1:
            return FrameCause.DUPLICATE
        size = len(frame.payload)
        config = self._config
        if seq - self.ack > config.receive_window_segments:
            return FrameCause.WINDOW_OVERRUN
        # What is next in order is taken while the application keeps up, or a stream whose window is
        # full of what came early would wait for itself for ever.
        keeps_up = not (ahead or hold or self._withheld)
        if (
            not keeps_up
            and self._window_bytes
            and self._window_bytes + size > config.receive_window_bytes
        ):
            return FrameCause.WINDOW_OVERRUN
        limit = config.max_message_size
        count = frame.segment_count
        if count > limit:
            return FrameCause.MESSAGE_TOO_LARGE
        if frame.segment_index + 1 < count and (count - 1) * size >= limit:
            return FrameCause.MESSAGE_TOO_LARGE
        if size > limit:
            return FrameCause.MESSAGE_TOO_LARGE
        budget = self._budget
        cost = size + SEGMENT_OVERHEAD
        if not budget.fits(self.held_bytes, cost, waits=not keeps_up) and not (
            keeps_up and budget.overdraw(self, size)
        ):
            return FrameCause.BUFFER_FULL
        if seq > self.highest:
            self.highest = seq
        self._window_bytes += size
        if ahead or hold:
            self._add(cost)
            self._early |= 1 << ahead
            self._held[seq] = frame
            return None
        self._add(size)
        return self._in_order(frame, ready)

    def hold(self, frame: DataFrame) -> FrameCause | None:
        """Keep one segment of a peer that is not confirmed, until `release`.

        It counts in both budgets. Returns why it was not kept.
        """
        size = len(frame.payload) + SEGMENT_OVERHEAD
        if not self._unconfirmed.take(size):
            return FrameCause.BUFFER_FULL
        cause = self.take(frame, [], hold=True)
        if cause is not None:
            self._unconfirmed.give_back(size)
        return cause

    def release(self, ready: list[bytes]) -> FrameCause | None:
        """The peer is confirmed: put in order what was kept by `hold`."""
        self._unconfirmed.clear()
        if not self._early & 1:
            return None
        return self._in_order(self._take_held(), ready)

    def _in_order(self, frame: DataFrame, ready: list[bytes]) -> FrameCause | None:
        while True:
            bad = self._append(frame, ready)
            if bad is not None:
                return bad
            self.next_seq += 1
            self._early >>= 1
            if not self._early & 1:
                return None
            frame = self._take_held()

    def _take_held(self) -> DataFrame:
        """The segment next in order, which came before its turn."""
        self._early &= ~1
        frame = self._held.pop(self.next_seq)
        self._add(-SEGMENT_OVERHEAD)
        return frame

    def _append(self, frame: DataFrame, ready: list[bytes]) -> FrameCause | None:
        size = len(frame.payload)
        count = frame.segment_count
        parts = self._parts
        if parts is None:
            if frame.segment_index != 0:
                return FrameCause.SEGMENT_MISMATCH
            if count == 1:
                self._complete(frame.payload, frame.seq, size, ready)
                return None
            self._parts = [frame.payload]
            self._part_count = 1
            self._part_bytes = size
            self._count = count
        else:
            if frame.segment_index != self._part_count or count != self._count:
                return FrameCause.SEGMENT_MISMATCH
            self._part_bytes += size
            if self._part_bytes > self._config.max_message_size:
                return FrameCause.MESSAGE_TOO_LARGE
            self._part_count += 1
            if size >= _SMALL:
                parts.append(frame.payload)
            elif isinstance(parts[-1], bytearray):
                parts[-1] += frame.payload
            else:
                parts.append(bytearray(frame.payload))
            if self._part_count == count:
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
        self._add(SEGMENT_OVERHEAD)
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
            self._give_back(size + SEGMENT_OVERHEAD)
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
        self._give_back(self.held_bytes)
        self._unconfirmed.clear()
        self._held.clear()
        self._parts = None
        self._withheld.clear()

    def _add(self, size: int) -> None:
        self.held_bytes += size
        self._budget.used += size

    def _give_back(self, size: int) -> None:
        self._add(-size)
        if self._budget.debtor is self:
            self._budget.repay(size)

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
        cost = size + SEGMENT_OVERHEAD
        if self.held_bytes and self.held_bytes + cost > self._config.basic_buffer_size:
            return FrameCause.BUFFER_FULL
        budget = self._budget
        if not budget.fits(self.held_bytes, cost) and (
            self._withheld or not budget.overdraw(self, cost)
        ):
            return FrameCause.BUFFER_FULL
        self.next_seq = seq + 1
        self._add(cost)
        self._withheld[self._message_no] = (seq, 0, size)  # there is no window
        self._message_no += 1
        return None
