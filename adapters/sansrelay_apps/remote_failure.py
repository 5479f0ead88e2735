"""How a remote command comes to nothing, and what its start's errors mean."""

import errno
import re
from collections.abc import Mapping

from sansrelay.errors import clean_reason
from sansrelay.jsonrpc import RpcError

__all__ = ["RemoteFailure", "start_failure"]

RELAY_FAILED = 255
NOT_FOUND = 127
NOT_RUNNABLE = 126

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_PROGRAM_IS_AT_FAULT = frozenset({errno.EACCES, errno.ENOEXEC, errno.EPERM})


class RemoteFailure(Exception):
    """There is no exit status of a program to pass on. The message is one line for people."""

    def __init__(self, message: str, *, status: int = RELAY_FAILED) -> None:
        super().__init__(message)
        self.status = status


def start_failure(error: RpcError, *, executor: str, program: str, cwd: str) -> RemoteFailure:
    """What the error that answers `process/start` means, with the exit status of shells.

    Our executor tells in `data` what was at fault; Codex gives the same message for a missing
    program and for a missing directory (Codex behaviour).
    """
    message = clean_reason(error.message)
    program, cwd = clean_reason(program), clean_reason(cwd)
    data = error.data if isinstance(error.data, Mapping) else {}
    number = data.get("errno") if data else _os_error_in(message)
    match data.get("what"):
        case "cwd":
            return RemoteFailure(f"{executor}: can't use the directory {cwd}: {message}")
        case "program" if number == errno.ENOENT:
            return RemoteFailure(f"{executor}: no such program: {program}", status=NOT_FOUND)
        case "program":
            return RemoteFailure(f"{executor}: can't run {program}: {message}", status=NOT_RUNNABLE)
    if data:
        return RemoteFailure(f"{executor}: can't start {program}: {message}")
    if number == errno.ENOENT:
        return RemoteFailure(
            f"{executor}: no such program: {program}, or no such directory: {cwd}",
            status=NOT_FOUND,
        )
    if number in _PROGRAM_IS_AT_FAULT:
        return RemoteFailure(
            f"{executor}: can't run {program} in {cwd}: {message}", status=NOT_RUNNABLE
        )
    return RemoteFailure(f"{executor}: can't start {program}: {message}")


def _os_error_in(message: str) -> int | None:
    found = _OS_ERROR.search(message)
    return int(found[1]) if found else None
