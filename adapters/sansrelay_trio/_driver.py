"""The loop around one `RelayConnection`: links that come and go, frames, events, time.

A link has a reader, a writer, and a task that keeps it alive; one more task waits for deadlines.
There is none for a stream. Tasks of the application call the state machine directly and wake the
writer; only the writer touches the socket, so whatever is cancelled in the application, no message
is ever half sent.
"""

import logging
import math
import random
import ssl
from collections.abc import Callable
from enum import Enum

import trio
from sansrelay.config import RelayConfig
from sansrelay.connection import RelayConnection, Role
from sansrelay.errors import ResetReason
from sansrelay.events import (
    DataReceived,
    Event,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
)
from sansrelay.stats import ConnectionStats

from ._dial import Dialer, OpenSocket, Registry
from ._errors import ConnectCause, ConnectError, LinkClosed, RegistryRefused
from ._options import Backoff, KeepAlive
from ._stream import RelayStream
from ._tasks import Wakeup, open_background
from ._transport import WebSocketConnection

__all__ = ["CONNECT_TIMEOUT", "LEAVE_TIMEOUT", "Driver", "LinkStatus", "OnEvent", "RelayEnd"]

CONNECT_TIMEOUT = 10.0
"""Default of `connect_timeout`, in seconds."""

LEAVE_TIMEOUT = 1.0
"""Seconds that leaving an end of the relay may take: writing the last resets, closing the link."""

_BATCH_SIZE = 64 * 1024
"""Bytes of frames that are chosen at once. What comes later can still overtake the rest."""

OnEvent = Callable[[Event], None]
"""Called with every event of the `RelayConnection`, for tracing. It must not block, nor raise."""

_log = logging.getLogger("sansrelay_trio")


class LinkStatus(Enum):
    """How it stands with the link."""

    CONNECTING = "connecting"
    """None; one is being dialled, or will be after a pause."""
    UP = "up"
    """Frames pass."""
    DOWN = "down"
    """None, and there will be none: a failure was final, or this end of the relay was left."""


