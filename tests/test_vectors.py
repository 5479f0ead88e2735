"""The conformance vectors: each is replayed, and together they cover what they should."""

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from google.protobuf.message import DecodeError

from sansrelay import AckCause, Event, FrameCause, RelayConfig, ResetReason
from sansrelay._pb.relay_pb2 import RelayMessageFrame
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import InvalidFrame
from sansrelay.rendezvous import LinkRefusal, RendezvousEvent
from vectorkit import (
    DIRECTORY,
    Json,
    check_file,
    dump,
    expectations,
    frame_from_json,
    frame_to_json,
    load,
    scripted_files,
)

SOURCE_OF_FRAMES = Path(__file__).parent.parent / "tools" / "vectors_frames.py"
VALID = load(DIRECTORY / "frames_valid.json")
INVALID = load(DIRECTORY / "frames_invalid.json")
SCRIPTED = {path.stem: load(path) for path in scripted_files()}
EXCHANGES = {stem: file for stem, file in SCRIPTED.items() if file["kind"] == "exchange"}

OF_DECODING = {
    FrameCause.TOO_LARGE,
    FrameCause.NOT_PROTOBUF,
    FrameCause.BAD_VERSION,
    FrameCause.NO_STREAM_ID,
    FrameCause.STREAM_ID_TOO_LONG,
    FrameCause.NO_BODY,
    FrameCause.SEVERAL_BODIES,
    FrameCause.OUT_OF_RANGE,
    FrameCause.TOO_MANY_FIELDS,
    FrameCause.EMPTY_PAYLOAD,
    FrameCause.EMPTY_REASON,
    FrameCause.REASON_TOO_LONG,
    FrameCause.BAD_SEGMENT,
}
BODIES = {"data", "ack_frame", "resume", "reset", "heartbeat", "handshake"}
ELSEWHERE = {
    ResetReason.GOING_AWAY,  # said by applications and adapters
    ResetReason.UNAUTHORIZED,
    ResetReason.SEQUENCE_EXHAUSTED,  # no script is long enough
    ResetReason.HARNESS_DISCONNECTED,  # said by a rendezvous alone
    ResetReason.EXECUTOR_UNAVAILABLE,
}


def named(file: Json) -> pytest.MarkDecorator:
    """One test for each vector of a file."""
    vectors = file["vectors"]
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


scripted = pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=f"{stem}: {vector['name']}")
        for stem, file in SCRIPTED.items()
        for vector in file["vectors"]
    ],
)


def steps_of(files: dict[str, Json]) -> Iterator[Json]:
    for file in files.values():
        for vector in file["vectors"]:
            yield from vector["steps"]


def body_of(frame: Json) -> str:
    (body,) = BODIES & frame.keys()
    return body


# -- the files


@pytest.mark.parametrize("name", sorted(path.name for path in DIRECTORY.iterdir()))
def test_a_file_has_the_shape_of_its_kind_and_the_usual_layout(name: str) -> None:
    content = load(DIRECTORY / name)
    check_file(content)
    assert name.startswith(content["kind"])
    assert (DIRECTORY / name).read_text("utf-8") == dump(content)


def test_the_files_of_frames_are_what_their_source_gives() -> None:
    spec = importlib.util.spec_from_file_location("vectors_frames", SOURCE_OF_FRAMES)
    assert spec is not None
    assert spec.loader is not None
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    assert source.valid_file() == VALID
    assert source.invalid_file() == INVALID


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.update(more=1),
        lambda file: file.update(format=2),
        lambda file: file["vectors"][0].update(more=1),
        lambda file: file["vectors"][0].pop("purpose"),
        lambda file: file["vectors"][0]["steps"][0].update(do="dance"),
        lambda file: file["vectors"][0]["steps"][0].update(more=1),
        lambda file: file["vectors"][0]["steps"][0].update(at="0"),
        lambda file: file["vectors"][0]["steps"][0]["expect"].update(more=1),
        lambda file: file["vectors"].append(file["vectors"][0]),
    ],
)
def test_what_is_unknown_or_missing_is_found(spoil: Callable[[Json], object]) -> None:
    file = load(DIRECTORY / "exchange_opening.json")
    spoil(file)
    with pytest.raises(ValueError, match=r"unknown|format|one name|is '0'|does"):
        check_file(file)


# -- frames


@named(VALID)
def test_valid_frame(vector: Json) -> None:
    raw = bytes.fromhex(vector["hex"])
    frame = decode_frame(raw, RelayConfig(**vector.get("limits", {})))
    assert not isinstance(frame, InvalidFrame), frame
    assert frame_to_json(frame) == vector["frame"]
    assert frame_from_json(vector["frame"]) == frame
    assert (encode_frame(frame) == raw) is vector["canonical"]


@named(INVALID)
def test_invalid_frame(vector: Json) -> None:
    raw = bytes.fromhex(vector["hex"])
    limits = vector.get("limits", {})
    cause = FrameCause[vector["cause"].upper()]
    frame = decode_frame(raw, RelayConfig(**limits))
    assert isinstance(frame, InvalidFrame)
    assert frame.cause is cause
    if vector["rule"] == "limit":
        raised = limits | {vector["limit"]: 10 * limits[vector["limit"]]}
        if "max_frame_size" not in limits:
            raised["max_frame_size"] = 1 << 25
        assert decode_frame(raw, RelayConfig(**raised))[0] is not cause
        return
    assert vector["rule"] in ("protobuf", "wire", "strict")
    try:
        RelayMessageFrame.FromString(raw)
        parses = True
    except DecodeError:
        parses = False
    assert parses is (vector["rule"] != "protobuf")


