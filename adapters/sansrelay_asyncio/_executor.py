"""The executor's end of the relay: the side that accepts streams."""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Never

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
from ._tasks import Background, consists_of, open_background

__all__ = ["ExecutorHandle", "StreamHandler", "serve_executor"]

StreamHandler = Callable[[RelayStream], Awaitable[object]]

_NEWS_OF_THE_END = (StreamEnded, EOFError, ConnectionAbortedError)
"""What a handler may well let out when its stream has ended: nobody's fault here."""

_log = logging.getLogger("sansrelay_asyncio")


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
    on_started: Callable[[ExecutorHandle], object] | None = None,
) -> Never:
    """Connect to a rendezvous as executor and serve streams, until cancelled or a final failure.

    `handler(stream)` runs in a task of its own for each stream that a harness opens. When it
    returns, the stream is closed in good order. When it raises, its stream is reset
    (`ResetReason.CANCELLED`) and the exception logged; nothing else happens. A handler is not
    cancelled when its stream ends: it finds out when it uses the stream. Handlers that still run
    count towards `RelayConfig.max_streams`; a stream beyond is reset (`too_many_streams`).

    `on_started` is called with an `ExecutorHandle` once the first link is up; `set_result` of a
    future will do. Options, first connection and reconnection are as in `open_harness`. Raises
    `ConnectError` for a failure that is final, never in a group.

    When cancelled, streams that live are reset (`ResetReason.GOING_AWAY`), handlers are cancelled,
    and the WebSocket is closed in order, within a second; cancelled once more, at once.
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
    async with open_background() as tasks:
        handlers = _Handlers(handler, tasks, limit=config.max_streams)
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
        driver.start(tasks)
        try:
            await driver.linked.wait()
            if driver.session.failure is None:
                if on_started is not None:
                    on_started(ExecutorHandle(driver.session))
                await driver.failed.wait()
            assert driver.session.failure is not None
            raise driver.session.failure
        finally:
            driver.session.leave(ResetReason.GOING_AWAY)
            handlers.cancel()
            await driver.stop()
    raise AssertionError("the block above always raises")


class _Handlers:
    """The handlers that run."""

    def __init__(self, handler: StreamHandler, tasks: Background, *, limit: int) -> None:
        self._handler = handler
        self._tasks = tasks
        self._limit = limit
        self._running: set[asyncio.Task[None]] = set()

    def start(self, stream: RelayStream) -> None:
        """Run the handler on a stream just accepted."""
        if len(self._running) >= self._limit:
            stream.reset(ResetReason.TOO_MANY_STREAMS)
            return
        task = self._tasks.start(self._run(stream))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """Cancel all handlers."""
        for task in self._running:
            task.cancel()

    async def _run(self, stream: RelayStream) -> None:
        try:
            await self._handler(stream)
            await stream.aclose()
        except Exception as error:
            if stream.ended is None or not consists_of(error, _NEWS_OF_THE_END):
                _log.exception("the handler of stream %s raised", stream.stream_id)
        finally:
            stream.reset()
