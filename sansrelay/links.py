"""What the adapters say about links: causes, errors, paces, and when to dial or ping again.

No loop and no socket: an adapter does the waiting, this module knows for how long.
"""

import math
from dataclasses import dataclass, fields
from enum import Enum
from typing import Protocol

__all__ = [
    "CLOSE_TIMEOUT",
    "CONNECT_TIMEOUT",
    "LEAVE_TIMEOUT",
    "SUPERSEDED",
    "SUPERSEDED_CODE",
    "Backoff",
    "ConnectCause",
    "ConnectError",
    "KeepAlive",
    "LinkCause",
    "LinkStatus",
    "PingTimer",
    "Random",
    "Redial",
    "RegistryRefused",
]

CONNECT_TIMEOUT = 10.0
"""Default of `connect_timeout`, in seconds."""

LEAVE_TIMEOUT = 1.0
"""Seconds that leaving an end of the relay may take: writing the last resets, closing the link."""

CLOSE_TIMEOUT = 1.0
"""Seconds that closing a WebSocket in good order may take. After them it is closed by force."""

SUPERSEDED_CODE = 4001
"""Close code by which a rendezvous ends the link of an executor when another took over its id."""

SUPERSEDED = "another process took over this executor's id: give each executor an id of its own"
"""What that means, for the log."""


class LinkStatus(Enum):
    """How it stands with the link."""

    CONNECTING = "connecting"
    """None; one is being dialled, or will be after a pause."""
    UP = "up"
    """Frames pass."""
    DOWN = "down"
    """None, and there will be none: a failure was final, or this end of the relay was left."""


class ConnectCause(Enum):
    """Why no link came about."""

    BAD_URL = "the URL can't be used"
    INSECURE = "the URL leads to another machine without TLS, and `insecure` does not allow that"
    UNKNOWN_HOST = "the host name has no address"
    REFUSED = "nothing listens there"
    UNREACHABLE = "the network does not lead there"
    TIMED_OUT = "no answer within connect_timeout"
    BROKEN_OFF = "the connection broke off before the link was open"
    TLS = "no TLS connection came about, most likely because of a certificate"
    UNAUTHORIZED = "the server answered 401 or 403"
    DENIED = "the server answered with another status from 400 to 499"
    UNAVAILABLE = "the server answered with a status from 500 to 599"
    BAD_ANSWER = "the server answered with something else than it should"

    @property
    def may_pass(self) -> bool:
        """Whether another attempt soon may do better: the rule for a first connection."""
        return self in _MAY_PASS


_MAY_PASS = frozenset({ConnectCause.TIMED_OUT, ConnectCause.BROKEN_OFF, ConnectCause.UNAVAILABLE})


