"""The promises that a world checks, and the exception that says which one was broken."""

from enum import Enum

__all__ = ["Promise", "PromiseBroken"]


class Promise(Enum):
    """What must hold in every schedule. `docs/simulation.md` says what suspends each of them."""

    EXACTLY_ONCE = "messages arrive exactly once and in order while both processes live"
    AT_MOST_ONCE = "no message is run twice, whatever restarts"
    SENT_ONCE = "nothing is sent twice to a peer that has not proved reliable"
    ACKNOWLEDGED = "what is acknowledged was taken over by the peer's application"
    OUTCOME = "each message ends as acknowledged, unknown or never sent, and truly so"
    REASON = "a stream ends with a reason, at both ends, and the reason is true"
    BOUNDED = "no buffer, table, window or queue grows beyond its limit"
    TIMERS = "no timer is due after it was handled"
    WASTE = "nothing is sent again that nobody missed, and nothing is asked that was answered"
    QUIET = "where nothing is to be done, next to nothing is sent"
    VALID = "what goes out is valid, and never raises when it comes in"
    ROUTED_ONCE = "a rendezvous passes each frame on at most once, unchanged"
    LIVENESS = "once the faults are over, everything arrives within a bound"


class PromiseBroken(AssertionError):
    """A world has seen a promise broken. `promise` says which, `at` when, `detail` how."""

    def __init__(self, promise: Promise, detail: str, at: float) -> None:
        super().__init__(f"{promise.name} at {at:.6f}: {detail} (promised: {promise.value})")
        self.promise = promise
        self.detail = detail
        self.at = at
