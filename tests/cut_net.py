"""A harness, a rendezvous and an executor under one clock, that lose links when they are told to.

Two applications talk by a script. The same script and the same cuts give the same run, frame by
frame, so a run that fails is repeated by `run_script` with the cuts that its message names.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from typing import Any, Final

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    Event,
    Outcome,
    RelayConfig,
    RelayConnection,
    ResetReason,
    Role,
    StreamOpened,
    StreamReset,
)
from sansrelay.codec import RoutingHeader, read_header
from sansrelay.rendezvous import Rendezvous, RendezvousConfig

CONFIG: Final = RelayConfig(
    segment_size=100, send_window_segments=12, opening_window_segments=4, initial_rto=0.5
)
"""Windows that close, and segments small enough for a message to have many."""
DELAY: Final = 0.01
"""Seconds that a frame takes over one link."""
SOON: Final = 30.0
"""Seconds in which the script is done, whatever was cut: without waiting for a time-out."""
_LONG: Final = 10_000.0
_EXECUTOR_ID: Final = "exec"


# -- the script


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """What is said on one stream: turns, each with the messages of the harness and the executor.

    A side says its part of a turn once it has heard all of the peer's part of the turn before.
    """

    turns: Sequence[tuple[Sequence[bytes], Sequence[bytes]]]
    closer: Role = Role.HARNESS
    """Closes the stream when it has heard all."""
    cancel_after: int | None = None
    """The harness resets the stream instead, when it has heard that many messages."""

    def said_by(self, role: Role) -> list[bytes]:
        """All messages of one side."""
        return [message for turn in self.turns for message in turn[role is Role.EXECUTOR]]


Script = Mapping[str, Talk]


class Side(Enum):
    """Which links are lost."""

    HARNESS = "harness link"
    EXECUTOR = "executor link"
    BOTH = "both links"
    RENDEZVOUS = "rendezvous with both links"


class Notice(Enum):
    """Who learns of the loss, and when."""

    AT_ONCE = "noticed at once"
    END_LATE = "noticed late by the end"
    RENDEZVOUS_LATE = "noticed by the rendezvous after the next link has come"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Links are lost, with all that is under way, once so many frames have arrived over them."""

    side: Side
    after: int
    notice: Notice = Notice.AT_ONCE

    def __str__(self) -> str:
        return f"{self.side.value} lost after frame {self.after}, {self.notice.value}"


# -- the applications


