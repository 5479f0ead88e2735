"""The judge of a rendezvous."""

import pytest

from sansrelay.codec import encode_frame
from sansrelay.config import RelayConfig
from sansrelay.connection import Role
from sansrelay.frames import AckFrame, DataFrame, Frame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import (
    LinkRefusal,
    Rendezvous,
    RendezvousConfig,
    RouteEnded,
    RouteEndedBy,
    RouteOpened,
)
from sansrelay.testing import Promise
from sansrelay.testing.world import hub_oracle
from sansrelay.testing.world.lanes import Link
from world_kit import Case, DumbPeer, guilty

NAME = "harness/1"
DATA = DataFrame(NAME, 0, 0, 1, 0, 1, b"data")
RESET = ResetFrame(NAME, 0, 0, "cancelled")
OF_ITS_OWN = "of its own"


class Court:
    """A rendezvous with two links, and the oracle that hears of it."""

    def __init__(self) -> None:
        self.case = Case()
        self.oracle = self.case.oracle
        self.hub = self.case.hub
        self.harness = self.case.link(self.case.harness)
        self.executor = self.case.link(self.case.executor)

    def comes(self, link: Link, frame: Frame) -> None:
        self.oracle.arrived_at_hub(self.hub, link, encode_frame(frame))

    def leaves(self, link: Link, frame: Frame) -> None:
        self.oracle.left_hub(self.hub, link, encode_frame(frame))

    def opens(self, stream_id: str = NAME, executor_id: str = "executor") -> None:
        event = RouteOpened(
            executor_id=executor_id, stream_id=stream_id, principal="harness", link=1
        )
        self.oracle.route_opened(self.hub, event)

    def ends(self, reason: str, by: RouteEndedBy, stream_id: str = NAME) -> None:
        event = RouteEnded(
            executor_id="executor", stream_id=stream_id, principal="harness", reason=reason, by=by
        )
        self.oracle.route_ended(self.hub, event)


def test_each_frame_leaves_at_most_as_often_as_it_came() -> None:
    court = Court()
    for _ in range(2):
        court.comes(court.harness, DATA)
    for _ in range(2):
        court.leaves(court.executor, DATA)
    with guilty(Promise.ROUTED_ONCE, OF_ITS_OWN):
        court.leaves(court.executor, DATA)


def test_bytes_that_are_no_frame_are_counted_too() -> None:
    court = Court()
    court.oracle.arrived_at_hub(court.hub, court.harness, b"\xff")
    court.oracle.left_hub(court.hub, court.executor, b"\xff")
    with guilty(Promise.ROUTED_ONCE, OF_ITS_OWN):
        court.oracle.left_hub(court.hub, court.executor, b"\xff")


def test_a_reset_of_its_own_acknowledges_nothing() -> None:
    court = Court()
    court.hub.facts.attached_at.clear()
    with guilty(Promise.ROUTED_ONCE, OF_ITS_OWN):
        court.leaves(court.harness, ResetFrame(NAME, 1, 0, "executor_unavailable"))


def test_the_reset_that_ended_a_route_may_be_told_again() -> None:
    court = Court()
    final = RESET._replace(ack=3)
    court.comes(court.executor, final)
    court.leaves(court.harness, final)
    court.ends("cancelled", RouteEndedBy.EXECUTOR)
    court.leaves(court.harness, final)
    assert court.case.record.told == {"cancelled"}
    with guilty(Promise.ROUTED_ONCE, OF_ITS_OWN):
        court.leaves(court.harness, final._replace(ack=4))


def test_what_a_harness_said_may_be_told_its_executor() -> None:
    court = Court()
    court.comes(court.harness, RESET)
    court.leaves(court.executor, RESET)
    court.leaves(court.executor, RESET)
    assert court.case.record.told == {"cancelled"}


def test_an_executor_is_not_reset_for_a_reason_of_the_rendezvous() -> None:
    court = Court()
    with guilty(Promise.REASON, "rendezvous resets harness/1: 'executor_unavailable'"):
        court.leaves(court.executor, RESET._replace(reason="executor_unavailable"))


def test_the_reason_for_a_harness_has_to_be_true() -> None:
    court = Court()
    court.hub.facts.attached_at["executor"] = -1.0
    unavailable = RESET._replace(reason="executor_unavailable")
    with guilty(Promise.REASON, "the executor was there all the time"):
        court.leaves(court.harness, unavailable)
    del court.hub.facts.attached_at["executor"]
    court.leaves(court.harness, unavailable)
    assert list(court.case.record.hub_reasons) == ["executor_unavailable"]


def test_what_a_stranger_is_told_and_what_nobody_opened_is_not_judged() -> None:
    court = Court()
    stranger = court.case.link(DumbPeer(Role.HARNESS, "stranger"))
    court.leaves(stranger, RESET._replace(reason="unknown_stream"))
    court.leaves(court.executor, ResetFrame("ghost", 0, 0, "unknown_stream"))
    assert not court.case.record.hub_reasons


def test_times_that_verdicts_need_are_kept() -> None:
    court = Court()
    court.case.at(5.0)
    court.comes(court.harness, DATA)
    court.comes(court.executor, ResumeFrame(NAME, 0, 0, 0))
    facts = court.hub.facts
    assert (facts.harness_heard, facts.executor_resumed) == ({NAME: 5.0}, {})
    court.comes(court.executor, ResumeFrame(NAME, 0, 0, 1))
    assert facts.executor_resumed == {NAME: 5.0}


