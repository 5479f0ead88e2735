"""The table of behaviours: what a row is, the columns, and what runs a row in a column."""

import logging
import os
import ssl
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from adapters.ends import QUICK, Accepted, End, Executor, Harness, Stream, tell_error
from adapters.loops import Loop, new_loop
from adapters.middle import Middle
from adapters.wires import Proxy
from sansrelay import RelayConfig, Role

__all__ = [
    "COLUMNS",
    "ROWS",
    "SMALL",
    "Column",
    "Record",
    "Relay",
    "Row",
    "behaviour",
    "open_sockets",
    "record_of",
]

SMALL = RelayConfig(send_buffer_size=4096, send_window_bytes=4096, send_buffer_messages=8)
"""Buffers that four messages of 1000 bytes fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Which loop each of the three programs of a relay runs on."""

    harness: str
    executor: str
    server: str

    def __str__(self) -> str:
        if self.harness == self.executor == self.server:
            return self.harness
        return f"{self.harness} harness, {self.executor} executor, {self.server} server"


COLUMNS = [
    Column(harness="trio", executor="trio", server="trio"),
    Column(harness="asyncio", executor="asyncio", server="asyncio"),
    Column(harness="uvloop", executor="uvloop", server="uvloop"),
    Column(harness="trio", executor="asyncio", server="trio"),
    Column(harness="asyncio", executor="trio", server="asyncio"),
]


class Relay:
    """A rendezvous with wires to it that can be cut, and the ends that a row puts on them."""

    def __init__(self, column: Column, *, tls: ssl.SSLContext | None = None) -> None:
        self._loops: list[Loop] = []
        self._ends: list[tuple[Role, End]] = []
        self._column = column
        self._server_loop = self._new_loop(column.server)
        self.middle = Middle(self._server_loop, tls=tls)
        self.port = self.middle.start()
        self.scheme = "wss" if tls else "ws"
        self.wires = {role: Proxy(self.port) for role in Role}
        self.middle.urls.update({role: self.url(role) for role in Role})

    def _new_loop(self, kind: str) -> Loop:
        loop = new_loop(kind)
        self._loops.append(loop)
        return loop

    def url(self, role: Role) -> str:
        """Where an end dials, over its wire."""
        return f"{self.scheme}://localhost:{self.wires[role].port}/{role.value}"

    def harness(self, target: Any = None, **options: Any) -> Harness:
        """Open a harness. Raises what `open_harness` does."""
        options = {"backoff": QUICK, **options}
        loop = self._new_loop(self._column.harness)
        harness = Harness(loop, target or self.url(Role.HARNESS), **options)
        self._ends.append((Role.HARNESS, harness))
        return harness

    def executor(self, target: Any = None, **options: Any) -> Executor:
        """Start an executor. Raises what `serve_executor` does."""
        options = {"backoff": QUICK, **options}
        loop = self._new_loop(self._column.executor)
        executor = Executor(loop, target or self.url(Role.EXECUTOR), **options)
        self._ends.append((Role.EXECUTOR, executor))
        return executor

    def pair(self, **options: Any) -> tuple[Stream, Accepted]:
        """An executor, a harness, and both ends of a stream that is open."""
        executor = self.executor(**options)
        stream = self.harness(**options).open_stream()
        stream.wait_opened()
        return stream, executor.accept()

    def attempt(self, role: Role, target: Any = None, **options: Any) -> str:
        """Start an end; tells what came of it."""
        try:
            if role is Role.HARNESS:
                self.harness(target, **options)
            else:
                self.executor(target, **options)
        except Exception as error:
            return tell_error(error)
        return "linked"

    def restart(self) -> None:
        """Stop the rendezvous, which forgets all, and start another one in its place."""
        self.middle.stop()
        self.port = self.middle.start()
        for wire in self.wires.values():
            wire.target = self.port

    def told(self, role: Role) -> list[str]:
        """What has happened at the ends of one kind."""
        return [each for of, end in self._ends if of is role for each in end.told()]

    def close(self) -> None:
        """End it all, and see that nothing is left."""
        for _, end in reversed(self._ends):
            end.leave()
        self.middle.stop()
        for wire in self.wires.values():
            wire.stop()
        for loop in self._loops:
            loop.stop()
        complaints = [each for loop in self._loops for each in loop.complaints]
        assert complaints == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a row says, and what came of it."""

    steps: list[object]
    """What the row's function yields: what came of its steps."""
    harness: list[str] | None = None
    """What the harnesses' state machines told, up to the end of the steps; None where that depends
    on the pace."""
    executor: list[str] | None = None
    """The same of the executors."""
    errors: list[str] = field(default_factory=list)
    """What the adapters have logged as errors, without the details."""


Scenario = Callable[[Relay], Iterator[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One behaviour, the same in every column."""

    scenario: Scenario
    record: Record
    tls: Callable[[], ssl.SSLContext] | None = None
    """Makes the server speak TLS."""

    def __str__(self) -> str:
        return self.scenario.__name__


ROWS: list[Row] = []


def behaviour(
    *,
    steps: list[object],
    harness: list[str] | None = None,
    executor: list[str] | None = None,
    errors: list[str] | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> Callable[[Scenario], Scenario]:
    """Make a function a row of the table. It yields what came of its steps."""

    def add(scenario: Scenario) -> Scenario:
        record = Record(steps=steps, harness=harness, executor=executor, errors=errors or [])
        ROWS.append(Row(scenario=scenario, record=record, tls=tls))
        return scenario

    return add


def record_of(row: Row, column: Column) -> Record:
    """Run a row in a column. Nothing is left afterwards, neither task nor socket."""
    sockets = open_sockets()
    with _logged_errors() as errors:
        relay = Relay(column, tls=row.tls() if row.tls else None)
        try:
            steps = list(row.scenario(relay))
            harness, executor = relay.told(Role.HARNESS), relay.told(Role.EXECUTOR)
        finally:
            relay.close()
    assert open_sockets() <= sockets
    return Record(
        steps=steps,
        harness=None if row.record.harness is None else harness,
        executor=None if row.record.executor is None else executor,
        errors=errors,
    )


@contextmanager
def _logged_errors() -> Generator[list[str]]:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.msg)

    errors: list[str] = []
    handler = Handler(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("sansrelay_trio", "sansrelay_asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield errors
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def open_sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {each for each in found if each.startswith("socket:")}
