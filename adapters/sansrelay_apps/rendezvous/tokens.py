"""Who may do what: bearer tokens, each with a role and maybe with a pattern of executor ids.

A token file has a line for each right. Blank lines, and lines that begin with `#`, are skipped::

    # role     token                      executor ids (all, if left out)
    executor   kX0pZr1nqk5oT0Rw3sUuFw     build-*
    harness    7y2VvJ0mB1h3QyQm9d0K8A

The ids are a pattern as in a shell: `*`, `?`, `[abc]`. A token may stand in several lines, and has
all the rights that they give. Whoever holds a token is one *principal*: two programs with the same
token may take over each other's streams, others can't touch them.
"""

import fnmatch
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from sansrelay.connection import Role
from sansrelay.registry import MAX_TOKEN_LENGTH

from .private_file import PrivateFileError, read_private_file

__all__ = ["Access", "AnyToken", "Right", "TokenTable", "Verdict", "read_token_file"]

_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{MAX_TOKEN_LENGTH}}}")
_PATTERN = re.compile(r"[A-Za-z0-9_*?\[\]!-]+")


class Verdict(Enum):
    """Whether a token gives a right."""

    GRANTED = "the token gives this right"
    UNKNOWN_TOKEN = "no line holds the token"
    WRONG_ROLE = "the token is for the other role"
    WRONG_ID = "the token is for other executor ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What one line of a token file gives. It keeps a hash, not the token."""

    role: Role
    token_hash: bytes = field(repr=False)
    """SHA-256."""
    ids: str = "*"
    """Pattern of the executor ids that it holds for."""


class Access(Protocol):
    """Decides on tokens."""

    def judge(self, token: str, role: Role, executor_id: str) -> Verdict:
        """Whether the holder of a token may act in a role for an executor id."""


class AnyToken:
    """Every token gives every right. For development only."""

    def judge(self, token: str, role: Role, executor_id: str) -> Verdict:
        """Always GRANTED."""
        return Verdict.GRANTED


class TokenTable:
    """The tokens of a token file."""

    def __init__(self, rights: Sequence[Right]) -> None:
        self._rights = rights

    def judge(self, token: str, role: Role, executor_id: str) -> Verdict:
        """As in `Access`. Takes the same time for every unknown token."""
        token_hash = _hash(token)
        held = [
            right for right in self._rights if hmac.compare_digest(right.token_hash, token_hash)
        ]
        if not held:
            return Verdict.UNKNOWN_TOKEN
        of_role = [right for right in held if right.role is role]
        if not of_role:
            return Verdict.WRONG_ROLE
        if any(fnmatch.fnmatchcase(executor_id, right.ids) for right in of_role):
            return Verdict.GRANTED
        return Verdict.WRONG_ID


def read_token_file(path: Path) -> TokenTable:
    """Read a token file.

    Raises `PrivateFileError`, with the number of the line if one is bad; never with a token.
    """
    try:
        lines = read_private_file(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise PrivateFileError(f"{path} is not text in UTF-8") from error
    rights = [
        _parse(line, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rights:
        raise PrivateFileError(
            f"{path} holds no token: write lines like `executor TOKEN` and `harness TOKEN`"
        )
    return TokenTable(rights)


def _parse(line: str, where: str) -> Right:
    words = line.split()
    if not 2 <= len(words) <= 3:
        raise PrivateFileError(
            f"{where}: write a role, a token and maybe a pattern of executor ids, "
            f"not {len(words)} words"
        )
    try:
        role = Role(words[0])
    except ValueError:
        # What stands there may well be a token.
        raise PrivateFileError(f"{where}: begin it with `executor` or `harness`") from None
    if not _TOKEN.fullmatch(words[1]):
        raise PrivateFileError(
            f"{where}: use a token of 1 to {MAX_TOKEN_LENGTH} visible ASCII characters"
        )
    ids = words[2] if len(words) == 3 else "*"
    if not _PATTERN.fullmatch(ids):
        raise PrivateFileError(
            f"{where}: use only letters, digits, `-`, `_`, `*`, `?`, `[`, `]` and `!` "
            "in the pattern of executor ids"
        )
    return Right(role=role, token_hash=_hash(words[1]), ids=ids)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
