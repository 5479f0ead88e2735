"""Does the code do what the model does? Random walks of the model, driven through real connections.

    python tools/model_conform.py [--traces N] [--seed S] [--jobs J]

spin prints walks of `tests/model/relay.pml`: for each step what happens to which end, which frames
go out, what is delivered, how a stream ends, where it stands then, and which deadline comes first.
Here each step becomes one call of a `RelayConnection`, and everything it says has to agree. No rule
of the protocol is in this file: it only reads, calls and compares. Exits with 1 at the first
disagreement, and prints the walk up to there.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sansrelay import (
    DataAcknowledged,
    DataReceived,
    EndedBy,
    LinkState,
    RelayConfig,
    RelayConnection,
    Role,
    StreamReset,
    StreamState,
)
from sansrelay.codec import decode_frame, encode_frame
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    InvalidFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay.timers import TimerKind

ROOT: Final = Path(__file__).resolve().parent.parent
MODEL: Final = ROOT / "tests" / "model" / "relay.pml"

HARNESS: Final = 0
EXECUTOR: Final = 1
SID: Final = "s"
BATCH: Final = 250
"""Walks that one run of spin prints."""

DEFINES: Final = (
    *("TRACE", "NH=3", "NE=2", "CAP=60"),
    *("CRASHH=1", "CRASHE=2", "CUTH=3", "CUTE=3", "APPRST=1", "NETRST=1", "CLOSE=2"),
    *("TIMEOUTS=1", "FORGET=2"),
)

# Times in seconds of each end's own clock. Every deadline that a step names is far from the others.
TICK: Final = 1e-6
RTO: Final = 1.0
FAST_ACK: Final = 0.01
SLOW_ACK: Final = 500.0
IMPATIENCE: Final = 0.001
HEARTBEAT: Final = 1e6
GIVE_UP: Final = 1e7
REMEMBER: Final = 1e8
LONG_AGO: Final = (1e3, 1e5)
"""What makes all that was sent old enough to count as missing, the first and the second time."""

STATES: Final = (None, *StreamState)
REASONS: Final = (
    "",
    "unknown_stream",
    "cancelled",
    "peer_restarted",
    "timeout",
    "closed",
    "executor_unavailable",
    "harness_disconnected",
)
DEADLINES: Final = (
    None,
    TimerKind.ACK_DELAY,
    TimerKind.RTO,
    TimerKind.QUESTION,
    TimerKind.HEARTBEAT,
    TimerKind.RESUME_TIMEOUT,
    TimerKind.PENDING,
)
_EXPIRES: Final = {
    7: TimerKind.ACK_DELAY,
    8: TimerKind.RTO,
    9: TimerKind.QUESTION,
    10: TimerKind.HEARTBEAT,
    11: TimerKind.RESUME_TIMEOUT,
    12: TimerKind.PENDING,
}
ACTIONS: Final = {
    1: "deliver",
    2: "send",
    3: "consume",
    4: "link up",
    5: "link down",
    6: "crash",
    7: "ack delay",
    8: "retransmission time-out",
    9: "question repeated",
    10: "heartbeat",
    11: "resume time-out",
    12: "pending time-out",
    13: "forget",
    14: "reset",
    15: "close",
    16: "reset by the rendezvous",
}

WINDOW_CLOSED: Final = "sends that a full window holds back"

Numbers = tuple[int, ...]


class Disagreement(Exception):
    """Model and code differ, and where."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One transition of the model, as printed."""

    action: int
    end: int
    jump: bool
    frame: Numbers
    """What is delivered, if it is that kind of step."""
    sent: list[Numbers] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    ended: Numbers | None = None
    after: Numbers = ()
    """State, acknowledged messages, deadline."""


@dataclass(slots=True, kw_only=True)
class Walk:
    """One walk: from no stream to wherever chance led."""

    slow_acks: bool
    impatient: bool
    steps: list[Step] = field(default_factory=list)


