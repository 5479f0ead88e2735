"""A rendezvous under test, with frames in place of bytes and a clock. For several test files."""

from typing import Any

from sansrelay.codec import decode_frame, encode_frame
from sansrelay.config import RelayConfig
from sansrelay.errors import FrameCause
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.rendezvous import (
    DropCause,
    LinkRefusal,
    Rendezvous,
    RendezvousConfig,
    RendezvousEvent,
    RouteEnded,
    RouteEndedBy,
)

EXECUTOR, EXECUTOR_2, HARNESS, HARNESS_2, STRANGER = 1, 2, 11, 12, 21
A, B, C = "stream-a", "stream-b", "stream-c"
MIB = 1024 * 1024


def resume(next_seq: int = 1, peer: int = 0, stream_id: str = A) -> ResumeFrame:
    return ResumeFrame(stream_id, 0, 0, next_seq, 7, peer)


def data(seq: int = 1, payload: bytes = b"x", stream_id: str = A) -> DataFrame:
    return DataFrame(stream_id, 0, 0, seq, 0, 1, payload)


def ack(stream_id: str = A) -> AckFrame:
    return AckFrame(stream_id, 1, 0)


def heartbeat(stream_id: str = A) -> HeartbeatFrame:
    return HeartbeatFrame(stream_id, 1, 0)


def handshake(stream_id: str = A) -> HandshakeFrame:
    return HandshakeFrame(stream_id, 0, 0, b"hello")


def reset(reason: str = "closed", stream_id: str = A) -> ResetFrame:
    return ResetFrame(stream_id, 0, 0, reason)


KNOWN_PEER = resume(1, peer=9)
ONE_OF_EACH = [resume(), data(), handshake(), ack(), heartbeat(), reset()]


def decoded(wire: bytes) -> Frame:
    frame = decode_frame(wire, RelayConfig())
    assert not isinstance(frame, InvalidFrame)
    return frame


def label(value: object) -> str | None:
    """A short name for a test's parameter."""
    if isinstance(value, ResumeFrame):
        return f"resume{{{value.next_seq}, peer {value.peer_incarnation}}}"
    if isinstance(value, DataFrame):
        return f"data{{{value.seq}}}"
    return type(value).__name__ if isinstance(value, tuple) else None


class Net:
    """A rendezvous under test, with frames in place of bytes and a clock."""

    def __init__(self, **config: Any) -> None:
        self.r = Rendezvous(RendezvousConfig(**config))
        self.now = 100.0

    def executor(self, link: int = EXECUTOR, executor_id: str = "exec") -> LinkRefusal | None:
        return self.r.executor_opened(link, executor_id, self.now)

    def harness(
        self, link: int = HARNESS, principal: str = "alice", executor_id: str = "exec"
    ) -> LinkRefusal | None:
        return self.r.harness_opened(link, executor_id, principal, self.now)

    def send(self, link: int, *frames: Frame | bytes) -> None:
        for frame in frames:
            wire = frame if isinstance(frame, bytes) else encode_frame(frame)
            self.r.receive_frame(link, wire, self.now)

    def close(self, link: int) -> None:
        self.r.link_closed(link, self.now)

    def raw(self, link: int) -> list[bytes]:
        frames: list[bytes] = []
        while some := self.r.frames_to_send(link, MIB):
            frames += some
        return frames

    def got(self, link: int) -> list[Frame]:
        return [decoded(wire) for wire in self.raw(link)]

    def events(self) -> list[RendezvousEvent]:
        return list(iter(self.r.next_event, None))

    def dropped(self) -> dict[DropCause | FrameCause, int]:
        return dict(self.r.stats().dropped)

    def passes(self, link: int, to: int, frame: Frame) -> bool:
        """Whether a frame that comes in on one link goes out on another."""
        self.send(link, frame)
        received = self.got(to)
        assert received in ([], [frame])
        return bool(received)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.r.handle_timeout(self.now)

    def open(self, *, harness: bool, executor: bool, stream_id: str = A) -> None:
        """A route on which the named sides have shown the reliable profile."""
        if harness:
            assert self.passes(HARNESS, EXECUTOR, resume(1, stream_id=stream_id))
        else:
            assert self.passes(HARNESS, EXECUTOR, resume(0, stream_id=stream_id))
        if executor:
            assert self.passes(EXECUTOR, HARNESS, resume(1, stream_id=stream_id))
        self.events()


def fresh_net() -> Net:
    """One executor, one harness, no stream."""
    net = Net()
    assert net.executor() is None
    assert net.harness() is None
    return net


def reliable_net() -> Net:
    """With stream A, reliable in both directions."""
    net = fresh_net()
    net.open(harness=True, executor=True)
    return net


def basic_net() -> Net:
    """With stream A between two basic endpoints."""
    net = fresh_net()
    net.open(harness=False, executor=False)
    return net


def ended(
    reason: str, by: RouteEndedBy = RouteEndedBy.RENDEZVOUS, stream_id: str = A
) -> RouteEnded:
    return RouteEnded(
        executor_id="exec", stream_id=stream_id, principal="alice", reason=reason, by=by
    )
