"""Limits and paces: which values make sense, and which go together."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from sansrelay.config import MAX_SEQ, ProfilePolicy, RelayConfig
from sansrelay.frames import ACK_BITS

COUNTS = [field.name for field in fields(RelayConfig) if field.type is int]
SECONDS = [field.name for field in fields(RelayConfig) if field.type is float]
FLAGS = [field.name for field in fields(RelayConfig) if field.type is bool]


def make(**options: Any) -> RelayConfig:
    return RelayConfig(**options)


def test_every_field_has_a_checked_kind() -> None:
    assert {"profile", *COUNTS, *SECONDS, *FLAGS} == {field.name for field in fields(RelayConfig)}


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "8", None], ids=repr)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number_of_1_or_more(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


@pytest.mark.parametrize(
    "value", [0, 0.0, -1.0, float("inf"), float("nan"), True, "1", None], ids=repr
)
@pytest.mark.parametrize("name", SECONDS)
def test_a_time_is_a_number_above_0(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


@pytest.mark.parametrize("value", ["no", 1, None], ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


@pytest.mark.parametrize("value", ["fast", "", None, 1], ids=repr)
def test_a_profile_is_one_of_three(value: object) -> None:
    with pytest.raises(ValueError, match=r"^profile must be auto, reliable or basic, not "):
        make(profile=value)


def test_a_profile_may_be_given_as_text() -> None:
    assert make(profile="basic").profile is ProfilePolicy.BASIC


@pytest.mark.parametrize(
    "options",
    [
        {"min_rto": 2.0, "initial_rto": 1.0},
        {"initial_rto": 20.0, "max_rto": 15.0},
        {"segment_size": 1001, "max_message_size": 1000},
        {"segment_size": 1001, "receive_window_bytes": 1000},
        {"max_message_size": 1001, "receive_buffer_size": 1000, "segment_size": 10},
    ],
    ids=lambda options: " > ".join(options),
)
def test_two_fields_that_contradict_each_other_are_named(options: dict[str, float]) -> None:
    low, high, *_ = options
    with pytest.raises(ValueError, match=f"{low}.*{high}"):
        make(**options)
    equal = options | {low: options[high]}
    assert getattr(make(**equal), low) == options[high]


@pytest.mark.parametrize("largest", ["max_message_size", "max_reason_size"])
def test_the_largest_message_and_reason_fit_in_a_frame(largest: str) -> None:
    options = {"max_message_size": 100, "max_reason_size": 10, "segment_size": 10, largest: 5000}
    with pytest.raises(ValueError, match=f"max_frame_size.*{largest}"):
        make(**options, max_frame_size=5000)
    make(**options, max_frame_size=5000 + 128 + 64)


def test_loss_is_found_within_what_an_ack_reports() -> None:
    assert make(reorder_threshold=ACK_BITS - 1).reorder_threshold == ACK_BITS - 1
    with pytest.raises(ValueError, match="reorder_threshold"):
        make(reorder_threshold=ACK_BITS)


def test_the_defaults_of_two_ends_fit_each_other() -> None:
    config = RelayConfig()
    assert config.send_window_segments <= config.receive_window_segments
    assert config.send_window_bytes <= config.receive_window_bytes
    assert config.opening_window_segments <= ACK_BITS
    assert config.segment_size <= config.send_window_bytes
    assert config.silence_timeout < config.resume_timeout
    assert config.max_message_size <= config.receive_buffer_size
    assert MAX_SEQ == 0xFFFF_FFFF


def test_a_config_is_a_value() -> None:
    config = RelayConfig()
    assert config == RelayConfig()
    assert replace(config, max_streams=3) == RelayConfig(max_streams=3) != config
    with pytest.raises(FrozenInstanceError):
        config.max_streams = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        make(max_stream=3)
