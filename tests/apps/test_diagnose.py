"""One sentence for each failure."""

import pytest

from sansrelay.errors import ResetReason
from sansrelay.events import EndedBy, StreamReset
from sansrelay_apps.diagnose import explain_connect_error, explain_reset
from sansrelay_trio import ConnectCause, ConnectError


def reset(reason: str) -> StreamReset:
    return StreamReset(stream_id="s", reason=reason, by=EndedBy.PEER)


def test_every_reason_has_a_sentence_of_its_own() -> None:
    lines = [explain_reset(reset(reason), executor="box1") for reason in ResetReason]
    assert len(set(lines)) == len(ResetReason)
    assert all("\n" not in line and "{" not in line for line in lines)


def test_a_foreign_reason_is_repeated_harmlessly() -> None:
    line = explain_reset(reset("out of\x1b[2J cheese"), executor="box1")
    assert line == "box1 ended the stream and says: out of\N{REPLACEMENT CHARACTER}[2J cheese"


@pytest.mark.parametrize("cause", ConnectCause)
def test_every_failed_connection_has_a_hint(cause: ConnectCause) -> None:
    line = explain_connect_error(ConnectError(cause, "no\nlink"))
    what, hint = line.split("; ", 1)
    assert what == "no\N{REPLACEMENT CHARACTER}link"
    assert hint
