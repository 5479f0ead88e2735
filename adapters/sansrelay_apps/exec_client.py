"""Runs one command on an executor as if it ran here.

It needs nothing but a way to open streams, and the standard streams as objects: no process, no
socket, no command line.
"""

import base64
import logging
import signal
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import trio
from sansrelay.errors import Outcome, clean_reason
from sansrelay.jsonrpc import JsonValue, NotificationReceived, ResponseReceived
from sansrelay_trio import StreamEnded

from .errors import say
from .exec_session import ExecSession, OpenStream, explain_end, open_session
from .remote_failure import RemoteFailure, start_failure
from .rpc_client import BadMessage
from .stdio import ByteSink, ByteSource

__all__ = ["RemoteCommand", "run_remote"]

_log = logging.getLogger(__name__)

STDIN_CHUNK = 64 * 1024
"""Most bytes of one `process/write`."""

STDIN_WRITES = 4
"""Writes without an answer."""

CLOSE_TIMEOUT = 1.0
"""Seconds for closing the stream in good order once the program has ended."""

TERMINATE_TIMEOUT = 5.0
"""Seconds that the program's end is awaited after a signal other than an interrupt."""

_PROCESS_ID = "1"
_BROKEN_PIPE = 128 + signal.SIGPIPE
_UNKNOWN_STATUS = 255

_ENV_POLICY: JsonValue = {
    "inherit": "all",
    "ignoreDefaultExcludes": False,
    "exclude": [],
    "set": {},
    "includeOnly": [],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCommand:
    """What to run, and on which executor."""

    executor: str
    """The executor's id, for messages."""
    argv: tuple[str, ...]
    cwd: str | None = None
    """An absolute directory; None: the executor's own, or `/` where it does not tell it."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables on top of the executor's own, of which those that look like secrets stay there
    (`*KEY*`, `*SECRET*`, `*TOKEN*`)."""


class _Phase(IntEnum):
    OPENING = 0
    START_SENT = 1
    STARTED = 2
    EXITED = 3
    CLOSED = 4


class _OutputClosed(Exception):
    """Nobody reads what the program writes."""


async def run_remote(
    open_stream: OpenStream,
    command: RemoteCommand,
    *,
    stdin: ByteSource,
    stdout: ByteSink,
    stderr: ByteSink,
    signals: AsyncIterable[int],
    deadline: float,
) -> int:
    """Run a command, pass its streams through, and return the exit status for this process.

    The status is the program's own; 128 + N after a signal N in `signals`, or if the program was
    ended by a signal N and the executor tells; 255 if a foreign executor does not; 141 if an output
    was closed on our side. Everything else raises `RemoteFailure`, which has a status too.

    While the executor is not there, it is tried again until `deadline`, on trio's clock. The first
    of `signals` is passed on, and the program's end is awaited, for `TERMINATE_TIMEOUT` at most if
    it is no SIGINT; before the start, and from the second one on, a signal ends this call at once.
    However it ends, the stream ends with it, and with the stream the executor ends the program.
    """
    run = _Run(command, stdin=stdin, stdout=stdout, stderr=stderr)
    failure: RemoteFailure | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.heed, signals, nursery)
        try:
            await run.go(open_stream, deadline, nursery)
        except RemoteFailure as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return run.exit_status()


