"""What the network remembers: the first frames of each stream, to be delivered once more, late."""

from collections.abc import Callable
from functools import partial

from ...frames import InvalidFrame, ResetFrame
from .lanes import Link
from .oracle import Oracle

__all__ = ["Echoes"]

_FRAMES = 12
"""Frames that are kept of one stream on one way."""
_STREAMS = 30
"""Streams that are kept of one way, the latest."""


class Echoes:
    """Copies of early frames, by peer, way (to it or from it) and stream.

    Resets are not kept: `hold` repeats those.
    """

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._kept: dict[tuple[str, bool], dict[str, list[bytes]]] = {}

    def listen(self, link: Link) -> None:
        """Keep copies of what is sent on a link."""
        for lane, up in ((link.up, True), (link.down, False)):
            lane.tap = self._tap((link.peer.name, up))

    def _tap(self, way: tuple[str, bool]) -> Callable[[bytes], None]:
        return partial(self._keep, self._kept.setdefault(way, {}))

    def _keep(self, streams: dict[str, list[bytes]], data: bytes) -> None:
        frame = self._oracle.frame_of(data)
        if isinstance(frame, InvalidFrame | ResetFrame):
            return
        frames = streams.get(frame.stream_id)
        if frames is None:
            if len(streams) >= _STREAMS:
                del streams[next(iter(streams))]
            frames = streams[frame.stream_id] = []
        if len(frames) < _FRAMES:
            frames.append(data)

    def of(self, name: str, *, up: bool) -> dict[str, list[bytes]]:
        """What was kept of one way, by stream."""
        return self._kept.get((name, up), {})
