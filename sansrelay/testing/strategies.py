"""Hypothesis strategies for frames and configurations.

Needs Hypothesis, which is why `sansrelay.testing` does not import it: ask for this module by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from ..config import MAX_SEQ, RelayConfig
from ..errors import ResetReason
from ..frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)

__all__ = ["configs", "frames", "stream_ids"]

_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    str.strip
)
_uint32 = st.integers(0, MAX_SEQ)
_uint64 = st.integers(0, 2**64 - 1)


def stream_ids() -> st.SearchStrategy[str]:
    """Stream ids that fit `RelayConfig.max_stream_id_size` (128 bytes) and are not blank."""
    return _texts


def frames(
    stream_id: st.SearchStrategy[str] = _texts,
    *,
    numbers: st.SearchStrategy[int] = _uint32,
    incarnations: st.SearchStrategy[int] = _uint64,
    payloads: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[Frame]:
    """Valid frames of all kinds.

    `numbers` are the ack fields and sequence numbers. Draw ids, numbers and incarnations from a few
    values to get frames that mean something to one another.
    """
    head = (stream_id, numbers, numbers)
    if payloads is None:
        payloads = st.binary(min_size=1, max_size=200)
    reasons = st.one_of(st.sampled_from(ResetReason).map(str), _texts)
    return st.one_of(
        st.builds(DataFrame, *head, numbers, st.just(0), st.just(1), payloads),
        st.builds(DataFrame, *head, numbers, st.integers(0, 3), st.integers(4, 5), payloads),
        st.builds(DataFrame, *head, numbers, st.just(0), _uint32.filter(bool), payloads),
        st.builds(AckFrame, *head),
        st.builds(ResumeFrame, *head, numbers, incarnations, incarnations, st.booleans()),
        st.builds(ResetFrame, *head, reasons),
        st.builds(HeartbeatFrame, *head),
        st.builds(HandshakeFrame, *head, payloads),
    )


_ROOMY: Final = RelayConfig(
    max_message_size=1000,
    segment_size=100,
    opening_window_segments=8,
    send_window_segments=24,
    send_window_bytes=20_000,
    receive_window_segments=200,
    receive_window_bytes=20_000,
    receive_buffer_size=100_000,
    unconfirmed_buffer_size=5000,
)
_TIGHT: Final[Mapping[str, Sequence[int]]] = {
    "max_streams": [2, 4],
    "max_ended_streams": [1, 2],
    "max_pending_streams": [1],
    "segment_size": [10, 300, 1000],
    "send_window_segments": [1, 3, 150],
    "send_window_bytes": [50, 500, 2000],
    "opening_window_segments": [1, 3],
    "send_buffer_size": [200, 2000],
    "send_buffer_messages": [1, 3],
    "receive_buffer_size": [1000, 2000, 5000],
    "unconfirmed_buffer_size": [500, 1500],
    "ack_after_segments": [1, 4],
    "ack_after_bytes": [100],
    "reorder_threshold": [1, 2],
    "resets_per_second": [1],
}


@st.composite
def configs(draw: st.DrawFn) -> RelayConfig:
    """Configurations for messages of up to 1000 bytes; at most five limits are tight.

    A handful of messages reaches a tight limit. Any two of them fit each other: no send window is
    larger than a receive window.
    """
    names = draw(st.lists(st.sampled_from(sorted(_TIGHT)), unique=True, max_size=5))
    tight: dict[str, Any] = {name: draw(st.sampled_from(_TIGHT[name])) for name in names}
    return replace(_ROOMY, **tight)
