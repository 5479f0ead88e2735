"""A rendezvous for the tests of an application: bytes of WebSockets in, bytes out, and outages.

No I/O and no loop: `sansrelay.testing.asyncio` and `sansrelay.testing.trio` put one around it.
"""

import errno
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..connection import Role
from ..http import HttpRequest, HttpResponse
from ..http_server import HttpServerConnection
from ..rendezvous import LinkId, LinkRefusal, LinkSuperseded, Rendezvous, RendezvousConfig
from ..websocket import WebSocketLink, WebSocketState

__all__ = ["LocalRendezvousBase", "Wire"]

_BATCH_SIZE = 64 * 1024
_PRINCIPAL = "tester"
_SUPERSEDED_CODE = 4001
_PORTS = {Role.HARNESS: 1, Role.EXECUTOR: 2}
"""They tell who dials. Without our `open_socket` nobody answers there."""


@dataclass(slots=True, eq=False)
class Wire:
    """One connection that was dialled: how to write to it, how to break it, what it is by now."""

    role: Role
    write: Callable[[bytes], object]
    hang_up: Callable[[], object]
    link: LinkId | None = None
    is_dead: bool = False
    """Nothing passes any more, and nobody was told."""
    http: HttpServerConnection = field(default_factory=HttpServerConnection)
    websocket: WebSocketLink | None = None


class LocalRendezvousBase(ABC):
    """A rendezvous within the process of a test, and the network around it.

    It runs the `Rendezvous` that ships. Harnesses and executors get one of its URLs as their target
    and its `open_socket`; TLS, registry and tokens are left out. All harnesses are one principal.
    To be made on a running loop, and used in `async with` there. What is written to a peer that
    does not read is kept without limit.
    """

    def __init__(self, config: RendezvousConfig | None = None) -> None:
        self._config = config or RendezvousConfig()
        self._router = Rendezvous(self._config)
        self._wires: dict[Wire, None] = {}
        self._links: dict[LinkId, Wire] = {}
        self._links_opened = 0
        self._outages: Counter[Role] = Counter()

    def url(self, role: Role, executor_id: str = "box") -> str:
        """The URL to dial for an executor of this id, or for a harness that is to reach it."""
        return f"ws://localhost:{_PORTS[role]}/{executor_id}"

    def cut(self, *roles: Role) -> None:
        """Break the connections of these roles, by default of both. They may be dialled again."""
        for wire in list(self._wires):
            if wire.role in (roles or Role):
                self._drop(wire)
        self._settle()

    @contextmanager
    def outage(self, *roles: Role, silent: bool = False) -> Iterator[None]:
        """No connections for these roles, by default for both, as long as the block lasts.

        Those that are up break at once; if `silent`, they stay up, but nothing passes them ever
        again, and the ends have to find out. Who dials is refused.
        """
        roles = roles or tuple(Role)
        self._outages.update(roles)
        if silent:
            for wire in self._wires:
                wire.is_dead |= wire.role in roles
        else:
            self.cut(*roles)
        try:
            yield
        finally:
            self._outages.subtract(roles)

    def restart(self) -> None:
        """Break all connections and lose everything, as a rendezvous that is replaced does."""
        self.cut()
        self._router = Rendezvous(self._config)
        self._settle()

    # -- for the loops

    @abstractmethod
    def _now(self) -> float:
        """The loop's time."""

    @abstractmethod
    def _set_alarm(self, at: float | None) -> None:
        """Have `_time_passed` called at that time. Takes the place of the alarm before."""

    def _time_passed(self) -> None:
        self._router.handle_timeout(self._now())
        self._settle()

    def _dialled(self, port: int) -> Role:
        """Who dials this port. Raises `ConnectionRefusedError` for nobody, or during an outage."""
        for role in Role:
            if _PORTS[role] == port and not self._outages[role]:
                return role
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens, or there is an outage")

    def _connect(
        self, role: Role, write: Callable[[bytes], object], hang_up: Callable[[], object]
    ) -> Wire:
        wire = Wire(role, write, hang_up)
        self._wires[wire] = None
        if self._outages[role]:
            self._drop(wire)  # it has begun since this one was dialled
        return wire

    def _receive(self, wire: Wire, data: bytes) -> None:
        """Bytes have come, or b"" for the end."""
        if wire not in self._wires or (data and wire.is_dead):
            return
        if not data:
            self._drop(wire)
        elif wire.websocket is None:
            wire.http.receive_bytes(data)
            if (request := wire.http.next_request()) is not None:
                self._answer(wire, request)
        else:
            wire.websocket.receive_bytes(data)
            self._route(wire, wire.websocket)
        self._settle()

    # -- within

    def _answer(self, wire: Wire, request: HttpRequest) -> None:
        if not request.wants_websocket:
            wire.http.respond(HttpResponse(status=404, body=b"only WebSockets are served here"))
            return
        self._links_opened += 1
        link, executor_id = self._links_opened, request.path.removeprefix("/")
        refusal: LinkRefusal | None
        if wire.role is Role.EXECUTOR:
            refusal = self._router.executor_opened(link, executor_id, self._now())
        else:
            refusal = self._router.harness_opened(link, executor_id, _PRINCIPAL, self._now())
        if refusal is not None:
            wire.http.respond(HttpResponse(status=503, body=refusal.value.encode()))
            return
        wire.link = link
        self._links[link] = wire
        max_size = self._config.relay.max_frame_size
        wire.websocket = wire.http.accept_websocket(max_message_size=max_size)

    def _route(self, wire: Wire, websocket: WebSocketLink) -> None:
        assert wire.link is not None
        for message in websocket.messages():
            self._router.receive_frame(wire.link, message, self._now())

    def _drop(self, wire: Wire) -> None:
        del self._wires[wire]
        if wire.link is not None:
            del self._links[wire.link]
            self._router.link_closed(wire.link, self._now())
        wire.hang_up()

    def _settle(self) -> None:
        router = self._router
        while (event := router.next_event()) is not None:
            if isinstance(event, LinkSuperseded):
                old = self._links[event.link].websocket
                assert old is not None
                old.close(_SUPERSEDED_CODE, "another executor took over this id")
        for link in router.links_with_output():
            websocket = self._links[link].websocket
            assert websocket is not None
            while frames := router.frames_to_send(link, _BATCH_SIZE):
                if websocket.state is WebSocketState.OPEN:
                    for frame in frames:
                        websocket.send_message(frame)
        for wire in list(self._wires):
            source = wire.websocket or wire.http
            data = source.bytes_to_send()
            if data and not wire.is_dead:
                wire.write(data)
            if source.should_close_transport:
                self._drop(wire)
        self._set_alarm(router.next_timeout())
