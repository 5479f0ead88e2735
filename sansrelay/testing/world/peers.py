"""The processes that hold links: a base that dials, and the peers that run `RelayConnection`."""

from abc import ABC, abstractmethod
from typing import Protocol

from ...config import RelayConfig
from ...connection import RelayConnection, Role
from ...events import (
    DataAcknowledged,
    DataReceived,
    Event,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
)
from .ends import Hook, MessageHook, StreamEnd
from .lanes import Link
from .oracle import Oracle
from .restraint import Restraint
from .stage import Stage

__all__ = ["Executor", "Harness", "Network", "Peer", "RelayPeer"]


class Network(Protocol):
    """How peers reach their hub."""

    def connect(self, peer: "Peer") -> Link | None:
        """A new link for `peer`, or None if it is refused."""
        ...

    def redial_delay(self) -> float:
        """Seconds before a peer dials again."""
        ...


class Peer(ABC):
    """A process that dials: it may crash and start again, without its state."""

    role: Role

    def __init__(
        self, stage: Stage, oracle: Oracle, network: Network, name: str, executor_id: str
    ) -> None:
        self.stage = stage
        self.oracle = oracle
        self.network = network
        self.name = name
        self.executor_id = executor_id
        self.config = RelayConfig()
        self.principal = name
        """As whom a harness is known to the rendezvous."""
        self.life = 0
        """Counts the lives of the process; changes when it dies and when it starts."""
        self.alive = False
        self.link: Link | None = None
        self.ends: dict[str, StreamEnd] = {}
        """The streams of this life, by id."""
        self.wants_link = True
        """Whether it dials when it has no link."""
        self.retired = False

    @property
    def machine(self) -> RelayConnection | None:
        """Its connection, if it runs one."""
        return None

    # -- life

    def start(self) -> None:
        """Begin a new life. Harmless while it lives, and once it is retired."""
        if self.alive or self.retired:
            return
        self.life += 1
        self.alive = True
        self.ends = {}
        self.stage.note(self.name, f"starts, life {self.life}")
        self.oracle.life_began(self)
        self._born()
        self.dial()

    def crash(self) -> Link | None:
        """Die, without a word to anyone. Returns the link that it had: its hub still has it."""
        self.stage.note(self.name, "crashes")
        self.oracle.life_ended(self)
        self.life += 1
        self.alive = False
        link, self.link = self.link, None
        if link is not None:
            link.peer_open = False  # what it has sent still arrives
        return link

    @abstractmethod
    def _born(self) -> None:
        """A life begins."""

    # -- links

    def dial(self) -> None:
        """Open a link, now; if that fails, try again later."""
        if not self.alive or self.link is not None or not self.wants_link:
            return
        link = self.network.connect(self)
        if link is None:
            self._dial_later()
            return
        self.link = link
        self.stage.note(self.name, f"link {link.number} to {link.hub.name} is up")
        self._link_opened()

    def _dial_later(self) -> None:
        self.stage.after(self.network.redial_delay(), self.dial)

    def link_lost(self, link: Link) -> None:
        """The peer has learnt that a link is gone."""
        self.link = None
        self.stage.note(self.name, f"link {link.number} is gone")
        self._link_closed()
        self._dial_later()

    @abstractmethod
    def _link_opened(self) -> None:
        """There is a link."""

    @abstractmethod
    def _link_closed(self) -> None:
        """There is none any more."""

    @abstractmethod
    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Frames have arrived on a link."""

    def lane_drained(self) -> None:
        """The link takes frames again."""
        self.settle()

    @abstractmethod
    def settle(self) -> None:
        """Send what there is to send."""


class RelayPeer(Peer):
    """A process around one `RelayConnection`, driven as its documentation says."""

    def __init__(
        self,
        stage: Stage,
        oracle: Oracle,
        network: Network,
        name: str,
        executor_id: str,
        *,
        config: RelayConfig,
        on_open: Hook | None,
        on_message: MessageHook | None,
        on_end: Hook | None,
    ) -> None:
        super().__init__(stage, oracle, network, name, executor_id)
        self.config = config
        self.read_delay = 0.0
        """Seconds before the application takes over a message."""
        self.timer_lag = 0.0
        """Seconds by which timers are late."""
        self._on_open = on_open
        self._on_message = on_message
        self._on_end = on_end
        self._armed: float | None = None
        self._settling = False
        self.conn: RelayConnection

    def _born(self) -> None:
        self.conn = RelayConnection(
            self.role, incarnation=self.stage.dice.incarnation(), config=self.config
        )
        self._armed = None
        self._restraint = Restraint(self.name, self.oracle)

    @property
    def machine(self) -> RelayConnection | None:
        """Its connection."""
        return self.conn

    # -- the world happens

    def _link_opened(self) -> None:
        self._restraint.link_opened()
        self.conn.link_opened(self.stage.now)
        self.settle()

    def _link_closed(self) -> None:
        self.conn.link_closed(self.stage.now)
        self.settle()

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Frames have arrived; those of a link that was given up are not looked at."""
        now = self.stage.now
        for frame in frames:
            if link is not self.link:
                return
            self.oracle.arrived(self, frame)
            self._restraint.heard(self.conn, frame)
            self.conn.receive_frame(frame, now)
            self.settle()

    def _on_timer(self, life: int, due_then: float) -> None:
        if life != self.life or due_then != self._armed:
            return  # an earlier one has taken its place
        self._armed = None
        now = self.stage.now
        due = self.conn.next_timeout()
        if due is not None and due <= now:
            self.conn.handle_timeout(now)
            self.settle()
            self.oracle.timer_handled(self.name, self.conn.next_timeout())
        else:
            self._arm()

    def _arm(self) -> None:
        due = self.conn.next_timeout()
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = due
            self.stage.at(due + self.timer_lag, self._on_timer, self.life, due)

    def settle(self) -> None:
        """Drain the connection: frames, events, next timeout."""
        if self._settling or not self.alive:
            return
        self._settling = True
        try:
            conn = self.conn
            now = self.stage.now
            emitted = self.oracle.emitted
            said = self._restraint.said
            busy = True
            while busy:
                busy = False
                link = self.link
                if link is not None and (room := link.up.room()):
                    for frame in conn.frames_to_send(now, room):
                        busy = True
                        emitted(self, frame)
                        said(conn, frame)
                        link.up.send(frame)
                while (event := conn.next_event()) is not None:
                    busy = True
                    self._handle(event)
                    if conn is not self.conn or not self.alive:
                        return  # a hook ended this life
        finally:
            self._settling = False
        self._arm()
        self.oracle.settled(self)

    def _handle(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._received(self.ends[event.stream_id], event.data)
        elif isinstance(event, DataAcknowledged):
            end = self.ends[event.stream_id]
            end.acknowledged = event.message_id
            self.oracle.acknowledged(end)
        elif isinstance(event, SendCapacityAvailable):
            self.push(self.ends[event.stream_id])
        elif isinstance(event, StreamReset):
            self._ended(self.ends[event.stream_id], event)
        elif isinstance(event, StreamOpened):
            self._opened(event)

    @abstractmethod
    def _opened(self, event: StreamOpened) -> None:
        """A stream is open, and it is known what its peer can do."""

    def _received(self, end: StreamEnd, data: bytes) -> None:
        end.received.append(data)
        end.unread.append(data)
        self.stage.note(self.name, f"{end.stream_id}: message {len(end.received)} received")
        self.oracle.delivered(self, end, data)
        if not end.reading:
            return
        if self.read_delay:
            self.stage.after(self.read_delay, self._take_one, end)
        else:
            self._take_one(end)

    def _ended(self, end: StreamEnd, event: StreamReset) -> None:
        end.ended = event
        end.ended_at = self.stage.now
        before = end.acknowledged
        end.acknowledged = len(end.sent) - len(event.unknown) - len(event.never_sent)
        end.unread.clear()
        self.stage.note(self.name, f"{end.stream_id}: ended, {event.reason!r} by {event.by.value}")
        self.oracle.ended(self, end, before)
        if self._on_end is not None:
            self._on_end(end)

    # -- the application wants

    def _take_one(self, end: StreamEnd) -> None:
        if not (end.live and end.reading and end.unread):
            return
        data = end.unread.popleft()
        self.conn.consume(end.stream_id, 1)
        end.consumed += 1
        if self._on_message is not None:
            self._on_message(end, data)
        self.settle()

    def take(self, end: StreamEnd) -> None:
        """Let the application take over what it has not read."""
        while end.unread and end.reading and end.live:
            self._take_one(end)

    def push(self, end: StreamEnd) -> None:
        """Hand the outbox to the connection, as far as there is room."""
        conn, stream_id, outbox = self.conn, end.stream_id, end.outbox
        while outbox and len(outbox[0]) <= conn.send_capacity(stream_id):
            data = outbox.popleft()
            message_id = conn.send_data(stream_id, data)
            end.sent.append(data)
            assert message_id == len(end.sent), "message ids count from 1"
        if not outbox and end.close_when_sent is not None:
            reason, end.close_when_sent = end.close_when_sent, None
            conn.close_stream(stream_id, reason)
        self.settle()

    def close(self, end: StreamEnd, reason: str) -> None:
        """Close the stream once the outbox is empty and everything is acknowledged."""
        end.close_when_sent = reason
        self.push(end)

    def reset(self, end: StreamEnd, reason: str) -> None:
        """End the stream at once."""
        self.conn.reset_stream(end.stream_id, reason)
        self.settle()


class Harness(RelayPeer):
    """A peer that opens streams."""

    role = Role.HARNESS

    def open_stream(self) -> StreamEnd:
        """Open a stream to the executor; messages may be sent at once.

        Raises `ValueError` if the process is dead, `LocalProtocolError` beyond `max_streams`.
        """
        if not self.alive:
            raise ValueError(f"{self.name} has crashed; restart it first")
        stream_id = self.oracle.fresh_stream_id(self)
        self.conn.open_stream(stream_id)
        end = self.ends[stream_id] = StreamEnd(self, stream_id, self.stage.now)
        self.stage.note(self.name, f"{stream_id}: opens")
        self.oracle.opened(self, end)
        self.settle()
        return end

    def _opened(self, event: StreamOpened) -> None:
        end = self.ends[event.stream_id]
        end.profile = event.profile
        if self._on_open is not None:
            self._on_open(end)


class Executor(RelayPeer):
    """A peer that accepts streams."""

    role = Role.EXECUTOR

    def _opened(self, event: StreamOpened) -> None:
        end = self.ends[event.stream_id] = StreamEnd(self, event.stream_id, self.stage.now)
        end.profile = event.profile
        self.oracle.opened(self, end)
        if self._on_open is not None:
            self._on_open(end)
