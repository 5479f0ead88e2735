"""When to dial again, and when to ping: rules that both adapters follow."""

import math

import pytest

from sansrelay.connection import Role
from sansrelay.links import (
    Backoff,
    ConnectCause,
    ConnectError,
    KeepAlive,
    PingTimer,
    Redial,
    RegistryRefused,
)
from sansrelay.network import Registry, RegistryQuestion, is_loopback, url_to_dial


class Longest:
    """Each pause as long as it may be."""

    def uniform(self, a: float, b: float) -> float:
        return b


def failed(cause: ConnectCause) -> ConnectError:
    return ConnectError(cause, "failed")


def revoked() -> RegistryRefused:
    return RegistryRefused(ConnectCause.UNAUTHORIZED, "revoked", status=401)


class TestRedial:
    def redial(self, wait: float = math.inf) -> Redial:
        return Redial(Backoff(first=1, cap=4), Longest(), wait=wait, now=10)

    def test_pauses_grow_until_a_frame_has_come(self) -> None:
        redial = self.redial()
        redial.linked()
        assert [redial.pause_after(None, 0) for _ in range(4)] == [1, 2, 4, 4]
        redial.linked()
        assert redial.pause_after(None, 0) == 4
        redial.heard()
        assert redial.pause_after(None, 0) == 1

    @pytest.mark.parametrize("cause", ConnectCause)
    def test_at_first_only_what_may_pass_is_tried_again(self, cause: ConnectCause) -> None:
        error = failed(cause)
        if cause.may_pass:
            assert self.redial().pause_after(error, 10) == 1
        else:
            with pytest.raises(ConnectError) as caught:
                self.redial().pause_after(error, 10)
            assert caught.value is error

    def test_the_next_attempt_has_to_begin_within_wait(self) -> None:
        redial = self.redial(wait=4)
        error = failed(ConnectCause.UNAVAILABLE)
        assert redial.pause_after(error, 11) == 1
        assert redial.pause_after(error, 12) == 2
        with pytest.raises(ConnectError):
            redial.pause_after(error, 13)

    @pytest.mark.parametrize("cause", ConnectCause)
    def test_later_nothing_is_final_but_a_registry_that_knows_us_no_more(
        self, cause: ConnectCause
    ) -> None:
        redial = self.redial(wait=0)
        redial.linked()
        assert redial.pause_after(failed(cause), 1000) == 1
        with pytest.raises(RegistryRefused):
            redial.pause_after(revoked(), 1000)


class TestPingTimer:
    def test_it_pings_at_its_interval(self) -> None:
        timer = PingTimer(KeepAlive(ping_interval=20, pong_timeout=5), 100)
        assert timer.deadline == 120
        assert not timer.should_ping(119)
        assert timer.should_ping(120)
        assert timer.deadline == 125
        assert not timer.is_dead(125, heard_at=120.5)
        assert timer.deadline == 140

    def test_silence_after_a_ping_is_death(self) -> None:
        timer = PingTimer(KeepAlive(ping_interval=20, pong_timeout=50), 0)
        assert [timer.should_ping(at) for at in (20, 40, 60)] == [True] * 3
        assert not timer.is_dead(69, heard_at=0)
        assert timer.is_dead(70, heard_at=19.9)

    def test_what_is_switched_off_is_never_due(self) -> None:
        timer = PingTimer(KeepAlive(ping_interval=math.inf, pong_timeout=math.inf), 0)
        assert timer.deadline == math.inf
        assert not timer.should_ping(1e12)
        assert not timer.is_dead(1e12, heard_at=0)


class TestTakenOver:
    def redial(self) -> Redial:
        backoff = Backoff(first=1, superseded_first=10, superseded_cap=25)
        return Redial(backoff, Longest(), wait=0, now=0)

    def test_pauses_grow_whatever_comes_through_meanwhile(self) -> None:
        redial = self.redial()
        pauses = []
        for at in (0, 10, 30, 55):
            redial.linked()
            redial.heard()
            pauses.append(redial.pause_after_superseded(at))
        assert pauses == [10, 20, 25, 25]

    def test_they_start_over_after_three_times_the_longest_of_them(self) -> None:
        redial = self.redial()
        assert redial.pause_after_superseded(0) == 10
        assert redial.pause_after_superseded(75) == 20
        assert redial.pause_after_superseded(151) == 10

    def test_they_are_apart_from_the_others(self) -> None:
        redial = self.redial()
        redial.linked()
        assert [redial.pause_after_superseded(at) for at in (0, 1)] == [10, 20]
        assert redial.pause_after(None, 2) == 1

    def test_times_without_sense_are_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match=r"^superseded_first must be"):
            Backoff(superseded_first=0)

    def test_half_of_them_is_certain(self) -> None:
        class Shortest:
            def uniform(self, a: float, b: float) -> float:
                return a

        assert Backoff().delay_superseded(1, Shortest()) == 2.5
        assert Backoff().delay_superseded(1000, Shortest()) == 150


class TestLoopback:
    @pytest.mark.parametrize(
        ("host", "loopback"),
        [
            ("127.0.0.1", True),
            ("127.255.255.254", True),
            ("::1", True),
            ("0:0:0:0:0:0:0:1", True),
            ("localhost", True),
            ("126.0.0.1", False),
            ("128.0.0.1", False),
            ("0.0.0.0", False),
            ("::", False),
            ("::2", False),
            ("127.1", False),
            ("10.0.0.1", False),
            ("localhost.example", False),
            ("127.0.0.1.example", False),
        ],
    )
    def test_what_needs_no_tls(self, host: str, loopback: bool) -> None:
        assert is_loopback(host) is loopback
        name = f"[{host}]" if ":" in host else host

        def dial() -> None:
            assert url_to_dial(f"ws://{name}:1/", insecure=False).host == host

        def ask() -> None:
            registry = Registry(f"http://{name}:1", "box1", token="secret")
            RegistryQuestion(Role.HARNESS, registry, insecure=False)

        for attempt in (dial, ask):
            if loopback:
                attempt()
            else:
                with pytest.raises(ConnectError) as caught:
                    attempt()
                assert caught.value.cause is ConnectCause.INSECURE

    def test_tls_leads_anywhere(self) -> None:
        assert url_to_dial("wss://10.0.0.1/", insecure=False).secure
        RegistryQuestion(
            Role.HARNESS, Registry("https://10.0.0.1", "x", token="secret"), insecure=False
        )
