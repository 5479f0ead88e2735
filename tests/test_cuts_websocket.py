"""A WebSocket lost at every byte: in the upgrade, in a frame's head, in its payload, between two.

Both ends of the wire are real, and bytes go from one to the other in memory. What came whole before
the loss counts, the rest is lost; a new connection takes over, and the promises are checked.
"""

import random
from collections import Counter
from collections.abc import Callable
from enum import Enum
from heapq import heappop, heappush
from typing import Any

import pytest

from cut_net import DELAY, SOON, App, Script, Talk, check_end
from sansrelay import LinkState, RelayConfig, Role
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import WebSocketCause, WebSocketLink, WebSocketState

CONFIG = RelayConfig(
    segment_size=140, send_window_segments=3, opening_window_segments=3, initial_rto=0.5
)
"""Segments that need the longer form of a WebSocket frame's length, and windows that close."""
SCRIPT: Script = {
    "a": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(4)]),
    "b": Talk(turns=[([bytes(300)], [b"thanks", b"a lot"])], closer=Role.EXECUTOR),
    "c": Talk(turns=[([b"go", b"on"], [b"1", b"2", bytes(400), b"3"])], cancel_after=2),
}


class Part(Enum):
    """Which part of a connection a byte belongs to."""

    REQUEST = "the client's request"
    RESPONSE = "the server's response"
    TO_SERVER = "what the client sends on the WebSocket"
    TO_CLIENT = "what the server sends on the WebSocket"


class End:
    """One end of a connection: an application with its `RelayConnection`, and a WebSocket."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.connect(None)

    def connect(self, link: WebSocketLink | None) -> None:
        """Begin on a new connection: as its client, or as the server, without a link at first."""
        self.link = link
        self.server = HttpServerConnection()
        self.out = bytearray()
        self.sent: list[tuple[int, bytes]] = []
        """Each frame sent on this connection, and the number of bytes up to its end."""
        self.bytes_sent = 0
        self.bytes_received = 0
        self.received: list[bytes] = []
        self.pongs: list[bytes] = []

    @property
    def transport(self) -> WebSocketLink | HttpServerConnection:
        """What takes and gives bytes now."""
        return self.link or self.server

    def collect(self) -> None:
        """Take the bytes that are to be sent."""
        data = self.transport.bytes_to_send()
        self.bytes_sent += len(data)
        self.out += data

    def send(self, frame: bytes) -> None:
        """Send one relay frame."""
        assert self.link is not None
        self.link.send_message(frame)
        self.collect()
        self.sent.append((self.bytes_sent, frame))
        self.app.note_sent(frame)

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come."""
        self.bytes_received += len(data)
        if self.link is None:
            self.server.receive_bytes(data)
            if self.server.next_request() is None:
                return
            self.link = self.server.accept_websocket()
        else:
            self.link.receive_bytes(data)
        assert self.link.failure is None, f"{self.link.failure}"
        if self.link.state is WebSocketState.OPEN and self.app.conn.state is LinkState.DOWN:
            self.app.conn.link_opened(now)
            self.link.ping(self.app.role.value.encode())
        for frame in self.link.messages():
            self.received.append(frame)
            self.app.note_arrived(frame)
            self.app.conn.receive_frame(frame, now)
        self.pongs += self.link.pongs()

    def lose(self, now: float) -> None:
        """The connection is gone."""
        self.transport.receive_eof()
        assert self.transport.should_close_transport, f"{self.app.role} holds on"
        failure = None if self.link is None else self.link.failure
        assert failure is None or failure.cause is WebSocketCause.UNCLEAN_EOF, f"{failure}"
        if self.app.conn.state is LinkState.UP:
            self.app.conn.link_closed(now)


