"""What a hostile peer can send to an endpoint. `docs/attacks.md` is the table of it, for people.

Each attack is made on a connection with another stream, which must not notice (see `attackkit`).
"""

import ast
import re
from pathlib import Path

import pytest

from attackkit import (
    ALLOWANCE,
    PER_ENDED_ID,
    PER_SEGMENT,
    PER_STREAM,
    Target,
    Toll,
    accepted,
)
from sansrelay import (
    AckDue,
    ConnectionStats,
    DataAcknowledged,
    DataReceived,
    FrameCause,
    FrameRejected,
    RelayConfig,
    Retransmit,
    Role,
    StreamOpened,
    StreamReset,
    StreamState,
)
from sansrelay.config import MAX_SEQ, SEGMENT_OVERHEAD
from sansrelay.frames import Frame, ResetFrame
from sansrelay.rendezvous import DropCause, RendezvousStats
from wirekit import PEER, SID, ack, data, handshake, heartbeat, of_kind, reset, resume

ROOT = Path(__file__).parent.parent

both_roles = pytest.mark.parametrize("role", Role)


def ended(toll: Toll, reason: str) -> bool:
    """Whether the attack has cost the attacker its stream, and us nothing."""
    return toll.told[StreamReset] == 1 and toll.got[f"reset {reason}"] >= 1 and toll.kept == 0


# -- acks


@both_roles
def test_ack_beyond_sent(role: Role) -> None:
    target = Target(role)
    target.say(3)
    lies: list[Frame] = [ack(4), ack(MAX_SEQ), heartbeat(4), resume(1, PEER, target.own, ack=4)]
    toll = target.attack(lies)
    assert toll.got == {"ack": 1}  # of the heartbeat
    assert toll.dropped == {FrameCause.ACK_BEYOND_SENT: 4}
    assert toll.told == {FrameRejected: 4, AckDue: 1}
    target.wire.give(ack(3))
    assert target.wire.events_of(DataAcknowledged)[-1].message_id == 3


@both_roles
def test_ack_bits_beyond_sent(role: Role) -> None:
    target = Target(role)
    target.say(3)
    lies = [ack(0, 0b1000), ack(3, 1), ack(2, 0b10), ack(0, MAX_SEQ), ack(MAX_SEQ, MAX_SEQ)]
    toll = target.attack(lies)
    assert toll.got == {}
    assert toll.dropped == {FrameCause.ACK_BEYOND_SENT: 5}
    assert toll.told == {FrameRejected: 5}
    # None of them was believed in part.
    target.wire.give(ack(1))
    assert target.wire.events_of(DataAcknowledged)[-1].message_id == 1


@both_roles
def test_shrinking_ack(role: Role) -> None:
    target = Target(role)
    target.say(6)
    target.wire.give(ack(3, 0b10))
    target.wire.events()
    toll = target.attack([ack(3), ack(2), ack(2, 0b1), ack(1, 0b111), ack(0)] * 100)
    assert (toll.got, toll.told, toll.dropped) == ({}, {}, {})
    target.wire.give(ack(6))
    assert [event.message_id for event in target.wire.events_of(DataAcknowledged)] == [6]


@both_roles
def test_ack_flood(role: Role) -> None:
    target = Target(role)
    target.say(3)
    toll = target.attack(ack(0, number % 8) for number in range(1000))
    assert (toll.got, toll.told, toll.dropped) == ({}, {}, {})


# -- segments


@both_roles
@pytest.mark.parametrize(
    "frame",
    [
        data(1, count=2**32 - 1),
        data(7, count=2**32 - 1),
        data(1, index=2**32 - 2, count=2**32 - 1),
        data(1, bytes(1000), count=2**14 + 800),
    ],
)
def test_segment_count_of_4294967295(role: Role, frame: Frame) -> None:
    toll = Target(role).attack([frame])
    assert ended(toll, "message_too_large")
    assert toll.dropped == {FrameCause.MESSAGE_TOO_LARGE: 1}


