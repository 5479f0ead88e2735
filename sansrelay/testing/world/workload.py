"""The applications of a schedule: who sends what when, and the effects it has."""

from collections import Counter

from .codex import BasicHarness
from .dice import Dice
from .ends import StreamEnd
from .peers import Harness
from .promises import Promise
from .world import World

__all__ = ["Workload"]


class Workload:
    """Harnesses send messages with a name each; executors have an effect for each, and may reply.

    The effects are kept outside all processes, as files would be: what was run twice, by whichever
    lives of whichever executors, is seen.
    """

    def __init__(self, world: World, dice: Dice, *, largest: int) -> None:
        self.world = world
        self.dice = dice
        self.largest = largest
        """Bytes of the largest message."""
        self.reply_chance = dice.pick([0.0, 0.5, 1.0])
        self.effects: Counter[bytes] = Counter()
        """How often each message was run."""
        self.busy_until = 0.0
        """When the last message that is planned will be sent."""
        self.early_data = False
        """Whether an executor delivers before the confirmation, and so may run a message twice."""

    # -- executors

    def run_message(self, end: StreamEnd, data: bytes) -> None:
        """An executor's application runs a message."""
        self.effects[data] += 1
        if end.live and end.reason_given is None and self.dice.chance(self.reply_chance):
            number = len(end.sent) + len(end.outbox) + 1
            end.send(self._message(f"{end.stream_id}<{end.owner_name}.{end.life}.{number}"))

    def answer_basic(self, end: StreamEnd, data: bytes) -> None:
        """A basic executor runs a message; it always replies, or it would never be known."""
        self.effects[data] += 1
        if end.live:
            end.send(self._message(f"{end.stream_id}<{end.owner_name}.{end.life}.{len(end.sent)}"))

    def check_effects(self) -> None:
        """No message may have been run twice, but by what the network did to a basic executor."""
        for record in self.world.oracle.streams.values():
            for data in record.opener.sent:
                allowed = 1 + record.copies[data] * any(
                    end.profile is not None and end.profile.value == "basic"
                    for end in record.acceptors
                )
                if self.effects[data] > allowed and not self.early_data:
                    self.world.oracle.broken(
                        Promise.AT_MOST_ONCE, f"{data!r} had {self.effects[data]} effects"
                    )

    # -- harnesses

    def session(self, harness: Harness | BasicHarness) -> None:
        """Open a stream and send on it, in bursts, for a while."""
        end = self.open(harness)
        if end is None:
            return
        at = 0.0
        for _ in range(self.dice.whole(1, 4)):
            for _ in range(self.dice.whole(1, 6)):
                self.world.at(at, self.say, end)
            at += self.dice.scaled(0.001, 10.0)
        if self.dice.chance(0.3):
            at += self.dice.scaled(0.01, 20.0)
            self.world.at(at, end.close)
        self.busy_until = max(self.busy_until, self.world.now + at)

    def open(self, harness: Harness | BasicHarness) -> StreamEnd | None:
        """Open a stream, if the harness is able to."""
        if not harness.alive or (isinstance(harness, BasicHarness) and harness.link is None):
            return None
        return harness.open_stream()

    def say(self, end: StreamEnd) -> None:
        """Send one message, if the stream still takes any."""
        if end.live and end.reason_given is None:
            number = len(end.sent) + len(end.outbox) + 1
            end.send(self._message(f"{end.stream_id}>{number}"))

    def flood(self, harness: Harness | BasicHarness, streams: int) -> None:
        """Open many streams at once, say something on each, and give most of them up."""
        for _ in range(streams):
            end = self.open(harness)
            if end is None:
                return
            self.say(end)
            if self.dice.chance(0.8):
                self.world.at(self.dice.random() * 0.5, end.reset)
            else:
                end.close()

    def _message(self, name: str) -> bytes:
        size = int(self.largest ** self.dice.random())
        return f"{name} ".encode().ljust(size, b".")[: self.largest]
