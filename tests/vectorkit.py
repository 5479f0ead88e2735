"""The conformance vectors: their shape, and how they are replayed. The format: docs/vectors.md."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sansrelay import Event, RelayConfig, RelayConnection, Role
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.events import FrameRejected
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.rendezvous import Rendezvous, RendezvousConfig, RendezvousEvent

__all__ = [
    "DIRECTORY",
    "FORMAT",
    "Json",
    "canonical",
    "check_file",
    "dump",
    "expectations",
    "fixed32",
    "fixed64",
    "frame_from_json",
    "frame_to_json",
    "group",
    "load",
    "num",
    "scripted_files",
    "text",
    "varint",
    "with_hex",
]

Json = dict[str, Any]

FORMAT: Final = 1
DIRECTORY: Final = Path(__file__).parent / "vectors"

_WIDTH: Final = 100
_READ: Final = RelayConfig(max_frame_size=1 << 30)


def load(path: Path) -> Json:
    """One file of vectors. A member given twice is an error."""
    content = json.loads(path.read_text("utf-8"), object_pairs_hook=_object)
    assert isinstance(content, dict)
    return content


def _object(pairs: list[tuple[str, Any]]) -> Json:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"a member is given twice: {[name for name, _ in pairs]}")
    return content


def scripted_files() -> list[Path]:
    """The files of exchanges, at an endpoint and at a rendezvous."""
    return sorted([*DIRECTORY.glob("exchange_*.json"), *DIRECTORY.glob("rendezvous_*.json")])


# -- text


def dump(value: object) -> str:
    """JSON laid out for review: what fits on a line stays on one. Ends with a line end."""
    return _lay_out(value, 0, 0) + "\n"


def _lay_out(value: object, indent: int, used: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if indent + used + len(flat) <= _WIDTH or not isinstance(value, dict | list) or not value:
        return flat
    deeper = indent + 1
    pad = "\n" + " " * deeper
    if isinstance(value, dict):
        names = [(f"{json.dumps(name)}: ", part) for name, part in value.items()]
        parts = [name + _lay_out(part, deeper, len(name) + 1) for name, part in names]
        return "{" + pad + f",{pad}".join(parts) + "\n" + " " * indent + "}"
    parts = [_lay_out(part, deeper, 1) for part in value]
    return "[" + pad + f",{pad}".join(parts) + "\n" + " " * indent + "]"


# -- frames


def frame_to_json(frame: Frame) -> Json:
    """A frame under the names of the schema, without what is 0 or false."""
    content: Json = {}
    match frame:
        case DataFrame():
            body = "data"
            content = {
                "seq": frame.seq,
                "segment_index": frame.segment_index,
                "segment_count": frame.segment_count,
                "payload": frame.payload.hex(),
            }
        case AckFrame():
            body = "ack_frame"
        case ResumeFrame():
            body = "resume"
            content = {
                "next_seq": frame.next_seq,
                "incarnation": frame.incarnation and f"{frame.incarnation:x}",
                "peer_incarnation": frame.peer_incarnation and f"{frame.peer_incarnation:x}",
                "answer": frame.answer,
            }
        case ResetFrame():
            body = "reset"
            content = {"reason": frame.reason}
        case HeartbeatFrame():
            body = "heartbeat"
        case HandshakeFrame():
            body = "handshake"
            content = {"payload": frame.payload.hex()}
    head = {"stream_id": frame.stream_id, "ack": frame.ack, "ack_bits": frame.ack_bits}
    return _without_zeros(head) | {body: _without_zeros(content)}


def _without_zeros(content: Json) -> Json:
    return {name: value for name, value in content.items() if value}


def frame_from_json(content: Json) -> Frame:
    """The frame that the JSON means. Raises `ValueError` unless `frame_to_json` gives it back."""
    head = (content.get("stream_id", ""), content.get("ack", 0), content.get("ack_bits", 0))
    frame: Frame
    match content:
        case {"data": part}:
            frame = DataFrame(
                *head,
                part.get("seq", 0),
                part.get("segment_index", 0),
                part.get("segment_count", 0),
                bytes.fromhex(part.get("payload", "")),
            )
        case {"ack_frame": _}:
            frame = AckFrame(*head)
        case {"resume": part}:
            frame = ResumeFrame(
                *head,
                part.get("next_seq", 0),
                int(part.get("incarnation", "0"), 16),
                int(part.get("peer_incarnation", "0"), 16),
                part.get("answer", False),
            )
        case {"reset": part}:
            frame = ResetFrame(*head, part.get("reason", ""))
        case {"heartbeat": _}:
            frame = HeartbeatFrame(*head)
        case {"handshake": part}:
            frame = HandshakeFrame(*head, bytes.fromhex(part.get("payload", "")))
        case _:
            raise ValueError(f"a frame without a body: {content}")
    if frame_to_json(frame) != content:
        raise ValueError(f"not a frame: {content}; it was read as {frame}")
    return frame


def _sent(raw: bytes) -> Json:
    frame = decode_frame(raw, _READ)
    assert not isinstance(frame, InvalidFrame), frame
    return {"frame": frame_to_json(frame), "hex": raw.hex()}


# -- protobuf by hand, so that the vectors of frames lean on no codec


def varint(value: int, size: int = 1) -> bytes:
    """A varint, padded to at least `size` bytes."""
    out = bytearray()
    while value > 0x7F or len(out) + 1 < size:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def num(number: int, value: int, size: int = 1) -> bytes:
    """A field of wire type 0."""
    return varint(number << 3) + varint(value, size)


def text(number: int, content: bytes) -> bytes:
    """A field of wire type 2: string, bytes or message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def fixed64(number: int, value: int) -> bytes:
    """A field of wire type 1."""
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