def read_walks(lines: Iterable[str]) -> Iterator[Walk]:
    """The walks that spin printed. Raises `ValueError` for a line of another kind."""
    walk: Walk | None = None
    step: Step | None = None
    for line in lines:
        mark, _, rest = line.strip().partition(" ")
        if mark not in {"#", "@", ">", "<", "!", "="}:
            if mark and not line.endswith("created\n") and not line.endswith("created"):
                raise ValueError(f"spin printed {line!r}")
            continue
        numbers = tuple(int(word) for word in rest.split())
        if mark == "#":
            if walk is not None:
                yield walk
            walk = Walk(slow_acks=bool(numbers[0]), impatient=bool(numbers[1]))
            continue
        if mark == "@":
            step = Step(action=numbers[0], end=numbers[1], jump=bool(numbers[2]), frame=numbers[3:])
            if walk is None:
                raise ValueError("a step before its walk")
            walk.steps.append(step)
            continue
        if step is None:
            raise ValueError(f"no step before {line!r}")
        match mark:
            case ">":
                step.sent.append(numbers)
            case "<":
                step.delivered.append(numbers[0])
            case "!":
                step.ended = numbers
            case _:
                step.after = numbers
    if walk is not None:
        yield walk


class End:
    """One end: a real connection, its clock, and what was seen of it."""

    def __init__(self, role: Role, config: RelayConfig) -> None:
        self._role = role
        self._config = config
        self._process = 0
        self.now = 0.0
        self.jumps = 0
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is remembered."""
        self._process += 1
        side = 0xA << 40 if self._role is Role.HARNESS else 0xB << 40
        self.conn = RelayConnection(
            self._role, incarnation=side + (self._process << 20), config=self._config
        )
        self.acked = 0
        self.queued = 0

    def message(self) -> bytes:
        """The next message, unlike any other."""
        self.queued += 1
        return f"{self._role.value} {self._process} message {self.queued}".encode()


class Driver:
    """Two ends and the network between them, led along one walk."""

    def __init__(self, walk: Walk, *, gaps: bool, window: int) -> None:
        self._walk = walk
        config = RelayConfig(
            ack_delay=SLOW_ACK if walk.slow_acks else FAST_ACK,
            ack_after_segments=1000,
            duplicate_ack_interval=TICK / 1000,
            initial_rto=RTO,
            min_rto=RTO,
            max_rto=RTO,
            pending_timeout=2 * RTO,
            heartbeat_interval=HEARTBEAT,
            silence_timeout=2 * GIVE_UP,
            resume_timeout=IMPATIENCE if walk.impatient else GIVE_UP,
            ended_ttl=REMEMBER,
            resets_per_second=1e9,
            opening_window_segments=1000,  # it also bounds copies of data without an opening
            send_window_segments=window,
            reorder_threshold=1 if gaps else 31,
        )
        self._ends = (End(Role.HARNESS, config), End(Role.EXECUTOR, config))
        self._network: dict[tuple[int, Numbers], bytes] = {}
        self._incarnations: dict[tuple[int, int], int] = {(HARNESS, 0): 0, (EXECUTOR, 0): 0}
        self._messages: dict[tuple[int, int, int], bytes] = {}
        self._sources: dict[tuple[int, int], int] = {}
        self._ends[HARNESS].conn.open_stream(SID)
        self._ends[HARNESS].conn.frames_to_send(0.0)
        self._ends[EXECUTOR].conn.link_opened(0.0)

    def run(self, seen: Counter[str]) -> None:
        """All steps. Raises `Disagreement`."""
        for number, step in enumerate(self._walk.steps):
            try:
                self._do(step)
                self._compare(step)
            except Disagreement as error:
                raise Disagreement(f"{self._story(number)}\n{error}") from None
            seen[ACTIONS[step.action]] += 1
            seen[WINDOW_CLOSED] += self._is_held_back(step)

    def _is_held_back(self, step: Step) -> bool:
        """Whether the application's message waits only because the window is full."""
        conn = self._ends[step.end].conn
        return (
            ACTIONS[step.action] == "send"
            and conn.state is LinkState.UP
            and conn.stream_state(SID) is StreamState.OPEN
            and not step.sent
        )

    def _story(self, last: int) -> str:
        names = ("harness", "executor")
        kind = "slow acks" if self._walk.slow_acks else "fast acks"
        lines = [f"{kind}{', impatient' if self._walk.impatient else ''}"]
        for step in self._walk.steps[: last + 1]:
            lines.append(f"{names[step.end]}: {ACTIONS[step.action]} {step.frame} {step.jump}")
            lines += [f"    sends {frame}" for frame in step.sent]
            lines += [f"    delivers {number}" for number in step.delivered]
            if step.ended:
                lines.append(f"    ends {step.ended}")
            lines.append(f"    then {step.after}")
        return "\n".join(lines)

    # -- one step, one call

    def _do(self, step: Step) -> None:
        end = self._ends[step.end]
        end.now += TICK
        conn = end.conn
        if step.jump:
            end.now += LONG_AGO[end.jumps]
            end.jumps += 1
        match step.action:
            case 1:
                conn.receive_frame(self._network[step.end, step.frame], end.now)
            case 2:
                data = end.message()
                conn.send_data(SID, data)
            case 3:
                conn.consume(SID)
            case 4:
                conn.link_opened(end.now)
            case 5:
                conn.link_closed(end.now)
            case 6:
                end.restart()
            case 13:
                end.now += 2 * REMEMBER
            case 14:
                conn.reset_stream(SID)
            case 15:
                conn.close_stream(SID)
            case 16:
                reset = ResetFrame(SID, 0, 0, REASONS[step.frame[1]])
                conn.receive_frame(encode_frame(reset), end.now)
            case _:
                self._expire(end, _EXPIRES[step.action])

    @staticmethod
    def _expire(end: End, kind: TimerKind) -> None:
        due, reason = end.conn.next_timeout(), end.conn.next_timeout_reason
        if due is None or reason is None or reason[0] is not kind:
            raise Disagreement(f"the deadline should be {kind}, is {reason}")
        end.now = max(end.now, due)
        end.conn.handle_timeout(end.now)

    # -- what can be seen

    def _compare(self, step: Step) -> None:
        end = self._ends[step.end]
        raw: list[bytes] = []
        while more := end.conn.frames_to_send(end.now):
            raw += more
        if len(raw) != len(step.sent):
            frames = [decode_frame(data, RelayConfig()) for data in raw]
            raise Disagreement(f"sends {frames}")
        for data, expected in zip(raw, step.sent, strict=True):
            self._compare_frame(step.end, data, expected)
        delivered: list[bytes] = []
        ended: StreamReset | None = None
        while (event := end.conn.next_event()) is not None:
            match event:
                case DataReceived():
                    delivered.append(event.data)
                case DataAcknowledged():
                    end.acked = event.message_id
                case StreamReset():
                    ended = event
                    end.acked = end.queued = 0
        self._compare_messages(step, delivered)
        _compare_end(step, ended)
        state, acked, deadline = step.after
        if end.conn.stream_state(SID) is not STATES[state]:
            raise Disagreement(f"is {end.conn.stream_state(SID)}, not {STATES[state]}")
        if end.acked != acked:
            raise Disagreement(f"message {end.acked} is acknowledged, not {acked}")
        reason = end.conn.next_timeout_reason
        if (reason and reason[0]) is not DEADLINES[deadline]:
            raise Disagreement(f"the next deadline is {reason}, not {DEADLINES[deadline]}")

    def _compare_frame(self, sender: int, data: bytes, expected: Numbers) -> None:
        frame = decode_frame(data, RelayConfig())
        kind, number, own, peer, ack, bits, answer = expected
        if isinstance(frame, InvalidFrame) or (frame.ack, frame.ack_bits) != (ack, bits):
            raise Disagreement(f"sends {frame}, not {expected}")
        if not self._same_body(sender, frame, (kind, number, own, peer, answer)):
            raise Disagreement(f"sends {frame}, not {expected}")
        self._network[1 - sender, expected] = data

    def _same_body(self, sender: int, frame: Frame, expected: Numbers) -> bool:
        kind, number, own, peer, answer = expected
        match frame:
            case DataFrame():
                first = self._messages.setdefault((sender, own, number), frame.payload)
                return kind == 1 and frame.seq == number and frame.payload == first
            case AckFrame():
                return kind == 2
            case ResumeFrame():
                return (
                    kind == 3
                    and frame.next_seq == number
                    and self._same_incarnation(sender, own, frame.incarnation)
                    and self._same_incarnation(1 - sender, peer, frame.peer_incarnation)
                    and frame.answer == bool(answer)
                )
            case ResetFrame():
                return kind == 4 and frame.reason == REASONS[number]
            case HeartbeatFrame():
                return kind == 5
            case HandshakeFrame():
                return False

    def _same_incarnation(self, end: int, number: int, actual: int) -> bool:
        """Equal numbers in the model are equal incarnations on the wire, others are not."""
        known = self._incarnations.get((end, number))
        if known is None:
            if actual in self._incarnations.values():
                return False
            self._incarnations[end, number] = actual
            return True
        return known == actual

    def _compare_messages(self, step: Step, delivered: list[bytes]) -> None:
        sender = 1 - step.end
        if len(delivered) != len(step.delivered):
            raise Disagreement(f"delivers {delivered}")
        for data, number in zip(delivered, step.delivered, strict=True):
            owners = [own for who, own, seq in self._messages if (who, seq) == (sender, number)]
            if data not in [self._messages[sender, own, number] for own in owners]:
                raise Disagreement(f"delivers {data!r} as message {number}")


