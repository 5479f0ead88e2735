"""Fuzzed bytes read as a program: plain bytes would seldom get past the first check.

Every input is a program, and one that ends in the middle of something reads zeros from there on. So
cutting or splicing inputs, which is what a fuzzer does, gives other programs and never an error.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

__all__ = ["MAX_STEPS", "Program", "blob", "word"]

MAX_STEPS: Final = 96
"""Steps of a program that are carried out, so that an input of any size has a bounded cost."""

T = TypeVar("T")


class Program:
    """Reads choices from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._steps = 0

    def goes_on(self) -> bool:
        """Whether there is another step to carry out; counts it."""
        self._steps += 1
        return self._at < len(self._data) and self._steps <= MAX_STEPS

    def byte(self) -> int:
        """The next byte."""
        at = self._at
        self._at = at + 1
        return self._data[at] if at < len(self._data) else 0

    def word(self) -> int:
        """The next two bytes as a number."""
        return self.byte() << 8 | self.byte()

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of several."""
        return choices[self.byte() % len(choices)]

    def number(self, size: int) -> int:
        """A whole number of that many bytes."""
        number = 0
        for _ in range(size):
            number = number << 8 | self.byte()
        return number

    def blob(self) -> bytes:
        """A length and as many bytes, or as many as are left."""
        size = self.word()
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data


def word(number: int) -> bytes:
    """What `Program.word` reads as that number."""
    return number.to_bytes(2, "big")


def blob(data: bytes) -> bytes:
    """What `Program.blob` reads as these bytes."""
    return word(len(data)) + data