@both_roles
@pytest.mark.parametrize("order", [1, -1])
def test_segment_count_that_changes(role: Role, order: int) -> None:
    early = [data(seq, bytes(10_000)) for seq in range(10, 30)]
    frames = [data(1, index=0, count=3), data(2, index=1, count=4)]
    toll = Target(role).attack(early + frames[::order])
    assert ended(toll, "protocol_error")  # with all that was held for it
    assert toll.dropped == {FrameCause.SEGMENT_MISMATCH: 1}


@both_roles
def test_interleaved_messages(role: Role) -> None:
    toll = Target(role).attack(
        data(number, index=index, count=2) for number, index in ((1, 0), (2, 0), (3, 1), (4, 1))
    )
    assert ended(toll, "protocol_error")
    assert toll.told[DataReceived] == 0
    assert toll.dropped == {FrameCause.SEGMENT_MISMATCH: 1, FrameCause.ENDED_STREAM: 2}


@both_roles
def test_a_missing_middle_for_ever(role: Role) -> None:
    target = Target(role, RelayConfig(receive_window_segments=100))
    toll = target.attack(data(seq, bytes(1000)) for seq in range(2, 500))
    assert toll.got == {"ack": 99}
    assert toll.told == {AckDue: 99}
    assert toll.dropped == {FrameCause.WINDOW_OVERRUN: 399}
    assert toll.kept == 99 * (1000 + SEGMENT_OVERHEAD)
    # A peer that falls silent is given up, and what was held for it is gone.
    target.wire.wait(400)
    assert target.conn.stats().bytes_held == 0


@both_roles
def test_endless_first_segments(role: Role) -> None:
    config = RelayConfig(max_message_size=64_000, receive_buffer_size=256_000, segment_size=4_000)
    target = Target(role, config)
    toll = target.attack(
        data(seq, bytes(4_000), index=seq - 1, count=16, sid=sid)
        for sid in target.open_more(30)
        for seq in range(1, 16)
    )
    assert (toll.got, toll.told) == ({}, {})
    assert toll.dropped.keys() == {FrameCause.BUFFER_FULL}
    # One stream may go on beyond the limit, or all might wait for one another for ever.
    assert toll.kept <= 256_000 + 64_000


