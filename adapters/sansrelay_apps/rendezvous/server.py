"""The rendezvous server: the registry's requests and everybody's WebSockets, on one port.

====================================  ==========================================================
POST /cloud/executor/ID/register      where an executor dials (Codex 0.131, 0.132)
POST /cloud/environment/ID/register   the same (Codex 0.133 and later)
POST /cloud/environment/ID/connect    where a harness dials, whether or not an executor is there
GET  /relay/ID                        a WebSocket of relay frames; see `tickets`
GET  /healthz                         200 as long as the process serves
GET  /readyz                          200, or 503 while it shuts down
====================================  ==========================================================

The body of a registry's request may be empty, or a JSON object; its member `ttl` asks for a ticket
that is good for so many seconds. The answer's `expires_in` tells how many it is.
"""

import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio
from sansrelay.connection import Role
from sansrelay.errors import clean_reason
from sansrelay.http import Headers, HttpRequest, HttpResponse, UrlError, parse_http_url
from sansrelay.network import is_loopback
from sansrelay.registry import (
    CallKind,
    RegistryCall,
    RouteRefusal,
    bearer_token,
    error_response,
    parse_route,
)
from sansrelay.rendezvous import LinkRefusal, RendezvousConfig, RendezvousStats
from sansrelay_trio import KeepAlive, ServerConnection, ServerLimits, serve_http

from .addresses import PublicBase, relay_url
from .links import Switchboard
from .tickets import Ticket, TicketFault, TicketSigner
from .tokens import Access, Verdict

__all__ = ["DRAIN_TIMEOUT", "RendezvousServer", "ServerConfig"]

DRAIN_TIMEOUT = 2.0
"""Seconds that all links together may take to close when the server stops."""

_DAY = 24 * 3600
_RELAY_PATH = re.compile(r"/relay/([A-Za-z0-9_-]{1,256})")
_SHUTTING_DOWN = "the rendezvous is shutting down: try again"

_log = logging.getLogger("sansrelay_apps.rendezvous")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Limits and paces of a `RendezvousServer`. Times in seconds."""

    router: RendezvousConfig = field(default_factory=RendezvousConfig)
    http: ServerLimits = field(default_factory=lambda: ServerLimits(max_request_body=64 * 1024))
    keepalive: KeepAlive = field(default_factory=KeepAlive)
    executor_ttl: int = _DAY
    """For which an executor's ticket is good, unless it asks otherwise."""
    harness_ttl: int = _DAY // 2
    """For which a harness's ticket is good, unless it asks otherwise."""
    max_ttl: int = 7 * _DAY
    """Longest life of any ticket. Whoever asks for more gets this."""
    refuse_web_pages: bool = False
    """Answer 403 to a web page of another machine (an Origin header tells). To be set where any
    token is let in: what listens on loopback only can still be reached by the pages that a browser
    on this machine shows."""


