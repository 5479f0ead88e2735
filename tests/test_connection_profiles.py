"""What the peer can do, by evidence; and how the basic profile behaves."""

from collections.abc import Callable

import pytest

from sansrelay import (
    DataReceived,
    EndedBy,
    FrameCause,
    FrameRejected,
    LinkLost,
    LocalProtocolError,
    Outcome,
    Profile,
    ProfilePolicy,
    RelayConfig,
    ResetReason,
    Role,
    SendCapacityAvailable,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.config import SEGMENT_OVERHEAD
from sansrelay.frames import Frame
from wirekit import (
    OWN,
    PEER,
    SID,
    Wire,
    ack,
    basic_acceptor,
    basic_end,
    basic_opener,
    data,
    handshake,
    heartbeat,
    open_end,
    open_opener,
    opening,
    reset,
    resume,
    seqs,
    unconfirmed,
)

BASIC = RelayConfig(profile=ProfilePolicy.BASIC)
RELIABLE = RelayConfig(profile=ProfilePolicy.RELIABLE)


# -- the table of evidence


@pytest.mark.parametrize(
    ("frame", "profile"),
    [
        (resume(1, PEER, OWN), Profile.RELIABLE),
        (resume(1), Profile.RELIABLE),
        (resume(9, PEER, OWN), Profile.RELIABLE),
        (resume(9), Profile.RELIABLE),
        (resume(0), Profile.BASIC),
        (data(0), Profile.BASIC),
        (resume(0, ack=1), Profile.UNKNOWN),
        (resume(0, bits=1), Profile.UNKNOWN),
        (data(0, ack=1), Profile.UNKNOWN),
        (data(0, bits=1), Profile.UNKNOWN),
        (data(1), Profile.UNKNOWN),
        (ack(0), Profile.UNKNOWN),
        (ack(1), Profile.UNKNOWN),
        (heartbeat(), Profile.UNKNOWN),
    ],
)
def test_the_first_decisive_frame_shows_an_opener_its_peer(frame: Frame, profile: Profile) -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    wire.sent()
    wire.give(frame)
    assert wire.profile is profile
    opened = wire.events_of(StreamOpened)
    assert opened == (
        [] if profile is Profile.UNKNOWN else [StreamOpened(stream_id=SID, profile=profile)]
    )


@pytest.mark.parametrize(
    ("frame", "profile"),
    [
        (resume(1, PEER), Profile.RELIABLE),
        (resume(1), Profile.RELIABLE),
        (resume(0), Profile.BASIC),
        (data(0), Profile.BASIC),
        (data(1), None),
        (ack(0), None),
        (heartbeat(), None),
        (handshake(), None),
    ],
)
def test_the_first_decisive_frame_shows_an_acceptor_its_peer(
    frame: Frame, profile: Profile | None
) -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(frame)
    assert wire.profile is profile


def test_a_basic_executor_in_the_place_of_a_reliable_one_is_found_out() -> None:
    wire = open_opener()
    wire.give(data(1, b"from the first"))
    # It was handed late copies of our frames, and numbers its replies from 0.
    assert wire.talk(data(0, b"x"), data(1, b"y"), data(2, b"z"))[0] == reset(
        "peer_restarted", bits=1
    )
    assert wire.conn.stats().dropped == {
        FrameCause.BASIC_SUCCESSOR: 1,
        FrameCause.ENDED_STREAM: 2,
    }
    assert [event.data for event in wire.events_of(DataReceived)] == [b"from the first"]


def test_data_that_denies_what_was_acknowledged_is_not_the_peers() -> None:
    # The successor's data 0 was lost, and its next reply carries a number that is waited for.
    wire = open_opener()
    wire.conn.send_data(SID, b"done")
    wire.talk()
    wire.give(data(1, b"from the first", ack=1))
    wire.give(data(2, b"from another"))
    assert wire.conn.stats().dropped == {FrameCause.STALE_DATA: 1}
    wire.give(data(2, b"from the first, too", ack=1))
    assert [event.data for event in wire.events_of(DataReceived)] == [
        b"from the first",
        b"from the first, too",
    ]


BASIC_WAYS = [resume(0), data(0), handshake(), data(0, ack=9)]


@pytest.mark.parametrize(
    ("role", "frame"),
    [
        (role, frame)
        for role in Role
        for frame in BASIC_WAYS
        if (role, frame) != (Role.HARNESS, data(0))
    ],
)
def test_a_reliable_peer_stays_reliable(role: Role, frame: Frame) -> None:
    wire = open_end(role)
    wire.give(frame)
    assert wire.profile is Profile.RELIABLE
    assert wire.events_of(StreamReset) == []
    assert wire.events_of(DataReceived) == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("frame", [ack(3, 7), heartbeat(), resume(0), ack(0)])
def test_a_basic_peer_stays_basic(role: Role, frame: Frame) -> None:
    wire = basic_end(role)
    assert wire.talk(frame) == []
    assert wire.profile is Profile.BASIC
    assert wire.events() == []


@pytest.mark.parametrize("role", Role)
def test_a_reliable_resume_on_a_basic_stream_ends_it(role: Role) -> None:
    wire = basic_end(role)
    assert wire.talk(resume(1, PEER)) == [reset("protocol_error")]
    rejected, end = wire.events()
    assert isinstance(rejected, FrameRejected)
    assert rejected.cause is FrameCause.RESUME_ON_BASIC
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.PROTOCOL_ERROR, EndedBy.LOCAL)


