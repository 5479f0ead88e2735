"""When an ack goes out by itself."""

import pytest

from sansrelay.acks import AckPolicy
from sansrelay.config import RelayConfig
from sansrelay.timers import NEVER

CONFIG = RelayConfig(
    ack_after_segments=4, ack_after_bytes=100, ack_delay=0.5, duplicate_ack_interval=2.0
)


@pytest.fixture
def acks() -> AckPolicy:
    return AckPolicy(CONFIG)


def test_at_first_nothing_is_owed(acks: AckPolicy) -> None:
    assert not acks.due
    assert acks.deadline == NEVER
    assert not acks.undelayed


@pytest.mark.parametrize(
    ("steps", "enough"),
    [
        ([(1, 10)] * 4, [False, False, False, True]),
        ([(4, 1)], [True]),
        ([(9, 1)], [True]),
        ([(1, 99), (1, 1)], [False, True]),
        ([(1, 100)], [True]),
        ([(0, 0), (3, 99)], [False, False]),
    ],
)
def test_enough_segments_or_bytes(
    acks: AckPolicy, steps: list[tuple[int, int]], enough: list[bool]
) -> None:
    assert [acks.progress(segments, size) for segments, size in steps] == enough


def test_a_report_starts_the_count_anew(acks: AckPolicy) -> None:
    acks.progress(3, 99)
    acks.reported()
    assert not acks.progress(3, 99)
    assert acks.progress(1, 0)


def test_the_delay_begins_once(acks: AckPolicy) -> None:
    assert acks.delay(1.0)
    assert acks.deadline == 1.5
    assert not acks.delay(1.4)
    assert acks.deadline == 1.5
    acks.reported()
    assert acks.deadline == NEVER
    assert acks.delay(2.0)
    assert acks.deadline == 2.5


def test_what_is_due_needs_no_delay(acks: AckPolicy) -> None:
    acks.due = True
    assert not acks.delay(1.0)
    assert acks.deadline == NEVER
    acks.reported()
    assert not acks.due


def test_progress_outside_a_frame_waits_for_the_clock(acks: AckPolicy) -> None:
    acks.progress(1, 1)
    assert acks.undelayed
    acks.delay(1.0)
    assert not acks.undelayed
    acks.reported()
    assert not acks.undelayed
    acks.progress(1, 1)
    acks.due = True
    assert not acks.undelayed


def test_acks_for_duplicates_are_rate_limited(acks: AckPolicy) -> None:
    times = [5.0, 5.0, 6.9, 7.0, 8.9, 9.0, 100.0]
    assert [acks.duplicate(now) for now in times] == [True, False, False, True, False, True, True]


@pytest.mark.parametrize("start", [0.0, -1e6, 1e6])
def test_the_first_duplicate_is_acknowledged_at_any_time(acks: AckPolicy, start: float) -> None:
    assert acks.duplicate(start)
    assert not acks.duplicate(start)


def test_a_lost_link_leaves_what_is_unreported(acks: AckPolicy) -> None:
    acks.progress(3, 1)
    acks.delay(1.0)
    acks.due = True
    acks.link_closed()
    assert not acks.due
    assert acks.deadline == NEVER
    assert acks.progress(1, 1), "three were counted before"
