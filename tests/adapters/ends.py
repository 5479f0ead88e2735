"""Both ends of the relay as a test sees them: steps in a row, and what came of each, as data.

Each method does one thing on the end's own loop, in another thread, and returns what came of it:
the bytes received, or words, which are the same for both adapters.
"""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from itertools import groupby
from typing import Any, TypeVar

import sansrelay_asyncio
import sansrelay_trio
import trio
from adapters.loops import PATIENCE, Loop, Pending
from sansrelay import (
    DataAcknowledged,
    DataReceived,
    Event,
    FrameRejected,
    LinkLost,
    LocalProtocolError,
    PeerSilent,
    StreamOpened,
    StreamReset,
    StreamResumed,
)
from sansrelay.links import Backoff, ConnectError, LinkStatus, RegistryRefused

__all__ = [
    "QUICK",
    "Accepted",
    "End",
    "Executor",
    "Harness",
    "Later",
    "Stream",
    "tell_error",
    "tell_events",
]

E = TypeVar("E", bound=Event)

Told = str | bytes
"""What came of a step."""

QUICK = Backoff(first=0.01, cap=0.05)
"""The pauses of a test that waits for them."""

_WORDS: dict[type[BaseException], str] = {
    trio.EndOfChannel: "end of stream",
    EOFError: "end of stream",
    trio.ClosedResourceError: "closed here",
    ConnectionAbortedError: "closed here",
    trio.BusyResourceError: "busy",
    RuntimeError: "busy",
    trio.WouldBlock: "would wait",
    asyncio.QueueEmpty: "would wait",
    asyncio.QueueFull: "would wait",
    CancelledError: "cancelled",
}


def tell_error(error: BaseException) -> str:
    """An error's kind and cause. Raises it if it is none that the adapters document."""
    match error:
        case sansrelay_trio.StreamEnded() | sansrelay_asyncio.StreamEnded():
            said = f"ended: {_tell_reset(error.reset)}"
            return f"{said} ({tell_error(error.__cause__)})" if error.__cause__ else said
        case sansrelay_trio.LinkFailed() | sansrelay_asyncio.LinkFailed():
            assert error.__cause__ is not None
            return f"no link any more ({tell_error(error.__cause__)})"
        case RegistryRefused():
            return f"registry: {error.cause.name} {error.status} {error.code}"
        case ConnectError():
            status = f" {error.status}" if error.status is not None else ""
            return f"no link: {error.cause.name}{status}"
        case LocalProtocolError():
            return f"misuse: {error.cause.name}"
    if type(error) not in _WORDS:
        raise error
    return _WORDS[type(error)]


def _tell_reset(reset: StreamReset) -> str:
    said = f"{reset.reason}, by {reset.by.name.lower()}"
    for name, messages in ("unknown", reset.unknown), ("never sent", reset.never_sent):
        if messages:
            said += f", {len(messages)} {name}"
    return said


def tell_events(events: list[Event]) -> list[str]:
    """What happened at one end, in its order. Equal events in a row are told once.

    Left out is what depends on the pace: acks, retransmissions, room for more.
    """
    told: list[str] = []
    for event in events:
        match event:
            case StreamOpened():
                told.append(f"opened, {event.profile.name.lower()}")
            case StreamResumed():
                told.append("resumed")
            case DataReceived():
                told.append("message")
            case StreamReset():
                told.append(f"ended: {_tell_reset(event)}")
            case LinkLost():
                told.append("link lost")
            case FrameRejected():
                told.append(f"rejected: {event.cause.name}")
            case PeerSilent():
                told.append("silent")
    return [each for each, _ in groupby(told)]


