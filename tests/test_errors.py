"""Causes and reasons: data for programs, text for people."""

import pytest

from sansrelay.errors import (
    FrameCause,
    LocalCause,
    LocalProtocolError,
    Outcome,
    ResetReason,
    clean_reason,
    reason_of,
)


@pytest.mark.parametrize("reason", ResetReason)
def test_each_reason_is_its_text_on_the_wire(reason: ResetReason) -> None:
    assert reason_of(str(reason)) is reason
    assert str(reason) == reason.value == reason.name.lower()
    assert clean_reason(reason) == reason.value


@pytest.mark.parametrize("text", ["", "Closed", "closed ", "closed\n", "ended by operator"])
def test_a_foreign_word_is_no_member(text: str) -> None:
    assert reason_of(text) is None


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ended by operator", "ended by operator"),
        ("Grüße ☃", "Grüße ☃"),
        ("a\nb", "a\ufffdb"),
        ("a\r\x1b[31mb\x00\x7f\x9b", "a\ufffd\ufffd[31mb\ufffd\ufffd\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),  # would turn the rest of the line around
        ("a\u2028b\u00a0c\ue000\ud800", "a\ufffdb\ufffdc\ufffd\ufffd"),
        ("", ""),
    ],
    ids=repr,
)
def test_a_foreign_reason_is_made_fit_for_a_log(text: str, clean: str) -> None:
    assert clean_reason(text) == clean


def test_a_foreign_reason_is_cut() -> None:
    assert clean_reason("x" * 200) == "x" * 200
    assert clean_reason("x" * 201) == "x" * 200 + "…"
    assert clean_reason("a\nbc", limit=2) == "a\ufffd…"


@pytest.mark.parametrize("vocabulary", [FrameCause, LocalCause, Outcome, ResetReason])
def test_no_two_members_share_a_text(
    vocabulary: type[FrameCause | LocalCause | Outcome | ResetReason],
) -> None:
    # Of two members with one value the second would be an alias of the first.
    assert len(vocabulary.__members__) == len(list(vocabulary))


def test_a_local_error_says_its_cause_as_data() -> None:
    error = LocalProtocolError(LocalCause.NO_CAPACITY, "wait for SendCapacityAvailable")
    assert error.cause is LocalCause.NO_CAPACITY
    assert str(error) == "wait for SendCapacityAvailable"
