"""Frames in a form for people."""

from ...frames import (
    AckFrame,
    DataFrame,
    Frame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)

__all__ = ["describe"]


def describe(frame: Frame | InvalidFrame) -> str:
    """One line about a frame. Incarnations are cut to their last 4 hexadecimal digits."""
    if isinstance(frame, InvalidFrame):
        return f"invalid frame: {frame.cause.name}"
    match frame:
        case DataFrame(seq=seq, segment_index=index, segment_count=count, payload=payload):
            part = f" part {index + 1} of {count}" if count > 1 else ""
            text = f"data {seq}{part}, {len(payload)} bytes"
        case ResumeFrame(next_seq=next_seq, incarnation=own, peer_incarnation=peer):
            kind = "answer" if frame.answer else "resume"
            text = f"{kind} {next_seq}, {own & 0xFFFF:04x} to {peer & 0xFFFF:04x}"
        case ResetFrame(reason=reason):
            text = f"reset {reason!r}"
        case AckFrame():
            text = "ack"
        case HeartbeatFrame():
            text = "heartbeat"
        case _:
            text = f"handshake, {len(frame.payload)} bytes"
    report = f", ack {frame.ack}" if frame.ack or frame.ack_bits else ""
    bits = f" bits {frame.ack_bits:x}" if frame.ack_bits else ""
    return f"{frame.stream_id}: {text}{report}{bits}"
