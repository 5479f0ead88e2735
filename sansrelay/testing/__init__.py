"""For deterministic tests: a fake clock, a simulated link, and two ends joined by them.

Nothing here sleeps, and nothing is random that is not handed in: the same inputs give the same
outputs, byte for byte.
"""

from ._clock import FakeClock
from ._link import LinkConditions, SimulatedLink
from ._pair import End, RelayPair

__all__ = ["End", "FakeClock", "LinkConditions", "RelayPair", "SimulatedLink"]