class App:
    """One side of the script, on a connection of its own."""

    def __init__(self, role: Role, script: Script, config: RelayConfig) -> None:
        other = Role.EXECUTOR if role is Role.HARNESS else Role.HARNESS
        self.role = role
        self.conn = RelayConnection(
            role, incarnation=0xA1 if role is Role.HARNESS else 0xB10000, config=config
        )
        self.peer = self
        self.opened: set[str] = set()
        self.received: dict[str, list[bytes]] = {sid: [] for sid in script}
        self.sent = dict.fromkeys(script, 0)
        self.ended: dict[str, StreamReset] = {}
        self._script = script
        self._expected = {sid: talk.said_by(other) for sid, talk in script.items()}
        self._turn = dict.fromkeys(script, 0)
        self._spoken: set[tuple[str, int]] = set()

    def begin(self) -> None:
        """Open all streams and say the first words on them."""
        for sid in self._script:
            self.conn.open_stream(sid)
            self._go_on(sid)

    def drain_events(self) -> None:
        """Take all events, and do what the script says next."""
        while (event := self.conn.next_event()) is not None:
            self._take(event)

    def has_all(self, sid: str) -> bool:
        """Whether everything that the peer has to say has come."""
        return len(self.received[sid]) == len(self._expected[sid])

    def outcomes(self, sid: str) -> list[Outcome]:
        """What this side was told of its messages on a stream that has ended; none if it was
        never told of the stream."""
        end = self.ended.get(sid)
        if end is None:
            assert sid not in self.opened, f"{sid} never ended at {self.role}"
            return []
        assert end.unknown.stop == end.never_sent.start, f"{end}"
        assert end.never_sent.stop == self.sent[sid] + 1, f"{end}: {self.sent[sid]} were sent"
        return [end.outcome(number) for number in range(1, self.sent[sid] + 1)]

    def _take(self, event: Event) -> None:
        sid = getattr(event, "stream_id", None)
        assert sid is None or sid not in self.ended, f"{event} after the end"
        if isinstance(event, StreamOpened):
            assert event.stream_id not in self.opened, f"{event} twice"
            self.opened.add(event.stream_id)
            if self.role is Role.EXECUTOR:
                self._go_on(event.stream_id)
        elif isinstance(event, DataReceived):
            self._hear(event.stream_id, event.data)
        elif isinstance(event, DataAcknowledged):
            heard = len(self.peer.received[event.stream_id])
            assert event.message_id <= heard, f"{event}, but {heard} were taken over"
        elif isinstance(event, StreamReset):
            self.ended[event.stream_id] = event

    def _hear(self, sid: str, data: bytes) -> None:
        received = self.received[sid]
        expected = self._expected[sid][len(received) :]
        assert expected[:1] == [data], f"{self.role} got {data!r} on {sid}, not {expected[:1]}"
        received.append(data)
        self.conn.consume(sid, 1)
        if self.role is Role.HARNESS and self._script[sid].cancel_after == len(received):
            self.conn.reset_stream(sid)
        else:
            self._go_on(sid)

    def _go_on(self, sid: str) -> None:
        talk = self._script[sid]
        mine = int(self.role is Role.EXECUTOR)
        while (turn := self._turn[sid]) < len(talk.turns):
            if (sid, turn) not in self._spoken:
                self._spoken.add((sid, turn))
                for message in talk.turns[turn][mine]:
                    self.sent[sid] += 1
                    assert self.conn.send_data(sid, message) == self.sent[sid], "message id"
            if len(self.received[sid]) < sum(len(t[1 - mine]) for t in talk.turns[: turn + 1]):
                return
            self._turn[sid] += 1
        if talk.cancel_after is None and talk.closer is self.role:
            self.conn.close_stream(sid)


# -- the network


