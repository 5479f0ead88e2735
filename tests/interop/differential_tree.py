"""The files that a row of the differential test begins with, and what becomes of them."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

OLD_MS = 1_500_000_000_000
"""When every file of a row was last changed, in milliseconds."""


@dataclass(frozen=True, slots=True)
class File:
    """A regular file."""

    content: bytes = b""
    mode: int = 0o644

    def make(self, path: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
        os.chmod(path, self.mode)


@dataclass(frozen=True, slots=True)
class Folder:
    """An empty directory."""

    mode: int = 0o755

    def make(self, path: bytes) -> None:
        os.mkdir(path)
        os.chmod(path, self.mode)


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str

    def make(self, path: bytes) -> None:
        os.symlink(self.target, path)


@dataclass(frozen=True, slots=True)
class Fifo:
    """A named pipe."""

    def make(self, path: bytes) -> None:
        os.mkfifo(path)


Files: TypeAlias = Mapping[bytes, File | Folder | Link | Fifo]
"""What lies in the row's own directory, each directory before what is in it."""


def make_files(root: Path, files: Files) -> None:
    """Lay out files in a directory that is empty."""
    for name, entry in files.items():
        entry.make(os.path.join(os.fsencode(root), name))
    for name in files:
        os.utime(
            os.path.join(os.fsencode(root), name),
            ns=(OLD_MS * 10**6, OLD_MS * 10**6),
            follow_symlinks=False,
        )


def unlock(root: Path, files: Files) -> None:
    """Let the directories that are left be cleared away."""
    for name, entry in files.items():
        if isinstance(entry, Folder):
            with suppress(FileNotFoundError):
                os.chmod(os.path.join(os.fsencode(root), name), 0o755)


def contents(folder: Path) -> dict[str, str]:
    """What lies in a directory and below."""
    root = os.fsencode(folder)
    found = {}
    for above, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(above, name)
            shown = os.path.relpath(path, root).decode("utf-8", "backslashreplace")
            found[shown] = _entry(path)
    return found


def _entry(path: bytes) -> str:
    if os.path.islink(path):
        return f"link to {os.fsdecode(os.readlink(path))}"
    mode = f"{os.stat(path).st_mode & 0o7777:o}"
    if os.path.isdir(path):
        return f"folder {mode}"
    if os.path.isfile(path):
        is_open = os.access(path, os.R_OK)
        content = Path(os.fsdecode(path)).read_bytes() if is_open else b"that can't be read"
        return f"file {mode} {readable(content)}"
    return "fifo"


def readable(data: bytes) -> str:
    """Bytes as text; what is not UTF-8 is escaped."""
    return short(data.decode("utf-8", "backslashreplace"))


def short(text: str) -> str:
    """Whatever is long by its beginning, its length and a checksum."""
    if len(text) <= 200:
        return text
    return f"{text[:10]}… ({len(text)} characters, CRC {crc32(text.encode()):08x})"
