"""Frames -> connection, either role, from a prepared state on."""

from typing import Final

from fuzz.frame_choice import STREAM_IDS, choose_frame, raw_frame
from fuzz.program import Program
from fuzz.states import CONFIGS, STATES, prepared
from fuzz.valid_frames import VALID
from fuzz.watched import Watched

__all__ = ["play", "seeds", "use"]

_NAMES: Final = tuple(STATES)
_SIZES: Final = (1, 2, 7, 8, 9, 24, 25, 48, 64, 65, 0, 4000)
_PAUSES: Final = (0.001, 0.02, 0.2, 1.0, 2.5, 10.0, 61.0, 301.0, 1000.0)
_REASONS: Final = ("closed", "cancelled", "", " ", "x" * 300, "\ud800")
_FRAME: Final = 0
_TIMER: Final = 8


def use(watched: Watched, program: Program, action: int) -> list[bytes]:
    """One thing that an owner may do; what is sent at once."""
    match action:
        case 0:
            return watched.wait(program.pick(_PAUSES))
        case 1:
            return watched.link_closed() if program.flag() else watched.link_opened()
        case 2:
            return watched.open(program.pick((*STREAM_IDS, "", "\ud800", "i" * 129)))
        case 3:
            watched.send(program.pick(STREAM_IDS), bytes(program.pick(_SIZES)))
            return watched.settle()
        case 4:
            return watched.consume(program.pick(STREAM_IDS), program.pick((1, 2, 0, 3, -1)))
        case 5:
            sid, reason = program.pick(STREAM_IDS), program.pick(_REASONS)
            if not program.flag():
                return watched.end(sid, reason, at_once=False)
            # "closed" says that everything was acknowledged.
            return watched.end(sid, "cancelled" if reason == "closed" else reason, at_once=True)
        case _:
            watched.reading = not watched.reading
            watched.misuse()
            return watched.settle()


def play(data: bytes) -> Watched:
    """One input."""
    program = Program(data)
    name = program.pick(_NAMES)
    watched = prepared(name, program.pick(CONFIGS))
    last = b""
    while program.goes_on():
        action = program.byte() % 16
        if action in (_TIMER, _TIMER + 1):
            watched.wait_for_timer()
        elif action == _TIMER + 2:
            for _ in range(1 + program.byte() % 8):
                watched.receive(last)
        elif _FRAME < action < _TIMER:
            use(watched, program, action - 1)
        else:
            last = choose_frame(program)
            watched.receive(last)
    return watched


def seeds() -> list[bytes]:
    """Every state with every valid frame, and a way on."""
    frames = [bytes([_FRAME]) + raw_frame(frame) for frame in VALID]
    timers = bytes([_TIMER] * 4)
    fill = bytes([4, 0, 5] * 40 + [4, 0, 11, 4, 0, 3])
    found = []
    for number in range(len(_NAMES)):
        for config in range(len(CONFIGS)):
            start = bytes([number, config])
            found.append(start + timers.join(frames[config :: len(CONFIGS)]))
            found.append(start + fill + timers + frames[13] + frames[14] + timers + fill)
    return found
