"""Process groups and sessions: signalling them, and finding what is left of them.

A process of the exec-server leads a session and a group of its own, so its pid is the number of
both. A number is not given to another process as long as anyone is left in its group or session.
"""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import trio

__all__ = ["group_exists", "session_members", "signal_group"]


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


async def session_members() -> dict[int, list[int]]:
    """The live processes of this machine by their session; empty where there is no `/proc`.

    Other than `group_exists` it is not fooled by orphans that died and are not waited for, which
    stay for ever where process 1 is no proper init, as in many containers.
    """
    return await trio.to_thread.run_sync(_read_sessions)


def _read_sessions() -> dict[int, list[int]]:
    members: defaultdict[int, list[int]] = defaultdict(list)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_bytes()
        except OSError:  # it has just ended
            continue
        # The name before it may hold anything, parentheses included: proc(5).
        state, _parent, _group, session = stat[stat.rindex(b")") + 2 :].split()[:4]
        if state not in (b"Z", b"X"):
            members[int(session)].append(int(directory.name))
    return dict(members)
