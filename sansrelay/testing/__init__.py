"""For deterministic tests: a fake clock, a simulated link, two ends joined by them, whole worlds.

Nothing here sleeps, and nothing is random that is not handed in: the same inputs give the same
outputs, byte for byte.

`World` and what belongs to it is loaded when it is first asked for: it brings the rendezvous and
the simulation along, which a unit test on a `FakeClock` has no use for. h11 and wsproto are loaded
later still, by the first link of a `World(websockets=True)`.
"""

from typing import TYPE_CHECKING

from ._clock import FakeClock
from ._link import LinkConditions, SimulatedLink
from ._pair import End, RelayPair

if TYPE_CHECKING:
    from .world import (
        BasicExecutor,
        BasicHarness,
        Executor,
        Harness,
        Promise,
        PromiseBroken,
        RandomSource,
        Schedule,
        ScheduleKind,
        StreamEnd,
        World,
    )

__all__ = [
    "BasicExecutor",
    "BasicHarness",
    "End",
    "Executor",
    "FakeClock",
    "Harness",
    "LinkConditions",
    "Promise",
    "PromiseBroken",
    "RandomSource",
    "RelayPair",
    "Schedule",
    "ScheduleKind",
    "SimulatedLink",
    "StreamEnd",
    "World",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        """The names of `world`, on first use (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import world

        return getattr(world, name)
