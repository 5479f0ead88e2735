"""The soak: what it prints, what its exit status says, and how a broken promise is replayed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sansrelay.testing import Promise, Schedule, ScheduleKind
from sansrelay.testing import soak as soak_module
from sansrelay.testing.soak import main, replay, soak

COMMAND = [sys.executable, "-m", "sansrelay.testing.soak"]
SUMMARY = re.compile(
    r"soak: (\d+) worlds, (\d+) pairs, (\d+) violations, (\d+) faults, (\d+) frames,"
    r" \d+\.\d simulated hours, \d+ schedules per minute"
)


class LyingSchedule(Schedule):
    """Begins like any other, and then finds a promise broken."""

    def run(self) -> None:
        self.world.run(0.5)
        self.world.oracle.broken(Promise.TIMERS, "planted by a test")


class CrashingSchedule(Schedule):
    """Shows a fault of the machines that is about no promise."""

    def run(self) -> None:
        self.world.run(0.5)
        raise KeyError("planted by a test")


class StruckSchedule(CrashingSchedule):
    """Crashes after a fault that no other schedule has."""

    def run(self) -> None:
        self.world.stage.fault("lightning", 3)
        super().run()


class StillbornSchedule(Schedule):
    """Fails before it has a world."""

    def __init__(self, *_: object, **__: object) -> None:
        raise KeyError("planted by a test")


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Another schedule in the place of the real one; only in this process, so use one job."""
    monkeypatch.setattr(soak_module, "Schedule", request.param)


lying = pytest.mark.parametrize("planted", [LyingSchedule], indirect=True)
failing = pytest.mark.parametrize(
    ("planted", "what"),
    [
        (LyingSchedule, "TIMERS at 0.500000: planted by a test"),
        (CrashingSchedule, "KeyError: 'planted by a test'"),
        (StillbornSchedule, "KeyError: 'planted by a test'"),
    ],
    indirect=["planted"],
)


# -- kept promises


def test_the_last_line_is_a_summary_and_the_table_comes_before_it() -> None:
    done = subprocess.run(
        [*COMMAND, "--seeds", "6", "--from", "3"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, last = done.stdout.splitlines()
    match = SUMMARY.fullmatch(last)
    assert match is not None, last
    worlds, pairs, violations, faults, frames = map(int, match.groups())
    assert (worlds, pairs, violations) == (6, 6, 0)
    assert frames > 100
    assert head.split() == ["fault", "injected", "worlds", "pairs", "broken"]
    counts = [[int(field) for field in row.split()[-4:]] for row in rows]
    assert sum(injected for injected, *_ in counts) == faults > 0
    for injected, worlds, pairs, broken in counts:
        assert 1 <= worlds + pairs <= min(injected, 12)
        assert broken == 0


def test_one_process_and_several_find_the_same() -> None:
    alone, together = (soak(worlds=3, pairs=12, first=5, jobs=jobs) for jobs in (1, 3))
    assert alone.as_json(first=5, seconds=1.0) == together.as_json(first=5, seconds=1.0)
    assert alone.by_fault == together.by_fault


def test_worlds_and_pairs_can_be_asked_for_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "0", "--pairs", "2", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("soak: 0 worlds, 2 pairs, ")


def test_nothing_is_begun_after_the_time_is_up() -> None:
    report = soak(worlds=1000, pairs=1000, jobs=1, seconds=1e-9)
    assert (report.worlds, report.pairs, report.interrupted) == (0, 0, False)


def test_a_library_that_is_for_tests_only_is_not_needed() -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['pytest', 'hypothesis', 'trio', 'rich']))\n"
        "from sansrelay.testing.soak import main\n"
        "sys.exit(main(['--seeds', '1', '--jobs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert SUMMARY.fullmatch(done.stdout.splitlines()[-1])


# -- broken promises


@failing
@pytest.mark.usefixtures("planted")
def test_a_violation_makes_the_status_1(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "0", "--pairs", "1", "--from", "7", "--jobs", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"pair:7 breaks a promise: {what}")
    assert lines.count("    replay: python -m sansrelay.testing.soak --replay pair:7") == 1
    match = SUMMARY.fullmatch(lines[-1])
    assert match is not None
    assert match.groups()[:3] == ("0", "1", "1")


