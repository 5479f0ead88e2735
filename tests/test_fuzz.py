"""The targets of `tests/fuzz` without a fuzzer: the corpus, random inputs, and all near misses.

Near misses are every prefix of every valid frame, every flip of one bit, and every byte set to 0,
127, 128 and 255.
"""

import subprocess
import sys
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from random import Random

import pytest

from fuzz.frame_choice import raw_frame
from fuzz.program import MAX_STEPS, Program
from fuzz.states import CONFIGS, STATES, prepared
from fuzz.target_decode import check_codec
from fuzz.target_middle import End, Life, Middle
from fuzz.target_rendezvous import CONFIG_CHOICES, Crossing
from fuzz.targets import (
    ATTEMPTS,
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
from sansrelay import (
    FrameCause,
    Profile,
    RelayConfig,
    RelayConnection,
    ResetReason,
    StreamState,
)
from sansrelay.codec import decode_frame, encode_frame, read_header
from sansrelay.ended import ResetLimiter
from sansrelay.frames import Frame, InvalidFrame, ResumeFrame
from sansrelay.liveness import Liveness
from sansrelay.receiver import Receiver
from sansrelay.stream import Stream
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


@pytest.mark.parametrize(
    ("took", "attempts", "passes"),
    [([0.4], 1, True), ([9.0, 0.4], 2, True), ([0.6, 0.7, 0.6], ATTEMPTS, False)],
    ids=["short", "long once", "long"],
)
def test_timed_notices_too_much_time(
    monkeypatch: pytest.MonkeyPatch, took: list[float], attempts: int, passes: bool
) -> None:
    clock = iter([at for seconds in took for at in (1.0, 1.0 + seconds)])
    monkeypatch.setattr("fuzz.targets.time.process_time", lambda: next(clock))
    tried = []

    def target(data: bytes) -> Played:
        tried.append(data)
        return Hoard(b"")

    with nullcontext() if passes else pytest.raises(TooMuch, match="CPU time"):
        assert timed(target, b"x") < CPU_LIMIT
    assert tried == [b"x"] * attempts


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
        end.life(stream_id).heard.append(data)
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


def test_a_stream_that_ends_for_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    on_resume = Stream.on_resume

    def give_up(stream: Stream, frame: ResumeFrame, now: float) -> None:
        if stream.state is StreamState.RESUMING and not stream.is_opener:
            stream.end(ResetReason.UNKNOWN_STREAM)
        else:
            on_resume(stream, frame, now)

    monkeypatch.setattr(Stream, "on_resume", give_up)
    with pytest.raises(AssertionError, match="a good link, and a stream ends"):
        _play_seeds("middle")


def test_an_end_that_never_answers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResetLimiter, "allow", lambda self, now: False)
    with pytest.raises(AssertionError, match="a good link, and nobody answers"):
        _play_seeds("middle")


def _conversation(config: RelayConfig = CONFIGS[1]) -> Middle:
    """A stream with a message each way, all of it delivered. As a rule, limits are tight."""
    middle = Middle(config)
    middle.open("s1")
    for _ in range(4):
        middle.deliver(1, 0)
        middle.deliver(0, 0)
    for side in (0, 1):
        middle.say(side, "s1", 3)
        middle.deliver(1 - side, 0)
    middle.check()
    return middle


def test_an_ack_of_what_nobody_has_read_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    consume = Receiver.consume

    def one_more(receiver: Receiver, messages: int) -> tuple[int, int]:
        return consume(receiver, min(messages + 1, receiver.unconsumed))

    monkeypatch.setattr(Receiver, "consume", one_more)
    middle = _conversation(CONFIGS[0])
    executor = middle.executor
    executor.reading = False
    for _ in range(2):
        middle.say(0, "s1", 3)
        middle.deliver(1, 0)
    executor.consume("s1", 1)
    middle.wait(executor.config.ack_delay)
    middle.deliver(0, 0)
    with pytest.raises(AssertionError, match="acknowledged and not taken over"):
        middle.check()


def test_an_end_that_gives_up_too_early_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    since = Liveness._since
    monkeypatch.setattr(Liveness, "_since", lambda self: since(self) - 5.0)
    middle = _conversation()
    middle.say(0, "s1", 3)
    with pytest.raises(AssertionError, match="given up too early"):
        middle.wait(CONFIGS[1].resume_timeout - 1.0)


def test_lives_that_mix_are_noticed() -> None:
    middle = _conversation()
    speaker = middle.executor.life("s1")
    hearer = Life(1, 0.0, heard=speaker.heard, consumed=speaker.consumed)
    speaker.heard = []
    middle.past["s1"] = [hearer]
    with pytest.raises(AssertionError, match="two lives of the executor"):
        middle.check()


def test_lives_of_an_id_are_told_apart() -> None:
    """What is said where a stale opening made a new stream is no message of the old one."""
    middle = _conversation()
    executor = middle.executor
    executor.end("s1", "cancelled", at_once=True)
    middle.wait(5.0)
    middle.wait(5.0)  # forgotten
    middle.replay(1, 0)
    assert executor.conn.stream_state("s1") is StreamState.UNCONFIRMED
    middle.say(1, "s1", 3)
    first, second = executor.lives["s1"]
    assert (len(first.said), len(second.said)) == (1, 1)
    middle.check()
    middle.heal()
    first.said += second.said
    with pytest.raises(AssertionError, match="acknowledged in the end and not taken over"):
        middle.check()


@pytest.mark.parametrize(("waited", "lasts"), [(8.9, True), (9.0, False)])
def test_patience_may_end_before_the_question_comes_again(waited: float, lasts: bool) -> None:
    middle = Middle(CONFIGS[1])
    assert (middle.config.resume_timeout, middle.config.initial_rto) == (10.0, 1.0)
    middle.open("s1")
    middle.say(0, "s1", 3)
    middle.drop(1, 2)
    middle.wait(waited)
    middle.heal()
    assert bool(middle.harness.live) is bool(middle.executor.live) is lasts


def test_an_end_may_be_told_though_it_was_forgotten() -> None:
    middle = Middle(CONFIGS[1])
    stream_ids = ["s1", "s2", "s3"]
    for stream_id in stream_ids:
        middle.open(stream_id)
        middle.deliver(1, 0)
    middle.switch(1)
    for stream_id in stream_ids:
        middle.executor.end(stream_id, "cancelled", at_once=True)
    assert middle.executor.conn.stream_state("s1") is None
    middle.heal()
    assert not middle.harness.live


def test_a_frame_that_was_sent_is_not_forged() -> None:
    middle = _conversation()
    middle.forge(0, middle.seen[0][-1])
    middle.forge(0, b"no frame")
    assert not middle.forged
    middle.forge(0, middle.seen[1][0])
    assert middle.forged


def test_executors_that_crashed_are_not_kept() -> None:
    crashes = bytes([0, *[21, 0] * MAX_STEPS])
    TARGETS["middle"](crashes)
    grown, played = measure(TARGETS["middle"], crashes)
    assert played.live_streams == played.held_segments == 0
    assert grown < memory_allowed(played) / 4


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
