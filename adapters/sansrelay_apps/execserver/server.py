"""The exec-server: what an executor runs on the streams that harnesses open."""

import logging
import os
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

import trio
from sansrelay.jsonrpc import ErrorCode

from .calls import Call, Handler, handler
from .config import ExecServerConfig
from .connection import Channel, Connection
from .files import FILE_METHODS
from .http_request import HTTP_METHODS
from .methods import PROCESS_METHODS
from .protocol import (
    SESSION_ALREADY_ATTACHED,
    InitializeParams,
    InitializeResult,
    RpcFailure,
    ServerInfo,
)
from .session import Session

__all__ = ["METHODS", "ExecServer", "open_exec_server", "serve_session"]

_log = logging.getLogger(__name__)

_EVERYWHERE = frozenset(
    {
        "process/start",
        "process/read",
        "process/write",
        "process/terminate",
        "fs/readFile",
        "fs/writeFile",
        "fs/createDirectory",
        "fs/getMetadata",
        "fs/readDirectory",
        "fs/remove",
        "fs/copy",
        "http/request",
    }
)
"""What Codex has had since 0.131. A client can't take any other method for granted."""

METHODS: Mapping[str, Handler] = {**PROCESS_METHODS, **FILE_METHODS, **HTTP_METHODS}
"""What is served beside `initialize`."""


class ExecServer:
    """Serves streams, and keeps sessions whose stream is gone so that another one can resume them.

    Made by `open_exec_server`.
    """

    def __init__(
        self, *, config: ExecServerConfig, methods: Mapping[str, Handler], nursery: trio.Nursery
    ) -> None:
        self._config = config
        self._capabilities = tuple(sorted(methods.keys() - _EVERYWHERE))
        self._methods = {**methods, "initialize": handler(InitializeParams, self._initialize)}
        self._nursery = nursery
        self._sessions: dict[str, Session] = {}
        self._is_closing = False

    async def serve(self, channel: Channel) -> None:
        """Serve one stream until it ends or this is cancelled; then close the channel.

        When the client has closed or cancelled the stream, its session is ended with all processes
        before this returns. After any other end, and when cancelled, the session is detached
        instead, for `detached_retention`. This part is shielded from cancellation, and bounded by
        `kill_grace_on_session_end` and `cleanup_timeout`.

        While as many requests are in flight as may be, nothing is received. On a channel that is no
        `RelayChannel` the end of the stream is noticed only afterwards; a caller who knows of it
        earlier should cancel this call.

        Any number of tasks may serve a stream each.
        """
        connection = Connection(channel, methods=self._methods, config=self._config)
        try:
            await connection.run()
        finally:
            with trio.CancelScope(shield=True):
                await self._leave(connection)
                with trio.move_on_after(self._config.cleanup_timeout):
                    await channel.aclose()

    async def end_all(self) -> None:
        """End every session with its processes; no other can begin."""
        self._is_closing = True
        sessions = list(self._sessions.values())
        for session in sessions:
            session.end()
        for session in sessions:
            await session.ended.wait()

    async def _initialize(self, call: Call, params: InitializeParams) -> InitializeResult:
        if call.line.session is not None:
            raise RpcFailure(ErrorCode.INVALID_REQUEST, "initialize was called already")
        if params.resume_session_id is None:
            session = await self._begin()
        else:
            session = self._find_detached(params.resume_session_id)
        session.attach(call.line)
        call.line.session = session
        return InitializeResult(
            session_id=session.session_id,
            server_info=ServerInfo(
                name="sansrelay",
                version=version("sansrelay"),
                cwd=_own_directory(),
                capabilities=self._capabilities,
            ),
        )

    # -- sessions

    async def _begin(self) -> Session:
        if self._is_closing:
            raise RpcFailure(ErrorCode.INTERNAL_ERROR, "this executor is shutting down")
        session: Session = await self._nursery.start(self._host)
        return session

    async def _host(self, *, task_status: trio.TaskStatus[Session]) -> None:
        """Hold a session as long as it lives, and end what it has started."""
        session: Session | None = None
        try:
            async with trio.open_nursery() as nursery:
                session = Session(str(uuid.uuid4()), config=self._config, nursery=nursery)
                self._sessions[session.session_id] = session
                task_status.started(session)
                with session.life:
                    await trio.sleep_forever()
                nursery.cancel_scope.cancel()
        except Exception:
            if session is None:
                raise
            # The other sessions have nothing to do with it.
            _log.exception("session %s failed", session.session_id)
        finally:
            if session is not None:
                with trio.CancelScope(shield=True):
                    await self._bury(session)

    async def _bury(self, session: Session) -> None:
        session.end()
        del self._sessions[session.session_id]
        if session.attachment is not None:
            # A request that is under way could still start a process.
            session.attachment.cancel()
            await session.attachment.wait_done()
        await session.processes.end_all()
        session.ended.set()

    def _find_detached(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None or session.is_ending:
            raise RpcFailure(
                ErrorCode.INVALID_REQUEST,
                f"unknown session id {session_id[:100]!r}: never begun here, ended, or without a "
                f"stream for {self._config.detached_retention:g} s",
            )
        if session.attachment is not None:
            raise RpcFailure(
                SESSION_ALREADY_ATTACHED,
                f"session {session_id} is attached to another stream: end that first",
            )
        return session

    async def _leave(self, connection: Connection) -> None:
        """The stream is gone: end its session, or keep it for another one."""
        session = connection.session
        if session is None:
            return
        if connection.client_is_done:
            session.end()
        if not session.is_ending:
            session.detach()
            self._bound_detached()
        if session.is_ending:
            await session.ended.wait()

    def _bound_detached(self) -> None:
        detached = [
            session
            for session in self._sessions.values()
            if session.attachment is None and not session.is_ending
        ]
        detached.sort(key=lambda session: session.detached_at)
        for session in detached[: max(0, len(detached) - self._config.max_detached_sessions)]:
            session.end()


@asynccontextmanager
async def open_exec_server(
    *, config: ExecServerConfig | None = None, methods: Mapping[str, Handler] = METHODS
) -> AsyncGenerator[ExecServer]:
    """An exec-server for the length of a block. At the end of the block every session is ended.

    `methods` are served beside `initialize`, which is always there. That no process outlives the
    block holds as far as `groups` can find it: SIGTERM at once, SIGKILL after
    `kill_grace_on_session_end`, and `cleanup_timeout` for what does not die of it. This part is
    shielded from cancellation.

    The client's wishes for a sandbox are ignored: processes run with the rights of this one.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        server = ExecServer(config=config or ExecServerConfig(), methods=methods, nursery=nursery)
        try:
            yield server
        except Exception as error:
            failure = error  # a nursery would put it into a group
        finally:
            with trio.CancelScope(shield=True):
                await server.end_all()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def serve_session(
    channel: Channel,
    *,
    config: ExecServerConfig | None = None,
    methods: Mapping[str, Handler] = METHODS,
) -> None:
    """Serve one stream by an exec-server of its own: its session ends with the stream, however
    that ends. Else as `ExecServer.serve`."""
    alone = replace(config or ExecServerConfig(), max_detached_sessions=0)
    async with open_exec_server(config=alone, methods=methods) as server:
        await server.serve(channel)


def _own_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None
