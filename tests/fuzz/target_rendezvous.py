"""Frames -> rendezvous, on links of two executor ids and two principals."""

from collections import Counter
from typing import Final

from fuzz.frame_choice import choose_frame, raw_frame
from fuzz.program import Program
from fuzz.refusals import refusal
from fuzz.states import CONFIGS
from fuzz.valid_frames import VALID
from sansrelay.codec import RoutingHeader, decode_frame, read_header
from sansrelay.errors import FrameCause, LocalCause, ResetReason
from sansrelay.fairqueue import FRAME_COST, STREAM_COST
from sansrelay.frames import InvalidFrame, ResetFrame
from sansrelay.rendezvous import (
    DropCause,
    LinkRefusal,
    LinkSuperseded,
    Rendezvous,
    RendezvousConfig,
    RouteEnded,
    RouteEndedBy,
    RouteOpened,
)

__all__ = ["CONFIG_CHOICES", "Crossing", "play", "seeds"]

_TIGHT: Final = RendezvousConfig(
    relay=CONFIGS[1],
    max_links=5,
    max_harness_links=3,
    max_links_per_principal=2,
    max_routes=4,
    max_routes_per_principal=3,
    max_ended_routes=2,
    resets_per_second=2.0,
    link_queue_size=512 + FRAME_COST + STREAM_COST,
    stream_queue_size=600,
    total_queue_size=3000,
    reset_queue_size=300,
    executor_grace=5.0,
    harness_grace=3.0,
    ended_route_ttl=20.0,
)
CONFIG_CHOICES: Final = (RendezvousConfig(), _TIGHT)
_EXECUTOR_IDS: Final = ("box", "bed")
_PRINCIPALS: Final = ("alice", "bob")
_LINKS: Final = 8
_PAUSES: Final = (0.01, 1.0, 3.0, 6.0, 121.0, 301.0)
_STREAM_IDS: Final = ("s1", "s2", "s3", "s4", "s5", "another stream")
_BUDGETS: Final = (1, 64, 600, 1 << 20)


