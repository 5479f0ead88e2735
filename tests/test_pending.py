"""Data that came before its opening: held within bounds, for a while."""

from sansrelay.config import SEGMENT_OVERHEAD, RelayConfig
from sansrelay.frames import DataFrame
from sansrelay.pending import PendingData
from sansrelay.receiver import Budget

ONE = SEGMENT_OVERHEAD

CONFIG = RelayConfig(
    max_pending_streams=3,
    pending_timeout=2.0,
    opening_window_segments=4,
    unconfirmed_buffer_size=100 + 5 * ONE,
)


def data(stream_id: str, seq: int = 1, size: int = 1) -> DataFrame:
    return DataFrame(stream_id, 0, 0, seq, 0, 1, b"d" * size)


def make() -> PendingData:
    return PendingData(CONFIG, Budget(CONFIG.unconfirmed_buffer_size))


def test_what_is_held_comes_back_as_it_came_and_once() -> None:
    pending = make()
    frames = [data("a", 3), data("a", 1), data("a", 1)]
    for frame in frames:
        assert pending.hold(frame, 0.0)
    pending.hold(data("b"), 0.0)
    assert pending.take("a") == frames
    assert pending.take("a") == []
    assert pending.take("never heard of") == []
    assert pending.size == 1 + ONE
    assert pending.take("b") == [data("b")]
    assert pending.size == 0


def test_ids_are_bounded() -> None:
    pending = make()
    for stream_id in "abc":
        assert pending.has_room_for(stream_id)
        pending.hold(data(stream_id), 0.0)
    assert not pending.has_room_for("d")
    assert pending.has_room_for("a"), "an id that is held may go on"
    pending.take("b")
    assert pending.has_room_for("d")


def test_segments_of_an_id_are_bounded() -> None:
    pending = make()
    assert [pending.hold(data("a", seq), 0.0) for seq in range(1, 7)] == [True] * 4 + [False] * 2
    assert pending.hold(data("b"), 0.0)
    assert len(pending.take("a")) == 4


def test_bytes_of_all_ids_are_bounded() -> None:
    budget = Budget(100 + 2 * ONE)
    pending = PendingData(CONFIG, budget)
    assert pending.hold(data("a", size=60), 0.0)
    assert not pending.hold(data("b", size=41), 0.0)
    assert pending.hold(data("b", size=40), 0.0)
    assert not pending.hold(data("a", 2), 0.0)
    assert pending.size == budget.used == 100 + 2 * ONE
    assert len(pending.take("a")) == 1
    assert pending.hold(data("b", 2, size=60), 0.0)


def test_what_unconfirmed_streams_hold_counts_against_the_same_budget() -> None:
    budget = Budget(100 + 2 * ONE)
    pending = PendingData(CONFIG, budget)
    budget.used = 60 + ONE
    assert not pending.hold(data("a", size=41), 0.0)
    assert pending.hold(data("a", size=40), 0.0)
    pending.clear()
    assert budget.used == 60 + ONE


def test_an_id_whose_data_did_not_fit_has_its_deadline_all_the_same() -> None:
    pending = make()
    assert not pending.hold(data("a", size=101 + 5 * ONE), 1.0)
    assert pending.first() == (3.0, "a")
    assert pending.take("a") == []


def test_the_first_segment_decides_the_deadline() -> None:
    pending = make()
    assert pending.first() is None
    pending.hold(data("b"), 1.0)
    pending.hold(data("a"), 1.5)
    pending.hold(data("b", 2), 2.9)
    assert pending.first() == (3.0, "b")
    pending.take("b")
    assert pending.first() == (3.5, "a")
    pending.hold(data("b"), 3.0)
    assert pending.first() == (3.5, "a")


def test_a_lost_link_takes_all_with_it() -> None:
    pending = make()
    for stream_id in "abc":
        pending.hold(data(stream_id, size=30), 0.0)
    pending.clear()
    assert pending.size == 0
    assert pending.first() is None
    assert pending.take("a") == []
    assert pending.has_room_for("d")