# -- encryption is not for this endpoint


def test_a_handshake_ends_a_stream_that_is_opening() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(handshake()) == [reset("protocol_error")]
    rejected, end = wire.events()
    assert isinstance(rejected, FrameRejected)
    assert rejected.cause is FrameCause.HANDSHAKE_UNSUPPORTED
    assert isinstance(end, StreamReset)
    assert end.outcome(1) is Outcome.UNKNOWN


def test_a_handshake_for_an_unknown_id_is_refused_at_an_acceptor() -> None:
    wire = Wire(Role.EXECUTOR)
    wire.give(data(1))
    assert wire.talk(handshake()) == [reset("protocol_error")]
    assert [event.cause for event in wire.events_of(FrameRejected)] == [
        FrameCause.HANDSHAKE_UNSUPPORTED
    ]
    # The id is used up, and no second reset follows for the data that waited.
    assert wire.wait(10) == []
    assert wire.state is StreamState.ENDED


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("make", [open_end, basic_end])
def test_a_handshake_on_an_open_stream_is_rejected_and_harmless(
    role: Role, make: Callable[[Role], Wire]
) -> None:
    wire = make(role)
    assert wire.talk(handshake()) == []
    assert [event.cause for event in wire.events_of(FrameRejected)] == [
        FrameCause.HANDSHAKE_UNSUPPORTED
    ]
    assert wire.state is StreamState.OPEN


def test_a_handshake_does_not_confirm() -> None:
    wire = unconfirmed()
    wire.give(handshake())
    assert wire.state is StreamState.UNCONFIRMED


# -- the basic profile


def test_what_was_sent_to_a_peer_that_proves_basic_is_not_sent_again() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(data(0, b"reply"))
    wire.conn.send_data(SID, b"y")
    assert wire.wait(400) == [data(2, b"y")]
    assert wire.events_of(DataReceived) == [DataReceived(stream_id=SID, data=b"reply")]


def test_a_stream_on_which_nothing_was_sent_counts_from_0_towards_a_basic_peer() -> None:
    wire = basic_opener()
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    assert wire.sent() == [data(0, b"x"), data(1, b"y")]


def test_an_acceptor_counts_from_0_towards_a_basic_peer() -> None:
    wire = basic_acceptor()
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == [data(0, b"x")]


@pytest.mark.parametrize("role", Role)
def test_basic_data_is_not_segmented_nor_held_back_by_a_window(role: Role) -> None:
    config = RelayConfig(segment_size=10, send_window_segments=2, send_window_bytes=20)
    wire = basic_end(role, config)
    for _ in range(50):
        wire.conn.send_data(SID, b"x" * 95)
    frames = wire.sent()
    assert frames == [data(seq, b"x" * 95) for seq in range(50)]


@pytest.mark.parametrize("role", Role)
def test_acks_of_a_basic_peer_mean_nothing_and_ours_are_zero(role: Role) -> None:
    wire = basic_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.give(ack(5, 3), data(1, b"y", ack=9, bits=9))
    wire.conn.consume(SID, 1)
    wire.conn.send_data(SID, b"z")
    assert wire.wait(400) == [data(1, b"z")]
    assert [type(event) for event in wire.events()] == [
        SendCapacityAvailable,
        DataReceived,
        SendCapacityAvailable,
    ]


