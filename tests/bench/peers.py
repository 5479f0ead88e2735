"""The peers: two connections of each in memory, no sockets.

The packages are imported when a sample is taken, since none of them has to be installed.
"""

import itertools
import random
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

from .core import TURN, payload, per_turn
from .measure import Effort

WINDOW = 1 << 24
"""Bytes of every window of a peer that can be set: flow control never stops it."""


def h2_pump(size: int, messages: int, streams: int = 1) -> Callable[[Effort], float]:
    """Microseconds of CPU time per message, each a DATA frame, with every window wide open."""

    def sample(effort: Effort) -> float:
        count = effort.of(messages)
        h2_settings = import_module("h2.settings").SettingCodes
        data_received = import_module("h2.events").DataReceived
        ends = client, server = _h2_ends()
        for end in ends:
            end.initiate_connection()
            end.update_settings(
                {
                    h2_settings.INITIAL_WINDOW_SIZE: WINDOW,
                    h2_settings.MAX_FRAME_SIZE: 1 << 17,
                    h2_settings.MAX_CONCURRENT_STREAMS: streams,
                }
            )

        def exchange() -> None:
            if out := client.data_to_send():
                _h2_receive(server, out, data_received, received)
            if back := server.data_to_send():
                client.receive_data(back)

        received = [0, 0]
        exchange()
        exchange()
        server.increment_flow_control_window(WINDOW)
        ids = []
        for _ in range(streams):
            ids.append(client.get_next_available_stream_id())
            client.send_headers(ids[-1], _H2_REQUEST)
            exchange()
        data, turn = payload(size), itertools.cycle(ids)
        began = time.process_time()
        for start in range(0, count, per_turn(size)):
            for _ in range(min(per_turn(size), count - start)):
                client.send_data(next(turn), data)
            exchange()
        cost = time.process_time() - began
        assert received == [count, count * size]
        return cost / count * 1e6

    return sample


_H2_REQUEST = [
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":scheme", b"https"),
    (b":authority", b"peer"),
]


def _h2_ends() -> tuple[Any, Any]:
    connection = import_module("h2.connection").H2Connection
    config = import_module("h2.config").H2Configuration
    unchecked = {
        "header_encoding": None,
        "validate_inbound_headers": False,
        "validate_outbound_headers": False,
        "normalize_inbound_headers": False,
        "normalize_outbound_headers": False,
    }
    return (
        connection(config(client_side=True, **unchecked)),
        connection(config(client_side=False, **unchecked)),
    )


def _h2_receive(server: Any, data: bytes, data_received: Any, received: list[int]) -> None:
    for event in server.receive_data(data):
        if isinstance(event, data_received):
            received[0] += 1
            received[1] += len(event.data)
            server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)


_CLIENT_ADDRESS = ("127.0.0.1", 1)
_SERVER_ADDRESS = ("127.0.0.1", 2)


class QuicPair:
    """Two ends of aioquic after their handshake, and the datagrams between them."""

    def __init__(self, datagram_size: int) -> None:
        self.now = 0.0
        self.wire = self.received = 0
        connection = import_module("aioquic.quic.connection").QuicConnection
        configuration = import_module("aioquic.quic.configuration").QuicConfiguration
        suite = import_module("aioquic.tls").CipherSuite.AES_128_GCM_SHA256
        options = {
            "max_data": 4 * WINDOW,
            "max_stream_data": WINDOW,
            "max_datagram_size": datagram_size,
            "cipher_suites": [suite],
        }
        listening = configuration(is_client=False, **options)
        listening.certificate, listening.private_key = _self_signed()
        dialling = configuration(is_client=True, verify_mode=ssl.CERT_NONE, **options)
        self.client = connection(configuration=dialling)
        self.server = connection(
            configuration=listening,
            original_destination_connection_id=self.client.original_destination_connection_id,
        )
        self._data_received = import_module("aioquic.quic.events").StreamDataReceived
        self.client.connect(_SERVER_ADDRESS, now=self.now)
        for _ in range(10):
            self.exchange()

    def exchange(self, lost: Callable[[], bool] | None = None) -> None:
        """Time passes, and all datagrams go over."""
        self.now += TURN
        for sender, receiver, origin in (
            (self.client, self.server, _CLIENT_ADDRESS),
            (self.server, self.client, _SERVER_ADDRESS),
        ):
            due = sender.get_timer()
            if due is not None and due <= self.now:
                sender.handle_timer(self.now)
            for datagram, _ in sender.datagrams_to_send(self.now):
                self.wire += len(datagram)
                if lost is None or not lost():
                    receiver.receive_datagram(datagram, origin, self.now)
            while (event := receiver.next_event()) is not None:
                if isinstance(event, self._data_received):
                    self.received += len(event.data)


