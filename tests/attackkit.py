"""A hostile peer, what its attack costs us, and a stream beside it that must not notice."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rendezvous_net import EXECUTOR, HARNESS, STRANGER, Net
from sansrelay import (
    AckDue,
    DataAcknowledged,
    DataReceived,
    Event,
    FrameCause,
    FrameRejected,
    RelayConfig,
    Retransmit,
    Role,
    SendCapacityAvailable,
)
from sansrelay.codec import encode_frame
from sansrelay.frames import Frame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import DropCause
from wirekit import EXECUTOR as EXECUTOR_INCARNATION
from wirekit import OWN, PEER, SID, ack, data, decode, open_end, resume

BYSTANDER: Final = "bystander"
ALLOWANCE: Final = 64 * 1024
"""Bytes of memory that an attack may cost beyond twice what is kept of its input."""
PER_STREAM: Final = 2048
"""Bytes that a stream, or a route, may cost by itself."""
PER_SEGMENT: Final = 256
"""Bytes that a segment may cost beyond its payload while it waits for its turn."""
PER_ENDED_ID: Final = 512
"""Bytes that an ended id may cost while it is remembered."""
_HARMLESS: Final = (AckDue, DataAcknowledged, DataReceived, SendCapacityAvailable)

K = TypeVar("K")


def label(frame: Frame) -> str:
    """What kind of frame it is; of a reset the reason too."""
    if isinstance(frame, ResetFrame):
        return f"reset {frame.reason}"
    if isinstance(frame, ResumeFrame):
        return "answer" if frame.answer else "question"
    return type(frame).__name__.removesuffix("Frame").lower()


@contextmanager
def memory() -> Iterator[list[int]]:
    """Measures by how many bytes the program has grown; the list holds the number afterwards."""
    grown: list[int] = []
    gc.freeze()  # so that collecting looks at what is new alone
    tracemalloc.start()
    try:
        yield grown
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def increase(after: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    """By how much each counter has moved, if it has."""
    return {
        key: count - before.get(key, 0)
        for key, count in after.items()
        if count != before.get(key, 0)
    }


def accepted(number: int) -> int:
    """The incarnation of the stream that an executor accepts as first, second and so on."""
    return EXECUTOR_INCARNATION + number


# -- at an endpoint


@dataclass(slots=True)
class Toll:
    """What an attack did. The bystander's share is not in it."""

    got: Counter[str] = field(default_factory=Counter)
    """The frames that the attacker got, by `label`."""
    told: Counter[type[Event]] = field(default_factory=Counter)
    """The events that the owner of the connection got."""
    dropped: dict[FrameCause, int] = field(default_factory=dict)
    """What was counted."""
    kept: int = 0
    """Bytes of payload that are held for the attacker afterwards."""
    bytes_in: int = 0
    """Bytes of the attacker's frames."""
    bytes_out: int = 0
    """Bytes of the frames that it got."""


class Target:
    """A connection with two reliable streams: `SID` is attacked, the other must not notice.

    The attacked stream is the first one, the bystander the second.
    """

    def __init__(self, role: Role, config: RelayConfig | None = None) -> None:
        self.role = role
        self.wire = open_end(role, config)
        self.conn = self.wire.conn
        self.own = OWN if role is Role.HARNESS else accepted(1)
        """The incarnation of our end of the attacked stream."""
        self._exchanges = 0
        self._heard = 0
        if role is Role.HARNESS:
            self.conn.open_stream(BYSTANDER)
            self.wire.give(resume(1, PEER, OWN, True, sid=BYSTANDER))
        else:
            self.wire.give(resume(1, PEER, sid=BYSTANDER))
            self.wire.give(resume(1, PEER, accepted(2), True, sid=BYSTANDER))
        self.wire.sent()
        self.wire.events()

    def attack(self, frames: Iterable[Frame | bytes], *, allowance: int = ALLOWANCE) -> Toll:
        """Take the frames, drained after each as an owner should; the bystander is used between.

        The application consumes nothing on the attacked streams. Memory may grow by twice what is
        kept of their payloads, and the allowance.
        """
        toll = Toll()
        number = 0
        before = self.conn.stats()
        with memory() as grown:
            for number, frame in enumerate(frames, start=1):
                self._receive(frame, toll)
                self._drain(toll)
                if number % 200 == 99:
                    self._use_bystander(toll)
            frame = b""
            self._use_bystander(toll)
        after = self.conn.stats()
        toll.kept = after.bytes_held - before.bytes_held
        assert grown[0] <= 2 * toll.kept + allowance, f"{grown[0]} bytes, {toll.kept} of payload"
        toll.dropped = increase(after.dropped, before.dropped)
        assert toll.told[FrameRejected] <= sum(toll.dropped.values())
        assert sum(toll.got.values()) <= number + toll.told[Retransmit], "more came back than went"
        return toll

    def say(self, messages: int, size: int = 1) -> None:
        """Send messages on the attacked stream; they are under way then."""
        for _ in range(messages):
            self.conn.send_data(SID, bytes(size))
        self.wire.sent()

    def open_more(self, streams: int) -> list[str]:
        """Further reliable streams of the attacker; their ids."""
        sids = [f"more {number}" for number in range(streams)]
        for number, sid in enumerate(sids, start=3):
            if self.role is Role.HARNESS:
                self.conn.open_stream(sid)
                self.wire.give(resume(1, PEER, OWN, True, sid=sid))
            else:
                self.wire.give(resume(1, PEER, sid=sid))
                self.wire.give(resume(1, PEER, accepted(number), True, sid=sid))
        self.wire.sent()
        self.wire.events()
        return sids

    def _receive(self, frame: Frame | bytes, toll: Toll) -> None:
        raw = frame if isinstance(frame, bytes) else encode_frame(frame)
        toll.bytes_in += len(raw)
        self.conn.receive_frame(raw, self.wire.clock())

    def _drain(self, toll: Toll) -> list[Frame]:
        """What goes out and what is told now is counted; the bystander's frames are returned."""
        mine = []
        while frames := self.conn.frames_to_send(self.wire.clock()):
            for raw in frames:
                frame = decode(raw)
                if frame.stream_id == BYSTANDER:
                    mine.append(frame)
                else:
                    toll.got[label(frame)] += 1
                    toll.bytes_out += len(raw)
        while (event := self.conn.next_event()) is not None:
            if getattr(event, "stream_id", None) != BYSTANDER:
                toll.told[type(event)] += 1
                continue
            assert isinstance(event, _HARMLESS), f"{event}"
            if isinstance(event, DataReceived):
                self.conn.consume(BYSTANDER, 1)
            self._heard += isinstance(event, DataReceived | DataAcknowledged)
        return mine

    def _use_bystander(self, toll: Toll) -> None:
        """A message each way. Both go through at once, and both are acknowledged."""
        self._exchanges += 1
        number = self._exchanges
        assert self.conn.send_data(BYSTANDER, b"from us") == number
        self.conn.receive_frame(
            encode_frame(data(number, b"to us", ack=number - 1, sid=BYSTANDER)),
            self.wire.clock(),
        )
        assert data(number, b"from us", ack=number - 1, bits=1, sid=BYSTANDER) in self._drain(toll)
        self.conn.receive_frame(encode_frame(ack(number, sid=BYSTANDER)), self.wire.clock())
        self._drain(toll)
        assert self._heard == 2 * number, "a message or an ack of the bystander is missing"


