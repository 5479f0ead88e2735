"""The bounded, fair queue of one link."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansrelay.fairqueue import FRAME_COST, QUANTUM, STREAM_COST, FairQueue, Full, Pool

PLENTY = 1 << 40


def make(
    limit: int = 1 << 30,
    stream_limit: int = 1 << 30,
    reserve: int = 0,
    pool: Pool | None = None,
) -> FairQueue:
    return FairQueue(
        limit=limit, stream_limit=stream_limit, reserve=reserve, pool=pool or Pool(PLENTY)
    )


def cost(*frames: bytes) -> int:
    """What one stream with these frames takes of the link's limit."""
    return STREAM_COST + sum(len(frame) + FRAME_COST for frame in frames)


def test_a_stream_keeps_its_order() -> None:
    queue = make()
    frames = [bytes([i]) * size for i, size in enumerate([1, QUANTUM * 3, 2, QUANTUM, 5])]
    for frame in frames:
        assert queue.put("a", frame) is None
        assert queue.put("b", b"b" * QUANTUM) is None
    taken = queue.take(PLENTY)
    assert [frame for frame in taken if frame[:1] != b"b"] == frames
    assert queue.take(PLENTY) == []
    assert queue.size == 0


def test_streams_share_by_bytes_not_by_frames() -> None:
    queue = make()
    for _ in range(64):
        queue.put("large", b"L" * (QUANTUM // 2))
    for _ in range(4096):
        queue.put("small", b"s" * 512)
    taken = b"".join(queue.take(QUANTUM * 20))
    assert taken.count(b"L") == pytest.approx(taken.count(b"s"), abs=QUANTUM)


def test_a_late_small_stream_waits_one_round_only() -> None:
    queue = make()
    for name in "abc":
        for _ in range(100):
            queue.put(name, name.encode() * QUANTUM)
    queue.take(QUANTUM)
    queue.put("z", b"z")
    assert b"z" in queue.take(QUANTUM * 4)


def test_a_frame_of_many_quanta_comes_through() -> None:
    queue = make()
    queue.put("a", b"a" * QUANTUM * 10)
    for _ in range(20):
        queue.put("b", b"b" * QUANTUM)
    taken = queue.take(PLENTY)
    position = next(i for i, frame in enumerate(taken) if frame[:1] == b"a")
    # The other stream got as many bytes meanwhile, give or take a turn.
    assert 8 <= position <= 11


@pytest.mark.parametrize(
    ("max_bytes", "expected"), [(1, [3]), (3, [3]), (4, [3]), (6, [3, 3]), (8, [3, 3])]
)
def test_take_keeps_to_max_bytes_but_gives_one_frame(max_bytes: int, expected: list[int]) -> None:
    queue = make()
    for _ in range(3):
        queue.put("a", b"abc")
    assert [len(frame) for frame in queue.take(max_bytes)] == expected


def test_take_in_small_steps_gives_the_same_order_as_at_once() -> None:
    def filled() -> FairQueue:
        queue = make()
        for i in range(50):
            queue.put("ab"[i % 2], bytes([i]) * (1000 * i + 1))
        return queue

    stepwise = filled()
    steps = list(itertools.chain.from_iterable(iter(lambda: stepwise.take(1), [])))
    assert steps == filled().take(PLENTY)


def test_stream_bound_is_exact_and_hits_one_stream_only() -> None:
    queue = make(stream_limit=3 * (100 + FRAME_COST))
    frame = b"x" * 100
    assert [queue.put("a", frame) for _ in range(4)] == [None, None, None, Full.STREAM]
    assert queue.put("b", frame) is None
    queue.take(1)
    assert queue.put("a", frame) is None


def test_an_empty_stream_takes_a_frame_beyond_its_bound() -> None:
    queue = make(stream_limit=100)
    assert queue.put("a", b"x" * 10_000) is None
    assert queue.put("a", b"x") is Full.STREAM
    assert queue.put("b", b"x" * 10_000) is None


def test_a_stream_never_has_more_than_is_left() -> None:
    limit = 100_000
    queue = make(limit=limit)
    frame = b"x" * (1000 - FRAME_COST)
    while queue.put("greedy", frame) is None:
        pass
    assert queue.size == pytest.approx(limit / 2, abs=STREAM_COST + 1000)
    assert queue.put("greedy", frame) is Full.LINK
    while queue.put("greedy too", frame) is None:
        pass
    # Whoever has nothing queued still finds room.
    assert queue.put("modest", b"x" * 20_000) is None
    assert queue.size <= limit


def test_a_frame_beyond_what_is_free_is_refused_even_by_an_empty_stream() -> None:
    frame = b"x" * 1000
    assert make(limit=cost(frame)).put("a", frame) is None
    assert make(limit=cost(frame) - 1).put("a", frame) is Full.LINK


def test_reserved_frames_pass_both_bounds_until_the_reserve_is_used() -> None:
    frame = b"x" * 100
    queue = make(limit=cost(frame), stream_limit=1, reserve=2 * (100 + FRAME_COST))
    assert queue.put("a", frame) is None
    assert [queue.put_reserved("a", b"r" * 100) for _ in range(3)] == [True, True, False]
    assert queue.put("b", b"") is Full.LINK
    assert queue.take(PLENTY) == [frame, b"r" * 100, b"r" * 100]


def test_a_stream_of_reserved_frames_is_counted_like_any_other() -> None:
    assert make(limit=1, reserve=cost(b"") - 1).put_reserved("a", b"")
    assert not make(limit=1, reserve=cost(b"") - 2).put_reserved("a", b"")


def test_discard_takes_one_stream_out_with_its_turn() -> None:
    queue = make()
    for name in "abc":
        queue.put(name, name.encode())
        queue.put(name, name.encode())
    assert queue.discard("b") == 2
    assert queue.discard("b") == 0
    queue.put("b", b"new")
    assert queue.take(PLENTY) == [b"a", b"a", b"c", b"c", b"new"]
    assert queue.size == 0


def test_clear_counts_frames() -> None:
    queue = make()
    for name in "aab":
        queue.put(name, b"x")
    assert queue.clear() == 3
    assert queue.size == 0
    assert queue.take(PLENTY) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from("abcd"), st.integers(0, 3000)),
            st.tuples(st.just("reserved"), st.sampled_from("abcd"), st.integers(0, 300)),
            st.tuples(st.just("take"), st.just(""), st.integers(1, 5000)),
            st.tuples(st.just("discard"), st.sampled_from("abcd"), st.just(0)),
        ),
        max_size=80,
    )
)
def test_bounds_and_order_hold_under_any_use(steps: list[tuple[str, str, int]]) -> None:
    limit, reserve = 12_000, 1000
    pool = Pool(limit)
    queue = make(limit, 6000, reserve, pool)
    model: dict[str, list[bytes]] = {name: [] for name in "abcd"}
    for number, (step, name, size) in enumerate(steps):
        frame = name.encode() + number.to_bytes(2, "big") + bytes(size)
        if step == "put":
            before = queue.size
            if queue.put(name, frame) is None:
                model[name].append(frame)
                assert queue.size <= limit
            else:
                assert queue.size == before
        elif step == "reserved":
            if queue.put_reserved(name, frame):
                model[name].append(frame)
        elif step == "take":
            taken = queue.take(size)
            assert bool(taken) == any(model.values())
            assert len(taken) <= 1 or sum(map(len, taken)) <= size
            for frame in taken:
                assert model[frame[:1].decode()].pop(0) == frame
        else:
            assert queue.discard(name) == len(model[name])
            model[name].clear()
        assert queue.size == sum(cost(*frames) for frames in model.values() if frames)
        assert queue.size <= limit + reserve
        assert queue.size - reserve <= pool.used <= min(limit, queue.size)


