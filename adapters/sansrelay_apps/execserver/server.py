"""The exec-server: what an executor runs on each stream that a harness opens."""

import os
import uuid
from collections.abc import Mapping
from importlib.metadata import version

import trio
from sansrelay.jsonrpc import ErrorCode

from .config import ExecServerConfig
from .methods import PROCESS_METHODS
from .protocol import InitializeParams, InitializeResult, RpcFailure, ServerInfo
from .session import Call, Channel, Handler, Session, handler

__all__ = ["METHODS", "serve_session"]

_CAPABILITIES = ("process/closeStdin", "process/signal")
"""What a client can't take for granted: Codex has not, or not always, had it."""


def _own_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


async def _initialize(call: Call, params: InitializeParams) -> InitializeResult:
    if call.session.session_id is not None:
        raise RpcFailure(ErrorCode.INVALID_REQUEST, "initialize was called already")
    if params.resume_session_id is not None:
        raise RpcFailure(
            ErrorCode.INVALID_REQUEST,
            "no session to resume: a session ends with its stream, and its processes with it. "
            "Call initialize without resumeSessionId",
        )
    call.session.session_id = str(uuid.uuid4())
    return InitializeResult(
        session_id=call.session.session_id,
        server_info=ServerInfo(
            name="sansrelay",
            version=version("sansrelay"),
            cwd=_own_directory(),
            capabilities=_CAPABILITIES,
        ),
    )


METHODS: Mapping[str, Handler] = {
    "initialize": handler(InitializeParams, _initialize),
    **PROCESS_METHODS,
}


async def serve_session(channel: Channel, *, config: ExecServerConfig | None = None) -> None:
    """Serve one JSON-RPC session on one stream, until the stream ends or this is cancelled.

    Either way every process of the session is ended before this returns, with what it left behind
    in its own session: SIGTERM at once, SIGKILL after `kill_grace_on_session_end`; then the channel
    is closed. That part is shielded from cancellation, and bounded by `cleanup_timeout`.

    While `max_requests_in_flight` requests are without an answer nothing is received, and the end
    of the stream is noticed only then; a caller who knows of it earlier should cancel this call.

    The client's wishes for a sandbox are ignored: processes run with the rights of this one.
    """
    config = config or ExecServerConfig()
    session: Session | None = None
    try:
        async with trio.open_nursery() as nursery:
            session = Session(channel, methods=METHODS, config=config, nursery=nursery)
            await session.run()
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            if session is not None:
                await session.processes.end_all()
            with trio.move_on_after(config.cleanup_timeout):
                await channel.aclose()
