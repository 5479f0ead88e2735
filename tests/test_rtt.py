"""RFC 6298, with its numbers worked out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansrelay.config import RelayConfig
from sansrelay.rtt import RttEstimator

CONFIG = RelayConfig(initial_rto=1.0, min_rto=0.2, max_rto=15.0)


@pytest.fixture
def rtt() -> RttEstimator:
    return RttEstimator(CONFIG)


def test_before_any_measurement(rtt: RttEstimator) -> None:
    assert rtt.rto == 1.0
    assert rtt.smoothed is None
    assert rtt.variation == 0.0
    assert rtt.certainly_arrived is None


def test_first_measurement(rtt: RttEstimator) -> None:
    rtt.sample(0.4)  # section 2.2: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR
    assert (rtt.smoothed, rtt.variation) == (0.4, 0.2)
    assert rtt.rto == pytest.approx(1.2)


def test_later_measurements(rtt: RttEstimator) -> None:
    rtt.sample(0.4)
    rtt.sample(0.8)  # section 2.3: RTTVAR first, with the SRTT from before
    assert rtt.variation == pytest.approx(0.75 * 0.2 + 0.25 * 0.4)
    assert rtt.smoothed == pytest.approx(0.875 * 0.4 + 0.125 * 0.8)
    assert rtt.rto == pytest.approx(0.45 + 4 * 0.25)


def test_a_steady_round_trip_keeps_the_granularity(rtt: RttEstimator) -> None:
    for _ in range(200):
        rtt.sample(0.5)
    assert rtt.variation == pytest.approx(0.0, abs=1e-9)
    assert rtt.rto == pytest.approx(0.501)


def test_floor_and_cap(rtt: RttEstimator) -> None:
    rtt.sample(0.0)
    assert rtt.rto == 0.2
    assert rtt.certainly_arrived == 0.2
    for _ in range(50):
        rtt.sample(60.0)
    assert rtt.rto == 15.0
    assert rtt.certainly_arrived is not None
    assert rtt.certainly_arrived > 60.0, "without the cap"


@pytest.mark.parametrize("measured", [None, 0.0, 0.05, 0.4, 60.0])
def test_back_off_doubles_up_to_the_cap(rtt: RttEstimator, measured: float | None) -> None:
    if measured is not None:
        rtt.sample(measured)
    expected = first = rtt.rto
    for _ in range(2000):  # more than a float can be doubled
        rtt.back_off()
        expected = min(expected * 2, 15.0)
        assert rtt.rto == pytest.approx(expected)
    assert expected == 15.0
    rtt.progress()
    assert rtt.rto == first
    rtt.back_off()
    assert rtt.rto == pytest.approx(min(2 * first, 15.0))


def test_a_measurement_ends_the_back_off(rtt: RttEstimator) -> None:
    rtt.sample(0.4)
    rtt.back_off()
    assert rtt.rto == pytest.approx(2.4)
    rtt.sample(0.4)
    assert rtt.rto == pytest.approx(0.4 + 4 * 0.15)


def test_back_off_leaves_the_estimate_alone(rtt: RttEstimator) -> None:
    rtt.sample(0.4)
    arrived = rtt.certainly_arrived
    rtt.back_off()
    assert rtt.certainly_arrived == arrived == pytest.approx(1.2)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1000))))
def test_the_time_out_stays_within_its_bounds(inputs: list[float | None]) -> None:
    rtt = RttEstimator(CONFIG)
    samples = []
    for value in inputs:
        if value is None:
            rtt.back_off()
        else:
            rtt.sample(value)
            samples.append(value)
        assert 0.2 <= rtt.rto <= 15.0
        if samples:
            assert rtt.smoothed is not None
            assert min(samples) <= rtt.smoothed + 1e-9
            assert rtt.smoothed <= max(samples) + 1e-9
