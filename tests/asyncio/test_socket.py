"""Which address of a host is connected to, in virtual time; and streams that were closed here."""

import asyncio
import errno
import socket
from typing import Any

import pytest

from asyncio_net import now
from sansrelay_asyncio import _socket

pytestmark = [
    pytest.mark.asyncio(loop_factories=["virtual"]),
    pytest.mark.usefixtures("complaints"),
]


class Hosts:
    """Addresses that answer after a time, or refuse after one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: float | OSError) -> None:
        self.answers = answers
        self.tried: list[tuple[str, float]] = []
        self.sockets: dict[str, socket.socket] = {}
        monkeypatch.setattr(_socket, "_resolve", self._resolve)
        monkeypatch.setattr(_socket, "_connect", self._connect)

    async def _resolve(self, host: str, port: int) -> list[Any]:
        return [
            (socket.AF_INET6 if name.startswith("six") else socket.AF_INET, 0, 0, "", name)
            for name in self.answers
        ]

    async def _connect(self, address: Any) -> socket.socket:
        name = address[-1]
        self.tried.append((name, round(now(), 3)))
        answer = self.answers[name]
        if isinstance(answer, OSError):
            raise answer
        await asyncio.sleep(answer)
        self.sockets[name] = socket.socket()
        return self.sockets[name]


async def test_the_next_address_is_tried_when_the_first_takes_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = Hosts(monkeypatch, six1=1000, six2=1000, four=0.1)
    with await _socket.open_tcp_socket("relay.test", 80) as sock:
        assert sock is hosts.sockets["four"]
    # Families by turns, each with a head start of a quarter of a second.
    assert hosts.tried == [("six1", 0), ("four", 0.25)]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_of_two_that_answer_at_once_one_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(monkeypatch, six=0.5, four=0.25)
    with await _socket.open_tcp_socket("relay.test", 80) as sock:
        others = [each for each in hosts.sockets.values() if each is not sock]
        assert [each.fileno() for each in others] == [-1]


async def test_a_refusal_leads_to_the_next_address_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Hosts(monkeypatch, six=OSError(errno.ENETUNREACH, "v6"), four=0)
    with await _socket.open_tcp_socket("relay.test", 80):
        assert now() == 0


async def test_the_errors_of_all_addresses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [OSError(errno.ENETUNREACH, "v6"), OSError(errno.ECONNREFUSED, "v4")]
    Hosts(monkeypatch, six=errors[0], four=errors[1])
    with pytest.raises(OSError, match=r"relay\.test") as caught:
        await _socket.open_tcp_socket("relay.test", 80)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert list(caught.value.__cause__.exceptions) == errors


async def test_cancelled_it_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts(monkeypatch, six=1000, four=1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await _socket.open_tcp_socket("relay.test", 80)
    assert len(hosts.tried) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_arrived_before_this_side_closed_is_not_handed_out() -> None:
    one, two = socket.socketpair()
    stream = await _socket.connect_stream(one, ssl_context=None, server_hostname="relay.test")
    with two:
        two.send(b"x")
        await asyncio.sleep(1)
        stream.abort()
        with pytest.raises(ConnectionAbortedError):
            await stream.receive_some()
        with pytest.raises(ConnectionAbortedError):
            stream.write(b"x")
        await stream.wait_gone()