class Crossing:
    """A rendezvous, its links, and whose streams are whose."""

    def __init__(self, config: RendezvousConfig) -> None:
        self.machine = Rendezvous(config)
        self.now = 0.0
        self.bytes_in = 0
        self.links: dict[int, tuple[str, str | None]] = {}
        """Executor id, and principal of a harness."""
        self._config = config
        self._superseded: set[int] = set()
        self._frames: Counter[bytes] = Counter()
        self._owners: dict[tuple[str, str], set[str]] = {}
        self._routes: set[tuple[str, str]] = set()
        self._received = 0
        self._may_get_data: set[tuple[int, str]] = set()
        """Executor links with the streams that began on them or that they have resumed."""

    # -- what happens

    def open(self, link: int, executor_id: str, principal: str | None) -> None:
        """A link opens, unless it is open or refused."""
        machine, now = self.machine, self.now
        refused: LinkRefusal | None = None

        def call() -> None:
            nonlocal refused
            if principal is None:
                refused = machine.executor_opened(link, executor_id, now)
            else:
                refused = machine.harness_opened(link, executor_id, principal, now)

        was_open = link in self.links
        assert refusal(call) is (LocalCause.LINK_STATE if was_open else None)
        if refused is not None:
            assert isinstance(refused, LinkRefusal)
        elif not was_open:
            self.links[link] = executor_id, principal
        self.settle()

    def close(self, link: int) -> None:
        """A link closes; if it is not open, that is refused."""
        was_open = link in self.links
        cause = refusal(lambda: self.machine.link_closed(link, self.now))
        assert cause is (None if was_open else LocalCause.LINK_STATE)
        if was_open:
            del self.links[link]
            self._superseded.discard(link)
            self._may_get_data = {each for each in self._may_get_data if each[0] != link}
        self.settle()

    def receive(self, link: int, data: bytes) -> None:
        """A frame comes in on an open link."""
        if link not in self.links:
            return
        self.bytes_in += len(data)
        self._received += 1
        self._frames[data] += 1
        before = self.machine.stats()
        self.machine.receive_frame(link, data, self.now)
        after = self.machine.stats()
        forwarded = after.frames_forwarded - before.frames_forwarded
        dropped = sum(after.dropped.values()) - sum(before.dropped.values())
        assert forwarded in (0, 1)
        assert forwarded or dropped, "a frame is gone, and nobody counted it"
        header = read_header(data, self._config.relay)
        if isinstance(header, InvalidFrame) and link not in self._superseded:
            assert after.dropped[header.cause] == before.dropped.get(header.cause, 0) + 1
            assert not forwarded
        if not isinstance(header, InvalidFrame):
            self._note_resume(link, header)
        self.settle()

    def _note_resume(self, link: int, header: RoutingHeader) -> None:
        executor_id, principal = self.links[link]
        stream_id = header.stream_id
        if principal is None:
            if header.body == "resume" and header.next_seq:
                self._may_get_data.add((link, stream_id))
        elif (executor_id, stream_id) not in self._routes:
            if header.body == "reset":  # whose route may have been lost elsewhere
                self._owners.setdefault((executor_id, stream_id), set()).add(principal)
            is_new = not header.peer_incarnation and header.next_seq < 2
            for executor, (its_id, owner) in self.links.items():
                if is_new and owner is None and its_id == executor_id:
                    self._may_get_data.add((executor, stream_id))

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.settle()

    def wait_for_timer(self) -> None:
        """Time passes until the next deadline."""
        self.now = max(self.now, self.machine.next_timeout() or 0.0)
        self.settle()

    # -- the drain, and what must hold after it

    def settle(self) -> None:
        """Serve what is due and take the events; frames stay in their queues."""
        self.machine.handle_timeout(self.now)
        when = self.machine.next_timeout()
        assert when is None or when > self.now, "a timer in the past"
        while (event := self.machine.next_event()) is not None:
            if isinstance(event, RouteOpened):
                key = event.executor_id, event.stream_id
                assert key not in self._routes
                self._routes.add(key)
                self._owners.setdefault(key, set()).add(event.principal)
            elif isinstance(event, RouteEnded):
                self._routes.remove((event.executor_id, event.stream_id))
                assert isinstance(event.by, RouteEndedBy)
                assert event.reason
            else:
                assert isinstance(event, LinkSuperseded)
                self._superseded.add(event.link)
        self._check_limits()

    def take(self, link: int, max_bytes: int) -> None:
        """A link takes some of what is queued for it."""
        if link not in self.links:
            return
        frames = self.machine.frames_to_send(link, max_bytes)
        assert len(frames) <= 1 or sum(map(len, frames)) <= max_bytes
        for data in frames:
            self._check_delivery(link, data)

    def take_all(self) -> None:
        """Every link takes all that is queued for it."""
        for link in self.machine.links_with_output():
            while frames := self.machine.frames_to_send(link, 1 << 20):
                for data in frames:
                    self._check_delivery(link, data)
        assert not self.machine.links_with_output()

    def _check_delivery(self, link: int, data: bytes) -> None:
        assert link not in self._superseded, "a superseded link gets nothing"
        frame = decode_frame(data, self._config.relay)
        if isinstance(frame, ResetFrame):
            if frame.reason in set(ResetReason):
                return  # perhaps one of its own, for a stream that has no route
            # A reset that has ended a route is said again, whatever its words.
        else:
            assert self._frames[data], "what comes out did not come in, or came in less often"
            self._frames[data] -= 1
        executor_id, principal = self.links[link]
        header = read_header(data, self._config.relay)
        assert not isinstance(header, InvalidFrame)
        owners = self._owners[executor_id, header.stream_id]
        assert principal is None or principal in owners, "another principal's stream"
        if principal is None and header.body not in ("resume", "reset"):
            resumed = (link, header.stream_id) in self._may_get_data
            assert resumed, "data for an executor that has not resumed the stream"

    def _check_limits(self) -> None:
        config, stats = self._config, self.machine.stats()
        assert stats.routes == len(self._routes) <= config.max_routes
        links = stats.executor_links + stats.harness_links
        assert links == len(self.links) - len(self._superseded) <= config.max_links
        for cause in stats.dropped:
            assert isinstance(cause, (DropCause, FrameCause))
        assert stats.ended_routes <= config.max_ended_routes
        queues = [link.queue for link in self.machine._links._open.values()]
        reserve_used = sum(queue._reserve_used for queue in queues)
        assert stats.bytes_queued == sum(queue.size for queue in queues) - reserve_used
        assert 0 <= stats.bytes_queued <= config.total_queue_size
        for link in self.machine._links._open.values():
            assert 0 <= link.queue.size <= config.link_queue_size + config.reset_queue_size

    # -- for the bound on memory

    @property
    def live_streams(self) -> int:
        """Routes, links, and streams with something queued."""
        links = self.machine._links._open.values()
        return len(self._routes) + len(links) + sum(len(link.queue._streams) for link in links)

    @property
    def held_segments(self) -> int:
        """Frames that were taken in; those queued are among them."""
        return self._received


