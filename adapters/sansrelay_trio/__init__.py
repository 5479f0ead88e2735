"""sansrelay on trio: both ends of the relay over WebSockets, and a server for a rendezvous.

A harness opens streams::

    async with sansrelay_trio.open_harness("wss://rendezvous.example/h") as harness:
        async with await harness.open_stream() as stream:
            await stream.send(b"hello")
            print(await stream.receive())

An executor serves them::

    async def handler(stream):
        async for message in stream:
            await stream.send(message)

    await sansrelay_trio.serve_executor(handler, "wss://rendezvous.example/e")

No task outlives the block or call it belongs to, and no exception comes in a group.
"""

from sansrelay.driving import OnEvent
from sansrelay.links import (
    Backoff,
    ConnectCause,
    ConnectError,
    KeepAlive,
    LinkCause,
    LinkStatus,
    RegistryRefused,
)
from sansrelay.network import Registry, ServerLimits

from ._dial import OpenSocket
from ._errors import LinkClosed, LinkFailed, StreamEnded
from ._executor import ExecutorHandle, StreamHandler, serve_executor
from ._harness import Harness, open_harness
from ._server import ConnectionHandler, ServerConnection, serve_http
from ._stream import RelayStream
from ._transport import WebSocketConnection

__all__ = [
    "Backoff",
    "ConnectCause",
    "ConnectError",
    "ConnectionHandler",
    "ExecutorHandle",
    "Harness",
    "KeepAlive",
    "LinkCause",
    "LinkClosed",
    "LinkFailed",
    "LinkStatus",
    "OnEvent",
    "OpenSocket",
    "Registry",
    "RegistryRefused",
    "RelayStream",
    "ServerConnection",
    "ServerLimits",
    "StreamEnded",
    "StreamHandler",
    "WebSocketConnection",
    "open_harness",
    "serve_executor",
    "serve_http",
]
