"""The sending end of one direction against a naive model of its rules."""

import random

import pytest

from sansrelay.config import RelayConfig
from sansrelay.frames import ACK_BITS
from sansrelay.sender import Sender


class Model:
    """The same rules with no cleverness: everything is looked up in full lists each time."""

    def __init__(self, config: RelayConfig) -> None:
        self.config = config
        self.messages: list[bytes] = []
        self.uncut: list[tuple[int, int, int, bytes]] = []  # message, index, count, payload
        self.sent: list[tuple[int, int, int, bytes]] = []
        self.transmissions: list[list[int]] = []  # of each segment, by transmission number
        self.held: set[int] = set()
        self.lost: set[int] = set()
        self.proofs: set[int] = set()  # transmissions that were reported
        self.acked = 0
        self.clock = 0

    def queue(self, data: bytes) -> None:
        size = self.config.segment_size
        parts = [data[i : i + size] for i in range(0, len(data), size)]
        self.messages.append(data)
        self.uncut += [(len(self.messages), i, len(parts), part) for i, part in enumerate(parts)]

    def unacked(self) -> list[int]:
        return list(range(self.acked + 1, len(self.sent) + 1))

    def next(self, window: int) -> tuple[int, tuple[int, int, int, bytes]] | None:
        if self.lost:
            seq = min(self.lost)
            return seq, self.sent[seq - 1]
        if not self.uncut:
            return None
        under_way = sum(len(self.sent[seq - 1][3]) for seq in self.unacked())
        if self.unacked() and (
            len(self.unacked()) >= window
            or under_way + len(self.uncut[0][3]) > self.config.send_window_bytes
        ):
            return None
        return len(self.sent) + 1, self.uncut[0]

    def send(self, seq: int) -> None:
        self.clock += 1
        if seq > len(self.sent):
            self.sent.append(self.uncut.pop(0))
            self.transmissions.append([])
        self.lost.discard(seq)
        self.transmissions[seq - 1].append(self.clock)

    def report(self, ack: int, held: set[int], *, afresh: bool) -> int | None:
        """Returns the segment to be measured."""
        if ack < self.acked:
            return None
        measured = None
        if afresh:
            self.held = set()
        for seq in [*range(self.acked + 1, ack + 1), *sorted(held)]:
            latest = self.transmissions[seq - 1][-1]
            if latest not in self.proofs:
                self.proofs.add(latest)
                if len(self.transmissions[seq - 1]) == 1:
                    measured = seq
        self.acked = ack
        self.held = {seq for seq in self.held | held if seq > ack}
        self.lost = {seq for seq in self.lost if seq > ack and seq not in held}
        return measured

    def detect_loss(self) -> None:
        for seq in self.unacked()[:ACK_BITS]:
            later = [t for t in self.proofs if t > self.transmissions[seq - 1][-1]]
            if seq not in self.held and len(later) >= self.config.reorder_threshold:
                self.lost.add(seq)

    def missing_since(self, transmission: int) -> None:
        unacked = self.unacked()
        first, last = self.acked + 1, self.acked + ACK_BITS
        end = range(last - self.config.reorder_threshold + 1, last + 1)
        if self.held & set(end):
            unacked = [seq for seq in unacked if first <= seq <= last]
        for seq in unacked:
            if seq not in self.held and self.transmissions[seq - 1][-1] <= transmission:
                self.lost.add(seq)

    def acked_message(self) -> int:
        ends = [m for m, index, count, _ in self.sent[: self.acked] if index + 1 == count]
        return max(ends, default=0)

    def buffered(self) -> int:
        parts = [self.sent[seq - 1] for seq in self.unacked()] + self.uncut
        return sum(len(payload) for _, _, _, payload in parts)


@pytest.mark.parametrize("seed", range(40))
def test_against_the_model(seed: int) -> None:
    rng = random.Random(seed)
    config = RelayConfig(
        segment_size=4,
        max_message_size=100,
        send_window_bytes=rng.choice([20, 200]),
        reorder_threshold=rng.choice([1, 3, 6]),
    )
    window = rng.choice([8, 50])
    sender, model = Sender(config), Model(config)
    arrived: set[int] = set()  # what a peer would hold
    for _ in range(400):
        match rng.choice(["queue", "send", "send", "send", "ack", "ack", "stale", "resume"]):
            case "queue":
                if sender.capacity() >= 60:
                    data = rng.randbytes(rng.randint(1, 60))
                    assert sender.queue(data) == len(model.messages) + 1
                    model.queue(data)
            case "send":
                due = model.next(window)
                assert bool(sender.next_size(window, segmented=True)) is (due is not None)
                if due is not None:
                    seq, expected = due
                    segment = sender.take(0.0, segmented=True)
                    segment.lost = None
                    model.send(seq)
                    assert segment.seq == seq
                    assert (segment.message_id, segment.index, segment.count) == expected[:3]
                    assert segment.payload == expected[3]
                    if rng.random() < 0.6:
                        arrived.add(seq)
            case kind:
                ack = model.acked
                while ack + 1 in arrived and rng.random() < 0.8:
                    ack += 1
                if kind == "stale":
                    ack = max(0, ack - rng.randint(0, 3))
                held = {
                    seq for seq in arrived if ack < seq <= ack + ACK_BITS and rng.random() < 0.9
                }
                report = sum(1 << seq - ack - 1 for seq in held)
                assert sender.valid(ack, report)
                stale = ack < model.acked
                before = model.acked
                afresh = kind == "resume"
                covered, fresh = sender.acknowledge(ack, report, afresh=afresh)
                measured = model.report(ack, held, afresh=afresh)
                assert covered == (0 if stale else ack - before)
                assert (None if fresh is None else fresh.seq) == measured
                sender.detect_loss()
                model.detect_loss()
                if afresh:
                    asked = rng.randint(0, sender.transmissions)
                    sender.missing_since(asked)
                    model.missing_since(asked)
        assert sender.una == model.acked + 1
        assert sender.next_seq == len(model.sent) + 1
        assert sender.buffered == model.buffered()
        assert sender.reserved == len(model.uncut)
        assert sender.acked_message == model.acked_message()
        cut_in_part = bool(model.uncut) and model.uncut[0][1] > 0
        whole = model.uncut[0][0] - 1 if model.uncut else len(model.messages)
        first_unsent = whole + 1 + cut_in_part
        assert sender.outcomes() == (
            range(model.acked_message() + 1, first_unsent),
            range(first_unsent, len(model.messages) + 1),
        )