@pytest.mark.parametrize("role", Role)
def test_a_repeated_seq_is_dropped(role: Role) -> None:
    wire = basic_end(role)
    assert wire.talk(data(0, b"hello"), data(1, b"a"), data(1, b"a"), data(0, b"hello")) == []
    assert [event.data for event in wire.events_of(DataReceived)] == [b"a"]
    assert wire.conn.stats().duplicates_dropped == 3
    assert wire.state is StreamState.OPEN


@pytest.mark.parametrize("role", Role)
def test_a_gap_ends_a_basic_stream(role: Role) -> None:
    wire = basic_end(role)
    assert wire.talk(data(1, b"a"), data(3, b"c"), data(2, b"b")) == [reset("gap")]
    events = wire.events()
    assert [type(event) for event in events] == [DataReceived, FrameRejected, StreamReset]
    assert isinstance(events[-1], StreamReset)
    assert events[-1].known_reason is ResetReason.GAP


@pytest.mark.parametrize("role", Role)
def test_a_segmented_message_of_a_basic_peer_is_dropped_and_the_stream_goes_on(role: Role) -> None:
    # So does Codex.
    wire = basic_end(role)
    assert wire.talk(data(1, b"a", index=0, count=2)) == []
    assert [event.cause for event in wire.events_of(FrameRejected)] == [
        FrameCause.SEGMENTED_ON_BASIC
    ]
    wire.give(data(1, b"a"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"a"]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("frame", [ack(1), heartbeat(1)])
def test_acks_and_heartbeats_on_a_basic_stream_are_counted(role: Role, frame: Frame) -> None:
    wire = basic_end(role)
    assert wire.talk(frame) == []
    assert wire.state is StreamState.OPEN
    assert wire.conn.stats().dropped == {FrameCause.NOT_ON_BASIC: 1}


@pytest.mark.parametrize("role", Role)
def test_a_basic_message_that_is_too_large_ends_the_stream(role: Role) -> None:
    wire = basic_end(role, RelayConfig(max_message_size=100, segment_size=100))
    assert wire.talk(data(1, b"x" * 101)) == [reset("message_too_large")]
    assert wire.state is StreamState.ENDED


@pytest.mark.parametrize("role", Role)
def test_a_basic_peer_that_sends_more_than_is_read_ends_as_slow_consumer(role: Role) -> None:
    wire = basic_end(role, RelayConfig(basic_buffer_size=10 + 2 * SEGMENT_OVERHEAD))
    wire.give(data(1, b"x" * 6), data(2, b"x" * 4))
    wire.conn.consume(SID, 1)
    wire.give(data(3, b"x" * 6))
    assert wire.state is StreamState.OPEN
    assert wire.talk(data(4, b"x")) == [reset("slow_consumer")]
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert end.known_reason is ResetReason.SLOW_CONSUMER
    assert wire.conn.stats().bytes_held == 0


def test_a_basic_stream_that_reads_may_get_a_message_larger_than_its_buffer() -> None:
    wire = basic_acceptor(RelayConfig(basic_buffer_size=10))
    wire.give(data(1, b"x" * 50))
    assert [len(event.data) for event in wire.events_of(DataReceived)][-1] == 50


@pytest.mark.parametrize("role", Role)
def test_a_lost_link_ends_a_basic_stream_and_the_next_one_carries_the_reset(role: Role) -> None:
    wire = basic_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.conn.send_data(SID, b"y")
    wire.cut()
    lost, end = wire.events()[-2:]
    assert isinstance(lost, LinkLost)
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.by) == (ResetReason.LINK_LOST, EndedBy.LOCAL)
    assert (end.unknown, end.never_sent) == (range(1, 2), range(2, 3))
    assert wire.join() == [reset("link_lost")]


@pytest.mark.parametrize("role", Role)
def test_a_basic_stream_at_rest_has_no_timer(role: Role) -> None:
    wire = basic_end(role)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.conn.next_timeout() is None


