"""The messages of the exec-server as typed structures, and the errors it answers with.

Names and meaning are Codex's (0.131 to 0.169); members that are not listed are ignored. Our own
additions: `process/closeStdin`, `process/resize` and the size of a terminal, more signals than
`interrupt`, `signal` beside an exit code, `serverInfo`, and `data` in the errors of
`process/start`.
"""

import errno
import os
import re
import signal
from enum import Enum, StrEnum
from typing import Annotated, TypeAlias, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import UNSET, Meta, UnsetType

from sansrelay.jsonrpc import ErrorCode, JsonValue, RpcError

__all__ = [
    "SESSION_ALREADY_ATTACHED",
    "ClosedNotification",
    "Empty",
    "EnvPolicy",
    "ExitedNotification",
    "Inherit",
    "InitializeParams",
    "InitializeResult",
    "Message",
    "OutputChunk",
    "OutputNotification",
    "OutputStream",
    "ProcessParams",
    "ReadParams",
    "ReadResult",
    "ResizeParams",
    "RpcFailure",
    "ServerInfo",
    "SignalName",
    "SignalParams",
    "StartParams",
    "StartResult",
    "TerminalSize",
    "TerminateResult",
    "WriteParams",
    "WriteResult",
    "WriteStatus",
    "os_failure",
    "parse_params",
    "parse_path",
    "to_json",
]

SESSION_ALREADY_ATTACHED = -32010
"""The error code for a session that another stream has (Codex behaviour)."""

ProcessId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Length: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
# What the kernel can take: its strings end at the first NUL, its variables' names at the first "=".
Text: TypeAlias = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
VariableName: TypeAlias = Annotated[str, Meta(pattern=r"\A[^=\x00]+\Z")]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all structures here."""


class Inherit(StrEnum):
    """Which of the executor's own variables a process starts from."""

    ALL = "all"
    CORE = "core"
    NONE = "none"


class OutputStream(StrEnum):
    """Where output came from. A process on a terminal has only `pty`."""

    STDOUT = "stdout"
    STDERR = "stderr"
    PTY = "pty"


class WriteStatus(StrEnum):
    """What became of a write. Codex's `starting` is never the answer here: requests are taken in
    order, and the start of a process is over before the next one is looked at."""

    ACCEPTED = "accepted"
    UNKNOWN_PROCESS = "unknownProcess"
    STDIN_CLOSED = "stdinClosed"


class SignalName(Enum):
    """The signals of `process/signal`, by their names on the wire."""

    INTERRUPT = "interrupt"
    TERMINATE = "terminate"
    HANGUP = "hangup"
    KILL = "kill"
    QUIT = "quit"
    STOP = "stop"
    CONTINUE = "continue"
    USER1 = "user1"
    USER2 = "user2"

    @property
    def number(self) -> signal.Signals:
        return _SIGNALS[self]


_SIGNALS = {
    SignalName.INTERRUPT: signal.SIGINT,
    SignalName.TERMINATE: signal.SIGTERM,
    SignalName.HANGUP: signal.SIGHUP,
    SignalName.KILL: signal.SIGKILL,
    SignalName.QUIT: signal.SIGQUIT,
    SignalName.STOP: signal.SIGSTOP,
    SignalName.CONTINUE: signal.SIGCONT,
    SignalName.USER1: signal.SIGUSR1,
    SignalName.USER2: signal.SIGUSR2,
}

_FILE_URI = re.compile(r"file:(?://(?:localhost)?)?(/(?!/)[^?#]*)")


# -- params


class InitializeParams(Message, frozen=True, kw_only=True):
    client_name: str
    resume_session_id: str | None = None


class EnvPolicy(Message, frozen=True, kw_only=True):
    """How the variables of a process are made; see `environment.build_environment`."""

    inherit: Inherit
    ignore_default_excludes: bool = False
    exclude: tuple[str, ...] = ()
    set: dict[VariableName, Text] = {}
    include_only: tuple[str, ...] = ()


class TerminalSize(Message, frozen=True, kw_only=True):
    """In characters. The default is that of Codex's terminals."""

    rows: Length = 24
    cols: Length = 80


class StartParams(Message, frozen=True, kw_only=True):
    """`sandbox` is among the ignored members: a process is never confined."""

    process_id: ProcessId
    argv: Annotated[tuple[Text, ...], Meta(min_length=1)]
    cwd: str
    env: dict[VariableName, Text]
    env_policy: EnvPolicy | None = None
    tty: bool = False
    terminal_size: TerminalSize | None = None
    pipe_stdin: bool = False
    arg0: Text | None = None


