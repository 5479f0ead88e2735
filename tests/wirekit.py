"""A connection under test, with its peer played by hand.

Frames are built and read as values; the time stands still unless a test lets it pass.
"""

from collections.abc import Callable
from typing import TypeVar

from sansrelay import (
    Event,
    Profile,
    RelayConfig,
    RelayConnection,
    Role,
    StreamState,
)
from sansrelay.codec import decode_frame, encode_frame
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
from sansrelay.testing import FakeClock
from sansrelay.timers import NEVER

SID = "s1"
OWN = 0xA1
"""Incarnation of the connection under test when it is a harness."""
EXECUTOR = 0xB10000
"""Incarnation of the connection under test when it is an executor."""
ACCEPTED = EXECUTOR + 1
"""Incarnation of the first stream that such an executor accepts."""
PEER = 0x77
"""Incarnation of the peer that the test plays."""

E = TypeVar("E", bound=Event)
F = TypeVar("F", AckFrame, DataFrame, HandshakeFrame, HeartbeatFrame, ResetFrame, ResumeFrame)

_READ = RelayConfig(max_frame_size=1 << 30)


# -- frames


def data(
    seq: int,
    payload: bytes = b"m",
    *,
    ack: int = 0,
    bits: int = 0,
    index: int = 0,
    count: int = 1,
    sid: str = SID,
) -> DataFrame:
    return DataFrame(sid, ack, bits, seq, index, count, payload)


def ack(number: int = 0, bits: int = 0, *, sid: str = SID) -> AckFrame:
    return AckFrame(sid, number, bits)


def heartbeat(number: int = 0, bits: int = 0, *, sid: str = SID) -> HeartbeatFrame:
    return HeartbeatFrame(sid, number, bits)


def handshake(*, sid: str = SID) -> HandshakeFrame:
    return HandshakeFrame(sid, 0, 0, b"hello")


def reset(reason: str, *, ack: int = 0, bits: int = 0, sid: str = SID) -> ResetFrame:
    return ResetFrame(sid, ack, bits, reason)


def resume(
    next_seq: int,
    own: int = 0,
    peer: int = 0,
    answer: bool = False,
    *,
    ack: int = 0,
    bits: int = 0,
    sid: str = SID,
) -> ResumeFrame:
    return ResumeFrame(sid, ack, bits, next_seq, own, peer, answer)


def decode(raw: bytes) -> Frame:
    """A frame that the connection sent: it must be valid."""
    frame = decode_frame(raw, _READ)
    assert not isinstance(frame, InvalidFrame), frame
    return frame


def of_kind(kind: type[F], frames: list[Frame]) -> list[F]:
    """The frames of one kind, in order."""
    return [frame for frame in frames if isinstance(frame, kind)]


def seqs(frames: list[Frame]) -> list[int]:
    """The sequence numbers of the data frames, in order."""
    return [frame.seq for frame in of_kind(DataFrame, frames)]


# -- the connection


class Wire:
    """A `RelayConnection`, its clock, and all it has said so far."""

    def __init__(
        self,
        role: Role,
        config: RelayConfig | None = None,
        *,
        incarnation: int = 0,
        link: bool = True,
        start: float = 0,
    ) -> None:
        usual = OWN if role is Role.HARNESS else EXECUTOR
        self.clock = FakeClock(start)
        self.conn = RelayConnection(role, incarnation=incarnation or usual, config=config)
        self.log: list[Event] = []
        if link:
            self.conn.link_opened(self.clock())

    def give(self, *frames: Frame) -> None:
        """The peer's frames arrive, now."""
        for frame in frames:
            self.conn.receive_frame(encode_frame(frame), self.clock())

    def sent(self, max_bytes: int = 1 << 30) -> list[Frame]:
        """What the connection sends now."""
        return [decode(raw) for raw in self.conn.frames_to_send(self.clock(), max_bytes)]

    def talk(self, *frames: Frame) -> list[Frame]:
        """The peer's frames arrive, and this is what is sent at once."""
        self.give(*frames)
        return self.sent()

    def events(self) -> list[Event]:
        """What has happened since the last call."""
        new: list[Event] = []
        while (event := self.conn.next_event()) is not None:
            new.append(event)
        self.log += new
        return new

    def events_of(self, kind: type[E]) -> list[E]:
        """The events of one kind since the last call; the others are only logged."""
        return [event for event in self.events() if isinstance(event, kind)]

    def wait(self, seconds: float) -> list[Frame]:
        """Let time pass, serving every timer at its time; all that is sent meanwhile."""
        return [frame for _, frame in self.timeline(seconds)]

    def timeline(
        self, seconds: float, reply: Callable[[Frame], Frame | None] = lambda frame: None
    ) -> list[tuple[float, Frame]]:
        """The same, with the moment at which each frame went out.

        `reply` is what the peer sends back at once.
        """
        end = self.clock() + seconds
        out: list[tuple[float, Frame]] = []
        while True:
            while frames := self.sent():
                for frame in frames:
                    out.append((self.clock(), frame))
                    answer = reply(frame)
                    if answer is not None:
                        self.give(answer)
            when = self.conn.next_timeout()
            if when is None or when > end:
                self.clock.advance_to(end)
                return out
            assert when >= self.clock(), "a timer in the past after a drain"
            self.clock.advance_to(when)
            self.conn.handle_timeout(self.clock())

    def cut(self) -> None:
        """The link is lost."""
        self.conn.link_closed(self.clock())

    def join(self) -> list[Frame]:
        """A new link; what is sent on it at once."""
        self.conn.link_opened(self.clock())
        return self.sent()

    @property
    def state(self) -> StreamState | None:
        """Of the usual stream."""
        return self.conn.stream_state(SID)

    @property
    def profile(self) -> Profile | None:
        """Of the usual stream."""
        return self.conn.profile(SID)