@both_roles
def test_tiny_segments(role: Role) -> None:
    target = Target(role, RelayConfig(receive_window_segments=400))
    in_order = (data(seq, index=seq - 1, count=5000) for seq in range(1, 2001))
    early = (data(seq) for seq in range(2002, 4000))
    toll = target.attack([*in_order, *early], allowance=ALLOWANCE + 400 * PER_SEGMENT)
    assert toll.kept == 2000 + 399 * (1 + SEGMENT_OVERHEAD)
    assert toll.got == {"ack": 2000 // 16 + 399}
    assert toll.dropped == {FrameCause.WINDOW_OVERRUN: 1998 - 399}


@both_roles
def test_window_overrun(role: Role) -> None:
    target = Target(role, RelayConfig(receive_window_bytes=100_000))
    toll = target.attack(data(seq, bytes(1000)) for seq in range(513, 813))
    assert (toll.got, toll.told, toll.kept) == ({}, {}, 0)
    assert toll.dropped == {FrameCause.WINDOW_OVERRUN: 300}
    toll = target.attack(data(seq, bytes(1000)) for seq in range(2, 302))
    assert toll.kept == 100 * (1000 + SEGMENT_OVERHEAD)
    assert toll.dropped == {FrameCause.WINDOW_OVERRUN: 200}


@both_roles
def test_reorder_buffer_fill(role: Role) -> None:
    target = Target(role, RelayConfig(max_message_size=100_000, receive_buffer_size=100_000))
    sids = target.open_more(20)
    toll = target.attack(data(seq, bytes(1000), sid=sid) for seq in range(2, 22) for sid in sids)
    # What waits for an earlier segment has half of it, so that there is room for other streams.
    assert 45_000 < toll.kept <= 50_000
    assert toll.dropped == {FrameCause.BUFFER_FULL: 400 - toll.got["ack"]}
    assert target.attack([data(1, bytes(1000))]).told == {DataReceived: 1}


@both_roles
def test_last_sequence_number(role: Role) -> None:
    target = Target(role)
    toll = target.attack(
        [
            data(MAX_SEQ),
            data(MAX_SEQ, index=1, count=2),
            *([data(0)] if role is Role.EXECUTOR else []),
            ack(MAX_SEQ),
            resume(MAX_SEQ, PEER, target.own),
        ]
    )
    dropped = {FrameCause.WINDOW_OVERRUN: 2, FrameCause.ACK_BEYOND_SENT: 1}
    if role is Role.EXECUTOR:  # the ack is for the 0, which was before the first
        assert toll.got == {"ack": 1, "answer": 1}
        assert toll.dropped == {**dropped, FrameCause.DUPLICATE: 1}
    else:
        assert toll.got == {"answer": 1}
        assert toll.dropped == dropped
    target.wire.give(data(1, b"as ever"))
    assert [event.data for event in target.wire.events_of(DataReceived)] == [b"as ever"]


def test_a_basic_peer_in_the_place_of_a_reliable_one() -> None:
    toll = Target(Role.HARNESS).attack([data(0), *(data(seq) for seq in range(1, 20))])
    assert ended(toll, "peer_restarted")
    assert toll.dropped == {FrameCause.BASIC_SUCCESSOR: 1, FrameCause.ENDED_STREAM: 19}


# -- openings and ends


@both_roles
def test_open_flood(role: Role) -> None:
    config = RelayConfig(max_streams=50, max_ended_streams=100, resets_per_second=10)
    target = Target(role, config)
    toll = target.attack(
        (resume(1, PEER, sid=f"new {number}") for number in range(500)),
        allowance=50 * PER_STREAM + 100 * PER_ENDED_ID,
    )
    stats = target.conn.stats()
    assert toll.told == {}
    if role is Role.HARNESS:  # which nobody opens streams to
        assert toll.got == {"reset unknown_stream": 10}
        assert toll.dropped == {FrameCause.UNKNOWN_STREAM: 500}
        assert stats.resets_suppressed == 490
        assert stats.streams_live == 2
    else:
        assert toll.got == {"question": 48, "reset too_many_streams": 452}
        assert toll.dropped == {FrameCause.TOO_MANY_STREAMS: 452}
        assert stats.streams_live == 50
        assert stats.streams_ended_remembered == 100
        # Openings that are never confirmed are given up.
        target.wire.wait(301)
        assert target.conn.stats().streams_live == 2


def test_data_before_its_opening() -> None:
    config = RelayConfig(
        unconfirmed_buffer_size=50 * (1000 + SEGMENT_OVERHEAD),
        max_pending_streams=8,
        opening_window_segments=10,
    )
    target = Target(Role.EXECUTOR, config)
    toll = target.attack(
        data(seq, bytes(1000), sid=f"new {number}") for number in range(20) for seq in range(1, 16)
    )
    assert toll.kept == 50 * (1000 + SEGMENT_OVERHEAD)
    assert toll.told == {}
    # Five ids with ten segments each, three with none, and twelve that find no place.
    assert toll.dropped == {
        FrameCause.BUFFER_FULL: 5 * 5 + 3 * 15,
        FrameCause.UNKNOWN_STREAM: 12 * 15,
    }
    assert toll.got == {"reset unknown_stream": 100}
    assert target.conn.stats().resets_suppressed == 12 * 15 - 100
    assert [frame.stream_id for frame in of_kind(ResetFrame, target.wire.wait(2.1))] == [
        f"new {number}" for number in range(8)
    ]
    assert target.conn.stats().bytes_held == 0


def test_held_data_before_confirmation() -> None:
    limit = 50 * (1000 + SEGMENT_OVERHEAD)
    target = Target(Role.EXECUTOR, RelayConfig(unconfirmed_buffer_size=limit))
    frames: list[Frame] = []
    for sid in (f"new {number}" for number in range(20)):
        frames += [resume(1, PEER, sid=sid), heartbeat(sid=sid)]
        frames += [data(seq, bytes(1000), sid=sid) for seq in range(1, 11)]
    toll = target.attack(frames)
    assert toll.kept == 50 * (1000 + SEGMENT_OVERHEAD)
    assert toll.told == {}
    assert toll.got == {"question": 20}
    assert toll.dropped == {FrameCause.BUFFER_FULL: 150, FrameCause.NOT_CONFIRMED: 20}
    target.wire.wait(301)
    assert target.conn.stats().bytes_held == 0


@both_roles
def test_reset_flood(role: Role) -> None:
    target = Target(role, RelayConfig(max_ended_streams=100))
    toll = target.attack(reset("closed", sid=f"new {number}") for number in range(500))
    assert (toll.got, toll.told, toll.kept) == ({}, {}, 0)
    assert toll.dropped == {FrameCause.UNKNOWN_STREAM: 500}
    toll = target.attack([reset("closed")] * 500)
    assert (toll.got, toll.told, toll.kept) == ({}, {StreamReset: 1}, 0)
    assert toll.dropped == {FrameCause.ENDED_STREAM: 499}
    if role is Role.EXECUTOR:
        frames: list[Frame] = []
        for sid in (f"new {number}" for number in range(300)):
            frames += [resume(1, PEER, sid=sid), reset("closed", sid=sid)]
        # Timers of streams that have ended may outnumber the others for a while, but not by far.
        toll = target.attack(frames, allowance=64 * PER_STREAM + 100 * PER_ENDED_ID)
        assert (toll.got, toll.told) == ({"question": 300}, {})
        assert target.conn.stats().streams_live == 1
        assert target.conn.stats().streams_ended_remembered == 100


@both_roles
def test_heartbeat_flood(role: Role) -> None:
    target = Target(role)
    toll = target.attack([heartbeat()] * 500)
    assert toll.got == {"ack": 500}
    assert toll.bytes_out <= toll.bytes_in
    assert (toll.told, toll.dropped) == ({AckDue: 500}, {})
    # Those that pile up before we send are answered together.
    target.wire.give(*[heartbeat()] * 1000)
    assert target.wire.sent() == [ack()]


@both_roles
def test_question_flood(role: Role) -> None:
    target = Target(role)
    target.say(1)
    target.wire.clock.advance(0.01)
    target.wire.give(ack(1))
    target.say(20, 1000)
    target.wire.clock.advance(0.3)
    toll = target.attack([resume(1, PEER, target.own, ack=1)] * 300)
    # All that was sent is missing, says the peer. It gets that again, once in min_rto.
    assert toll.got == {"answer": 300, "data": 20}
    assert toll.told[Retransmit] == target.conn.stats().segments_retransmitted == 20
    assert toll.dropped == {}


@both_roles
def test_revived_id(role: Role) -> None:
    target = Target(role, RelayConfig(resets_per_second=10))
    target.conn.reset_stream(SID)
    target.wire.sent()
    target.wire.events()
    tries: list[Frame] = [
        resume(1, PEER),
        resume(1, PEER + 1),
        resume(1, PEER, target.own),
        resume(0),
        data(0),
        data(1),
        handshake(),
        heartbeat(),
    ]
    toll = target.attack(tries * 10)
    assert toll.got == {"reset cancelled": 10}
    assert toll.told == {}
    assert toll.dropped == {FrameCause.ENDED_STREAM: 80}
    assert target.conn.stats().resets_suppressed == 70
    assert target.wire.state is StreamState.ENDED


@both_roles
def test_stale_resume(role: Role) -> None:
    target = Target(role)
    target.wire.give(data(1), data(2), data(3))
    target.conn.consume(SID, 3)
    target.wire.events()
    toll = target.attack([resume(2, PEER, target.own), resume(3, PEER, target.own, True)] * 100)
    assert toll.got == {"ack": 200}
    assert toll.told == {AckDue: 200}
    assert toll.dropped == {FrameCause.STALE_RESUME: 200}
    assert target.wire.state is StreamState.OPEN


@both_roles
def test_foreign_incarnation(role: Role) -> None:
    target = Target(role)
    toll = target.attack([resume(1, PEER, accepted(99))])
    assert toll.dropped == {FrameCause.FOREIGN_INCARNATION: 1}
    if role is Role.HARNESS:  # an answer to an earlier life of ours
        assert (toll.got, toll.told) == ({}, {})
    else:  # somebody who believes to be talking to an earlier life of ours
        assert ended(toll, "unknown_stream")


@both_roles
def test_incarnation_that_changes(role: Role) -> None:
    target = Target(role)
    toll = target.attack([resume(1, PEER + 1, target.own), data(1), data(2)])
    assert ended(toll, "peer_restarted")
    assert toll.told == {StreamReset: 1}
    assert toll.dropped == {FrameCause.ENDED_STREAM: 2}


# -- stream ids


@both_roles
def test_stream_id_of_64_kib(role: Role) -> None:
    sid = "x" * 65536
    frames: list[Frame] = [
        resume(1, PEER, sid=sid),
        data(0, sid=sid),
        data(1, sid=sid),
        ack(sid=sid),
        heartbeat(sid=sid),
        handshake(sid=sid),
        reset("closed", sid=sid),
    ]
    toll = Target(role).attack(frames * 10)
    assert toll.got == {}
    assert toll.told == {FrameRejected: 70}
    assert toll.dropped == {FrameCause.STREAM_ID_TOO_LONG: 70}


@both_roles
@pytest.mark.parametrize("sid", ["\x00", "a\r\nb: c", "\x1b[31mred", "\u202egnp.exe", "s1\x00"])
def test_stream_id_with_control_characters(role: Role, sid: str) -> None:
    target = Target(role)
    toll = target.attack([resume(1, PEER, sid=sid), data(1, sid=sid)])
    # A text like any other: nothing is cut off, replaced, or taken for the id of another stream.
    if role is Role.HARNESS:
        assert toll.got == {"reset unknown_stream": 2}
        assert toll.dropped == {FrameCause.UNKNOWN_STREAM: 2}
    else:
        assert toll.got == {"question": 1}
        assert toll.dropped == {}
        target.wire.give(resume(2, PEER, accepted(3), True, sid=sid))
        (opened,) = target.wire.events_of(StreamOpened)
        assert opened.stream_id == sid


# -- the table


def rows_under(heading: str) -> dict[str, str]:
    """Of each attack in a table of `docs/attacks.md`, the name of its test, and what is counted."""
    section = (ROOT / "docs/attacks.md").read_text().partition(f"\n## {heading}\n")[2]
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert all(len(row) == 4 and all(row) for row in rows)
    names = ["test_" + row[0].lower().replace(" ", "_") for row in rows]
    assert len(set(names)) == len(rows)
    return {name: row[3] for name, row in zip(names, rows, strict=True)}


@pytest.mark.parametrize(
    ("heading", "module", "counters"),
    [
        ("At an endpoint", "test_attacks.py", [FrameCause, ConnectionStats]),
        ("At a rendezvous", "test_attacks_rendezvous.py", [DropCause, FrameCause, RendezvousStats]),
    ],
)
def test_every_row_of_the_table_has_a_test_and_every_test_a_row(
    heading: str, module: str, counters: list[type]
) -> None:
    source = (ROOT / "tests" / module).read_text().partition("\n# -- the table\n")[0]
    tests = {
        node.name: ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    rows = rows_under(heading)
    assert rows.keys() == tests.keys()
    for name, counted in rows.items():
        for counter in re.findall(r"`(\w+)`", counted):
            assert any(hasattr(kind, counter) for kind in counters), f"{name}: no {counter}"
            assert counter in tests[name], f"{name} does not look at {counter}"
