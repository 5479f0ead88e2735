"""Data at an acceptor whose opening has not come: overtaken or lost on the way, or never sent."""

from .config import RelayConfig
from .frames import DataFrame

__all__ = ["PendingData"]


class PendingData:
    """Segments of ids that are not open yet, for `pending_timeout` seconds.

    The first of them decides the deadline of its id, so ids lie in the order of their deadlines.
    """

    __slots__ = ("_config", "_held", "size")

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._held: dict[str, tuple[float, list[DataFrame]]] = {}
        self.size = 0
        """Payload bytes held."""

    def has_room_for(self, stream_id: str) -> bool:
        """Whether the id is held already, or may be (`max_pending_streams`)."""
        return stream_id in self._held or len(self._held) < self._config.max_pending_streams

    def hold(self, frame: DataFrame, now: float) -> bool:
        """Keep a segment; False if its id has enough, or all have (`unconfirmed_buffer_size`)."""
        held = self._held.get(frame.stream_id)
        if held is None:
            deadline = now + self._config.pending_timeout
            held = self._held[frame.stream_id] = (deadline, [])
        frames = held[1]
        size = len(frame.payload)
        if (
            len(frames) >= self._config.opening_window_segments
            or self.size + size > self._config.unconfirmed_buffer_size
        ):
            return False
        frames.append(frame)
        self.size += size
        return True

    def take(self, stream_id: str) -> list[DataFrame]:
        """What is held of an id; it is not pending any more."""
        _, frames = self._held.pop(stream_id, (0.0, []))
        self.size -= sum(len(frame.payload) for frame in frames)
        return frames

    def clear(self) -> None:
        """The link is gone, and the frames with it."""
        self._held.clear()
        self.size = 0

    def first(self) -> tuple[float, str] | None:
        """The earliest deadline and its id."""
        for stream_id, (deadline, _) in self._held.items():
            return deadline, stream_id
        return None
