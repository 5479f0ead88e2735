"""`sansrelay executor`."""

import logging
import random
from dataclasses import replace
from pathlib import Path

import click

import trio
from sansrelay.errors import clean_reason
from sansrelay.events import Event, StreamOpened, StreamReset
from sansrelay.trace import trace_line
from sansrelay_trio import (
    Backoff,
    ConnectCause,
    ConnectError,
    ExecutorHandle,
    Registry,
    serve_executor,
)

from .diagnose import explain_connect_error
from .errors import CliError, say
from .execserver import ExecServer, ExecServerConfig, open_exec_server
from .options import RegistryAccess, duration_or_zero, plaintext_option, registry_options
from .service import announce, serve_until_signal
from .stats_file import stats_option, write_stats

__all__ = ["command"]

_STOP_SECONDS = 5.0
"""After which an executor that was told to stop is ended, however far it got."""

_CONFIG = ExecServerConfig(cleanup_timeout=3.0)

_MAY_COME_UP = frozenset({ConnectCause.REFUSED, ConnectCause.UNREACHABLE})
"""What is no reason to give up, besides `ConnectCause.may_pass`: an executor is often started
before its rendezvous, or its network, is up."""

_log = logging.getLogger(__name__)


@click.command("executor")
@registry_options
@click.option(
    "--detached-retention",
    metavar="TIME",
    type=duration_or_zero,
    default=f"{_CONFIG.detached_retention:g}s",
    show_default=True,
    help="How long a session whose stream is lost is kept, with its processes, to be resumed.",
)
@plaintext_option
@stats_option
def command(access: RegistryAccess, *, detached_retention: int, stats: Path | None) -> None:
    """Let harnesses run commands on this machine, with the rights and in the directory of this one.

    Prints one line to standard output once it is registered and connected: `ready ID`. A registry
    that can't be reached, or is not up, is tried again for ever; an answer that says no ends it
    with status 1. SIGTERM ends all commands and it in good order, with status 0.
    """
    executor = _Executor(access, replace(_CONFIG, detached_retention=float(detached_retention)))

    async def run() -> int:
        try:
            return await serve_until_signal(
                executor.serve, stop=executor.stop, seconds=_STOP_SECONDS
            )
        finally:
            if stats is not None and executor.handle is not None:
                write_stats(stats, executor.handle.stats())

    status = trio.run(run)
    click.get_current_context().exit(status)


class _Executor:
    def __init__(self, access: RegistryAccess, config: ExecServerConfig) -> None:
        self._registry = Registry(access.base_url, access.id, token=access.token)
        self._insecure = access.insecure
        self.handle: ExecutorHandle | None = None
        """Set once the first link is up."""
        self._config = config
        self._scope = trio.CancelScope()

    async def serve(self) -> None:
        """Connect, and serve until `stop`. Raises `CliError` for a failure that is final."""
        with self._scope:
            # One for all links, so that a session can go on when its stream was lost for good.
            async with open_exec_server(config=self._config) as server:
                await self._serve(server)

    def stop(self) -> None:
        """End every session, and let `serve` return."""
        self._scope.cancel()

    def started(self, value: ExecutorHandle | None = None) -> None:
        """The first link is up. For `serve_executor`, which takes this for a task status."""
        self.handle = value
        announce(f"ready {self._registry.id}")

    async def _serve(self, server: ExecServer) -> None:
        backoff, rng, failures = Backoff(), random.SystemRandom(), 0
        while True:
            try:
                await serve_executor(
                    server.serve,
                    self._registry,
                    insecure=self._insecure,
                    on_event=self._watch,
                    task_status=self,
                )
            except ConnectError as error:
                cause = error.cause
                if self.handle is not None or not (cause.may_pass or cause in _MAY_COME_UP):
                    raise CliError(explain_connect_error(error), status=1) from None
                failures += 1
                if failures == 1:
                    say(f"{explain_connect_error(error)}; trying again")
            await trio.sleep(backoff.delay(failures, rng))

    def _watch(self, event: Event) -> None:
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s", trace_line(event, trio.current_time()))
        match event:
            case StreamOpened():
                _log.info(
                    "stream %s opened, %s", clean_reason(event.stream_id), event.profile.value
                )
            case StreamReset():
                _log.info(
                    "stream %s ended by %s: %s",
                    clean_reason(event.stream_id),
                    event.by.value,
                    clean_reason(event.reason),
                )
