"""Paces and limits of links, as frozen values."""

import random
from dataclasses import dataclass, fields

__all__ = ["Backoff", "KeepAlive", "check_positive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait between attempts to connect, in seconds: exponential, with full jitter.

    The n-th attempt in a row that brought nothing is followed by a pause of a random length up to
    `first` * 2**(n-1), and never more than `cap`. The count starts over once a frame of the peer
    has come through. Raises `ValueError` for values that are not above 0.
    """

    first: float = 0.1
    """Longest first pause."""
    cap: float = 10.0
    """Longest pause of all."""

    def __post_init__(self) -> None:
        check_positive(self)

    def delay(self, failures: int, rng: random.Random) -> float:
        """The pause after `failures` attempts in a row, counted from 1."""
        # A float overflows from 2**1024 on; the cap is reached long before 2**64.
        return rng.uniform(0.0, min(self.cap, self.first * 2.0 ** min(failures - 1, 64)))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """How the death of a link is noticed. Times in seconds; `math.inf` switches a rule off.

    Raises `ValueError` for values that are not above 0.
    """

    ping_interval: float = 20.0
    """From one WebSocket ping to the next."""
    pong_timeout: float = 20.0
    """A link from which nothing at all came for so long after a ping is dropped. Any byte counts,
    since on a slow link the pong may stand in a queue behind data."""
    write_timeout: float = 60.0
    """A link is dropped when the peer took not one more block (64 KiB) for so long."""

    def __post_init__(self) -> None:
        check_positive(self)


def check_positive(options: Backoff | KeepAlive) -> None:
    """Raise `ValueError` naming the first field that is not a number above 0."""
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{field.name} must be a number of seconds above 0, not {value!r}")
