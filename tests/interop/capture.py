"""A proxy that records every relay frame that passes, in the order in which it saw them."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio.testing
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage

import trio
from apps_kit import PATIENCE
from sansrelay import RelayConfig
from sansrelay.codec import decode_frame
from sansrelay.frames import DataFrame, Frame, HandshakeFrame, InvalidFrame, ResetFrame
from sansrelay_apps.demo.proxy import CuttingProxy

_CONFIG = RelayConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One frame that passed."""

    to_client: bool
    """Towards the end that had dialled."""
    wire: bytes
    frame: Frame


class RecordingProxy(CuttingProxy):
    """Keeps the frames that went each way. Fails on bytes that are no frame of ours to read."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.captured: list[Captured] = []
        self.websockets = 0
        """How many have opened."""
        self._lanes: dict[trio.SocketStream, _Lane] = {}
        self._changed = trio.Event()

    def passes(self, sink: trio.SocketStream, data: bytes | bytearray) -> None:
        lane = self._lanes.setdefault(sink, _Lane())
        was_open = lane.to_client
        for wire in lane.messages(bytes(data)):
            frame = decode_frame(wire, _CONFIG)
            assert not isinstance(frame, InvalidFrame), frame
            self.captured.append(Captured(to_client=lane.to_client, wire=wire, frame=frame))
        self.websockets += lane.to_client and not was_open
        self._changed.set()
        self._changed = trio.Event()

    def to_client(self) -> list[Frame]:
        """What reached the end that had dialled, over all its connections."""
        return [each.frame for each in self.captured if each.to_client]

    def from_client(self) -> list[Frame]:
        """What the end that had dialled sent."""
        return [each.frame for each in self.captured if not each.to_client]

    async def until(self, there: Callable[[], bool]) -> None:
        """Wait until something is there, which is looked for with each frame that passes."""
        with trio.fail_after(PATIENCE):
            while not there():
                await self._changed.wait()

    async def until_reset(self, stream_id: str) -> ResetFrame:
        """Wait until the end of a stream was told to the end that had dialled."""

        def found() -> list[ResetFrame]:
            frames = self.to_client()
            return [f for f in frames if isinstance(f, ResetFrame) and f.stream_id == stream_id]

        await self.until(lambda: bool(found()))
        return found()[0]

    def check_client(self) -> list[DataFrame]:
        """That all that reached it was fit for a Codex; returns the data frames.

        A Codex runs every data frame that it gets, takes none that is a part of a message, and
        neither sends nor knows acks.
        """
        frames = self.to_client()
        assert not [frame for frame in frames if isinstance(frame, HandshakeFrame)]
        assert {(frame.ack, frame.ack_bits) for frame in frames} == {(0, 0)}
        data = [frame for frame in frames if isinstance(frame, DataFrame)]
        assert data
        assert repeated(data) == []
        assert {(frame.segment_index, frame.segment_count) for frame in data} == {(0, 1)}
        return data


@asynccontextmanager
async def recording(port: int) -> AsyncGenerator[RecordingProxy]:
    """A proxy in front of a port, until the end of the block."""
    async with trio.open_nursery() as nursery:
        proxy = await RecordingProxy(port).start(nursery)
        yield proxy
        proxy.cut()
        nursery.cancel_scope.cancel()


def repeated(frames: Iterable[DataFrame]) -> list[tuple[str, int]]:
    """Streams and numbers of data frames that came more than once."""
    seen = Counter((frame.stream_id, frame.seq) for frame in frames)
    return [which for which, times in seen.items() if times > 1]


class _Lane:
    """One direction of one connection: a WebSocket's messages, once its handshake is over."""

    def __init__(self) -> None:
        self.to_client = False
        self._head = b""
        self._parser: Connection | None = None
        self._message = b""

    def messages(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes."""
        if self._parser is None:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = head + end + data
            self.to_client = head.startswith(b"HTTP/1.1 101")
            if not end or not (self.to_client or b"upgrade: websocket" in head.lower()):
                return []
            client = self.to_client
            self._parser = Connection(ConnectionType.CLIENT if client else ConnectionType.SERVER)
        self._parser.receive_data(data)
        found = []
        for event in self._parser.events():
            if isinstance(event, BytesMessage):
                self._message += bytes(event.data)
                if event.message_finished:
                    found.append(self._message)
                    self._message = b""
        return found
