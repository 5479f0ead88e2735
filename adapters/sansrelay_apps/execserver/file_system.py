"""What the `fs/*` methods do to files. These functions block, and are to be run in threads.

They follow Codex, except that they touch the content of regular files only: a pipe or a device
could hang them, never end, or do something when it is opened.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import BinaryIO

from .file_params import DirectoryEntry, MetadataResult

__all__ = [
    "Refused",
    "canonicalize",
    "copy",
    "create_directory",
    "get_metadata",
    "read_directory",
    "read_file",
    "remove",
    "write_file",
]

_PIECE = 256 * 1024
"""Bytes that are read at once."""


class Refused(Exception):
    """The file system could do it, but it is not done; the message says why."""


def read_file(path: str, *, limit: int) -> bytes:
    """The content of a file. Raises `Refused` for one of more than `limit` bytes."""
    data = bytearray()
    with _open_regular(path) as file:
        # Files that are made as they are read, like those in /proc, have no size. Some of them
        # can't be read in one piece.
        size = os.fstat(file.fileno()).st_size
        while size <= limit and (part := file.read(_PIECE)):
            data += part
            size = len(data)
    if size > limit:
        raise Refused(f"the file is too large to read: the limit is {limit} bytes")
    return bytes(data)


def write_file(path: str, data: bytes) -> None:
    """Make a file, or replace the content of one and leave the rest as it is.

    Not in one step: whoever reads it meanwhile, or after a failure, finds a part.
    """
    with _open_regular(path, create_mode=0o666) as file:
        file.truncate()
        file.write(data)


def create_directory(path: str, *, recursive: bool) -> None:
    """With `recursive`, what leads to it is made too, and one that exists is no error."""
    if recursive:
        os.makedirs(path, exist_ok=True)
    else:
        os.mkdir(path)


def get_metadata(path: str) -> MetadataResult:
    """What a path leads to, and whether it is a symbolic link itself.

    Linux does not tell Python when a file was made, so that is 0, as it is from Codex on Linux.
    """
    target = os.stat(path)
    return MetadataResult(
        is_directory=stat.S_ISDIR(target.st_mode),
        is_file=stat.S_ISREG(target.st_mode),
        is_symlink=os.path.islink(path),
        size=target.st_size,
        created_at_ms=0,
        modified_at_ms=max(0, target.st_mtime_ns // 1_000_000),
    )


def canonicalize(path: str) -> str:
    """The path of the same thing without symbolic links and dots."""
    return os.path.realpath(path, strict=True)


def read_directory(path: str, *, limit: int) -> tuple[DirectoryEntry, ...]:
    """What is in a directory, by name. A link is what it leads to, and left out if that is nothing.

    Bytes of a name that are not UTF-8 become U+FFFD. Raises `Refused` for more than `limit` names.
    """
    entries: list[DirectoryEntry] = []
    with os.scandir(path) as found:
        for number, entry in enumerate(found):
            if number >= limit:
                raise Refused(f"the directory is too large to read: the limit is {limit} entries")
            try:
                mode = entry.stat().st_mode
            except OSError:
                continue
            entries.append(
                DirectoryEntry(
                    file_name=os.fsencode(entry.name).decode(errors="replace"),
                    is_directory=stat.S_ISDIR(mode),
                    is_file=stat.S_ISREG(mode),
                )
            )
    return tuple(sorted(entries, key=lambda entry: entry.file_name))


def remove(path: str, *, recursive: bool, force: bool) -> None:
    """A link is removed itself. With `force`, a path that does not exist is no error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        if force:
            return
        raise
    if not stat.S_ISDIR(mode):
        os.unlink(path)
    elif recursive:
        shutil.rmtree(path)
    else:
        os.rmdir(path)


def copy(source: str, destination: str, *, recursive: bool, check: Callable[[], None]) -> None:
    """Copy a file with its permissions, a link as a link, or a directory with what is in it.

    A file in the place of a copied one is written over, and a directory is added to. In a directory
    all else, like pipes and devices, is passed over. `check` is called now and then, and what it
    raises ends the copying.
    """
    mode = os.lstat(source).st_mode
    if stat.S_ISDIR(mode):
        if not recursive:
            raise Refused("to copy a directory, say recursive: true")
        if _is_within(destination, source):
            raise Refused("a directory can't be copied into itself")
        _copy_directory(source, destination, check)
    elif stat.S_ISLNK(mode):
        _copy_link(source, destination)
    elif stat.S_ISREG(mode):
        _copy_file(source, destination, check)
    else:
        raise Refused("only regular files, directories and symbolic links can be copied")


def _copy_directory(source: str, destination: str, check: Callable[[], None]) -> None:
    pending = [(source, destination)]
    while pending:
        source, destination = pending.pop()
        os.makedirs(destination, exist_ok=True)
        with os.scandir(source) as found:
            for entry in found:
                check()
                target = os.path.join(destination, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, target))
                elif entry.is_symlink():
                    _copy_link(entry.path, target)
                elif entry.is_file(follow_symlinks=False):
                    _copy_file(entry.path, target, check)


def _copy_link(source: str, destination: str) -> None:
    os.symlink(os.readlink(source), destination)


def _copy_file(source: str, destination: str, check: Callable[[], None]) -> None:
    with _open_regular(source) as reader:
        status = os.fstat(reader.fileno())
        mode = stat.S_IMODE(status.st_mode)
        with _open_regular(destination, create_mode=mode) as writer:
            if os.path.samestat(status, os.fstat(writer.fileno())):
                raise Refused("source and destination are the same file")
            writer.truncate()
            while data := reader.read(_PIECE):
                check()
                writer.write(data)
            os.fchmod(writer.fileno(), mode)


def _open_regular(path: str, *, create_mode: int | None = None) -> BinaryIO:
    """Open a file to be read; or, with a mode for the case that it has to be made, to be written,
    not emptied yet."""
    flags = os.O_RDONLY if create_mode is None else os.O_WRONLY | os.O_CREAT
    try:
        # Before it is opened as well: that alone can do something to a device.
        _check_regular(path, os.stat(path))
    except FileNotFoundError:
        if create_mode is None:
            raise
    descriptor = os.open(path, flags | os.O_NONBLOCK, create_mode or 0)
    try:
        _check_regular(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return open(descriptor, "rb" if create_mode is None else "wb")


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("not a regular file")


def _is_within(path: str, directory: str) -> bool:
    """Whether a path, of which the last parts need not exist, is a directory or lies below it."""
    directory = os.path.realpath(directory, strict=True)
    return os.path.commonpath((directory, os.path.realpath(path))) == directory
