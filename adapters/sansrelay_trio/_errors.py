"""What the trio adapter raises. Causes are enums; the message is a sentence for people."""

from enum import Enum

import trio
from sansrelay.errors import clean_reason
from sansrelay.events import StreamReset

__all__ = [
    "ConnectCause",
    "ConnectError",
    "LinkCause",
    "LinkClosed",
    "LinkFailed",
    "RegistryRefused",
    "StreamEnded",
]


class ConnectCause(Enum):
    """Why no link came about."""

    BAD_URL = "the URL can't be used"
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


class LinkClosed(trio.BrokenResourceError):
    """The WebSocket is not usable any more. `code` and `reason` are those of the Close frame."""

    def __init__(
        self, cause: LinkCause, message: str, *, code: int | None = None, reason: str = ""
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.code = code
        self.reason = reason


class LinkFailed(trio.BrokenResourceError):
    """There is no link and there will be none: `__cause__` is the `ConnectError` that was final."""


class StreamEnded(trio.BrokenResourceError):
    """The stream has ended, and not by this side's own `aclose` or `reset`.

    `reset` is the stream's last event. It holds the reason, and the outcome of each message that
    was not acknowledged. `__cause__` is the final `ConnectError`, if that is what ended the stream.
    """

    def __init__(self, reset: StreamReset) -> None:
        super().__init__(
            f"stream {reset.stream_id} was ended by {reset.by.value}: {clean_reason(reset.reason)}"
        )
        self.reset = reset