class Net:
    """A harness and an executor; one of them dials the other. One loss after so many bytes."""

    def __init__(self, dialler: Role, lost_after: int | None) -> None:
        self.now = 0.0
        self.harness = App(Role.HARNESS, SCRIPT, CONFIG)
        self.executor = App(Role.EXECUTOR, SCRIPT, CONFIG)
        self.harness.peer, self.executor.peer = self.executor, self.harness
        ends = End(self.harness), End(self.executor)
        self.client, self.server = ends if dialler is Role.HARNESS else ends[::-1]
        self.bytes = 0
        self.lost_at: tuple[int, Part] | None = None
        """How many bytes had arrived at the loss, and what the last ones belonged to."""
        self._lost_after = lost_after
        self._connection = 0
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self.harness.begin()
        self._dial()

    def run(self, seconds: float) -> None:
        """Until nothing is left to happen, or so much time has passed."""
        end = self.now + seconds
        machines = self.harness.conn, self.executor.conn
        while True:
            self._pump()
            times = [time for machine in machines if (time := machine.next_timeout()) is not None]
            when = min(times, default=end)
            if self._agenda and self._agenda[0][0] <= when:
                when, _, action, args = heappop(self._agenda)
                self.now = max(self.now, when)
                action(*args)
            elif when < end:
                self.now = when
                for machine in machines:
                    machine.handle_timeout(when)
            else:
                self.now = end
                return

    def _later(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._serial += 1
        heappush(self._agenda, (self.now + seconds, self._serial, action, args))

    def _dial(self) -> None:
        self._connection += 1
        self.client.connect(WebSocketLink.client("ws://rendezvous.example/relay"))
        self.server.connect(None)

    def _pump(self) -> None:
        """Everything that is to be sent now gets under way."""
        self.harness.drain_events()
        self.executor.drain_events()
        for end, other in ((self.client, self.server), (self.server, self.client)):
            conn = end.app.conn
            if conn.state is LinkState.UP and self._is_over(end):
                conn.link_closed(self.now)
            while frames := conn.frames_to_send(self.now):
                for frame in frames:
                    end.send(frame)
                end.app.drain_events()
            end.collect()
            if end.out:
                self._later(DELAY, self._arrive, self._connection, other, bytes(end.out))
                end.out.clear()

    def _is_over(self, end: End) -> bool:
        """Whether the connection closes in good order: the client begins when all is done."""
        done = all(app.ended.keys() == SCRIPT.keys() for app in (self.harness, self.executor))
        if done and end is self.client and end.link is not None:
            end.link.close()
            return True
        return end.transport.should_close_transport

    def _arrive(self, connection: int, end: End, data: bytes) -> None:
        if connection != self._connection or end.transport.should_close_transport:
            return
        if self._lost_after is not None:
            data = data[: self._lost_after - self.bytes]
        self.bytes += len(data)
        middle = len(data) // 2  # frames come in two parts now and then
        for part in filter(None, (data[:middle], data[middle:])):
            end.receive(part, self.now)
        if self.bytes == self._lost_after:
            self._lost_after = None
            self.lost_at = self.client.bytes_received + self.server.bytes_received, self._part(end)
            self._lose()

    def _part(self, end: End) -> Part:
        assert self.client.link is not None
        if self.server.link is None:
            return Part.REQUEST
        if self.client.link.state is WebSocketState.CONNECTING:
            return Part.RESPONSE
        return Part.TO_SERVER if end is self.server else Part.TO_CLIENT

    def _lose(self) -> None:
        self._connection += 1
        for end, other in ((self.client, self.server), (self.server, self.client)):
            end.lose(self.now)
            whole = [frame for stop, frame in other.sent if stop <= end.bytes_received]
            assert end.received == whole, f"{end.app.role} has not got the frames that came whole"
        self._later(0.2, self._dial)


def run(dialler: Role, lost_after: int | None = None) -> Net:
    """Run the script to its end, and check the promises."""
    try:
        net = Net(dialler, lost_after)
        net.run(SOON)
        for sid, talk in SCRIPT.items():
            for app in (net.harness, net.executor):
                assert sid in app.ended, f"{sid} has not ended at {app.role}"
                check_end(app, sid, talk)
    except AssertionError as error:
        raise AssertionError(f"[lost after byte {lost_after}] {error}") from error
    return net


@pytest.fixture(autouse=True)
def same_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's nonces and masks come from a seed: equal runs have equal bytes."""
    monkeypatch.setattr("os.urandom", random.Random(6455).randbytes)


@pytest.mark.parametrize("dialler", Role)
def test_the_script_has_some_30_frames_and_all_that_belongs_to_a_websocket(dialler: Role) -> None:
    net = run(dialler)
    frames = [frame for end in (net.client, net.server) for frame in end.received]
    assert 30 <= len(frames) <= 40
    assert max(len(frame) for frame in frames) > 125
    assert net.client.pongs + net.server.pongs == [
        end.app.role.value.encode() for end in (net.client, net.server)
    ]
    for end in (net.client, net.server):
        assert end.link is not None
        assert (end.link.state, end.link.close_code) == (WebSocketState.CLOSED, 1000)
        assert end.app.conn.stats().segments_retransmitted == 0


@pytest.mark.parametrize("dialler", Role)
def test_a_connection_lost_at_every_byte(dialler: Role) -> None:
    whole = run(dialler).bytes
    lost: Counter[Part] = Counter()
    half_sent = 0
    for lost_after in range(whole + 1):
        net = run(dialler, lost_after)
        assert net.lost_at is not None
        at, part = net.lost_at
        assert at == lost_after
        lost[part] += 1
        half_sent += net.executor.ledgers["c"].half_sent
    assert lost[Part.REQUEST] >= 150
    assert lost[Part.RESPONSE] >= 120
    assert lost[Part.TO_SERVER] >= 450
    assert lost[Part.TO_CLIENT] >= 450
    assert half_sent >= 500
