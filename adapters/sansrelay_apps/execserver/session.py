"""What a client has on this machine, for as long as that outlives its streams."""

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

from .config import ExecServerConfig
from .protocol import Message
from .table import ProcessTable

__all__ = ["Attachment", "Session"]

S = TypeVar("S")


class Attachment(Protocol):
    """The stream that a session has at present."""

    def cancel(self) -> None:
        """Stop serving it. Does not wait."""

    async def wait_done(self) -> None:
        """Wait until it serves no request any more."""

    async def notify(
        self, method: str, message: Message, on_settled: Callable[[], None] | None = None
    ) -> None:
        """As `process.Client.notify`."""


class Session:
    """A session: attached to one stream at a time, or detached.

    It is made detached, and ends when it stays so for `detached_retention`, or by `end`.
    """

    def __init__(self, session_id: str, *, config: ExecServerConfig, nursery: trio.Nursery) -> None:
        self.session_id = session_id
        self.config = config
        self.processes = ProcessTable(config=config, nursery=nursery, client=self)
        self.life = trio.CancelScope(deadline=trio.current_time() + config.detached_retention)
        """Around whatever waits for the end of the session."""
        self.ended = trio.Event()
        """Set when the session is over and its processes are gone."""
        self.attachment: Attachment | None = None
        self.detached_at = -math.inf
        """On trio's clock; earlier than any time before the first stream."""
        self._present = trio.Event()
        self._states: dict[Callable[[Session], Any], Any] = {}

    # -- its stream

    def attach(self, attachment: Attachment) -> None:
        """Give the session a stream. To be called when it has none."""
        self.attachment = attachment
        self.life.deadline = math.inf
        self._present.set()

    def detach(self) -> None:
        """Take the stream away. From now on nothing is notified."""
        self.attachment = None
        self._present = trio.Event()
        self.detached_at = trio.current_time()
        self.life.deadline = self.detached_at + self.config.detached_retention

    @property
    def is_ending(self) -> bool:
        return self.life.cancel_called

    def end(self) -> None:
        """End the session and its processes. Does not wait; `ended` tells when that is done."""
        self.life.cancel()

    # -- what its processes want

    @property
    def is_present(self) -> bool:
        return self.attachment is not None

    async def wait_present(self) -> None:
        await self._present.wait()

    async def notify(
        self, method: str, message: Message, on_settled: Callable[[], None] | None = None
    ) -> None:
        """Send a notification on the session's stream; without one, nothing happens."""
        if self.attachment is not None:
            await self.attachment.notify(method, message, on_settled)

    # -- for handlers

    def state(self, factory: "Callable[[Session], S]") -> S:
        """What the factory has made for this session; it is called at the first use.

        For handlers that keep something from one request to the next.
        """
        if factory not in self._states:
            self._states[factory] = factory(self)
        value: S = self._states[factory]
        return value
