"""The harness's end of the relay: the side that opens streams."""

import random
import ssl
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sansrelay.config import RelayConfig
from sansrelay.connection import Role
from sansrelay.driving import OnEvent, RelayEnd
from sansrelay.errors import ResetReason
from sansrelay.links import CONNECT_TIMEOUT, Backoff, KeepAlive
from sansrelay.network import Registry

from ._dial import Dialer, OpenSocket
from ._driver import Driver
from ._errors import LinkFailed
from ._stream import RelayStream
from ._tasks import open_background

__all__ = ["Harness", "open_harness"]


class Harness(RelayEnd):
    """The harness's end of the relay. Made by `open_harness`; may be used by any task of its loop.

    Not from other threads: nothing here has locks.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver.session)
        self._rng = driver.rng

    async def open_stream(self, stream_id: str | None = None) -> RelayStream:
        """Open a stream, by default under a new UUIDv4. Messages may be sent at once.

        Does not wait for the peer: `RelayStream.wait_opened` does. Works while there is no link
        too. Raises `LinkFailed` if there will be none any more, `ConnectionAbortedError` once the
        block of `open_harness` was left, `sansrelay.LocalProtocolError` (STREAM_EXISTS,
        TOO_MANY_STREAMS, BAD_ARGUMENT).
        """
        session = self._session
        if session.failure is not None:
            raise LinkFailed(f"there is no link any more: {session.failure}") from session.failure
        if session.leaving is not None:
            raise ConnectionAbortedError("the block of open_harness was left")
        if stream_id is None:
            stream_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        return RelayStream(session.open_stream(stream_id))


@asynccontextmanager
async def open_harness(
    target: Registry | str,
    *,
    config: RelayConfig | None = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    insecure: bool = False,
    open_socket: OpenSocket | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    wait: float = 0.0,
    backoff: Backoff | None = None,
    keepalive: KeepAlive | None = None,
    rng: random.Random | None = None,
    on_event: OnEvent | None = None,
) -> AsyncGenerator[Harness]:
    """Connect to a rendezvous as harness; yields a `Harness` once the first link is up.

    `target`: a `Registry` to ask, or a ws:// or wss:// URL to dial as it is.
    `config`: limits and paces of the relay.
    `ssl_context`: for wss:// and https://; by default `ssl.create_default_context()`.
    `server_hostname`: the name that certificates have to be for, in the place of the URLs' hosts.
    `insecure`: let ws:// and http:// lead to other machines than this one, where all between can
    read and change what passes, tokens included. Without it that is refused, before anything is
    connected, with `ConnectCause.INSECURE`. Loopback addresses and `localhost` are this machine.
    `open_socket`: opens connected, non-blocking stream sockets, in the place of plain TCP.
    `connect_timeout`: seconds for asking the registry, and again for dialling.
    `wait`: seconds for which a first connection is tried again (see below); `math.inf` for ever.
    `backoff`, `keepalive`: paces of reconnection, and of noticing that a link is dead.
    `rng`: where ids, incarnations and pauses come from; by default the system's randomness.
    `on_event`: called with each event of the state machine. For tracing; must not block.

    The first connection: one that broke off, was not answered in time, or was answered with 429 or
    5xx is tried again as long as the next attempt begins within `wait` seconds. Anything else
    (refused connection, unknown host, another 4xx, bad certificate) is final at once. A final
    failure raises `ConnectError`.

    Later on, a lost link is dialled again for ever, whatever happens, except that 401 or 403 from
    the registry is final: all streams end (`StreamEnded`), and `open_stream` raises `LinkFailed`.
    The block is not cancelled for that. Streams of reliable peers live on across lost links, for
    at most `RelayConfig.resume_timeout`. An executor whose id another process took over (close code
    4001) logs a warning and waits longer each time, as told at `Backoff`.

    When the block is left, streams that still live are reset (`ResetReason.CANCELLED`); that is
    written, and the WebSocket closed in order, within a second, cancelled or not. A task that is
    cancelled once more meanwhile closes it by force, at once. Exceptions of the block come out as
    they are, never in a group.
    """
    config = config or RelayConfig()
    dialer = Dialer(
        Role.HARNESS,
        target,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        insecure=insecure,
        open_socket=open_socket,
        connect_timeout=connect_timeout,
        keepalive=keepalive,
        max_frame_size=config.max_frame_size,
    )
    driver = Driver(
        Role.HARNESS,
        dialer,
        config=config,
        wait=wait,
        backoff=backoff,
        rng=rng,
        on_event=on_event,
    )
    async with open_background() as tasks:
        driver.start(tasks)
        try:
            await driver.linked.wait()
            if driver.session.failure is not None:
                raise driver.session.failure
            yield Harness(driver)
        finally:
            driver.session.leave(ResetReason.CANCELLED)
            await driver.stop()
