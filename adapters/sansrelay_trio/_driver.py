"""The tasks around one `Session`: links that come and go, frames, time.

A link has a reader, a writer, and a task that keeps it alive; one more task waits for deadlines.
There is none for a stream. Tasks of the application call the state machine directly and wake the
writer; only the writer touches the socket, so whatever is cancelled in the application, no message
is ever half sent.
"""

import logging
import math
import random
from collections.abc import Callable

import trio
from sansrelay.config import RelayConfig
from sansrelay.connection import Role
from sansrelay.driving import OnEvent, Session
from sansrelay.events import Event
from sansrelay.links import (
    LEAVE_TIMEOUT,
    SUPERSEDED,
    SUPERSEDED_CODE,
    Backoff,
    ConnectError,
    LinkStatus,
    Redial,
)

from ._dial import Dialer
from ._errors import LinkClosed
from ._stream import RelayStream
from ._tasks import Wakeup, open_background
from ._transport import WebSocketConnection

__all__ = ["Driver"]

_log = logging.getLogger("sansrelay_trio")


class Driver:
    """Keeps one `RelayConnection` linked and drained until `stop`, or until a failure is final."""

    def __init__(
        self,
        role: Role,
        dialer: Dialer,
        *,
        config: RelayConfig,
        wait: float,
        backoff: Backoff | None,
        rng: random.Random | None,
        on_event: OnEvent | None,
        on_stream: Callable[[RelayStream], None] | None = None,
    ) -> None:
        self._wake = Wakeup()
        self._alarm = trio.CancelScope()
        self._alarm_at = math.inf
        self.rng = rng or random.SystemRandom()
        self.session = Session(
            role,
            incarnation=self.rng.randrange(1, 2**64),
            config=config,
            wake=self._wake.set,
            set_alarm=self._set_alarm,
            on_event=on_event and _guarded(on_event),
            on_stream=on_stream and (lambda core: on_stream(RelayStream(core))),
        )
        self.linked = trio.Event()
        """Set when the first link is up, or none will be."""
        self.failed = trio.Event()
        """Set when `session.failure` is."""
        self._dialer = dialer
        self._redial = Redial(backoff or Backoff(), self.rng, wait=wait, now=trio.current_time())
        # Shielded from whoever is cancelled around it: `stop` has last words to send.
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()

    async def run(self) -> None:
        """Do it all. Call it once, in a task of its own; it ends soon after `stop`."""
        try:
            with self._scope:
                async with open_background() as nursery:
                    nursery.start_soon(self._keep_time)
                    try:
                        await self._keep_linked()
                    except ConnectError as error:
                        self.session.give_up(error)
                        self.linked.set()
                        self.failed.set()
        finally:
            self.session.status = LinkStatus.DOWN
            self._done.set()

    async def stop(self) -> None:
        """Send what is to be sent, close the link in order, end `run`.

        Takes `LEAVE_TIMEOUT` at most, whoever is cancelled meanwhile.
        """
        self._wake.set()
        with trio.CancelScope(shield=True):
            if self.session.status is LinkStatus.UP:
                with trio.move_on_after(LEAVE_TIMEOUT):
                    await self._done.wait()
            self._scope.cancel()
            await self._done.wait()

    # -- links

    async def _keep_linked(self) -> None:
        while True:
            try:
                connection = await self._dialer.dial()
            except ConnectError as error:
                pause = self._redial.pause_after(error, trio.current_time())
                _log.info("%s; next attempt in %.1f s", error, pause)
            else:
                await self._use(connection)
                if self.session.leaving is not None:
                    return
                if connection.link.close_code == SUPERSEDED_CODE:
                    pause = self._redial.pause_after_superseded(trio.current_time())
                    _log.warning("%s; next attempt in %.1f s", SUPERSEDED, pause)
                else:
                    pause = self._redial.pause_after(None, trio.current_time())
            await trio.sleep(pause)

    async def _use(self, connection: WebSocketConnection) -> None:
        """Run the relay over one link until that is gone."""
        self.session.link_up(trio.current_time())
        self._redial.linked()
        self.linked.set()
        _log.info("link up")
        try:
            async with open_background() as nursery:
                nursery.start_soon(connection.keep_alive)
                nursery.start_soon(self._read_from, connection, nursery.cancel_scope)
                await self._write_to(connection)
        except LinkClosed as closed:
            _log.info("link lost: %s", closed)
        finally:
            self.session.link_down(trio.current_time())
            await connection.aclose()

    async def _read_from(self, connection: WebSocketConnection, link: trio.CancelScope) -> None:
        try:
            while True:
                frames = await connection.receive()
                self.session.receive(frames, trio.current_time())
                self._redial.heard()
        except LinkClosed as closed:
            _log.info("link lost: %s", closed)
            link.cancel()

    async def _write_to(self, connection: WebSocketConnection) -> None:
        while True:
            frames = self.session.frames_to_send(trio.current_time())
            if frames:
                await connection.send(frames)
            elif self.session.leaving is not None:
                await connection.aclose()
                return
            else:
                await self._wake.wait()

    # -- time

    def _set_alarm(self, at: float) -> None:
        self._alarm_at = self._alarm.deadline = at

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._alarm_at = math.inf
            self.session.time_passed(trio.current_time())


def _guarded(on_event: OnEvent) -> OnEvent:
    def call(event: Event) -> None:
        try:
            on_event(event)
        except Exception:
            _log.exception("on_event raised; the relay goes on")

    return call
