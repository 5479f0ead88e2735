"""Whose turn it is: control before data, equal bytes for all who have data."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay.scheduler import QUANTUM, Scheduler


class Source:
    """A stream that has segments to send, by their sizes."""

    def __init__(self, name: str, *sizes: int) -> None:
        self.name = name
        self.sizes = list(sizes)
        self.in_control_line = False
        self.in_data_line = False
        self.deficit = 0

    def __repr__(self) -> str:
        return self.name


def scheduler_of(*sources: Source) -> Scheduler[Source]:
    scheduler: Scheduler[Source] = Scheduler()
    for source in sources:
        scheduler.want_data(source)
    return scheduler


def send_one(scheduler: Scheduler[Source]) -> tuple[Source, int] | None:
    """Send the next segment, as the owner of a scheduler does."""
    while (source := scheduler.data_head()) is not None:
        if not source.sizes:
            scheduler.drop_head()
        elif source.deficit < source.sizes[0]:
            scheduler.turn_over(source.sizes[0])
        else:
            size = source.sizes.pop(0)
            source.deficit -= size
            return source, size
    return None


def send_all(scheduler: Scheduler[Source], limit: float = float("inf")) -> list[tuple[Source, int]]:
    out: list[tuple[Source, int]] = []
    total = 0
    while total < limit and (sent := send_one(scheduler)) is not None:
        out.append(sent)
        total += sent[1]
    return out


def bytes_of(sent: list[tuple[Source, int]], source: Source) -> int:
    return sum(size for who, size in sent if who is source)


def test_control_is_first_come_first_served_and_once() -> None:
    a, b = Source("a"), Source("b")
    scheduler: Scheduler[Source] = Scheduler()
    for source in (a, b, a, b, b):
        scheduler.want_control(source)
    assert [scheduler.next_control() for _ in range(3)] == [a, b, None]
    scheduler.want_control(a)
    assert scheduler.next_control() is a


def test_a_stream_that_wants_again_while_it_is_served_comes_last() -> None:
    a, b = Source("a"), Source("b")
    scheduler: Scheduler[Source] = Scheduler()
    scheduler.want_control(a)
    scheduler.want_control(b)
    assert scheduler.next_control() is a
    scheduler.want_control(a)
    assert [scheduler.next_control() for _ in range(3)] == [b, a, None]


def test_the_two_lines_do_not_mix() -> None:
    a = Source("a", 5)
    scheduler = scheduler_of(a)
    assert scheduler.next_control() is None
    scheduler.want_control(a)
    assert scheduler.data_head() is a
    assert scheduler.next_control() is a
    assert send_all(scheduler) == [(a, 5)]


def test_nobody_stands_in_line_twice() -> None:
    a, b = Source("a", 5), Source("b", 5)
    scheduler = scheduler_of(a, b, a)
    assert send_all(scheduler) == [(a, 5), (b, 5)]
    assert scheduler.data_head() is None
    a.sizes.append(7)
    scheduler.want_data(a)
    assert send_all(scheduler) == [(a, 7)]


def test_a_stream_keeps_its_turn_for_a_quantum() -> None:
    part = QUANTUM // 4
    a, b = Source("a", *[part] * 6), Source("b", *[part] * 6)
    turns = [source.name for source, _ in send_all(scheduler_of(a, b))]
    assert "".join(turns) == "aaaabbbbaabb"


def test_turns_go_round_in_the_order_of_arrival() -> None:
    sources = [Source(name, *[QUANTUM] * 2) for name in "abc"]
    turns = [source.name for source, _ in send_all(scheduler_of(*sources))]
    assert "".join(turns) == "abcabc"


@pytest.mark.parametrize(
    ("large", "small"),
    [(QUANTUM, 64), (QUANTUM - 1, 100), (QUANTUM * 3, 4096), (QUANTUM // 2 + 1, QUANTUM)],
)
def test_streams_get_equal_bytes_whatever_their_segments(large: int, small: int) -> None:
    total = QUANTUM * 40
    a = Source("a", *[large] * (total // large))
    b = Source("b", *[small] * (total // small))
    for scheduler in (scheduler_of(a, b), scheduler_of(b, a)):
        sent = send_all(scheduler, limit=total // 2)
        assert bytes_of(sent, a) == pytest.approx(bytes_of(sent, b), abs=2 * QUANTUM + large)


def test_a_late_small_stream_waits_one_round_only() -> None:
    busy = [Source(name, *[QUANTUM] * 100) for name in "abc"]
    scheduler = scheduler_of(*busy)
    send_one(scheduler)
    late = Source("z", 10)
    scheduler.want_data(late)
    assert late in [source for source, _ in send_all(scheduler, limit=QUANTUM * 4)]


def test_a_stream_alone_need_not_save_up() -> None:
    a = Source("a", QUANTUM * 50)
    scheduler = scheduler_of(a)
    scheduler.turn_over(QUANTUM * 50)
    assert a.deficit >= QUANTUM * 50
    assert send_one(scheduler) == (a, QUANTUM * 50)


def test_no_credit_is_saved_by_leaving_the_line() -> None:
    a, b = Source("a", 1), Source("b", *[QUANTUM // 8] * 100)
    scheduler = scheduler_of(a, b)
    for _ in range(50):  # `a` leaves the line each time, far below its quantum
        send_all(scheduler, limit=1)
        a.sizes.append(1)
        scheduler.want_data(a)
    a.sizes = [QUANTUM // 8] * 100
    turn = [source.name for source, _ in send_all(scheduler, limit=QUANTUM * 6)]
    assert "a" * 17 not in "".join(turn)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.lists(st.integers(1, QUANTUM * 3), max_size=12), min_size=1, max_size=5))
def test_everything_goes_out_in_its_streams_order_and_in_fair_shares(
    sizes: list[list[int]],
) -> None:
    sources = [Source(str(i), *own) for i, own in enumerate(sizes)]
    scheduler = scheduler_of(*sources)
    sent = send_all(scheduler)
    for source, own in zip(sources, sizes, strict=True):
        assert [size for who, size in sent if who is source] == own
        assert not source.in_data_line
    # While two streams both have data, neither is ahead by more than a turn.
    done = dict.fromkeys(sources, 0)
    for source, size in sent:
        done[source] += size
        waiting = [
            done[other] for other, own in zip(sources, sizes, strict=True) if done[other] < sum(own)
        ]
        if waiting:
            assert done[source] - min(waiting) <= 2 * QUANTUM + 3 * QUANTUM