class _Hop:
    """What lies between one end and the rendezvous: one link after another."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.link = 0
        """The link that the end has, or had last; the rendezvous knows it by the same number."""
        self.alive = False
        """Whether that link carries frames."""
        self.frames = 0
        """How many have arrived, at either end."""


class Net:
    """One run of a script, with its cuts."""

    def __init__(
        self, script: Script, cuts: Sequence[Cut] = (), config: RelayConfig = CONFIG
    ) -> None:
        self.now = 0.0
        self.script = script
        self.harness = App(Role.HARNESS, script, config)
        self.executor = App(Role.EXECUTOR, script, config)
        self.harness.peer, self.executor.peer = self.executor, self.harness
        self.rendezvous = Rendezvous(RendezvousConfig(relay=config))
        self.may_end_early: set[str] = set()
        """Streams that were still opening when a link was lost: the rendezvous may end them."""
        self.lost_resets: set[tuple[str, Role]] = set()
        """Streams with a reset that got lost, and who sent it. A reset is never acknowledged."""
        self.frames_at_cuts: list[dict[Side, int]] = []
        """What `frames` said at each cut so far."""
        self._config = config
        self._cuts = list(cuts)
        self._harness_hop, self._executor_hop = _Hop(self.harness), _Hop(self.executor)
        self._hops: dict[int, _Hop] = {}
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        for hop in (self._executor_hop, self._harness_hop):
            self._dial(hop)
        self.harness.begin()
        self._cut_if_due()

    def frames(self, side: Side) -> int:
        """Frames that have arrived so far over the links of that side."""
        return sum(hop.frames for hop in self._hops_of(side))

    # -- time

    def run(self, seconds: float) -> None:
        """Until nothing is left to happen, or so much time has passed."""
        end = self.now + seconds
        machines = self.harness.conn, self.executor.conn
        while True:
            self._pump()
            times = [machine.next_timeout() for machine in (*machines, self.rendezvous)]
            when = min((time for time in times if time is not None), default=end)
            if self._agenda and self._agenda[0][0] <= when:
                when, _, action, args = heappop(self._agenda)
                self.now = max(self.now, when)
                action(*args)
            elif when < end:
                self.now = when
                for machine in (*machines, self.rendezvous):
                    machine.handle_timeout(when)
            else:
                self.now = end
                return

    def _later(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heappush(self._agenda, (self.now + seconds, self._serial, action, args))

    # -- frames

    def _pump(self) -> None:
        """Everything that is to be sent now gets under way."""
        for hop in (self._harness_hop, self._executor_hop):
            hop.app.drain_events()
            while frames := hop.app.conn.frames_to_send(self.now):
                for frame in frames:
                    self._later(DELAY, self._arrive, hop, hop.link, True, frame)
                hop.app.drain_events()
        for link in self.rendezvous.links_with_output():
            hop = self._hops[link]
            for frame in self.rendezvous.frames_to_send(link, 1 << 30):
                self._later(DELAY, self._arrive, hop, link, False, frame)

    def _arrive(self, hop: _Hop, link: int, inwards: bool, frame: bytes) -> None:
        if link != hop.link or not hop.alive:
            self._note_lost(hop, inwards, frame)
            return
        if inwards:
            forwarded = self.rendezvous._frames_forwarded
            self.rendezvous.receive_frame(link, frame, self.now)
            if forwarded == self.rendezvous._frames_forwarded:
                self._note_lost(hop, inwards, frame)
        else:
            hop.app.conn.receive_frame(frame, self.now)
        hop.frames += 1
        self._cut_if_due()

    def _note_lost(self, hop: _Hop, inwards: bool, frame: bytes) -> None:
        header = read_header(frame, self._config)
        assert isinstance(header, RoutingHeader), f"{header}"
        if header.body == "reset":
            from_harness = inwards is (hop is self._harness_hop)
            sender = Role.HARNESS if from_harness else Role.EXECUTOR
            self.lost_resets.add((header.stream_id, sender))

    # -- links

    def _hops_of(self, side: Side) -> list[_Hop]:
        if side is Side.HARNESS:
            return [self._harness_hop]
        if side is Side.EXECUTOR:
            return [self._executor_hop]
        return [self._harness_hop, self._executor_hop]

    def _cut_if_due(self) -> None:
        while self._cuts and self.frames(self._cuts[0].side) >= self._cuts[0].after:
            self._pump()  # what is sent at this moment is lost too
            self.frames_at_cuts.append({side: self.frames(side) for side in Side})
            self._cut(self._cuts.pop(0))

    def _cut(self, cut: Cut) -> None:
        hops = [hop for hop in self._hops_of(cut.side) if hop.alive]
        self._note_what_may_end({hop.app.role for hop in hops})
        for hop in hops:
            hop.alive = False
            # Not at the same time, so that each is the first now and then.
            patience = 0.3 if hop is self._harness_hop else 0.2
            if cut.notice is Notice.END_LATE:
                self._later(patience, self._lose, hop)
            else:
                self._lose(hop)
            if cut.side is not Side.RENDEZVOUS:
                patience_there = 0.5 if cut.notice is Notice.RENDEZVOUS_LATE else 0.0
                self._later(patience_there, self._lose_there, hop.link)
            self._later(patience, self._dial, hop)
        if cut.side is Side.RENDEZVOUS:
            self.rendezvous = Rendezvous(RendezvousConfig(relay=self._config))

    def _note_what_may_end(self, lost: set[Role]) -> None:
        """A route ends with a link if it is not known to be reliable on the side that matters."""
        executor = self.rendezvous._table.find(_EXECUTOR_ID)
        for sid in self.script.keys() - self.harness.opened:
            route = executor.routes.get(sid) if executor is not None else None
            if route is None:
                # Its opening may come when there is no executor.
                may_end = Role.EXECUTOR in lost
            else:
                may_end = not (route.reliable if Role.HARNESS in lost else route.executor_reliable)
            if may_end:
                self.may_end_early.add(sid)

    def _lose(self, hop: _Hop) -> None:
        hop.app.conn.link_closed(self.now)

    def _lose_there(self, link: int) -> None:
        self.rendezvous.link_closed(link, self.now)

    def _dial(self, hop: _Hop) -> None:
        hop.link = len(self._hops) + 1
        hop.alive = True
        self._hops[hop.link] = hop
        if hop is self._harness_hop:
            self.rendezvous.harness_opened(hop.link, _EXECUTOR_ID, "alice", self.now)
        else:
            self.rendezvous.executor_opened(hop.link, _EXECUTOR_ID, self.now)
        hop.app.conn.link_opened(self.now)


# -- what must hold


def run_script(script: Script, *cuts: Cut, config: RelayConfig = CONFIG) -> Net:
    """Run a script to its end, and check the promises."""
    try:
        net = Net(script, cuts, config)
        net.run(SOON)
        for sid in script:
            _check_stream(net, sid, patient=False)
        net.run(_LONG)
        for sid in script:
            _check_stream(net, sid, patient=True)
            _check_truth(net, sid)
        _check_rest(net)
    except AssertionError as error:
        raise AssertionError(f"[{'; '.join(map(str, cuts))}] {error}") from error
    return net


def _check_stream(net: Net, sid: str, *, patient: bool) -> None:
    """All that was said has arrived, and the stream has ended at both sides as the script says.

    A side that the script's reset does not reach goes on for a while. If that was the harness's,
    the executor can't ask for it again: the rendezvous knows of no route any more.
    """
    if _ended_early(net, sid):
        return
    talk = net.script[sid]
    cancelled = talk.cancel_after is not None
    reason = ResetReason.CANCELLED if cancelled else ResetReason.CLOSED
    closer = Role.HARNESS if cancelled else talk.closer
    reset_lost = (sid, closer) in net.lost_resets
    for app in (net.harness, net.executor):
        assert cancelled or app.has_all(sid), f"{sid}: {app.role} has not got all"
        end = app.ended.get(sid)
        if end is None:
            late = reset_lost and app.role is not closer and not patient
            assert late, f"{sid} has not ended at {app.role}"
        elif end.known_reason is not reason:
            orphan = reset_lost and app.role is Role.EXECUTOR and closer is Role.HARNESS
            assert orphan, f"{end} at {app.role}"
            assert end.known_reason in _ORPHANED, f"{end} at {app.role}"
        else:
            by = EndedBy.LOCAL if app.role is closer else EndedBy.PEER
            assert end.by is by, f"{end} at {app.role}"
            if not cancelled:
                assert set(app.outcomes(sid)) <= {Outcome.ACKNOWLEDGED}, f"{end} at {app.role}"


def _ended_early(net: Net, sid: str) -> bool:
    """Whether the rendezvous ended it while it was opening. Then nothing was delivered."""
    end = net.harness.ended.get(sid)
    if end is None or end.known_reason not in _BY_RENDEZVOUS or sid not in net.may_end_early:
        return False
    assert sid not in net.executor.opened, f"{end} at the harness, but open at the executor"
    return True


_BY_RENDEZVOUS: Final = (ResetReason.EXECUTOR_UNAVAILABLE, ResetReason.HARNESS_DISCONNECTED)
_ORPHANED: Final = (ResetReason.TIMEOUT, ResetReason.HARNESS_DISCONNECTED)


def _check_truth(net: Net, sid: str) -> None:
    """What each side was told of its messages is true."""
    for app in (net.harness, net.executor):
        arrived = len(app.peer.received[sid])
        for number, outcome in enumerate(app.outcomes(sid), start=1):
            if outcome is Outcome.ACKNOWLEDGED:
                assert number <= arrived, f"{app.ended[sid]}: {number} did not arrive"
            elif outcome is Outcome.NEVER_SENT:
                assert number > arrived, f"{app.ended[sid]}: {number} did arrive"


def _check_rest(net: Net) -> None:
    """Nothing is left over."""
    for app in (net.harness, net.executor):
        stats = app.conn.stats()
        assert (stats.streams_live, stats.bytes_held) == (0, 0), f"{app.role}: {stats}"
        assert app.conn.next_timeout() is None, f"{app.role} waits for something"
    assert net.rendezvous.stats().routes == 0, f"{net.rendezvous.stats()}"
    assert net.rendezvous.next_timeout() is None, "the rendezvous waits for something"
