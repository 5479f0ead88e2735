"""Standard input and outputs as bytes, for a task that must stay able to end at any time."""

import errno
import fcntl
import os
import select
import stat
import struct
import termios
from typing import Protocol

import trio

__all__ = ["ByteSink", "ByteSource", "FdSink", "FdSource", "open_missing_descriptors"]


_DEV_NULL = os.makedev(1, 3)
"""Device number of /dev/null (null(4))."""


class ByteSource(Protocol):
    """Where bytes come from."""

    def at_end(self) -> bool:
        """Whether there is surely nothing to come, found out without taking anything."""

    async def receive(self, max_bytes: int) -> bytes:
        """The next bytes, empty at the end. Raises `OSError`. A call that was cancelled must be
        the last one."""


class ByteSink(Protocol):
    """Where bytes go to."""

    async def write(self, data: bytes) -> None:
        """Write all of the data. Raises `OSError`. A call that was cancelled must be the last."""


class FdSource:
    """Reads a file descriptor without changing it: other processes may share it.

    On a terminal, a pipe or a socket nothing is taken before it is asked for. A file, for which
    there is no waiting, is read in a thread, so that a slow disk stops nothing else.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def at_end(self) -> bool:
        """Whether it is /dev/null, a file read to its end, or a pipe or socket that is closed."""
        status = os.fstat(self._fd)
        if stat.S_ISREG(status.st_mode):
            return os.lseek(self._fd, 0, os.SEEK_CUR) >= status.st_size
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == _DEV_NULL
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            return self._is_readable() and not self._waiting_bytes()
        return False

    async def receive(self, max_bytes: int) -> bytes:
        """See `ByteSource`."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self._fd)
            except PermissionError:  # what epoll says to files (EPERM, epoll_ctl(2))
                return await trio.to_thread.run_sync(
                    os.read, self._fd, max_bytes, abandon_on_cancel=True
                )
            try:
                return os.read(self._fd, max_bytes)
            except BlockingIOError:  # somebody else was faster, or made it non-blocking
                pass

    def _is_readable(self) -> bool:
        """Whether a read would return at once; it does at the end of a pipe as well."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def _waiting_bytes(self) -> int:
        answer = fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4))
        return int(struct.unpack("i", answer)[0])


class FdSink:
    """Writes to a file descriptor, in a thread: only so can a stuck reader be left behind
    without making the descriptor, which others may share, non-blocking."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    async def write(self, data: bytes) -> None:
        """See `ByteSink`."""
        await trio.to_thread.run_sync(self._write, data, abandon_on_cancel=True)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # somebody else made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()


def open_missing_descriptors() -> None:
    """Put /dev/null in the place of a closed descriptor 0, 1 or 2.

    Else the next socket would get its number, and output would be written into it. In the place of
    standard output it can't be written to: whoever closes that wants no output, and any there is
    must not seem to have been delivered. Messages, though, may get lost.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDONLY if fd == 1 else os.O_RDWR)
