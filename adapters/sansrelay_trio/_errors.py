"""What the trio adapter raises besides `ConnectError`: kinds of `trio.BrokenResourceError`."""

import trio
from sansrelay.errors import clean_reason
from sansrelay.events import StreamReset
from sansrelay.links import LinkCause

__all__ = ["LinkClosed", "LinkFailed", "StreamEnded"]


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
