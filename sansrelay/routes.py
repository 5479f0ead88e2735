"""What a `Rendezvous` keeps: links, executor ids, routes, those that wait, those that ended.

The rules are in `sansrelay.rendezvous`; here is the bookkeeping, every step of it in constant time.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass

from .ended import ResetLimiter
from .errors import LocalCause, LocalProtocolError, ResetReason
from .fairqueue import FairQueue, Pool
from .frames import ResetFrame
from .rendezvous_values import LinkId, LinkRefusal, RendezvousConfig, RouteEndedBy

__all__ = ["EndedRoute", "EndedRoutes", "Executor", "Link", "LinkTable", "Route", "RouteTable"]


class Executor:
    """An executor id, with all that is attached to it."""

    __slots__ = ("executor_id", "harness_links", "link", "routes")

    def __init__(self, executor_id: str) -> None:
        self.executor_id = executor_id
        self.link: Link | None = None
        self.harness_links = 0
        self.routes: dict[str, Route] = {}


class Link:
    """An open link of an executor or, if it has a principal, of a harness.

    `age` counts up with every link, so the newer of two has the larger.
    """

    __slots__ = (
        "age",
        "executor",
        "link_id",
        "principal",
        "queue",
        "resets",
        "routes",
        "superseded",
    )

    def __init__(
        self,
        link_id: LinkId,
        executor: Executor,
        principal: str | None,
        age: int,
        config: RendezvousConfig,
        pool: Pool,
    ) -> None:
        self.link_id = link_id
        self.executor = executor
        self.principal = principal
        self.age = age
        self.superseded = False
        self.queue = FairQueue(
            limit=config.link_queue_size,
            stream_limit=config.stream_queue_size,
            reserve=config.reset_queue_size,
            pool=pool,
        )
        # The routes that follow a harness link. A dict as ordered set: its order is that of output.
        self.routes: dict[Route, None] = {}
        self.resets = ResetLimiter(config.resets_per_second)
        """For streams that have no route."""


class LinkTable:
    """The open links, counted, and how many there may be.

    A superseded link is in the table until it is closed, but counts no more.
    """

    def __init__(self, config: RendezvousConfig, pool: Pool) -> None:
        self._config = config
        self._pool = pool
        self._open: dict[LinkId, Link] = {}
        self._opened = 0
        self._links_of: Counter[str] = Counter()
        self.executors = 0
        """Links of executors."""
        self.harnesses = 0
        """Links of harnesses."""

    def get(self, link_id: LinkId) -> Link:
        """An open link. Raises `LocalProtocolError` if it is not open (`LINK_STATE`)."""
        found = self._open.get(link_id)
        if found is None:
            raise LocalProtocolError(
                LocalCause.LINK_STATE, f"link {link_id} is not open; open it first"
            )
        return found

    def check_new(self, link_id: LinkId) -> None:
        """Raise `LocalProtocolError` if a link of that id is open (`LINK_STATE`)."""
        if link_id in self._open:
            raise LocalProtocolError(
                LocalCause.LINK_STATE,
                f"link {link_id} is open; close it first or choose another id",
            )

    @property
    def is_full(self) -> bool:
        """Whether `max_links` are open."""
        return self.executors + self.harnesses >= self._config.max_links

    def refusal(self, executor: Executor | None, principal: str) -> LinkRefusal | None:
        """Why a principal may have no further link to an executor id, or None if it may."""
        if self.is_full:
            return LinkRefusal.TOO_MANY_LINKS
        if self._links_of[principal] >= self._config.max_links_per_principal:
            return LinkRefusal.TOO_MANY_PRINCIPAL_LINKS
        if executor is not None and executor.harness_links >= self._config.max_harness_links:
            return LinkRefusal.TOO_MANY_HARNESS_LINKS
        return None

    def add(self, link_id: LinkId, executor: Executor, principal: str | None) -> Link:
        """A new link, counted; without a principal it is the executor's own."""
        self._opened += 1
        link = Link(link_id, executor, principal, self._opened, self._config, self._pool)
        self._open[link_id] = link
        if principal is None:
            self.executors += 1
        else:
            self.harnesses += 1
            self._links_of[principal] += 1
            executor.harness_links += 1
        return link

    def discount(self, link: Link) -> None:
        """A link is superseded or gone: it counts no more."""
        principal = link.principal
        if principal is None:
            self.executors -= 1
            return
        self.harnesses -= 1
        self._links_of[principal] -= 1
        if not self._links_of[principal]:
            del self._links_of[principal]
        link.executor.harness_links -= 1

    def remove(self, link: Link) -> None:
        """Forget a link that is gone."""
        del self._open[link.link_id]


class Route:
    """Where the frames of one stream go. `age` is that of the newest link that sent on it."""

    __slots__ = (
        "age",
        "executor",
        "executor_reliable",
        "harness",
        "harness_reliable",
        "principal",
        "stream_id",
        "suspended",
    )

    def __init__(self, stream_id: str, harness: Link, principal: str) -> None:
        self.stream_id = stream_id
        self.executor = harness.executor
        self.principal = principal
        self.harness: Link | None = harness
        self.age = harness.age
        self.suspended = False
        self.harness_reliable = False
        self.executor_reliable = False

    @property
    def reliable(self) -> bool:
        """Both sides have shown the reliable profile."""
        return self.harness_reliable and self.executor_reliable


