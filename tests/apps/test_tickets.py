"""Tickets: made, checked, and tampered with."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansrelay import Role
from sansrelay_apps.rendezvous.private_file import PrivateFileError
from sansrelay_apps.rendezvous.tickets import (
    MIN_KEY_SIZE,
    Ticket,
    TicketFault,
    TicketSigner,
    read_ticket_key,
)

SIGNER = TicketSigner(b"k" * MIN_KEY_SIZE)
TICKET = Ticket(
    role=Role.HARNESS, executor_id="box-1_A", principal=SIGNER.principal("token"), expires_at=1000
)
TEXT = SIGNER.issue(TICKET)


def check(
    text: str,
    *,
    role: Role = Role.HARNESS,
    executor_id: str = "box-1_A",
    now: float = 0,
    signer: TicketSigner = SIGNER,
) -> Ticket | TicketFault:
    return signer.check(text, role=role, executor_id=executor_id, now=now)


def test_a_ticket_comes_back_as_it_was_made() -> None:
    assert check(TEXT) == TICKET


def test_it_needs_no_escaping_in_a_url() -> None:
    assert quote(TEXT, safe="") == TEXT


@pytest.mark.parametrize(
    ("now", "result"),
    [(999.999, TICKET), (1000.0, TicketFault.EXPIRED), (1e12, TicketFault.EXPIRED)],
)
def test_it_is_good_until_it_expires(now: float, result: Ticket | TicketFault) -> None:
    assert check(TEXT, now=now) == result


def test_it_is_good_for_its_own_role_and_id_only() -> None:
    assert check(TEXT, role=Role.EXECUTOR) is TicketFault.INVALID
    for other in ("box-1_B", "box-1", "box-1_A1", "", "box-1_a"):
        assert check(TEXT, executor_id=other) is TicketFault.INVALID


def test_another_key_does_not_accept_it() -> None:
    assert check(TEXT, signer=TicketSigner(b"l" * MIN_KEY_SIZE)) is TicketFault.INVALID


def test_the_same_key_elsewhere_accepts_it() -> None:
    assert check(TEXT, signer=TicketSigner(b"k" * MIN_KEY_SIZE)) == TICKET


@pytest.mark.parametrize("field", range(4), ids=["version", "expiry", "principal", "mac"])
def test_no_part_of_it_can_be_changed(field: int) -> None:
    parts = TEXT.split(".")
    part = parts[field]
    for position in range(len(part)):
        for replacement in set("0129afAZ_-") - {part[position]}:
            parts[field] = part[:position] + replacement + part[position + 1 :]
            assert check(".".join(parts)) is TicketFault.INVALID


def test_the_expiry_has_one_spelling_only() -> None:
    for spelling in ("01000", "1_000", "+1000", "1000.0", "\u0661000", " 1000"):
        assert check(TEXT.replace(".1000.", f".{spelling}.")) is TicketFault.INVALID


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "v1...",
        TEXT + "=",
        TEXT + "\n",
        " " + TEXT,
        TEXT[:-1],
        TEXT * 2,
        "é",
        "\x00",
        "\ud800",
    ],
)
def test_what_is_no_ticket_is_invalid(text: str) -> None:
    assert check(text) is TicketFault.INVALID


@given(st.text())
def test_nothing_that_is_sent_raises(text: str) -> None:
    assert check(text) is TicketFault.INVALID


@given(
    st.sampled_from(Role),
    st.from_regex(r"[A-Za-z0-9_-]{1,256}", fullmatch=True),
    st.text(min_size=1),
    st.integers(min_value=0, max_value=10**12),
)
def test_every_ticket_is_good_for_itself_alone(
    role: Role, executor_id: str, token: str, expires_at: int
) -> None:
    ticket = Ticket(
        role=role,
        executor_id=executor_id,
        principal=SIGNER.principal(token),
        expires_at=expires_at,
    )
    text = SIGNER.issue(ticket)
    assert check(text, role=role, executor_id=executor_id, now=expires_at - 1) == ticket
    assert SIGNER.issue(replace(ticket, expires_at=expires_at + 1)) != text


def test_a_principal_names_a_token_without_giving_it_away() -> None:
    principal = SIGNER.principal("token")
    assert re.fullmatch(r"[0-9a-f]{32}", principal)
    assert SIGNER.principal("token") == principal
    assert SIGNER.principal("Token") != principal
    # Without the key, a list of likely tokens is of no use.
    assert TicketSigner(b"l" * MIN_KEY_SIZE).principal("token") != principal


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes or more, not 31"):
        TicketSigner(bytes(MIN_KEY_SIZE - 1))


def test_a_key_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(range(MIN_KEY_SIZE - 1)) + b"\n")
    path.chmod(0o600)
    assert read_ticket_key(path) == bytes(range(MIN_KEY_SIZE - 1)) + b"\n"


def test_a_short_key_file_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"s3cret")
    path.chmod(0o600)
    with pytest.raises(PrivateFileError, match=r"umask 077; openssl rand -base64 48") as caught:
        read_ticket_key(path)
    assert "s3cret" not in str(caught.value)
