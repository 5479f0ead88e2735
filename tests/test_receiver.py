"""The receiving end of one direction: order, duplicates, whole messages, acks, bounds."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from sansrelay.config import MAX_SEQ, SEGMENT_OVERHEAD, RelayConfig
from sansrelay.errors import FrameCause
from sansrelay.frames import ACK_BITS, DataFrame
from sansrelay.receiver import Budget, Receiver

PLENTY = 1 << 40
ONE = SEGMENT_OVERHEAD
CONFIG = RelayConfig(
    segment_size=10,
    max_message_size=100,
    receive_window_segments=64,
    receive_window_bytes=200,
    receive_buffer_size=1000,
    basic_buffer_size=250 + 3 * ONE,
)


def make(
    config: RelayConfig = CONFIG,
    *,
    budget: Budget | None = None,
    unconfirmed: Budget | None = None,
) -> Receiver:
    return Receiver(config, budget or Budget(PLENTY), unconfirmed or Budget(PLENTY))


def segment(seq: int, payload: bytes = b"m", *, index: int = 0, count: int = 1) -> DataFrame:
    return DataFrame("s", 0, 0, seq, index, count, payload)


def cut(first_seq: int, message: bytes, size: int = 10) -> list[DataFrame]:
    parts = [message[i : i + size] for i in range(0, len(message), size)]
    return [segment(first_seq + i, part, index=i, count=len(parts)) for i, part in enumerate(parts)]


def cut_all(messages: list[bytes], size: int = 10) -> list[DataFrame]:
    frames: list[DataFrame] = []
    for message in messages:
        frames += cut(len(frames) + 1, message, size)
    return frames


def take(receiver: Receiver, *frames: DataFrame, hold: bool = False) -> list[bytes]:
    """Take frames that are all fine; returns the messages they complete."""
    ready: list[bytes] = []
    for frame in frames:
        cause = receiver.hold(frame) if hold else receiver.take(frame, ready)
        assert cause is None
    return ready


def refusal(receiver: Receiver, frame: DataFrame, *, hold: bool = False) -> FrameCause:
    """Why a frame is not taken. Nothing may change by it."""
    before = (receiver.ack, receiver.ack_bits(), receiver.next_seq, receiver.held_bytes)
    ready: list[bytes] = []
    cause = receiver.hold(frame) if hold else receiver.take(frame, ready)
    assert cause is not None
    assert ready == []
    assert (receiver.ack, receiver.ack_bits(), receiver.next_seq, receiver.held_bytes) == before
    return cause


def violation(receiver: Receiver, *frames: DataFrame) -> FrameCause:
    """The rule that the last of the frames breaks."""
    take(receiver, *frames[:-1])
    cause = receiver.take(frames[-1], [])
    assert cause is not None
    return cause


# -- order


def test_in_order() -> None:
    receiver = make()
    assert take(receiver, segment(1, b"a"), segment(2, b"b")) == [b"a", b"b"]
    assert (receiver.next_seq, receiver.highest, receiver.unconsumed) == (3, 2, 2)


def test_out_of_order() -> None:
    receiver = make()
    assert take(receiver, segment(3, b"c"), segment(2, b"b")) == []
    assert receiver.has_gap
    assert (receiver.next_seq, receiver.highest) == (1, 3)
    assert take(receiver, segment(1, b"a")) == [b"a", b"b", b"c"]
    assert not receiver.has_gap


def test_a_message_in_segments_in_any_order() -> None:
    receiver = make()
    frames = cut(1, bytes(range(45)))
    assert take(receiver, *reversed(frames)) == [bytes(range(45))]


@pytest.mark.parametrize("seq", [0, 1, 2, 3, 5])
def test_a_duplicate_is_dropped(seq: int) -> None:
    receiver = make()
    take(receiver, *cut(1, b"m" * 20), segment(3), segment(5))
    receiver.consume(1)
    assert refusal(receiver, segment(seq, b"other")) is FrameCause.DUPLICATE


# -- acks


def test_nothing_yet() -> None:
    receiver = make()
    assert receiver.highest == 0
    assert (receiver.ack, receiver.ack_bits()) == (0, 0)


def test_what_the_application_has_not_taken_over_is_withheld() -> None:
    receiver = make()
    take(receiver, segment(1), segment(2), segment(3))
    assert (receiver.ack, receiver.ack_bits()) == (0, 0b111)
    assert receiver.consume(1) == (1, 1)
    assert (receiver.ack, receiver.ack_bits()) == (1, 0b11)
    assert receiver.consume(2) == (2, 2)
    assert (receiver.ack, receiver.ack_bits(), receiver.unconsumed) == (3, 0, 0)


def test_bits_of_withheld_and_early_segments() -> None:
    receiver = make()
    take(receiver, segment(1), segment(2), segment(4), segment(6))
    assert receiver.ack_bits() == 0b101011
    receiver.consume(1)
    assert receiver.ack_bits() == 0b10101
    receiver.consume(1)
    assert (receiver.ack, receiver.ack_bits()) == (2, 0b1010)


def test_no_more_than_32_bits() -> None:
    receiver = make()
    take(receiver, *[segment(seq) for seq in range(1, 41) if seq != 35])
    assert receiver.ack_bits() == 0xFFFF_FFFF
    receiver.consume(5)
    assert (receiver.ack, receiver.ack_bits()) == (5, 0xFFFF_FFFF & ~(1 << 29))


def test_an_incomplete_message_is_acknowledged_as_it_comes() -> None:
    receiver = make()
    first, second, third = cut(1, b"m" * 30)
    take(receiver, first, second)
    assert (receiver.ack, receiver.ack_bits()) == (2, 0)
    assert take(receiver, third) == [b"m" * 30]
    assert (receiver.ack, receiver.ack_bits()) == (2, 1)
    assert receiver.consume(1) == (1, 10)
    assert receiver.ack == 3


def test_an_incomplete_message_behind_one_that_is_withheld() -> None:
    receiver = make()
    take(receiver, segment(1), *cut(2, b"m" * 30)[:2])
    assert (receiver.ack, receiver.ack_bits()) == (0, 0b111)
    assert receiver.consume(1) == (3, 21)
    assert (receiver.ack, receiver.ack_bits()) == (3, 0)


def test_a_message_larger_than_the_window_comes_through() -> None:
    config = RelayConfig(
        segment_size=10, max_message_size=1000, receive_window_bytes=30, receive_window_segments=3
    )
    receiver = make(config)
    frames = cut(1, b"m" * 1000)
    ready: list[bytes] = []
    for one, other in zip(frames[::2], frames[1::2], strict=True):
        ready += take(receiver, other, one)
    assert ready == [b"m" * 1000]
    assert receiver.ack == 99


# -- bounds


def test_window_in_segments() -> None:
    receiver = make()
    assert refusal(receiver, segment(65)) is FrameCause.WINDOW_OVERRUN
    take(receiver, segment(64))
    take(receiver, segment(1))
    assert refusal(receiver, segment(65)) is FrameCause.WINDOW_OVERRUN, "1 is withheld"
    receiver.consume(1)
    take(receiver, segment(65))


def test_a_seq_far_ahead_costs_nothing() -> None:
    assert refusal(make(), segment(MAX_SEQ)) is FrameCause.WINDOW_OVERRUN


def test_window_in_bytes() -> None:
    receiver = make()
    take(receiver, segment(1, b"m" * 100), segment(2, b"m" * 100))
    assert refusal(receiver, segment(3)) is FrameCause.WINDOW_OVERRUN
    assert refusal(receiver, segment(4)) is FrameCause.WINDOW_OVERRUN
    receiver.consume(1)
    take(receiver, segment(4, b"m" * 100))
    assert refusal(receiver, segment(3)) is FrameCause.WINDOW_OVERRUN


def test_a_window_full_of_early_segments_does_not_shut_out_the_one_they_wait_for() -> None:
    # A peer whose send window is larger than our receive window may do this.
    receiver = make()
    take(receiver, *[segment(seq, b"m" * 100) for seq in (2, 3)])
    assert refusal(receiver, segment(4)) is FrameCause.WINDOW_OVERRUN
    assert len(take(receiver, segment(1, b"m" * 100))) == 3


@pytest.mark.parametrize("hold", [False, True])
def test_an_empty_window_takes_any_one_segment(hold: bool) -> None:
    config = RelayConfig(segment_size=10, max_message_size=100, receive_window_bytes=10)
    receiver = make(config)
    take(receiver, segment(2, b"m" * 100), hold=hold)
    assert refusal(receiver, segment(3), hold=hold) is FrameCause.WINDOW_OVERRUN


def test_held_bytes_are_those_not_consumed() -> None:
    budget = Budget(PLENTY)
    receiver = make(budget=budget)
    take(receiver, *cut(1, b"m" * 25)[:2], segment(5, b"12345"))
    assert receiver.held_bytes == budget.used == 25 + ONE, "one came ahead of its turn"
    take(receiver, cut(1, b"m" * 25)[2])
    assert receiver.held_bytes == budget.used == 30 + 2 * ONE, "one more was handed out"
    receiver.consume(1)
    assert receiver.held_bytes == budget.used == 5 + ONE


def test_a_stream_may_hold_as_much_as_is_still_free() -> None:
    budget = Budget(2 * (3 * ONE + 2 + 99))
    greedy, other = make(budget=budget), make(budget=budget)
    take(greedy, segment(1))
    assert refusal(greedy, segment(2, b"m" * 100)) is FrameCause.BUFFER_FULL
    take(other, segment(1, b"m" * 100))
    assert refusal(greedy, segment(2, b"m" * 99)) is FrameCause.BUFFER_FULL, "less is free now"
    other.consume(1)
    take(greedy, segment(2, b"m" * 99))
    assert budget.used == 100 + 2 * ONE


def test_slow_readers_never_take_all_of_the_budget() -> None:
    budget = Budget(100 * ONE)
    for _ in range(40):
        slow = make(budget=budget)
        seq = 2  # what is ahead of its turn waits as well
        while slow.take(segment(seq), []) is None:
            seq += 1
        assert budget.used <= budget.limit // 2
    assert take(make(budget=budget), segment(1)) == [b"m"]


def test_one_stream_at_a_time_may_overdraw_the_budget() -> None:
    budget = Budget(50)
    large, other = make(budget=budget), make(budget=budget)
    frames = cut(1, b"m" * 90)
    take(large, *frames[:4])
    assert refusal(other, segment(1)) is FrameCause.BUFFER_FULL, "it waits for the large message"
    assert refusal(large, frames[5]) is FrameCause.BUFFER_FULL, "only what is next in order"
    assert take(large, *frames[4:]) == [b"m" * 90]
    assert refusal(large, segment(10)) is FrameCause.BUFFER_FULL, "its application is behind"
    assert budget.used == 90 + ONE
    large.consume(1)
    assert take(other, *cut(1, b"m" * 30)) == [b"m" * 30]
    other.consume(1)
    assert (budget.used, budget.overdraft) == (0, 0)


@pytest.mark.parametrize(("repaid", "free"), [(4, False), (5, True), (6, True)])
def test_an_overdraft_is_over_once_all_is_given_back(repaid: int, free: bool) -> None:
    budget = Budget(PLENTY)
    debtor, other = make(budget=budget), make(budget=budget)
    assert budget.overdraw(debtor, 5)
    budget.repay(repaid)
    assert budget.overdraw(other, 5) is free


def test_what_is_overdrawn_takes_nothing_from_others() -> None:
    budget = Budget(ONE + 50)
    large, other = make(budget=budget), make(budget=budget)
    frames = cut(1, b"m" * 90)
    take(large, *frames[:-1])
    assert budget.overdraft > 0
    assert take(other, segment(1)) == [b"m"]
    large.discard()
    assert (budget.used, budget.overdraft) == (1 + ONE, 0)


@pytest.mark.parametrize("seed", range(30))
def test_the_budget_is_never_passed_by_more_than_one_message(seed: int) -> None:
    rng = random.Random(seed)
    budget = Budget(rng.choice([100, 1000, 3000]))
    receivers = [make(budget=budget) for _ in range(rng.choice([2, 8, 40]))]
    ahead = [cut_all([b"m" * rng.randint(1, 100)] * 30) for _ in receivers]
    for _ in range(2000):
        number = rng.randrange(len(receivers))
        receiver, frames = receivers[number], ahead[number]
        if rng.random() < 0.1 and receiver.unconsumed:
            receiver.consume(rng.randint(1, receiver.unconsumed))
        elif frames:
            position = rng.choice([0, 0, 0, rng.randrange(len(frames))])
            if receiver.take(frames[position], []) is None:
                del frames[position]
        assert budget.used <= budget.limit + CONFIG.max_message_size + ONE
    for receiver in receivers:
        receiver.discard()
    assert (budget.used, budget.overdraft) == (0, 0)


def test_a_message_in_tiny_segments_is_put_together() -> None:
    receiver = make()
    message = bytes(range(100))
    assert take(receiver, *cut(1, message, 1)) == [message]


def test_large_and_small_segments_are_put_together_in_order() -> None:
    config = RelayConfig()
    sizes = [10, 11, 5000, 12, 13, 6000, 14]
    parts = [bytes([i]) * size for i, size in enumerate(sizes)]
    frames = [segment(1 + i, part, index=i, count=len(parts)) for i, part in enumerate(parts)]
    assert take(make(config), *frames) == [b"".join(parts)]


def test_only_the_last_segment_may_be_larger_than_its_share() -> None:
    parts = [b"a" * 10, b"b" * 10, b"c" * 60]
    frames = [segment(1 + i, part, index=i, count=3) for i, part in enumerate(parts)]
    assert take(make(), *frames) == [b"".join(parts)]


def test_discard_returns_the_budget() -> None:
    budget = Budget(10_000)
    receiver = make(budget=budget)
    others = make(budget=budget)
    take(others, segment(1, b"m" * 7))
    take(receiver, segment(1), *cut(2, b"m" * 30)[:2], segment(9, b"early"))
    assert budget.used == 33 + 3 * ONE
    receiver.discard()
    assert (receiver.held_bytes, budget.used) == (0, 7 + ONE)
    receiver.discard()
    assert budget.used == 7 + ONE


# -- violations

MISMATCH = FrameCause.SEGMENT_MISMATCH
TOO_LARGE = FrameCause.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(
    "frames",
    [
        [segment(1, index=1, count=2)],
        [segment(1), segment(2, index=1, count=2)],
        [segment(1, count=2), segment(2, index=0, count=2)],
        [segment(1, count=2), segment(2)],
        [segment(1, count=3), segment(2, index=2, count=3)],
        [segment(1, count=3), segment(2, index=1, count=2)],
        [segment(2, index=2, count=3), segment(1, count=3)],
        [segment(1, count=2), segment(2, index=1, count=2), segment(3, index=2, count=3)],
    ],
    ids=lambda frames: " ".join(f"{frame.segment_index}/{frame.segment_count}" for frame in frames),
)
def test_a_segment_that_does_not_continue_its_message(frames: list[DataFrame]) -> None:
    assert violation(make(), *frames) is MISMATCH


@pytest.mark.parametrize(
    ("frames", "cause"),
    [
        ([segment(1, b"m" * 100)], None),
        ([segment(1, b"m" * 101)], TOO_LARGE),
        ([segment(1, count=100)], None),
        ([segment(1, count=101)], TOO_LARGE),
        ([segment(1, b"m" * 10, count=10)], None),
        ([segment(1, b"m" * 10, count=11)], TOO_LARGE),  # at least 101 bytes
        ([segment(1, b"m" * 99, count=2)], None),
        ([segment(1, b"m" * 99, count=2), segment(2, b"m", index=1, count=2)], None),
        ([segment(1, b"m" * 99, count=2), segment(2, b"mm", index=1, count=2)], TOO_LARGE),
        ([segment(1, b"m" * 100, count=2)], TOO_LARGE),
        # The last one may be of any size, the others are of one size.
        ([segment(2, b"m" * 40, index=1, count=2)], None),
        ([segment(2, b"m" * 60, index=1, count=3)], TOO_LARGE),
        ([segment(1, b"m", count=3), segment(2, b"m" * 50, index=1, count=3)], TOO_LARGE),
        ([segment(1, count=2**32 - 1)], TOO_LARGE),
    ],
)
def test_a_message_that_is_or_would_be_too_large(
    frames: list[DataFrame], cause: FrameCause | None
) -> None:
    receiver = make()
    if cause is None:
        take(receiver, *frames)
    else:
        assert violation(receiver, *frames) is cause


def test_a_segment_that_broke_a_rule_is_not_reported() -> None:
    bad = segment(2, index=1, count=2)
    receiver = make()
    take(receiver, bad)
    assert receiver.take(segment(1), []) is MISMATCH
    assert receiver.ack_bits() == 0b1
    receiver = make()
    take(receiver, segment(1), bad, hold=True)
    assert receiver.release([]) is MISMATCH
    assert receiver.ack_bits() == 0b1
    receiver = make()
    take(receiver, bad._replace(seq=1), hold=True)
    assert receiver.release([]) is MISMATCH
    assert receiver.ack_bits() == 0


def test_messages_before_a_violation_are_delivered() -> None:
    receiver = make()
    take(receiver, segment(2, b"b"), segment(3, index=1, count=2))
    ready: list[bytes] = []
    assert receiver.take(segment(1, b"a"), ready) is MISMATCH
    assert ready == [b"a", b"b"]
    receiver.discard()
    assert receiver.held_bytes == 0


# -- before the stream is confirmed


def test_what_is_held_is_delivered_at_the_release() -> None:
    receiver = make()
    frames = cut_all([b"a" * 15, b"b", b"c" * 15])
    take(receiver, *frames[:4], hold=True)
    assert (receiver.ack, receiver.ack_bits(), receiver.unconsumed) == (0, 0b1111, 0)
    assert refusal(receiver, frames[0], hold=True) is FrameCause.DUPLICATE
    assert receiver.held_bytes == 26 + 4 * ONE
    ready: list[bytes] = []
    assert receiver.release(ready) is None
    assert ready == [b"a" * 15, b"b"]
    assert receiver.unconsumed == 2
    assert take(receiver, frames[4]) == [b"c" * 15]
    assert receiver.consume(3) == (5 - 1, 5 + 1 + 15)


def test_a_release_without_the_first_segment_delivers_nothing() -> None:
    receiver = make()
    take(receiver, segment(2, b"b"), hold=True)
    ready: list[bytes] = []
    assert receiver.release(ready) is None
    assert ready == []
    assert take(receiver, segment(1, b"a")) == [b"a", b"b"]


def test_a_release_finds_violations() -> None:
    receiver = make()
    take(receiver, segment(1, b"a"), segment(2, index=1, count=2), hold=True)
    ready: list[bytes] = []
    assert receiver.release(ready) is MISMATCH
    assert ready == [b"a"]


def test_holding_is_bounded_by_the_window_and_the_budget() -> None:
    receiver = make(budget=Budget(2 * (30 + 3 * ONE)))
    assert refusal(receiver, segment(65), hold=True) is FrameCause.WINDOW_OVERRUN
    take(receiver, segment(2, b"m" * 10), hold=True)
    assert refusal(receiver, segment(1, b"m" * 11), hold=True) is FrameCause.BUFFER_FULL


def test_what_is_held_counts_in_a_budget_of_its_own_until_it_is_released() -> None:
    unconfirmed = Budget(2 * ONE + 20)
    one, other = make(unconfirmed=unconfirmed), make(unconfirmed=unconfirmed)
    take(one, segment(1, b"a" * 10), hold=True)
    assert refusal(one, segment(1, b"a"), hold=True) is FrameCause.DUPLICATE
    assert refusal(other, segment(1, b"b" * 11), hold=True) is FrameCause.BUFFER_FULL
    take(other, segment(1, b"b" * 10), hold=True)
    assert unconfirmed.used == 2 * ONE + 20
    assert one.release([]) is None
    assert unconfirmed.used == ONE + 10
    take(one, segment(2, b"a" * 10))
    assert unconfirmed.used == ONE + 10
    other.discard()
    one.discard()
    assert unconfirmed.used == 0


# -- basic profile


def make_basic(budget: int = PLENTY) -> Receiver:
    receiver = make(budget=Budget(budget))
    receiver.next_seq = 0
    return receiver


def basic(receiver: Receiver, *frames: DataFrame, any_first: bool = False) -> list[object]:
    return [receiver.take_basic(frame, any_first=any_first) for frame in frames]


def test_basic_in_order() -> None:
    receiver = make_basic()
    assert basic(receiver, segment(0), segment(1), segment(2)) == [None] * 3
    assert (receiver.unconsumed, receiver.held_bytes) == (3, 3 + 3 * ONE)
    receiver.consume(3)
    assert (receiver.unconsumed, receiver.held_bytes) == (0, 0)


@pytest.mark.parametrize("any_first", [False, True])
def test_basic_repetition_and_gap(any_first: bool) -> None:
    receiver = make_basic()
    causes = basic(receiver, *map(segment, (0, 0, 1, 0, 1, 3)), any_first=any_first)
    dup = FrameCause.DUPLICATE
    assert causes == [None, dup, None, dup, dup, FrameCause.SEQUENCE_GAP]


def test_basic_starts_at_0_unless_any_start_will_do() -> None:
    assert basic(make_basic(), segment(1)) == [FrameCause.SEQUENCE_GAP]
    receiver = make_basic()
    causes = basic(receiver, *map(segment, (7, 8, 7, 10)), any_first=True)
    assert causes == [None, None, FrameCause.DUPLICATE, FrameCause.SEQUENCE_GAP]


def test_basic_up_to_the_last_number() -> None:
    receiver = make_basic()
    assert basic(receiver, segment(MAX_SEQ), segment(MAX_SEQ), any_first=True) == [
        None,
        FrameCause.DUPLICATE,
    ]


@pytest.mark.parametrize(("index", "count"), [(0, 2), (1, 2)])
def test_basic_is_never_segmented(index: int, count: int) -> None:
    receiver = make_basic()
    frame = segment(0, index=index, count=count)
    assert basic(receiver, frame) == [FrameCause.SEGMENTED_ON_BASIC]
    assert basic(receiver, segment(0)) == [None]


def test_basic_bounds() -> None:
    receiver = make_basic()
    assert basic(receiver, segment(0, b"m" * 101)) == [FrameCause.MESSAGE_TOO_LARGE]
    frames = [segment(seq, b"m" * 100) for seq in range(3)]
    assert basic(receiver, *frames) == [None, None, FrameCause.BUFFER_FULL]
    receiver.consume(1)
    assert basic(receiver, frames[2]) == [None]


def test_the_basic_buffer_can_be_filled_exactly() -> None:
    receiver = make(replace(CONFIG, basic_buffer_size=2 * (ONE + 10)))
    receiver.next_seq = 0
    frames = [segment(seq, b"m" * 10) for seq in range(3)]
    assert basic(receiver, *frames) == [None, None, FrameCause.BUFFER_FULL]


def test_basic_budget() -> None:
    receiver = make_basic(budget=10)
    causes = basic(receiver, segment(0, b"m" * 100), segment(1, b"m"))
    assert causes == [None, FrameCause.BUFFER_FULL], "an empty stream takes any one message"
    receiver.discard()
    assert receiver.held_bytes == 0


# -- against a naive model


def test_basic_messages_share_all_of_the_budget() -> None:
    receiver = make_basic(budget=2 * (ONE + 10))
    assert basic(receiver, segment(0, bytes(10))) == [None]
    # A stream may hold as much as is still free: with what it holds that is half of all.
    assert basic(receiver, segment(1, b"m")) == [FrameCause.BUFFER_FULL]
    roomy = make_basic(budget=3 * (ONE + 10))
    assert basic(roomy, segment(0, bytes(10)), segment(1, bytes(10))) == [None] * 2


def test_a_basic_message_that_overdraws_leaves_a_debtor() -> None:
    receiver = make_basic(budget=1)
    assert basic(receiver, segment(0, bytes(10))) == [None]
    assert receiver._budget.debtor is receiver
    receiver.consume(1)
    assert receiver._budget.debtor is None


class Model:
    """The same rules with no cleverness: sets and lists, searched from the start each time."""

    def __init__(self, config: RelayConfig, messages: list[bytes]) -> None:
        self.config = config
        self.frames = {frame.seq: frame for frame in cut_all(messages)}
        ends = [s for s, f in self.frames.items() if f.segment_index + 1 == f.segment_count]
        self.ends = [0, *ends]  # the last seq of each message, and of none
        self.got: set[int] = set()
        self.ack = 0
        self.delivered = 0
        self.consumed = 0
        self.overdraft = 0

    @property
    def next_seq(self) -> int:
        return next(seq for seq in range(1, len(self.frames) + 2) if seq not in self.got)

    def size(self, seqs: set[int]) -> int:
        return sum(len(self.frames[seq].payload) for seq in seqs)

    def held(self) -> int:
        kept = {seq for seq in self.got if seq > self.ends[self.consumed]}
        whole = self.delivered - self.consumed
        return self.size(kept) + ONE * (whole + sum(seq > self.next_seq for seq in kept))

    def refuses(self, seq: int, budget: int) -> FrameCause | None:
        if seq in self.got:
            return FrameCause.DUPLICATE
        if seq - self.ack > self.config.receive_window_segments:
            return FrameCause.WINDOW_OVERRUN
        if seq == self.next_seq and self.delivered == self.consumed:
            return None
        size = len(self.frames[seq].payload)
        window = self.size({seq for seq in self.got if seq > self.ack})
        if window and window + size > self.config.receive_window_bytes:
            return FrameCause.WINDOW_OVERRUN
        if 2 * self.held() + size + ONE > budget // 2 + self.overdraft:
            return FrameCause.BUFFER_FULL
        return None

    def take(self, seq: int, budget: int) -> int:
        """Returns how many messages are delivered by it."""
        before, first = self.delivered, self.next_seq
        size = len(self.frames[seq].payload)
        if 2 * self.held() + size + ONE > budget + self.overdraft:
            self.overdraft += size
        self.got.add(seq)
        early = max(0, self.next_seq - first - 1)
        self.overdraft = max(0, self.overdraft - ONE * early)
        for now in range(first, self.next_seq):
            if now in self.ends:
                self.delivered += 1
            elif self.delivered == self.consumed:
                self.ack = now
        return self.delivered - before

    def consume(self, messages: int) -> int:
        """Returns how far the ack moves."""
        before = self.ack
        held = self.held()
        self.consumed += messages
        self.overdraft = max(0, self.overdraft - (held - self.held()))
        self.ack = max(self.ack, self.ends[self.consumed])
        if self.consumed == self.delivered:
            self.ack = self.next_seq - 1
        return self.ack - before

    def bits(self) -> int:
        return sum(1 << i for i in range(ACK_BITS) if self.ack + 1 + i in self.got)


@pytest.mark.parametrize("seed", range(20))
def test_against_the_model(seed: int) -> None:
    rng = random.Random(seed)
    config = RelayConfig(
        segment_size=10,
        max_message_size=90,
        receive_window_segments=rng.choice([3, 40]),
        receive_window_bytes=rng.choice([30, 300]),
        receive_buffer_size=100,
    )
    messages = [rng.randbytes(rng.choice([1, 5, 10, 11, 25, 90])) for _ in range(25)]
    budget = Budget(rng.choice([100, 2000, 10_000]))
    receiver, model = make(config, budget=budget), Model(config, messages)
    delivered: list[bytes] = []
    acks = [0]
    reach = rng.choice([4, 50])
    slow = rng.random()
    while model.consumed < len(messages):
        if rng.random() < 0.2 and model.delivered > model.consumed:
            count = rng.randint(1, model.delivered - model.consumed)
            moved, size = receiver.consume(count)
            before = model.ack
            assert moved == model.consume(count)
            assert size == model.size(set(range(before + 1, model.ack + 1)))
        elif model.delivered == model.consumed or rng.random() < slow:
            seq = rng.randint(max(1, model.ack - 2), min(len(model.frames), model.ack + reach))
            expected = model.refuses(seq, budget.limit)
            ready: list[bytes] = []
            assert receiver.take(model.frames[seq], ready) is expected
            if expected is None:
                assert len(ready) == model.take(seq, budget.limit)
            delivered += ready
        assert receiver.ack == model.ack
        assert receiver.ack_bits() == model.bits()
        assert receiver.next_seq == model.next_seq
        assert receiver.unconsumed == model.delivered - model.consumed
        assert receiver.held_bytes == budget.used == model.held()
        assert receiver.has_gap is any(seq > model.next_seq for seq in model.got)
        acks.append(receiver.ack)
    assert delivered == messages
    assert all(a <= b for a, b in pairwise(acks))
    assert receiver.ack == len(model.frames)
    assert budget.used == 0
