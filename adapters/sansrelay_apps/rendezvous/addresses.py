"""Where the rendezvous listens, and where it says that it is."""

import ipaddress
import re
from dataclasses import dataclass

from sansrelay.connection import Role
from sansrelay.http import HttpRequest, HttpUrl, UrlError, parse_http_url
from sansrelay.network import is_loopback

__all__ = ["ListenAddress", "PublicBase", "parse_listen_address", "relay_url"]

_LISTEN = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A host and a port to listen on; port 0 stands for any that is free."""

    host: str
    """A name or an address; an IPv6 address without its brackets."""
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def url(self, *, secure: bool) -> str:
        """The base URL of a server that listens here."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if secure else 'http'}://{host}:{self.port}"


def parse_listen_address(text: str) -> ListenAddress:
    """Take HOST:PORT apart. Raises `ValueError`, saying what to write."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(
            "write HOST:PORT, like 127.0.0.1:8700 or [::1]:8700, with a port of 0 to 65535"
        )
    host = match["name"]
    if match["v6"] is not None:
        host = match["v6"]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("write an IPv6 address between the brackets") from None
    return ListenAddress(host, int(match["port"]))


class PublicBase:
    """The base of the URLs that the rendezvous hands out."""

    def __init__(
        self,
        configured: HttpUrl | None,
        *,
        listening: HttpUrl,
        trust_proxy: bool,
    ) -> None:
        """`configured` goes for every request. Without it the base is the scheme that the server
        speaks and the Host header of the request, or `listening` if that is no sane host.

        With `trust_proxy`, the header X-Forwarded-Proto tells the scheme.
        """
        self._configured = configured
        self._listening = listening
        self._trust_proxy = trust_proxy

    def of(self, request: HttpRequest) -> HttpUrl:
        """The base for the answer to a request."""
        if self._configured is not None:
            return self._configured
        scheme = "https" if self._is_secure(request) else "http"
        try:
            base = parse_http_url(f"{scheme}://{request.headers.get('host') or ''}")
        except UrlError:
            return self._listening
        return self._listening if base.target else base

    def path_of(self, request: HttpRequest) -> str:
        """The request's path without the prefix of the base, which a proxy may leave or drop."""
        path = request.path
        prefix = self._configured.target if self._configured is not None else ""
        return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path

    def _is_secure(self, request: HttpRequest) -> bool:
        forwarded = request.headers.get("x-forwarded-proto") if self._trust_proxy else None
        return forwarded.lower() == "https" if forwarded else self._listening.secure


def relay_url(base: HttpUrl, executor_id: str, role: Role, ticket: str) -> str:
    """The URL to dial. `role=harness` in its query makes Codex speak the relay's frames."""
    scheme = "wss" if base.secure else "ws"
    path = f"{base.target}/relay/{executor_id}"
    return f"{scheme}://{base.host_header}{path}?role={role.value}&ticket={ticket}"
