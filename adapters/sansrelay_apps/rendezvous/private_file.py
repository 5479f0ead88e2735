"""Reading files that hold secrets: only those that nobody else can read."""

import os
import stat
from pathlib import Path

__all__ = ["MAX_PRIVATE_FILE_SIZE", "PrivateFileError", "read_private_file"]

MAX_PRIVATE_FILE_SIZE = 1024 * 1024
"""Largest secret file that is read, in bytes."""

_MODES = (0o600, 0o400)


class PrivateFileError(Exception):
    """A secret file can't be used. The message names the file and says what to do."""


def read_private_file(path: Path) -> bytes:
    """The contents of a regular file of mode 0600 or 0400.

    Raises `PrivateFileError` for one that is missing, not regular, open to others, or larger than
    `MAX_PRIVATE_FILE_SIZE`.
    """
    try:
        # Opening a FIFO would block for ever without O_NONBLOCK.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(found):
                raise PrivateFileError(f"{path} is not a regular file")
            mode = stat.S_IMODE(found)
            if mode not in _MODES:
                raise PrivateFileError(
                    f"{path} has mode {mode:04o}, and holds secrets: run `chmod 600 {path}`"
                )
            content = file.read(MAX_PRIVATE_FILE_SIZE + 1)
    except OSError as error:
        raise PrivateFileError(f"can't read {path}: {error.strerror}") from error
    if len(content) > MAX_PRIVATE_FILE_SIZE:
        raise PrivateFileError(f"{path} is larger than {MAX_PRIVATE_FILE_SIZE} bytes")
    return content
