"""A router of relay frames as somebody else would write it, without a line of sansrelay.

It reads one field of a frame, and forwards the frame as it came. It keeps no message, answers
nothing, and never sends a frame of its own.
"""

from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed
from websockets.trio.server import ServerConnection, serve

import trio


@dataclass
class PlainRouter:
    """One executor at /executor, any harnesses at /harness."""

    port: int
    executor: ServerConnection | None = None
    harnesses: dict[bytes, ServerConnection] = field(default_factory=dict)
    """By the streams that they have opened."""

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled, on a free port if `port` is 0."""

        async def run(task_status: trio.TaskStatus[None]) -> None:
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()
            await serve(self._handle, listeners=listeners, compression=None, max_size=None)

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            task_status.started()

    def url(self, port: int, role: str) -> str:
        """For a port that leads here."""
        return f"ws://127.0.0.1:{port}/{role}"

    async def _handle(self, link: ServerConnection) -> None:
        assert link.request is not None
        to_harnesses = link.request.path == "/executor"
        if to_harnesses:
            self.executor = link
        while True:
            try:
                frame = await link.recv(decode=False)
            except ConnectionClosed:
                return
            stream_id = _stream_id(frame)
            if to_harnesses:
                target = self.harnesses.get(stream_id)
            else:
                self.harnesses[stream_id] = link
                target = self.executor
            if target is not None:
                try:
                    await target.send(frame)
                except ConnectionClosed:
                    pass


def _stream_id(frame: bytes) -> bytes:
    """Field 2 of a protobuf message whose field 1 is a small number."""
    assert frame[0] == 0x08
    assert frame[1] < 0x80
    assert frame[2] == 0x12
    length = frame[3]
    assert length < 0x80
    return frame[4 : 4 + length]
