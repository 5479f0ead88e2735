"""Data at an acceptor whose opening has not come: overtaken or lost on the way, or never sent."""

from .config import SEGMENT_OVERHEAD, RelayConfig
from .frames import DataFrame
from .receiver import Budget, Share

__all__ = ["PendingData"]


class PendingData:
    """Segments of ids that are not open yet, for `pending_timeout` seconds.

    The first of them decides the deadline of its id, so ids lie in the order of their deadlines.
    """

    __slots__ = ("_config", "_held", "_share")

    def __init__(self, config: RelayConfig, budget: Budget) -> None:
        self._config = config
        self._share = Share(budget)
        self._held: dict[str, tuple[float, list[DataFrame]]] = {}

    @property
    def size(self) -> int:
        """Bytes held, `SEGMENT_OVERHEAD` included."""
        return self._share.used

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
        if len(frames) >= self._config.opening_window_segments:
            return False
        if not self._share.take(len(frame.payload) + SEGMENT_OVERHEAD):
            return False
        frames.append(frame)
        return True

    def take(self, stream_id: str) -> list[DataFrame]:
        """What is held of an id; it is not pending any more."""
        _, frames = self._held.pop(stream_id, (0.0, []))
        self._share.give_back(sum(len(frame.payload) + SEGMENT_OVERHEAD for frame in frames))
        return frames

    def clear(self) -> int:
        """The link is gone, and the frames with it; how many there were."""
        frames = sum(len(frames) for _, frames in self._held.values())
        self._held.clear()
        self._share.clear()
        return frames

    def first(self) -> tuple[float, str] | None:
        """The earliest deadline and its id."""
        for stream_id, (deadline, _) in self._held.items():
            return deadline, stream_id
        return None
