"""Each kind of fault, many times in one schedule: it does what it says, and no promise breaks.

Random schedules draw a few kinds each. Here the kind is given, so that all of its ways to go are
gone whatever the seed.
"""

import random

import pytest

from sansrelay.testing.world.faults import Faults
from sansrelay.testing.world.schedules import Schedule, ScheduleKind

TIMES = 12
PACE = 4.0
"""Seconds between two faults."""

LEAVES_A_TRACE = {
    "cut": "cut",
    "half_open": "half-open",
    "cut_all": "cut",
    "second_link": "second link",
    "stall": "stall",
    "black_hole": "black hole",
    "hold": "held",
    "crash": "crash",
    "stop_reading": "reader stopped",
    "end_stream": "stream ended",
    "flood": "flood",
    "change_of_weather": "change of weather",
    "absence": "absence",
    "old_link_speaks": "old link speaks",
    "cut_while_opening": "cut while opening",
    "noise": "noise",
    "echo": "echo",
    "false_ack": "false ack",
    "false_resume": "false resume",
}
ONLY_WITH_RENDEZVOUS = {
    "take_over": "executor taken over",
    "take_over_with_queue": "executor taken over with a queue",
    "foreign_principal": "foreign principal",
    "kill_rendezvous": "rendezvous killed",
    "replace_rendezvous": "rendezvous replaced",
    "move": "peer moved",
    "twin": "twin executor",
    "change_executor": "executor replaced",
}
NAMES = LEAVES_A_TRACE | ONLY_WITH_RENDEZVOUS


def made(kind: ScheduleKind, seed: str) -> Schedule:
    return Schedule(kind, random.Random(seed))


@pytest.mark.parametrize(
    ("kind", "names"), [(ScheduleKind.PAIR, LEAVES_A_TRACE), (ScheduleKind.WORLD, NAMES)]
)
def test_each_kind_is_tried_here(kind: ScheduleKind, names: dict[str, str]) -> None:
    faults = Faults(made(kind, "kinds")).kinds()
    assert sorted(fault.__name__ for fault in faults) == sorted(names)


@pytest.mark.parametrize("name", NAMES)
def test_one_kind_of_fault_many_times(name: str) -> None:
    schedule = made(ScheduleKind.WORLD, f"storm of {name}")
    faults = Faults(schedule)
    (fault,) = (fault for fault in faults.kinds() if fault.__name__ == name)
    schedule.sessions(2)
    for number in range(TIMES):
        schedule.world.at(number * PACE, fault)
    schedule.world.run(TIMES * PACE)
    faults.end()
    schedule.world.finish()
    schedule.workload.check_effects()
    assert schedule.world.stage.faults[NAMES[name]] > 0