class Events:
    """What the state machine of an end has told so far."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._changed = threading.Condition()

    def add(self, event: Event) -> None:
        """For the end's `on_event`."""
        with self._changed:
            self.all.append(event)
            self._changed.notify_all()

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Wait, in the thread of the test, until something is true."""
        with self._changed:
            assert self._changed.wait_for(predicate, PATIENCE), "it does not happen"


class Later:
    """A step that is under way."""

    def __init__(self, pending: Pending[Any]) -> None:
        self._pending = pending

    def outcome(self) -> Told:
        """Wait for its end, and tell it."""
        try:
            value = self._pending.result()
        except (Exception, CancelledError) as error:
            return tell_error(error)
        return value if isinstance(value, bytes) else "done"

    def cancel(self) -> "Later":
        """Cancel it."""
        self._pending.cancel()
        return self

    @property
    def is_done(self) -> bool:
        return self._pending.future.done()


class Stream:
    """One end of a stream."""

    def __init__(self, end: "End", stream: Any) -> None:
        self.end = end
        self.loop = end.loop
        self.raw = stream
        """The adapter's own `RelayStream`."""

    def later(self, method: str, *args: object) -> Later:
        """Begin a step; returns when it waits, or is done."""
        pending = self.loop.start(lambda: getattr(self.raw, method)(*args))
        self.loop.run(self.loop.settle)
        return Later(pending)

    def _do(self, method: str, *args: object) -> Told:
        return self.later(method, *args).outcome()

    def _call(self, method: str, *args: object) -> Told:
        async def work() -> Any:
            return getattr(self.raw, method)(*args)

        return Later(self.loop.start(work)).outcome()

    def wait_opened(self) -> Told:
        return self._do("wait_opened")

    def send(self, message: bytes) -> Told:
        return self._do("send", message)

    def send_nowait(self, message: bytes) -> Told:
        return self._call("send_nowait", message)

    def receive(self) -> Told:
        return self._do("receive")

    def receive_nowait(self) -> Told:
        return self._call("receive_nowait")

    def aclose(self) -> Told:
        return self._do("aclose")

    def reset(self, *reason: str) -> Told:
        return self._call("reset", *reason)

    def receive_all(self) -> list[Told]:
        """All messages up to the end of the stream, and what that was."""
        told: list[Told] = []
        while not told or isinstance(told[-1], bytes):
            told.append(self.receive())
        return told

    def wait_ended(self) -> str:
        """Wait until the stream has ended; tells how."""
        return _tell_reset(self._wait_for(StreamReset)[0])

    def wait_arrived(self, count: int) -> None:
        """Wait until so many messages have arrived in all, taken over or not."""
        self._wait_for(DataReceived, count)

    def wait_acknowledged(self, message_id: int) -> None:
        """Wait until the peer has taken over all messages up to this one."""
        events = self.end.events
        events.wait_for(
            lambda: any(each.message_id >= message_id for each in self._events(DataAcknowledged))
        )

    def _events(self, kind: type[E]) -> list[E]:
        all_events = list(self.end.events.all)
        return [
            each
            for each in all_events
            if isinstance(each, kind) and getattr(each, "stream_id", None) == self.raw.stream_id
        ]

    def _wait_for(self, kind: type[E], count: int = 1) -> list[E]:
        self.end.events.wait_for(lambda: len(self._events(kind)) >= count)
        return self._events(kind)

    def fill(self, message: bytes) -> int:
        """Send until there is no more room, and none appears; returns how many went in."""
        sent = 0
        while self.send_nowait(message) == "done":
            sent += 1
        return sent


class Accepted(Stream):
    """The executor's end of a stream. Its handler waits until `leave` or `fail`."""

    def __init__(self, end: "End", stream: Any) -> None:
        super().__init__(end, stream)
        self.let_go = end.loop.event()
        self.error: Exception | None = None

    def leave(self, error: Exception | None = None) -> None:
        """Have the handler return, or raise."""
        self.error = error
        self.loop.call(self.let_go.set)


