"""The `process/*` methods (Codex behaviour; `closeStdin` and `resize` are our own)."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import trio
from sansrelay.jsonrpc import ErrorCode

from .calls import Call, Handler, handler
from .protocol import (
    Empty,
    ProcessParams,
    ReadParams,
    ResizeParams,
    RpcFailure,
    SignalParams,
    StartParams,
    StartResult,
    TerminateResult,
    WriteParams,
    WriteResult,
    WriteStatus,
)
from .streams import TooManyWaiting

__all__ = ["PROCESS_METHODS"]


async def _start(call: Call, params: StartParams) -> StartResult:
    await call.session.processes.start(params)
    return StartResult(process_id=params.process_id)


async def _read(call: Call, params: ReadParams) -> None:
    process = call.session.processes.find(params.process_id)
    after_seq = params.after_seq or 0
    # Before the wait: the process may itself be waiting for just that.
    process.settle_up_to(after_seq)
    wait_ms = min(params.wait_ms or 0, call.session.config.max_wait_ms)
    if wait_ms:
        call.detach()
        with trio.move_on_after(wait_ms / 1000):
            while not process.has_news(after_seq):
                await process.changed.park()
    result = process.read(after_seq, params.max_bytes)
    seqs = [chunk.seq for chunk in result.chunks]
    await call.answer(result, partial(process.settle, seqs))


async def _write(call: Call, params: WriteParams) -> WriteResult:
    process = call.session.processes.get(params.process_id)
    if process is None:
        return WriteResult(status=WriteStatus.UNKNOWN_PROCESS)
    if process.stdin is None:
        return WriteResult(status=WriteStatus.STDIN_CLOSED)
    async with _waiting(call, params.process_id):
        accepted = await process.stdin.write(params.chunk, params.write_id)
    return WriteResult(status=WriteStatus.ACCEPTED if accepted else WriteStatus.STDIN_CLOSED)


async def _close_stdin(call: Call, params: ProcessParams) -> Empty:
    """Answered when everything that was written before has gone to the process."""
    process = call.session.processes.find(params.process_id, ErrorCode.INVALID_PARAMS)
    if process.stdin is not None:
        async with _waiting(call, params.process_id):
            await process.stdin.close()
    return Empty()


@asynccontextmanager
async def _waiting(call: Call, process_id: str) -> AsyncGenerator[None]:
    """Around what waits for a process to read its input."""
    # The queue has a bound of its own: who fills one up must not stop the whole session.
    call.detach(in_flight=False)
    try:
        yield
    except TooManyWaiting:
        raise RpcFailure(
            ErrorCode.INVALID_REQUEST,
            f"too much waits for process {process_id!r} to read its input (max_waiting_writes, "
            "max_waiting_write_bytes): nothing of this was written; wait for answers before "
            "sending more",
        ) from None


async def _resize(call: Call, params: ResizeParams) -> Empty:
    """Nothing happens, and that is no error, when the process has ended meanwhile."""
    process = call.session.processes.find(params.process_id)
    if not process.has_terminal:
        raise RpcFailure(
            ErrorCode.INVALID_REQUEST,
            f"process {params.process_id!r} has no terminal: start it with tty",
        )
    process.resize(params.terminal_size)
    return Empty()


async def _signal(call: Call, params: SignalParams) -> Empty:
    """Nothing happens, and that is no error, when the process has ended meanwhile."""
    call.session.processes.find(params.process_id).signal(params.signal.number)
    return Empty()


async def _terminate(call: Call, params: ProcessParams) -> TerminateResult:
    """Answered at once; the end is told by `process/exited`."""
    running = call.session.processes.terminate(params.process_id)
    return TerminateResult(running=running)


PROCESS_METHODS: Mapping[str, Handler] = {
    "process/start": handler(StartParams, _start),
    "process/read": handler(ReadParams, _read),
    "process/write": handler(WriteParams, _write),
    "process/closeStdin": handler(ProcessParams, _close_stdin),
    "process/resize": handler(ResizeParams, _resize),
    "process/signal": handler(SignalParams, _signal),
    "process/terminate": handler(ProcessParams, _terminate),
}
