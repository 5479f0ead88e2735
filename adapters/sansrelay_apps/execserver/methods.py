"""The `process/*` methods (Codex behaviour, and our own `process/closeStdin`)."""

from collections.abc import Mapping

import trio
from sansrelay.jsonrpc import ErrorCode

from .protocol import (
    Empty,
    ProcessParams,
    ReadParams,
    ReadResult,
    SignalParams,
    StartParams,
    StartResult,
    TerminateResult,
    WriteParams,
    WriteResult,
    WriteStatus,
)
from .session import Call, Handler, handler

__all__ = ["PROCESS_METHODS"]


async def _start(call: Call, params: StartParams) -> StartResult:
    await call.session.processes.start(params)
    return StartResult(process_id=params.process_id)


async def _read(call: Call, params: ReadParams) -> ReadResult:
    process = call.session.processes.find(params.process_id)
    after_seq = params.after_seq or 0
    wait_ms = min(params.wait_ms or 0, call.session.config.max_wait_ms)
    if wait_ms:
        call.detach()
        with trio.move_on_after(wait_ms / 1000):
            while not process.has_news(after_seq):
                await process.changed.park()
    return process.read(after_seq, params.max_bytes)


async def _write(call: Call, params: WriteParams) -> WriteResult:
    process = call.session.processes.get(params.process_id)
    if process is None:
        return WriteResult(status=WriteStatus.UNKNOWN_PROCESS)
    if process.stdin is None:
        return WriteResult(status=WriteStatus.STDIN_CLOSED)
    call.detach()
    accepted = await process.stdin.write(params.chunk)
    return WriteResult(status=WriteStatus.ACCEPTED if accepted else WriteStatus.STDIN_CLOSED)


async def _close_stdin(call: Call, params: ProcessParams) -> Empty:
    """Answered when everything that was written before has gone to the process."""
    process = call.session.processes.find(params.process_id, ErrorCode.INVALID_PARAMS)
    if process.stdin is not None:
        call.detach()
        await process.stdin.close()
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
    "process/signal": handler(SignalParams, _signal),
    "process/terminate": handler(ProcessParams, _terminate),
}
