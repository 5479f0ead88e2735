"""Whole worlds: harnesses, rendezvous and executors in one process, under one clock."""

from collections.abc import Callable, Iterable

from ...connection import Role
from ...states import Profile
from .._link import LinkConditions
from .gaps import basic_tail_in_new_session
from .hubs import RendezvousProcess, Wire
from .lanes import Lane, Link
from .oracle import Oracle
from .peers import Peer, RelayPeer
from .population import Population
from .promises import Promise
from .strangers import Stranger
from .waste import drops_at_peer

__all__ = ["World"]

_STEP = 1.0
"""Seconds between two looks at whether everything is done."""
_REST = 20.0
"""Seconds for last acks, and for resets of what came late, before silence is asked for. Some peers
take 15 to dial again, and have waiting data to send then."""


class World(Population):
    """Peers and what joins them, simulated.

    `source` is where all luck comes from, such as `random.Random(seed)`: the same seed gives the
    same world, byte for byte. `conditions` hold for every link in both directions; with
    `websockets`, frames go through `sansrelay.websocket` and `sansrelay.http_server`. `redial` is
    the range of seconds after which a peer that has lost its link dials again, `capacity` the bytes
    that one direction of a link takes before its sender has to wait.

    The world checks the promises as it goes and raises `PromiseBroken`; `finish` ends all faults
    and checks that everything arrives. With `trace`, `trace_lines` tells what happened.

    Peers dial the rendezvous named `rendezvous` unless told otherwise. A world with a wire
    (`add_wire`) instead joins one harness and one executor directly.
    """

    # -- time

    def run(self, seconds: float) -> None:
        """Let so much time pass. Raises `PromiseBroken`."""
        end = self.now + seconds
        step = self.stage.step
        while step(end):
            pass

    def run_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Run until a condition holds, at most for so long; says whether it holds."""
        end = self.now + seconds
        while not condition():
            if not self.stage.step(end):
                return condition()
        return True

    def at(self, seconds: float, action: Callable[..., None], *args: object) -> None:
        """Do something so many seconds from now, such as a fault."""
        self.stage.after(seconds, action, *args)

    # -- faults

    @property
    def conditions(self) -> LinkConditions:
        """How links treat frames at the moment; may be set."""
        return self._weather.conditions

    @conditions.setter
    def conditions(self, conditions: LinkConditions) -> None:
        self._weather.conditions = conditions

    def cut(
        self,
        peer: Peer,
        *,
        peer_learns: float = 0.0,
        hub_learns: float = 0.0,
        late: float | None = None,
    ) -> None:
        """Cut a peer's link. What is under way is lost; with `late` it turns up on the peer's next
        link, so many seconds from now.

        Each side learns of it so many seconds later; until both have, the link is half-open.
        """
        link = peer.link
        if link is not None:
            self.stage.fault("cut")
            self._sever(link, peer_learns, hub_learns, late)

    def _sever(
        self, link: Link, peer_learns: float, hub_learns: float, late: float | None = None
    ) -> None:
        self.stage.note("network", f"link {link.number} of {link.peer.name} is cut")
        keep = late is not None
        link.up.cut(self._injector(link, up=True) if keep else None, late or 0.0)
        link.down.cut(self._injector(link, up=False) if keep else None, late or 0.0)
        for seconds, tell in ((peer_learns, link.tell_peer), (hub_learns, link.tell_hub)):
            if seconds:
                self.stage.after(seconds, tell)
            else:
                tell()

    def dial_again(self, peer: Peer, *, hub_learns: float = 60.0) -> None:
        """The peer gives its link up and opens another at once; the hub has both for a while."""
        link = peer.link
        if link is None:
            return
        self.stage.fault("second link")
        self.stage.note("network", f"{peer.name} gives link {link.number} up")
        link.tell_peer()
        self.stage.after(hub_learns, self._end_for_hub, link)
        peer.dial()

    def _end_for_hub(self, link: Link) -> None:
        link.up.broken = link.down.broken = True
        link.tell_hub()

    def crash(self, peer: Peer, *, hub_learns: float = 0.0) -> None:
        """A peer's process dies and its state with it; `restart` brings it back."""
        if not peer.alive:
            return
        self.stage.fault("crash")
        link = peer.crash()
        if link is not None:
            self.stage.after(hub_learns, self._end_for_hub, link)

    def retire(self, peer: Peer) -> None:
        """A peer's process dies for good: `heal` does not bring it back."""
        peer.retired = True
        self.crash(peer)

    def restart(self, peer: Peer) -> None:
        """A new life of a peer that crashed."""
        peer.start()

    def kill_rendezvous(self, name: str = "rendezvous", *, peers_learn: float = 0.0) -> None:
        """A rendezvous dies with all it knows; its peers learn of it so much later."""
        process = self.rendezvous(name)
        if process is not None:
            self.stage.fault("rendezvous killed")
            self._kill(process, peers_learn)

    def _kill(self, process: RendezvousProcess, peers_learn: float) -> None:
        for link in process.kill():
            self.stage.after(peers_learn, self._end_for_peer, link)

    def _end_for_peer(self, link: Link) -> None:
        link.up.broken = link.down.broken = True
        link.tell_peer()

    def restart_rendezvous(self, name: str = "rendezvous") -> None:
        """A new, empty rendezvous at the address of one that was killed."""
        if self.rendezvous(name) is None:
            self._raise_rendezvous(name)

    def replace_rendezvous(self, name: str = "rendezvous") -> None:
        """A new, empty rendezvous takes over the address; the old one keeps the links it has."""
        process = self.rendezvous(name)
        if process is not None:
            self.stage.fault("rendezvous replaced")
            self._replaced.append(process)
            self._raise_rendezvous(name)

    def move(self, peer: Peer, rendezvous: str) -> None:
        """From its next link on, a peer dials another rendezvous."""
        self._addresses[peer.name] = rendezvous

    def stall(self, peer: Peer, seconds: float, *, up: bool = True, down: bool = True) -> None:
        """Nothing arrives on a peer's link for a while, then all of it does."""
        for lane in self._lanes(peer, up=up, down=down):
            self.stage.fault("stall")
            lane.stall(seconds)

    def black_hole(self, peer: Peer, seconds: float, *, up: bool = True, down: bool = True) -> None:
        """What is sent on a peer's link vanishes for a while, and neither side is told."""
        for lane in self._lanes(peer, up=up, down=down):
            self.stage.fault("black hole")
            lane.black_hole(seconds)

    def hold(
        self, peer: Peer, frames: int, seconds: float, *, up: bool, copies: bool = False
    ) -> None:
        """The next frames of one direction arrive so much later, on whatever link the peer has
        then; with `copies` they arrive at their time as well."""
        link = peer.link
        if link is not None:
            inject = self._injector(link, up=up)
            for lane in self._lanes(peer, up=up, down=not up):
                lane.hold(frames, seconds, inject, copies=copies)

    def _injector(self, link: Link, *, up: bool) -> Callable[[bytes], None]:
        peer = next(peer for peer in self.peers if peer is link.peer)
        return lambda frame: self.inject(peer, frame, up=up)

    def _lanes(self, peer: Peer, *, up: bool, down: bool) -> list[Lane]:
        link = peer.link
        lanes: list[Lane] = []
        if link is not None and down:
            lanes.append(link.down)
        if link is not None and up:
            lanes.append(link.up)
        return lanes

    def inject(self, peer: Peer, frame: bytes, *, up: bool) -> None:
        """A frame from nowhere arrives on the link that a peer has now, if it has one: at its hub
        (`up`), or at the peer."""
        link = peer.link
        if link is not None and link.whole:
            self._injected += 1
            if up:
                link.arrived_at_hub([frame])
            else:
                link.arrived_at_peer([frame])

    def listen(self) -> None:
        """From now on remember the first frames of each stream, for `echo`."""
        self._listens = True

    def echo(self, peer: Peer, frames: Iterable[bytes], *, up: bool) -> None:
        """Frames that `echoes` has kept arrive once more, now, on the link that a peer has."""
        for frame in frames:
            self.stage.fault("echo")
            self.oracle.spoiled(frame, True)
            self.inject(peer, frame, up=up)

    def speak_as(self, stranger: Stranger, stream_id: str, frame: bytes) -> None:
        """A stranger sends a frame on a stream, if its rendezvous has it as another's."""
        link = stranger.link
        if link is not None and isinstance(link.hub, RendezvousProcess):
            owner = link.hub.passage.owner(stranger.executor_id, stream_id)
            if owner is not None and owner != stranger.principal:
                self.inject(stranger, frame, up=True)

    # -- the end of all faults

    def heal(self) -> None:
        """End all faults: every process lives, everyone reads, every side knows what links it has.

        A rendezvous that was replaced is gone for good.
        """
        self.stage.note("world", "heals")
        conditions = self._weather.conditions
        self._weather.conditions = LinkConditions(delay=conditions.delay)
        for process in self._replaced:
            if process.alive:
                self._kill(process, 0.0)
        for name in self._configs:
            self.restart_rendezvous(name)
        for link in self._links:
            link.up.heal()
            link.down.heal()
            if not link.whole:
                self._sever(link, 0.0, 0.0)
        for peer in self.peers:
            peer.start()
            for end in list(peer.ends.values()):
                end.read_on()
        self.oracle.healed()

    def finish(self, *, quiet: float = 0.0) -> None:
        """Heal, and check that everything arrives within `bound` seconds; then close all streams.

        With `quiet`, also check that next to nothing is sent for so many seconds. Raises
        `PromiseBroken`.
        """
        self.heal()
        bound = self.bound
        if not self._wait(lambda: not self.unfinished(), bound):
            self.oracle.broken(
                Promise.LIVENESS, f"{'; '.join(self.unfinished())}, {bound:.0f} s after the faults"
            )
        if quiet:
            self.run(_REST)
            self._check_quiet(quiet)
        self._close_all()

    @property
    def bound(self) -> float:
        """Seconds within which everything is settled once the faults are over."""
        patience = [
            2 * peer.config.resume_timeout + peer.config.heartbeat_interval for peer in self.peers
        ]
        grace = [config.executor_grace + config.harness_grace for config in self._configs.values()]
        # Where windows are small, messages pass one by one, each after a slow reader's pause.
        waiting = sum(
            len(end.outbox) + len(end.sent) - end.acknowledged
            for peer in self.peers
            for end in peer.ends.values()
            if end.live and end.profile is not Profile.BASIC
        )
        slowest = max((p.read_delay for p in self.peers if isinstance(p, RelayPeer)), default=0.0)
        pauses = waiting * slowest + self._round_trips() * 4 * self.conditions.delay
        if any(drops_at_peer(peer) for peer in self.peers):
            # Where a receiver has no room, each message may have to wait for a time-out.
            pauses += waiting * max(peer.config.max_rto for peer in self.peers)
        return max(patience, default=0.0) + max(grace, default=0.0) + 60.0 + pauses

    def _round_trips(self) -> float:
        """Windows full of segments that wait, if one stream at a time has room at the receiver."""
        return sum(
            len(message) / (peer.config.segment_size * peer.config.send_window_segments)
            for peer in self.peers
            for end in peer.ends.values()
            if end.live and end.profile is not Profile.BASIC
            for message in (*end.outbox, *end.sent[end.acknowledged :])
        )

    def _wait(self, condition: Callable[[], bool], bound: float) -> bool:
        end = self.now + bound
        while not condition():
            if self.now >= end:
                return False
            self.run(_STEP)
        return True

    def unfinished(self) -> list[str]:
        """What has not come to its end: messages that have not arrived, ends left alone."""
        has_wire = any(isinstance(hub, Wire) for hub in self._hubs.values())
        return [
            text
            for peer in self.peers
            for text in _unfinished(self.oracle, peer, has_wire=has_wire)
        ]

    def _check_quiet(self, seconds: float) -> None:
        before = dict(self.oracle.frames_by)
        injected = self._injected
        self.run(seconds)
        for peer in self.peers:
            sent = self.oracle.frames_by[peer.name] - before.get(peer.name, 0)
            live = sum(end.live for end in peer.ends.values())
            # Each interval a heartbeat, a question if its answer is slow, and the same of the peer.
            allowed = live * 6 * (seconds / peer.config.heartbeat_interval + 1) + 4
            allowed += 2 * (self._injected - injected)  # frames held up until now are answered
            if sent > allowed:
                self.oracle.broken(
                    Promise.QUIET,
                    f"{peer.name} sent {sent} frames on {live} streams in {seconds} s of peace",
                )

    def _close_all(self) -> None:
        """Close all streams, then all links: nothing may be left."""
        for peer in self.peers:
            if peer.role is Role.HARNESS:
                for end in list(peer.ends.values()):
                    end.close()
        if not self._wait(lambda: not self._remains(), self.bound):
            self.oracle.broken(Promise.BOUNDED, f"left after the end: {'; '.join(self._remains())}")
        for peer in self.peers:
            peer.wants_link = False
            self.cut(peer)
        self.run(max((config.harness_grace for config in self._configs.values()), default=0.0))
        for hub in self._hubs.values():
            if isinstance(hub, RendezvousProcess):
                stats = hub.machine.stats()
                links = stats.harness_links + stats.executor_links
                if stats.routes or links or stats.bytes_queued:
                    self.oracle.broken(Promise.BOUNDED, f"left after the end: {stats}")

    def _remains(self) -> list[str]:
        out: list[str] = []
        for peer in self.peers:
            conn = peer.machine
            if conn is not None and peer.alive:
                stats = conn.stats()
                # What a basic peer was not told, or did not tell, nobody can mend.
                basic = sum(end.live and end.profile is Profile.BASIC for end in peer.ends.values())
                if stats.streams_live > basic or stats.bytes_held:
                    out.append(
                        f"{peer.name} has {stats.streams_live} streams, {stats.bytes_held} bytes"
                    )
        return out


def _unfinished(oracle: Oracle, peer: Peer, *, has_wire: bool) -> Iterable[str]:
    if not peer.alive:
        return
    if peer.link is None and peer.wants_link:
        yield f"{peer.name} has no link"
    live = sum(end.live for end in peer.ends.values())
    if peer.machine is not None and peer.machine.stats().streams_live > live:
        yield f"{peer.name} has streams that were never confirmed"
    for end in peer.ends.values():
        if not end.live:
            continue
        record = oracle.streams[end.stream_id]
        basic = end.profile is Profile.BASIC
        if basic and (has_wire or record.spoiled or basic_tail_in_new_session(record, end)):
            # Nobody can mend what the network does to a basic peer, and a wire tells it nothing.
            continue
        other = record.live_other(end)
        if other is None:
            yield f"{peer.name} still has {end.stream_id}, the other end is gone"
        elif end.outbox:
            yield f"{peer.name}, {end.stream_id}: {len(end.outbox)} messages wait for room"
        elif other.consumed < len(end.sent) or (not basic and end.acknowledged < len(end.sent)):
            yield (
                f"{peer.name}, {end.stream_id}: {len(end.sent)} messages sent,"
                f" {other.consumed} taken over, {end.acknowledged} acknowledged"
            )
