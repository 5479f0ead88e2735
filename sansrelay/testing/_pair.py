"""A harness and an executor, joined by a simulated link under a fake clock."""

from collections.abc import Callable
from typing import TypeVar

from ..config import RelayConfig
from ..connection import LinkState, RelayConnection, Role
from ..events import DataReceived, Event, StreamReset
from ._clock import FakeClock
from ._link import SimulatedLink

__all__ = ["End", "RelayPair"]

E = TypeVar("E", bound=Event)


class End:
    """One end of a pair: its connection, and all it has said so far."""

    def __init__(self, conn: RelayConnection) -> None:
        self.conn = conn
        self.events: list[Event] = []
        self.received: dict[str, list[bytes]] = {}
        self.ended: dict[str, StreamReset] = {}
        self.reading = True
        """Whether each message is consumed as soon as it is received."""
        self._unread: list[str] = []

    def events_of(self, kind: type[E]) -> list[E]:
        """The events of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def read(self) -> None:
        """Consume what was received while `reading` was off."""
        unread, self._unread = self._unread, []
        for stream_id in unread:
            if stream_id not in self.ended:
                self.conn.consume(stream_id, 1)

    def drain_events(self) -> None:
        """Take all events of the connection."""
        while (event := self.conn.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, DataReceived):
                self.received.setdefault(event.stream_id, []).append(event.data)
                self._unread.append(event.stream_id)
            elif isinstance(event, StreamReset):
                self.ended[event.stream_id] = event
        if self.reading:
            self.read()


class RelayPair:
    """Runs two ends until they come to rest, or until a condition holds.

    The link is up from the start. `cut` loses what is under way and closes it at both ends, `join`
    opens it again.
    """

    def __init__(
        self,
        *,
        config: RelayConfig | None = None,
        executor_config: RelayConfig | None = None,
        link: SimulatedLink | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.link = link or SimulatedLink()
        self._executor_config = executor_config or config
        self.harness = End(RelayConnection(Role.HARNESS, incarnation=0xA1, config=config))
        self.restart_executor(0xB10000)
        self.steps = 0
        self.join()

    def join(self) -> None:
        """Open a link at both ends."""
        for end in self.ends:
            end.conn.link_opened(self.clock())

    def cut(self) -> int:
        """Lose the link and everything under way; returns how many frames that were."""
        lost = self.link.cut()
        for end in self.ends:
            if end.conn.state is LinkState.UP:
                end.conn.link_closed(self.clock())
                end.drain_events()
        return lost

    def restart_executor(self, incarnation: int, config: RelayConfig | None = None) -> None:
        """The executor loses all its state; call `cut` before and `join` after.

        Without a config it keeps the one it had at the start.
        """
        config = config or self._executor_config
        self.executor = End(RelayConnection(Role.EXECUTOR, incarnation=incarnation, config=config))
        self.ends = (self.harness, self.executor)

    def step(self, limit: float = float("inf")) -> bool:
        """Go to the next moment at which something happens. False if nothing does until `limit`."""
        self._send()
        times = [t for end in self.ends if (t := end.conn.next_timeout()) is not None]
        arrival = self.link.next_arrival()
        if arrival is not None:
            times.append(arrival)
        if not times or min(times) > limit:
            return False
        self.steps += 1
        self.clock.advance_to(min(times))
        now = self.clock()
        for direction, end in ((1, self.harness), (0, self.executor)):
            for frame in self.link.arrivals(direction, now):
                end.conn.receive_frame(frame, now)
            timeout = end.conn.next_timeout()
            if timeout is not None and timeout <= now:
                end.conn.handle_timeout(now)
        self._send()
        return True

    def run(
        self,
        seconds: float = 60.0,
        *,
        until: Callable[[], bool] | None = None,
        steps: int = 1_000_000,
    ) -> bool:
        """Run for some simulated seconds, or until a condition holds; says whether it holds.

        Without a condition, True means that the two came to rest: no timer, nothing under way.
        """
        end = self.clock() + seconds
        for _ in range(steps):
            self._send()
            if until is not None and until():
                return True
            if not self.step(end):
                self.clock.advance_to(end)
                return until is None or until()
        return False

    def _send(self) -> None:
        now = self.clock()
        for direction, end in enumerate(self.ends):
            while frames := end.conn.frames_to_send(now):
                for frame in frames:
                    self.link.send(direction, frame, now)
                end.drain_events()
            end.drain_events()
            # Consuming may have made an ack due.
            for frame in end.conn.frames_to_send(now):
                self.link.send(direction, frame, now)
            end.drain_events()
