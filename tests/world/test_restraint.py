"""The judge of what may not be said yet."""

import pytest

from sansrelay.codec import encode_frame
from sansrelay.connection import Role
from sansrelay.frames import AckFrame, DataFrame, Frame, ResetFrame, ResumeFrame
from sansrelay.states import Profile
from sansrelay.testing import Promise
from sansrelay.testing.world.restraint import Restraint
from world_kit import Case, Machine, guilty

NAME = "harness/1"
ACK = AckFrame(NAME, 0, 0)
OPENING = ResumeFrame(NAME, 0, 0, 1, 7)
QUESTION = ResumeFrame(NAME, 0, 0, 1, 7, 8)
REPLY = ResumeFrame(NAME, 0, 0, 1, 8, 7)


def data(seq: int) -> DataFrame:
    return DataFrame(NAME, 0, 0, seq, 0, 1, b"data")


class Watched:
    """One life of a peer, frame by frame, on its first link."""

    def __init__(self, role: Role = Role.HARNESS) -> None:
        self.restraint = Restraint(role.value, Case().oracle)
        self.conn = Machine(role)
        self.restraint.link_opened()

    def says(self, *frames: Frame, to: Profile | None = Profile.UNKNOWN) -> None:
        self.conn.taken_for = to
        for frame in frames:
            self.restraint.said(self.conn, encode_frame(frame))

    def hears(self, *frames: Frame) -> None:
        for frame in frames:
            self.restraint.heard(self.conn, encode_frame(frame))


def test_nonsense_is_not_judged_here() -> None:
    watched = Watched()
    watched.restraint.heard(watched.conn, b"\xff")
    watched.restraint.said(watched.conn, b"\xff")
    watched.hears(data(1))
    watched.says(ResetFrame(NAME, 0, 0, "closed"))


def test_first_data_may_go_with_the_opening_on_its_link() -> None:
    watched = Watched()
    watched.says(OPENING, data(1), data(2))
    watched.restraint.link_opened()
    with guilty(Promise.SENT_ONCE, "before the peer's resume on this link"):
        watched.says(data(3))


@pytest.mark.parametrize("frame", [ACK, data(1)])
def test_nothing_else_goes_to_a_reliable_peer_before_its_resume(frame: Frame) -> None:
    watched = Watched()
    watched.says(OPENING)
    with guilty(Promise.SENT_ONCE, "before the peer's resume on this link"):
        watched.says(frame, to=Profile.RELIABLE)
    watched.hears(REPLY)
    watched.says(frame, to=Profile.RELIABLE)


def test_an_ack_does_not_go_with_the_opening() -> None:
    watched = Watched()
    watched.says(OPENING)
    with guilty(Promise.SENT_ONCE, "before the peer's resume on this link"):
        watched.says(ACK)


@pytest.mark.parametrize(
    "resume", [REPLY._replace(peer_incarnation=9), REPLY._replace(peer_incarnation=0)]
)
def test_a_resume_to_somebody_else_opens_no_gate(resume: ResumeFrame) -> None:
    watched = Watched()
    watched.says(OPENING)
    watched.hears(resume)
    with guilty(Promise.SENT_ONCE, "before the peer's resume on this link"):
        watched.says(ACK, to=Profile.RELIABLE)


def test_a_stale_resume_opens_no_gate_on_the_next_link() -> None:
    watched = Watched()
    watched.says(OPENING)
    watched.hears(REPLY)
    watched.says(ACK._replace(ack=3), to=Profile.RELIABLE)
    watched.restraint.link_opened()
    watched.says(QUESTION)
    watched.hears(REPLY._replace(next_seq=3))
    with guilty(Promise.SENT_ONCE, "before the peer's resume on this link"):
        watched.says(ACK, to=Profile.RELIABLE)
    watched.hears(REPLY._replace(next_seq=4))
    watched.says(ACK, to=Profile.RELIABLE)


def test_nothing_is_repeated_before_something_has_come() -> None:
    watched = Watched()
    watched.says(OPENING, data(1))
    with guilty(Promise.SENT_ONCE, "though nothing has come since"):
        watched.says(data(1))
    watched.hears(REPLY)
    watched.says(data(1), to=Profile.RELIABLE)


def test_a_basic_stream_says_nothing_on_a_second_link() -> None:
    watched = Watched()
    watched.says(OPENING)
    watched.says(data(1), to=Profile.BASIC)
    watched.restraint.link_opened()
    with guilty(Promise.SENT_ONCE, "on a basic stream that has lost its link"):
        watched.says(data(2), to=Profile.BASIC)


def test_what_ends_a_basic_stream_by_being_sent_is_let_pass() -> None:
    watched = Watched()
    watched.says(OPENING)
    watched.restraint.link_opened()
    watched.says(data(1), to=None)


def test_an_acceptor_that_has_forgotten_the_stream_begins_anew() -> None:
    watched = Watched()
    watched.says(OPENING, data(1))
    watched.says(OPENING._replace(incarnation=17), data(1))


OFFER = ResumeFrame(NAME, 0, 0, 1, 8, 7)
NEXT_OFFER = OFFER._replace(incarnation=9)


def acceptor(*heard: Frame) -> Watched:
    """An executor that knows no stream, and what came to it."""
    watched = Watched(Role.EXECUTOR)
    watched.hears(*heard)
    return watched


def test_an_opening_is_answered_with_an_offer_and_a_stale_copy_of_it_may_be_too() -> None:
    watched = acceptor(OPENING)
    watched.says(OFFER, OFFER, to=Profile.RELIABLE)
    watched.restraint.link_opened()
    watched.says(OFFER._replace(next_seq=5), to=Profile.RELIABLE)
    watched.says(ResetFrame(NAME, 0, 0, "closed"), to=None)
    watched.hears(OPENING)
    watched.says(NEXT_OFFER, to=Profile.RELIABLE)


@pytest.mark.parametrize(
    "heard",
    [
        QUESTION,
        OPENING._replace(next_seq=2),
        OPENING._replace(next_seq=0),
        OPENING._replace(ack=1),
        OPENING._replace(ack_bits=1),
        OPENING._replace(stream_id="harness/2"),
        data(1),
    ],
)
def test_nothing_but_an_opening_is_answered_with_an_offer(heard: Frame) -> None:
    watched = acceptor(heard)
    with guilty(Promise.AT_MOST_ONCE, "offers harness/1, of which no opening has come"):
        watched.says(OFFER, to=Profile.RELIABLE)


def test_an_opening_is_good_for_one_offer() -> None:
    watched = acceptor(OPENING)
    watched.says(OFFER, to=Profile.RELIABLE)
    watched.hears(OPENING)  # a repetition, to the stream that it has made
    watched.says(ResetFrame(NAME, 0, 0, "closed"), to=None)
    watched.hears(QUESTION)
    with guilty(Promise.AT_MOST_ONCE, "offers harness/1, of which no opening has come"):
        watched.says(NEXT_OFFER, to=Profile.RELIABLE)


def test_an_opener_waits_for_no_opening() -> None:
    watched = Watched()
    watched.hears(QUESTION)
    watched.says(OPENING)
