"""Tickets: what authorises a WebSocket dial, inside its URL.

Executors and harnesses dial the URL they were given as it is, and send no header of their own
(Codex behaviour). So the URL says whose link it is and what for, and proves it::

    /relay/ID?role=harness&ticket=v1.EXPIRY.PRINCIPAL.MAC

EXPIRY is in seconds since 1970. MAC is an HMAC-SHA256, in base64url, over role, id, principal and
expiry. A ticket is good any number of times until it expires: whoever holds one acts as its
principal, so the URL is a secret.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sansrelay.connection import Role

from .private_file import PrivateFileError, read_private_file

__all__ = ["MIN_KEY_SIZE", "Ticket", "TicketFault", "TicketSigner", "read_ticket_key"]

MIN_KEY_SIZE = 32
"""Least size of a ticket key, in bytes."""

_TICKET = re.compile(r"v1\.([0-9]{1,15})\.([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right to dial in one role, for one executor id, until a point in time."""

    role: Role
    executor_id: str
    principal: str
    """Who asked for it, as `TicketSigner.principal` tells."""
    expires_at: int
    """Seconds since 1970; it is not good any more from here on."""


class TicketFault(Enum):
    """Why a ticket is not good."""

    INVALID = "it was not issued here for this role and id"
    EXPIRED = "it has expired"


class TicketSigner:
    """Makes and checks tickets. Two signers with the same key accept each other's."""

    def __init__(self, key: bytes) -> None:
        """`key` must be secret and random. Raises `ValueError` below `MIN_KEY_SIZE` bytes."""
        if len(key) < MIN_KEY_SIZE:
            raise ValueError(f"a ticket key has {MIN_KEY_SIZE} bytes or more, not {len(key)}")
        self._key = key

    def principal(self, token: str) -> str:
        """A name for the holder of a token, from which the token can't be told."""
        return self._mac("principal", token).hex()[:32]

    def issue(self, ticket: Ticket) -> str:
        """The ticket as it stands in a URL. It needs no percent-encoding."""
        mac = urlsafe_b64encode(self._mac_of(ticket)).decode().rstrip("=")
        return f"v1.{ticket.expires_at}.{ticket.principal}.{mac}"

    def check(self, text: str, *, role: Role, executor_id: str, now: float) -> Ticket | TicketFault:
        """The ticket that a URL holds for a role and an id; `now` in seconds since 1970.

        Never raises, whatever `text` is.
        """
        match = _TICKET.fullmatch(text)
        if match is None:
            return TicketFault.INVALID
        ticket = Ticket(
            role=role, executor_id=executor_id, principal=match[2], expires_at=int(match[1])
        )
        # The whole text is compared, so that there is one spelling only of each ticket.
        if not hmac.compare_digest(self.issue(ticket), text):
            return TicketFault.INVALID
        return ticket if now < ticket.expires_at else TicketFault.EXPIRED

    def _mac_of(self, ticket: Ticket) -> bytes:
        # No field can hold a newline, so no two tickets give the same text.
        fields = (ticket.role.value, ticket.executor_id, ticket.principal, str(ticket.expires_at))
        return self._mac("ticket v1", "\n".join(fields))

    def _mac(self, purpose: str, text: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\n{text}".encode(), hashlib.sha256)


def read_ticket_key(path: Path) -> bytes:
    """Read a ticket key: all bytes of a file of mode 0600. Raises `PrivateFileError`."""
    key = read_private_file(path)
    if len(key) < MIN_KEY_SIZE:
        raise PrivateFileError(
            f"{path} is no ticket key, which has {MIN_KEY_SIZE} random bytes or more: make one "
            f"with `(umask 077; openssl rand -base64 48 > {path})`"
        )
    return key
