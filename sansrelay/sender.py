"""One direction of a stream, at its sending end.

Takes whole messages, cuts them into segments as late as possible, keeps what is not acknowledged,
and finds out what was lost.

Loss detection. Every transmission, first or repeated, gets the next *transmission number*. A
segment counts as lost once `reorder_threshold` transmissions made after its own were reported by
the peer (the idea of RFC 8985, with counts instead of times). Only segments among the 32 that
`ack_bits` can speak of are judged: of what lies beyond, an ack says nothing. The other way to learn
of a loss is the answer to a resume; no segment is ever sent again for the mere passing of time.
"""

from .config import MAX_SEQ, RelayConfig
from .events import RetransmitCause
from .frames import ACK_BITS

__all__ = ["Segment", "Sender"]


class Segment:
    """One segment that was sent and is not acknowledged."""

    __slots__ = (
        "attempts",
        "count",
        "index",
        "lost",
        "message_id",
        "noted",
        "payload",
        "sent_at",
        "seq",
        "transmission",
    )

    def __init__(
        self, seq: int, index: int, count: int, payload: bytes | memoryview, message_id: int
    ) -> None:
        self.seq = seq
        self.index = index
        self.count = count
        self.payload = payload
        self.message_id = message_id
        self.sent_at = 0.0
        self.transmission = 0
        self.noted = 0  # the transmission whose report was taken into account
        self.attempts = 0
        self.lost: RetransmitCause | None = None


