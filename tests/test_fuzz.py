"""The targets of `tests/fuzz` without a fuzzer: the corpus, random inputs, and all near misses.

Near misses are every prefix of every valid frame, every flip of one bit, and every byte set to 0,
127, 128 and 255.
"""

import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import pytest

from fuzz.frame_choice import raw_frame
from fuzz.program import MAX_STEPS, Program
from fuzz.states import CONFIGS, STATES, prepared
from fuzz.target_decode import check_codec
from fuzz.target_middle import End, Middle
from fuzz.target_rendezvous import CONFIG_CHOICES, Crossing
from fuzz.targets import (
    CORPUS,
    CPU_LIMIT,
    SEEDS,
    TARGETS,
    Played,
    TooMuch,
    corpus,
    measure,
    memory_allowed,
    timed,
)
from fuzz.valid_frames import FRAMES, VALID, mutants
from sansrelay import FrameCause, Profile, RelayConfig, RelayConnection, StreamState
from sansrelay.codec import decode_frame, encode_frame, read_header
from sansrelay.frames import Frame, InvalidFrame
from wirekit import SID, resume
from wirekit import data as data_frame

ROOT = Path(__file__).parent.parent

each_target = pytest.mark.parametrize("name", TARGETS)

RANDOM_INPUTS = 60
"""For each target. The fuzzer itself tries more in a second."""
HARNESS, EXECUTOR = 1, 0
"""Links of a crossing."""


@cache
def near_misses() -> tuple[bytes, ...]:
    """All mutants of all valid frames, and the frames, each once."""
    found = dict.fromkeys(VALID)
    for wire in VALID:
        found.update(dict.fromkeys(mutants(wire)))
    return tuple(found)


# -- the corpus


@each_target
def test_corpus_and_seeds_pass(name: str) -> None:
    inputs = [path.read_bytes() for path in corpus(name)] + SEEDS[name]()
    for data in inputs:
        TARGETS[name](data)


def test_the_corpus_is_small_and_whole() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    sizes = {name: [path.stat().st_size for path in corpus(name)] for name in TARGETS}
    for name, each in sizes.items():
        assert 10 <= len(each) <= 300, name
    assert sum(sum(each) for each in sizes.values()) < 1_000_000


@each_target
def test_random_inputs_pass(name: str) -> None:
    rng = Random(name)
    for _ in range(RANDOM_INPUTS):
        TARGETS[name](rng.randbytes(rng.randrange(500)))


@each_target
def test_damaged_inputs_pass(name: str) -> None:
    rng = Random(name)
    inputs = [path.read_bytes() for path in corpus(name)]
    for _ in range(RANDOM_INPUTS):
        first, second = rng.choice(inputs), rng.choice(inputs)
        spliced = bytearray(first[: rng.randrange(len(first) + 1)])
        spliced += second[rng.randrange(len(second) + 1) :]
        for _ in range(min(3, len(spliced))):
            spliced[rng.randrange(len(spliced))] = rng.randrange(256)
        TARGETS[name](bytes(spliced))


@each_target
def test_memory_stays_in_proportion(name: str) -> None:
    inputs = [path.read_bytes() for path in corpus(name)]
    for data in sorted(inputs, key=len)[-20:]:
        TARGETS[name](data)  # what is allocated once, for good, is not the input's
        measure(TARGETS[name], data)


# -- all near misses of valid frames


def test_valid_frames_are_of_every_kind() -> None:
    assert {type(frame) for frame in FRAMES} == set(Frame.__args__)
    for frame, wire in zip(FRAMES, VALID, strict=False):
        assert decode_frame(wire, CONFIGS[0]) == frame
    for wire in VALID:
        assert not isinstance(decode_frame(wire, CONFIGS[0]), InvalidFrame)


def test_mutants_are_all_there() -> None:
    found = list(mutants(b"\x01\xff"))
    assert found[:2] == [b"", b"\x01"]
    bits = {bytes([0x01 ^ 1 << bit, 0xFF]) for bit in range(8)}
    bits |= {bytes([0x01, 0xFF ^ 1 << bit]) for bit in range(8)}
    odd = {bytes([byte, 0xFF]) for byte in (0, 127, 128, 255)}
    odd |= {bytes([0x01, byte]) for byte in (0, 127, 128)}
    assert set(found[2:]) == bits | odd
    assert len(found) == len(set(found))


@pytest.mark.parametrize("config", CONFIGS[:2], ids=["usual", "tight"])
def test_near_misses_decode(config: RelayConfig) -> None:
    causes = set()
    for wire in near_misses():
        frame = check_codec(wire, config)
        if isinstance(frame, InvalidFrame):
            causes.add(frame.cause)
    assert causes >= {FrameCause.NOT_PROTOBUF, FrameCause.NO_BODY, FrameCause.BAD_SEGMENT}


@pytest.mark.parametrize("state", STATES)
def test_near_misses_at_a_connection(state: str) -> None:
    watched = prepared(state)
    for wire in near_misses():
        watched.receive(wire)
        # What is not valid changes nothing (that is checked), so the state is still the one meant.
        if not isinstance(decode_frame(wire, watched.config), InvalidFrame):
            watched = prepared(state)


