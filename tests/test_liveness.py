"""Who is waited for, since when, and for how long."""

import pytest

from sansrelay.config import RelayConfig
from sansrelay.liveness import Liveness
from sansrelay.timers import NEVER, TimerKind

CONFIG = RelayConfig(silence_timeout=20.0, resume_timeout=300.0, heartbeat_interval=30.0)
SILENCE, END = TimerKind.SILENCE, TimerKind.RESUME_TIMEOUT


@pytest.fixture
def liveness() -> Liveness:
    return Liveness(CONFIG)


def test_nobody_is_waited_for(liveness: Liveness) -> None:
    assert liveness.deadline(link_up=True)[0] == NEVER
    liveness.heard(5.0)
    assert liveness.deadline(link_up=True)[0] == NEVER
    assert liveness.next_heartbeat() == NEVER


def test_first_silent_then_given_up(liveness: Liveness) -> None:
    liveness.wait(100.0)
    assert liveness.deadline(link_up=True) == (120.0, SILENCE)
    assert liveness.silence(121.0) == 21.0
    assert liveness.deadline(link_up=True) == (400.0, END)


def test_without_a_link_silence_means_nothing(liveness: Liveness) -> None:
    liveness.wait(100.0)
    assert liveness.deadline(link_up=False) == (400.0, END)


def test_waiting_begins_once(liveness: Liveness) -> None:
    liveness.wait(100.0)
    liveness.wait(110.0)
    assert liveness.deadline(link_up=True) == (120.0, SILENCE)


def test_any_sign_of_life_counts(liveness: Liveness) -> None:
    liveness.wait(100.0)
    liveness.heard(115.0)
    assert liveness.deadline(link_up=True) == (135.0, SILENCE)
    liveness.silence(135.0)
    liveness.heard(350.0)
    assert liveness.deadline(link_up=True) == (370.0, SILENCE), "silent again: said again"
    assert liveness.deadline(link_up=False) == (650.0, END)


def test_what_was_heard_before_the_waiting_does_not_shorten_it(liveness: Liveness) -> None:
    liveness.heard(10.0)
    liveness.wait(100.0)
    assert liveness.deadline(link_up=True) == (120.0, SILENCE)


def test_silence_is_said_once_until_the_peer_is_heard(liveness: Liveness) -> None:
    liveness.wait(100.0)
    liveness.silence(120.0)
    liveness.rest()
    liveness.wait(200.0)
    assert liveness.deadline(link_up=True) == (500.0, END)
    liveness.heard(210.0)
    assert liveness.deadline(link_up=True) == (230.0, SILENCE)


def test_rest(liveness: Liveness) -> None:
    liveness.wait(100.0)
    liveness.rest()
    assert liveness.deadline(link_up=True)[0] == NEVER
    liveness.wait(200.0)
    assert liveness.deadline(link_up=True) == (220.0, SILENCE)


def test_a_new_link_begins_the_silence_anew(liveness: Liveness) -> None:
    liveness.wait(100.0)
    liveness.silence(120.0)
    liveness.link_opened(200.0)
    assert liveness.deadline(link_up=True) == (220.0, SILENCE)
    assert liveness.silence(220.0) == 20.0
    assert liveness.deadline(link_up=True) == (400.0, END), "which is not put off by it"


def test_a_peer_that_is_given_up_first_is_not_called_silent() -> None:
    liveness = Liveness(RelayConfig(silence_timeout=20.0, resume_timeout=20.0))
    liveness.wait(100.0)
    assert liveness.deadline(link_up=True) == (120.0, END)


def test_heartbeat_after_a_pause(liveness: Liveness) -> None:
    liveness.sent_at = 100.0
    assert liveness.next_heartbeat() == 130.0
    liveness.heartbeat_owed = True
    assert liveness.next_heartbeat() == NEVER


def test_an_answer_to_a_heartbeat(liveness: Liveness) -> None:
    assert not liveness.heard(1.0)
    liveness.heartbeat_unanswered = True
    assert liveness.heard(2.0)
    assert not liveness.heard(3.0)


def test_a_lost_link_begins_the_waiting(liveness: Liveness) -> None:
    liveness.heartbeat_owed = liveness.heartbeat_unanswered = True
    liveness.link_closed(100.0)
    assert liveness.deadline(link_up=False) == (400.0, END)
    assert not liveness.heartbeat_owed
    assert not liveness.heard(101.0), "the heartbeat went with the link"


def test_a_lost_link_does_not_prolong_the_waiting(liveness: Liveness) -> None:
    liveness.wait(50.0)
    liveness.link_closed(100.0)
    assert liveness.deadline(link_up=False) == (350.0, END)
