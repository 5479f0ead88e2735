"""A reliable, resumable relay for agents that run commands on machines that can only dial out.

The core is `RelayConnection`, a state machine without I/O. See its docstring for the four groups of
calls, `sansrelay.testing` for a fake clock and a simulated link, and `sansrelay_trio` for an
adapter that runs it over WebSockets.
"""

from .config import ProfilePolicy, RelayConfig
from .connection import LinkState, RelayConnection, Role
from .errors import FrameCause, LocalCause, LocalProtocolError, Outcome, ResetReason
from .events import (
    AckCause,
    AckDue,
    DataAcknowledged,
    DataReceived,
    EndedBy,
    Event,
    FrameRejected,
    LinkLost,
    MessageId,
    PeerSilent,
    Retransmit,
    RetransmitCause,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
    StreamResumed,
)
from .states import Profile, StreamState
from .stats import ConnectionStats
from .timers import TimerKind

__version__ = "0.1.0"

__all__ = [
    "AckCause",
    "AckDue",
    "ConnectionStats",
    "DataAcknowledged",
    "DataReceived",
    "EndedBy",
    "Event",
    "FrameCause",
    "FrameRejected",
    "LinkLost",
    "LinkState",
    "LocalCause",
    "LocalProtocolError",
    "MessageId",
    "Outcome",
    "PeerSilent",
    "Profile",
    "ProfilePolicy",
    "RelayConfig",
    "RelayConnection",
    "ResetReason",
    "Retransmit",
    "RetransmitCause",
    "Role",
    "SendCapacityAvailable",
    "StreamOpened",
    "StreamReset",
    "StreamResumed",
    "StreamState",
    "TimerKind",
    "__version__",
]