# -- at a rendezvous


@dataclass(slots=True)
class RelayToll:
    """What an attack did at a rendezvous. The bystander's share is not in it."""

    got: Counter[str] = field(default_factory=Counter)
    """The frames that the attacker got, by `label`."""
    passed: Counter[str] = field(default_factory=Counter)
    """The frames that reached the other side, by `label`."""
    dropped: dict[DropCause | FrameCause, int] = field(default_factory=dict)
    """What was counted."""


class RelayTarget:
    """A rendezvous between an executor and two harnesses: Alice's attacks, Bob must not notice.

    Alice has no stream at first.
    """

    def __init__(self, **config: Any) -> None:
        self.net = net = Net(**config)
        net.executor()
        net.harness(HARNESS, "alice")
        net.harness(STRANGER, "bob")
        self._exchanges = 0
        for source, target in ((STRANGER, EXECUTOR), (EXECUTOR, STRANGER)):
            assert net.passes(source, target, resume(1, 7, sid=BYSTANDER))
        net.events()

    def attack(
        self,
        frames: Iterable[Frame | bytes],
        *,
        by: int = HARNESS,
        reading: bool = True,
        allowance: int = ALLOWANCE,
    ) -> RelayToll:
        """Take the frames that come in on Alice's link, or on the executor's.

        Unless `reading`, nobody takes the frames that are passed on, before all are in. Memory may
        grow by twice what is queued then and the allowance.
        """
        net, toll = self.net, RelayToll()
        other = EXECUTOR if by == HARNESS else HARNESS
        before = net.dropped()
        with memory() as grown:
            for number, frame in enumerate(frames):
                net.send(by, frame)
                self._count(by, toll.got)
                if reading:
                    self._count(other, toll.passed)
                    if number % 200 == 99:
                        self._use_bystander()
                for _ in iter(net.r.next_event, None):
                    pass
            frame = b""
            queued = net.r._links.get(other).queue.size
        assert grown[0] <= 2 * queued + allowance, f"{grown[0]} bytes, and {queued} are queued"
        self._use_bystander(toll.passed)
        self._count(other, toll.passed)
        self._use_bystander()
        toll.dropped = increase(net.dropped(), before)
        return toll

    def _count(self, link: int, counts: Counter[str]) -> None:
        counts.update(label(frame) for frame in self.net.got(link))

    def _use_bystander(self, others: Counter[str] | None = None) -> None:
        """A frame each way gets through, before more than a few of those that were there first."""
        self._exchanges += 1
        frame = data(self._exchanges, sid=BYSTANDER)
        for source, target in ((STRANGER, EXECUTOR), (EXECUTOR, STRANGER)):
            self.net.send(source, frame)
            taken = [decode(raw) for raw in self.net.r.frames_to_send(target, 256 * 1024)]
            assert frame in taken
            taken.remove(frame)
            assert others is not None or not taken
            if others is not None:
                others.update(map(label, taken))