# -- several links


def fill(queue: FairQueue, frame: bytes, stream_id: str = "a") -> Full:
    """Put a frame until a bound forbids it; which one that is."""
    while (full := queue.put(stream_id, frame)) is None:
        pass
    return full


FRAME = b"x" * (1000 - FRAME_COST)


@pytest.mark.parametrize("stopped", [1, 2, 9])
def test_links_that_stand_still_leave_one_part_of_the_pool(stopped: int) -> None:
    pool = Pool(1_000_000)
    links = [make(pool=pool) for _ in range(stopped)]
    while None in {link.put("a", FRAME) for link in links}:
        pass
    assert pool.free == pytest.approx(pool.limit / (stopped + 1), abs=2 * (1000 + STREAM_COST))
    # One more takes half of that, at most, and none of the others any more.
    late = make(pool=pool)
    before = pool.free
    assert fill(late, FRAME) is Full.TOTAL
    assert late.size == pytest.approx(before / 2, abs=1000 + STREAM_COST)
    assert {link.put("a", FRAME) for link in links} == {Full.TOTAL}
    assert pool.used == late.size + sum(link.size for link in links) <= pool.limit


def test_the_bound_of_the_pool_is_exact() -> None:
    # Half of it for the one link that there is: two frames fit, to the byte.
    size = cost(FRAME, FRAME)
    for limit, expected in ((2 * size - 1000, None), (2 * size - 1001, Full.TOTAL)):
        queue = make(pool=Pool(limit))
        assert queue.put("a", FRAME) is None
        assert queue.put("a", FRAME) is expected