def test_the_frames_cover_every_cause_body_and_edge() -> None:
    assert len(VALID["vectors"]) + len(INVALID["vectors"]) >= 120
    causes = {FrameCause[vector["cause"].upper()] for vector in INVALID["vectors"]}
    assert causes == OF_DECODING
    frames = [vector["frame"] for vector in VALID["vectors"]]
    assert {body_of(frame) for frame in frames} == BODIES
    top = 2**32 - 1
    for name, part in (
        ("ack", frames),
        ("ack_bits", frames),
        ("seq", [frame["data"] for frame in frames if "data" in frame]),
        ("segment_count", [frame["data"] for frame in frames if "data" in frame]),
        ("next_seq", [frame["resume"] for frame in frames if "resume" in frame]),
    ):
        assert top in {content.get(name, 0) for content in part}, name


# -- scripts


@scripted
def test_script(vector: Json) -> None:
    expects = expectations(vector)
    for number, step in enumerate(vector["steps"]):
        assert next(expects) == step["expect"], f"step {number}, {step['do']} at {step['at']}"


@scripted
def test_frames_and_their_bytes_are_equal(vector: Json) -> None:
    for step in vector["steps"]:
        for said in (step, *step["expect"]["frames"]):
            if "frame" not in said:
                continue
            frame, raw = frame_from_json(said["frame"]), bytes.fromhex(said["hex"])
            if "link" in said:  # a rendezvous passes on what it got, however it was encoded
                assert decode_frame(raw, RelayConfig()) == frame
            else:
                assert encode_frame(frame) == raw


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(vector, id=f"{stem}: {vector['name']}")
        for stem, file in EXCHANGES.items()
        for vector in file["vectors"]
    ],
)
def test_expectations_keep_the_rules_that_hold_everywhere(vector: Json) -> None:
    """Rules of docs/protocol.md, looked up in the expectations alone."""
    link_up = False
    sent: Counter[tuple[str, int]] = Counter()
    repeated: Counter[tuple[str, int]] = Counter()
    basic: set[str] = set()
    for step in vector["steps"]:
        link_up = {"link_opened": True, "link_closed": False}.get(step["do"], link_up)
        frames = [said["frame"] for said in step["expect"]["frames"]]
        events = step["expect"]["events"]
        assert link_up or not frames
        if "reset" in step.get("frame", {}):
            assert frames == [], "a reset is never answered"
        for event in events:
            if event["event"] == "Retransmit":
                assert event["stream_id"] not in basic
                key = event["stream_id"], event["seq"]
                repeated[key] += 1
                assert event["attempt"] == 1 + repeated[key]
            if event["event"] == "StreamOpened" and event["profile"] == "basic":
                basic.add(event["stream_id"])
        for frame in frames:
            if "data" in frame:
                sent[frame["stream_id"], frame["data"].get("seq", 0)] += 1
            if frame["stream_id"] in basic:
                assert frame.keys().isdisjoint({"ack", "ack_bits"})
                assert body_of(frame) in ("data", "reset", "resume")
        due = step["expect"]["next_timeout"]
        assert due is None or due > step["at"], "a timer that is due after a drain"
    assert {key: count - 1 for key, count in sent.items() if count > 1} == dict(repeated)


def test_the_exchanges_cover_every_frame_event_and_reason() -> None:
    steps = list(steps_of(EXCHANGES))
    assert sum(len(file["vectors"]) for file in EXCHANGES.values()) >= 40
    assert {body_of(step["frame"]) for step in steps if "frame" in step} == BODIES
    sent = [said["frame"] for step in steps for said in step["expect"]["frames"]]
    assert {body_of(frame) for frame in sent} == BODIES - {"handshake"}
    events = [event for step in steps for event in step["expect"]["events"]]
    assert {event["event"] for event in events} == {
        kind.__name__ for kind in Event.__subclasses__()
    }
    causes = {event["cause"] for event in events if event["event"] == "AckDue"}
    assert causes == {cause.name.lower() for cause in AckCause}
    reasons = {frame["reset"]["reason"] for frame in sent if "reset" in frame}
    assert reasons >= set(ResetReason) - ELSEWHERE


def test_the_rendezvous_scripts_cover_every_event_and_refusal() -> None:
    steps = list(steps_of({stem: f for stem, f in SCRIPTED.items() if f["kind"] == "rendezvous"}))
    events = {event["event"] for step in steps for event in step["expect"]["events"]}
    assert events == {kind.__name__ for kind in get_args(RendezvousEvent)}
    refused = {step["expect"].get("refused") for step in steps} - {None}
    assert refused == {refusal.name.lower() for refusal in LinkRefusal}


def test_the_page_names_every_word_that_a_runner_meets() -> None:
    page = (Path(__file__).parent.parent / "docs" / "vectors.md").read_text("utf-8")
    steps = list(steps_of(SCRIPTED))
    events = [event for step in steps for event in step["expect"]["events"]]
    words = {step["do"] for step in steps} | {name for event in events for name in event}
    words |= {event["event"] for event in events}
    words |= {event["cause"] for event in events if event["event"] == "AckDue"}
    words |= {vector["cause"] for vector in INVALID["vectors"]} | BODIES
    assert {word for word in words if f"`{word}`" not in page} == set()
