"""What a rendezvous may pass on, and to which link: the rules of its routing, told once more.

A model of its own, fed by the frames that arrive and by the events of the machine. It says for
each frame on which link it may leave; all else that leaves was made up, or went astray.
"""

from collections import Counter
from typing import NoReturn, Protocol

from ...connection import Role
from ...frames import DataFrame, Frame, HandshakeFrame, InvalidFrame, ResetFrame, ResumeFrame
from ...rendezvous import RouteEnded, RouteOpened
from .lanes import Link
from .promises import Promise
from .trace import describe

__all__ = ["Dialler", "Passage"]


class Dialler(Protocol):
    """What is to be known of the peer behind a link."""

    name: str
    role: Role
    executor_id: str
    principal: str


class Judge(Protocol):
    """Decodes frames, and is told of what should not have been."""

    def frame_of(self, data: bytes) -> Frame | InvalidFrame:
        """A frame, decoded."""
        ...

    def broken(self, promise: Promise, detail: str) -> NoReturn:
        """A promise is broken."""
        ...


class _Route:
    """One route, as it should be."""

    __slots__ = ("newest", "principal", "proved", "suspended")

    def __init__(self, link: int, principal: str, *, suspended: bool) -> None:
        self.newest = link
        """The newest harness link that sent on it: what comes from the executor goes there."""
        self.principal = principal
        self.suspended = suspended
        self.proved = suspended
        """Whether a `resume{>= 1}` of the executor may have been passed on."""


class Passage:
    """The model of one rendezvous."""

    def __init__(self, name: str, judge: Judge) -> None:
        self._name = name
        self._judge = judge
        self._peers: dict[int, Dialler] = {}
        self._executors: dict[str, int] = {}
        self._routes: dict[tuple[str, str], _Route] = {}
        self._may_leave: dict[bytes, Counter[int]] = {}
        self._arriving: Frame | None = None
        self._resets: set[tuple[Role, ResetFrame]] = set()

    # -- links

    def opened(self, link: Link, peer: Dialler) -> None:
        """A link was taken, and what it superseded has been told of."""
        self._peers[link.number] = peer
        if peer.role is Role.EXECUTOR:
            self._lost(peer.executor_id)
            self._executors[peer.executor_id] = link.number

    def closed(self, link: Link) -> None:
        """A link is gone, and what ended with it has been told of."""
        peer = self._peers.pop(link.number)
        if self._executors.get(peer.executor_id) == link.number:
            self._lost(peer.executor_id)
            del self._executors[peer.executor_id]

    def owner(self, executor_id: str, stream_id: str) -> str | None:
        """The principal that has the route of a stream."""
        route = self._routes.get((executor_id, stream_id))
        return None if route is None else route.principal

    def _lost(self, executor_id: str) -> None:
        for (routed_to, stream_id), route in self._routes.items():
            if routed_to == executor_id:
                if not route.proved:
                    self._judge.broken(
                        Promise.SENT_ONCE,
                        f"{self._name} keeps {stream_id} for the successor of an executor that has"
                        " not proved reliable",
                    )
                route.suspended = True

    # -- frames

    def arrived(self, link: Link, data: bytes) -> bool:
        """A frame is about to be handed to the machine. Says whether it is to be heeded: it is not
        if the link was superseded, or the stream has moved on, or is another principal's."""
        frame = self._judge.frame_of(data)
        peer = self._peers[link.number]
        self._arriving = None
        if isinstance(frame, InvalidFrame):
            return True
        if not self._heeded(link, peer, frame.stream_id):
            return False
        self._arriving = frame
        if isinstance(frame, ResetFrame):
            self._resets.add((peer.role, frame))
        target = self._target(link, peer, frame)
        if target is not None:
            self._may_leave.setdefault(data, Counter())[target] += 1
        return True

    def _heeded(self, link: Link, peer: Dialler, stream_id: str) -> bool:
        if peer.role is Role.EXECUTOR:
            return self._executors.get(peer.executor_id) == link.number
        route = self._routes.get((peer.executor_id, stream_id))
        return route is None or (route.principal == peer.principal and link.number >= route.newest)

    def _target(self, link: Link, peer: Dialler, frame: Frame) -> int | None:
        """The link on which the frame may leave."""
        route = self._routes.get((peer.executor_id, frame.stream_id))
        executor = self._executors.get(peer.executor_id)
        if peer.role is Role.EXECUTOR:
            if route is None:
                return None
            if isinstance(frame, ResumeFrame) and frame.next_seq:
                route.suspended = False
                route.proved = True
            passes = not route.suspended or isinstance(frame, ResumeFrame | ResetFrame)
            return route.newest if passes else None
        if route is None:
            makes_one = isinstance(frame, ResumeFrame | DataFrame | HandshakeFrame)
            return executor if makes_one else None
        route.newest = link.number
        passes = not route.suspended or isinstance(frame, ResumeFrame | ResetFrame)
        return executor if passes else None

    def left(self, link: Link, data: bytes) -> None:
        """A frame leaves."""
        allowed = self._may_leave.get(data)
        if allowed is not None and allowed[link.number] > 0:
            allowed[link.number] -= 1
            if not allowed[link.number]:
                del allowed[link.number]
                if not allowed:
                    del self._may_leave[data]
            return
        frame = self._judge.frame_of(data)
        if isinstance(frame, InvalidFrame):
            return
        if isinstance(frame, ResetFrame):
            other = Role.HARNESS if link.peer.role is Role.EXECUTOR else Role.EXECUTOR
            repeated = (other, frame) in self._resets
            if repeated or not (frame.ack or frame.ack_bits):
                return  # of the rendezvous itself, or told again: the reason is judged elsewhere
        self._judge.broken(
            Promise.ROUTED_ONCE,
            f"{self._name} sent {describe(frame)} to link {link.number} of {link.peer.name}, which"
            " it is not for",
        )

    # -- what the machine tells

    def route_opened(self, event: RouteOpened) -> None:
        """A route was made, by the frame that has just arrived."""
        frame = self._arriving
        known = isinstance(frame, ResumeFrame) and bool(
            frame.peer_incarnation or frame.next_seq >= 2
        )
        if event.executor_id not in self._executors and not known:
            self._judge.broken(
                Promise.REASON, f"{self._name} takes {event.stream_id}, and no executor is there"
            )
        key = (event.executor_id, event.stream_id)
        self._routes[key] = _Route(event.link, event.principal, suspended=known)

    def route_ended(self, event: RouteEnded) -> None:
        """A route is gone."""
        self._routes.pop((event.executor_id, event.stream_id), None)
