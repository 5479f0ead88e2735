"""Faults that put frames on the wire which no peer has sent, or not now, or not as its own."""

from collections.abc import Callable

from ...codec import encode_frame
from ...connection import Role
from ...errors import FrameCause
from ...frames import (
    AckFrame,
    DataFrame,
    Frame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from ...states import Profile, StreamState
from .codex import BasicExecutor
from .ends import StreamEnd
from .peers import Peer
from .promises import Promise
from .strangers import Stranger
from .victims import Victims

__all__ = ["Impostors"]


class Impostors:
    """Each kind is one public method."""

    def __init__(self, victims: Victims) -> None:
        self._victims = victims
        self._cast = victims.cast
        self._world = victims.world
        self._dice = victims.dice

    def kinds(self) -> list[Callable[[], None]]:
        """All kinds that can happen in this world."""
        common = [self.noise, self.echo, self.false_ack, self.false_resume]
        return [*common, self.foreign_principal] if self._cast.rendezvous else common

    # -- out of nowhere

    def noise(self) -> None:
        """Frames come out of nowhere: bytes that are no frame, and streams that nobody opened."""
        peer = self._victims.peer()
        self._world.stage.fault("noise")
        up = self._dice.chance(0.5)
        for number in range(self._dice.whole(1, 40)):
            self._world.inject(peer, self._nonsense(f"ghost/{number}"), up=up)

    def _nonsense(self, stream_id: str) -> bytes:
        dice = self._dice
        if dice.chance(0.3):
            return bytes(dice.whole(0, 255) for _ in range(dice.whole(0, 30)))
        number = dice.whole(1, 2**32 - 1)
        frames: list[Frame] = [
            ResumeFrame(stream_id, number, 0, number, dice.incarnation(), dice.incarnation()),
            DataFrame(stream_id, number, number, number, 3, 7, b"boo"),
            AckFrame(stream_id, number, number),
            HeartbeatFrame(stream_id, number, 0),
        ]
        # Some executors would rightly take these for streams.
        if not self._cast.limits.executor.early_data:
            frames.append(ResumeFrame(stream_id, 0, 0, 1, dice.incarnation()))
        if not any(isinstance(peer, BasicExecutor) for peer in self._world.peers):
            frames.append(DataFrame(stream_id, 0, 0, number, 0, 1, b"boo"))
        return encode_frame(dice.pick(frames))

    # -- out of the past

    def echo(self) -> None:
        """The first frames of some streams come once more: now, on the next link, after a crash,
        or when the streams are over and forgotten."""
        dice = self._dice
        peer = self._victims.peer()
        up = dice.chance(0.4)
        luck = dice.random()
        if luck < 0.3:
            self._world.crash(peer)
            back = dice.scaled(0.01, 10.0)
            self._world.at(back, self._world.restart, peer)
            self._world.at(back + dice.scaled(0.001, 10.0), self._replay, peer, up)
        elif luck < 0.6:
            acceptor = self._victims.executor()
            for end in list(acceptor.ends.values()):
                if dice.chance(0.7):
                    end.reset()
            late = min(acceptor.config.ended_ttl, 60.0) * dice.between(1.0, 1.2)
            self._world.at(late, self._replay, acceptor, False)
        elif luck < 0.8:
            self._world.dial_again(peer, hub_learns=self._victims.soon())
            self._world.at(self._victims.soon(), self._replay, peer, up)
        else:
            self._world.at(dice.scaled(0.01, 300.0), self._replay, peer, up)

    def _replay(self, peer: Peer, up: bool) -> None:
        if self._cast.over:
            return
        dice = self._dice
        for frames in list(self._world.echoes.of(peer.name, up=up).values()):
            if dice.chance(0.5):
                first = 0 if dice.chance(0.7) else dice.whole(0, len(frames) - 1)
                self._world.echo(peer, frames[first:], up=up)

    # -- lies about a stream that lives

    def false_ack(self) -> None:
        """A frame acknowledges what was never sent: it has to be counted, and ignored."""
        found = self._reliable_end()
        if found is None:
            return
        peer, end = found
        dice = self._dice
        sent = (end.facts.next_seq or 1) - 1
        if dice.chance(0.5):
            ack, bits = min(sent + dice.whole(1, 300), 2**32 - 1), 0
        else:
            ack = dice.whole(max(0, sent - 31), sent)
            bits = 1 << dice.whole(sent - ack, 31) if sent - ack < 32 else 1 << 31
        kinds: list[type[AckFrame | HeartbeatFrame]] = [AckFrame, HeartbeatFrame]
        frame = dice.pick(kinds)(end.stream_id, ack, bits)
        self._world.stage.fault("false ack")
        self._lie(peer, frame, FrameCause.ACK_BEYOND_SENT)

    def _reliable_end(self) -> tuple[Peer, StreamEnd] | None:
        found = [
            (peer, end)
            for peer in self._victims.peers()
            for end in peer.ends.values()
            if end.live
            and end.profile is Profile.RELIABLE
            and peer.machine is not None
            and peer.machine.stream_state(end.stream_id) in (StreamState.OPEN, StreamState.RESUMING)
        ]
        return self._dice.pick(found) if found else None

    def false_resume(self) -> None:
        """A resume names another opener: it has to be counted, and ignored."""
        dice = self._dice
        found = [
            (peer, end)
            for peer in self._victims.of_role(Role.HARNESS)
            for end in peer.ends.values()
            if end.live
            and peer.machine is not None
            and (end.profile is None or (end.profile is Profile.RELIABLE and end.facts.highest_in))
        ]
        if found:
            peer, end = dice.pick(found)
            self._world.stage.fault("false resume")
            # Not above what has come, so that nothing else than the names shows it to be false.
            number = max(1, end.facts.highest_in)
            names = dice.incarnation(), dice.incarnation()
            frame = ResumeFrame(end.stream_id, 0, 0, number, *names, dice.chance(0.5))
            self._lie(peer, frame, FrameCause.FOREIGN_INCARNATION)

    def _lie(self, peer: Peer, frame: Frame, cause: FrameCause) -> None:
        conn = peer.machine
        link = peer.link
        if conn is None or link is None or not link.whole:
            return
        before = conn.stats().dropped.get(cause, 0)
        self._world.inject(peer, encode_frame(frame), up=False)
        if conn.stats().dropped.get(cause, 0) == before:
            self._world.oracle.broken(Promise.VALID, f"{peer.name} took {frame}")

    # -- in another's name

    def foreign_principal(self) -> None:
        """A harness of another principal sends on streams that it does not own."""
        dice = self._dice
        executor_id = self._victims.executor().executor_id
        stranger = self._world.stranger(executor_id)
        self._world.stage.fault("foreign principal")
        at = 0.0
        for _ in range(dice.whole(1, 4)):
            at += dice.scaled(0.001, 10.0)
            self._world.at(at, self._speak, stranger)

    def _speak(self, stranger: Stranger) -> None:
        if self._cast.over:
            return
        dice = self._dice
        for end in self._victims.ends():
            stream_id = end.stream_id
            own, peer = dice.incarnation(), dice.incarnation()
            frames: list[Frame] = [
                ResetFrame(stream_id, 0, 0, "cancelled"),
                ResumeFrame(stream_id, 0, 0, 1, own),
                ResumeFrame(stream_id, 1, 0, 2, own, peer),
                DataFrame(stream_id, 0, 0, dice.whole(0, 3), 0, 1, b"not mine"),
                AckFrame(stream_id, dice.whole(1, 5), 0),
                HeartbeatFrame(stream_id, 0, 0),
            ]
            for _ in range(dice.whole(0, 2)):
                self._world.speak_as(stranger, stream_id, encode_frame(dice.pick(frames)))
