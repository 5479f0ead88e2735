"""The configuration of a rendezvous."""

import math
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from sansrelay.config import RelayConfig
from sansrelay.rendezvous import RendezvousConfig

NUMBERS = [item.name for item in fields(RendezvousConfig) if item.name != "relay"]
COUNTS = [name for name in NUMBERS if isinstance(getattr(RendezvousConfig(), name), int)]
SECONDS = [name for name in NUMBERS if name not in COUNTS]


def config(**values: Any) -> RendezvousConfig:
    return RendezvousConfig(**values)


def test_defaults_fit_the_endpoints() -> None:
    defaults = RendezvousConfig()
    assert defaults.stream_queue_size > RelayConfig().send_window_bytes
    assert defaults.link_queue_size > 2 * defaults.relay.max_frame_size
    assert defaults.harness_grace <= RelayConfig().resume_timeout
    with pytest.raises(FrozenInstanceError):
        defaults.max_links = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", None])
def test_counts_are_whole_and_positive(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a whole number"):
        config(**{name: value})


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_times_and_rates_are_positive_and_finite(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a number above 0"):
        config(**{name: value})


def test_whole_seconds_will_do() -> None:
    assert config(harness_grace=5).harness_grace == 5


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="stream_queue_size"):
        config(stream_queue_size=1 << 30)
    with pytest.raises(ValueError, match=r"^link_queue_size .* total_queue_size"):
        config(total_queue_size=RendezvousConfig().link_queue_size - 1)
    least = RendezvousConfig().link_queue_size
    assert config(total_queue_size=least).total_queue_size == least
    with pytest.raises(ValueError, match="max_frame_size"):
        config(link_queue_size=8 << 20)
