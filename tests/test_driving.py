"""`Session` and `StreamCore`: two ends driven by hand, without a loop."""

import pytest

from sansrelay import (
    Event,
    LocalCause,
    LocalProtocolError,
    Profile,
    RelayConfig,
    ResetReason,
    Role,
)
from sansrelay.codec import encode_frame
from sansrelay.driving import RelayEnd, Session, Standing, StreamCore, StreamFace
from sansrelay.frames import DataFrame
from sansrelay.links import ConnectCause, ConnectError, LinkStatus


class End:
    """A session, what it asked for, and the streams that came."""

    def __init__(self, role: Role, config: RelayConfig | None = None) -> None:
        self.wakes = 0
        self.alarms: list[float] = []
        self.events: list[Event] = []
        self.accepted: list[StreamCore] = []
        self.session = Session(
            role,
            incarnation=1 if role is Role.HARNESS else 2,
            config=config or RelayConfig(),
            wake=self._wake,
            set_alarm=self.alarms.append,
            on_event=self.events.append,
            on_stream=self.accepted.append,
        )

    def _wake(self) -> None:
        self.wakes += 1


class Both:
    def __init__(self, config: RelayConfig | None = None) -> None:
        self.harness, self.executor = End(Role.HARNESS, config), End(Role.EXECUTOR, config)
        for end in (self.harness, self.executor):
            end.session.link_up(0.0)

    def exchange(self, now: float = 0.0) -> None:
        busy = True
        while busy:
            busy = False
            for end, peer in ((self.harness, self.executor), (self.executor, self.harness)):
                if frames := end.session.frames_to_send(now):
                    peer.session.receive(frames, now)
                    busy = True


def test_a_message_goes_over_and_is_taken() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    assert stream.send(b"hello")
    assert stream.last_message_id == 1
    assert both.harness.wakes >= 2
    both.exchange()
    [peer] = both.executor.accepted
    assert stream.profile is peer.profile is Profile.RELIABLE
    assert (peer.next_message(), peer.next_message()) == (b"hello", None)


def test_a_message_is_settled_when_a_reliable_peer_has_taken_it_over() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    both.exchange()
    stream.send(b"one")
    stream.send(b"two")
    both.exchange()
    assert stream.settled == 0
    [peer] = both.executor.accepted
    assert peer.next_message() == b"one"
    due = both.executor.alarms[-1]
    both.executor.session.time_passed(due)
    both.exchange(due)
    assert stream.settled == 1


def test_a_message_is_settled_when_the_link_to_a_basic_peer_has_it() -> None:
    end = End(Role.EXECUTOR)
    end.session.link_up(0.0)
    end.session.receive([encode_frame(DataFrame("s", 0, 0, 0, 0, 1, b"x"))], 0.0)
    [stream] = end.accepted
    assert stream.profile is Profile.BASIC
    for _ in range(2):
        stream.send(b"y")
    assert stream.settled == 0
    end.session.frames_to_send(0.0)
    assert stream.settled == 2


def test_every_change_is_notified() -> None:
    both, news = Both(), []
    stream = both.harness.session.open_stream("s")
    stream.notify = lambda: news.append((stream.profile, stream.standing))
    both.exchange()
    assert news[0] == (Profile.RELIABLE, Standing.LIVE)
    both.executor.accepted[0].close()
    both.exchange()
    assert news[-1] == (Profile.RELIABLE, Standing.CLOSED_BY_PEER)


def test_a_full_buffer_refuses_until_the_peer_takes_over() -> None:
    both = Both(RelayConfig(send_buffer_size=4096, send_window_bytes=4096))
    stream = both.harness.session.open_stream("s")
    both.exchange()
    while stream.send(bytes(1000)):
        both.exchange()
    assert stream.last_message_id == 4
    [peer] = both.executor.accepted
    while peer.next_message() is not None:
        pass
    # The last ack may be late.
    due = both.executor.alarms[-1]
    both.executor.session.time_passed(due)
    both.exchange(due)
    assert stream.send(bytes(1000))
    with pytest.raises(LocalProtocolError) as caught:
        stream.send(bytes(RelayConfig().max_message_size + 1))
    assert caught.value.cause is LocalCause.MESSAGE_TOO_LARGE


