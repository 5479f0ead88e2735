"""Basic peers: what Codex up to 0.136 does on the wire, no more.

They are not stand-ins for anything of ours. They number frames from 0, acknowledge nothing, run
every data frame they get, in whatever order and however often, and lose all streams with the link.
"""

from abc import abstractmethod

from ...codec import decode_frame, encode_frame
from ...config import RelayConfig
from ...connection import Role
from ...events import EndedBy, StreamReset
from ...frames import DataFrame, Frame, ResetFrame, ResumeFrame
from ...states import Profile
from .ends import MessageHook, StreamEnd
from .lanes import Link
from .oracle import Oracle
from .peers import Network, Peer
from .stage import Stage

__all__ = ["BasicExecutor", "BasicHarness", "BasicPeer"]

_CONFIG = RelayConfig()


class BasicPeer(Peer):
    """A process that speaks the basic profile."""

    def __init__(
        self,
        stage: Stage,
        oracle: Oracle,
        network: Network,
        name: str,
        executor_id: str,
        *,
        on_message: MessageHook | None,
    ) -> None:
        super().__init__(stage, oracle, network, name, executor_id)
        self._on_message = on_message

    def _born(self) -> None:
        pass

    def _link_opened(self) -> None:
        pass

    def _link_closed(self) -> None:
        for end in self.ends.values():
            if end.ended is None:
                self._ended(end, "link_lost", EndedBy.LOCAL)

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """Run every data frame."""
        for data in frames:
            if link is not self.link:
                return
            frame = decode_frame(data, _CONFIG)
            self.oracle.arrived(self, data)
            if isinstance(frame, DataFrame):
                self._run(frame)
            elif isinstance(frame, ResetFrame):
                end = self.ends.get(frame.stream_id)
                if end is not None and end.ended is None:
                    self._ended(end, frame.reason, EndedBy.PEER)

    def settle(self) -> None:
        """Nothing ever waits here."""

    @abstractmethod
    def _end_for(self, stream_id: str) -> StreamEnd | None:
        """The end that runs a frame, if any does."""

    def _run(self, frame: DataFrame) -> None:
        if frame.segment_index != 0 or frame.segment_count != 1:
            return
        end = self._end_for(frame.stream_id)
        if end is None:
            return
        end.received.append(frame.payload)
        end.consumed += 1
        self.stage.note(self.name, f"{end.stream_id}: runs message {len(end.received)}")
        self.oracle.ran(self, end, frame)
        if self._on_message is not None:
            self._on_message(end, frame.payload)

    def _ended(self, end: StreamEnd, reason: str, by: EndedBy) -> None:
        sent = range(1, len(end.sent) + 1)
        end.ended = StreamReset(stream_id=end.stream_id, reason=reason, by=by, unknown=sent)
        end.ended_at = self.stage.now
        self.stage.note(self.name, f"{end.stream_id}: ended, {reason!r}")

    def _put(self, frame: Frame) -> None:
        if self.link is not None:
            data = encode_frame(frame)
            self.oracle.emitted(self, data)
            self.link.up.send(data)

    def push(self, end: StreamEnd) -> None:
        """Send the outbox."""
        while end.outbox:
            data = end.outbox.popleft()
            self._put(DataFrame(end.stream_id, 0, 0, len(end.sent), 0, 1, data))
            end.sent.append(data)

    def take(self, end: StreamEnd) -> None:
        """It reads at once, always."""

    def close(self, end: StreamEnd, reason: str) -> None:
        """There is no other way to end a stream than a reset."""
        self.reset(end, reason)

    def reset(self, end: StreamEnd, reason: str) -> None:
        """End the stream at once."""
        self._put(ResetFrame(end.stream_id, 0, 0, reason))
        self._ended(end, reason, EndedBy.LOCAL)


class BasicHarness(BasicPeer):
    """Opens streams with `resume{0}`, as Codex's command line does."""

    role = Role.HARNESS

    def open_stream(self) -> StreamEnd:
        """Open a stream. Raises `ValueError` without a link."""
        if self.link is None:
            raise ValueError(f"{self.name} has no link")
        stream_id = self.oracle.fresh_stream_id(self)
        end = self.ends[stream_id] = StreamEnd(self, stream_id, self.stage.now)
        end.profile = Profile.BASIC
        self.oracle.opened(self, end)
        self._put(ResumeFrame(stream_id, 0, 0, 0))
        return end

    def _end_for(self, stream_id: str) -> StreamEnd | None:
        end = self.ends.get(stream_id)
        return end if end is not None and end.ended is None else None


class BasicExecutor(BasicPeer):
    """Makes a session of the first data frame for an id, as Codex's exec-server does."""

    role = Role.EXECUTOR

    def _end_for(self, stream_id: str) -> StreamEnd | None:
        end = self.ends.get(stream_id)
        if end is None or end.ended is not None:
            end = self.ends[stream_id] = StreamEnd(self, stream_id, self.stage.now)
            end.profile = Profile.BASIC
            self.oracle.opened(self, end)
        return end
