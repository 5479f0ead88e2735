"""HTTP for `http/request`, on httpx, set up to do what Codex's client does.

Bodies come as they are on the wire, compressed ones too. Each request has a connection of its own,
and no cookies are kept. Up to ten redirects are followed. Certificates are checked against the
system's. Proxies that the environment names are not used.
"""

import functools
import ssl
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import h11
import httpx

import trio

__all__ = ["Client", "HttpFailure", "Response", "check_url", "open_client", "tls_context"]

_MAX_REDIRECTS = 10
_UNASKED_HEADERS = ("accept-encoding", "connection", "user-agent")
"""What httpx adds by itself, and Codex does not."""


class HttpFailure(Exception):
    """The exchange did not come to a good end; the message says why."""


class Response:
    """The head of an answer, and its body to come."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Sequence[tuple[bytes, bytes]] = response.headers.raw
        self._response = response
        self._chunks = response.aiter_raw()

    @property
    def next_request(self) -> httpx.Request | None:
        """Where the answer redirects to, if it does."""
        return self._response.next_request

    async def read(self) -> bytes:
        """The next part of the body, as it comes; nothing at its end. Raises `HttpFailure`."""
        with _failures():
            return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        """Have done with it, read or not. Does not wait."""
        # httpx reads through several generators, one in the other. Those that are not exhausted
        # would be left to the garbage collector, unless the innermost raises: here by being
        # cancelled where it would wait for more.
        with trio.CancelScope() as scope, suppress(httpx.HTTPError):
            scope.cancel()
            while await anext(self._chunks, b""):
                pass
        await self._response.aclose()


class _Body(httpx.AsyncByteStream):
    """A body in one piece, in the place of httpx's own, which leaves a generator to the garbage
    collector when sending is cut off."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pieces: Iterator[bytes] = iter(())

    def __aiter__(self) -> "_Body":
        self._pieces = iter((self._data,))
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class Client:
    """Sends one request. Made by `open_client`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._response: Response | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        follow_redirects: bool,
    ) -> Response:
        """Send the request, and wait for the head of the answer. Raises `HttpFailure`."""
        raw_headers = [(name.encode(), value.encode()) for name, value in headers]
        with _failures():
            request = self._client.build_request(method, url, headers=raw_headers, content=body)
            request.stream = _Body(body or b"")
            response = await self._exchange(request)
            redirects = 0
            # Not by httpx, which would read the whole body of an answer that redirects.
            while follow_redirects and response.next_request is not None:
                redirects += 1
                if redirects > _MAX_REDIRECTS:
                    raise HttpFailure(f"there are more than {_MAX_REDIRECTS} redirects")
                await response.aclose()
                response = await self._exchange(response.next_request)
        return response

    async def aclose(self) -> None:
        """Give up what is left of the answer."""
        if self._response is not None:
            await self._response.aclose()

    async def _exchange(self, request: httpx.Request) -> Response:
        self._response = Response(await self._client.send(request, stream=True))
        return self._response


@asynccontextmanager
async def open_client() -> AsyncGenerator[Client]:
    """A client for one request. Its connection is closed at the end of the block."""
    async with httpx.AsyncClient(
        verify=tls_context(),
        trust_env=False,
        timeout=None,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    ) as inner:
        for name in _UNASKED_HEADERS:
            del inner.headers[name]
        client = Client(inner)
        try:
            yield client
        finally:
            await client.aclose()


def check_url(text: str) -> None:
    """Raises `ValueError`, with a message, for what is no absolute http:// or https:// URL."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"the url is invalid: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise ValueError("the url must be an absolute http:// or https:// one")


@functools.cache
def tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    # httpx lets some errors of h11 through (a body that is not as long as the headers say), and a
    # ValueError for the name of a host that DNS can't take.
    except (httpx.HTTPError, httpx.InvalidURL, h11.ProtocolError, OSError, ValueError) as error:
        raise HttpFailure(f"{type(error).__name__}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What an error says or, if that is nothing, what the one behind it says."""
    behind = error.__cause__ or error.__context__
    return str(error) or (_reason(behind) if behind is not None else "no reason was given")
