"""The table of `sansrelay.states` says what streams really do."""

import importlib.util
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

import sansrelay.connection
import sansrelay.unknown
import wirekit
from sansrelay import EndedBy, Profile, ProfilePolicy, RelayConfig, Role, StreamState
from sansrelay.cells import NO_SUCH_PAIR
from sansrelay.frames import ResumeFrame
from sansrelay.outgoing import Outgoing
from sansrelay.states import TRANSITIONS, StreamInput
from sansrelay.stream import Stream
from sansrelay.testing import LinkConditions, RelayPair, SimulatedLink
from wirekit import ACCEPTED, OWN, PEER, SID, Wire, data, opening, reset, resume

Step = tuple[StreamState, StreamInput, StreamState]

ROWS: set[Step] = {(old, cause, new) for (old, cause), new in TRANSITIONS.items()}

_slot = vars(Outgoing)["state"]
seen: set[Step] = set()
pairs: set[tuple[StreamState | None, Profile | None]] = set()
"""What a stream's state and profile were together."""


class Watched(Stream):
    """A stream that writes down each of its steps, with the input that caused it."""

    __slots__ = ("_causes",)

    _causes: list[StreamInput]

    @property
    def state(self) -> StreamState:
        current: StreamState = _slot.__get__(self)
        return current

    @state.setter
    def state(self, new: StreamState) -> None:
        if hasattr(self, "_causes"):
            assert self._causes, f"{self.state} -> {new} without an input"
            seen.add((self.state, self._causes[-1], new))
        else:
            self._causes = []  # it is being made
        _slot.__set__(self, new)

    @contextmanager
    def _because(self, cause: StreamInput) -> Iterator[None]:
        self._causes.append(cause)
        yield
        self._causes.pop()

    def ask(self) -> None:
        before = self.state
        with self._because(StreamInput.ASK):
            super().ask()
        seen.add((before, StreamInput.ASK, self.state))

    def end(self, reason: str, *, by: EndedBy = EndedBy.LOCAL) -> None:
        with self._because(StreamInput.END):
            super().end(reason, by=by)

    def becomes_basic(self) -> None:
        with self._because(StreamInput.PEER_IS_BASIC):
            super().becomes_basic()

    def on_resume(self, frame: ResumeFrame, now: float) -> None:
        with self._because(StreamInput.PEER_RESUMES):
            super().on_resume(frame, now)

    def offered(self, frame: ResumeFrame, now: float) -> None:
        with self._because(StreamInput.PEER_RESUMES):
            super().offered(frame, now)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """All streams that are made from here on are watched."""
    for module in (sansrelay.connection, sansrelay.unknown):
        monkeypatch.setattr(module, "Stream", Watched)
    seen.clear()
    pairs.clear()


def run_at_random(seed: int) -> None:
    """A pair under faults, with restarts, timeouts and peers of every kind."""
    chance = random.Random(seed)
    faults = LinkConditions(loss=0.1, duplication=0.1, reordering=0.2, corruption=0.05)
    config = RelayConfig(resume_timeout=20, silence_timeout=5, heartbeat_interval=4)
    policy = chance.choice(list(ProfilePolicy))
    pair = RelayPair(
        config=config,
        executor_config=RelayConfig(profile=policy, early_data=chance.random() < 0.3),
        link=SimulatedLink(faults, chance=chance.random),
    )
    for step in range(60):
        sid = f"s{step // 10}"
        if step % 10 == 0:
            pair.harness.conn.open_stream(sid)
        for end in pair.ends:
            pairs.add((end.conn.stream_state(sid), end.conn.profile(sid)))
            if end.conn.send_capacity(sid):
                end.conn.send_data(sid, b"x" * chance.randint(1, 100))
        pair.run(chance.random() * 2)
        dice = chance.random()
        if dice < 0.1:
            pair.cut()
            pair.clock.advance(chance.random() * 30)
            if dice < 0.03:
                pair.restart_executor(chance.getrandbits(60) + 1, config)
            pair.join()
        elif dice < 0.15:
            pair.harness.conn.close_stream(sid)
    pair.run(100)


@pytest.mark.usefixtures("watch")
def test_no_stream_takes_a_step_that_is_not_in_the_table() -> None:
    for seed in range(30):
        run_at_random(seed)
        assert seen - ROWS == set(), f"run_at_random({seed})"
        assert pairs & set(NO_SUCH_PAIR) == set(), f"run_at_random({seed})"
    assert len(seen) > 8
    assert len(pairs) > 6


def walk() -> None:
    """Streams that take every step of the table, by hand."""
    opened = wirekit.unconfirmed(), wirekit.open_opener(), wirekit.open_acceptor()
    for wire in (opening(), *opened):
        wire.cut()
        wire.join()  # asks
        wire.wait(10)  # asks again
    for wire in opened:
        own = OWN if wire.conn.role is Role.HARNESS else ACCEPTED
        wire.give(resume(1, PEER, own, True), resume(1, PEER, own))
        wire.give(reset("closed"))
    wirekit.basic_opener()
    opening().give(reset("closed"))
    wirekit.unconfirmed().conn.reset_stream(SID)
    resuming = wirekit.open_opener()
    resuming.cut()
    resuming.join()
    resuming.conn.reset_stream(SID)


@pytest.mark.usefixtures("watch")
def test_every_row_of_the_table_happens() -> None:
    walk()
    assert seen == ROWS


def test_the_end_is_the_end() -> None:
    assert [row for row in ROWS if row[0] is StreamState.ENDED] == []


def test_from_every_state_but_the_last_a_stream_can_end() -> None:
    for state in set(StreamState) - {StreamState.ENDED}:
        assert TRANSITIONS[state, StreamInput.END] is StreamState.ENDED


def test_a_new_stream_begins_where_its_role_and_its_profile_say() -> None:
    assert opening().state is StreamState.OPENING
    assert wirekit.unconfirmed().state is StreamState.UNCONFIRMED
    harness = Wire(Role.HARNESS, RelayConfig(profile=ProfilePolicy.BASIC))
    harness.conn.open_stream(SID)
    executor = Wire(Role.EXECUTOR)
    executor.give(data(0))
    for wire in (harness, executor):
        assert (wire.state, wire.profile) == (StreamState.OPEN, Profile.BASIC)


# -- the page that is drawn from the tables

ROOT = Path(__file__).parent.parent


def _load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_states", ROOT / "tools" / "draw_states.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = _load_tool()


def test_the_page_is_what_the_tables_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--check"]) == 0, capsys.readouterr().err


def test_a_page_out_of_date_is_found_and_drawn_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right = (ROOT / "docs" / "states.md").read_text()
    page = tmp_path / "states.md"
    wrong = right.replace("peer_restarted", "peer_came_back")
    page.write_text(wrong)
    assert tool.main(["--check", str(page)]) == 1
    assert "run tools/draw_states.py" in capsys.readouterr().err
    assert page.read_text() == wrong
    assert tool.main([str(page)]) == 0
    assert page.read_text() == right


def test_a_page_without_its_markers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "states.md"
    page.write_text("# States\n")
    assert tool.main([str(page)]) == 1
    assert "no part" in capsys.readouterr().err
    assert page.read_text() == "# States\n"