class ConnectError(Exception):
    """No link came about. `status` is that of the HTTP answer, if there was one."""

    def __init__(self, cause: ConnectCause, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status


class RegistryRefused(ConnectError):
    """The registry answered with an error. `code` is its own word for it, None without one.

    UNAUTHORIZED is final at any time: the token is not good, or not good any more.
    """

    def __init__(
        self, cause: ConnectCause, message: str, *, status: int, code: str | None = None
    ) -> None:
        super().__init__(cause, message, status=status)
        self.code = code


class LinkCause(Enum):
    """Why a WebSocket is not usable any more."""

    CLOSED_HERE = "this side closed it"
    CLOSED_BY_PEER = "the peer closed it with a Close frame"
    CONNECTION_LOST = "the connection broke, or ended without a Close frame"
    PROTOCOL_ERROR = "the peer broke the WebSocket protocol"
    PONG_TIMEOUT = "nothing came from the peer for pong_timeout after a ping"
    WRITE_TIMEOUT = "the peer took nothing for write_timeout"
    SEND_CANCELLED = "a send was cancelled half way"


class Random(Protocol):
    """The part of `random.Random` that pauses are drawn from."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between `a` and `b`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait between attempts to connect, in seconds: exponential, with full jitter.

    The n-th attempt in a row that brought nothing is followed by a pause of a random length up to
    `first` * 2**(n-1), and never more than `cap`. The count starts over once a frame of the peer
    has come through.

    An executor whose id another process took over stays away for longer, or the two would take it
    from each other for ever: after the n-th time for `superseded_first` * 2**(n-1), at most
    `superseded_cap`, of which a random part up to a half is left out. That count starts over when
    the last time is more than 3 * `superseded_cap` ago.

    Raises `ValueError` for values that are not above 0.
    """

    first: float = 0.1
    """Longest first pause."""
    cap: float = 10.0
    """Longest pause of all."""
    superseded_first: float = 5.0
    """Longest pause after the first time that another process took over the executor's id."""
    superseded_cap: float = 300.0
    """Longest pause after any such time."""

    def __post_init__(self) -> None:
        _check_positive(self)

    def delay(self, failures: int, rng: Random) -> float:
        """The pause after `failures` attempts in a row, counted from 1."""
        # A float overflows from 2**1024 on; the cap is reached long before 2**64.
        return rng.uniform(0.0, min(self.cap, self.first * 2.0 ** min(failures - 1, 64)))

    def delay_superseded(self, times: int, rng: Random) -> float:
        """The pause after the executor's id was taken over `times` times, counted from 1."""
        longest = min(self.superseded_cap, self.superseded_first * 2.0 ** min(times - 1, 64))
        return rng.uniform(longest / 2, longest)


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
        _check_positive(self)


def _check_positive(options: Backoff | KeepAlive) -> None:
    """Raise `ValueError` naming the first field that is not a number above 0."""
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ValueError(f"{field.name} must be a number of seconds above 0, not {value!r}")


class Redial:
    """Decides whether to dial again, and after which pause.

    Attempts at a first connection go on for `wait` seconds from `now` on, as long as the failures
    may pass. After the first link nothing is final but a registry that answers 401 or 403.
    """

    def __init__(self, backoff: Backoff, rng: Random, *, wait: float, now: float) -> None:
        self._backoff = backoff
        self._rng = rng
        self._give_up_at = now + wait
        self._was_linked = False
        self._failures = 0
        self._times_superseded = 0
        self._superseded_at = -math.inf

    def linked(self) -> None:
        """A link is up: from now on the rules for later connections hold."""
        self._was_linked = True

    def heard(self) -> None:
        """A frame of the peer has come through: the pauses start over."""
        self._failures = 0

    def pause_after(self, error: ConnectError | None, now: float) -> float:
        """Seconds to wait after a failed attempt, or after a link that was lost (None).

        Raises the error if it is final.
        """
        self._failures += 1
        pause = self._backoff.delay(self._failures, self._rng)
        if error is not None and self._is_final(error, now + pause > self._give_up_at):
            raise error
        return pause

    def pause_after_superseded(self, now: float) -> float:
        """Seconds to wait after a link that was closed with `SUPERSEDED_CODE`."""
        if now - self._superseded_at > 3 * self._backoff.superseded_cap:
            self._times_superseded = 0
        self._times_superseded += 1
        self._superseded_at = now
        return self._backoff.delay_superseded(self._times_superseded, self._rng)

    def _is_final(self, error: ConnectError, out_of_time: bool) -> bool:
        if not self._was_linked:
            return out_of_time or not error.cause.may_pass
        return isinstance(error, RegistryRefused) and error.cause is ConnectCause.UNAUTHORIZED


class PingTimer:
    """When to ping, and when a peer that shows no sign of life counts as dead."""

    def __init__(self, keepalive: KeepAlive, now: float) -> None:
        self._keepalive = keepalive
        self._ping_at = now + keepalive.ping_interval
        self._asked_at = -math.inf
        self._answer_by = math.inf

    @property
    def deadline(self) -> float:
        """When to look again."""
        return min(self._ping_at, self._answer_by)

    def is_dead(self, now: float, heard_at: float) -> bool:
        """Whether a ping was out for too long when the last byte came at `heard_at`."""
        if now < self._answer_by:
            return False
        self._answer_by = math.inf
        return heard_at < self._asked_at

    def should_ping(self, now: float) -> bool:
        """Whether a ping is due. If so it has to be sent: the timer counts on it."""
        if now < self._ping_at:
            return False
        self._ping_at = now + self._keepalive.ping_interval
        if self._answer_by == math.inf:
            self._asked_at, self._answer_by = now, now + self._keepalive.pong_timeout
        return True
