"""Connections brought to a certain point, each in a state where other frames matter."""

from collections.abc import Callable
from typing import Final

from fuzz.watched import Watched
from sansrelay import ProfilePolicy, RelayConfig, Role
from sansrelay.codec import encode_frame
from sansrelay.frames import Frame
from wirekit import ACCEPTED, OWN, PEER, SID, data, resume

__all__ = ["CONFIGS", "DEFAULT", "STATES", "prepared"]

DEFAULT: Final = RelayConfig()
_TIGHT: Final = RelayConfig(
    max_frame_size=512,
    max_message_size=64,
    max_reason_size=32,
    segment_size=8,
    max_streams=3,
    max_ended_streams=2,
    ended_ttl=5.0,
    max_pending_streams=2,
    resets_per_second=2.0,
    send_window_segments=4,
    send_window_bytes=24,
    opening_window_segments=3,
    send_buffer_size=48,
    send_buffer_messages=4,
    receive_window_segments=8,
    receive_window_bytes=40,
    receive_buffer_size=1200,
    unconfirmed_buffer_size=900,
    basic_buffer_size=800,
    ack_after_segments=2,
    ack_after_bytes=16,
    heartbeat_interval=3.0,
    silence_timeout=2.0,
    resume_timeout=10.0,
)
_EARLY: Final = RelayConfig(
    early_data=True,
    receive_window_segments=40,
    max_message_size=4096,
    segment_size=64,
    receive_buffer_size=8192,
)
CONFIGS: Final = (
    DEFAULT,
    _TIGHT,
    _EARLY,
    RelayConfig(profile=ProfilePolicy.RELIABLE),
    RelayConfig(profile=ProfilePolicy.BASIC),
)
"""The limits as they are, limits that are soon reached, and each choice of behaviour."""


def _give(watched: Watched, *frames: Frame) -> None:
    for frame in frames:
        watched.receive(encode_frame(frame))


def _harness(config: RelayConfig) -> Watched:
    watched = Watched(Role.HARNESS, config, checked=False)
    watched.link_opened()
    watched.open(SID)
    return watched


def _executor(config: RelayConfig) -> Watched:
    watched = Watched(Role.EXECUTOR, config, checked=False)
    watched.link_opened()
    return watched


def _opening(config: RelayConfig) -> Watched:
    watched = _harness(config)
    _say(watched, 2)
    return watched


def _say(watched: Watched, messages: int) -> None:
    for _ in range(messages):
        watched.send(SID, b"message")
        watched.settle()


def _open_opener(config: RelayConfig) -> Watched:
    watched = _harness(config)
    watched.reading = False
    _give(watched, resume(1, PEER, OWN))
    _say(watched, 3)
    _give(watched, data(1))
    return watched


def _unconfirmed(config: RelayConfig) -> Watched:
    watched = _executor(config)
    _give(watched, resume(1, PEER), data(1), data(3))
    return watched


def _open_acceptor(config: RelayConfig) -> Watched:
    watched = _executor(config)
    watched.reading = False
    _give(watched, resume(1, PEER), resume(1, PEER, ACCEPTED, True))
    _say(watched, 3)
    _give(watched, data(1))
    return watched


def _basic_opener(config: RelayConfig) -> Watched:
    watched = _harness(config)
    watched.reading = False
    _give(watched, data(0))
    _say(watched, 2)
    return watched


def _basic_acceptor(config: RelayConfig) -> Watched:
    watched = _executor(config)
    watched.reading = False
    _give(watched, resume(0), data(0))
    _say(watched, 2)
    return watched


def _again(watched: Watched) -> Watched:
    """The same on a second link, where it asks."""
    watched.link_closed()
    watched.wait(1.0)
    watched.link_opened()
    return watched


def _ended(watched: Watched) -> Watched:
    watched.end(SID, "cancelled", at_once=True)
    return watched


def _pending(config: RelayConfig) -> Watched:
    watched = _executor(config)
    _give(watched, data(2), data(1))
    return watched


def _assembling(watched: Watched) -> Watched:
    """In the middle of a message, with a gap behind it."""
    _give(watched, data(2, b"begin", index=0, count=3), data(4, b"end", index=2, count=3))
    return watched


def _closing(config: RelayConfig) -> Watched:
    watched = _open_opener(config)
    watched.end(SID, "closed", at_once=False)
    return watched


STATES: Final[dict[str, Callable[[RelayConfig], Watched]]] = {
    "harness opening": _opening,
    "harness opening again": lambda config: _again(_opening(config)),
    "harness open": _open_opener,
    "harness assembling": lambda config: _assembling(_open_opener(config)),
    "harness resuming": lambda config: _again(_open_opener(config)),
    "harness basic": _basic_opener,
    "harness closing": _closing,
    "harness ended": lambda config: _ended(_open_opener(config)),
    "executor fresh": _executor,
    "executor pending": _pending,
    "executor unconfirmed": _unconfirmed,
    "executor open": _open_acceptor,
    "executor assembling": lambda config: _assembling(_open_acceptor(config)),
    "executor resuming": lambda config: _again(_open_acceptor(config)),
    "executor basic": _basic_acceptor,
    "executor ended": lambda config: _ended(_open_acceptor(config)),
}
"""By name. With a configuration other than the default some end up elsewhere."""


def prepared(name: str, config: RelayConfig = DEFAULT) -> Watched:
    """A fresh connection in that state."""
    watched = STATES[name](config)
    watched.checked = True
    watched.settle()
    return watched
