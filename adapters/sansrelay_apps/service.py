"""What the commands that run until they are told to stop have in common."""

import os
import signal
import threading
from collections.abc import Awaitable, Callable

import click

import trio

from .errors import CliError

__all__ = ["announce", "serve_until_signal"]


def announce(line: str) -> None:
    """Write the one line to standard output that says the command is ready."""
    try:
        click.echo(line)
    except OSError as error:
        raise CliError(f"can't write to standard output: {error.strerror}", status=1) from error


async def serve_until_signal(
    serve: Callable[[], Awaitable[object]], *, stop: Callable[[], object], seconds: float
) -> int:
    """Run `serve`; call `stop` at the first SIGTERM, SIGINT or SIGHUP, and wait for `serve`.

    Returns the exit status: 0 after SIGTERM, 128 + its number after another signal. A process that
    has not ended `seconds` after the signal is ended with that status, and by a second signal at
    once. A SIGHUP that was ignored from the start (nohup) stays so. A `CliError` of `serve` comes
    out as it is.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    status = 0
    failure: CliError | None = None

    async def watch(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal status
        with trio.open_signal_receiver(*numbers) as signals:
            task_status.started()
            number = await anext(aiter(signals))
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        if number != signal.SIGTERM:
            status = 128 + number
        # A thread, since the loop itself may be what hangs.
        deadline = threading.Timer(seconds, os._exit, (status,))
        deadline.daemon = True
        deadline.start()
        stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        try:
            await serve()
        except CliError as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return status