class ProcessParams(Message, frozen=True, kw_only=True):
    """The params of the methods that take no more than a process."""

    process_id: ProcessId


class ReadParams(ProcessParams, frozen=True, kw_only=True):
    after_seq: Count | None = None
    max_bytes: Count | None = None
    wait_ms: Count | None = None


class WriteParams(ProcessParams, frozen=True, kw_only=True):
    chunk: bytes
    write_id: Annotated[str, Meta(max_length=256)] | None = None


class ResizeParams(ProcessParams, frozen=True, kw_only=True):
    terminal_size: TerminalSize


class SignalParams(ProcessParams, frozen=True, kw_only=True):
    signal: SignalName


# -- results


class ServerInfo(Message, frozen=True, kw_only=True):
    """Our own extension of the answer to `initialize`."""

    name: str
    version: str
    cwd: str | None
    capabilities: tuple[str, ...]


class InitializeResult(Message, frozen=True, kw_only=True):
    session_id: str
    server_info: ServerInfo


class StartResult(Message, frozen=True, kw_only=True):
    process_id: str


class OutputChunk(Message, frozen=True, kw_only=True):
    seq: int
    stream: OutputStream
    chunk: bytes


class ReadResult(Message, frozen=True, kw_only=True):
    chunks: tuple[OutputChunk, ...]
    next_seq: int
    exited: bool
    exit_code: int | None
    closed: bool
    failure: str | None = None
    signal: int | UnsetType = UNSET


class WriteResult(Message, frozen=True, kw_only=True):
    status: WriteStatus


class Empty(Message, frozen=True, kw_only=True):
    """A result that says only that it was done."""


class TerminateResult(Message, frozen=True, kw_only=True):
    running: bool


# -- notifications


class OutputNotification(Message, frozen=True, kw_only=True):
    process_id: str
    seq: int
    stream: OutputStream
    chunk: bytes


class ExitedNotification(Message, frozen=True, kw_only=True):
    process_id: str
    seq: int
    exit_code: int
    signal: int | UnsetType = UNSET


class ClosedNotification(Message, frozen=True, kw_only=True):
    process_id: str
    seq: int


# -- reading and writing them


class RpcFailure(Exception):
    """Raised by a handler: the request is answered with this error."""

    def __init__(self, code: int, message: str, data: JsonValue = None) -> None:
        super().__init__(message)
        self.error = RpcError(code=code, message=message, data=data)


def os_failure(error: OSError, *, what: str | None = None) -> RpcFailure:
    """An error of the operating system, worded as Codex does, with its number and name as data.

    `what` says which of several things was at fault.
    """
    number = error.errno or 0
    data: dict[str, JsonValue] = {"errno": number, "errnoName": errno.errorcode.get(number, "?")}
    if what is not None:
        data["what"] = what
    message = f"{os.strerror(number)} (os error {number})"
    return RpcFailure(ErrorCode.INTERNAL_ERROR, message, data)


P = TypeVar("P", bound=Message)


def parse_params(params_type: type[P], params: JsonValue) -> P:
    """The params as their structure, or an `RpcFailure` (-32602) that names the bad member."""
    try:
        return msgspec.convert(params, params_type)
    except msgspec.ValidationError as error:
        raise RpcFailure(ErrorCode.INVALID_PARAMS, f"invalid params: {error}") from None


def to_json(message: Message) -> JsonValue:
    """A structure as what JSON can hold: bytes become base64, unset members vanish."""
    value: JsonValue = msgspec.to_builtins(message)
    return value


def parse_path(text: str) -> str:
    """An absolute path from a path or a `file://` URI (RFC 8089), or an `RpcFailure` (-32602)."""
    path = text
    if text.startswith("file:"):
        uri = _FILE_URI.fullmatch(text)
        if uri is None:
            raise RpcFailure(
                ErrorCode.INVALID_PARAMS,
                "a file URI must be local and hold nothing but a path, like file:///tmp/a%20b",
            )
        path = os.fsdecode(unquote_to_bytes(uri[1]))
    if not path.startswith("/") or "\0" in path:
        raise RpcFailure(
            ErrorCode.INVALID_PARAMS, "a path must be absolute, like /tmp or file:///tmp"
        )
    return path
