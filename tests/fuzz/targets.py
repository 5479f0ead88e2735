"""All targets by name, and how one input is tried.

A target is a function of bytes. It raises if something is wrong, and returns what there is then:
that is what memory is measured on.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from fuzz import target_connection, target_decode, target_link, target_middle, target_rendezvous
from fuzz.valid_frames import VALID

__all__ = [
    "ATTEMPTS",
    "CORPUS",
    "CPU_LIMIT",
    "PER_LIVE_STREAM",
    "SEEDS",
    "TARGETS",
    "Played",
    "TooMuch",
    "corpus",
    "measure",
    "memory_allowed",
    "timed",
]

CORPUS: Final = Path(__file__).resolve().parent / "corpus"

CPU_LIMIT: Final = 0.5
"""Seconds of CPU time that an input may take: 0.05, and a margin of 10."""
ATTEMPTS: Final = 3
"""How often an input that takes longer is tried before that counts."""
PER_LIVE_STREAM: Final = 2048
PER_HELD_SEGMENT: Final = 512
ALLOWANCE: Final = 64 * 1024


class Played(Protocol):
    """What an input has left behind."""

    @property
    def bytes_in(self) -> int:
        """Bytes that were handed over."""

    @property
    def live_streams(self) -> int:
        """Streams that are not over."""

    @property
    def held_segments(self) -> int:
        """Segments that are kept."""


Target = Callable[[bytes], Played]

TARGETS: Final[dict[str, Target]] = {
    "decode": target_decode.play,
    "connection": target_connection.play,
    "link": target_link.play,
    "rendezvous": target_rendezvous.play,
    "middle": target_middle.play,
}
SEEDS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "decode": lambda: list(VALID),
    "connection": target_connection.seeds,
    "link": target_link.seeds,
    "rendezvous": target_rendezvous.seeds,
    "middle": target_middle.seeds,
}
"""Where each corpus begins: valid frames and whole exchanges."""


class TooMuch(Exception):
    """An input cost more time or memory than it may."""


def corpus(name: str) -> list[Path]:
    """The committed inputs of a target."""
    return sorted((CORPUS / name).iterdir())


def memory_allowed(played: Played) -> int:
    """Bytes that may be held after an input."""
    return (
        2 * played.bytes_in
        + PER_LIVE_STREAM * played.live_streams
        + PER_HELD_SEGMENT * played.held_segments
        + ALLOWANCE
    )


def measure(target: Target, data: bytes) -> tuple[int, Played]:
    """Try an input; how many bytes it has left behind. The input must have been tried before."""
    with _traced():
        played = target(data)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    if grown > memory_allowed(played):
        raise TooMuch(f"{grown} bytes are held, {memory_allowed(played)} allowed")
    return grown, played


@contextmanager
def _traced() -> Iterator[None]:
    gc.freeze()  # so that collecting looks at what is new alone
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def timed(target: Target, data: bytes) -> float:
    """Try an input; the seconds of CPU time it took. Raises `TooMuch` beyond `CPU_LIMIT`.

    A long one is tried again, and the shortest counts: what made it long may have been the garbage
    of others, or a machine that counts the time it gave to somebody else.
    """
    spent = _timed_once(target, data)
    for _ in range(ATTEMPTS - 1):
        if spent > CPU_LIMIT:
            gc.collect()
            spent = min(spent, _timed_once(target, data))
    if spent > CPU_LIMIT:
        raise TooMuch(f"{spent:.3f} s of CPU time, {CPU_LIMIT} allowed")
    return spent


def _timed_once(target: Target, data: bytes) -> float:
    start = time.process_time()
    target(data)
    return time.process_time() - start