@pytest.mark.parametrize("trace", [False, True])
def test_what_happened_is_in_the_trace_if_there_is_one(trace: bool) -> None:
    court = Court()
    if not trace:
        court.case.stage.trace = None
    court.comes(court.harness, AckFrame(NAME, 0, 0))
    court.leaves(court.harness, RESET._replace(reason="executor_unavailable"))
    lines = court.case.stage.trace
    expected = ["< harness: harness/1: ack", "> harness: harness/1: reset 'executor_unavailable'"]
    assert lines is None or [line.split("rendezvous   ")[-1] for line in lines] == expected
    assert (lines is None) is not trace


# -- routes


def test_a_route_that_is_remembered_is_not_revived() -> None:
    court = Court()
    court.opens()
    court.ends("cancelled", RouteEndedBy.HARNESS)
    court.case.at(court.hub.config.ended_route_ttl - 1)
    with guilty(Promise.AT_MOST_ONCE, "revives harness/1, ended at 0.0"):
        court.opens()


def test_another_executor_may_have_a_stream_of_the_same_name() -> None:
    court = Court()
    court.opens()
    court.ends("cancelled", RouteEndedBy.HARNESS)
    court.opens(executor_id="elsewhere")


def test_a_route_that_is_long_over_may_be_made_again() -> None:
    court = Court()
    court.opens()
    court.ends("cancelled", RouteEndedBy.HARNESS)
    court.case.at(court.hub.config.ended_route_ttl)
    court.opens()
    assert court.case.record.routes == 2


def test_a_table_that_is_full_forgets_the_oldest() -> None:
    court = Court()
    court.hub.config = RendezvousConfig(max_ended_routes=2)
    for name in (NAME, "harness/2", "harness/3"):
        court.ends("cancelled", RouteEndedBy.HARNESS, name)
    court.opens()
    with guilty(Promise.AT_MOST_ONCE, "revives harness/2"):
        court.opens("harness/2")


def test_what_an_executor_says_that_knows_nothing_is_not_final() -> None:
    court = Court()
    court.opens()
    court.ends("unknown_stream", RouteEndedBy.EXECUTOR)
    court.opens()


def test_the_end_of_a_route_has_a_true_reason() -> None:
    court = Court()
    court.opens()
    with guilty(Promise.REASON, "a rendezvous has no such reason"):
        court.ends("gap", RouteEndedBy.RENDEZVOUS)
    court.ends("slow_consumer", RouteEndedBy.RENDEZVOUS)
    assert list(court.case.record.hub_reasons) == ["slow_consumer"]


def test_the_ends_of_streams_that_nobody_opened_are_not_judged() -> None:
    court = Court()
    court.opens("ghost")
    court.ends("gap", RouteEndedBy.RENDEZVOUS, "ghost")


# -- links and bounds


def test_a_link_is_not_refused_for_nothing() -> None:
    court = Court()
    court.hub.config = RendezvousConfig(max_links=1)
    peer = court.case.harness
    with guilty(Promise.REASON, "refuses harness: TOO_MANY_LINKS: 0 links are open, and 1 may be"):
        court.oracle.link_refused(court.hub, peer, LinkRefusal.TOO_MANY_LINKS)
    court.hub.diallers[1] = court.case.executor
    court.oracle.link_refused(court.hub, peer, LinkRefusal.TOO_MANY_LINKS)


def test_bounds_are_looked_at_now_and_then() -> None:
    court = Court()
    court.hub.config = RendezvousConfig(max_links=1)
    court.hub.machine = Rendezvous(RendezvousConfig())
    for link in (1, 2):
        court.hub.machine.harness_opened(link, "executor", "harness", 0.0)
    for _ in range(hub_oracle.BOUNDS_EVERY - 1):
        court.oracle.hub_settled(court.hub)
    with guilty(Promise.BOUNDED, "rendezvous: links: 2, at most 1"):
        court.oracle.hub_settled(court.hub)


def test_the_total_of_all_queues_is_looked_at_with_each_frame() -> None:
    court = Court()
    court.hub.machine.executor_opened(1, "executor", 0.0)
    court.hub.machine.harness_opened(2, "executor", "harness", 0.0)
    large = DATA._replace(payload=bytes(2000))
    court.hub.machine.receive_frame(2, encode_frame(large), 0.0)
    court.oracle.taken_by_hub(court.hub)
    relay = RelayConfig(
        max_frame_size=512, max_message_size=64, segment_size=64, receive_buffer_size=64
    )
    court.hub.config = RendezvousConfig(
        relay=relay, stream_queue_size=2000, link_queue_size=2000, total_queue_size=2000
    )
    with guilty(Promise.BOUNDED, "rendezvous: bytes queued: "):
        court.oracle.taken_by_hub(court.hub)


def test_decoded_frames_are_remembered_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_oracle, "_CACHE", 2)
    oracle = Case().oracle
    frames = [encode_frame(DATA._replace(seq=seq)) for seq in (1, 2, 3)]
    decoded = [oracle.frame_of(frame) for frame in frames]
    assert oracle.frame_of(frames[2]) is decoded[2]
    again = oracle.frame_of(frames[0])
    assert again == decoded[0] == DATA
    assert again is not decoded[0]
    assert len(oracle._decoded) == 2
