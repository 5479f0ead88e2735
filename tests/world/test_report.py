"""What schedules came to, added up and told."""

from sansrelay.testing import Promise, ScheduleKind
from sansrelay.testing._report import FaultCount, Report, Violation

BROKEN = Violation(
    kind=ScheduleKind.WORLD,
    seed=7,
    promise=Promise.WASTE,
    what="WASTE at 1.0: so",
    trace=["1", "2"],
)
CRASHED = Violation(kind=ScheduleKind.PAIR, seed=8, promise=None, what="KeyError: 'x'", trace=[])


def added() -> Report:
    report = Report()
    report.add(
        Report(
            worlds=1,
            simulated=1800.0,
            frames=10,
            by_fault={"cut": FaultCount(injected=2, worlds=1, broken=1)},
            violations=[BROKEN],
        )
    )
    report.add(
        Report(
            pairs=2,
            simulated=1800.0,
            frames=5,
            by_fault={
                "cut": FaultCount(injected=1, pairs=1),
                "black hole": FaultCount(injected=4, pairs=2, broken=1),
            },
            violations=[CRASHED],
        )
    )
    return report


def test_a_violation_says_how_to_see_it_again() -> None:
    assert BROKEN.name == "world:7"
    assert BROKEN.command == "python -m sansrelay.testing.soak --replay world:7"


def test_the_summary_is_one_line() -> None:
    report = added()
    numbers = (
        "1 worlds, 2 pairs, 2 violations, 7 faults, 15 frames, 1.0 simulated hours,"
        " 90 schedules per minute"
    )
    assert report.summary(2.0) == f"soak: {numbers}"
    report.interrupted = True
    assert report.summary(2.0) == f"soak interrupted: {numbers}"
    assert Report().summary(0.0).endswith(", 0 schedules per minute")


def test_the_table_has_the_most_frequent_first() -> None:
    head, *rows = added().table()
    assert head.split() == ["fault", "injected", "worlds", "pairs", "broken"]
    assert [row.rsplit(maxsplit=4) for row in rows] == [
        ["black hole", "4", "0", "2", "1"],
        ["cut", "3", "1", "1", "1"],
    ]
    assert len({len(line) for line in (head, *rows)}) == 1
    assert len(Report().table()) == 1


def test_machines_are_told_the_same() -> None:
    told = added().as_json(first=7, seconds=2.00049)
    promises = told.pop("promises")
    assert isinstance(promises, dict)
    assert {name: row["broken"] for name, row in promises.items() if row["broken"]} == {"WASTE": 1}
    assert list(promises) == [promise.name for promise in Promise]
    assert told == {
        "first_seed": 7,
        "worlds": 1,
        "pairs": 2,
        "interrupted": False,
        "seconds": 2.0,
        "simulated_seconds": 3600.0,
        "frames": 15,
        "faults": {
            "black hole": {"injected": 4, "worlds": 0, "pairs": 2, "broken": 1},
            "cut": {"injected": 3, "worlds": 1, "pairs": 1, "broken": 1},
        },
        "violations": [
            {
                "schedule": "world:7",
                "promise": "WASTE",
                "what": "WASTE at 1.0: so",
                "replay": BROKEN.command,
            },
            {
                "schedule": "pair:8",
                "promise": None,
                "what": "KeyError: 'x'",
                "replay": CRASHED.command,
            },
        ],
    }
