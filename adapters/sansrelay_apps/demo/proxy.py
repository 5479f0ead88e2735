"""A TCP proxy that the relay knows nothing of, and that cuts connections on demand."""

import socket
import struct
from typing import Self

import trio

__all__ = ["CuttingProxy"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Listens on a free loopback port and forwards each connection to `port`."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[trio.SocketStream] = set()
        self.port = 0
        self.cuts = 0

    async def start(self, nursery: trio.Nursery) -> Self:
        """Begin to listen; `port` holds the number then."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, self._forward, listeners)
        return self

    def cut(self) -> int:
        """Reset every connection, without a word of farewell; says how many ends that were."""
        ends = len(self._open)
        for stream in list(self._open):
            # Linger 0 makes close send RST and drop what is buffered, like a NAT that forgets.
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            stream.socket.close()
        self.cuts += 1
        return ends

    async def _forward(self, client: trio.SocketStream) -> None:
        async with client:
            try:
                server = await trio.open_tcp_stream("127.0.0.1", self._target)
            except OSError:
                return
            async with server:
                self._open |= {client, server}
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._pump, client, server, nursery.cancel_scope)
                        nursery.start_soon(self._pump, server, client, nursery.cancel_scope)
                finally:
                    self._open -= {client, server}

    def passes(self, sink: trio.SocketStream, data: bytes | bytearray) -> None:
        """Called with all that is about to go to `sink`; for subclasses that want to know."""

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                self.passes(sink, data)
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            scope.cancel()
