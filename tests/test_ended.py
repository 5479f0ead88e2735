"""Streams that are over: remembered within bounds, their resets owed, answers rate-limited."""

import pytest

from sansrelay.config import RelayConfig
from sansrelay.ended import EndedStreams, ResetLimiter
from sansrelay.frames import ResetFrame


def reset(stream_id: str, reason: str = "closed") -> ResetFrame:
    return ResetFrame(stream_id, 7, 5, reason)


def make(size: int = 4, ttl: float = 10.0) -> EndedStreams:
    return EndedStreams(RelayConfig(max_ended_streams=size, ended_ttl=ttl))


def owed(ended: EndedStreams) -> list[str]:
    out = []
    while (frame := ended.next_reset()) is not None:
        out.append(frame.stream_id)
    return out


def remembered(ended: EndedStreams, among: str) -> str:
    return "".join(stream_id for stream_id in among if stream_id in ended)


# -- the table


def test_an_ended_id_is_remembered() -> None:
    ended = make()
    ended.add(reset("a"), owed=False)
    assert "a" in ended
    assert "b" not in ended
    assert len(ended) == 1


def test_the_oldest_is_forgotten_first() -> None:
    ended = make(size=3)
    for stream_id in "abcde":
        ended.add(reset(stream_id), owed=True)
    assert remembered(ended, "abcde") == "cde"
    assert len(ended) == 3
    assert len(owed(ended)) == 4


def test_a_reset_that_never_left_outlives_the_memory_of_its_id() -> None:
    ended = make(size=1)
    for stream_id in "ab":
        ended.add(reset(stream_id), owed=True)
    assert remembered(ended, "ab") == "b"
    assert sorted(owed(ended)) == ["a", "b"], "a peer that does not ask would never learn of it"
    ended.add(reset("c"), owed=True)
    owed(ended)
    ended.add(reset("d"), owed=False)
    assert owed(ended) == [], "it has left"


def test_resets_that_never_left_are_bounded() -> None:
    ended = make(size=3)
    for number in range(100):
        ended.add(reset(str(number)), owed=True)
    assert len(owed(ended)) <= 2 * 3


def test_an_id_is_forgotten_when_its_time_is_over() -> None:
    ended = make(ttl=10.0)
    ended.add(reset("a"), owed=True)
    ended.advance(5.0)  # the age counts from here
    ended.add(reset("b"), owed=False)
    ended.advance(8.0)
    ended.advance(14.9)
    assert remembered(ended, "ab") == "ab"
    ended.advance(15.0)
    assert remembered(ended, "ab") == "b"
    assert owed(ended) == []
    ended.advance(18.0)
    assert len(ended) == 0


def test_size_and_time_together() -> None:
    ended = make(size=2, ttl=10.0)
    for now, stream_id in enumerate("abcdef"):
        ended.add(reset(stream_id), owed=False)
        if now % 2:
            ended.advance(float(now))
    assert remembered(ended, "abcdef") == "ef"
    ended.advance(14.9)
    assert len(ended) == 2
    ended.advance(15.0)
    assert len(ended) == 0


def test_an_id_that_was_pushed_out_before_its_time_was_known() -> None:
    ended = make(size=1, ttl=10.0)
    ended.add(reset("a"), owed=False)
    ended.add(reset("b"), owed=False)
    ended.advance(0.0)
    ended.advance(10.0)
    assert len(ended) == 0


# -- resets that are owed


def test_a_reset_is_owed_once_and_as_it_was() -> None:
    ended = make()
    ended.add(reset("a", "going_away"), owed=True)
    ended.add(reset("b"), owed=False)
    assert ended.next_reset() == ResetFrame("a", 7, 5, "going_away")
    assert ended.next_reset() is None
    assert "a" in ended


def test_a_late_frame_makes_it_due_again() -> None:
    ended = make()
    ended.add(reset("a"), owed=True)
    ended.owe("a")
    assert owed(ended) == ["a"], "once, though it was due already"
    ended.owe("a")
    assert ended.next_reset() == reset("a")


def test_the_peer_has_reset_it_too() -> None:
    ended = make()
    ended.add(reset("a"), owed=True)
    ended.settle("a")
    ended.settle("never heard of")
    assert owed(ended) == []
    assert "a" in ended


def test_an_unknown_id_is_answered_and_not_remembered() -> None:
    ended = make()
    ended.owe_unknown(reset("x", "unknown_stream"))
    ended.owe_unknown(reset("x", "unknown_stream"))
    assert "x" not in ended
    assert ended.next_reset() == reset("x", "unknown_stream")
    assert ended.next_reset() is None


def test_answers_to_unknown_ids_are_bounded() -> None:
    ended = make(size=3)
    for number in range(100):
        ended.owe_unknown(reset(str(number)))
    ended.add(reset("a"), owed=True)
    assert owed(ended) == ["0", "1", "2", "a"], "what we ended ourselves is owed all the same"


def test_resets_wait_for_a_link_as_long_as_the_id_is_remembered() -> None:
    ended = make(ttl=10.0)
    ended.add(reset("a"), owed=True)
    ended.advance(0.0)
    ended.advance(9.0)
    assert owed(ended) == ["a"]


# -- the rate of answers


def allowed(limiter: ResetLimiter, now: float, tries: int = 1000) -> int:
    return sum(limiter.allow(now) for _ in range(tries))


@pytest.mark.parametrize("start", [0.0, 1e6, -1e6])
def test_rate_is_burst_too(start: float) -> None:
    limiter = ResetLimiter(10.0)
    assert allowed(limiter, start) == 10
    assert allowed(limiter, start + 0.05) == 0
    assert allowed(limiter, start + 0.25) == 2
    assert allowed(limiter, start + 1000.0) == 10


def test_a_rate_below_one_still_lets_one_through() -> None:
    limiter = ResetLimiter(0.1)
    assert allowed(limiter, 0.0) == 1
    assert allowed(limiter, 5.0) == 0
    assert allowed(limiter, 10.5) == 1
    assert allowed(limiter, 1000.0) == 1


def test_what_was_refused_costs_nothing() -> None:
    limiter = ResetLimiter(1.0)
    assert allowed(limiter, 0.0) == 1
    for step in range(1, 11):
        assert allowed(limiter, step / 16) == 0
    assert allowed(limiter, 1.0) == 1
