"""Files that hold secrets are read only if nobody else can."""

import os
from pathlib import Path

import pytest

from sansrelay_apps.rendezvous.private_file import (
    MAX_PRIVATE_FILE_SIZE,
    PrivateFileError,
    read_private_file,
)


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_reads_what_only_the_owner_can_read(tmp_path: Path, mode: int) -> None:
    assert read_private_file(private(tmp_path / "file", b"secret\n", mode)) == b"secret\n"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o700, 0o500, 0o4600])
def test_other_modes_are_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "file", b"secret", mode)
    with pytest.raises(PrivateFileError, match=rf"mode {mode:04o}, .*chmod 600 {path}") as caught:
        read_private_file(path)
    assert "secret" not in str(caught.value).replace("holds secrets", "")


def test_a_file_over_the_limit_is_refused_and_one_at_it_read(tmp_path: Path) -> None:
    path = private(tmp_path / "file", bytes(MAX_PRIVATE_FILE_SIZE))
    assert len(read_private_file(path)) == MAX_PRIVATE_FILE_SIZE
    private(path, bytes(MAX_PRIVATE_FILE_SIZE + 1))
    with pytest.raises(PrivateFileError, match="larger than 1048576 bytes"):
        read_private_file(path)


def test_what_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match=r"can't read .*missing: No such file"):
        read_private_file(tmp_path / "missing")
    with pytest.raises(PrivateFileError, match=r"can't read .*: Is a directory"):
        read_private_file(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(PrivateFileError, match="fifo is not a regular file"):
        read_private_file(tmp_path / "fifo")
