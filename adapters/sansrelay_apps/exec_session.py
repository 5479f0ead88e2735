"""The opening of a session with an exec-server, with patience."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import trio
from sansrelay.errors import ResetReason, clean_reason
from sansrelay.jsonrpc import JsonValue, ResponseReceived
from sansrelay_trio import ConnectError, LinkFailed, StreamEnded

from .diagnose import explain_connect_error, explain_reset
from .remote_failure import RemoteFailure
from .rpc_client import BadMessage, RpcClient

__all__ = ["ExecSession", "OpenStream", "ServerInfo", "explain_end", "open_session"]

_log = logging.getLogger(__name__)

OpenStream: TypeAlias = Callable[[], Awaitable[trio.abc.Channel[bytes]]]
"""Opens a new stream to the executor, as `Harness.open_stream` does."""

ANSWER_TIMEOUT = 30.0
"""Seconds for the answer to `initialize`."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
"""Seconds between two attempts; doubling."""

_MAY_PASS = frozenset(
    {
        ResetReason.EXECUTOR_UNAVAILABLE,
        ResetReason.GOING_AWAY,
        ResetReason.LINK_LOST,
        ResetReason.PEER_RESTARTED,
        ResetReason.UNKNOWN_STREAM,
    }
)
"""The executor is not there, or was lost just now: another attempt may find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What an executor told of itself (our extension; Codex tells nothing)."""

    name: str = "unknown"
    cwd: str = "/"
    capabilities: frozenset[str] | None = None
    """None: it did not say, and may have any."""

    def may_have(self, method: str) -> bool:
        """Whether it makes sense to call a method that is not everywhere."""
        return self.capabilities is None or method in self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSession:
    """A stream on which `initialize` was answered."""

    channel: trio.abc.Channel[bytes]
    client: RpcClient
    server: ServerInfo


async def open_session(open_stream: OpenStream, *, executor: str, deadline: float) -> ExecSession:
    """Open a stream and initialize it, again and again while the executor is not there.

    Nothing but `initialize` is ever sent, so another attempt can't run anything twice. None begins
    after `deadline`. Raises `RemoteFailure`.
    """
    pause = FIRST_PAUSE
    while True:
        channel = await _open(open_stream)
        try:
            return await _initialize(channel, executor)
        except (trio.EndOfChannel, trio.BrokenResourceError) as error:
            message = explain_end(error, executor=executor)
            if not _may_pass(error) or trio.current_time() + pause > deadline:
                raise RemoteFailure(message) from None
        _log.info("%s; next attempt in %g s", message, pause)
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def explain_end(error: Exception, *, executor: str) -> str:
    """One line about the error with which a stream, or the opening of one, came to its end."""
    match error:
        case StreamEnded():
            return explain_reset(error.reset, executor=executor)
        case LinkFailed(__cause__=ConnectError() as cause):
            return explain_connect_error(cause)
        case trio.EndOfChannel():
            return f"{executor} closed the stream"
        case BadMessage():
            return f"{executor} does not speak the exec-server protocol: {error}"
    return f"the stream to {executor} broke: {error}"


async def _open(open_stream: OpenStream) -> trio.abc.Channel[bytes]:
    try:
        return await open_stream()
    except LinkFailed as error:
        raise RemoteFailure(explain_end(error, executor="")) from None


async def _initialize(channel: trio.abc.Channel[bytes], executor: str) -> ExecSession:
    client = RpcClient(channel)
    answers: list[ResponseReceived] = []
    params: JsonValue = {"clientName": "sansrelay", "resumeSessionId": None}
    try:
        with trio.fail_after(ANSWER_TIMEOUT):
            await client.request("initialize", params, answers.append)
            while not answers:
                await client.step()
        error = answers[0].error
        if error is not None:
            raise RemoteFailure(f"{executor} refused the session: {clean_reason(error.message)}")
        await client.notify("initialized", {})
    except BaseException as failure:
        await trio.aclose_forcefully(channel)
        if isinstance(failure, trio.TooSlowError):
            raise RemoteFailure(
                f"{executor} did not answer within {ANSWER_TIMEOUT:g} s: its executor hangs, or "
                "speaks the encrypted relay only (Codex 0.142 and later)"
            ) from None
        if isinstance(failure, BadMessage):
            raise RemoteFailure(explain_end(failure, executor=executor)) from None
        raise
    return ExecSession(channel=channel, client=client, server=_server_info(answers[0].result))


def _server_info(result: JsonValue) -> ServerInfo:
    info = result.get("serverInfo") if isinstance(result, dict) else None
    if not isinstance(info, dict):
        return ServerInfo()
    cwd, capabilities = info.get("cwd"), info.get("capabilities")
    return ServerInfo(
        name=clean_reason(f"{info.get('name')} {info.get('version')}"),
        cwd=cwd if isinstance(cwd, str) else "/",
        capabilities=frozenset(word for word in capabilities if isinstance(word, str))
        if isinstance(capabilities, list)
        else None,
    )


def _may_pass(error: Exception) -> bool:
    return isinstance(error, StreamEnded) and error.reset.known_reason in _MAY_PASS
