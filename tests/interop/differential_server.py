"""An HTTP server for `http/request`: what it answers is bytes, right or wrong."""

from collections.abc import Mapping
from contextlib import suppress

import trio

_END = b"\r\n\r\n"


def _answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    length = b"content-length: %d" % len(body)
    lines = (b"HTTP/1.1 " + status, length, b"connection: close", *headers)
    return b"\r\n".join(lines) + _END + body


def _redirect(target: bytes) -> bytes:
    return _answer(b"", b"location: " + target, status=b"302 Found")


_ANSWERS: Mapping[bytes, bytes] = {
    b"/missing": _answer(b"not here", status=b"404 Not Found"),
    b"/none": b"HTTP/1.1 204 No Content" + _END,
    b"/chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
    + _END
    + b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
    b"/headers": _answer(b"", b"X-Two: 1", b"x-two: 2", b"x-latin: caf\xe9", b"x-empty:"),
    b"/cut": b"HTTP/1.1 200 OK\r\ncontent-length: 100" + _END + b"part",
    b"/nothing": b"",
    b"/nonsense": b"hello\r\n\r\n",
    b"/away": _redirect(b"ftp://127.0.0.1/"),
    b"/redirect/0": _answer(b"there"),
    **{b"/redirect/%d" % n: _redirect(b"/redirect/%d" % (n - 1)) for n in range(1, 12)},
}


async def serve(stream: trio.SocketStream) -> None:
    """Answer one request and close. `/silence` gets no answer; what is not known, an echo."""
    async with stream:
        with suppress(trio.BrokenResourceError):
            await _answer_one(stream)


async def _answer_one(stream: trio.SocketStream) -> None:
    received = b""
    while _END not in received:
        received += await _more(stream)
    head, _, body = received.partition(_END)
    while len(body) < _length(head):
        body += await _more(stream)
    line = head.partition(b"\r\n")[0]
    path = line.split(b" ")[1]
    if path == b"/silence":
        await _more(stream)
    echo = b"" if line.startswith(b"HEAD ") else line + b"|" + body
    await stream.send_all(_ANSWERS.get(path, _answer(echo)))


async def _more(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some()
    if not data:
        raise trio.BrokenResourceError
    return bytes(data)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
