"""The strategies give what they promise: valid frames of all kinds, configurations that fit."""

from collections import Counter
from dataclasses import asdict
from typing import TypeVar, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay import RelayConfig
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import DataFrame, Frame, HandshakeFrame, ResumeFrame
from sansrelay.testing.strategies import configs, frames, stream_ids

fixed = settings(derandomize=True, deadline=None)
T = TypeVar("T")


def drawn(strategy: st.SearchStrategy[T]) -> list[T]:
    """Three hundred examples."""
    examples: list[T] = []

    @settings(fixed, max_examples=300)
    @given(strategy)
    def draw(example: T) -> None:
        examples.append(example)

    draw()
    return examples


@fixed
@given(frames())
def test_every_frame_is_valid(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame), RelayConfig()) == frame


def test_every_kind_of_frame_comes() -> None:
    assert {type(frame) for frame in drawn(frames())} == set(get_args(Frame))


@fixed
@given(
    frames(
        st.sampled_from("ab"),
        numbers=st.integers(1, 3),
        incarnations=st.sampled_from([5, 6]),
        payloads=st.just(b"x"),
    )
)
def test_what_frames_are_made_of_can_be_chosen(frame: Frame) -> None:
    assert frame.stream_id in ("a", "b")
    assert {frame.ack, frame.ack_bits} <= {1, 2, 3}
    match frame:
        case DataFrame() | HandshakeFrame():
            assert frame.payload == b"x"
        case ResumeFrame():
            assert {frame.incarnation, frame.peer_incarnation} <= {5, 6}
            assert frame.next_seq in (1, 2, 3)


@fixed
@given(stream_ids())
def test_an_id_is_not_blank_and_fits(stream_id: str) -> None:
    assert stream_id.strip()
    assert len(stream_id.encode()) <= RelayConfig().max_stream_id_size


@fixed
@given(configs(), configs())
def test_two_configurations_fit_each_other(config: RelayConfig, other: RelayConfig) -> None:
    assert config.max_message_size == other.max_message_size
    sent = max(config.send_window_segments, config.opening_window_segments)
    assert sent <= other.receive_window_segments
    assert config.send_window_bytes <= other.receive_window_bytes


def test_all_limits_but_a_few_are_as_usual() -> None:
    examples = [asdict(config) for config in drawn(configs())]
    usual = {name: Counter(example[name] for example in examples) for name in examples[0]}
    tight = [
        sum(example[name] != counts.most_common(1)[0][0] for name, counts in usual.items())
        for example in examples
    ]
    assert set(tight) == set(range(6))
