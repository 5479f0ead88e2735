"""Luck, from one source that is handed in."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["Dice", "RandomSource"]

T = TypeVar("T")


class RandomSource(Protocol):
    """Where all randomness of a world comes from; `random.Random(seed)` is one."""

    def random(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """A whole number of `k` random bits."""
        ...


class Dice:
    """Draws from a `RandomSource`. The order of the draws is part of a schedule."""

    __slots__ = ("_source", "random")

    def __init__(self, source: RandomSource) -> None:
        self._source = source
        self.random = source.random

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens. Of 0, nothing is drawn."""
        return probability > 0 and self.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + self.random() * (high - low)

    def scaled(self, low: float, high: float) -> float:
        """A number from `low` to `high`, every order of magnitude as likely as any other."""
        return float(low * (high / low) ** self.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.random() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[int(self.random() * len(options))]

    def incarnation(self) -> int:
        """A number for `RelayConnection(incarnation=...)`."""
        return self._source.getrandbits(64) or 1
