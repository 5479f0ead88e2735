"""Deterministic simulation of whole worlds; users import these names from `sansrelay.testing`."""

from .codex import BasicExecutor, BasicHarness
from .dice import Dice, RandomSource
from .ends import StreamEnd
from .peers import Executor, Harness
from .promises import Promise, PromiseBroken
from .schedules import Schedule, ScheduleKind
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
    "Schedule",
    "ScheduleKind",
    "StreamEnd",
    "World",
]
