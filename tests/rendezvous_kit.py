"""A rendezvous server on loopback, and clients that are none of ours."""

import json
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio.testing
from websockets.exceptions import ConnectionClosed
from websockets.trio.client import ClientConnection, connect

import trio
from sansrelay import RelayConfig, Role
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import DataFrame, Frame, InvalidFrame, ResumeFrame
from sansrelay.http import (
    Headers,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
    parse_http_url,
)
from sansrelay_apps.rendezvous import (
    AnyToken,
    PublicBase,
    RendezvousServer,
    ServerConfig,
    TicketSigner,
)
from sansrelay_apps.rendezvous.tokens import Access

PATIENCE = 20.0
SIGNER = TicketSigner(b"k" * 32)
DAY = 24 * 3600


@dataclass
class Place:
    """A server under test, and what a client needs to know of it."""

    server: RendezvousServer
    port: int
    url: str
    clock: list[float]
    returned: trio.Event = field(default_factory=trio.Event)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Sequence[tuple[str, str]] = (("Authorization", "Bearer token"),),
        body: bytes = b"",
    ) -> HttpResponse:
        async with await self.open() as stream:
            return await ask(stream, method, path, headers=headers, body=body)

    async def open(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def url_for(self, role: Role, token: str = "token", **members: object) -> str:
        """Where a holder of a token dials as executor or harness of box1."""
        verb = "register" if role is Role.EXECUTOR else "connect"
        response = await self.ask(
            "POST",
            f"/cloud/environment/box1/{verb}",
            headers=[("Authorization", f"Bearer {token}")],
            body=json.dumps(members).encode() if members else b"",
        )
        assert response.status == 200, response.text
        url = json.loads(response.body)["url"]
        assert isinstance(url, str)
        return url

    @asynccontextmanager
    async def link(self, role: Role, token: str = "token") -> AsyncGenerator[ClientConnection]:
        """A link of a WebSocket client that is none of ours."""
        async with dial(await self.url_for(role, token)) as websocket:
            yield websocket


async def ask(
    stream: trio.abc.Stream,
    method: str,
    path: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> HttpResponse:
    """One request on an open connection, which is kept open if it says so."""
    exchange = HttpClientConnection(
        HttpRequest(
            method=method,
            target=path,
            headers=Headers([("Host", "relay.test"), ("Connection", "keep-alive"), *headers]),
            body=body,
        )
    )
    await stream.send_all(exchange.bytes_to_send())
    while exchange.response is None:
        assert exchange.failure is None, exchange.failure
        data = await stream.receive_some()
        if data:
            exchange.receive_bytes(bytes(data))
        else:
            exchange.receive_eof()
    return exchange.response


def dial(url: str) -> connect:
    """A WebSocket client for a URL, whatever host that names."""
    return connect(url, compression=None, proxy=None, close_timeout=1, open_timeout=PATIENCE)


@asynccontextmanager
async def serving(
    *,
    access: Access | None = None,
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    **config: Any,
) -> AsyncGenerator[Place]:
    """A server, and a time limit for what is done with it."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    clock = [1_000_000.0]
    url = f"{'https' if ssl_context else 'http'}://127.0.0.1:{port}"
    # Requests here name another host, and are to be answered with an address that can be dialled.
    base = PublicBase(parse_http_url(url), listening=parse_http_url(url), trust_proxy=False)
    server = RendezvousServer(
        access=access or AnyToken(),
        signer=SIGNER,
        base=base,
        config=ServerConfig(**config),
        wall_clock=lambda: clock[0],
    )
    place = Place(server, port, url, clock)

    async def serve() -> None:
        await server.serve(listeners, ssl_context=ssl_context)
        place.returned.set()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield place
            nursery.cancel_scope.cancel()


def resume(stream_id: str = "a", next_seq: int = 0, **more: Any) -> bytes:
    return encode_frame(ResumeFrame(stream_id, 0, 0, next_seq, **more))


def data(stream_id: str = "a", seq: int = 0, payload: bytes = b"x") -> bytes:
    return encode_frame(DataFrame(stream_id, 0, 0, seq, 0, 1, payload))


async def frame(websocket: ClientConnection) -> Frame:
    message = await websocket.recv()
    assert isinstance(message, bytes)
    decoded = decode_frame(message, RelayConfig())
    assert not isinstance(decoded, InvalidFrame)
    return decoded


async def close_code(websocket: ClientConnection) -> int | None:
    """How the server closes it. What else arrives is thrown away."""
    try:
        while True:
            await websocket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