class RendezvousServer:
    """One rendezvous. Made, served once, and stopped, in one trio run."""

    def __init__(
        self,
        *,
        access: Access,
        signer: TicketSigner,
        base: PublicBase,
        config: ServerConfig | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` gives seconds since 1970, for the life of tickets."""
        self._access = access
        self._signer = signer
        self._base = base
        self._config = config or ServerConfig()
        self._wall_clock = wall_clock
        self._switchboard = Switchboard(self._config.router)
        self._accepting = trio.CancelScope()
        self._is_stopping = False

    def stats(self) -> RendezvousStats:
        """The counters of the router."""
        return self._switchboard.stats()

    async def serve(
        self,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Serve until `stop`, or until cancelled. The listeners are closed in the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._switchboard.run)
            with self._accepting:
                await serve_http(
                    self._handle,
                    listeners=listeners,
                    ssl_context=ssl_context,
                    limits=self._config.http,
                    keepalive=self._config.keepalive,
                    handler_nursery=nursery,
                )
            with trio.move_on_after(DRAIN_TIMEOUT):
                await self._switchboard.drain()
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """Accept no more, close every WebSocket with code 1001, and let `serve` return.

        That takes `DRAIN_TIMEOUT` at most. Requests on open connections are answered meanwhile.
        """
        self._is_stopping = True
        self._accepting.cancel()

    # -- requests

    async def _handle(self, connection: ServerConnection) -> None:
        while (request := await connection.next_request()) is not None:
            answer = self._answer(request)
            if isinstance(answer, Ticket):
                link = self._switchboard.open(answer)
                if not isinstance(link, LinkRefusal):
                    await self._switchboard.serve(link, connection)
                    return
                answer = _refuse_link(link)
            _log.info(
                "%s %s: status %d", request.method, clean_reason(request.path, 100), answer.status
            )
            await connection.respond(answer)

    def _answer(self, request: HttpRequest) -> HttpResponse | Ticket:
        """The answer to a request, or the right by which it becomes a WebSocket."""
        if self._config.refuse_web_pages and _is_from_web_page(request):
            return error_response(403, "web_page", "web pages of other machines are not let in")
        path = self._base.path_of(request)
        call = parse_route(request.method, path)
        if isinstance(call, RegistryCall):
            return self._answer_call(call, request)
        if call is RouteRefusal.BAD_ID:
            return error_response(
                400, "bad_id", "use an id of 1 to 256 ASCII letters, digits, '-' or '_'"
            )
        if call is RouteRefusal.METHOD_NOT_ALLOWED:
            return error_response(405, "method_not_allowed", "use POST")
        if path in ("/healthz", "/readyz"):
            return self._answer_probe(request, path)
        match = _RELAY_PATH.fullmatch(path)
        if match is not None:
            return self._answer_dial(request, match[1])
        return error_response(404, "not_found", "there is nothing at this path")

    def _answer_probe(self, request: HttpRequest, path: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return _text(405, "use GET", ("Allow", "GET, HEAD"))
        if path == "/readyz" and self._is_stopping:
            return _text(503, "shutting down")
        return _text(200, "ok")

    # -- the registry

    def _answer_call(self, call: RegistryCall, request: HttpRequest) -> HttpResponse:
        role = Role.EXECUTOR if call.kind is CallKind.REGISTER else Role.HARNESS
        token = bearer_token(request)
        if token is None:
            return error_response(
                401, "missing_token", "send a token: the header `Authorization: Bearer TOKEN`"
            )
        verdict = self._access.judge(token, role, call.id)
        if verdict is not Verdict.GRANTED:
            return _refuse_token(verdict, role, call.id)
        if self._is_stopping:
            return error_response(503, "shutting_down", _SHUTTING_DOWN)
        ttl = self._ttl(request.body, role)
        if isinstance(ttl, HttpResponse):
            return ttl
        ticket = Ticket(
            role=role,
            executor_id=call.id,
            principal=self._signer.principal(token),
            expires_at=int(self._wall_clock()) + ttl,
        )
        url = relay_url(self._base.of(request), call.id, role, self._signer.issue(ticket))
        return _json({call.spelling.id_member: call.id, "url": url, "expires_in": ttl})

    def _ttl(self, body: bytes, role: Role) -> int | HttpResponse:
        """The life in seconds of the ticket that is asked for, or what is wrong with the body."""
        config = self._config
        wanted: object = config.executor_ttl if role is Role.EXECUTOR else config.harness_ttl
        if body:
            try:
                members = json.loads(body)
            except (ValueError, RecursionError):
                members = None
            if not isinstance(members, dict):
                return error_response(400, "bad_body", "send no body, or a JSON object")
            if "security_profile" in members or "harness_public_key" in members:
                return error_response(
                    400,
                    "unsupported_security_profile",
                    "this rendezvous serves the plaintext profile only: Codex 0.131 to 0.136, or "
                    "sansrelay",
                )
            wanted = members.get("ttl", wanted)
        # Written so that NaN is refused.
        if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted > 0:
            return error_response(400, "bad_ttl", "ttl is a number of seconds above 0")
        return max(1, int(min(wanted, config.max_ttl)))

    # -- WebSockets

    def _answer_dial(self, request: HttpRequest, executor_id: str) -> HttpResponse | Ticket:
        if request.method != "GET":
            return _text(405, "use GET", ("Allow", "GET"))
        if not request.wants_websocket:
            return _text(426, "open a WebSocket here", ("Upgrade", "websocket"))
        if self._is_stopping:
            return error_response(503, "shutting_down", _SHUTTING_DOWN)
        query = request.query
        try:
            role = Role(query.get("role"))
        except ValueError:
            return error_response(401, "bad_ticket", "the URL's query needs role and ticket")
        ticket = self._signer.check(
            query.get("ticket", ""), role=role, executor_id=executor_id, now=self._wall_clock()
        )
        if isinstance(ticket, Ticket):
            return ticket
        code = "expired_ticket" if ticket is TicketFault.EXPIRED else "bad_ticket"
        return error_response(
            401,
            code,
            f"the URL's ticket is not good: {ticket.value}. Ask the registry for a new one",
        )


def _refuse_token(verdict: Verdict, role: Role, executor_id: str) -> HttpResponse:
    if verdict is Verdict.UNKNOWN_TOKEN:
        return error_response(401, "unknown_token", "the token is not known here")
    if verdict is Verdict.WRONG_ROLE:
        return error_response(403, "wrong_role", f"the token is not one for the role {role.value}")
    return error_response(403, "wrong_id", f"the token does not hold for the id {executor_id}")


def _refuse_link(refusal: LinkRefusal) -> HttpResponse:
    status = 503 if refusal is LinkRefusal.TOO_MANY_LINKS else 429
    return error_response(status, refusal.name.lower(), refusal.value)


def _is_from_web_page(request: HttpRequest) -> bool:
    for origin in request.headers.get_all("origin"):
        try:
            if not is_loopback(parse_http_url(origin).host):
                return True
        except UrlError:
            return True
    return False


def _json(value: object) -> HttpResponse:
    return HttpResponse(
        status=200,
        headers=Headers([("Content-Type", "application/json"), ("Cache-Control", "no-store")]),
        body=json.dumps(value).encode(),
    )


def _text(status: int, text: str, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(
        status=status,
        headers=Headers([("Content-Type", "text/plain; charset=utf-8"), *headers]),
        body=text.encode(),
    )
