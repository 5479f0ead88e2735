"""Every cell of the table in `sansrelay.outcomes` is what the connection does.

Each test brings a connection to a place, gives it one frame, and compares all that follows: where
the stream is, what goes out, what is counted, what the application is told.
"""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from sansrelay import (
    ConnectionStats,
    EndedBy,
    FrameCause,
    ProfilePolicy,
    RelayConfig,
    Role,
    StreamState,
)
from sansrelay.cells import (
    NO_SUCH_PAIR,
    OPENED,
    POSITIONS,
    RESETS,
    STEPS,
    Cell,
    FrameKind,
    Reply,
    Setting,
    Step,
    Where,
)
from sansrelay.codec import encode_frame
from sansrelay.events import (
    AckDue,
    DataReceived,
    FrameRejected,
    Retransmit,
    StreamOpened,
    StreamReset,
    StreamResumed,
)
from sansrelay.frames import AckFrame, DataFrame, Frame, ResetFrame, ResumeFrame
from sansrelay.outcomes import CELLS, IMPOSSIBLE, WITHOUT_LINK
from sansrelay.states import TRANSITIONS, Profile
from wirekit import (
    PEER,
    SID,
    Wire,
    ack,
    data,
    handshake,
    heartbeat,
    of_kind,
    own_of,
    reset,
    resume,
)

Spot = tuple[Role, Setting, Where]

USUAL = RelayConfig(max_message_size=1000, segment_size=500)
CONFIGS = {
    Setting.AUTO: USUAL,
    Setting.EARLY: replace(USUAL, early_data=True),
    Setting.RELIABLE: replace(USUAL, profile=ProfilePolicy.RELIABLE),
    Setting.BASIC: replace(USUAL, profile=ProfilePolicy.BASIC),
}
SPOTS: list[Spot] = [spot for spot in product(Role, Setting, Where) if spot not in IMPOSSIBLE]
OTHER = 0x99
"""An incarnation that is neither our own nor the peer's."""
BODILESS = encode_frame(ack())[:-2]
TALKING = (StreamState.OPEN, StreamState.RESUMING)
BASIC = (Where.BASIC_NEW, Where.BASIC)
UNTAGGED = (Where.UNTAGGED, Where.RESUMING_UNTAGGED, Where.ASKING_UNTAGGED)


# -- places


def put(role: Role, setting: Setting, where: Where) -> Wire:
    """A connection with the usual stream in that place; nothing is left to be sent or read."""
    wire = Wire(role, CONFIGS[setting])
    match where:
        case Where.ABSENT:
            pass
        case Where.PENDING:
            wire.give(data(1))
        case Where.OPENING:
            wire.conn.open_stream(SID)
            wire.sent()
            wire.conn.send_data(SID, b"x")
        case Where.OPENING_AGAIN:
            wire = put(role, setting, Where.OPENING)
            take(wire, Step.NEW_LINK)
        case Where.UNCONFIRMED:
            wire.talk(resume(1, PEER))
            wire.give(data(1))
        case Where.OPEN:
            meet(wire, tagged=True)
        case Where.UNTAGGED:
            meet(wire, tagged=False)
        case Where.RESUMING | Where.ASKING:
            wire = put(role, setting, Where.OPEN)
            take(wire, Step.NEW_LINK if where is Where.RESUMING else Step.ASK)
        case Where.RESUMING_UNTAGGED | Where.ASKING_UNTAGGED:
            wire = put(role, setting, Where.UNTAGGED)
            take(wire, Step.NEW_LINK if where is Where.RESUMING_UNTAGGED else Step.ASK)
        case Where.BASIC_NEW:
            if role is Role.HARNESS:
                wire.conn.open_stream(SID)
                wire.sent()
            if setting is not Setting.BASIC:
                wire.give(resume(0))
            elif role is Role.EXECUTOR:
                wire.give(data(0, count=2))  # it opens the stream, and is no message
            wire.conn.send_data(SID, b"x")
        case Where.BASIC:
            if role is Role.HARNESS:
                wire.conn.open_stream(SID)
                wire.sent()
            exchange(wire, 0)
        case Where.ENDED:
            if role is Role.HARNESS:
                wire.conn.open_stream(SID)
                wire.sent()
            else:
                wire.talk(data(0) if setting is Setting.BASIC else resume(1, PEER))
            wire.conn.reset_stream(SID)
    wire.sent()
    wire.events()
    return wire


