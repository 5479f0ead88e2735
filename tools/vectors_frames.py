"""The source of tests/vectors/frames_valid.json and frames_invalid.json.

    python tools/vectors_frames.py (--check | --write)

Bytes, fields and verdicts are written here by hand, field by field; no codec takes part. With
--check nothing is written; exits with 1 if a file is not what this source gives.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from vectorkit import (  # noqa: E402
    DIRECTORY,
    FORMAT,
    Json,
    canonical,
    check_file,
    dump,
    fixed32,
    fixed64,
    group,
    num,
    text,
    varint,
)

TOP: Final = 2**32 - 1


# -- parts that many vectors share

VERSION = num(1, 1)
ID = text(2, b"s")
HEAD = VERSION + ID
FIRST = num(1, 7) + num(3, 1) + text(4, b"x")
"""The inside of a data body."""
DATA = text(5, FIRST)
ACK = text(6, b"")
RESUME = text(7, num(1, 7))
RESET = text(8, text(1, b"closed"))
HEARTBEAT = text(9, b"")
HANDSHAKE = text(10, text(1, b"k"))
UNKNOWN = (
    num(900, 2**64 - 1)
    + text(901, b"later")
    + fixed64(902, 5)
    + fixed32(903, 5)
    + group(904, num(1, 2**40) + group(5, text(4, b"in a group")))
)
UUID = "7f1d0b1e-7a4e-4be5-9d9a-3a4c9a0f2a11"


def frame(body: str, ack: int = 0, ack_bits: int = 0, sid: str = "s", **content: object) -> Json:
    """A frame as JSON, without what is 0."""
    out: Json = {"stream_id": sid}
    if ack:
        out["ack"] = ack
    if ack_bits:
        out["ack_bits"] = ack_bits
    return out | {body: {name: value for name, value in content.items() if value}}


def data(
    seq: int = 7,
    index: int = 0,
    count: int = 1,
    payload: bytes = b"x",
    ack: int = 0,
    ack_bits: int = 0,
) -> Json:
    """A data frame as JSON."""
    return frame(
        "data",
        ack,
        ack_bits,
        seq=seq,
        segment_index=index,
        segment_count=count,
        payload=payload.hex(),
    )


def part(seq: int, index: int, count: int, payload: bytes = b"x") -> bytes:
    """A data body on the wire, with all its fields said."""
    return text(5, num(1, seq) + num(2, index) + num(3, count) + text(4, payload))


BEAT = frame("heartbeat")

Valid = tuple[str, bytes, Json, str]
VALID: list[Valid] = []


def by_canon(name: str, content: Json, note: str = "") -> Valid:
    """A vector whose bytes are the canonical ones."""
    return name, canonical(content), content, note


VALID += [
    # -- every body, and every field at its edges
    by_canon("data", data(7, 1, 3, b"xyz")),
    by_canon("data with a UUID and acks", frame("data", 300, 5, UUID, seq=2**31, segment_count=1,
             payload=(b"\x08\x01" * 20).hex())),
    by_canon("data, seq 0", data(0, payload=b"{}"), "a basic peer numbers from 0"),
    by_canon("data, seq 1", data(1)),
    by_canon("data, seq 127", data(127)),
    by_canon("data, seq 128", data(128)),
    by_canon("data, seq 2^28 - 1", data(2**28 - 1)),
    by_canon("data, seq 2^28", data(2**28)),
    by_canon("data, seq 2^31", data(2**31)),
    by_canon("data, seq 2^32 - 1", data(TOP)),
    by_canon("data, last segment of the largest count", data(1, TOP - 1, TOP),
             "valid as a frame; what a stream makes of it is another matter"),
    by_canon("data, first of two segments", data(1, 0, 2)),
    by_canon("data, last of two segments", data(2, 1, 2)),
    by_canon("data, segment index above seq", data(1, 2, 3), "valid as a frame"),
    by_canon("data, payload of bytes that are no text", data(payload=b"\x00\xff\x80")),
    by_canon("data, payload of 127 bytes", data(payload=b"p" * 127)),
    by_canon("data, payload of 128 bytes", data(payload=b"p" * 128)),
    by_canon("data, payload that looks like a frame", data(payload=HEAD + HEARTBEAT)),
    by_canon("ack", frame("ack_frame", 9, 5)),
    by_canon("ack, nothing received yet", frame("ack_frame")),
    by_canon("ack at 2^28", frame("ack_frame", 2**28, 2**28)),
    by_canon("ack at 2^32 - 1", frame("ack_frame", TOP)),
    by_canon("ack_bits at 2^32 - 1", frame("ack_frame", 0, TOP)),
    by_canon("ack and ack_bits at 2^32 - 1", frame("ack_frame", TOP, TOP)),
    by_canon("ack, only the last bit", frame("ack_frame", 1, 2**31)),
    by_canon("resume 0", frame("resume"), "a basic harness sends this first"),
    by_canon("resume 1", frame("resume", next_seq=1)),
    by_canon("resume 2^32 - 1", frame("resume", next_seq=TOP)),
    by_canon("resume, opening", frame("resume", next_seq=1, incarnation="a1")),
    by_canon("resume, acceptor's question",
             frame("resume", next_seq=1, incarnation="b1", peer_incarnation="a1")),
    by_canon("resume, answer", frame("resume", 3, 2, next_seq=4, incarnation="a1",
                                     peer_incarnation="b1", answer=True)),
    by_canon("resume, incarnations at 2^64 - 1", frame("resume", next_seq=1,
             incarnation="f" * 16, peer_incarnation="f" * 16)),
    by_canon("resume, incarnation of only the top bit",
             frame("resume", next_seq=1, incarnation="8" + "0" * 15)),
    by_canon("resume, answer alone", frame("resume", answer=True), "valid as a frame"),
    by_canon("reset", frame("reset", reason="closed")),
    by_canon("reset with a final ack", frame("reset", 12, 1, reason="cancelled")),
    by_canon("reset, a foreign word", frame("reset", reason="session expired")),
    by_canon("reset, spaces around the reason", frame("reset", reason=" x ")),
    by_canon("reset, no ASCII", frame("reset", reason="Grüße ☃")),
    by_canon("reset, a control character", frame("reset", reason="a\nb"),
             "kept as it is; a log has to clean it"),
    by_canon("heartbeat", BEAT),
    by_canon("heartbeat with acks", frame("heartbeat", 1, 2)),
    by_canon("handshake", frame("handshake", payload="6b")),
    by_canon("handshake with acks", frame("handshake", 1, 1, payload=bytes(range(256)).hex()),
             "valid as a frame, whether or not an endpoint does encryption"),
    by_canon("stream_id of one byte", frame("heartbeat", sid="x")),
    by_canon("stream_id with spaces around", frame("heartbeat", sid=" s "), "not trimmed"),
    by_canon("stream_id, no ASCII", frame("heartbeat", sid="ⓢ")),
    by_canon("stream_id with a zero byte", frame("heartbeat", sid="a\x00b")),
    # -- the order of fields, and fields given twice
    ("the body first", DATA + num(4, 1) + ID + num(3, 2) + VERSION, data(ack=2, ack_bits=1), ""),
    ("the fields in reverse", HEARTBEAT + num(4, 1) + num(3, 2) + ID + VERSION,
     frame("heartbeat", 2, 1), ""),
    ("the body between version and id", VERSION + RESUME + ID, frame("resume", next_seq=7), ""),
    ("data inside out", HEAD + text(5, text(4, b"x") + num(3, 1) + num(1, 7)), data(), ""),
    ("resume inside out", HEAD + text(7, num(1003, 1) + fixed64(1002, 3) + fixed64(1001, 2)
     + num(1, 9)),
     frame("resume", next_seq=9, incarnation="2", peer_incarnation="3", answer=True), ""),
    ("the last version counts", num(1, 9) + HEAD + HEARTBEAT, BEAT, "as protobuf says"),
    ("the last stream_id counts", VERSION + text(2, b"t") + ID + HEARTBEAT, BEAT, ""),
    ("the last ack counts", HEAD + num(3, 1) + num(3, 4) + ACK, frame("ack_frame", 4), ""),
    ("the last seq counts", HEAD + text(5, num(1, 1) + FIRST), data(), ""),
    ("the last payload counts", HEAD + text(5, text(4, b"first") + FIRST), data(), ""),
    # -- encodings that are longer than they need to be
    ("zeros in the head are said", HEAD + num(3, 0) + num(4, 0) + HEARTBEAT, BEAT, ""),
    ("zeros in data are said", HEAD + part(0, 0, 1), data(0), ""),
    ("zeros in a resume are said",
     HEAD + text(7, num(1, 0) + fixed64(1001, 0) + fixed64(1002, 0) + num(1003, 0)),
     frame("resume"), ""),
    ("padded varints", num(1, 1, 10) + ID + num(3, 4, 5) + text(7, num(1, 9, 10)),
     frame("resume", 4, next_seq=9), ""),
    ("a padded length", HEAD + b"\x4a\x80\x00", BEAT, ""),
    ("a padded tag", HEAD + b"\xca\x80\x00\x00", BEAT, ""),
    ("answer of 2^40", HEAD + text(7, num(1, 1) + num(1003, 2**40)),
     frame("resume", next_seq=1, answer=True), "a bool is true unless 0, however large"),
    # -- unknown fields, at each level, before and after
    ("an unknown varint", HEAD + HEARTBEAT + num(11, 1), BEAT, ""),
    ("an unknown varint of 2^64 - 1", HEAD + HEARTBEAT + num(900, 2**64 - 1), BEAT, ""),
    ("an unknown string", HEAD + text(11, b"later") + HEARTBEAT, BEAT, ""),
    ("an unknown fixed64", fixed64(902, 5) + HEAD + HEARTBEAT, BEAT, ""),
    ("an unknown fixed32", HEAD + fixed32(903, 5) + HEARTBEAT, BEAT, ""),
    ("an unknown group", HEAD + group(904, num(1, 5)) + HEARTBEAT, BEAT, ""),
    ("an unknown group in an unknown group", HEAD + group(904, group(905)) + HEARTBEAT, BEAT, ""),
    ("the highest field number", HEAD + HEARTBEAT + num(2**29 - 1, 1), BEAT, ""),
    ("unknown fields around", UNKNOWN + HEAD + HEARTBEAT + UNKNOWN, BEAT, ""),
    ("unknown fields in data", HEAD + text(5, UNKNOWN + FIRST + UNKNOWN), data(), ""),
    ("unknown fields in an ack", HEAD + text(6, UNKNOWN), frame("ack_frame"), ""),
    ("unknown fields in a resume", HEAD + text(7, UNKNOWN + num(1, 7) + UNKNOWN),
     frame("resume", next_seq=7), ""),
    ("unknown fields in a reset", HEAD + text(8, UNKNOWN + text(1, b"closed")),
     frame("reset", reason="closed"), ""),
    ("unknown fields in a heartbeat", HEAD + text(9, UNKNOWN), BEAT, ""),
    ("unknown fields in a handshake", HEAD + text(10, text(1, b"k") + UNKNOWN),
     frame("handshake", payload="6b"), ""),
    ("unknown fields and zeros", UNKNOWN + HEAD + num(3, 0) + text(9, UNKNOWN), BEAT, ""),
    ("a body inside an unknown field", HEAD + text(11, RESET) + HEARTBEAT, BEAT, ""),
    # -- a known number with another wire type is an unknown field
    ("version also as fixed64", fixed64(1, 9) + HEAD + HEARTBEAT, BEAT, ""),
    ("stream_id also as fixed32", HEAD + fixed32(2, 9) + HEARTBEAT, BEAT, ""),
    ("ack only as a string", HEAD + text(3, b"9") + ACK, frame("ack_frame"), ""),
    ("a data body also as a varint", HEAD + num(5, 2**40) + HEARTBEAT, BEAT, ""),
    ("a data body also as a group", HEAD + group(5, FIRST) + HEARTBEAT, BEAT, ""),
    ("seq only as a fixed64", HEAD + text(5, fixed64(1, 2**63) + num(3, 1) + text(4, b"x")),
     data(0), ""),
    ("incarnation only as a varint", HEAD + text(7, num(1, 7) + num(1001, 5)),
     frame("resume", next_seq=7), "fixed64 on the wire, so this is another field"),
    ("answer only as a fixed64", HEAD + text(7, num(1, 7) + fixed64(1003, 1)),
     frame("resume", next_seq=7), ""),
]  # fmt: skip

LIMITED: list[tuple[str, Json, Json]] = [
    ("stream_id of the largest size", frame("heartbeat", sid="s" * 128),
     {"max_stream_id_size": 128}),
    ("stream_id of the largest size in two-byte characters", frame("heartbeat", sid="é" * 64),
     {"max_stream_id_size": 128}),
    ("reason of the largest size", frame("reset", reason="r" * 256), {"max_reason_size": 256}),
    ("reason of the largest size in three-byte characters",
     frame("reset", reason="☃" * 85 + "r"), {"max_reason_size": 256}),
    ("frame of the largest size", data(payload=b"p" * 75), {
        "max_frame_size": 88, "max_message_size": 16, "segment_size": 16, "max_reason_size": 16,
        "max_stream_id_size": 8}),
]  # fmt: skip

Invalid = tuple[str, bytes, str, str, str]
PROTOBUF, WIRE, STRICT = "protobuf", "wire", "strict"

INVALID: list[Invalid] = [
    # -- no protobuf
    ("text", b'{"id":1,"method":"initialize"}', "not_protobuf", PROTOBUF,
     "wire type 3 opens a group that does not end"),
    ("a varint without end", HEAD + DATA + b"\x18\x80", "not_protobuf", PROTOBUF,
     "the frame ends within a varint"),
    ("a tag without value", HEAD + DATA + b"\x18", "not_protobuf", PROTOBUF,
     "the frame ends after a tag"),
    ("a tag without end", HEAD + DATA + b"\x98", "not_protobuf", PROTOBUF,
     "the frame ends within a tag"),
    ("a varint of 11 bytes", HEAD + num(3, 1, 11) + DATA, "not_protobuf", PROTOBUF,
     "a varint has 10 bytes at most"),
    ("a length beyond the frame", HEAD + b"\x2a\x7fx", "not_protobuf", PROTOBUF,
     "127 bytes are announced, 1 is there"),
    ("a length of 2^63", HEAD + b"\x2a" + varint(2**63), "not_protobuf", PROTOBUF,
     "no frame is that long"),
    ("a fixed64 cut short", HEAD + DATA + fixed64(900, 1)[:-1], "not_protobuf", PROTOBUF,
     "the frame ends within a field, though an unknown one"),
    ("a fixed32 cut short", HEAD + DATA + fixed32(900, 1)[:-1], "not_protobuf", PROTOBUF,
     "the frame ends within a field, though an unknown one"),
    ("an incarnation cut short", HEAD + text(7, num(1, 1) + fixed64(1001, 1)[:-1]),
     "not_protobuf", PROTOBUF, "the body ends within a field"),
    ("a frame cut in its body", (HEAD + DATA)[:-1], "not_protobuf", PROTOBUF,
     "the body is shorter than announced"),
    ("a frame cut in its stream_id", VERSION + b"\x12\x02s", "not_protobuf", PROTOBUF,
     "the stream_id is shorter than announced"),
    ("a field number of 0", HEAD + b"\x00\x00" + DATA, "not_protobuf", PROTOBUF,
     "field numbers begin at 1"),
    ("wire type 6", HEAD + b"\x7e" + DATA, "not_protobuf", PROTOBUF, "there is none"),
    ("wire type 7", HEAD + b"\x7f" + DATA, "not_protobuf", PROTOBUF, "there is none"),
    ("a group without end", HEAD + DATA + varint(900 << 3 | 3), "not_protobuf", PROTOBUF,
     "the frame ends within a group"),
    ("a group without begin", HEAD + DATA + varint(900 << 3 | 4), "not_protobuf", PROTOBUF,
     "a group ends that did not begin"),
    ("a group that ends as another", HEAD + DATA + varint(900 << 3 | 3) + varint(901 << 3 | 4),
     "not_protobuf", PROTOBUF, "begin and end differ in their number"),
    ("stream_id not UTF-8", VERSION + text(2, b"\xff") + DATA, "not_protobuf", PROTOBUF,
     "a proto3 string is UTF-8"),
    ("stream_id half a surrogate pair", VERSION + text(2, b"\xed\xa0\x80") + DATA,
     "not_protobuf", PROTOBUF, "UTF-8 has no surrogates"),
    ("stream_id an overlong slash", VERSION + text(2, b"\xc0\xaf") + DATA, "not_protobuf",
     PROTOBUF, "UTF-8 is of the shortest form"),
    ("stream_id cut within a character", VERSION + text(2, b"s\xe2\x98") + DATA,
     "not_protobuf", PROTOBUF, "a proto3 string is UTF-8"),
    ("reason not UTF-8", HEAD + text(8, text(1, b"\xff")), "not_protobuf", PROTOBUF,
     "a proto3 string is UTF-8"),
    ("garbage in data", HEAD + text(5, b"\xff"), "not_protobuf", PROTOBUF,
     "a body is a message too"),
    ("garbage in an ack", HEAD + text(6, b"\xff"), "not_protobuf", PROTOBUF,
     "a body is a message too, though an empty one"),
    ("garbage in a heartbeat", HEAD + text(9, b"\xff"), "not_protobuf", PROTOBUF,
     "a body is a message too, though an empty one"),
    # -- the head
    ("no bytes at all", b"", "bad_version", WIRE, "an empty message has version 0"),
    ("no version", ID + DATA, "bad_version", WIRE, "what is not there is 0"),
    ("version 0", num(1, 0) + ID + DATA, "bad_version", WIRE, "the version is 1"),
    ("version 2", num(1, 2) + ID + DATA, "bad_version", WIRE, "the version is 1"),
    ("version 2^32 - 1", num(1, TOP) + ID + DATA, "bad_version", WIRE, "the version is 1"),
    ("a good version, then a bad one", VERSION + num(1, 2) + ID + DATA, "bad_version", WIRE,
     "the last of two counts"),
    ("version as fixed32", fixed32(1, 1) + ID + DATA, "bad_version", WIRE,
     "of another wire type it is another field"),
    ("no stream_id", VERSION + DATA, "no_stream_id", WIRE, "a frame belongs to a stream"),
    ("empty stream_id", VERSION + text(2, b"") + DATA, "no_stream_id", WIRE,
     "a frame belongs to a stream"),
    ("blank stream_id", VERSION + text(2, b" ") + DATA, "no_stream_id", WIRE,
     "nothing is left after trimming"),
    ("stream_id of other blanks", VERSION + text(2, b" \t\n\xc2\xa0") + DATA, "no_stream_id",
     WIRE, "tab, line feed and no-break space are blank too"),
    ("a good stream_id, then an empty one", HEAD + text(2, b"") + DATA, "no_stream_id", WIRE,
     "the last of two counts"),
    ("stream_id as a fixed64", VERSION + fixed64(2, 1) + DATA, "no_stream_id", WIRE,
     "of another wire type it is another field"),
    # -- the body
    ("no body", HEAD, "no_body", WIRE, "a frame has exactly one body"),
    ("no body, acks", HEAD + num(3, 1) + num(4, 1), "no_body", WIRE, "acks are no body"),
    ("only an unknown body", HEAD + text(11, b"x"), "no_body", WIRE,
     "for this version of the schema there is none"),
    ("a heartbeat as a varint", HEAD + num(9, 1), "no_body", WIRE,
     "of another wire type it is another field"),
    ("a heartbeat as a group", HEAD + group(9), "no_body", WIRE,
     "of another wire type it is another field"),
    ("two bodies", HEAD + DATA + RESET, "several_bodies", STRICT, "protobuf keeps the last"),
    ("two bodies, the last empty", HEAD + DATA + HEARTBEAT, "several_bodies", STRICT,
     "protobuf keeps the last"),
    ("two bodies, the first empty", HEAD + ACK + RESUME, "several_bodies", STRICT,
     "protobuf keeps the last"),
    ("two bodies apart", DATA + HEAD + ACK, "several_bodies", STRICT, "protobuf keeps the last"),
    ("six bodies", HEAD + DATA + ACK + RESUME + RESET + HEARTBEAT + HANDSHAKE, "several_bodies",
     STRICT, "protobuf keeps the last"),
    ("data twice", HEAD + DATA + DATA, "several_bodies", STRICT,
     "protobuf merges a repeated body"),
    ("data in two parts", HEAD + text(5, num(1, 7) + num(3, 1)) + text(5, text(4, b"x")),
     "several_bodies", STRICT, "protobuf merges a repeated body"),
    ("resume twice", HEAD + RESUME + RESUME, "several_bodies", STRICT,
     "protobuf merges a repeated body"),
    ("a heartbeat twice", HEAD + HEARTBEAT + HEARTBEAT, "several_bodies", STRICT,
     "protobuf merges a repeated body"),
    # -- numbers of more than 32 bits
    ("version 2^32 + 1", num(1, 2**32 + 1) + ID + DATA, "out_of_range", STRICT,
     "protobuf cuts it to 1"),
    ("ack 2^32", HEAD + num(3, 2**32) + ACK, "out_of_range", STRICT, "protobuf cuts it to 0"),
    ("ack 2^33 - 1", HEAD + num(3, 2**33 - 1) + ACK, "out_of_range", STRICT,
     "protobuf cuts it to 2^32 - 1, which is as long on the wire"),
    ("ack 2^64 - 5", HEAD + num(3, 2**64 - 5) + ACK, "out_of_range", STRICT,
     "the int32 -5; protobuf cuts it to 2^32 - 5"),
    ("ack 2^32, then 1", HEAD + num(3, 2**32) + num(3, 1) + ACK, "out_of_range", STRICT,
     "the last counts, but the other is out of range all the same"),
    ("ack_bits 2^32", HEAD + num(4, 2**32) + ACK, "out_of_range", STRICT, "protobuf cuts it to 0"),
    ("ack_bits 2^32 + 2^28", HEAD + num(4, 2**32 + 2**28) + ACK, "out_of_range", STRICT,
     "protobuf cuts it to 2^28, which is as long on the wire"),
    ("seq 2^32", HEAD + part(2**32, 0, 1), "out_of_range", STRICT, "protobuf cuts it to 0"),
    ("seq 2^35 - 1", HEAD + part(2**35 - 1, 0, 1), "out_of_range", STRICT,
     "protobuf cuts it to 2^32 - 1, which is as long on the wire"),
    ("seq 2^64 - 1", HEAD + part(2**64 - 1, 0, 1), "out_of_range", STRICT, "the int32 -1"),
    ("segment_index 2^32", HEAD + part(7, 2**32, 1), "out_of_range", STRICT,
     "protobuf cuts it to 0"),
    ("segment_count 2^32 + 1", HEAD + part(7, 0, 2**32 + 1), "out_of_range", STRICT,
     "protobuf cuts it to 1"),
    ("segment_count 2^33 - 1", HEAD + part(7, 0, 2**33 - 1), "out_of_range", STRICT,
     "protobuf cuts it to 2^32 - 1"),
    ("next_seq 2^32", HEAD + text(7, num(1, 2**32)), "out_of_range", STRICT,
     "protobuf cuts it to 0: a basic peer's opening"),
    ("next_seq 2^32 + 1", HEAD + text(7, num(1, 2**32 + 1)), "out_of_range", STRICT,
     "protobuf cuts it to 1: an opening"),
    ("next_seq 2^33 - 1", HEAD + text(7, num(1, 2**33 - 1)), "out_of_range", STRICT,
     "protobuf cuts it to 2^32 - 1"),
    # -- the contents of bodies
    ("data without fields", HEAD + text(5, b""), "empty_payload", WIRE,
     "data has a payload; that it has no segment_count either is not looked at first"),
    ("data without payload", HEAD + text(5, num(1, 1) + num(3, 1)), "empty_payload", WIRE,
     "data has a payload"),
    ("data with an empty payload", HEAD + part(1, 0, 1, b""), "empty_payload", WIRE,
     "data has a payload"),
    ("data with its payload as a varint", HEAD + text(5, num(3, 1) + num(4, 1)), "empty_payload",
     WIRE, "of another wire type it is another field"),
    ("handshake without payload", HEAD + text(10, b""), "empty_payload", STRICT,
     "a handshake of nothing says nothing"),
    ("handshake with an empty payload", HEAD + text(10, text(1, b"")), "empty_payload", STRICT,
     "a handshake of nothing says nothing"),
    ("no segment_count", HEAD + text(5, num(1, 1) + text(4, b"x")), "bad_segment", WIRE,
     "what is not there is 0; a message has a segment at least"),
    ("segment_count 0", HEAD + part(1, 0, 0), "bad_segment", WIRE,
     "a message has a segment at least"),
    ("segment_index 1 of 1", HEAD + part(1, 1, 1), "bad_segment", WIRE, "the index begins at 0"),
    ("segment_index 4 of 3", HEAD + part(1, 4, 3), "bad_segment", WIRE,
     "the index is below the count"),
    ("segment_index and count at 2^32 - 1", HEAD + part(1, TOP, TOP), "bad_segment", WIRE,
     "the index is below the count"),
    ("reset without reason", HEAD + text(8, b""), "empty_reason", WIRE, "a reset has a reason"),
    ("reset with an empty reason", HEAD + text(8, text(1, b"")), "empty_reason", WIRE,
     "a reset has a reason"),
    ("reset with a blank reason", HEAD + text(8, text(1, b" \r\n")), "empty_reason", STRICT,
     "blanks give no reason"),
    ("reset with its reason as a varint", HEAD + text(8, num(1, 1)), "empty_reason", WIRE,
     "of another wire type it is another field"),
    # -- more fields than are looked at
    ("1000 acks too many", HEAD + num(3, 1) * 1000 + ACK, "too_many_fields", STRICT,
     "an odd encoding is walked through field by field, 1000 fields at most"),
]  # fmt: skip

SMALL_FRAMES = {
    "max_frame_size": 88,
    "max_message_size": 16,
    "segment_size": 16,
    "max_reason_size": 16,
    "max_stream_id_size": 8,
}
OVER: list[tuple[str, bytes, str, str, str, Json]] = [
    ("stream_id of 129 bytes", canonical(frame("heartbeat", sid="s" * 129)), "stream_id_too_long",
     "max_stream_id_size", "a byte more than the limit", {"max_stream_id_size": 128}),
    ("stream_id of 65 characters and 130 bytes", canonical(frame("heartbeat", sid="é" * 65)),
     "stream_id_too_long", "max_stream_id_size", "the limit counts bytes, not characters",
     {"max_stream_id_size": 128}),
    ("stream_id beyond a small limit", canonical(frame("heartbeat", sid="abcde")),
     "stream_id_too_long", "max_stream_id_size", "a byte more than the limit",
     {"max_stream_id_size": 4}),
    ("reason of 257 bytes", canonical(frame("reset", reason="r" * 257)), "reason_too_long",
     "max_reason_size", "a byte more than the limit", {"max_reason_size": 256}),
    ("reason of 129 characters and 258 bytes", canonical(frame("reset", reason="é" * 129)),
     "reason_too_long", "max_reason_size", "the limit counts bytes, not characters",
     {"max_reason_size": 256}),
    ("reason beyond a small limit", canonical(frame("reset", reason="whys")), "reason_too_long",
     "max_reason_size", "a byte more than the limit", {"max_reason_size": 3}),
    ("frame of 89 bytes", canonical(data(payload=b"p" * 76)), "too_large", "max_frame_size",
     "a byte more than the limit", SMALL_FRAMES),
    ("garbage of 89 bytes", b"\xff" * 89, "too_large", "max_frame_size",
     "the size is looked at before all else", SMALL_FRAMES),
]  # fmt: skip


# -- the files


def valid_file() -> Json:
    """The contents of frames_valid.json."""
    vectors: list[Json] = []
    for name, raw, content, note in VALID:
        bytes_and_fields = {"name": name, "hex": raw.hex(), "frame": content}
        is_canonical = {"canonical": raw == canonical(content)}
        vectors.append(bytes_and_fields | is_canonical | ({"note": note} if note else {}))
    for name, content, limits in LIMITED:
        bytes_and_fields = {"name": name, "hex": canonical(content).hex(), "frame": content}
        vectors.append(bytes_and_fields | {"canonical": True, "limits": limits})
    return _file("frames_valid", "Bytes that are a frame, and what they say.", vectors)


def invalid_file() -> Json:
    """The contents of frames_invalid.json."""
    vectors: list[Json] = [
        {"name": name, "hex": raw.hex(), "cause": cause, "rule": rule, "why": why}
        for name, raw, cause, rule, why in INVALID
    ]
    for name, raw, cause, limit, why, limits in OVER:
        verdict = {"name": name, "hex": raw.hex(), "cause": cause, "rule": "limit", "why": why}
        vectors.append(verdict | {"limit": limit, "limits": limits})
    return _file("frames_invalid", "Bytes that are no frame, and why.", vectors)


def _file(kind: str, about: str, vectors: list[Json]) -> Json:
    return {"format": FORMAT, "kind": kind, "about": about, "vectors": vectors}


def main() -> int:
    """0 if the files are, or were made, as they should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="say which files would change")
    mode.add_argument("--write", action="store_true", help="write the files")
    write = parser.parse_args().write
    changed = False
    for content in (valid_file(), invalid_file()):
        check_file(content)
        path, new = DIRECTORY / f"{content['kind']}.json", dump(content)
        if path.exists() and path.read_text("utf-8") == new:
            continue
        changed = True
        if write:
            path.write_text(new, "utf-8")
        print(f"{'written' if write else 'differs'}: {path.relative_to(ROOT)}")
    return 1 if changed and not write else 0


if __name__ == "__main__":
    sys.exit(main())
