"""The executor's end of the relay: the side that accepts streams."""

import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Never

import trio
from sansrelay.config import RelayConfig
from sansrelay.connection import Role
from sansrelay.driving import OnEvent, RelayEnd
from sansrelay.errors import ResetReason
from sansrelay.links import CONNECT_TIMEOUT, Backoff, KeepAlive
from sansrelay.network import Registry

from ._dial import Dialer, OpenSocket
from ._driver import Driver
from ._errors import StreamEnded
from ._stream import RelayStream
from ._tasks import consists_of, open_background

__all__ = ["ExecutorHandle", "StreamHandler", "serve_executor"]

StreamHandler = Callable[[RelayStream], Awaitable[object]]

_NEWS_OF_THE_END = (StreamEnded, trio.EndOfChannel, trio.ClosedResourceError)
"""What a handler may well let out when its stream has ended: nobody's fault here."""

_log = logging.getLogger("sansrelay_trio")


class ExecutorHandle(RelayEnd):
    """What `serve_executor` reports once its first link is up."""


async def serve_executor(
    handler: StreamHandler,
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
    task_status: trio.TaskStatus[ExecutorHandle] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Connect to a rendezvous as executor and serve streams, until cancelled or a final failure.

    `handler(stream)` runs in a task of its own for each stream that a harness opens. When it
    returns, the stream is closed in good order. When it raises, its stream is reset
    (`ResetReason.CANCELLED`) and the exception logged; nothing else happens. A handler is not
    cancelled when its stream ends: it finds out when it uses the stream. Handlers that still run
    count towards `RelayConfig.max_streams`; a stream beyond is reset (`too_many_streams`).

    `task_status.started` gets an `ExecutorHandle` once the first link is up. Options, first
    connection and reconnection are as in `open_harness`. Raises `ConnectError` for a failure that
    is final, never in a group.

    When cancelled, streams that live are reset (`ResetReason.GOING_AWAY`), handlers are cancelled,
    and the WebSocket is closed in order, within a second.
    """
    config = config or RelayConfig()
    dialer = Dialer(
        Role.EXECUTOR,
        target,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        insecure=insecure,
        open_socket=open_socket,
        connect_timeout=connect_timeout,
        keepalive=keepalive,
        max_frame_size=config.max_frame_size,
    )
    async with open_background() as nursery:
        handlers = _Handlers(handler, nursery, limit=config.max_streams)
        driver = Driver(
            Role.EXECUTOR,
            dialer,
            config=config,
            wait=wait,
            backoff=backoff,
            rng=rng,
            on_event=on_event,
            on_stream=handlers.start,
        )
        nursery.start_soon(driver.run)
        try:
            await driver.linked.wait()
            if driver.session.failure is None:
                task_status.started(ExecutorHandle(driver.session))
                await driver.failed.wait()
            assert driver.session.failure is not None
            raise driver.session.failure
        finally:
            driver.session.leave(ResetReason.GOING_AWAY)
            handlers.cancel()
            await driver.stop()
    raise AssertionError("the block above always raises")


class _Handlers:
    """The handlers that run, each shielded, so that streams are reset before they are cancelled."""

    def __init__(self, handler: StreamHandler, nursery: trio.Nursery, *, limit: int) -> None:
        self._handler = handler
        self._nursery = nursery
        self._limit = limit
        self._scopes: set[trio.CancelScope] = set()

    def start(self, stream: RelayStream) -> None:
        """Run the handler on a stream just accepted."""
        if len(self._scopes) >= self._limit:
            stream.reset(ResetReason.TOO_MANY_STREAMS)
            return
        scope = trio.CancelScope(shield=True)
        self._scopes.add(scope)
        self._nursery.start_soon(self._run, stream, scope)

    def cancel(self) -> None:
        """Cancel all handlers."""
        for scope in self._scopes:
            scope.cancel()

    async def _run(self, stream: RelayStream, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._handler(stream)
                await stream.aclose()
        except Exception as error:
            if stream.ended is None or not consists_of(error, _NEWS_OF_THE_END):
                _log.exception("the handler of stream %s raised", stream.stream_id)
        finally:
            stream.reset()
            self._scopes.discard(scope)
