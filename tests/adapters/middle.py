"""A rendezvous for either adapter: the real router between the real WebSockets, and a registry."""

import json
import ssl
import threading
import time
from collections import deque
from concurrent.futures import Future
from itertools import count
from typing import Any

from adapters.loops import Event, Loop, Pending
from sansrelay.connection import Role
from sansrelay.http import HttpRequest, HttpResponse
from sansrelay.registry import CallKind, RegistryCall, parse_route
from sansrelay.rendezvous import LinkSuperseded, Rendezvous, RendezvousConfig

__all__ = ["Middle"]

EXECUTOR_ID = "box1"
"""The one id that executors and harnesses meet under."""
SUPERSEDED_CODE = 4001


class _Link:
    """A WebSocket, as the router's writer sees it."""

    def __init__(self, wake: Event) -> None:
        self.wake = wake
        self.is_over = False
        self.superseded = False

    def end(self) -> None:
        self.is_over = True
        self.wake.set()


class Middle:
    """One server on a loop. It keeps no time: the router's patience outlasts every test."""

    def __init__(self, loop: Loop, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[HttpRequest] = []
        self.answers: deque[HttpResponse] = deque()
        """Answers to the next requests, in the place of what they ask for."""
        self.urls: dict[Role, str] = {}
        """What the registry answers."""
        self.has_executor = threading.Event()
        """Set once the router has taken an executor's link, which may be after the link was up."""
        self._loop = loop
        self._tls = tls
        self._serving: Pending[None] | None = None
        self._start_router()

    def start(self, port: int = 0) -> int:
        """Listen; returns the port."""
        adapter = self._loop.adapter
        listening: Future[list[tuple[str, int]]] = Future()
        options = self._loop.reporting(listening.set_result)
        self._serving = self._loop.start(
            lambda: adapter.serve_http(self._serve, port=port, ssl_context=self._tls, **options)
        )
        [(_, port)] = listening.result(10)
        return port

    def stop(self) -> None:
        """Close all WebSockets, listen no more, and forget all routes."""
        if self._serving is not None:
            self._serving.cancel()
            self._serving.wait()
        self._start_router()

    def _start_router(self) -> None:
        self._router = Rendezvous(RendezvousConfig())
        self._links: dict[int, _Link] = {}
        self._ids = count(1)

    # -- on the loop

    async def _serve(self, connection: Any) -> None:
        while (request := await connection.next_request()) is not None:
            self.requests.append(request)
            if self.answers:
                await connection.respond(self.answers.popleft())
            elif request.wants_websocket:
                role = Role.EXECUTOR if request.path == "/executor" else Role.HARNESS
                await self._pass_frames(await connection.accept_websocket(), role)
                return
            else:
                await connection.respond(self._register(request))

    def _register(self, request: HttpRequest) -> HttpResponse:
        call = parse_route(request.method, request.path)
        assert isinstance(call, RegistryCall)
        role = Role.EXECUTOR if call.kind is CallKind.REGISTER else Role.HARNESS
        answer = {call.spelling.id_member: call.id, "url": self.urls[role]}
        return HttpResponse(status=200, body=json.dumps(answer).encode())

    async def _pass_frames(self, websocket: Any, role: Role) -> None:
        router, link_id = self._router, next(self._ids)
        closed: type[Exception] = self._loop.adapter.LinkClosed
        link = self._links[link_id] = _Link(self._loop.event())
        if role is Role.EXECUTOR:
            router.executor_opened(link_id, EXECUTOR_ID, time.monotonic())
            self.has_executor.set()
        else:
            router.harness_opened(link_id, EXECUTOR_ID, "anyone", time.monotonic())

        async def read() -> None:
            try:
                while True:
                    for frame in await websocket.receive():
                        router.receive_frame(link_id, frame, time.monotonic())
                    self._settle()
            except closed:
                link.end()

        async def write() -> None:
            try:
                while not link.is_over:
                    frames = router.frames_to_send(link_id, 64 * 1024)
                    if frames:
                        await websocket.send(frames)
                    elif link.superseded:
                        await websocket.aclose(SUPERSEDED_CODE, "another executor took over")
                    else:
                        link.wake = self._loop.event()
                        await link.wake.wait()
            except closed:
                pass

        try:
            self._settle()
            await self._loop.gather(read, write)
        finally:
            self._links.pop(link_id, None)
            router.link_closed(link_id, time.monotonic())
            self._settle()

    def _settle(self) -> None:
        while (event := self._router.next_event()) is not None:
            if isinstance(event, LinkSuperseded):
                self._links[event.link].superseded = True
                self._links[event.link].wake.set()
        for link_id in self._router.links_with_output():
            self._links[link_id].wake.set()