def _self_signed() -> tuple[Any, Any]:
    x509 = import_module("cryptography.x509")
    ec = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    hashes = import_module("cryptography.hazmat.primitives.hashes")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=today - timedelta(days=1),
        not_valid_after=today + timedelta(days=1),
    )
    return builder.sign(key, hashes.SHA256()), key


def aioquic_pump(
    size: int, messages: int, streams: int = 1, *, datagram_size: int = 1200
) -> Callable[[Effort], float]:
    """Microseconds of CPU time per message. A stream of bytes: messages share datagrams."""

    def sample(effort: Effort) -> float:
        count = effort.of(messages)
        pair = QuicPair(datagram_size)
        data = payload(size)
        turn = itertools.cycle(range(0, 4 * streams, 4))
        began = time.process_time()
        for start in range(0, count, per_turn(size)):
            batch = min(per_turn(size), count - start)
            for _ in range(batch):
                pair.client.send_stream_data(next(turn), data)
            while pair.received < (start + batch) * size:
                pair.exchange()
        cost = time.process_time() - began
        assert pair.received == count * size
        return cost / count * 1e6

    return sample


def aioquic_waste(loss: float) -> Callable[[Effort], float]:
    """Bytes on the wire, both ways, per byte of payload when so many datagrams are lost."""

    def sample(effort: Effort) -> float:
        chance = random.Random(effort.seed)
        pair = QuicPair(1200)
        size = effort.of(2 << 20)
        before = pair.wire
        pair.client.send_stream_data(0, payload(size))
        while pair.received < size:
            pair.exchange(lambda: chance.random() < loss)
        return (pair.wire - before) / size

    return sample


def kcp_pump(size: int, messages: int, streams: int = 1) -> Callable[[Effort], float]:
    """Microseconds of CPU time per message. A stream of ours is a conversation of theirs."""

    def sample(effort: Effort) -> float:
        count = effort.of(messages)
        kcp = import_module("kcp").KCP
        conversations = [
            (_kcp_end(kcp, number), _kcp_end(kcp, number)) for number in range(1, streams + 1)
        ]
        data, turn = payload(size), itertools.cycle(conversations)
        clock = received = 0
        began = time.process_time()
        for start in range(0, count, per_turn(size)):
            batch = min(per_turn(size), count - start)
            for _ in range(batch):
                next(turn)[0][0].enqueue(data)
            while received < (start + batch) * size:
                clock += _KCP_INTERVAL
                for one, two in conversations:
                    _kcp_flush(one, two, clock)
                    received += sum(map(len, two[0].get_all_received()))
                    _kcp_flush(two, one, clock)
        cost = time.process_time() - began
        assert received == count * size
        return cost / count * 1e6

    return sample


_KCP_INTERVAL = 10
_KcpEnd = tuple[Any, list[bytes]]


def _kcp_end(kcp: Any, conversation: int) -> _KcpEnd:
    end = kcp(
        conversation,
        no_delay=True,
        update_interval=_KCP_INTERVAL,
        resend_count=2,
        no_congestion_control=True,
        send_window_size=1024,
        receive_window_size=1024,
        max_transmission=1400,
    )
    out: list[bytes] = []
    end.include_outbound_handler(lambda _, datagram: out.append(datagram))
    return end, out


def _kcp_flush(sender: _KcpEnd, receiver: _KcpEnd, clock: int) -> None:
    end, out = sender
    end.update(clock)
    for datagram in out:
        receiver[0].receive(datagram)
    out.clear()