@lying
@pytest.mark.usefixtures("planted")
def test_a_violation_is_printed_with_the_end_of_its_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--worlds", "0", "--pairs", "1", "--from", "3", "--jobs", "1"])
    printed = capsys.readouterr().out.splitlines()
    schedule = LyingSchedule(ScheduleKind.PAIR, random.Random("pair:3"), trace=True)
    schedule.world.run(0.5)
    trace = schedule.world.trace_lines()
    assert len(trace) > 3
    assert printed[1] == f"    the last {min(len(trace), 25)} lines of its trace:"
    assert printed[2 : 2 + min(len(trace), 25)] == [f"    {line}" for line in trace[-25:]]


@lying
@pytest.mark.usefixtures("planted")
def test_the_first_five_violations_have_a_trace_and_all_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--worlds", "3", "--pairs", "4", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert out.count("lines of its trace:") == 5
    commands = re.findall(r"    replay: .* --replay (\w+:\d+)", out)
    assert commands == [*(f"pair:{n}" for n in range(4)), *(f"world:{n}" for n in range(3))]


def test_a_failure_that_does_not_come_again_is_called_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = Schedule.run
    runs = iter([LyingSchedule.run, honest])
    monkeypatch.setattr(Schedule, "run", lambda schedule: next(runs)(schedule))
    assert main(["--worlds", "0", "--pairs", "1", "--jobs", "1"]) == 1
    assert "the schedule is not deterministic" in capsys.readouterr().out


# -- for machines


def test_json_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "soak.json"
    assert main(["--seeds", "2", "--from", "9", "--jobs", "1", "--json", str(path)]) == 0
    data = json.loads(path.read_text())
    assert (data["first_seed"], data["worlds"], data["pairs"]) == (9, 2, 2)
    assert (data["interrupted"], data["violations"]) == (False, [])
    assert data["promises"] == {
        promise.name: {"promised": promise.value, "broken": 0} for promise in Promise
    }
    faults = sum(count["injected"] for count in data["faults"].values())
    assert f" {faults} faults, {data['frames']} frames, " in capsys.readouterr().out