def assert_timers_exact(conn: RelayConnection) -> None:
    """`next_timeout` is the earliest deadline of all, found here by looking at every one."""
    times = [stream.next_deadline()[0] for stream in conn._streams.values()]
    pending = conn._pending.first()
    if pending is not None:
        times.append(pending[0])
    earliest = min(times, default=NEVER)
    assert conn.next_timeout() == (None if earliest == NEVER else earliest)


# -- streams brought to a certain point; nothing is left to be sent or read


def opening(config: RelayConfig | None = None) -> Wire:
    """An opener that has announced itself and knows nothing of its peer."""
    wire = Wire(Role.HARNESS, config)
    wire.conn.open_stream(SID)
    assert wire.sent() == [resume(1, OWN)]
    return wire


def open_opener(config: RelayConfig | None = None) -> Wire:
    """An opener and a reliable peer that know each other."""
    wire = opening(config)
    assert wire.talk(resume(1, PEER, OWN)) == [resume(1, OWN, PEER, True)]
    wire.events()
    assert wire.state is StreamState.OPEN
    return wire


def unconfirmed(config: RelayConfig | None = None) -> Wire:
    """An acceptor that has answered an opening and waits for the confirmation."""
    wire = Wire(Role.EXECUTOR, config)
    assert wire.talk(resume(1, PEER)) == [resume(1, ACCEPTED, PEER)]
    assert wire.state is StreamState.UNCONFIRMED
    return wire


def open_acceptor(config: RelayConfig | None = None) -> Wire:
    """An acceptor and a reliable opener that know each other."""
    wire = unconfirmed(config)
    assert wire.talk(resume(1, PEER, ACCEPTED, True)) == []
    wire.events()
    assert wire.state is StreamState.OPEN
    return wire


def open_end(role: Role, config: RelayConfig | None = None) -> Wire:
    """Either of the two."""
    return open_opener(config) if role is Role.HARNESS else open_acceptor(config)


def own_of(role: Role) -> int:
    """The incarnation of the usual stream at that end."""
    return OWN if role is Role.HARNESS else ACCEPTED


def basic_opener(config: RelayConfig | None = None) -> Wire:
    """An opener whose peer has proved basic by its first message."""
    wire = opening(config)
    assert wire.talk(data(0, b"hello")) == []
    wire.conn.consume(SID, 1)
    wire.events()
    assert wire.profile is Profile.BASIC
    return wire


def basic_acceptor(config: RelayConfig | None = None) -> Wire:
    """An acceptor whose opener has proved basic by its first message."""
    wire = Wire(Role.EXECUTOR, config)
    assert wire.talk(resume(0), data(0, b"hello")) == []
    wire.conn.consume(SID, 1)
    wire.events()
    assert wire.profile is Profile.BASIC
    return wire


def basic_end(role: Role, config: RelayConfig | None = None) -> Wire:
    """Either of the two."""
    return basic_opener(config) if role is Role.HARNESS else basic_acceptor(config)
