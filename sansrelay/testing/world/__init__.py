"""Deterministic simulation of whole worlds."""

from .codex import BasicExecutor, BasicHarness
from .dice import Dice, RandomSource
from .ends import StreamEnd
from .peers import Executor, Harness
from .promises import Promise, PromiseBroken
from .world import World

__all__ = [
    "BasicExecutor",
    "BasicHarness",
    "Dice",
    "Executor",
    "Harness",
    "Promise",
    "PromiseBroken",
    "RandomSource",
    "StreamEnd",
    "World",
]