def test_a_link_lost_while_the_peer_was_unknown_ends_as_link_lost_if_it_proves_basic() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.conn.send_data(SID, b"y")
    wire.join()
    assert wire.talk(data(0, b"reply")) == [reset("link_lost")]
    (end,) = [event for event in wire.events() if not isinstance(event, LinkLost)]
    assert isinstance(end, StreamReset)
    assert end.known_reason is ResetReason.LINK_LOST
    assert (end.unknown, end.never_sent) == (range(1, 2), range(2, 3))


def test_a_link_lost_while_the_peer_was_unknown_is_no_matter_if_it_proves_reliable() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.cut()
    wire.join()
    assert wire.talk(resume(1, PEER, OWN)) == [resume(2, OWN, PEER, True), data(1, b"x")]


def test_room_taken_by_what_a_basic_peer_got_is_given_back() -> None:
    wire = opening()
    big = RelayConfig().max_message_size
    wire.conn.send_data(SID, b"x" * big)
    wire.sent()
    assert wire.conn.send_capacity(SID) == 0
    wire.give(data(0))
    assert wire.conn.send_capacity(SID) == big
    assert SendCapacityAvailable(stream_id=SID) in wire.events()


def test_what_waits_while_a_peer_proves_basic_goes_out_whole() -> None:
    config = RelayConfig(segment_size=10, opening_window_segments=1)
    wire = opening(config)
    wire.conn.send_data(SID, b"x" * 25)
    wire.conn.send_data(SID, b"y" * 25)
    assert seqs(wire.sent()) == [1]
    assert wire.talk(data(0)) == [data(2, b"y" * 25)]


def test_what_was_owed_to_an_unknown_peer_is_not_owed_to_a_basic_one() -> None:
    wire = opening()
    wire.clock.advance(1)
    wire.conn.handle_timeout(wire.clock())  # the opening is to be repeated
    wire.give(data(0))
    assert wire.sent() == []
    assert [type(event) for event in wire.events()] == [StreamOpened, DataReceived]


def test_a_closing_stream_ends_when_its_peer_proves_basic() -> None:
    wire = opening()
    wire.conn.send_data(SID, b"x")
    wire.sent()
    wire.conn.close_stream(SID)
    assert wire.talk(resume(0)) == [reset("closed")]
    end = wire.events()[-1]
    assert isinstance(end, StreamReset)
    assert end.outcome(1) is Outcome.UNKNOWN


# -- profile="reliable"


def test_a_reliable_only_opener_refuses_a_basic_peer() -> None:
    wire = opening(RELIABLE)
    wire.conn.send_data(SID, b"x")
    wire.sent()
    assert wire.talk(data(0, b"reply")) == [reset("profile_refused")]
    (end,) = wire.events()
    assert isinstance(end, StreamReset)
    assert (end.known_reason, end.unknown) == (ResetReason.PROFILE_REFUSED, range(1, 2))


@pytest.mark.parametrize("frame", [data(0), resume(0)])
def test_a_reliable_only_acceptor_refuses_a_basic_peer(frame: Frame) -> None:
    wire = Wire(Role.EXECUTOR, RELIABLE)
    wire.give(data(4))
    assert wire.talk(frame) == [reset("profile_refused")]
    assert wire.conn.stats().dropped[FrameCause.PROFILE_REFUSED] == 1
    assert wire.events() == []
    assert wire.talk(data(1)) == [reset("profile_refused")]
    assert wire.wait(10) == []


@pytest.mark.parametrize("role", Role)
def test_a_reliable_only_end_serves_a_reliable_peer(role: Role) -> None:
    assert open_end(role, RELIABLE).profile is Profile.RELIABLE


# -- profile="basic"


def test_a_basic_only_opener_speaks_as_codex_does() -> None:
    wire = Wire(Role.HARNESS, BASIC)
    wire.conn.open_stream(SID)
    assert wire.events() == [StreamOpened(stream_id=SID, profile=Profile.BASIC)]
    wire.conn.send_data(SID, b"x")
    wire.conn.send_data(SID, b"y")
    assert wire.sent() == [resume(0), data(0, b"x"), data(1, b"y")]
    assert wire.wait(400) == []


def test_a_basic_only_opener_that_has_not_spoken_yet_survives_a_link_loss() -> None:
    wire = Wire(Role.HARNESS, BASIC)
    wire.conn.open_stream(SID)
    wire.cut()
    wire.conn.send_data(SID, b"x")
    assert wire.join() == [resume(0), data(0, b"x")]
    wire.cut()
    assert wire.state is StreamState.ENDED
    assert wire.join() == [reset("link_lost")]