class _Run:
    """The state of one command under way."""

    def __init__(
        self, command: RemoteCommand, *, stdin: ByteSource, stdout: ByteSink, stderr: ByteSink
    ) -> None:
        self._command = command
        self._executor = command.executor
        self._stdin = stdin
        self._outputs = {"stdout": stdout, "stderr": stderr, "pty": stdout}
        self._phase = _Phase.OPENING
        self._started = trio.Event()
        self._start_message = 0
        self._write_slots = trio.Semaphore(STDIN_WRITES)
        self._has_input = False
        self._takes_input = True
        self._input_was_cut = False
        self._status: int | None = None
        self._signal: int | None = None
        self._signalled = trio.Event()

    # -- the two tasks that are always there

    async def go(self, open_stream: OpenStream, deadline: float, nursery: trio.Nursery) -> None:
        """Everything but the signals. Raises `RemoteFailure`."""
        session = await open_session(open_stream, executor=self._executor, deadline=deadline)
        _log.info("connected to %s: %s", self._executor, session.server.name)
        try:
            await self._start(session)
            if self._has_input:
                nursery.start_soon(self._feed, session)
            nursery.start_soon(self._pass_signal_on, session)
            while self._phase is not _Phase.CLOSED:
                notification = await session.client.step()
                if notification is not None:
                    await self._take(notification)
            with trio.move_on_after(CLOSE_TIMEOUT):
                await session.channel.aclose()
        except _OutputClosed:
            self._status = _BROKEN_PIPE
        except (trio.EndOfChannel, trio.BrokenResourceError, BadMessage) as error:
            message = explain_end(error, executor=self._executor)
            raise RemoteFailure(f"{message}; {self._outcome(error)}") from None
        finally:
            await trio.aclose_forcefully(session.channel)

    async def heed(self, signals: AsyncIterable[int], nursery: trio.Nursery) -> None:
        """Take note of the first signal, and give up on the second, or before the start."""
        async for number in signals:
            give_up = self._signal is not None or self._phase is _Phase.OPENING
            self._signal = number
            self._signalled.set()
            if give_up:
                nursery.cancel_scope.cancel()
            elif number != signal.SIGINT:
                # Whoever sends it counts on this process to end, whatever the network does.
                nursery.cancel_scope.deadline = trio.current_time() + TERMINATE_TIMEOUT

    def exit_status(self) -> int:
        """What this process should exit with, everything being over."""
        if self._signal is not None:
            return 128 + self._signal
        if self._status is None:
            if not self._input_was_cut:
                say(
                    f"{self._executor} does not tell how the program ended: by a signal, most "
                    "likely, which a foreign executor does not report"
                )
            return _UNKNOWN_STATUS
        return self._status

    def _outcome(self, error: Exception) -> str:
        """What became of the program, the stream having broken."""
        if self._phase is _Phase.EXITED:
            return "the program has exited, but some of its output may be missing"
        if self._phase is _Phase.STARTED:
            return "the program was running, and ends with the stream"
        start = self._start_message
        if isinstance(error, StreamEnded) and error.reset.outcome(start) is Outcome.NEVER_SENT:
            return "the program was not started"
        return "whether the program was started is not known"

    # -- start

    async def _start(self, session: ExecSession) -> None:
        command = self._command
        cwd = command.cwd or session.server.cwd
        self._has_input = not self._stdin.at_end()
        params: JsonValue = {
            "processId": _PROCESS_ID,
            "argv": list(command.argv),
            "cwd": cwd,
            "env": dict(command.env),
            "envPolicy": _ENV_POLICY,
            "tty": False,
            "pipeStdin": self._has_input,
            "arg0": None,
        }

        def on_answer(answer: ResponseReceived) -> None:
            if answer.error is not None:
                raise start_failure(
                    answer.error, executor=self._executor, program=command.argv[0], cwd=cwd
                )
            # Output, and even the exit, may have been reported before this answer.
            self._phase = max(self._phase, _Phase.STARTED)
            self._started.set()

        self._phase = _Phase.START_SENT
        self._start_message = session.client.messages_sent + 1
        await session.client.request("process/start", params, on_answer)

    # -- output and exit

    async def _take(self, notification: NotificationReceived) -> None:
        params = notification.params
        if not isinstance(params, dict) or params.get("processId") != _PROCESS_ID:
            _log.debug("ignored: %r", notification)
            return
        match notification.method:
            case "process/output":
                await self._write_output(params.get("stream"), params.get("chunk"))
            case "process/exited":
                self._phase = _Phase.EXITED
                code = params.get("exitCode")
                _log.info("the program has exited with %r", code)
                # A foreign executor reports every death by a signal as -1 (Codex behaviour).
                if isinstance(code, int) and 0 <= code <= 255:
                    self._status = code
            case "process/closed":
                self._phase = _Phase.CLOSED

    async def _write_output(self, stream: JsonValue, chunk: JsonValue) -> None:
        """Write a chunk; returns when it is written. Nothing is received meanwhile, which holds
        back the executor, and the program with it."""
        sink = self._outputs.get(stream) if isinstance(stream, str) else None
        if sink is None or not isinstance(chunk, str):
            raise BadMessage("an output without its stream or its bytes")
        try:
            data = base64.b64decode(chunk, validate=True)
        except ValueError:
            raise BadMessage("an output that is not base64") from None
        try:
            await sink.write(data)
        except BrokenPipeError:
            raise _OutputClosed from None
        except OSError as error:
            name = "error" if stream == "stderr" else "output"
            raise RemoteFailure(f"can't write to standard {name}: {error.strerror}") from None

    # -- input

    async def _feed(self, session: ExecSession) -> None:
        """Send standard input to its end, once the program has started."""
        await self._started.wait()
        try:
            while data := await self._read():
                await self._write_slots.acquire()
                if not self._takes_input:
                    return
                params: JsonValue = {
                    "processId": _PROCESS_ID,
                    "chunk": base64.b64encode(data).decode("ascii"),
                }
                await session.client.request("process/write", params, self._on_written)
            await self._end_input(session)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the task that receives says why

    async def _read(self) -> bytes:
        try:
            return await self._stdin.receive(STDIN_CHUNK)
        except OSError as error:
            say(f"can't read standard input, so it ends here: {error.strerror}")
            return b""

    def _on_written(self, answer: ResponseReceived) -> None:
        self._write_slots.release()
        status = answer.result.get("status") if isinstance(answer.result, dict) else None
        if status == "accepted":
            return
        # A program that closes its input, or ends, may leave some of it unread.
        self._takes_input = False
        if answer.error is not None and self._phase < _Phase.EXITED:
            raise RemoteFailure(
                f"{self._executor} refused the input: {clean_reason(answer.error.message)}"
            )
        _log.info("the program takes no more input: %r", status)

    async def _end_input(self, session: ExecSession) -> None:
        """Tell the end of the input (our extension). Without that the program might wait for it
        for ever, so it is terminated where it can't be told."""
        if session.server.may_have("process/closeStdin"):
            answer = await session.client.call("process/closeStdin", {"processId": _PROCESS_ID})
            if answer.error is None or self._phase >= _Phase.EXITED:
                return
        self._input_was_cut = True
        say(
            f"{self._executor} can't be told that the input ends here (Codex can't), so the "
            "program is terminated; if it needs no input, give it </dev/null"
        )
        await session.client.call("process/terminate", {"processId": _PROCESS_ID})

    # -- signals

    async def _pass_signal_on(self, session: ExecSession) -> None:
        await self._signalled.wait()
        await self._started.wait()
        client = session.client
        try:
            if self._signal == signal.SIGINT and session.server.may_have("process/signal"):
                answer = await client.call(
                    "process/signal", {"processId": _PROCESS_ID, "signal": "interrupt"}
                )
                if answer.error is None:
                    return
            await client.call("process/terminate", {"processId": _PROCESS_ID})
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the task that receives says why