@failing
@pytest.mark.usefixtures("planted")
def test_json_on_stdout_is_all_there_is(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--worlds", "1", "--pairs", "0", "--jobs", "1", "--json", "-"]) == 1
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert printed.out.count("\n") == 1
    assert SUMMARY.fullmatch(printed.err.splitlines()[-1])
    (violation,) = data["violations"]
    assert violation["schedule"] == "world:0"
    assert violation["replay"] == "python -m sansrelay.testing.soak --replay world:0"
    assert violation["what"].startswith(what)
    timers = what.startswith("TIMERS")
    assert violation["promise"] == ("TIMERS" if timers else None)
    assert data["promises"]["TIMERS"]["broken"] == timers
    assert data["promises"]["VALID"]["broken"] == 0


@pytest.mark.parametrize("planted", [StruckSchedule], indirect=True)
@pytest.mark.usefixtures("planted")
def test_a_fault_kind_knows_the_broken_schedules_it_was_in() -> None:
    (count,) = soak(worlds=2, pairs=1, jobs=1).by_fault.values()
    assert (count.injected, count.worlds, count.pairs, count.broken) == (9, 2, 1, 3)


# -- replay


def test_a_replay_prints_the_trace() -> None:
    done = subprocess.run(
        [*COMMAND, "--replay", "pair:3"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    *trace, last = done.stdout.splitlines()
    assert last == "pair:3 keeps all promises"
    assert len(trace) > 50
    assert all(re.match(r" *\d+\.\d{6}  ", line) for line in trace)


@failing
@pytest.mark.usefixtures("planted")
def test_a_replay_of_a_violation_ends_with_it(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not replay(ScheduleKind.PAIR, 3)
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith(f"pair:3 breaks a promise: {what}")
    assert ("Traceback" in out) == what.startswith("KeyError")


@lying
@pytest.mark.usefixtures("planted")
def test_the_status_of_a_replayed_violation_is_1() -> None:
    assert main(["--replay", "world:1"]) == 1


def test_a_reader_may_go_before_the_end() -> None:
    with subprocess.Popen(
        [*COMMAND, "--replay", "world:4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


# -- a terminal


def on_terminal(
    *arguments: str, code: str | None = None, interrupt: bool = False
) -> tuple[int, str, str]:
    """Run it with a terminal as stderr. Returns its status, stdout, and what the terminal got.

    With `interrupt`, ^C goes to all its processes when the first schedules are done.
    """
    ours, theirs = os.openpty()
    command = COMMAND if code is None else [sys.executable, "-c", code]
    with subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        text=True,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 4096):
                seen += chunk
                if interrupt and re.search(rb"\b[1-9]\d*/\d+", seen):
                    interrupt = False
                    os.killpg(process.pid, signal.SIGINT)
        except OSError:  # Linux says so when the other side is closed
            pass
        assert process.stdout is not None
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out, seen.decode()


def test_a_terminal_gets_a_progress_bar_and_stdout_does_not() -> None:
    status, out, seen = on_terminal("--seeds", "3")
    assert status == 0
    assert "schedules, 0 violations" in seen
    assert "6/6" in seen
    assert "\x1b" not in out
    assert SUMMARY.fullmatch(out.splitlines()[-1])


def test_without_rich_there_is_no_bar() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; from sansrelay.testing.soak import main;"
        "sys.exit(main(['--seeds', '1', '--jobs', '1']))"
    )
    status, out, seen = on_terminal(code=code)
    assert (status, seen) == (0, "")
    assert SUMMARY.fullmatch(out.splitlines()[-1])


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_ends_it_with_a_summary_of_what_was_run(jobs: str) -> None:
    status, out, seen = on_terminal("--seeds", "100000", "--jobs", jobs, interrupt=True)
    assert status == 128 + signal.SIGINT
    assert "Traceback" not in seen + out
    match = re.match(r"soak interrupted: (\d+) worlds, (\d+) pairs, 0 viol", out.splitlines()[-1])
    assert match is not None
    assert 1 <= int(match[1]) + int(match[2]) < 100_000


def test_an_interrupt_does_not_hide_a_violation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Schedule) -> None:
        raise KeyboardInterrupt

    # A run that fails, the same with its trace, and ^C in the next schedule.
    runs = iter([LyingSchedule.run, LyingSchedule.run, interrupted])
    monkeypatch.setattr(Schedule, "run", lambda schedule: next(runs)(schedule))
    assert main(["--worlds", "0", "--pairs", "5", "--jobs", "1"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("soak interrupted: 0 worlds, 1 pairs, 1 violations, ")


# -- bad usage


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seeds", "x"], "argument --seeds: 'x' is not a whole number from 0 up"),
        (["--seeds", "-1"], "argument --seeds: '-1' is not a whole number from 0 up"),
        (["--seeds", "0"], "nothing to run: ask for at least one world or pair"),
        (["--from", "1.5"], "argument --from: '1.5' is not a whole number from 0 up"),
        (["--jobs", "0"], "argument --jobs: there has to be at least 1"),
        (["--seconds", "0"], "argument --seconds: '0' is not a number of seconds above 0"),
        (["--seconds", "nan"], "argument --seconds: 'nan' is not a number of seconds above 0"),
        (["--seconds", "soon"], "argument --seconds: 'soon' is not a number of seconds above 0"),
        (["--replay", "3"], "argument --replay: '3' is not a kind and a seed, such as world:17"),
        (["--replay", "pair:x"], "'pair:x' is not a kind and a seed, such as world:17 or pair:4"),
        (["--replay", "pair:1", "--seeds", "2"], "not allowed with argument --replay"),
        (["--json", "/no/such/place"], "argument --json: /no/such/place: No such file"),
        (["--seed", "1"], "unrecognized arguments: --seed 1"),
    ],
)
def test_bad_usage_has_status_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err.splitlines()[-1]