def test_a_basic_only_opener_without_a_link_waits_for_one_however_long() -> None:
    wire = Wire(Role.HARNESS, BASIC, link=False)
    wire.conn.open_stream(SID)
    wire.conn.send_data(SID, b"x")
    assert wire.wait(10_000) == []
    assert wire.conn.next_timeout() is None
    assert wire.join() == [resume(0), data(0, b"x")]


@pytest.mark.parametrize("seq", [0, 1, 17])
def test_a_basic_only_acceptor_opens_on_the_first_data_whatever_its_seq(seq: int) -> None:
    wire = Wire(Role.EXECUTOR, BASIC)
    wire.give(data(seq, b"a", ack=3), data(seq + 1, b"b"))
    assert [event.data for event in wire.events_of(DataReceived)] == [b"a", b"b"]
    wire.conn.send_data(SID, b"x")
    assert wire.sent() == [data(0, b"x")]


@pytest.mark.parametrize("frame", [resume(0), resume(1, PEER), ack(1), heartbeat(), handshake()])
def test_a_basic_only_acceptor_drops_all_else_in_silence(frame: Frame) -> None:
    wire = Wire(Role.EXECUTOR, BASIC)
    assert wire.talk(frame) == []
    assert wire.state is None
    assert wire.conn.stats().dropped == {FrameCause.UNKNOWN_STREAM: 1}


@pytest.mark.parametrize("role", Role)
def test_a_basic_only_end_takes_no_notice_of_a_reliable_resume(role: Role) -> None:
    wire = Wire(role, BASIC)
    if role is Role.HARNESS:
        wire.conn.open_stream(SID)
    else:
        wire.give(data(0))
    wire.sent()
    assert wire.talk(resume(1, PEER, OWN)) == []
    assert wire.state is StreamState.OPEN
    assert wire.conn.stats().dropped == {FrameCause.NOT_DECISIVE: 1}


def test_a_basic_only_harness_and_an_auto_executor_understand_each_other() -> None:
    harness, executor = Wire(Role.HARNESS, BASIC), Wire(Role.EXECUTOR)
    harness.conn.open_stream(SID)
    harness.conn.send_data(SID, b"ping")
    executor.give(*harness.sent())
    executor.conn.send_data(SID, b"pong")
    harness.give(*executor.sent())
    assert [event.data for event in executor.events_of(DataReceived)] == [b"ping"]
    assert [event.data for event in harness.events_of(DataReceived)] == [b"pong"]


def test_an_auto_harness_and_a_basic_only_executor_understand_each_other() -> None:
    harness, executor = Wire(Role.HARNESS), Wire(Role.EXECUTOR, BASIC)
    harness.conn.open_stream(SID)
    harness.conn.send_data(SID, b"ping")
    executor.give(*harness.sent())
    executor.conn.send_data(SID, b"pong")
    harness.give(*executor.sent())
    harness.conn.send_data(SID, b"ping 2")
    executor.give(*harness.sent())
    assert [event.data for event in executor.events_of(DataReceived)] == [b"ping", b"ping 2"]
    assert [event.data for event in harness.events_of(DataReceived)] == [b"pong"]
    assert (harness.profile, executor.profile) == (Profile.BASIC, Profile.BASIC)


@pytest.mark.parametrize("role", Role)
def test_the_room_in_a_basic_stream_is_counted_until_it_is_written(role: Role) -> None:
    wire = basic_end(role, RelayConfig(send_buffer_size=10))
    wire.conn.send_data(SID, b"x" * 8)
    assert wire.conn.send_capacity(SID) == 2
    with pytest.raises(LocalProtocolError):
        wire.conn.send_data(SID, b"x" * 3)
    wire.sent()
    assert wire.events() == [SendCapacityAvailable(stream_id=SID)]
    assert wire.conn.send_capacity(SID) == RelayConfig().max_message_size


@pytest.mark.parametrize("role", Role)
def test_an_ended_or_unknown_stream_has_no_profile(role: Role) -> None:
    wire = open_end(role)
    wire.conn.reset_stream(SID)
    assert wire.profile is None
    assert wire.conn.profile("other") is None
