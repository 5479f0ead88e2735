"""A harness of another principal, that knows the stream ids of others and uses them."""

from ...connection import Role
from ...errors import ResetReason
from ...frames import InvalidFrame, ResetFrame
from .lanes import Link
from .peers import Peer
from .promises import Promise
from .trace import describe

__all__ = ["Stranger"]


class Stranger(Peer):
    """It opens no stream of its own. Nobody may notice it, and it may learn of nothing."""

    role = Role.HARNESS

    def _born(self) -> None:
        pass

    def _link_opened(self) -> None:
        pass

    def _link_closed(self) -> None:
        pass

    def settle(self) -> None:
        """It says nothing by itself."""

    def receive(self, link: Link, frames: list[bytes]) -> None:
        """It may be told that no such stream exists."""
        for data in frames:
            frame = self.oracle.frame_of(data)
            if isinstance(frame, InvalidFrame):
                continue
            if not isinstance(frame, ResetFrame) or frame.reason != ResetReason.UNKNOWN_STREAM:
                self.oracle.broken(
                    Promise.ROUTED_ONCE, f"{self.name} was shown another's {describe(frame)}"
                )
