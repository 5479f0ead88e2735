"""What an application sees of one stream, at one end, in one life of its process."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ...connection import Role
from ...errors import Outcome, ResetReason
from ...events import MessageId, StreamReset
from ...frames import DataFrame, Frame
from ...states import Profile

__all__ = ["EndFacts", "Hook", "MessageHook", "StreamEnd"]

MessageHook = Callable[["StreamEnd", bytes], None]
"""Called with each message when the application takes it over."""
Hook = Callable[["StreamEnd"], None]
"""Called when something else happens to a stream."""


class Owner(Protocol):
    """What a stream's end needs of the peer that has it."""

    name: str
    role: Role
    life: int

    def push(self, end: "StreamEnd") -> None:
        """Send what the end has in its outbox, as far as there is room."""
        ...

    def take(self, end: "StreamEnd") -> None:
        """Let the application take over what it has not read."""
        ...

    def close(self, end: "StreamEnd", reason: str) -> None:
        """End the stream once everything sent is acknowledged."""
        ...

    def reset(self, end: "StreamEnd", reason: str) -> None:
        """End the stream at once."""
        ...


class EndFacts:
    """What the oracle has seen of one end on the wire."""

    __slots__ = (
        "acked_seq",
        "acks_out",
        "announced",
        "answers_in",
        "answers_out",
        "calls",
        "early",
        "excused_below",
        "flight",
        "flight_bytes",
        "heard_at",
        "held",
        "highest_in",
        "message_of",
        "next_seq",
        "openings_out",
        "own",
        "partners",
        "questions_in",
        "questions_out",
        "report",
        "report_due",
        "reports",
        "reports_at",
        "resumes_in",
        "resumes_out",
        "run_next",
        "started",
    )

    def __init__(self) -> None:
        self.next_seq: int | None = None
        """The next new sequence number, once one has been used."""
        self.started = 0
        """Messages of which a segment has left."""
        self.message_of: dict[int, int] = {}
        """The message that a segment belongs to, by seq."""
        self.flight: dict[int, int] = {}
        """Payload bytes of segments that left and are not acknowledged, by seq."""
        self.flight_bytes = 0
        self.acked_seq = 0
        self.highest_in = 0
        """The highest seq that has arrived."""
        self.heard_at: float | None = None
        """When something that counts as an answer last arrived."""
        self.own = 0
        """The incarnation under which it spoke, once it has."""
        self.partners: list[StreamEnd] | None = None
        """The ends that what was received here can have come from."""
        self.run_next = 0
        """Basic: the message that is to be run next, counted from 0."""
        self.announced = False
        """Whether a frame of it has left."""
        self.calls = 0
        """Frames that came and may each call for an ack."""
        self.resumes_in = 0
        self.questions_in = 0
        """Those of the resumes that want an answer."""
        self.resumes_out = 0
        """Resumes that wanted an answer, and the answers that came."""
        self.answers_in = 0
        self.openings_out = 0
        """Resumes that named no peer, which a question may answer."""
        self.excused_below = 0
        """Segments with a lower seq may have been taken for lost by an answer to an earlier
        question."""
        self.acks_out = 0
        self.answers_out = 0
        self.questions_out = 0
        """Resumes that want an answer, and heartbeats."""
        self.reports = 0
        """Frames that came and may tell what the peer holds."""
        self.reports_at: dict[int, int] = {}
        """The same number when a segment was last sent, by seq."""
        self.held = 0
        """The segments that came and were not dropped, as bits, bit 0 for seq 0."""
        self.early = 0
        """The same of those that came before the application knew of the stream."""
        self.report = (0, 0)
        """`ack` and `ack_bits` of the last valid report that came."""
        self.report_due = float("inf")
        """When at last the peer has to be told what came."""


class StreamEnd:
    """One end of a stream. The public attributes are for reading."""

    __slots__ = (
        "_owner",
        "acknowledged",
        "close_when_sent",
        "consumed",
        "ended",
        "ended_at",
        "facts",
        "graceful",
        "life",
        "opened_at",
        "outbox",
        "profile",
        "reading",
        "reason_given",
        "received",
        "sent",
        "stream_id",
        "unread",
    )

    def __init__(self, owner: Owner, stream_id: str, opened_at: float) -> None:
        self._owner = owner
        self.stream_id = stream_id
        self.life = owner.life
        """Which life of its process this end belongs to, from 1."""
        self.opened_at = opened_at
        self.profile: Profile | None = None
        """What the other end can do, once that is known."""
        self.sent: list[bytes] = []
        """Messages that the connection has taken, in order; message ids count them from 1."""
        self.outbox: deque[bytes] = deque()
        """Messages that wait for room in the connection's send buffer."""
        self.received: list[bytes] = []
        """Messages received, in order."""
        self.unread: deque[bytes] = deque()
        """Those of them that the application has not taken over."""
        self.consumed = 0
        """How many it has taken over."""
        self.acknowledged = 0
        """How many of the messages sent are acknowledged."""
        self.reading = True
        self.ended: StreamReset | None = None
        """How the stream ended, or None."""
        self.ended_at: float | None = None
        self.close_when_sent: str | None = None
        self.graceful = False
        """Whether this application closed it, and did not reset it after all."""
        self.reason_given: str | None = None
        """The reason with which this application closed or reset it."""
        self.facts = EndFacts()

    @property
    def owner_name(self) -> str:
        """The name of the peer that has this end."""
        return self._owner.name

    @property
    def gone(self) -> bool:
        """Whether its process has died meanwhile."""
        return self.life != self._owner.life

    @property
    def live(self) -> bool:
        """Whether its process lives and the stream has not ended here."""
        return self.ended is None and not self.gone

    def disowns(self, frame: Frame) -> bool:
        """Whether a frame is data that this end has to drop: it acknowledges nothing, and the
        executor has acknowledged messages before."""
        return (
            isinstance(frame, DataFrame)
            and self._owner.role is Role.HARNESS
            and self.acknowledged > 0
            and not (frame.ack or frame.ack_bits)
        )

    def send(self, data: bytes) -> MessageId:
        """Send one message, or keep it until there is room. Returns its id.

        Raises `ValueError` if the stream has ended or is closing.
        """
        if not self.live or self.reason_given is not None:
            raise ValueError(f"stream {self.stream_id} takes no more messages")
        self.outbox.append(data)
        message_id = len(self.sent) + len(self.outbox)
        self._owner.push(self)
        return message_id

    def close(self, reason: str = ResetReason.CLOSED) -> None:
        """End the stream once everything sent is acknowledged; harmless if it has ended."""
        if self.live and self.reason_given is None:
            self.reason_given = reason
            self.graceful = True
            self._owner.close(self, reason)

    def reset(self, reason: str = ResetReason.CANCELLED) -> None:
        """End the stream at once; harmless if it has ended."""
        if self.live:
            self.reason_given = reason
            self.graceful = False
            self._owner.reset(self, reason)

    def stop_reading(self) -> None:
        """Take over no more messages until `read_on`."""
        self.reading = False

    def read_on(self) -> None:
        """Take over what has come, and what comes."""
        self.reading = True
        if self.live:
            self._owner.take(self)

    def outcome(self, message_id: MessageId) -> Outcome | None:
        """What became of a message, by its id; None as long as that is open."""
        if message_id > len(self.sent):
            return Outcome.NEVER_SENT if self.ended is not None else None
        if self.ended is not None:
            return self.ended.outcome(message_id)
        return Outcome.ACKNOWLEDGED if message_id <= self.acknowledged else None
