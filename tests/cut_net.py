"""A harness, a rendezvous and an executor under one clock, that lose links when they are told to.

Two applications talk by a script. The same script and the same cuts give the same run, frame by
frame, so a run that fails is repeated by `run_script` with the cuts that its message names.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, Final

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    Event,
    RelayConfig,
    RelayConnection,
    ResetReason,
    Role,
    StreamOpened,
    StreamReset,
)
from sansrelay.codec import decode_frame
from sansrelay.frames import DataFrame, Frame, InvalidFrame
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
_NEVER: Final = float("inf")
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
    dies: bool = False
    """The process at that end dies as well, and another takes its place that knows nothing."""

    def __str__(self) -> str:
        died = " with its process" if self.dies else ""
        return f"{self.side.value} lost{died} after frame {self.after}, {self.notice.value}"


# -- the applications


@dataclass(slots=True)
class Ledger:
    """What an end can know of its messages on one stream, going by the frames alone."""

    begun: int = 0
    """Messages of which a segment has left."""
    ends: list[int] = field(default_factory=list)
    """The number of the last segment of each message that has left as a whole."""
    highest: int = 0
    """The highest number of a segment that has left."""
    ack: int = 0
    """The highest ack that has arrived."""

    @property
    def half_sent(self) -> bool:
        """Whether a part of a message has left, and another has not."""
        return self.begun > len(self.ends)

    @property
    def acknowledged(self) -> int:
        """How many messages the ack covers."""
        return bisect_right(self.ends, self.ack)


@lru_cache(maxsize=50_000)  # the same frames come in every run
def _decode(data: bytes) -> Frame:
    frame = decode_frame(data, CONFIG)
    assert not isinstance(frame, InvalidFrame), f"{frame}"
    return frame


class App:
    """One side of the script, on a connection of its own."""

    def __init__(self, role: Role, script: Script, config: RelayConfig) -> None:
        other = Role.EXECUTOR if role is Role.HARNESS else Role.HARNESS
        self.role = role
        self.peer = self
        self.ledgers = {sid: Ledger() for sid in script}
        self.orphans: set[str] = set()
        """Streams that were live when the peer's process died."""
        self.lost: set[str] = set()
        """Streams that were live when its own process died."""
        self.opened: set[str] = set()
        self.received: dict[str, list[bytes]] = {sid: [] for sid in script}
        self.sent = dict.fromkeys(script, 0)
        self.ended: dict[str, StreamReset] = {}
        self._script = script
        self._config = config
        self._lives = 0
        self._given_up: set[str] = set()
        self._expected = {sid: talk.said_by(other) for sid, talk in script.items()}
        self._turn = dict.fromkeys(script, 0)
        self._spoken: set[tuple[str, int]] = set()
        self.live()

    def live(self) -> None:
        """A process begins, without the state of the one before. What is noted here is of both."""
        self._lives += 1
        first = 0xA1 if self.role is Role.HARNESS else 0xB10000
        self.conn = RelayConnection(
            self.role, incarnation=first << 32 * (self._lives - 1), config=self._config
        )

    def begin(self) -> None:
        """Open all streams and say the first words on them."""
        for sid in self._script:
            self.conn.open_stream(sid)
            self._go_on(sid)

    def drain_events(self) -> None:
        """Take all events, and do what the script says next."""
        while (event := self.conn.next_event()) is not None:
            self._take(event)

    def note_sent(self, data: bytes) -> None:
        """A frame leaves this end."""
        frame = _decode(data)
        if isinstance(frame, DataFrame):
            assert frame.stream_id not in self.ended, f"{frame} after the end"
            ledger = self.ledgers[frame.stream_id]
            if frame.seq > ledger.highest:
                ledger.highest = frame.seq
                ledger.begun += frame.segment_index == 0
                if frame.segment_index + 1 == frame.segment_count:
                    ledger.ends.append(frame.seq)

    def note_arrived(self, data: bytes) -> None:
        """A frame has come, and is taken next."""
        frame = _decode(data)
        if frame.stream_id not in self.ended:
            ledger = self.ledgers[frame.stream_id]
            ledger.ack = max(ledger.ack, frame.ack)

    def has_all(self, sid: str) -> bool:
        """Whether everything that the peer has to say has come."""
        return len(self.received[sid]) == len(self._expected[sid])

    def check_outcomes(self, sid: str) -> None:
        """What it was told of its messages is all that can be known, and true."""
        end = self.ended[sid]
        ledger = self.ledgers[sid]
        assert end.unknown == range(ledger.acknowledged + 1, ledger.begun + 1), f"{end}: {ledger}"
        assert end.never_sent == range(ledger.begun + 1, self.sent[sid] + 1), f"{end}: {ledger}"
        taken_over = len(self.peer.received[sid])
        assert ledger.acknowledged <= taken_over <= len(ledger.ends), f"{end}: {taken_over}"

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
        if sid in self._given_up:
            return
        received = self.received[sid]
        expected = self._expected[sid][len(received) :]
        assert expected[:1] == [data], f"{self.role} got {data!r} on {sid}, not {expected[:1]}"
        received.append(data)
        self.conn.consume(sid, 1)
        if self.role is Role.HARNESS and self._script[sid].cancel_after == len(received):
            self._given_up.add(sid)
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
        self.timeout = _NEVER
        """When the end wants to be called next."""


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
        self.may_end_early: dict[str, set[ResetReason]] = {sid: set() for sid in script}
        """Streams that were still opening when a link was lost, and how the rendezvous may then
        end them."""
        self.frames_at_cuts: list[dict[Side, int]] = []
        """What `frames` said at each cut so far."""
        self._config = config
        self._cuts = list(cuts)
        self._harness_hop, self._executor_hop = _Hop(self.harness), _Hop(self.executor)
        self._hops: dict[int, _Hop] = {}
        self._stirred: dict[_Hop, None] = {}  # those whose end has to be drained
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
        hops = self._harness_hop, self._executor_hop
        while True:
            self._pump()
            timeout = self.rendezvous.next_timeout()
            when = min(*(hop.timeout for hop in hops), end if timeout is None else timeout)
            if self._agenda and self._agenda[0][0] <= when:
                when, _, action, args = heappop(self._agenda)
                self.now = max(self.now, when)
                action(*args)
            elif when < end:
                self.now = when
                self.rendezvous.handle_timeout(when)
                for hop in hops:
                    self._stir(hop).handle_timeout(when)
            else:
                self.now = end
                return

    def _later(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heappush(self._agenda, (self.now + seconds, self._serial, action, args))

    # -- frames

    def _pump(self) -> None:
        """Everything that is to be sent now gets under way."""
        for hop in self._stirred:
            app = hop.app
            app.drain_events()
            while frames := app.conn.frames_to_send(self.now):
                for frame in frames:
                    app.note_sent(frame)
                    self._later(DELAY, self._arrive, hop, hop.link, True, frame)
                app.drain_events()
            timeout = app.conn.next_timeout()
            hop.timeout = _NEVER if timeout is None else timeout
        self._stirred.clear()
        for link in self.rendezvous.links_with_output():
            hop = self._hops[link]
            for frame in self.rendezvous.frames_to_send(link, 1 << 30):
                self._later(DELAY, self._arrive, hop, link, False, frame)

    def _stir(self, hop: _Hop) -> RelayConnection:
        """Something happens to an end: it is to be drained afterwards."""
        self._stirred[hop] = None
        return hop.app.conn

    def _arrive(self, hop: _Hop, link: int, inwards: bool, frame: bytes) -> None:
        if link != hop.link or not hop.alive:
            return
        if inwards:
            self.rendezvous.receive_frame(link, frame, self.now)
        else:
            hop.app.note_arrived(frame)
            self._stir(hop).receive_frame(frame, self.now)
        hop.frames += 1
        self._cut_if_due()

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
            if cut.dies:
                hop.app.lost |= self.script.keys() - hop.app.ended.keys()
                hop.app.peer.orphans |= self.script.keys() - hop.app.peer.ended.keys()
            # Not at the same time, so that each is the first now and then.
            patience = 0.3 if hop is self._harness_hop else 0.2
            if cut.dies:
                hop.app.live()
                self._stir(hop)
            elif cut.notice is Notice.END_LATE:
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
            # Without a route: its opening may come when there is no executor.
            if Role.EXECUTOR in lost and (route is None or not route.executor_reliable):
                self.may_end_early[sid].add(ResetReason.EXECUTOR_UNAVAILABLE)
            if Role.HARNESS in lost and route is not None and not route.reliable:
                self.may_end_early[sid].add(ResetReason.HARNESS_DISCONNECTED)

    def _lose(self, hop: _Hop) -> None:
        self._stir(hop).link_closed(self.now)

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
        self._stir(hop).link_opened(self.now)


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
        _check_rest(net)
    except AssertionError as error:
        raise AssertionError(f"[{'; '.join(map(str, cuts))}] {error}") from error
    return net


def _check_stream(net: Net, sid: str, *, patient: bool) -> None:
    """The stream has ended for a reason that is true, and both sides know it.

    All that was said has arrived then, unless it was given up, ended while it was opening, or lost
    its peer's process.
    """
    if _ended_early(net, sid):
        return
    talk = net.script[sid]
    for app in (net.harness, net.executor):
        end = app.ended.get(sid)
        if end is None and sid in app.lost:
            continue
        if sid in app.orphans and (end is None or end.known_reason is _DIED[app.peer.role]):
            if end is not None:
                app.check_outcomes(sid)
            else:
                # The rendezvous waits for the harness; an idle harness notices by its heartbeat.
                unheard_of = app.role is Role.EXECUTOR and sid not in app.opened
                assert unheard_of or not patient, f"{sid} has not ended at {app.role}"
        else:
            assert end is not None, f"{sid} has not ended at {app.role}"
            check_end(app, sid, talk)


_DIED: Final = {
    Role.EXECUTOR: ResetReason.UNKNOWN_STREAM,
    Role.HARNESS: ResetReason.HARNESS_DISCONNECTED,
}
"""How the peer's death is called."""


def check_end(app: App, sid: str, talk: Talk) -> None:
    """A stream has ended at one side as the script says, with all that can be known."""
    end = app.ended[sid]
    cancelled = talk.cancel_after is not None
    reason = ResetReason.CANCELLED if cancelled else ResetReason.CLOSED
    closer = Role.HARNESS if cancelled else talk.closer
    by = EndedBy.LOCAL if app.role is closer else EndedBy.PEER
    assert (end.known_reason, end.by) == (reason, by), f"{end} at {app.role}"
    app.check_outcomes(sid)
    if not cancelled:
        assert app.has_all(sid), f"{sid}: {app.role} has not got all"
        sent = app.sent[sid]
        assert end.unknown.start == sent + 1, f"{end} at {app.role}: {sent} were sent"
    elif app.role is not closer:
        # A reset carries the last ack.
        taken_over = len(app.peer.received[sid])
        assert end.unknown.start == taken_over + 1, f"{end} at {app.role}: {taken_over} taken over"


def _ended_early(net: Net, sid: str) -> bool:
    """Whether the rendezvous ended it while it was opening. Then nothing was delivered."""
    end = net.harness.ended.get(sid)
    if end is None or end.known_reason not in net.may_end_early[sid]:
        return False
    assert end.by is EndedBy.PEER, f"{end}"
    assert sid not in net.executor.opened, f"{end} at the harness, but open at the executor"
    net.harness.check_outcomes(sid)
    return True


def _check_rest(net: Net) -> None:
    """Nothing is left over."""
    for app in (net.harness, net.executor):
        stats = app.conn.stats()
        assert (stats.streams_live, stats.bytes_held) == (0, 0), f"{app.role}: {stats}"
        assert app.conn.next_timeout() is None, f"{app.role} waits for something"
    assert net.rendezvous.stats().routes == 0, f"{net.rendezvous.stats()}"
    assert net.rendezvous.next_timeout() is None, "the rendezvous waits for something"
