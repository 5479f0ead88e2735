"""The router on trio: a reader and a writer for each WebSocket, and one task that keeps time."""

import logging
import math

import trio
from sansrelay.connection import Role
from sansrelay.errors import clean_reason
from sansrelay.links import SUPERSEDED_CODE
from sansrelay.rendezvous import (
    LinkId,
    LinkRefusal,
    LinkSuperseded,
    Rendezvous,
    RendezvousConfig,
    RendezvousStats,
    RouteEnded,
    RouteOpened,
)
from sansrelay_trio import LinkClosed, ServerConnection, WebSocketConnection

from .tickets import Ticket

__all__ = ["FAREWELL_TIMEOUT", "Link", "Switchboard"]

FAREWELL_TIMEOUT = 1.5
"""Seconds until a link that was told to close is cut off."""

_GOING_AWAY_CODE = 1001
_BATCH_SIZE = 64 * 1024
"""Bytes of frames taken from the router at once; the rest stays in its bounded, fair queue."""

_log = logging.getLogger("sansrelay_apps.rendezvous")


class Link:
    """One WebSocket of a harness or an executor, from `Switchboard.open` to `Switchboard.serve`."""

    def __init__(self, link_id: LinkId, ticket: Ticket) -> None:
        self.link_id = link_id
        self.ticket = ticket
        self.wake_writer = trio.Event()
        self.scope = trio.CancelScope()
        self.farewell: tuple[int, str] | None = None

    def __str__(self) -> str:
        return f"link {self.link_id} ({self.ticket.role.value}, {self.ticket.executor_id})"

    def close(self, code: int, reason: str) -> None:
        """Have it closed within `FAREWELL_TIMEOUT`, with a WebSocket close code and a reason."""
        self.farewell = code, reason
        self.wake_writer.set()
        self.scope.deadline = trio.current_time() + FAREWELL_TIMEOUT


class Switchboard:
    """All links of a rendezvous, and the router between them. For the tasks of one trio run.

    A link that is slow to take its frames fills its own queue in the router, which is bounded.
    """

    def __init__(self, config: RendezvousConfig) -> None:
        self._router = Rendezvous(config)
        self._max_message_size = config.relay.max_frame_size
        self._links: dict[LinkId, Link] = {}
        self._opened = 0
        self._link_left = trio.lowlevel.ParkingLot()
        self._alarm = trio.CancelScope()

    def stats(self) -> RendezvousStats:
        """The counters of the router."""
        return self._router.stats()

    def open(self, ticket: Ticket) -> Link | LinkRefusal:
        """Let the holder of a ticket in, or say why not. A link that is let in must be served."""
        self._opened += 1
        link = Link(self._opened, ticket)
        router, now = self._router, trio.current_time()
        refusal = (
            router.executor_opened(link.link_id, ticket.executor_id, now)
            if ticket.role is Role.EXECUTOR
            else router.harness_opened(link.link_id, ticket.executor_id, ticket.principal, now)
        )
        if refusal is not None:
            return refusal
        self._links[link.link_id] = link
        self._settle()
        return link

    async def serve(self, link: Link, connection: ServerConnection) -> None:
        """Accept the WebSocket and pass frames until it has ended, by whomever."""
        _log.info("%s opened, from %s", link, connection.peer or "a peer")
        try:
            with link.scope:
                websocket = await connection.accept_websocket(
                    max_message_size=self._max_message_size
                )
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, link, websocket, nursery.cancel_scope)
                    nursery.start_soon(self._write, link, websocket)
            if link.scope.cancelled_caught:
                _log.info("%s took nothing any more, and was cut off", link)
        finally:
            del self._links[link.link_id]
            self._router.link_closed(link.link_id, trio.current_time())
            self._settle()
            self._link_left.unpark_all()

    async def run(self) -> None:
        """Keep time. Runs until cancelled, in a task of its own."""
        while True:
            due = self._router.next_timeout()
            with trio.CancelScope(deadline=math.inf if due is None else due) as self._alarm:
                await trio.sleep_forever()
            self._router.handle_timeout(trio.current_time())
            self._settle()

    async def drain(self) -> None:
        """Close all links with code 1001 and wait until they are gone. Open none meanwhile."""
        for link in list(self._links.values()):
            link.close(_GOING_AWAY_CODE, "the rendezvous is shutting down")
        while self._links:
            await self._link_left.park()

    async def _read(
        self, link: Link, websocket: WebSocketConnection, both: trio.CancelScope
    ) -> None:
        router = self._router
        try:
            while True:
                messages = await websocket.receive()
                now = trio.current_time()
                for message in messages:
                    router.receive_frame(link.link_id, message, now)
                self._settle()
        except LinkClosed as closed:
            _log.info("%s ended: %s", link, closed)
            both.cancel()

    async def _write(self, link: Link, websocket: WebSocketConnection) -> None:
        router = self._router
        try:
            while link.farewell is None:
                frames = router.frames_to_send(link.link_id, _BATCH_SIZE)
                if frames:
                    await websocket.send(frames)
                else:
                    link.wake_writer = trio.Event()
                    await link.wake_writer.wait()
            _log.info("%s is closed: %s", link, link.farewell[1])
            await websocket.aclose(*link.farewell)
        except LinkClosed:
            # The reader says why. It finds out at once: the transport is closed.
            pass

    def _settle(self) -> None:
        """After each input to the router: pass on events, wake writers, set the alarm."""
        router, links = self._router, self._links
        while (event := router.next_event()) is not None:
            match event:
                case LinkSuperseded():
                    links[event.link].close(SUPERSEDED_CODE, "another executor took over this id")
                case RouteOpened():
                    _log.info(
                        "stream %s opened, on link %d", clean_reason(event.stream_id), event.link
                    )
                case RouteEnded():
                    _log.info(
                        "stream %s ended by %s: %s",
                        clean_reason(event.stream_id),
                        event.by.value,
                        clean_reason(event.reason),
                    )
        for link_id in router.links_with_output():
            links[link_id].wake_writer.set()
        due = router.next_timeout()
        if due is not None and due < self._alarm.deadline:
            self._alarm.deadline = due
