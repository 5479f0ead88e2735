"""Events as JSON lines."""

import json

import pytest

from sansrelay import (
    DataReceived,
    EndedBy,
    Event,
    FrameCause,
    FrameRejected,
    LinkLost,
    Profile,
    ResetReason,
    StreamOpened,
    StreamReset,
)
from sansrelay.trace import trace_line


@pytest.mark.parametrize(
    ("event", "rest"),
    [
        (LinkLost(), {"event": "LinkLost"}),
        (
            StreamOpened(stream_id="s", profile=Profile.BASIC),
            {"event": "StreamOpened", "stream_id": "s", "profile": "basic"},
        ),
        (
            DataReceived(stream_id="s", data=b"secret"),
            {"event": "DataReceived", "stream_id": "s", "size": 6},
        ),
        (
            FrameRejected(stream_id=None, cause=FrameCause.NO_BODY, detail="a\nb"),
            {
                "event": "FrameRejected",
                "stream_id": None,
                "cause": "no_body",
                "detail": "a\N{REPLACEMENT CHARACTER}b",
            },
        ),
        (
            StreamReset(
                stream_id="s",
                reason=ResetReason.CLOSED,
                by=EndedBy.PEER,
                unknown=range(2, 4),
                never_sent=range(4, 4),
            ),
            {
                "event": "StreamReset",
                "stream_id": "s",
                "reason": "closed",
                "by": "peer",
                "unknown": [2, 4],
                "never_sent": [4, 4],
            },
        ),
    ],
)
def test_one_event_is_one_line(event: Event, rest: dict[str, object]) -> None:
    line = trace_line(event, 1.25)
    assert "\n" not in line
    assert json.loads(line) == {"at": 1.25, **rest}


def test_the_words_of_the_vocabulary_are_written_as_on_the_wire() -> None:
    event = StreamReset(stream_id="s", reason=ResetReason.GOING_AWAY, by=EndedBy.LOCAL)
    assert json.loads(trace_line(event, 0.0))["reason"] == "going_away"