def test_only_earlier_deadlines_set_the_alarm_anew() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    stream.send(b"x")
    both.harness.session.frames_to_send(0.0)
    alarms = both.harness.alarms
    assert alarms == sorted(alarms, reverse=True)
    assert len(alarms) == len(set(alarms))
    due, wakes = alarms[-1], both.harness.wakes
    # Too early: nothing is done but to set the alarm again.
    both.harness.session.time_passed(due - 0.01)
    assert (alarms[-1], both.harness.wakes) == (due, wakes)
    both.harness.session.time_passed(due)
    assert both.harness.wakes == wakes + 1


def test_who_leaves_resets_streams_that_live_and_streams_to_come() -> None:
    both = Both()
    both.harness.session.open_stream("one")
    both.exchange()
    [accepted] = both.executor.accepted
    both.executor.session.leave(ResetReason.GOING_AWAY)
    late = both.harness.session.open_stream("two")
    both.exchange()
    assert accepted.standing is Standing.CLOSED_HERE
    assert both.executor.accepted == [accepted]
    assert late.ended is not None
    assert late.ended.known_reason is ResetReason.GOING_AWAY


def test_the_end_of_a_stream_leaves_what_has_arrived_and_no_more() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    stream.send(b"x")
    both.exchange()
    [peer] = both.executor.accepted
    stream.reset("enough")
    both.exchange()
    assert peer.next_message() == b"x"
    for _ in range(2):
        peer.close()
        peer.reset()
    assert peer.standing is Standing.CLOSED_HERE
    assert peer.ended is not None
    assert peer.ended.reason == "enough"


def test_without_anybody_to_tell_a_session_works_all_the_same() -> None:
    executor = Session(
        Role.EXECUTOR,
        incarnation=2,
        config=RelayConfig(),
        wake=lambda: None,
        set_alarm=lambda at: None,
    )
    executor.link_up(0.0)
    executor.receive([encode_frame(DataFrame("s", 0, 0, 0, 0, 1, b"x"))], 0.0)
    executor.time_passed(0.0)
    assert executor.conn.profile("s") is Profile.BASIC


def test_what_streams_and_ends_show() -> None:
    both = Both()
    core = both.harness.session.open_stream("s")
    stream, end = StreamFace(core), RelayEnd(both.harness.session)
    assert repr(stream) == "<RelayStream s live>"
    assert (stream.stream_id, stream.profile, stream.ended) == ("s", None, None)
    core.send(b"x")
    both.exchange()
    assert (stream.profile, stream.last_message_id) == (Profile.RELIABLE, 1)
    core.close()
    assert repr(stream) == "<RelayStream s closing>"
    stream.reset("enough")
    assert repr(stream) == "<RelayStream s ended>"
    assert stream.ended is not None
    assert stream.ended.reason == "enough"
    assert (end.link, end.failure, end.stats().links_opened) == (LinkStatus.UP, None, 1)


def test_giving_up_ends_all_streams_and_says_why() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    statuses = [both.harness.session.status]
    both.harness.session.link_down(0.0)
    statuses.append(both.harness.session.status)
    error = ConnectError(ConnectCause.UNAUTHORIZED, "revoked")
    both.harness.session.give_up(error)
    statuses.append(both.harness.session.status)
    assert statuses == [LinkStatus.UP, LinkStatus.CONNECTING, LinkStatus.DOWN]
    assert stream.standing is Standing.ENDED
    assert stream.failure is error


def test_a_local_reset_throws_away_what_was_not_received() -> None:
    both = Both()
    stream = both.harness.session.open_stream("s")
    stream.send(b"x")
    both.exchange()
    [peer] = both.executor.accepted
    peer.reset("enough")
    assert peer.next_message() is None
    assert peer.standing is Standing.CLOSED_HERE
    both.exchange()
    assert stream.standing is Standing.ENDED


def test_a_stream_opened_without_a_link_times_out() -> None:
    end = End(Role.HARNESS, RelayConfig(resume_timeout=5.0))
    session = end.session
    session.link_up(0.0)
    session.frames_to_send(0.0)
    session.link_down(1.0)
    assert end.alarms == []
    stream = session.open_stream("s")
    assert end.alarms  # nobody else will tell the machine the time
    session.time_passed(2.0)
    assert end.alarms[-1] == 7.0
    session.time_passed(6.9)
    assert stream.ended is None
    session.time_passed(7.0)
    assert stream.ended is not None
    assert stream.ended.known_reason is ResetReason.TIMEOUT