def fixed32(number: int, value: int) -> bytes:
    """A field of wire type 5."""
    return varint(number << 3 | 5) + value.to_bytes(4, "little")


def group(number: int, content: bytes = b"") -> bytes:
    """A field of wire types 3 and 4."""
    return varint(number << 3 | 3) + content + varint(number << 3 | 4)


def canonical(frame: Json) -> bytes:
    """The fields in the order of their numbers, none twice, none that is 0, shortest varints."""
    out = num(1, 1) + text(2, frame["stream_id"].encode())
    for number, name in ((3, "ack"), (4, "ack_bits")):
        if frame.get(name):
            out += num(number, frame[name])
    if "data" in frame:
        part = frame["data"]
        body = b""
        for number, name in ((1, "seq"), (2, "segment_index"), (3, "segment_count")):
            if part.get(name):
                body += num(number, part[name])
        return out + text(5, body + text(4, bytes.fromhex(part["payload"])))
    if "resume" in frame:
        part = frame["resume"]
        body = num(1, part["next_seq"]) if "next_seq" in part else b""
        for number, name in ((1001, "incarnation"), (1002, "peer_incarnation")):
            if name in part:
                body += fixed64(number, int(part[name], 16))
        return out + text(7, body + (num(1003, 1) if "answer" in part else b""))
    if "reset" in frame:
        return out + text(8, text(1, frame["reset"]["reason"].encode()))
    if "handshake" in frame:
        return out + text(10, text(1, bytes.fromhex(frame["handshake"]["payload"])))
    return out + text(6 if "ack_frame" in frame else 9, b"")


# -- events


def event_to_json(event: Event | RendezvousEvent) -> Json:
    """An event with all its fields but the free text `detail`. Ranges are lists of numbers."""
    content: Json = {"event": type(event).__name__}
    for field in fields(event):
        if not (isinstance(event, FrameRejected) and field.name == "detail"):
            content[field.name] = _plain(getattr(event, field.name))
    return content


def _plain(value: object) -> object:
    match value:
        case str():  # a reset's reason too: its value is the word on the wire
            return str(value)
        case bytes():
            return value.hex()
        case Enum():
            return value.name.lower()
        case range():
            return list(value)
        case float():
            return _seconds(value)
    return value


def _seconds(value: float | None) -> float | int | None:
    if value is None:
        return None
    rounded = round(value, 6)
    return int(rounded) if rounded == int(rounded) else rounded


# -- shape

_FILE: Final = {"format": int, "kind": str, "about": str, "vectors": list}
_FRAME_BASE: Final = {"name": str, "hex": str}
_VALID: Final = _FRAME_BASE | {"frame": dict, "canonical": bool}
_INVALID: Final = _FRAME_BASE | {"cause": str, "rule": str, "why": str}
_VECTOR: Final = {"name": str, "purpose": str, "steps": list}
_AT_ENDPOINT: Final = _VECTOR | {"role": str, "incarnation": str}
_EXPECT: Final = {"frames": list, "events": list, "next_timeout": float}

_STEPS: Final[Mapping[str, Mapping[str, Mapping[str, type]]]] = {
    "exchange": {
        "link_opened": {},
        "link_closed": {},
        "timeout": {},
        "receive": {"hex": str},
        "open": {"stream_id": str},
        "send": {"stream_id": str, "data": str},
        "consume": {"stream_id": str, "messages": int},
        "close": {"stream_id": str, "reason": str},
        "reset": {"stream_id": str, "reason": str},
    },
    "rendezvous": {
        "executor_opened": {"link": int, "executor_id": str},
        "harness_opened": {"link": int, "executor_id": str, "principal": str},
        "link_closed": {"link": int},
        "timeout": {},
        "receive": {"link": int, "hex": str},
    },
}


def check_file(content: Json) -> None:
    """Nothing is missing, nothing is unknown, no name is used twice. Raises `ValueError`.

    What stands under `expect` is not looked into: a replay finds every difference there.
    """
    _check(content, _FILE, {})
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}")
    kind = content["kind"]
    for vector in content["vectors"]:
        match kind:
            case "frames_valid":
                _check(vector, _VALID, {"limits": dict, "note": str})
            case "frames_invalid":
                _check(vector, _INVALID, {"limit": str, "limits": dict})
            case "exchange":
                _check(vector, _AT_ENDPOINT, {"config": dict})
            case "rendezvous":
                _check(vector, _VECTOR, {"config": dict})
            case _:
                raise ValueError(f"kind {kind}")
        for step in vector.get("steps", []):
            _check_step(step, kind)
    names = [vector["name"] for vector in content["vectors"]]
    if len(set(names)) < len(names):
        raise ValueError("two vectors of one name")