def meet(wire: Wire, *, tagged: bool) -> None:
    """Both ends get to know each other, and exchange a message."""
    role = wire.conn.role
    if role is Role.HARNESS:
        wire.conn.open_stream(SID)
        wire.sent()
    else:
        wire.talk(resume(1, PEER if tagged else 0))
    if tagged:
        wire.talk(resume(1, PEER, own_of(role), True))
    elif role is Role.HARNESS:
        wire.talk(resume(1))
    wire.wait(USUAL.initial_rto)  # a peer without incarnations is answered so often
    exchange(wire, 1)


def exchange(wire: Wire, seq: int) -> None:
    """A message of the peer is consumed, and one of ours is under way."""
    wire.give(data(seq))
    wire.conn.consume(SID)
    wire.conn.send_data(SID, b"x")
    wire.sent()


def take(wire: Wire, step: Step) -> None:
    """Something happens that is no frame of the peer."""
    match step:
        case Step.NEW_LINK:
            wire.cut()
            wire.join()
        case Step.ASK:
            while not any(isinstance(frame, ResumeFrame) for frame in wire.wait(0.1)):
                assert wire.clock() < USUAL.resume_timeout, "nothing is asked"
        case Step.END:
            wire.conn.reset_stream(SID)
        case Step.LATE:
            assert wire.wait(USUAL.pending_timeout) == [reset("unknown_stream")]
        case Step.FORGET:
            wire.wait(USUAL.ended_ttl)
            wire.sent()
    wire.sent()
    wire.events()


def assert_in(wire: Wire, where: Where) -> None:
    assert (wire.state, wire.profile) == POSITIONS[where]
    if POSITIONS[where] == (None, None):
        assert bool(wire.conn.stats().bytes_held) == (where is Where.PENDING)


# -- frames


def example(kind: FrameKind, role: Role, where: Where) -> Frame | None:
    """A frame of that kind, as a peer could send it to a stream in that place; None: no frame."""
    if kind is FrameKind.INVALID:
        return None
    first = 0 if where in BASIC else 1
    taken = where is Where.UNCONFIRMED or (
        POSITIONS[where][0] in TALKING and where is not Where.BASIC_NEW
    )
    following = first + 1 if taken else first
    peer = 0 if where in UNTAGGED else PEER
    return _example(kind, own_of(role), peer, first, following)


def _example(kind: FrameKind, own: int, peer: int, first: int, following: int) -> Frame:
    """The peer's segments begin with `first`; `following` is the next that was not taken."""
    announced = max(following, 1)
    match kind:
        case FrameKind.RESET:
            return reset("closed")
        case FrameKind.RESET_UNKNOWN:
            return reset("unknown_stream")
        case FrameKind.RESET_BEYOND:
            return reset("closed", ack=9)
        case FrameKind.HANDSHAKE:
            return handshake()
        case FrameKind.RESUME_BASIC:
            return resume(0)
        case FrameKind.RESUME_BASIC_ACK:
            return resume(0, ack=1)
        case FrameKind.RESUME_FIRST:
            return resume(1, PEER)
        case FrameKind.RESUME_FIRST_ACK:
            return resume(1, PEER, ack=1)
        case FrameKind.RESUME_FIRST_OTHER:
            return resume(1, OTHER)
        case FrameKind.RESUME_LATER:
            return resume(max(announced, 2), PEER)
        case FrameKind.RESUME_UNTAGGED:
            return resume(announced)
        case FrameKind.QUESTION:
            return resume(announced, peer, own)
        case FrameKind.ANSWER:
            return resume(announced, peer, own, True)
        case FrameKind.RESUME_STALE:
            return resume(1, peer, own)
        case FrameKind.RESUME_BEYOND:
            return resume(announced, peer, own, ack=9)
        case FrameKind.RESUME_FOREIGN:
            return resume(announced, peer, OTHER)
        case FrameKind.RESUME_RESTARTED:
            return resume(announced, OTHER, own)
        case FrameKind.DATA_ZERO:
            return data(0)
        case FrameKind.DATA_ZERO_ACK:
            return data(0, ack=1)
        case FrameKind.DATA_NEXT:
            return data(following)
        case FrameKind.DATA_EARLY:
            return data(following + 1)
        case FrameKind.DATA_DUPLICATE:
            return data(first)
        case FrameKind.DATA_OUTSIDE:
            return data(following + 1000)
        case FrameKind.DATA_FIRST_PART:
            return data(following, index=0, count=2)
        case FrameKind.DATA_BROKEN:
            return data(following, index=1, count=2)
        case FrameKind.DATA_TOO_LARGE:
            return data(following, b"z" * 600, index=0, count=3)
        case FrameKind.ACK:
            return ack(1)
        case FrameKind.ACK_OLD:
            return ack()
        case FrameKind.ACK_BEYOND:
            return ack(9)
        case FrameKind.HEARTBEAT:
            return heartbeat()
    raise AssertionError(kind)