class End:
    """What harness and executor have in common."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.events = Events()
        self.raw: Any = None

    def leave(self) -> Told:
        """Leave in good order."""
        raise NotImplementedError

    def told(self) -> list[str]:
        """What has happened here."""
        return tell_events(self.events.all)

    @property
    def link(self) -> str:
        status: LinkStatus = self.raw.link
        return status.name

    @property
    def links_opened(self) -> int:
        opened: int = self.loop.call(self.raw.stats).links_opened
        return opened

    @property
    def streams_live(self) -> int:
        live: int = self.loop.call(self.raw.stats).streams_live
        return live

    def wait_for_streams(self, live: int) -> int:
        """Wait until so many streams live."""
        self._wait_until(lambda: self.raw.stats().streams_live == live)
        return live

    def wait_for_link(self, status: str) -> str:
        """Wait until the link is as wanted."""
        self._wait_until(lambda: self.link == status)
        return status

    def wait_for_links(self, opened: int) -> None:
        """Wait until so many links have been opened in all."""
        self._wait_until(lambda: self.raw.stats().links_opened >= opened)

    def _wait_until(self, predicate: Callable[[], bool]) -> None:
        """Of what no event tells."""

        async def wait() -> None:
            while not predicate():
                await self.loop.sleep(0.002)

        self.loop.run(wait)


class Harness(End):
    """`open_harness`, in a task that stays in the block until `leave`."""

    def __init__(self, loop: Loop, target: Any, **options: Any) -> None:
        super().__init__(loop)
        opened: Future[Any] = Future()

        async def block() -> None:
            try:
                async with loop.adapter.open_harness(
                    target, on_event=self.events.add, **options
                ) as harness:
                    opened.set_result(harness)
                    await self._left.wait()
            finally:
                opened.cancel()

        self._left = loop.call(loop.event)
        self._block = loop.start(block)
        try:
            self.raw = opened.result(PATIENCE)
        except CancelledError:
            self._block.result()
            raise

    def open_stream(self, *stream_id: str) -> Stream:
        """Open a stream."""
        return Stream(self, self.loop.run(lambda: self.raw.open_stream(*stream_id)))

    def open_later(self, *stream_id: str) -> Later:
        """Open a stream; tells what came of it."""
        return Later(self.loop.start(lambda: self.raw.open_stream(*stream_id)))

    def leave(self) -> Told:
        """Leave the block."""
        self.loop.call(self._left.set)
        return Later(self._block).outcome()

    def cancel(self) -> Told:
        """Cancel the block."""
        return Later(self._block).cancel().outcome()


class Executor(End):
    """`serve_executor`, in a task of its own until `leave`."""

    def __init__(
        self,
        loop: Loop,
        target: Any,
        *,
        handler: Callable[[Any], Awaitable[object]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(loop)
        self._streams: queue.SimpleQueue[Accepted] = queue.SimpleQueue()
        serving: Future[Any] = Future()

        async def serve() -> None:
            try:
                await loop.adapter.serve_executor(
                    handler or self._hand_over,
                    target,
                    on_event=self.events.add,
                    **loop.reporting(serving.set_result),
                    **options,
                )
            finally:
                serving.cancel()

        self._task = loop.start(serve)
        try:
            self.raw = serving.result(PATIENCE)
        except CancelledError:
            self._task.result()
            raise

    async def _hand_over(self, stream: Any) -> None:
        accepted = Accepted(self, stream)
        self._streams.put(accepted)
        await accepted.let_go.wait()
        if accepted.error is not None:
            raise accepted.error

    def accept(self, stream: Stream | None = None) -> Accepted:
        """The executor's end of a stream; of the next one that comes, if none is named."""
        while True:
            accepted = self._streams.get(timeout=PATIENCE)
            if stream is None or accepted.raw.stream_id == stream.raw.stream_id:
                return accepted
            self._streams.put(accepted)

    def leave(self) -> Told:
        """Cancel it."""
        return Later(self._task).cancel().outcome()

    def outcome(self) -> Told:
        """Wait until it ends by itself."""
        return Later(self._task).outcome()
