"""Process groups, sessions and marks: signalling processes, and finding what is left of them.

A process of the exec-server leads a session and a group of its own, so its pid is the number of
both. A number is not given to another process as long as anyone is left in its group or session.

A descendant that has made itself a session of its own is found by its mark: a soft limit for
`RLIMIT_RTTIME` that each session of the exec-server has for itself. Every child inherits it,
through fork, exec and setsid (setrlimit(2)), anyone may read it in `/proc`, and no program has a
reason to change it: it limits the processor time of real-time threads, in microseconds, and this
much of it takes ten thousand years to use up.
"""

import os
import random
import resource
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

__all__ = ["Found", "find_processes", "group_exists", "marked", "new_mark", "signal_group"]

_marking = trio.Lock()
"""Held while this process has a mark on itself, for a child to inherit."""


def signal_group(group: int, number: int) -> bool:
    """Send a signal to every process of a group. False when there is none.

    Raises `PermissionError` when there are some and none may be signalled.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def group_exists(group: int) -> bool:
    """Whether anyone is in the group. Dead processes that nobody has waited for count."""
    with suppress(PermissionError):
        return signal_group(group, 0)
    return True


def new_mark() -> int:
    """A mark that no other session has, on this machine or, in a container, around it."""
    # Microseconds; above what anyone would set, below what `resource` can't handle.
    return random.SystemRandom().randrange(2**61, 2**62)


@asynccontextmanager
async def marked(mark: int) -> AsyncGenerator[None]:
    """A block in which every process that this one starts gets the mark.

    They get none where the hard limit is lower, which nobody sets by default, or where the kernel
    has no such limit.
    """
    async with _marking:
        own, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
        try:
            resource.setrlimit(resource.RLIMIT_RTTIME, (mark, hard))
        except (OSError, ValueError):
            yield
            return
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_RTTIME, (own, hard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A live process of this machine."""

    pid: int
    group: int
    session: int


async def find_processes(
    *, sessions: Collection[int] = (), mark: int | None = None
) -> tuple[Found, ...]:
    """The live processes in any of the sessions, or with the mark. None where there is no `/proc`.

    Other than `group_exists` it is not fooled by orphans that died and are not waited for, which
    stay for ever where process 1 is no proper init, as in many containers.
    """
    return await trio.to_thread.run_sync(_search, frozenset(sessions), mark)


def _search(sessions: frozenset[int], mark: int | None) -> tuple[Found, ...]:
    own = os.getpid()
    found: list[Found] = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        # This process has a mark for a moment, whenever it starts another one.
        if not name.isdecimal() or int(name) == own:
            continue
        try:
            stat = _read(f"/proc/{name}/stat")
            # The name before it may hold anything, parentheses included: proc(5).
            state, _parent, group, session = stat[stat.rindex(b")") + 2 :].split(maxsplit=4)[:4]
            if state in (b"Z", b"X"):
                continue
            # A number of 19 digits is not there by chance.
            if int(session) in sessions or (
                mark is not None and b" %d " % mark in _read(f"/proc/{name}/limits")
            ):
                found.append(Found(pid=int(name), group=int(group), session=int(session)))
        except OSError:  # it has just ended
            continue
    return tuple(found)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