def play(data: bytes) -> Crossing:
    """One input."""
    program = Program(data)
    crossing = Crossing(program.pick(CONFIG_CHOICES))
    crossing.open(0, "box", None)
    crossing.open(1, "box", "alice")
    crossing.open(2, "box", "bob")
    last = b""
    while program.goes_on():
        action = program.byte() % 12
        link = program.byte() % _LINKS
        match action:
            case 0:
                crossing.open(link, program.pick(_EXECUTOR_IDS), None)
            case 1:
                crossing.open(link, program.pick(_EXECUTOR_IDS), program.pick(_PRINCIPALS))
            case 2:
                crossing.close(link)
            case 3:
                crossing.wait(program.pick(_PAUSES))
            case 4:
                crossing.wait_for_timer()
            case 5:
                crossing.take(link, program.pick(_BUDGETS))
            case 6:
                crossing.take_all()
            case 7:
                for _ in range(1 + program.byte() % 16):
                    crossing.receive(link, last)
            case _:
                last = choose_frame(program, _STREAM_IDS)
                crossing.receive(link, last)
    return crossing


def seeds() -> list[bytes]:
    """Every valid frame from each side, and what happens to links meanwhile."""
    found = []
    for config in range(len(CONFIG_CHOICES)):
        for first in range(len(VALID)):
            pair = [VALID[first], VALID[first - 7]]
            steps = [bytes([8, link]) + raw_frame(frame) for frame in pair for link in (1, 0, 2)]
            steps.insert(3, bytes([6, 0]))
            events = [bytes([0, 3, 0]), bytes([2, 1]), bytes([1, 4, 0, 0]), bytes([4, 0])]
            steps += events[first % 4 :]
            steps.append(bytes([8, 4]) + raw_frame(VALID[first - 11]))
            found.append(bytes([config]) + b"".join(steps))
        # Many routes of both principals, then links that come and go.
        openings = [
            bytes([8, 1 + stream % 2, 7, stream, 0, 0, 1, 0, 0, 1, 6, 0]) for stream in range(6)
        ]
        answers = [bytes([8, 0, 7, stream, 0, 0, 2, 1, 0, 1, 6, 0]) for stream in range(6)]
        closing = [bytes([2, link]) for link in (1, 0, 2)] + [bytes([4, 0])] * 8
        again = bytes([1, 1, 0, 0, 0, 0, 0])
        for first in range(3):
            steps = [*openings, *answers, *closing[first:], again, *openings, *answers]
            found += [bytes([config]) + b"".join(steps)]
    return found
