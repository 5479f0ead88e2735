"""What lies between an end of the relay and its rendezvous, and can go wrong: a TCP proxy."""

import asyncio
import socket
import struct
from contextlib import suppress

from adapters.loops import AsyncioLoop

__all__ = ["Proxy", "closed_port"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_USUAL_CHUNK = 64 * 1024


class _Flow:
    """One direction of a connection, with room for one chunk."""

    def __init__(self, source: socket.socket, target: socket.socket, *, chunk: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._target = source, target
        self._chunk = chunk
        self._held = b""
        self._loop.add_reader(source, self._read)
        self.loses = False

    def stop(self) -> None:
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._target)

    def _read(self) -> None:
        try:
            data = self._source.recv(self._chunk)
        except OSError:
            data = b""
        if not data:
            self.stop()
            with suppress(OSError):
                self._target.shutdown(socket.SHUT_WR)
        elif not self.loses:
            self._held = data
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._target, self._write)

    def _write(self) -> None:
        with suppress(BlockingIOError):
            try:
                self._held = self._held[self._target.send(self._held) :]
            except (BrokenPipeError, ConnectionError):
                self._held = b""
        if not self._held:
            self._loop.remove_writer(self._target)
            self._loop.add_reader(self._source, self._read)


class _Connection:
    def __init__(self, near: socket.socket, far: socket.socket, *, chunk: int) -> None:
        self.ends = near, far
        for end in self.ends:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.flows = _Flow(near, far, chunk=chunk), _Flow(far, near, chunk=chunk)

    def close(self, *, reset: bool) -> None:
        for flow in self.flows:
            flow.stop()
        for end in self.ends:
            if reset:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            end.close()


class Proxy:
    """Passes connections on to a port. All methods are for the thread of the test."""

    def __init__(self, target: int) -> None:
        self.target = target
        """Where connections to come lead to."""
        self._loop = AsyncioLoop()
        self._chunk = _USUAL_CHUNK
        self._connections: list[_Connection] = []
        self._is_down = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._loop.call(self._listen)

    def stop(self) -> None:
        """Break all connections and listen no more."""
        self._loop.call(self._close)
        self._loop.stop()

    def cut(self, *, reset: bool = True) -> int:
        """Break all connections, by a TCP reset or by ending them; returns how many."""
        return self._loop.call(lambda: self._cut(reset=reset))

    def go_down(self) -> None:
        """Break all connections, and every new one, until `come_up`."""

        def go_down() -> None:
            self._is_down = True
            self._cut(reset=True)

        self._loop.call(go_down)

    def come_up(self) -> None:
        """Take connections again."""
        self._is_down = False

    def lose(self) -> None:
        """Lose all that is sent on the connections of now, without notice."""

        def lose() -> None:
            for connection in self._connections:
                for flow in connection.flows:
                    flow.loses = True

        self._loop.call(lose)

    def block(self) -> None:
        """Take nothing any more on the connections of now."""

        def block() -> None:
            for connection in self._connections:
                for flow in connection.flows:
                    flow.stop()

        self._loop.call(block)

    def crumble(self, size: int = 1) -> None:
        """Pass so many bytes at a time, on connections to come."""
        self._chunk = size

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            if self._is_down:
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            near.close()
        else:
            self._connections.append(_Connection(near, far, chunk=self._chunk))

    def _cut(self, *, reset: bool) -> int:
        victims, self._connections = self._connections, []
        for connection in victims:
            connection.close(reset=reset)
        return len(victims)

    def _close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._cut(reset=True)


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
