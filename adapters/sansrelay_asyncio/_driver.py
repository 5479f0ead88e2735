"""The tasks around one `Session`: links that come and go, frames, time.

A link has a reader, a writer, and a task that keeps it alive; one more task waits for deadlines.
There is none for a stream. Tasks of the application call the state machine directly and wake the
writer; only the writer touches the socket, so whatever is cancelled in the application, no message
is ever half sent.
"""

import asyncio
import logging
import random
from collections.abc import Callable

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
from ._tasks import Background, Wakeup, open_background
from ._transport import WebSocketConnection

__all__ = ["Driver"]

_log = logging.getLogger("sansrelay_asyncio")


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
        self._loop = asyncio.get_running_loop()
        self._wake = Wakeup()
        self._time = Wakeup()
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
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
        self.linked = asyncio.Event()
        """Set when the first link is up, or none will be."""
        self.failed = asyncio.Event()
        """Set when `session.failure` is."""
        self._dialer = dialer
        self._redial = Redial(backoff or Backoff(), self.rng, wait=wait, now=self._loop.time())

    def start(self, tasks: Background) -> None:
        """Do it all, in a task that ends soon after `stop`. Call it once."""
        self._task = tasks.start(self._run())

    async def stop(self) -> None:
        """Send what is to be sent, close the link in order, end the task.

        Takes `LEAVE_TIMEOUT` at most; when cancelled, no time.
        """
        assert self._task is not None
        self._wake.set()
        try:
            if self.session.status is LinkStatus.UP:
                await asyncio.wait([self._task], timeout=LEAVE_TIMEOUT)
        finally:
            self.session.status = LinkStatus.DOWN
            self._task.cancel()

    async def _run(self) -> None:
        try:
            async with open_background() as tasks:
                tasks.start(self._keep_time())
                try:
                    await self._keep_linked()
                except ConnectError as error:
                    self.session.give_up(error)
                    self.linked.set()
                    self.failed.set()
        finally:
            self.session.status = LinkStatus.DOWN
            if self._alarm is not None:
                self._alarm.cancel()

    # -- links

    async def _keep_linked(self) -> None:
        while True:
            try:
                connection = await self._dialer.dial()
            except ConnectError as error:
                pause = self._redial.pause_after(error, self._loop.time())
                _log.info("%s; next attempt in %.1f s", error, pause)
            else:
                await self._use(connection)
                if self.session.leaving is not None:
                    return
                if connection.link.close_code == SUPERSEDED_CODE:
                    pause = self._redial.pause_after_superseded(self._loop.time())
                    _log.warning("%s; next attempt in %.1f s", SUPERSEDED, pause)
                else:
                    pause = self._redial.pause_after(None, self._loop.time())
            await asyncio.sleep(pause)

    async def _use(self, connection: WebSocketConnection) -> None:
        """Run the relay over one link until that is gone."""
        self.session.link_up(self._loop.time())
        self._redial.linked()
        self.linked.set()
        _log.info("link up")
        try:
            async with open_background() as tasks:
                tasks.start(connection.keep_alive())
                ends = [
                    tasks.start(self._read_from(connection)),
                    tasks.start(self._write_to(connection)),
                ]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            # Cancelled, so out of time.
            connection._abort()
            raise
        finally:
            self.session.link_down(self._loop.time())
            await connection.aclose()

    async def _read_from(self, connection: WebSocketConnection) -> None:
        try:
            while True:
                frames = await connection.receive()
                self.session.receive(frames, self._loop.time())
                self._redial.heard()
        except LinkClosed as closed:
            _log.info("link lost: %s", closed)

    async def _write_to(self, connection: WebSocketConnection) -> None:
        try:
            while True:
                frames = self.session.frames_to_send(self._loop.time())
                if frames:
                    await connection.send(frames)
                elif self.session.leaving is not None:
                    await connection.aclose()
                    return
                else:
                    await self._wake.wait()
        except LinkClosed as closed:
            _log.info("link lost: %s", closed)

    # -- time

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(at, self._time.set)

    async def _keep_time(self) -> None:
        while True:
            await self._time.wait()
            self.session.time_passed(self._loop.time())


def _guarded(on_event: OnEvent) -> OnEvent:
    def call(event: Event) -> None:
        try:
            on_event(event)
        except Exception:
            _log.exception("on_event raised; the relay goes on")

    return call
