"""The `fs/*` methods (Codex behaviour).

The requests of a session are carried out in their order, one at a time, in a thread; what else the
session does goes on meanwhile. So a client that writes a file for a process waits for the answer
before it starts the process.

No request is looked at before the answer to the one before was taken over, so that at most one file
of a session is in memory, in the few forms that it has on its way into a message: about five times
`max_file_size`.
"""

import binascii
import errno
import os
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote_from_bytes

import trio
from sansrelay.jsonrpc import ErrorCode

from . import file_system
from .calls import Call, Handler, handler
from .file_params import (
    CopyParams,
    CreateDirectoryParams,
    PathParams,
    PathResult,
    ReadDirectoryResult,
    ReadFileResult,
    RemoveParams,
    WriteFileParams,
)
from .protocol import Empty, Message, RpcFailure, os_failure, parse_path

__all__ = ["FILE_METHODS"]

_CODES = {
    errno.ENOENT: ErrorCode.NOT_FOUND,
    errno.EACCES: ErrorCode.INVALID_REQUEST,
    errno.EINVAL: ErrorCode.INVALID_REQUEST,
    errno.EPERM: ErrorCode.INVALID_REQUEST,
}
"""Codex behaviour. All else is an internal error."""


async def _read_file(call: Call, params: PathParams) -> None:
    path, limit = _path(params.path), call.session.config.max_file_size
    await _look(call, lambda: ReadFileResult(data_base64=file_system.read_file(path, limit=limit)))


async def _write_file(call: Call, params: WriteFileParams) -> None:
    path, limit = _path(params.path), call.session.config.max_file_size
    try:
        data = binascii.a2b_base64(params.data_base64, strict_mode=True)
    except ValueError as error:
        raise _refusal(f"dataBase64 is not valid: {error}") from None
    if len(data) > limit:
        raise _refusal(f"the file is too large to write: the limit is {limit} bytes")
    await _change(call, partial(file_system.write_file, path, data))


async def _create_directory(call: Call, params: CreateDirectoryParams) -> None:
    path, recursive = _path(params.path), params.recursive is not False
    await _change(call, partial(file_system.create_directory, path, recursive=recursive))


async def _get_metadata(call: Call, params: PathParams) -> None:
    await _look(call, partial(file_system.get_metadata, _path(params.path)))


async def _canonicalize(call: Call, params: PathParams) -> None:
    """A path is answered with a path, a URI with a URI."""
    path = _path(params.path)
    name = _uri if params.path.startswith("file:") else _text
    await _look(call, lambda: PathResult(path=name(file_system.canonicalize(path))))


async def _read_directory(call: Call, params: PathParams) -> None:
    path, limit = _path(params.path), call.session.config.max_directory_entries
    await _look(
        call, lambda: ReadDirectoryResult(entries=file_system.read_directory(path, limit=limit))
    )


async def _remove(call: Call, params: RemoveParams) -> None:
    path = _path(params.path)
    recursive, force = params.recursive is not False, params.force is not False
    remove = partial(file_system.remove, path, recursive=recursive, force=force)
    # It may take long, and goes on to its end though nobody waits.
    await _change(call, remove, abandon=True)


async def _copy(call: Call, params: CopyParams) -> None:
    source, destination = _path(params.source_path), _path(params.destination_path)
    check = trio.from_thread.check_cancelled
    copy = partial(file_system.copy, source, destination, recursive=params.recursive, check=check)
    await _change(call, copy)


def _path(text: str) -> str:
    """Dots go by the text alone: what follows `link/..` is looked for beside the link (Codex
    behaviour). A slash at the end means nothing."""
    return os.path.normpath(parse_path(text))


class _Turn:
    """Keeps the order of a session's requests. Its threads are no part of trio's usual number."""

    def __init__(self, _: object) -> None:
        self.lock = trio.StrictFIFOLock()
        self.threads = trio.CapacityLimiter(1)


async def _look(call: Call, work: Callable[[], Message]) -> None:
    """Answer with what is found. When the stream ends, nobody waits for it."""
    await _answer(call, work, abandon=True)


async def _change(call: Call, work: Callable[[], None], *, abandon: bool = False) -> None:
    """Answer when it is done. The end of the stream waits for it unless it is abandoned: a file
    would stay half written if the executor ended then."""

    def change() -> Empty:
        work()
        return Empty()

    await _answer(call, change, abandon=abandon)


async def _answer(call: Call, work: Callable[[], Message], *, abandon: bool) -> None:
    call.detach()
    turn = call.session.state(_Turn)
    async with turn.lock:
        try:
            result = await trio.to_thread.run_sync(
                work, limiter=turn.threads, abandon_on_cancel=abandon
            )
        except file_system.Refused as refused:
            raise _refusal(str(refused)) from None
        except OSError as error:
            raise _failure(error) from None
        except RecursionError:
            raise _refusal("the directories are nested too deeply") from None
        await call.answer(result)


def _refusal(message: str) -> RpcFailure:
    return RpcFailure(ErrorCode.INVALID_REQUEST, message)


def _failure(error: OSError) -> RpcFailure:
    failure = os_failure(error).error
    code = _CODES.get(error.errno or 0, ErrorCode.INTERNAL_ERROR)
    return RpcFailure(code, failure.message, failure.data)


def _uri(path: str) -> str:
    return "file://" + quote_from_bytes(os.fsencode(path))


def _text(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise file_system.Refused("the path is not UTF-8; ask with a file URI") from None
    return path


FILE_METHODS: Mapping[str, Handler] = {
    "fs/readFile": handler(PathParams, _read_file),
    "fs/writeFile": handler(WriteFileParams, _write_file),
    "fs/createDirectory": handler(CreateDirectoryParams, _create_directory),
    "fs/getMetadata": handler(PathParams, _get_metadata),
    "fs/canonicalize": handler(PathParams, _canonicalize),
    "fs/readDirectory": handler(PathParams, _read_directory),
    "fs/remove": handler(RemoveParams, _remove),
    "fs/copy": handler(CopyParams, _copy),
}
