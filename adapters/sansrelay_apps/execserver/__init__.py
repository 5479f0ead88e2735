"""The exec-server: runs a harness's commands on this machine, one session per relay stream.

It speaks the `process/*` part of Codex's exec-server protocol, and a little more: the end of
standard input (`process/closeStdin`), more signals, deaths by signal as 128 + number with the
number beside it, and errors that tell a missing program from a missing directory. A client finds
out from `serverInfo` in the answer to `initialize`.
"""

from .config import ExecServerConfig
from .server import serve_session
from .session import Channel

__all__ = ["Channel", "ExecServerConfig", "serve_session"]
