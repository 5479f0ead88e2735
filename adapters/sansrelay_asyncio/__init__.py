"""sansrelay on asyncio: both ends of the relay over WebSockets, and a server for a rendezvous.

A harness opens streams::

    async with sansrelay_asyncio.open_harness("wss://rendezvous.example/h") as harness:
        async with await harness.open_stream() as stream:
            await stream.send(b"hello")
            print(await stream.receive())

An executor serves them::

    async def handler(stream):
        async for message in stream:
            await stream.send(message)

    await sansrelay_asyncio.serve_executor(handler, "wss://rendezvous.example/e")

The names are those of `sansrelay_trio`. Works on any asyncio loop, uvloop too, in `asyncio.run` or
on a loop that runs already. No task outlives the block or call it belongs to, and no exception
comes in a group.

A task that is cancelled while it leaves such a block still closes in order, within a second. Let
`asyncio.timeout` do the cancelling: `asyncio.wait_for` runs what it is given in a task of its own.
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