class RouteTable:
    """The executor ids and their routes, counted, and with their deadlines."""

    def __init__(self, config: RendezvousConfig) -> None:
        self._config = config
        self._executors: dict[str, Executor] = {}
        self._routes_of: Counter[str] = Counter()
        # Each has one fixed grace period, so the order of insertion is the order of the deadlines.
        self._awaiting_executor: OrderedDict[Route, float] = OrderedDict()
        self._awaiting_harness: OrderedDict[Route, float] = OrderedDict()
        self.count = 0

    def find(self, executor_id: str) -> Executor | None:
        """What is known under an executor id."""
        return self._executors.get(executor_id)

    def find_or_add(self, executor_id: str) -> Executor:
        """What is known under an executor id, new if nothing was."""
        executor = self._executors.get(executor_id)
        if executor is None:
            executor = self._executors[executor_id] = Executor(executor_id)
        return executor

    def tidy(self, executor: Executor) -> None:
        """Forget an executor id that nothing is attached to any more."""
        if executor.link is None and not executor.harness_links and not executor.routes:
            del self._executors[executor.executor_id]

    def add(self, stream_id: str, harness: Link, principal: str) -> Route | None:
        """A new route, or None if there are as many as there may be."""
        if (
            self.count >= self._config.max_routes
            or self._routes_of[principal] >= self._config.max_routes_per_principal
        ):
            return None
        route = Route(stream_id, harness, principal)
        route.executor.routes[stream_id] = route
        harness.routes[route] = None
        self.count += 1
        self._routes_of[principal] += 1
        return route

    def remove(self, route: Route) -> None:
        """Forget a route."""
        del route.executor.routes[route.stream_id]
        if route.harness is not None:
            del route.harness.routes[route]
        self._awaiting_executor.pop(route, None)
        self._awaiting_harness.pop(route, None)
        self.count -= 1
        self._routes_of[route.principal] -= 1
        if not self._routes_of[route.principal]:
            del self._routes_of[route.principal]

    def suspend(self, route: Route, now: float) -> None:
        """From now on the route waits for the executor's `resume`, if it does not already."""
        if not route.suspended:
            route.suspended = True
            self._awaiting_executor[route] = now + self._config.executor_grace

    def resume(self, route: Route) -> None:
        """The executor's `resume` has come."""
        route.suspended = False
        del self._awaiting_executor[route]

    def detach(self, route: Route, now: float) -> None:
        """The route's harness link is gone; it waits for the next one."""
        route.harness = None
        self._awaiting_harness[route] = now + self._config.harness_grace

    def move(self, route: Route, link: Link) -> None:
        """The route follows another harness link from now on."""
        if route.harness is None:
            del self._awaiting_harness[route]
        else:
            del route.harness.routes[route]
        route.harness = link
        route.age = link.age
        link.routes[route] = None

    def next_timeout(self) -> float | None:
        """The earliest deadline."""
        deadlines = [
            next(iter(waiting.values()))
            for waiting in (self._awaiting_executor, self._awaiting_harness)
            if waiting
        ]
        return min(deadlines, default=None)

    def next_expired(self, now: float) -> tuple[Route, ResetReason] | None:
        """A route that has waited too long, and what its end is called. Remove it."""
        for waiting, reason in (
            (self._awaiting_executor, ResetReason.EXECUTOR_UNAVAILABLE),
            (self._awaiting_harness, ResetReason.HARNESS_DISCONNECTED),
        ):
            if waiting:
                route, deadline = next(iter(waiting.items()))
                if deadline <= now:
                    return route, reason
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRoute:
    """What is kept of a route: whose it was, the reset that ended it, who sent that, until when."""

    principal: str
    reset: ResetFrame
    by: RouteEndedBy
    expires_at: float

    def reset_for(self, *, executor: bool) -> ResetFrame:
        """The reset for one side. Its ack fields are news to the side that did not send it."""
        sender = RouteEndedBy.HARNESS if executor else RouteEndedBy.EXECUTOR
        return self.reset if self.by is sender else self.reset._replace(ack=0, ack_bits=0)


class EndedRoutes:
    """The routes that ended lately. Bounded in number and age, the oldest out first."""

    def __init__(self, config: RendezvousConfig) -> None:
        self._config = config
        # All are kept equally long, so the order of insertion is the order of the deadlines.
        self._ended: OrderedDict[tuple[str, str], EndedRoute] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ended)

    def add(
        self, executor_id: str, principal: str, reset: ResetFrame, by: RouteEndedBy, now: float
    ) -> None:
        """Remember the end of a stream."""
        if len(self._ended) >= self._config.max_ended_routes:
            self._ended.popitem(last=False)
        self._ended[executor_id, reset.stream_id] = EndedRoute(
            principal=principal,
            reset=reset,
            by=by,
            expires_at=now + self._config.ended_route_ttl,
        )

    def find(self, executor_id: str, stream_id: str) -> EndedRoute | None:
        """What is remembered of a stream's route."""
        return self._ended.get((executor_id, stream_id))

    def expire(self, now: float) -> None:
        """Forget what is old."""
        while self._ended and next(iter(self._ended.values())).expires_at <= now:
            self._ended.popitem(last=False)