class Driver:
    """Keeps one `RelayConnection` linked and drained until `stop`, or until a failure is final."""

    def __init__(
        self,
        role: Role,
        target: Registry | str,
        *,
        config: RelayConfig | None,
        ssl_context: ssl.SSLContext | None,
        open_socket: OpenSocket | None,
        connect_timeout: float,
        wait: float,
        backoff: Backoff | None,
        keepalive: KeepAlive | None,
        rng: random.Random | None,
        on_event: OnEvent | None,
        on_stream: Callable[[RelayStream], None] | None = None,
    ) -> None:
        config = config or RelayConfig()
        self.rng = rng or random.SystemRandom()
        self.conn = RelayConnection(role, incarnation=self.rng.randrange(1, 2**64), config=config)
        self.streams: dict[str, RelayStream] = {}
        self.max_message_size = config.max_message_size
        self.max_streams = config.max_streams
        self.status = LinkStatus.CONNECTING
        self.failure: ConnectError | None = None
        self.linked = trio.Event()
        """Set when the first link is up, or none will be."""
        self.failed = trio.Event()
        """Set when `failure` is."""
        self.leaving: ResetReason | None = None
        """Set once this end of the relay was left: no stream may begin any more."""
        self._dialer = Dialer(
            role,
            target,
            ssl_context=ssl_context,
            open_socket=open_socket,
            connect_timeout=connect_timeout,
            keepalive=keepalive or KeepAlive(),
            max_frame_size=config.max_frame_size,
        )
        self._backoff = backoff or Backoff()
        self._wait = wait
        self._on_event = on_event
        self._on_stream = on_stream
        # Shielded from whoever is cancelled around it: `stop` has last words to send.
        self._scope = trio.CancelScope(shield=True)
        self._wake = Wakeup()
        self._alarm = trio.CancelScope()
        self._alarm_at = math.inf
        self._failures = 0
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
                        self._give_up(error)
        finally:
            self.status = LinkStatus.DOWN
            self._done.set()

    def leave(self, reason: ResetReason) -> None:
        """Reset all streams, those to come too. `stop` is to follow."""
        self.leaving = reason
        for stream in list(self.streams.values()):
            stream.reset(reason)

    async def stop(self) -> None:
        """Send what is to be sent, close the link in order, end `run`.

        Takes `LEAVE_TIMEOUT` at most, whoever is cancelled meanwhile.
        """
        self._wake.set()
        with trio.CancelScope(shield=True):
            if self.status is LinkStatus.UP:
                with trio.move_on_after(LEAVE_TIMEOUT):
                    await self._done.wait()
            self._scope.cancel()
            await self._done.wait()

    def command_done(self) -> None:
        """The application asked something of `conn`: have it sent, and pass on what came of it."""
        self._wake.set()
        self._settle()

    def adopt(self, stream_id: str) -> RelayStream:
        """The application's face of a stream that `conn` has."""
        stream = self.streams[stream_id] = RelayStream(stream_id, self)
        return stream

    # -- links

    async def _keep_linked(self) -> None:
        give_up_at = trio.current_time() + self._wait
        while True:
            error: ConnectError | None = None
            try:
                connection = await self._dialer.dial()
            except ConnectError as caught:
                error = caught
            else:
                await self._use(connection)
                if self.leaving is not None:
                    return
            self._failures += 1
            pause = self._backoff.delay(self._failures, self.rng)
            if error is not None:
                if self._is_final(error, trio.current_time() + pause > give_up_at):
                    raise error
                _log.info("%s; next attempt in %.1f s", error, pause)
            await trio.sleep(pause)

    def _is_final(self, error: ConnectError, out_of_time: bool) -> bool:
        if not self.linked.is_set():
            return out_of_time or not error.cause.may_pass
        return isinstance(error, RegistryRefused) and error.cause is ConnectCause.UNAUTHORIZED

    async def _use(self, connection: WebSocketConnection) -> None:
        """Run the relay over one link until that is gone."""
        self.conn.link_opened(trio.current_time())
        self.status = LinkStatus.UP
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
            self.status = LinkStatus.CONNECTING
            self.conn.link_closed(trio.current_time())
            self._settle()
            await connection.aclose()

    async def _read_from(self, connection: WebSocketConnection, link: trio.CancelScope) -> None:
        conn = self.conn
        try:
            while True:
                messages = await connection.receive()
                now = trio.current_time()
                for message in messages:
                    conn.receive_frame(message, now)
                    # Before the next frame, which may end the stream that this one has begun.
                    self._pass_on_events()
                self._failures = 0
                self.command_done()
        except LinkClosed as closed:
            _log.info("link lost: %s", closed)
            link.cancel()

    async def _write_to(self, connection: WebSocketConnection) -> None:
        while True:
            frames = self.conn.frames_to_send(trio.current_time(), _BATCH_SIZE)
            self._settle()
            if frames:
                await connection.send(frames)
            elif self.leaving is not None:
                await connection.aclose()
                return
            else:
                await self._wake.wait()

    def _give_up(self, error: ConnectError) -> None:
        self.failure = error
        self.status = LinkStatus.DOWN
        for stream_id in list(self.streams):
            self.conn.reset_stream(stream_id, ResetReason.UNAUTHORIZED)
        self._settle()
        self.linked.set()
        self.failed.set()

    # -- events and time

    def _settle(self) -> None:
        """Pass on events, and see to it that the next deadline is met."""
        self._pass_on_events()
        due = self.conn.next_timeout()
        if due is not None and due < self._alarm_at:
            self._alarm_at = self._alarm.deadline = due

    def _pass_on_events(self) -> None:
        next_event = self.conn.next_event
        while (event := next_event()) is not None:
            self._pass_on(event)

    def _pass_on(self, event: Event) -> None:
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                _log.exception("on_event raised; the relay goes on")
        match event:
            case StreamOpened():
                stream = self.streams.get(event.stream_id)
                is_new = stream is None
                if stream is None:
                    stream = self.adopt(event.stream_id)
                stream._take(event)
                if is_new and self.leaving is not None:
                    stream.reset(self.leaving)
                elif is_new and self._on_stream is not None:
                    self._on_stream(stream)
            case DataReceived() | SendCapacityAvailable():
                self.streams[event.stream_id]._take(event)
            case StreamReset():
                self.streams.pop(event.stream_id)._take(event)

    async def _keep_time(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            self._alarm_at = math.inf
            now = trio.current_time()
            due = self.conn.next_timeout()
            if due is not None and due <= now:
                self.conn.handle_timeout(now)
            self.command_done()


class RelayEnd:
    """What both ends of the relay tell about themselves."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def link(self) -> LinkStatus:
        """How it stands with the link."""
        return self._driver.status

    @property
    def failure(self) -> ConnectError | None:
        """Why there will be no link any more; None as long as there is hope."""
        return self._driver.failure

    def stats(self) -> ConnectionStats:
        """The counters of the `RelayConnection`, as they are now."""
        return self._driver.conn.stats()
