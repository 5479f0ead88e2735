"""Paces and limits, and the values users hold: what they refuse, what they hide."""

import math
import random
from collections.abc import Callable

import pytest

from sansrelay.http import UrlCause, UrlError
from sansrelay.registry import RegistryArgument, RegistryError
from sansrelay_trio import Backoff, KeepAlive, Registry, ServerLimits


class Recorder(random.Random):
    """Records the bounds that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return a


def test_the_backoff_doubles_up_to_its_cap_and_has_full_jitter() -> None:
    rng = Recorder()
    backoff = Backoff(first=0.5, cap=3)
    assert [backoff.delay(n, rng) for n in (1, 2, 3, 4, 5, 10_000)] == [0] * 6
    assert rng.asked == [(0, 0.5), (0, 1), (0, 2), (0, 3), (0, 3), (0, 3)]


def test_the_defaults_are_those_documented() -> None:
    assert Backoff() == Backoff(first=0.1, cap=10, superseded_first=5, superseded_cap=300)
    assert KeepAlive() == KeepAlive(ping_interval=20, pong_timeout=20, write_timeout=60)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Backoff(first=0), "first"),
        (lambda: Backoff(cap=-1), "cap"),
        (lambda: Backoff(superseded_first=0), "superseded_first"),
        (lambda: Backoff(superseded_cap=math.nan), "superseded_cap"),
        (lambda: KeepAlive(ping_interval=0), "ping_interval"),
        (lambda: KeepAlive(pong_timeout=math.nan), "pong_timeout"),
        (lambda: KeepAlive(write_timeout=True), "write_timeout"),
        (lambda: KeepAlive(write_timeout="1"), "write_timeout"),  # type: ignore[arg-type]
        (lambda: ServerLimits(request_timeout=0), "request_timeout"),
        (lambda: ServerLimits(idle_timeout=-1), "idle_timeout"),
        (lambda: ServerLimits(write_timeout=0), "write_timeout"),
        (lambda: ServerLimits(max_connections=0), "max_connections"),
        (lambda: ServerLimits(max_request_body=0), "max_request_body"),
    ],
)
def test_values_without_sense_are_refused_by_name(make: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make()


def test_a_registry_hides_its_token() -> None:
    registry = Registry("https://registry.test/base", "box1", token="very-secret")
    assert "very-secret" not in repr(registry)
    assert "box1" in repr(registry)


@pytest.mark.parametrize(
    ("base_url", "executor_id", "token", "cause"),
    [
        ("ftp://registry.test", "box1", "t", UrlCause.BAD_SCHEME),
        ("http://registry.test", "a b", "t", RegistryArgument.ID),
        ("http://registry.test", "box1", "t\n", RegistryArgument.TOKEN),
    ],
)
def test_a_registry_refuses_what_fits_no_request(
    base_url: str, executor_id: str, token: str, cause: object
) -> None:
    with pytest.raises((UrlError, RegistryError)) as caught:
        Registry(base_url, executor_id, token=token)
    assert getattr(caught.value, "cause", None) is cause
