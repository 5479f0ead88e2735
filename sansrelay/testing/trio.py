"""For tests on trio: a rendezvous in the same process, with links to cut.

With `trio.testing.MockClock(autojump_threshold=0)`, which pytest-trio calls `autojump_clock`, an
outage of ten minutes takes no time.

This is a tool outside the pure core, and nothing imports it but tests. It is not for production.
"""

import math
from typing import Self

import trio.testing

import trio

from ..rendezvous import RendezvousConfig
from ._local import LocalRendezvousBase

__all__ = ["LocalRendezvous"]


class LocalRendezvous(LocalRendezvousBase):
    __doc__ = LocalRendezvousBase.__doc__

    def __init__(self, config: RendezvousConfig | None = None) -> None:
        super().__init__(config)
        self._alarm = trio.CancelScope()
        self._until_left = trio.CancelScope()

    async def open_socket(self, host: str, port: int) -> trio.abc.Stream:
        """For `open_harness` and `serve_executor`: the connections they use.

        Raises `ConnectionRefusedError` during an outage.
        """
        await trio.lowlevel.checkpoint()
        role = self._dialled(port)
        outgoing, incoming = trio.testing.MemorySendStream(), trio.testing.MemoryReceiveStream()

        async def take() -> None:
            self._receive(wire, bytes(outgoing.get_data_nowait()))

        def hang_up() -> None:
            outgoing.send_all_hook = _raise_broken
            incoming.put_eof()

        wire = self._connect(role, incoming.put_data, hang_up)
        outgoing.send_all_hook = take
        outgoing.close_hook = lambda: self._receive(wire, b"")
        return trio.StapledStream(outgoing, incoming)

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        trio.lowlevel.spawn_system_task(self._keep_time)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.cut()
        self._until_left.cancel()

    def _now(self) -> float:
        return trio.current_time()

    def _set_alarm(self, at: float | None) -> None:
        self._alarm.deadline = math.inf if at is None else at

    async def _keep_time(self) -> None:
        with self._until_left:
            while True:
                with self._alarm:
                    await trio.sleep_forever()
                self._alarm = trio.CancelScope()
                self._time_passed()


async def _raise_broken() -> None:
    raise trio.BrokenResourceError("the connection was cut")
