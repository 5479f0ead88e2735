"""What becomes of every frame, wherever it finds a stream: the table behind `sansrelay.states`.

`CELLS` has an outcome for each role, setting, place and kind of frame, or `IMPOSSIBLE` says why no
stream of that role and setting is ever in that place. The tests put a connection into every place,
send every kind of frame, and compare all that follows with the table; `docs/states.md` is drawn
from it. The connection does not read the table: it is a statement about the code, not a part of it.

Here is who is ever in which place; `sansrelay.places` has what happens there.
"""

from collections.abc import Mapping

from . import places
from .cells import Cell, FrameKind, Setting, Where
from .connection import Role
from .errors import FrameCause

__all__ = ["CELLS", "IMPOSSIBLE", "WITHOUT_LINK"]

_Places = Mapping[Where, places.Cells | str]

_HARNESS: _Places = {
    Where.ABSENT: places.NO_STREAM,
    Where.PENDING: "an opener expects no openings",
    Where.OPENING: places.OPENING,
    Where.OPENING_AGAIN: places.OPENING_AGAIN,
    Where.UNCONFIRMED: "an opener is confirmed by the peer's resume, as its profile is",
    Where.OPEN: places.OPEN | places.SUCCEEDED,
    Where.RESUMING: places.RESUMING | places.SUCCEEDED,
    Where.ASKING: places.ASKING | places.SUCCEEDED,
    Where.UNTAGGED: places.UNTAGGED | places.SUCCEEDED,
    Where.RESUMING_UNTAGGED: places.RESUMING_UNTAGGED | places.SUCCEEDED,
    Where.ASKING_UNTAGGED: places.ASKING_UNTAGGED | places.SUCCEEDED,
    Where.BASIC_NEW: places.BASIC | places.FROM_0,
    Where.BASIC: places.BASIC,
    Where.ENDED: places.ENDED,
}
_EXECUTOR: _Places = {
    Where.ABSENT: places.OFFERED,
    Where.PENDING: places.PENDING,
    Where.OPENING: "an executor opens no streams",
    Where.OPENING_AGAIN: "an executor opens no streams",
    Where.UNCONFIRMED: places.UNCONFIRMED,
    Where.OPEN: places.OPEN | places.FORGETS,
    Where.RESUMING: places.RESUMING | places.FORGETS,
    Where.ASKING: places.ASKING | places.FORGETS,
    Where.UNTAGGED: places.UNTAGGED | places.FORGETS,
    Where.RESUMING_UNTAGGED: places.RESUMING_UNTAGGED | places.FORGETS,
    Where.ASKING_UNTAGGED: places.ASKING_UNTAGGED | places.FORGETS,
    Where.BASIC_NEW: places.BASIC | places.FROM_0,
    Where.BASIC: places.BASIC,
    Where.ENDED: places.ENDED,
}
_NO_RELIABLE: _Places = dict.fromkeys(
    (
        Where.PENDING,
        Where.OPENING,
        Where.OPENING_AGAIN,
        Where.UNCONFIRMED,
        Where.OPEN,
        Where.RESUMING,
        Where.ASKING,
        Where.UNTAGGED,
        Where.RESUMING_UNTAGGED,
        Where.ASKING_UNTAGGED,
    ),
    "profile basic: a stream is basic from its first moment",
)
_NO_BASIC: _Places = dict.fromkeys(
    (Where.BASIC_NEW, Where.BASIC), "profile reliable: a basic peer is refused"
)
_AS_CODEX: _Places = {
    Where.BASIC_NEW: places.CODEX | places.FROM_ANYWHERE,
    Where.BASIC: places.CODEX,
}

_PLACES: Mapping[tuple[Role, Setting], _Places] = {
    (Role.HARNESS, Setting.AUTO): _HARNESS,
    (Role.HARNESS, Setting.EARLY): _HARNESS,
    (Role.HARNESS, Setting.RELIABLE): (
        {**_HARNESS, **_NO_BASIC, Where.OPENING: places.OPENING | places.OPENER_REFUSES}
    ),
    (Role.HARNESS, Setting.BASIC): {**_HARNESS, **_NO_RELIABLE, **_AS_CODEX},
    (Role.EXECUTOR, Setting.AUTO): _EXECUTOR,
    (Role.EXECUTOR, Setting.EARLY): {
        **_EXECUTOR,
        Where.ABSENT: places.OFFERED | places.OFFERED_EARLY,
        Where.PENDING: places.PENDING | places.PENDING_EARLY,
        Where.UNCONFIRMED: places.UNCONFIRMED_EARLY,
    },
    (Role.EXECUTOR, Setting.RELIABLE): {
        **_EXECUTOR,
        **_NO_BASIC,
        Where.ABSENT: places.OFFERED | places.BASIC_REFUSED,
        Where.PENDING: places.PENDING | places.PENDING_BASIC_REFUSED,
    },
    (Role.EXECUTOR, Setting.BASIC): {
        **_EXECUTOR,
        **_NO_RELIABLE,
        **_AS_CODEX,
        Where.ABSENT: places.OFFERED_TO_BASIC,
    },
}

CELLS: Mapping[tuple[Role, Setting, Where, FrameKind], Cell] = {
    (role, setting, where, kind): cells[kind]
    for (role, setting), table in _PLACES.items()
    for where, cells in table.items()
    if not isinstance(cells, str)
    for kind in FrameKind
}
"""The outcome of each kind of frame in each place, for each role and setting."""

IMPOSSIBLE: Mapping[tuple[Role, Setting, Where], str] = {
    (role, setting, where): reason
    for (role, setting), table in _PLACES.items()
    for where, reason in table.items()
    if isinstance(reason, str)
}
"""The places where no stream of that role and setting ever is, and why."""

WITHOUT_LINK = Cell(counted=(FrameCause.NO_LINK,))
"""The outcome of every frame, in every place, that comes while no link is open."""
