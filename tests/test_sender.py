"""The sending end of one direction: segments, window, scoreboard, loss, outcomes."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from sansrelay.config import MAX_SEQ, RelayConfig
from sansrelay.events import RetransmitCause
from sansrelay.sender import Segment, Sender

CONFIG = RelayConfig(
    segment_size=10,
    max_message_size=500,
    send_window_bytes=1000,
    send_buffer_size=800,
    send_buffer_messages=100,
)
WINDOW = 256


def make(config: RelayConfig = CONFIG) -> Sender:
    return Sender(config)


def send(
    sender: Sender, now: float = 0.0, *, window: int = WINDOW, segmented: bool = True
) -> list[Segment]:
    """Send all that may go out now, as a stream does."""
    out = []
    while size := sender.next_size(window, segmented=segmented):
        segment = sender.take(now, segmented=segmented)
        assert len(segment.payload) == size
        segment.lost = None
        out.append(segment)
    return out


def in_flight(messages: int, config: RelayConfig = CONFIG) -> Sender:
    """A sender with that many messages of one byte sent, seq 1 to `messages`."""
    sender = make(config)
    for _ in range(messages):
        sender.queue(b"m")
    assert seqs(send(sender)) == list(range(1, messages + 1))
    return sender


def seqs(segments: Iterable[Segment]) -> list[int]:
    return [segment.seq for segment in segments]


def bits(*offsets: int) -> int:
    return sum(1 << offset for offset in offsets)


# -- segmentation


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (20, [10, 10]), (35, [10, 10, 10, 5])],
)
def test_segments_of_a_message(size: int, expected: list[int]) -> None:
    sender = make()
    message = bytes(range(size))
    sender.queue(message)
    segments = send(sender)
    assert [len(segment.payload) for segment in segments] == expected
    assert [segment.index for segment in segments] == list(range(len(expected)))
    assert {segment.count for segment in segments} == {len(expected)}
    assert seqs(segments) == list(range(1, len(expected) + 1))
    assert b"".join(segment.payload for segment in segments) == message
    assert sender.segments_for(size) == len(expected)


def test_unsegmented_towards_a_peer_that_is_not_known() -> None:
    sender = make()
    sender.queue(b"m" * 35)
    (segment,) = send(sender, segmented=False)
    assert (segment.index, segment.count, len(segment.payload)) == (0, 1, 35)


def test_a_message_is_not_cut_in_two_ways() -> None:
    sender = make()
    sender.queue(b"m" * 35)
    first = send(sender, window=1)
    assert sender.acknowledge(1, 0)[0] == 1
    rest = send(sender, segmented=False)
    assert [(s.index, s.count) for s in first + rest] == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_messages_go_out_in_order_and_are_counted_from_1() -> None:
    sender = make()
    assert [sender.queue(data) for data in (b"a" * 15, b"b", b"c" * 20)] == [1, 2, 3]
    assert [(s.seq, s.message_id) for s in send(sender)] == [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3)]


# -- windows


@pytest.mark.parametrize("window", [1, 2, 32])
def test_window_in_segments(window: int) -> None:
    sender = make()
    for _ in range(50):
        sender.queue(b"m")
    assert len(send(sender, window=window)) == window
    sender.acknowledge(1, 0)
    assert len(send(sender, window=window)) == 1


def test_a_bit_does_not_open_the_window() -> None:
    sender = make()
    for _ in range(5):
        sender.queue(b"m")
    send(sender, window=3)
    sender.acknowledge(0, bits(0, 1, 2))
    assert send(sender, window=3) == []


def test_window_in_bytes() -> None:
    sender = make(RelayConfig(segment_size=10, max_message_size=500, send_window_bytes=25))
    sender.queue(b"m" * 100)
    assert [len(segment.payload) for segment in send(sender)] == [10, 10]
    sender.acknowledge(1, 0)
    assert len(send(sender)) == 1
    sender.queue(b"")  # never asked for by a connection, and no reason to stall
    assert sender.in_flight == 20


def test_the_window_in_bytes_can_be_filled_exactly() -> None:
    sender = make(RelayConfig(segment_size=10, max_message_size=500, send_window_bytes=20))
    sender.queue(b"m" * 100)
    assert len(send(sender)) == 2


@pytest.mark.parametrize("segmented", [True, False])
def test_one_segment_may_always_be_under_way(segmented: bool) -> None:
    sender = make(RelayConfig(segment_size=300, max_message_size=500, send_window_bytes=5))
    sender.queue(b"m" * 400)
    (first,) = send(sender, segmented=segmented)
    assert len(first.payload) > 5
    sender.queue(b"m")
    assert send(sender, segmented=segmented) == []
    sender.acknowledge(1, 0)
    assert len(send(sender, segmented=segmented)) == 1


def test_a_lost_segment_needs_no_room_in_the_window() -> None:
    sender = in_flight(5)
    sender.queue(b"new")
    sender.acknowledge(0, bits(1, 2, 3))
    assert sender.detect_loss()
    assert seqs(send(sender, window=5)) == [1]


# -- what the application may hand over


def test_an_empty_buffer_takes_any_one_message() -> None:
    sender = make(RelayConfig(max_message_size=500, segment_size=10, send_buffer_size=100))
    assert sender.capacity() == 500
    sender.queue(b"m" * 500)
    assert sender.capacity() == 0


def test_capacity_in_bytes() -> None:
    sender = make()
    sender.queue(b"m" * 200)
    assert sender.capacity() == 500, "600 are left, but no message may be larger than 500"
    sender.queue(b"m" * 250)
    assert sender.capacity() == 350
    send(sender)
    assert sender.capacity() == 350, "what is under way is still held"
    sender.acknowledge(20, 0)
    assert sender.capacity() == 500
    sender.acknowledge(45, 0)
    assert sender.buffered == 0
    assert sender.capacity() == 500


def test_capacity_in_messages() -> None:
    sender = make(RelayConfig(send_buffer_messages=3))
    for _ in range(3):
        assert sender.capacity() > 0
        sender.queue(b"m")
    assert sender.capacity() == 0
    send(sender)
    sender.acknowledge(1, 0)
    assert sender.capacity() > 0


def test_messages_that_were_sent_count_until_they_are_acknowledged() -> None:
    sender = in_flight(2, replace(CONFIG, send_buffer_messages=2))
    assert sender.capacity() == 0
    sender.acknowledge(1, 0)
    assert sender.capacity() > 0


def test_messages_handed_to_a_basic_peer_take_no_room() -> None:
    sender = make(RelayConfig(send_buffer_messages=3))
    sender.becomes_basic()
    for _ in range(10):
        sender.queue(b"m")
        sender.queue(b"m")
        assert sender.capacity() > 0
        sender.take_basic()
        sender.take_basic()
    for _ in range(3):
        assert sender.capacity() > 0
        sender.queue(b"m")
    assert sender.capacity() == 0


def test_idle() -> None:
    sender = make()
    assert sender.idle
    sender.queue(b"m" * 15)
    assert not sender.idle
    send(sender, window=1)
    assert sender.has_unacked
    sender.acknowledge(1, 0)
    assert not sender.has_unacked
    assert not sender.idle, "half of the message is still to be cut"
    send(sender)
    sender.acknowledge(1, bits(0))
    assert not sender.idle, "a bit is no acknowledgement"
    sender.acknowledge(2, 0)
    assert sender.idle


# -- acks


@pytest.mark.parametrize(
    ("ack", "report", "valid"),
    [
        (0, 0, True),
        (4, 0, True),
        (5, 0, True),
        (6, 0, False),
        (MAX_SEQ, 0, False),
        (5, 1, False),
        (4, bits(0), True),
        (4, bits(1), False),
        (0, bits(4), True),
        (0, bits(5), False),
        (0, bits(31), False),
        (3, 0xFFFF_FFFF, False),
    ],
)
def test_a_report_may_speak_of_what_was_sent_only(ack: int, report: int, valid: bool) -> None:
    assert in_flight(5).valid(ack, report) is valid


def test_before_anything_was_sent_only_the_empty_report_is_valid() -> None:
    sender = make()
    sender.queue(b"m")
    assert sender.valid(0, 0)
    assert not sender.valid(0, 1)
    assert not sender.valid(1, 0)


def test_a_cumulative_ack_covers_all_below() -> None:
    sender = make()
    for size in (15, 5, 25):
        sender.queue(b"m" * size)
    send(sender)
    covered, _ = sender.acknowledge(2, 0)
    assert (covered, sender.una, sender.acked_message) == (2, 3, 1)
    assert (sender.buffered, sender.in_flight) == (30, 30)
    covered, _ = sender.acknowledge(5, 0)
    assert (covered, sender.acked_message) == (3, 2), "the third message is covered in part"
    covered, _ = sender.acknowledge(6, 0)
    assert (covered, sender.acked_message, sender.buffered) == (1, 3, 0)


def test_a_stale_ack_is_ignored() -> None:
    sender = in_flight(5)
    sender.acknowledge(3, bits(1))
    for afresh in (False, True):
        assert sender.acknowledge(2, bits(0, 1, 2), afresh=afresh) == (0, None)
    assert (sender.una, sender.in_flight) == (4, 2)
    assert not sender.all_reported()
    assert sender.acknowledge(3, bits(1)) == (0, None)


def test_bits_count_from_the_ack_they_came_with() -> None:
    sender = in_flight(10)
    sender.acknowledge(0, bits(2, 3, 4))  # 3, 4, 5
    sender.acknowledge(3, bits(3))  # 4 and 5 stay, 7 is new
    sender.missing_since(sender.transmissions)
    assert seqs(send(sender)) == [6, 8, 9, 10]


def test_a_report_afresh_replaces_the_scoreboard() -> None:
    sender = in_flight(6)
    sender.acknowledge(0, bits(1, 2, 3))
    sender.acknowledge(1, bits(1), afresh=True)  # 3 alone
    sender.missing_since(sender.transmissions)
    assert seqs(send(sender)) == [2, 4, 5, 6]


def test_a_late_report_cancels_a_retransmission() -> None:
    sender = in_flight(8)
    sender.acknowledge(0, bits(2, 3, 4))
    assert sender.detect_loss()  # 1 and 2
    sender.acknowledge(0, bits(0))
    assert seqs(send(sender)) == [2]
    sender = in_flight(8)
    sender.acknowledge(0, bits(2, 3, 4))
    assert sender.detect_loss()
    sender.acknowledge(5, 0)
    assert send(sender) == []


# -- round trips (Karn)


def test_the_last_newly_reported_segment_is_measured() -> None:
    sender = in_flight(5)
    _, fresh = sender.acknowledge(2, bits(1))
    assert fresh is not None
    assert fresh.seq == 4
    _, fresh = sender.acknowledge(3, bits(0))
    assert fresh is not None
    assert fresh.seq == 3


def test_a_segment_is_measured_at_its_first_report_only() -> None:
    sender = in_flight(3)
    assert sender.acknowledge(0, bits(0, 1, 2))[1] is not None
    assert sender.acknowledge(0, bits(0, 1, 2)) == (0, None)
    assert sender.acknowledge(3, 0) == (3, None)


def test_a_report_that_was_taken_back_is_no_second_measurement() -> None:
    sender = in_flight(6)
    sender.acknowledge(0, bits(3))
    sender.acknowledge(0, 0, afresh=True)  # a resume that was overtaken
    for report in (bits(3), bits(3)):
        assert sender.acknowledge(0, report) == (0, None)
    sender.acknowledge(0, 0, afresh=True)
    sender.acknowledge(0, bits(3))
    assert not sender.detect_loss(), "one segment that was reported three times is not three"


def test_a_repeated_segment_is_not_measured() -> None:
    sender = in_flight(5)
    sender.acknowledge(0, bits(1, 2, 3))
    sender.detect_loss()
    (again,) = send(sender, 1.0)
    assert (again.attempts, again.sent_at) == (2, 1.0)
    assert sender.acknowledge(1, bits(0, 1, 2)) == (1, None)


# -- loss by later acks


@pytest.mark.parametrize("threshold", [1, 3, 5, 31])
def test_lost_once_enough_later_ones_were_reported(threshold: int) -> None:
    sender = in_flight(40, RelayConfig(reorder_threshold=threshold))
    for later in range(1, threshold):
        sender.acknowledge(0, bits(later))
        assert not sender.detect_loss()
    sender.acknowledge(0, bits(threshold))
    assert sender.detect_loss()
    assert not sender.detect_loss(), "nothing new"
    assert seqs(send(sender)) == [1]


def test_without_any_report_nothing_is_lost() -> None:
    assert not in_flight(40).detect_loss()


def test_a_threshold_of_two_waits_for_two() -> None:
    sender = in_flight(5, replace(CONFIG, reorder_threshold=2))
    sender.acknowledge(0, bits(4))
    assert not sender.detect_loss()
    sender.acknowledge(0, bits(2, 4))
    assert sender.detect_loss()
    assert seqs(send(sender)) == [1, 2]


def test_later_ones_that_were_acknowledged_count_too() -> None:
    sender = in_flight(40)
    sender.acknowledge(0, bits(1, 2))
    sender.acknowledge(3, 0)  # 1 came late, 2 and 3 had been reported
    sender.acknowledge(3, bits(1))
    assert not sender.detect_loss(), "4 lies before 5 alone"
    sender.acknowledge(3, bits(1, 2, 3))
    assert sender.detect_loss()
    assert seqs(send(sender)) == [4]


def test_earlier_ones_show_nothing() -> None:
    sender = in_flight(10)
    sender.acknowledge(5, bits(0, 1, 2))
    assert not sender.detect_loss()


def test_a_repetition_is_lost_once_enough_were_sent_after_it() -> None:
    sender = in_flight(6)
    sender.acknowledge(0, bits(1, 2, 3))
    sender.detect_loss()
    assert seqs(send(sender)) == [1]  # after 5 and 6
    sender.acknowledge(0, bits(4, 5))
    assert not sender.detect_loss()
    for _ in range(3):
        sender.queue(b"m")
    assert seqs(send(sender)) == [7, 8, 9]
    sender.acknowledge(0, bits(6, 7))
    assert not sender.detect_loss()
    sender.acknowledge(0, bits(8))
    assert sender.detect_loss()
    (again,) = send(sender)
    assert (again.seq, again.attempts) == (1, 3)


def test_retransmissions_go_first_and_lowest_first() -> None:
    sender = in_flight(20)
    sender.queue(b"new")
    sender.acknowledge(0, bits(9, 10, 11))
    sender.detect_loss()
    sender.acknowledge(0, bits(5, 6, 7))  # no longer lost
    assert seqs(send(sender)) == [1, 2, 3, 4, 5, 9, 21]


def test_a_low_one_that_is_lost_late_overtakes() -> None:
    sender = in_flight(12)
    sender.acknowledge(0, bits(1, 2, 3))
    sender.detect_loss()
    assert seqs(send(sender)) == [1]
    for _ in range(3):
        sender.queue(b"m")
    assert seqs(send(sender)) == [13, 14, 15]
    sender.acknowledge(0, bits(6, 7, 8))
    assert sender.detect_loss()  # 5 and 6, sent before 7, 8 and 9
    sender.acknowledge(0, bits(12, 13, 14))
    assert sender.detect_loss()  # 1 again, and 10 to 12
    assert seqs(send(sender)) == [1, 5, 6, 10, 11, 12]


def test_loss_says_its_cause() -> None:
    sender = in_flight(6)
    sender.acknowledge(0, bits(1, 2, 3))
    sender.detect_loss()
    assert sender.next_size(WINDOW, segmented=True)
    assert sender.take(1.0, segmented=True).lost is RetransmitCause.GAP
    sender.missing_since(sender.transmissions)
    assert sender.next_size(WINDOW, segmented=True)
    assert sender.take(1.0, segmented=True).lost is RetransmitCause.RESUME


def test_later_acks_say_nothing_of_what_lies_beyond_the_report() -> None:
    sender = in_flight(60)
    sender.acknowledge(0, bits(*range(1, 32)))
    assert sender.detect_loss()
    assert seqs(send(sender)) == [1]
    sender.acknowledge(0, bits(0))
    assert not sender.detect_loss(), "33 to 60 are not spoken of"
    sender.acknowledge(40, bits(2, 3, 4))
    assert sender.detect_loss()
    assert seqs(send(sender)) == [41, 42]


# -- loss by an answer


def test_what_was_sent_before_the_question_and_is_not_reported_is_missing() -> None:
    sender = in_flight(6)
    asked = sender.transmissions
    for _ in range(3):
        sender.queue(b"m")
    assert seqs(send(sender)) == [7, 8, 9]
    sender.acknowledge(1, bits(1, 5), afresh=True)  # 3 and 7
    assert sender.missing_since(asked)
    assert not sender.missing_since(asked)
    assert seqs(send(sender)) == [2, 4, 5, 6]


def test_what_was_repeated_after_the_question_is_not_missing() -> None:
    sender = in_flight(6)
    asked = sender.transmissions
    sender.acknowledge(0, bits(1, 2, 3))
    sender.detect_loss()
    assert seqs(send(sender)) == [1]
    sender.acknowledge(0, bits(1, 2, 3), afresh=True)
    assert sender.missing_since(asked)
    assert seqs(send(sender)) == [5, 6]


def test_nothing_is_missing_when_all_was_reported() -> None:
    sender = in_flight(6)
    sender.acknowledge(2, 0b1111, afresh=True)
    assert not sender.missing_since(sender.transmissions)


def test_the_latest_transmission_may_have_been_long_ago_too() -> None:
    sender = in_flight(2)
    assert sender.missing_before(1.0)
    assert seqs(send(sender)) == [1, 2]


def test_an_answer_that_was_not_asked_for_shows_what_was_sent_long_ago() -> None:
    sender = make()
    for now in range(6):
        sender.queue(b"m")
        send(sender, float(now))
    sender.acknowledge(0, bits(1), afresh=True)
    assert not sender.missing_before(-0.5)
    assert sender.missing_before(3.0)
    assert seqs(send(sender, 9.0)) == [1, 3, 4]
    assert sender.missing_before(4.5)
    assert seqs(send(sender, 9.0)) == [5]


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        ((), range(1, 61)),
        (range(29), range(30, 61)),  # the end of the report is missing: so is what follows
        (range(30), [31, 32]),
        ((28,), [*range(1, 29), *range(30, 61)]),
        ((29,), [*range(1, 30), 31, 32]),
        ((31,), range(1, 32)),
        (range(32), []),
    ],
    ids=repr,
)
def test_beyond_the_report_only_a_missing_end_shows_anything(
    held: Iterable[int], missing: Iterable[int]
) -> None:
    sender = in_flight(60)
    sender.acknowledge(0, bits(*held), afresh=True)
    assert sender.missing_since(sender.transmissions) is bool(list(missing))
    assert seqs(send(sender)) == list(missing)


@pytest.mark.parametrize(
    ("sent", "ack", "report", "expected"),
    [
        (5, 0, 0, False),
        (5, 0, bits(0, 1, 2, 3), False),
        (5, 0, bits(0, 1, 2, 3, 4), True),
        (5, 2, bits(0, 1, 2), True),
        (5, 2, bits(1, 2), False),
        (5, 5, 0, True),
        (60, 0, 0xFFFF_FFFF, True),
        (60, 0, 0x7FFF_FFFF, False),
        (60, 28, 0xFFFF_FFFF, True),
    ],
)
def test_all_reported(sent: int, ack: int, report: int, expected: bool) -> None:
    sender = in_flight(sent)
    sender.acknowledge(ack, report)
    assert sender.all_reported() is expected


# -- basic profile


def test_what_was_sent_to_a_peer_that_proves_basic_is_out_of_our_hands() -> None:
    sender = make()
    for size in (30, 20, 10):
        sender.queue(b"m" * size)
    assert seqs(send(sender, window=2, segmented=False)) == [1, 2]
    sender.becomes_basic()
    assert (sender.in_flight, sender.buffered, sender.has_unacked) == (0, 10, False)
    assert sender.take_basic() == (3, b"m" * 10)
    assert sender.buffered == 0
    assert sender.idle
    assert sender.outcomes() == (range(1, 4), range(4, 4))


def test_a_basic_peer_that_got_nothing_yet_is_sent_seq_0_first() -> None:
    sender = make()
    sender.queue(b"m" * 35)
    sender.becomes_basic()
    assert sender.take_basic() == (0, b"m" * 35)
    sender.queue(b"n")
    assert sender.take_basic() == (1, b"n")
    assert sender.reserved == 0


def test_a_basic_peers_messages_are_numbered_one_by_one() -> None:
    sender = make()
    sender.becomes_basic()
    for _ in range(4):
        sender.queue(b"m")
    assert [sender.take_basic()[0] for _ in range(4)] == [0, 1, 2, 3]


def test_a_stream_that_is_basic_from_the_start() -> None:
    sender = Sender(CONFIG, first_seq=0)
    sender.queue(b"m")
    assert sender.next_size(32, segmented=False) == 1
    assert sender.take_basic() == (0, b"m")
    assert sender.next_size(32, segmented=False) == 0


# -- the end


def outcome_lists(sender: Sender) -> tuple[list[int], list[int]]:
    unknown, never_sent = sender.outcomes()
    return list(unknown), list(never_sent)


def test_outcomes() -> None:
    sender = make()
    assert outcome_lists(sender) == ([], [])
    for _ in range(4):
        sender.queue(b"m" * 25)
    assert outcome_lists(sender) == ([], [1, 2, 3, 4])
    send(sender, window=5)
    assert outcome_lists(sender) == ([1, 2], [3, 4]), "a message sent in part is unknown"
    sender.acknowledge(3, bits(0, 1))
    assert outcome_lists(sender) == ([2], [3, 4]), "bits prove nothing"
    send(sender, window=3)
    assert outcome_lists(sender) == ([2], [3, 4])
    send(sender, window=4)
    assert outcome_lists(sender) == ([2, 3], [4])
    sender.acknowledge(6, 0)
    assert outcome_lists(sender) == ([3], [4])
    send(sender)
    sender.acknowledge(12, 0)
    assert outcome_lists(sender) == ([], [])


# -- the last sequence numbers


def near_the_end(left: int) -> Sender:
    """A sender whose next seq is that far from the last one it may use, MAX_SEQ - 1."""
    sender = make()
    sender.next_seq = sender.una = MAX_SEQ - left
    return sender


@pytest.mark.parametrize("left", [0, 1, 3, 4])
def test_room_in_sequence(left: int) -> None:
    sender = near_the_end(left)
    assert sender.room_in_sequence(10 * left) is True
    assert sender.room_in_sequence(10 * left + 1) is False


def test_room_in_sequence_counts_what_is_queued() -> None:
    sender = near_the_end(5)
    sender.queue(b"m" * 25)
    assert sender.room_in_sequence(20)
    assert not sender.room_in_sequence(21)
    send(sender, window=1)
    assert sender.room_in_sequence(20)
    assert not sender.room_in_sequence(21)


def test_a_message_sent_whole_gives_its_numbers_back() -> None:
    sender = near_the_end(5)
    sender.queue(b"m" * 25)
    send(sender, segmented=False)
    assert sender.reserved == 0
    assert sender.room_in_sequence(40)
    assert not sender.room_in_sequence(41)


def test_the_last_numbers_are_used_reported_and_acknowledged() -> None:
    sender = near_the_end(5)
    sender.queue(b"m" * 50)
    assert seqs(send(sender)) == list(range(MAX_SEQ - 5, MAX_SEQ))
    assert sender.next_seq == MAX_SEQ
    assert not sender.room_in_sequence(1)
    ack = MAX_SEQ - 6
    assert sender.valid(ack, 0b11111)
    assert not sender.valid(ack, bits(5))
    assert sender.valid(MAX_SEQ - 1, 0)
    assert not sender.valid(MAX_SEQ, 0)
    sender.acknowledge(ack, 0b11100)
    assert sender.detect_loss()
    assert seqs(send(sender)) == [MAX_SEQ - 5, MAX_SEQ - 4]
    assert sender.acknowledge(MAX_SEQ - 1, 0) == (5, None)
    assert sender.idle


def test_an_ended_stream_keeps_no_message() -> None:
    sender = Sender(RelayConfig())
    sender.queue(b"sent")
    sender.take(0.0, segmented=True)
    sender.queue(b"waiting")
    sender.discard()
    assert sender.idle
    assert not sender.has_unacked
    assert sender.next_size(32, segmented=True) == 0
