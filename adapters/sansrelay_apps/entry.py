"""Where the program begins, before anything else is imported.

Imports take most of the first tenth of a second. Nothing is to be cleaned up yet, so ^C ends the
process at once then, without a traceback of what was being imported.
"""

import os
import signal

__all__ = ["heed_interrupts", "main"]

_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """The program's entry point."""
    # Where interrupts are ignored (`&` in a script), they stay so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from .cli import main as run

    run()


def heed_interrupts() -> None:
    """From now on ^C raises `KeyboardInterrupt` again. Harmless if it does so already."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os._exit(_INTERRUPTED)