def _check_step(step: Json, kind: str) -> None:
    members = _STEPS[kind].get(step.get("do", ""))
    if members is None:
        raise ValueError(f"a step does {step.get('do')!r}")
    optional = {"note": str, "frame": dict}
    if step["do"] != "receive":
        del optional["frame"]
    _check(step, {"at": float, "do": str, "expect": dict, **members}, optional)
    refused = {"refused": str} if kind == "rendezvous" else {}
    _check(step["expect"], _EXPECT, refused)


def _check(content: Json, required: Mapping[str, type], optional: Mapping[str, type]) -> None:
    wrong = required.keys() - content.keys() | content.keys() - required.keys() - optional.keys()
    if wrong:
        raise ValueError(f"missing or unknown: {sorted(wrong)} in {content}")
    for name, value in content.items():
        kind = required.get(name) or optional[name]
        if kind is float:
            good = value is None or isinstance(value, int | float)
        else:
            good = isinstance(value, kind)
        if not good or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{name} is {value!r}")


# -- replay


def with_hex(vector: Json) -> Json:
    """The vector with the bytes of each incoming frame beside the frame."""
    steps = []
    for step in vector["steps"]:
        if "frame" in step:
            step = step | {"hex": encode_frame(frame_from_json(step["frame"])).hex()}
        steps.append(step)
    return vector | {"steps": steps}


def expectations(vector: Json) -> Iterator[Json]:
    """What our implementation does at each step of a vector."""
    end: _Endpoint | _Router = _Endpoint(vector) if "role" in vector else _Router(vector)
    for step in vector["steps"]:
        due, at, is_timeout = end.next_timeout(), step["at"], step["do"] == "timeout"
        if is_timeout and (due is None or due > at):
            raise ValueError(f"a timeout at {at}, but it is due at {due}")
        if not is_timeout and due is not None and due < at:
            raise ValueError(f"a step at {at}, but a timeout is due at {due}")
        yield end.step(step)


class _Endpoint:
    """A `RelayConnection` under a script."""

    def __init__(self, vector: Json) -> None:
        self._conn = RelayConnection(
            Role(vector["role"]),
            incarnation=int(vector["incarnation"], 16),
            config=RelayConfig(**vector.get("config", {})),
        )
        self.next_timeout = self._conn.next_timeout

    def step(self, step: Json) -> Json:
        """One input, and what comes of it."""
        conn, now = self._conn, float(step["at"])
        match step["do"]:
            case "link_opened":
                conn.link_opened(now)
            case "link_closed":
                conn.link_closed(now)
            case "timeout":
                conn.handle_timeout(now)
            case "receive":
                conn.receive_frame(bytes.fromhex(step["hex"]), now)
            case "open":
                conn.open_stream(step["stream_id"])
            case "send":
                conn.send_data(step["stream_id"], bytes.fromhex(step["data"]))
            case "consume":
                conn.consume(step["stream_id"], step["messages"])
            case "close":
                conn.close_stream(step["stream_id"], step["reason"])
            case "reset":
                conn.reset_stream(step["stream_id"], step["reason"])
        frames = conn.frames_to_send(now, 1 << 30)
        events: list[Json] = []
        while (event := conn.next_event()) is not None:
            events.append(event_to_json(event))
        return {
            "frames": [_sent(raw) for raw in frames],
            "events": events,
            "next_timeout": _seconds(conn.next_timeout()),
        }


class _Router:
    """A `Rendezvous` under a script."""

    def __init__(self, vector: Json) -> None:
        config = dict(vector.get("config", {}))
        relay = RelayConfig(**config.pop("relay", {}))
        self._router = Rendezvous(RendezvousConfig(relay=relay, **config))
        self.next_timeout = self._router.next_timeout

    def step(self, step: Json) -> Json:
        """One input, and what comes of it."""
        router, now = self._router, float(step["at"])
        refused = None
        match step["do"]:
            case "executor_opened":
                refused = router.executor_opened(step["link"], step["executor_id"], now)
            case "harness_opened":
                refused = router.harness_opened(
                    step["link"], step["executor_id"], step["principal"], now
                )
            case "link_closed":
                router.link_closed(step["link"], now)
            case "receive":
                router.receive_frame(step["link"], bytes.fromhex(step["hex"]), now)
            case "timeout":
                router.handle_timeout(now)
        events: list[Json] = []
        while (event := router.next_event()) is not None:
            events.append(event_to_json(event))
        expect: Json = {} if refused is None else {"refused": refused.name.lower()}
        return expect | {
            "events": events,
            "frames": [
                {"link": link} | _sent(raw)
                for link in router.links_with_output()
                for raw in router.frames_to_send(link, 1 << 30)
            ],
            "next_timeout": _seconds(router.next_timeout()),
        }