def test_an_empty_link_takes_what_is_free_and_not_more() -> None:
    for limit, expected in ((cost(FRAME), None), (cost(FRAME) - 1, Full.TOTAL)):
        assert make(pool=Pool(limit)).put("a", FRAME) is expected


def test_a_new_stream_on_a_link_does_not_evade_the_pool() -> None:
    pool = Pool(100_000)
    queue = make(pool=pool)
    assert fill(queue, FRAME) is Full.TOTAL
    assert queue.put("b", FRAME) is Full.TOTAL
    assert make(pool=pool).put("b", FRAME) is None


def test_the_nearer_bound_is_named_first() -> None:
    queue = make(limit=cost(FRAME), stream_limit=1, pool=Pool(cost(FRAME)))
    assert queue.put("a", FRAME) is None
    assert queue.put("a", FRAME) is Full.STREAM
    assert queue.put("b", FRAME) is Full.LINK


@pytest.mark.parametrize(
    "empty",
    [
        lambda queue: queue.take(PLENTY),
        lambda queue: list(iter(lambda: queue.take(1), [])),
        lambda queue: [queue.discard("a"), queue.discard("b")],
        lambda queue: queue.clear(),
    ],
    ids=["take", "take in steps", "discard", "clear"],
)
def test_an_emptied_link_gives_all_back(empty: Callable[[FairQueue], object]) -> None:
    pool = Pool(20_000)
    queue = make(limit=10_000, reserve=1500, pool=pool)
    for _ in range(2):
        fill(queue, FRAME)
        queue.put("b", FRAME)
        while queue.put_reserved("b", b"r"):
            pass
        assert queue.size > 10_000
        assert pool.used == 10_000
        empty(queue)
        assert (queue.size, pool.used) == (0, 0)


def test_reserved_frames_pass_a_pool_that_is_used_up() -> None:
    pool = Pool(10_000)
    stopped, idle = make(pool=pool), make(reserve=2 * cost(b"r"), pool=pool)
    fill(stopped, FRAME)
    pool.used = pool.limit  # by others
    assert idle.put("a", b"") is Full.TOTAL
    assert [idle.put_reserved(name, b"r") for name in "abc"] == [True, True, False]
    assert pool.used == pool.limit
    # What is taken makes room in the reserve first: it is for what can't wait.
    idle.take(1)
    assert pool.used == pool.limit
    assert idle.put_reserved("c", b"r")


def test_the_room_of_a_reserve_is_not_used_by_frames() -> None:
    frame = b"r" * (1000 - FRAME_COST)
    pool = Pool(10_000)
    queue = make(limit=3000 + STREAM_COST, reserve=2000, pool=pool)
    for _ in range(5):
        assert queue.put_reserved("a", frame)
    queue.take(1)
    # Four are left: one more than fits without the reserve.
    assert queue.put("a", FRAME) is Full.LINK
    assert pool.used == 3000 + STREAM_COST
    queue.take(len(frame))
    assert queue.put_reserved("a", frame)
    assert pool.used == 3000 + STREAM_COST


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "reserved", "take", "discard", "clear"]),
            st.integers(0, 2),
            st.sampled_from("ab"),
            st.integers(0, 3000),
        ),
        max_size=80,
    )
)
def test_the_pool_is_kept_to_under_any_use(steps: list[tuple[str, int, str, int]]) -> None:
    pool = Pool(9000)
    links = [make(6000, 5000, 1000, pool) for _ in range(3)]
    for step, number, name, size in steps:
        link = links[number]
        if step == "put":
            free = pool.free
            if link.put(name, bytes(size)) is None:
                assert link.size <= free
        elif step == "reserved":
            link.put_reserved(name, bytes(size))
        elif step == "take":
            link.take(size + 1)
        elif step == "discard":
            link.discard(name)
        else:
            link.clear()
        assert 0 <= pool.used <= pool.limit
        total = sum(each.size for each in links)
        assert pool.used <= total <= pool.used + 3 * 1000
    for link in links:
        link.take(PLENTY)
    assert pool.used == 0
