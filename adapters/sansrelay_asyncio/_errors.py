"""What the asyncio adapter raises besides `ConnectError`: kinds of Python's own `ConnectionError`.

| what happened | raised |
|---|---|
| the stream or link has ended, not by this side | `ConnectionError`: the classes below |
| this side has closed it before | `ConnectionAbortedError` |
| the peer closed in good order, and all messages were received | `EOFError` |
| another task is receiving | `RuntimeError` |
| there is no message, or no room for one, now | `asyncio.QueueEmpty`, `asyncio.QueueFull` |
"""

from sansrelay.errors import clean_reason
from sansrelay.events import StreamReset
from sansrelay.links import LinkCause

__all__ = ["LinkClosed", "LinkFailed", "StreamEnded"]


class LinkClosed(ConnectionError):
    """The WebSocket is not usable any more. `code` and `reason` are those of the Close frame."""

    def __init__(
        self, cause: LinkCause, message: str, *, code: int | None = None, reason: str = ""
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.code = code
        self.reason = reason


class LinkFailed(ConnectionError):
    """There is no link and there will be none: `__cause__` is the `ConnectError` that was final."""


class StreamEnded(ConnectionError):
    """The stream has ended, and not by this side's own `aclose` or `reset`.

    `reset` is the stream's last event. It holds the reason, and the outcome of each message that
    was not acknowledged. `__cause__` is the final `ConnectError`, if that is what ended the stream.
    """

    def __init__(self, reset: StreamReset) -> None:
        super().__init__(
            f"stream {reset.stream_id} was ended by {reset.by.value}: {clean_reason(reset.reason)}"
        )
        self.reset = reset