class Sender:
    """Send buffer, window, scoreboard.

    `una` is the lowest sequence number not acknowledged. Bit *i* of `_reported` says that the peer
    holds `una + i`.
    """

    __slots__ = (
        "_config",
        "_cut",
        "_latest",
        "_lost",
        "_next_pending",
        "_pending",
        "_reported",
        "_unacked",
        "acked_message",
        "buffered",
        "in_flight",
        "last_message",
        "next_seq",
        "reserved",
        "transmissions",
        "una",
    )

    def __init__(self, config: RelayConfig, *, first_seq: int = 1) -> None:
        self._config = config
        self.next_seq = first_seq
        self.una = first_seq
        self.last_message = 0
        self.acked_message = 0
        self.buffered = 0
        """Bytes taken from the application and not acknowledged."""
        self.in_flight = 0
        """Bytes sent and not acknowledged."""
        self.reserved = 0
        """Sequence numbers that the messages still to be cut will need at most."""
        self.transmissions = 0
        self._pending: dict[int, bytes] = {}
        self._next_pending = 1
        self._cut = 0  # segments of the first pending message that were cut already
        self._unacked: dict[int, Segment] = {}
        self._reported = 0
        self._latest: list[int] | None = None  # the latest transmissions reported, ascending
        self._lost: list[int] = []

    # -- from the application

    def capacity(self) -> int:
        """Bytes that the next message may have."""
        config = self._config
        if not self.buffered:
            return config.max_message_size
        # Of a basic peer's messages none is ever acknowledged, and those sent are not held.
        done = self.acked_message if self._unacked else self._next_pending - 1
        if self.last_message - done >= config.send_buffer_messages:
            return 0
        return max(0, min(config.send_buffer_size - self.buffered, config.max_message_size))

    def segments_for(self, size: int) -> int:
        """Sequence numbers that a message of `size` bytes needs at most."""
        return -(-size // self._config.segment_size)

    def room_in_sequence(self, size: int) -> bool:
        """Whether the sequence numbers left are enough for one more message of `size` bytes.

        One is kept back, since `next_seq` has to fit its field too.
        """
        return self.next_seq + self.reserved + self.segments_for(size) <= MAX_SEQ

    def queue(self, data: bytes) -> int:
        """Take one message; returns its id."""
        self.last_message += 1
        self._pending[self.last_message] = data
        self.buffered += len(data)
        self.reserved += self.segments_for(len(data))
        return self.last_message

    @property
    def idle(self) -> bool:
        """Nothing to send and nothing to wait for."""
        return not self._pending and not self._unacked

    @property
    def has_unacked(self) -> bool:
        """Whether something was sent and not acknowledged."""
        return bool(self._unacked)

    # -- to the wire

    def next_size(self, window_segments: int, *, segmented: bool) -> int:
        """Payload bytes of what `take` would send now; 0 if nothing may be sent."""
        lost = self._lost
        while lost:
            segment = self._unacked.get(lost[0])
            if segment is not None and segment.lost is not None:
                return len(segment.payload)
            lost.pop(0)
        message = self._pending.get(self._next_pending)
        if message is None:
            return 0
        size = len(message)
        if segmented or self._cut:
            limit = self._config.segment_size
            size = min(limit, size - self._cut * limit)
        if self._unacked and (
            len(self._unacked) >= window_segments
            or self.in_flight + size > self._config.send_window_bytes
        ):
            return 0
        return size

    def take(self, now: float, *, segmented: bool) -> Segment:
        """The segment to send now: the first lost one, or a new one. `next_size` said there is."""
        self.transmissions += 1
        if self._lost:
            segment = self._unacked[self._lost.pop(0)]
        else:
            segment = self._cut_next(segmented)
            self._unacked[segment.seq] = segment
            self.in_flight += len(segment.payload)
        segment.sent_at = now
        segment.transmission = self.transmissions
        segment.attempts += 1
        return segment

    def _cut_next(self, segmented: bool) -> Segment:
        message_id = self._next_pending
        data = self._pending[message_id]
        limit = self._config.segment_size
        seq = self.next_seq
        self.next_seq += 1
        if not (segmented or self._cut) or len(data) <= limit:
            self.reserved -= self.segments_for(len(data))
            segment = Segment(seq, 0, 1, data, message_id)
            last = True
        else:
            count = self.segments_for(len(data))
            index = self._cut
            part = memoryview(data)[index * limit : (index + 1) * limit]
            self.reserved -= 1
            segment = Segment(seq, index, count, part, message_id)
            last = index + 1 == count
            self._cut += 1
        if last:
            del self._pending[message_id]
            self._next_pending += 1
            self._cut = 0
        return segment

    def take_basic(self) -> tuple[int, bytes]:
        """The next message for a basic peer, with its seq. It is out of our hands then."""
        message_id = self._next_pending
        data = self._pending.pop(message_id)
        self._next_pending += 1
        self.reserved -= self.segments_for(len(data))
        self.buffered -= len(data)
        seq = self.next_seq
        self.next_seq += 1
        return seq, data

    def becomes_basic(self) -> None:
        """The peer proved basic: what was sent can never be acknowledged nor sent again.

        It has reported nothing until now.
        """
        self.buffered -= self.in_flight
        self.in_flight = 0
        self._unacked.clear()
        if self.next_seq == 1:
            self.next_seq = 0

    # -- from the peer

    def valid(self, ack: int, bits: int) -> bool:
        """Whether a report speaks of nothing but what was sent."""
        return ack + bits.bit_length() < self.next_seq

    def acknowledge(
        self, ack: int, bits: int, *, afresh: bool = False
    ) -> tuple[int, Segment | None]:
        """Take a report that is `valid`. With `afresh` the scoreboard is filled from it anew.

        Returns how many segments `ack` newly covers, and the last newly reported segment that was
        sent once, for measuring the round trip.
        """
        covered = ack + 1 - self.una
        if covered < 0:
            return 0, None
        fresh: Segment | None = None
        if covered:
            for seq in range(self.una, ack + 1):
                segment = self._unacked.pop(seq)
                size = len(segment.payload)
                self.in_flight -= size
                self.buffered -= size
                if segment.index + 1 == segment.count:
                    self.acked_message = segment.message_id
                if self._note(segment):
                    fresh = segment
            self._reported >>= covered
            self.una = ack + 1
        if bits or afresh:
            new = bits & ~self._reported
            self._reported = bits if afresh else self._reported | bits
            while new:
                low = new & -new
                new ^= low
                segment = self._unacked[self.una + low.bit_length() - 1]
                segment.lost = None
                if self._note(segment):
                    fresh = segment
        return covered, fresh

    def _note(self, segment: Segment) -> bool:
        """A report covers `segment`; whether that measures a round trip.

        Each transmission counts once: a resume that was overtaken takes reports back for a while.
        """
        transmission = segment.transmission
        if segment.noted == transmission:
            return False
        segment.noted = transmission
        latest = self._latest
        if latest is None:
            latest = self._latest = [0] * self._config.reorder_threshold
        if transmission > latest[0]:
            latest[0] = transmission
            if len(latest) > 1 and transmission > latest[1]:
                latest.sort()
        return segment.attempts == 1

    def detect_loss(self) -> bool:
        """Mark what later acknowledgements show to be lost. True if there is something new."""
        if self._latest is None:
            return False
        return self._mark(self._latest[0], RetransmitCause.GAP)

    def missing_since(self, transmission: int) -> bool:
        """The peer has said afresh what it holds: mark the rest of what was sent up to then.

        `transmission` is the last one made before the peer was asked.
        """
        return self._mark(transmission + 1, RetransmitCause.RESUME)

    def missing_before(self, sent_before: float) -> bool:
        """The same, for a report that was not asked for: only what was sent long enough ago."""
        return self._mark(self.transmissions + 1, RetransmitCause.RESUME, sent_before)

    def _mark(self, below: int, cause: RetransmitCause, sent_before: float | None = None) -> bool:
        """Mark unreported segments with a transmission number lower than `below`.

        Only the 32 that the report speaks of. After a resume those beyond as well, if the last ones
        it speaks of are missing: then the end is missing, not a part.
        """
        reported = self._reported
        hole = (~reported & (reported + 1)).bit_length() - 1
        stop = ACK_BITS
        if cause is RetransmitCause.RESUME and not reported >> (
            ACK_BITS - self._config.reorder_threshold
        ):
            stop = self.next_seq - self.una
        found = False
        for offset in range(hole, stop):
            if reported >> offset & 1:
                continue
            segment = self._unacked.get(self.una + offset)
            if segment is None:
                break
            if segment.lost is not None:
                continue
            if segment.transmission >= below:
                if segment.attempts == 1:
                    break  # first transmissions after it have higher numbers still
                continue
            if sent_before is not None and segment.sent_at > sent_before:
                continue
            segment.lost = cause
            self._lost.append(segment.seq)
            found = True
        if found:
            self._lost.sort()
        return found

    def all_reported(self) -> bool:
        """Whether the peer holds all it can speak of, so that asking would show nothing new."""
        reported = self._reported
        hole = (~reported & (reported + 1)).bit_length() - 1
        return hole >= ACK_BITS or self.una + hole >= self.next_seq

    # -- at the end

    def outcomes(self) -> tuple[range, range]:
        """Message ids whose fate is unknown, and those that were never sent."""
        first_unsent = self._next_pending + (1 if self._cut else 0)
        return (
            range(self.acked_message + 1, first_unsent),
            range(first_unsent, self.last_message + 1),
        )

    def discard(self) -> None:
        """The stream has ended: nothing is kept, though deadlines may still refer to it."""
        self._pending.clear()
        self._unacked.clear()
        self._lost.clear()