# -- what follows


def reply_of(frame: Frame, given: Frame | None, wire: Wire) -> Reply:
    """Which reply a frame is; it must be right in every field that the table does not speak of."""
    if isinstance(frame, ResumeFrame):
        assert isinstance(given, ResumeFrame)
        assert frame.incarnation == own_of(wire.conn.role)
        assert frame.peer_incarnation == given.incarnation
        return Reply.ANSWER if frame.answer else Reply.QUESTION
    if isinstance(frame, AckFrame):
        return Reply.ACK
    if isinstance(frame, DataFrame):
        assert (frame.seq, frame.payload) == (1, b"x")
        return Reply.MISSING
    assert isinstance(frame, ResetFrame)
    return Reply.RESET


def assert_outcome(wire: Wire, where: Where, frame: Frame | None, cell: Cell) -> None:
    """The frame arrives, and what follows is what the cell says, no less and no more."""
    raw = BODILESS if frame is None else encode_frame(frame)
    before = wire.conn.stats()

    wire.conn.receive_frame(raw, wire.clock())
    sent = wire.sent()
    events = wire.events()
    after = wire.conn.stats()

    replies = [reply_of(frame_out, frame, wire) for frame_out in sent]
    if where is Where.ENDED:
        replies = [Reply.RESET_AGAIN if reply is Reply.RESET else reply for reply in replies]
    assert_in(wire, cell.to or where)
    assert [type(event) for event in events] == list(cell.events)
    assert Counter(after.dropped) - Counter(before.dropped) == Counter(cell.counted)
    assert replies == [reply for reply in cell.replies if reply is not Reply.ACK_LATER]
    for reset_out in of_kind(ResetFrame, sent):
        assert reset_out.reason == ("cancelled" if where is Where.ENDED else cell.reason)
    for event in events:
        if isinstance(event, FrameRejected):
            assert event.cause in cell.counted
        if isinstance(event, StreamReset):
            if isinstance(frame, ResetFrame):
                assert (event.reason, event.by) == (frame.reason, EndedBy.PEER)
            else:
                assert (event.reason, event.by) == (cell.reason, EndedBy.LOCAL)

    happened = Counter(cell.events)
    lived = POSITIONS[where][1] is not None
    assert numbers(after) - numbers(before) == Counter(
        frames_received=1,
        bytes_received=len(raw),
        frames_sent=len(replies),
        segments_sent=replies.count(Reply.MISSING),
        segments_retransmitted=happened[Retransmit],
        messages_received=happened[DataReceived],
        streams_opened=happened[StreamOpened],
        streams_ended=int(lived and cell.to is Where.ENDED),
        resumes=happened[StreamResumed],
    )
    later = of_kind(AckFrame, wire.wait(USUAL.ack_delay))
    assert bool(later) == (Reply.ACK_LATER in cell.replies)


def numbers(stats: ConnectionStats) -> Counter[str]:
    """The counters that only grow, bytes sent aside."""
    return Counter(
        {
            name: getattr(stats, name)
            for name in (
                "frames_sent",
                "frames_received",
                "bytes_received",
                "segments_sent",
                "segments_retransmitted",
                "messages_received",
                "links_opened",
                "streams_opened",
                "streams_ended",
                "resumes",
                "resets_suppressed",
            )
        }
    )


# -- the tests


def spot_id(spot: Spot) -> str:
    return "-".join(part.name.lower() for part in spot)


@pytest.mark.parametrize("kind", FrameKind, ids=lambda kind: kind.name.lower())
@pytest.mark.parametrize("spot", SPOTS, ids=spot_id)
def test_cell(spot: Spot, kind: FrameKind) -> None:
    role, setting, where = spot
    wire = put(role, setting, where)
    assert_in(wire, where)
    assert_outcome(wire, where, example(kind, role, where), CELLS[role, setting, where, kind])


