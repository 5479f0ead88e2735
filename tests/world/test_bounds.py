"""The judge of bounds: a machine with room for more than its configuration says is found out.

The machine has the limits that are default; the one who asks is told of smaller ones.
"""

from dataclasses import replace

import pytest

from sansrelay.codec import encode_frame
from sansrelay.config import RelayConfig
from sansrelay.connection import RelayConnection, Role
from sansrelay.frames import DataFrame, Frame, ResetFrame, ResumeFrame
from sansrelay.rendezvous import Rendezvous, RendezvousConfig
from sansrelay.states import Profile
from sansrelay.testing.world.bounds import dropped_by, hub_excess, may_talk, peer_excess
from world_kit import Case, DumbHub, DumbPeer


def busy_executor() -> RelayConnection:
    """One stream that waits for its confirmation with a message, one whose opening has not come."""
    conn = RelayConnection(Role.EXECUTOR, incarnation=5)
    conn.link_opened(0.0)
    frames: list[Frame] = [
        ResumeFrame("a", 0, 0, 1, 7),
        DataFrame("a", 0, 0, 1, 0, 1, b"x" * 300),
        DataFrame("b", 0, 0, 1, 0, 1, b"x" * 300),
        DataFrame("c", 0, 0, 1, 0, 1, b"x" * 300),
    ]
    for frame in frames:
        conn.receive_frame(encode_frame(frame), 0.0)
    return conn


def busy_harness() -> RelayConnection:
    """Two streams, one with a message in its buffer; two that have ended."""
    conn = RelayConnection(Role.HARNESS, incarnation=7)
    for name in ("a", "b", "c", "d"):
        conn.open_stream(name)
    conn.send_data("a", b"x" * 300)
    for name in ("c", "d"):
        conn.reset_stream(name, "cancelled")
    return conn


TIGHT = RelayConfig(max_message_size=64, segment_size=64, receive_buffer_size=64)
ROOMY = replace(TIGHT, receive_buffer_size=10_000, unconfirmed_buffer_size=200)


@pytest.mark.parametrize(
    ("config", "excess"),
    [
        (RelayConfig(), None),
        (ROOMY, "bytes unconfirmed: "),
        (RelayConfig(max_pending_streams=1), "pending streams: 2, at most 1"),
        (TIGHT, "bytes_held: "),
    ],
)
def test_what_an_executor_has_too_much_of(config: RelayConfig, excess: str | None) -> None:
    peer = DumbPeer(Role.EXECUTOR, "executor", config=config, machine=busy_executor())
    found = peer_excess(peer)
    assert found is None if excess is None else found is not None and found.startswith(excess)


@pytest.mark.parametrize(
    ("config", "excess"),
    [
        (RelayConfig(), None),
        (RelayConfig(max_streams=1), "streams: 2, at most 1"),
        (RelayConfig(max_ended_streams=1), "ended streams: 2, at most 1"),
        (replace(TIGHT, send_buffer_size=299), "send buffer of a: 300, at most 299"),
    ],
)
def test_what_a_harness_has_too_much_of(config: RelayConfig, excess: str | None) -> None:
    peer = DumbPeer(Role.HARNESS, "harness", config=config, machine=busy_harness())
    assert peer_excess(peer) == excess


@pytest.mark.parametrize("most", [2, 3])
def test_messages_that_wait_are_counted(most: int) -> None:
    case = Case(harness=RelayConfig(send_buffer_messages=most))
    case.accept()
    case.harness.machine = RelayConnection(Role.HARNESS, incarnation=7)
    case.opener.sent = [b"1", b"2", b"3", b"4"]
    case.opener.acknowledged = 1
    expected = "messages of harness/1: 3, at most 2" if most == 2 else None
    assert peer_excess(case.harness) == expected
    case.opener.profile = Profile.BASIC
    assert peer_excess(case.harness) is None, "a basic peer acknowledges nothing"


def test_a_basic_peer_has_no_limits() -> None:
    assert peer_excess(DumbPeer(Role.EXECUTOR, "codex", config=RelayConfig(max_streams=1))) is None


def test_what_has_no_getter_is_read_from_within() -> None:
    conn = busy_executor()
    assert dropped_by(conn).total() == 0
    assert not may_talk(conn, "a"), "it is not confirmed"
    assert not may_talk(conn, "nobody")


def busy_rendezvous() -> Rendezvous:
    """Two routes, one route that has ended, three links, and frames for the executor."""
    machine = Rendezvous(RendezvousConfig())
    machine.executor_opened(1, "executor", 0.0)
    for link in (2, 3):
        machine.harness_opened(link, "executor", "someone", 0.0)
    for number, name in enumerate(("a", "b", "c")):
        frame = ResumeFrame(name, 0, 0, 1, 7)
        machine.receive_frame(2 + number % 2, encode_frame(frame), 0.0)
    machine.receive_frame(2, encode_frame(DataFrame("a", 0, 0, 1, 0, 1, b"x" * 3000)), 0.0)
    machine.receive_frame(2, encode_frame(ResetFrame("c", 0, 0, "cancelled")), 0.0)
    machine.receive_frame(2, encode_frame(ResetFrame("d", 0, 0, "cancelled")), 0.0)
    return machine


SMALL = RelayConfig(
    max_frame_size=512, max_message_size=64, segment_size=64, receive_buffer_size=64
)


@pytest.mark.parametrize(
    ("config", "excess"),
    [
        (RendezvousConfig(), None),
        (RendezvousConfig(max_routes=1), "routes: 2, at most 1"),
        (RendezvousConfig(max_ended_routes=1), "ended routes: 2, at most 1"),
        (RendezvousConfig(max_links=2), "links: 3, at most 2"),
        (RendezvousConfig(max_links_per_principal=1), "links of someone: 2, at most 1"),
        (RendezvousConfig(max_harness_links=1), "links to executor: 2, at most 1"),
        (
            RendezvousConfig(
                relay=SMALL, stream_queue_size=2000, link_queue_size=2000, total_queue_size=2000
            ),
            "bytes queued: ",
        ),
        (
            RendezvousConfig(
                relay=SMALL, stream_queue_size=2000, link_queue_size=2000, reset_queue_size=100
            ),
            "queue of link 1: ",
        ),
    ],
)
def test_what_a_rendezvous_has_too_much_of(config: RendezvousConfig, excess: str | None) -> None:
    hub = DumbHub(config)
    hub.machine = busy_rendezvous()
    for number in (2, 3):
        hub.diallers[number] = peer = DumbPeer(Role.HARNESS, f"harness{number}")
        peer.principal = "someone"
    hub.diallers[1] = DumbPeer(Role.EXECUTOR, "someone")
    found = hub_excess(hub, 0.0)
    assert found is None if excess is None else found is not None and found.startswith(excess)


def test_no_timer_of_a_rendezvous_is_later_than_its_graces() -> None:
    config = RendezvousConfig(executor_grace=10.0, harness_grace=5.0)
    hub = DumbHub(config)
    hub.machine = Rendezvous(RendezvousConfig(executor_grace=20.0))
    hub.machine.harness_opened(1, "executor", "someone", 0.0)
    known = ResumeFrame("a", 0, 0, 2, 7, 8)
    hub.machine.receive_frame(1, encode_frame(known), 0.0)
    assert hub_excess(hub, 10.0) is None
    assert hub_excess(hub, 0.0) == "a timer for 20.0, later than any grace period ends"