def _crossing(state: str) -> Crossing:
    """A rendezvous with a route for the usual stream."""
    crossing = Crossing(CONFIG_CHOICES[0])
    crossing.open(EXECUTOR, "box", None)
    crossing.open(HARNESS, "box", "alice")
    if state == "basic":
        crossing.receive(HARNESS, encode_frame(resume(0)))
    elif state != "fresh":
        crossing.receive(HARNESS, encode_frame(resume(1, 7)))
        crossing.receive(EXECUTOR, encode_frame(resume(1, 8, 7)))
    if state == "suspended":
        crossing.close(EXECUTOR)
        crossing.open(EXECUTOR, "box", None)
    crossing.take_all()
    return crossing


@pytest.mark.parametrize("link", [HARNESS, EXECUTOR], ids=["harness", "executor"])
@pytest.mark.parametrize("state", ["fresh", "basic", "reliable", "suspended"])
def test_near_misses_at_a_rendezvous(state: str, link: int) -> None:
    crossing = _crossing(state)
    for wire in near_misses():
        crossing.receive(link, wire)
        crossing.take_all()
        if not isinstance(read_header(wire, CONFIGS[0]), InvalidFrame):
            crossing = _crossing(state)


def test_states_are_what_they_are_called() -> None:
    expected = {
        "opening": StreamState.OPENING,
        "opening again": StreamState.OPENING,
        "unconfirmed": StreamState.UNCONFIRMED,
        "open": StreamState.OPEN,
        "assembling": StreamState.OPEN,
        "closing": StreamState.OPEN,
        "basic": StreamState.OPEN,
        "resuming": StreamState.RESUMING,
        "ended": StreamState.ENDED,
        "fresh": None,
        "pending": None,
    }
    for name in STATES:
        role, _, state = name.partition(" ")
        conn = prepared(name).conn
        assert conn.role.value == role
        assert conn.stream_state(SID) is expected[state], name
        assert (conn.profile(SID) is Profile.BASIC) is (state == "basic")


# -- the harness itself: it must notice


class Hoard:
    """A target that keeps more than it may."""

    bytes_in = live_streams = held_segments = 0

    def __init__(self, data: bytes) -> None:
        self.kept = bytes(100_000 * len(data))


def test_measure_notices_too_much_memory() -> None:
    assert memory_allowed(Hoard(b"")) == 64 * 1024
    measure(Hoard, b"")
    with pytest.raises(TooMuch, match="bytes are held"):
        measure(Hoard, b"x")


def test_timed_notices_too_much_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 1.4, 2.0, 2.6])
    monkeypatch.setattr("fuzz.targets.time.process_time", lambda: next(clock))
    assert timed(TARGETS["decode"], b"") < CPU_LIMIT
    with pytest.raises(TooMuch, match="CPU time"):
        timed(TARGETS["decode"], b"")


@pytest.mark.parametrize(("name", "status"), [("decode", 0), ("nonsense", 2)])
def test_an_input_is_replayed_without_a_fuzzer(tmp_path: Path, name: str, status: int) -> None:
    path = tmp_path / "input"
    path.write_bytes(VALID[0])
    tool = ROOT / "tools" / "fuzz_targets.py"
    command = [sys.executable, str(tool), "--replay", name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert done.stdout.startswith("passes") is (status == 0)


def _play_seeds(name: str) -> list[Played]:
    return [TARGETS[name](data) for data in SEEDS[name]()]


def test_a_timer_in_the_past_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RelayConnection, "next_timeout", lambda self: -1.0)
    with pytest.raises(AssertionError, match="a timer in the past"):
        _play_seeds("connection")


def test_a_drain_without_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RelayConnection, "frames_to_send", lambda self, now: [VALID[0]])
    with pytest.raises(AssertionError, match="a drain without end"):
        _play_seeds("connection")


def test_a_message_that_is_delivered_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    received = End.received

    def twice(end: End, stream_id: str, data: bytes) -> None:
        end.heard.setdefault(stream_id, []).append(data)
        received(end, stream_id, data)

    monkeypatch.setattr(End, "received", twice)
    with pytest.raises(AssertionError, match="delivered twice"):
        _play_seeds("middle")


def test_a_link_that_eats_frames_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def eat(middle: Middle, side: int, at: int, *, keep: bool = False) -> None:
        middle.flight[side].clear()

    monkeypatch.setattr(Middle, "deliver", eat)
    with pytest.raises(AssertionError, match="a good link"):
        _play_seeds("middle")


def test_a_stranger_that_gets_a_frame_is_noticed() -> None:
    crossing = _crossing("reliable")
    crossing.open(2, "box", "bob")
    crossing.links[HARNESS] = "box", "bob"
    crossing.receive(EXECUTOR, encode_frame(data_frame(1)))
    with pytest.raises(AssertionError, match="another principal's stream"):
        crossing.take_all()


def test_data_for_an_executor_that_has_not_resumed_is_noticed() -> None:
    crossing = _crossing("reliable")
    crossing._may_get_data.clear()
    crossing.receive(HARNESS, encode_frame(data_frame(1)))
    with pytest.raises(AssertionError, match="has not resumed"):
        crossing.take_all()


# -- programs


def test_a_program_ends_in_zeros() -> None:
    program = Program(b"\x01\x02")
    assert (program.word(), program.byte(), program.number(8), program.blob()) == (0x102, 0, 0, b"")
    assert not program.goes_on()


def test_a_program_has_so_many_steps() -> None:
    program = Program(bytes(1000))
    assert sum(1 for _ in iter(program.goes_on, False)) == MAX_STEPS


def test_a_raw_frame_is_chosen_as_it_is() -> None:
    program = Program(raw_frame(b"frame") + b"\x07")
    assert (program.byte(), program.blob(), program.byte()) == (0, b"frame", 7)
