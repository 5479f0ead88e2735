"""Schedules of fixed seeds, as the soak runs them; and what their swarm has to hold."""

import random
from collections import Counter

import pytest

from sansrelay.testing.world.dice import Dice
from sansrelay.testing.world.draws import draw_rendezvous
from sansrelay.testing.world.schedules import Schedule, ScheduleKind


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ScheduleKind)
def test_a_schedule_keeps_all_promises(kind: ScheduleKind, seed: int) -> None:
    schedule = Schedule(kind, random.Random(f"fixed {seed}"))
    schedule.run()
    assert schedule.world.frames > 0


def test_limits_of_a_rendezvous_are_low_in_some_schedules_and_never_in_all() -> None:
    drawn = [draw_rendezvous(Dice(random.Random(seed)), basic=False) for seed in range(200)]
    low = Counter[str]()
    for config in drawn:
        low["routes"] += config.max_routes < 10
        low["links"] += config.max_links_per_principal == 1
        low["stream"] += config.stream_queue_size < 10_000
        low["link"] += config.link_queue_size < 10_000
        low["total"] += config.total_queue_size < 10_000
        low["resets"] += config.reset_queue_size < 10_000
    assert all(10 < low[name] < 190 for name in ("routes", "links", "stream", "link", "total"))
    assert low["total"] < low["link"] < low["stream"]
    assert 10 < low["resets"] < 190


def test_harnesses_that_share_a_principal_are_never_too_many_for_it() -> None:
    """Or one of them would be without a link for ever, and nothing would arrive."""
    shared = Counter[bool]()
    for seed in range(60):
        schedule = Schedule(ScheduleKind.WORLD, random.Random(f"shares {seed}"))
        world = schedule.world
        few = any(
            process is not None and process.config.max_links_per_principal == 1
            for process in map(world.rendezvous, schedule.rendezvous)
        )
        principals = Counter(peer.principal for peer in world.peers if peer.role.value == "harness")
        shared[few] += max(principals.values()) > 1
    assert shared[True] == 0 < shared[False]
