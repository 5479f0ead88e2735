"""Bytes -> frame: `decode_frame` and `read_header`, under usual and under tight limits."""

from typing import Final

from fuzz.states import CONFIGS
from sansrelay import FrameCause, RelayConfig
from sansrelay.codec import decode_frame, encode_frame, read_header
from sansrelay.frames import DataFrame, Frame, InvalidFrame, ResumeFrame

__all__ = ["Decoded", "check_codec", "play"]

_IN_THE_BODY: Final = frozenset(
    {
        FrameCause.NOT_PROTOBUF,
        FrameCause.OUT_OF_RANGE,
        FrameCause.TOO_MANY_FIELDS,
        FrameCause.EMPTY_PAYLOAD,
        FrameCause.EMPTY_REASON,
        FrameCause.REASON_TOO_LONG,
        FrameCause.BAD_SEGMENT,
    }
)
"""Faults inside a body, which a router does not look into."""


class Decoded:
    """What is left of an input: the frame."""

    live_streams = 0
    held_segments = 0

    def __init__(self, data: bytes) -> None:
        self.bytes_in = len(data)
        self.frames = [check_codec(data, config) for config in CONFIGS[:2]]


def check_codec(data: bytes, config: RelayConfig) -> Frame | InvalidFrame:
    """Decode both ways. The two have to agree, and what was understood has to survive a round."""
    frame = decode_frame(data, config)
    header = read_header(data, config)
    if isinstance(frame, InvalidFrame):
        assert isinstance(frame.cause, FrameCause)
        assert frame.detail
        if not isinstance(header, InvalidFrame):
            assert frame.cause in _IN_THE_BODY, f"a router passes {frame.cause}"
        return frame
    assert not isinstance(header, InvalidFrame), f"a router drops {frame}: {header}"
    assert (header.stream_id, header.ack, header.ack_bits) == frame[:3]
    if isinstance(frame, DataFrame):
        assert (header.body, header.seq) == ("data", frame.seq)
    elif isinstance(frame, ResumeFrame):
        assert (header.body, header.next_seq) == ("resume", frame.next_seq)
        assert header.peer_incarnation == frame.peer_incarnation
    again = encode_frame(frame)
    assert len(again) <= len(data), "the canonical form is not the shortest"
    assert decode_frame(again, config) == frame
    return frame


def play(data: bytes) -> Decoded:
    """One input."""
    return Decoded(data)