@pytest.mark.parametrize("spot", SPOTS, ids=spot_id)
def test_without_a_link_no_frame_is_taken(spot: Spot) -> None:
    role, setting, where = spot
    wire = put(role, setting, where)
    wire.cut()
    wire.events()
    state, profile = wire.state, wire.profile
    lost = wire.conn.stats().dropped.get(FrameCause.NO_LINK, 0)
    for count, kind in enumerate(FrameKind, lost + 1):
        frame = example(kind, role, where)
        wire.conn.receive_frame(BODILESS if frame is None else encode_frame(frame), wire.clock())
        assert (wire.state, wire.profile) == (state, profile)
        assert (wire.events(), wire.sent()) == ([], [])
        assert wire.conn.stats().dropped[FrameCause.NO_LINK] == count
    assert Cell(counted=(FrameCause.NO_LINK,)) == WITHOUT_LINK


@pytest.mark.parametrize("spot", SPOTS, ids=spot_id)
def test_steps(spot: Spot) -> None:
    role, setting, where = spot
    for (start, step), to in STEPS.items():
        if start is where:
            wire = put(role, setting, where)
            take(wire, step)
            assert_in(wire, to)


@pytest.mark.parametrize("setting", Setting)
def test_a_new_stream_is_where_the_table_says(setting: Setting) -> None:
    wire = Wire(Role.HARNESS, CONFIGS[setting])
    wire.conn.open_stream(SID)
    assert_in(wire, OPENED[setting])


def test_the_table_covers_everything_once() -> None:
    every = set(product(Role, Setting, Where, FrameKind))
    impossible = {(*spot, kind) for spot in IMPOSSIBLE for kind in FrameKind}
    assert set(CELLS) | impossible == every
    assert len(CELLS) + len(impossible) == len(every)


def test_the_places_cover_every_state_and_profile() -> None:
    every = set(product((None, *StreamState), (None, *Profile)))
    assert set(POSITIONS) == set(Where)
    assert set(POSITIONS.values()) | set(NO_SUCH_PAIR) == every
    assert set(POSITIONS.values()) & set(NO_SUCH_PAIR) == set()


@pytest.mark.parametrize(("role", "setting"), list(product(Role, Setting)))
def test_exactly_the_possible_places_are_reached(role: Role, setting: Setting) -> None:
    reached: set[Where] = set()
    found = {Where.ABSENT}
    if role is Role.HARNESS:
        found.add(OPENED[setting])
    while found:
        where = found.pop()
        reached.add(where)
        assert (role, setting, where) not in IMPOSSIBLE
        found |= {CELLS[role, setting, where, kind].to or where for kind in FrameKind} - reached
        found |= {to for (start, _), to in STEPS.items() if start is where} - reached
    assert reached == {where for where in Where if (role, setting, where) not in IMPOSSIBLE}


def test_the_steps_of_the_places_are_the_transitions_of_the_states() -> None:
    moves = [(where, cell.to) for (_, _, where, _), cell in CELLS.items() if cell.to is not None]
    moves += [(where, to) for (where, _), to in STEPS.items()]
    changes = {(POSITIONS[old][0], POSITIONS[new][0]) for old, new in moves}
    assert {(old, new) for old, new in changes if old and new and old is not new} == {
        (old, new) for (old, _), new in TRANSITIONS.items() if old is not new
    }
    born = {new for old, new in changes if old is None} | {
        POSITIONS[where][0] for where in OPENED.values()
    }
    assert born - {None} == {
        StreamState.OPENING,
        StreamState.UNCONFIRMED,
        StreamState.OPEN,
        StreamState.ENDED,
    }


def test_the_table_keeps_its_own_rules() -> None:
    for (_, _, where, kind), cell in CELLS.items():
        resets = Reply.RESET in cell.replies
        assert resets == (cell.reason is not None), (where, kind)
        assert (FrameRejected not in cell.events) or cell.counted, (where, kind)
        assert StreamReset not in cell.events or cell.to is Where.ENDED, (where, kind)
        assert (AckDue in cell.events) <= (
            Reply.ACK in cell.replies or Reply.ANSWER in cell.replies
        ), (where, kind)
        if kind in RESETS:
            assert cell.replies == (), "a reset is never answered"
        if where in BASIC:
            assert not set(cell.replies) & {Reply.ACK, Reply.ACK_LATER, Reply.MISSING}