def _compare_end(step: Step, ended: StreamReset | None) -> None:
    if step.ended is None or not step.ended[2]:
        if ended is not None:
            raise Disagreement(f"the stream ends: {ended}")
        return
    reason, local, _, una, next_seq, queued = step.ended
    by = EndedBy.LOCAL if local else EndedBy.PEER
    wanted = StreamReset(
        stream_id=SID,
        reason=REASONS[reason],
        by=by,
        unknown=range(una, next_seq),
        never_sent=range(next_seq, queued + 1),
    )
    if ended != wanted:
        raise Disagreement(f"ended: {ended}, not {wanted}")


def print_walks(seed: int, walks: int, *, gaps: bool, window: int) -> list[str]:
    """Let spin print random walks of the model. Raises `RuntimeError` if spin fails."""
    defines = [*DEFINES, f"TRACES={walks}", f"W={window}", *(["GAP"] if gaps else [])]
    with tempfile.TemporaryDirectory(prefix="model-") as folder:  # spin writes where it runs
        done = subprocess.run(
            ["spin", f"-n{seed}", "-T", *(f"-D{define}" for define in defines), str(MODEL)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or "rror" in done.stdout:
        raise RuntimeError(f"spin: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.splitlines()


def run_batch(seed: int, walks: int) -> tuple[int, Counter[str]]:
    """Walks of one seed; how many they were, and their steps by kind. Raises `Disagreement`.

    Odd seeds let loss be seen in acks; the window of 1 or 2 changes with every second seed.
    """
    gaps, window = seed % 2 == 1, 1 + seed // 2 % 2
    seen: Counter[str] = Counter()
    count = 0
    for walk in read_walks(print_walks(seed, walks, gaps=gaps, window=window)):
        try:
            Driver(walk, gaps=gaps, window=window).run(seen)
        except Disagreement as error:
            raise Disagreement(f"seed {seed}, walk {count}: {error}") from None
        count += 1
    return count, seen


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Drive random walks of the model through the code."
    )
    parser.add_argument("--traces", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    batches = [
        (args.seed + number, min(BATCH, args.traces - number * BATCH))
        for number in range(-(-args.traces // BATCH))
    ]
    total = 0
    seen: Counter[str] = Counter()
    with ProcessPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run_batch, *batch) for batch in batches]
        for future in futures:
            try:
                count, steps = future.result()
            except Disagreement as error:
                print(error)
                for other in futures:
                    other.cancel()
                return 1
            total += count
            seen += steps
    mix = (*ACTIONS.values(), WINDOW_CLOSED)
    print(f"{total} walks agree, {sum(seen[action] for action in ACTIONS.values())} steps")
    for what in mix:
        print(f"  {seen[what]:8} {what}")
    return 0 if all(seen[what] for what in mix) else 1


if __name__ == "__main__":
    sys.exit(main())
