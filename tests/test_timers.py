"""The queue of deadlines, against the plain rule: the earliest of all, never late."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay.timers import NEVER, TimerHeap, TimerKind


class Timer:
    """Something with a deadline that moves."""

    def __init__(self, deadline: float = NEVER, kind: TimerKind = TimerKind.RTO) -> None:
        self.queued_at = NEVER
        self.deadline = deadline
        self.kind = kind
        self.asked = 0

    def next_deadline(self) -> tuple[float, TimerKind]:
        self.asked += 1
        return self.deadline, self.kind


def heap_of(timers: Iterable[Timer]) -> TimerHeap[Timer]:
    heap: TimerHeap[Timer] = TimerHeap()
    for timer in timers:
        heap.rearm(timer)
    return heap


def test_empty() -> None:
    heap = heap_of([])
    assert heap.first() is None
    assert len(heap) == 0


def test_no_deadline_takes_no_room() -> None:
    heap = heap_of([Timer()])
    assert heap.first() is None
    assert len(heap) == 0


def test_the_earliest_comes_first_and_stays() -> None:
    late, soon = Timer(5.0), Timer(2.0, TimerKind.HEARTBEAT)
    heap = heap_of([late, soon])
    for _ in range(3):
        assert heap.first() == (2.0, TimerKind.HEARTBEAT, soon)


def test_equal_deadlines_keep_the_order_they_came_in() -> None:
    timers = [Timer(1.0) for _ in range(5)]
    heap = heap_of(timers)
    for timer in timers:
        first = heap.first()
        assert first is not None
        assert first[2] is timer
        timer.deadline = NEVER
    assert heap.first() is None


def test_a_deadline_moved_back_costs_nothing_until_its_entry_is_due() -> None:
    moving, steady = Timer(1.0), Timer(3.0)
    heap = heap_of([moving, steady])
    for deadline in (2.0, 7.0, 5.0):
        moving.deadline = deadline
        heap.rearm(moving)
    assert len(heap) == 2
    assert heap.first() == (3.0, TimerKind.RTO, steady)
    steady.deadline = NEVER
    assert heap.first() == (5.0, TimerKind.RTO, moving)


def test_a_deadline_moved_back_needs_no_call() -> None:
    timer = Timer(1.0)
    heap = heap_of([timer])
    timer.deadline = 9.0
    assert heap.first() == (9.0, TimerKind.RTO, timer)


def test_a_deadline_moved_forward_and_back() -> None:
    timer = Timer(10.0)
    heap = heap_of([timer])
    timer.deadline = 5.0
    heap.rearm(timer)
    assert heap.first() == (5.0, TimerKind.RTO, timer)
    for deadline in (10.0, 20.0):  # onto its superseded entry, and past it
        timer.deadline = deadline
        assert heap.first() == (deadline, TimerKind.RTO, timer)
    timer.deadline = NEVER
    assert heap.first() is None
    assert len(heap) == 0


def test_a_deadline_that_vanished_can_come_again() -> None:
    timer = Timer(1.0)
    heap = heap_of([timer])
    timer.deadline = NEVER
    assert heap.first() is None
    timer.deadline = 4.0
    heap.rearm(timer)
    assert heap.first() == (4.0, TimerKind.RTO, timer)


def test_a_deadline_in_the_past_is_reported_as_it_is() -> None:
    timer = Timer(-3.0)
    assert heap_of([timer]).first() == (-3.0, TimerKind.RTO, timer)


def test_others_are_not_looked_at() -> None:
    timers = [Timer(float(i)) for i in range(1, 1001)]
    heap = heap_of(timers)
    for timer in timers:
        timer.asked = 0
    for now in range(1, 101):
        timers[0].deadline = now / 100
        heap.rearm(timers[0])
        heap.first()
    assert sum(timer.asked for timer in timers[1:]) == 0


def test_entries_that_were_superseded_do_not_pile_up() -> None:
    # Each ack delay comes before a far deadline, and the far deadline comes back after it.
    timers = [Timer() for _ in range(20)]
    heap = heap_of(timers)
    steady = Timer()
    for step in range(1000):
        for timer in timers:
            timer.deadline = step + 0.25
            heap.rearm(timer)
        for timer in timers:
            timer.deadline = step + 1000.0
        steady.deadline = step + 0.5
        heap.rearm(steady)
        assert heap.first() == (step + 0.5, TimerKind.RTO, steady)
    assert len(heap) < 200


def test_those_that_have_ended_do_not_pile_up() -> None:
    heap = heap_of([])
    for step in range(2000):
        timer = Timer(step + 1000.0)
        heap.rearm(timer)
        timer.deadline = NEVER
    assert len(heap) < 200


deadlines = st.one_of(st.just(NEVER), st.integers(0, 30).map(float))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4), deadlines, st.booleans()), max_size=200))
def test_never_late_whatever_moves(moves: list[tuple[int, float, bool]]) -> None:
    timers = [Timer() for _ in range(5)]
    heap = heap_of(timers)
    for index, deadline, look in moves:
        timer = timers[index]
        timer.deadline = deadline
        heap.rearm(timer)
        if look:
            earliest = min(timer.deadline for timer in timers)
            first = heap.first()
            if first is None:
                assert earliest == NEVER
            else:
                assert first[0] == first[2].deadline == earliest


@pytest.mark.parametrize("seed", range(3))
def test_never_late_while_entries_are_cleared_out(seed: int) -> None:
    rng = random.Random(seed)
    timers = [Timer() for _ in range(100)]
    heap = heap_of(timers)
    for step in range(3000):
        timer = rng.choice(timers)
        timer.deadline = rng.choice([NEVER, step + rng.random(), step + rng.random() * 1000])
        heap.rearm(timer)
        if step % 100 == 99:
            earliest = min(timer.deadline for timer in timers)
            first = heap.first()
            assert first is not None
            assert first[0] == first[2].deadline == earliest
        assert len(heap) <= 2 * len(timers)
