"""The processes of one session."""

import logging
import os
import signal
from collections.abc import Iterable
from contextlib import suppress

import trio
from sansrelay.jsonrpc import ErrorCode

from .child import open_child
from .config import ExecServerConfig
from .environment import build_environment
from .groups import Found, find_processes, new_mark
from .process import Client, ManagedProcess
from .protocol import RpcFailure, StartParams, TerminalSize, parse_path

__all__ = ["ProcessTable"]

_log = logging.getLogger(__name__)

_POLL_INTERVAL = 0.03
"""Seconds between two looks for processes that are not our children and so report to nobody."""


class ProcessTable:
    """Starts the processes of a session, finds them by id, and ends them with it."""

    def __init__(self, *, config: ExecServerConfig, nursery: trio.Nursery, client: Client) -> None:
        self._config = config
        self._nursery = nursery
        self._client = client
        self._processes: dict[str, ManagedProcess] = {}
        self._mark: int | None = None  # with the first process

    def get(self, process_id: str) -> ManagedProcess | None:
        return self._processes.get(process_id)

    def find(self, process_id: str, code: ErrorCode = ErrorCode.INVALID_REQUEST) -> ManagedProcess:
        """The process with this id, or an `RpcFailure`."""
        process = self._processes.get(process_id)
        if process is None:
            raise RpcFailure(
                code,
                f"unknown process {process_id!r}: never started here, or closed more than "
                f"{self._config.closed_retention:g} s ago",
            )
        return process

    async def start(self, params: StartParams) -> None:
        """Start a process, or raise `RpcFailure`. One task at a time."""
        process_id = params.process_id
        if not params.argv[0]:
            raise RpcFailure(ErrorCode.INVALID_PARAMS, "argv[0] must name a program")
        if process_id in self._processes:
            raise RpcFailure(
                ErrorCode.INVALID_REQUEST, f"process {process_id!r} already exists: use another id"
            )
        cwd = parse_path(params.cwd)
        await self._make_room()
        if self._mark is None:
            self._mark = new_mark()
        child = await open_child(
            params.argv,
            arg0=params.arg0,
            cwd=cwd,
            env=build_environment(os.environ, params.env, params.env_policy),
            terminal_size=(params.terminal_size or TerminalSize()) if params.tty else None,
            pipe_stdin=params.pipe_stdin,
            mark=self._mark,
        )
        # No checkpoint from here on, or a cancellation would lose the process.
        process = ManagedProcess(process_id, child, config=self._config, client=self._client)
        self._processes[process_id] = process
        self._nursery.start_soon(self._attend, process)

    def terminate(self, process_id: str) -> bool:
        """Have a process killed, first gently. False when it has exited or is unknown."""
        process = self._processes.get(process_id)
        if process is None or process.has_exited:
            return False
        process.signal(signal.SIGTERM)
        if not process.is_terminating:
            process.is_terminating = True
            self._nursery.start_soon(process.kill_later)
        return True

    async def _attend(self, process: ManagedProcess) -> None:
        await process.run()
        while True:
            # A client that is away can't read what it missed.
            await self._client.wait_present()
            with trio.move_on_after(self._config.closed_retention):
                await process.forgotten.wait()
                return
            if self._client.is_present:
                break
        if not await find_processes(sessions={process.pid}):
            self._forget(process)

    def _forget(self, process: ManagedProcess) -> None:
        if not process.forgotten.is_set():
            process.forgotten.set()
            del self._processes[process.process_id]

    async def _make_room(self) -> None:
        if len(self._processes) < self._config.max_processes:
            return
        alive = {found.session for found in await self._find_live()}
        for process in self._processes.values():
            if process.is_done and process.pid not in alive:
                self._forget(process)
                return
        if len(self._processes) >= self._config.max_processes:
            raise RpcFailure(
                ErrorCode.INVALID_REQUEST,
                f"this session has {len(self._processes)} processes already (max_processes): "
                "terminate one, take its output and wait for process/closed",
            )

    async def end_all(self) -> None:
        """End every process of the session and what it left behind: SIGTERM, and SIGKILL after
        `kill_grace_on_session_end`. To be called when nothing else runs."""
        if self._mark is None:
            return
        processes = list(self._processes.values())
        with trio.move_on_after(
            self._config.kill_grace_on_session_end + self._config.cleanup_timeout
        ) as scope:
            await self._ask_to_end(processes)
            for process in processes:
                with suppress(PermissionError):
                    process.signal(signal.SIGKILL)
            while found := await self._find_live():
                _signal_each(found, signal.SIGKILL)
                await trio.sleep(_POLL_INTERVAL)
            for process in processes:
                await process.wait()
        for process in processes:
            await process.close_streams()
        if scope.cancelled_caught:
            left = [process.pid for process in processes if process.is_alive]
            _log.warning("gave up on processes that survive SIGKILL: %s", left)

    async def _ask_to_end(self, processes: list[ManagedProcess]) -> None:
        """Returns when all have ended, or after `kill_grace_on_session_end`."""
        async with trio.open_nursery() as nursery:
            for process in processes:
                process.ask_to_end()
                # Last words go nowhere, but nobody must die of them before cleaning up.
                nursery.start_soon(process.discard_output)
            asked = {process.pid for process in processes}
            others = [found for found in await self._find_live() if found.group not in asked]
            _signal_each(others, signal.SIGTERM)
            _signal_each(others, signal.SIGCONT)
            with trio.move_on_after(self._config.kill_grace_on_session_end):
                for process in processes:
                    await process.wait()
                while await self._find_live():  # noqa: ASYNC110 (they report to nobody)
                    await trio.sleep(_POLL_INTERVAL)
            nursery.cancel_scope.cancel()

    async def _find_live(self) -> tuple[Found, ...]:
        """All processes that this session has started, and their descendants."""
        sessions = {process.pid for process in self._processes.values()}
        return await find_processes(sessions=sessions, mark=self._mark)


def _signal_each(found: Iterable[Found], number: int) -> None:
    for each in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(each.pid, number)
