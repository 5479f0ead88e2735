"""The exec-server: runs a harness's commands on this machine, in sessions that outlive streams.

It speaks Codex's exec-server protocol, and a little more: the end of standard input
(`process/closeStdin`), the size of a terminal (`process/resize`), more signals, deaths by signal as
128 + number with the number beside it, and errors that tell a missing program from a missing
directory. A client finds out from `serverInfo` in the answer to `initialize`.
"""

from .calls import Call, Handler, handler
from .config import ExecServerConfig
from .connection import Channel, EndingChannel, RelayChannel
from .files import FILE_METHODS
from .http_request import HTTP_METHODS
from .methods import PROCESS_METHODS
from .protocol import Message, RpcFailure
from .server import METHODS, ExecServer, open_exec_server, serve_session
from .session import Session

__all__ = [
    "FILE_METHODS",
    "HTTP_METHODS",
    "METHODS",
    "PROCESS_METHODS",
    "Call",
    "Channel",
    "EndingChannel",
    "ExecServer",
    "ExecServerConfig",
    "Handler",
    "Message",
    "RelayChannel",
    "RpcFailure",
    "Session",
    "handler",
    "open_exec_server",
    "serve_session",
]
