import random
import struct
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from sansrelay.errors import LocalCause, LocalProtocolError
from sansrelay.http import Headers, HttpResponse, UrlError, parse_websocket_url
from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import (
    MAX_PING_PAYLOAD,
    MAX_REJECTION_BODY,
    WebSocketCause,
    WebSocketLink,
    WebSocketState,
)

URL = "ws://relay.example:8080/dial?ticket=t"
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10

Split = Callable[[bytes], Iterator[bytes]]


def whole(data: bytes) -> Iterator[bytes]:
    yield data


def single_bytes(data: bytes) -> Iterator[bytes]:
    for index in range(len(data)):
        yield data[index : index + 1]


def at_random(seed: int) -> Split:
    source = random.Random(seed)

    def split(data: bytes) -> Iterator[bytes]:
        while data:
            size = source.choice([1, 2, 7, 50, 4000])
            yield data[:size]
            data = data[size:]

    return split


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame by hand (RFC 6455 section 5.2), so that a peer may do what a library would not."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask_bit | size])
    elif size < 1 << 16:
        length = bytes([mask_bit | 126]) + struct.pack("!H", size)
    else:
        length = bytes([mask_bit | 127]) + struct.pack("!Q", size)
    key = b"\x00\x00\x00\x00" if masked else b""  # a mask of zeros leaves the payload readable
    return bytes([opcode | (0x80 if fin else 0)]) + length + key + payload


def closing(code: int, reason: bytes = b"", *, masked: bool = True) -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason, masked=masked)


def open_pair(
    split: Split = whole, *, max_message_size: int = 1000
) -> tuple[WebSocketLink, WebSocketLink]:
    """A client's link and a server's, past the handshake."""
    client = WebSocketLink.client(URL, max_message_size=max_message_size)
    connection = HttpServerConnection()
    for piece in split(client.bytes_to_send()):
        connection.receive_bytes(piece)
    request = connection.next_request()
    assert request is not None
    assert request.wants_websocket
    server = connection.accept_websocket(max_message_size=max_message_size)
    for piece in split(server.bytes_to_send()):
        client.receive_bytes(piece)
    assert client.state is server.state is WebSocketState.OPEN
    return client, server


def carry(sender: WebSocketLink, receiver: WebSocketLink, split: Split = whole) -> bytes:
    data = sender.bytes_to_send()
    for piece in split(data):
        receiver.receive_bytes(piece)
    return data


def server_link(max_message_size: int = 1000) -> WebSocketLink:
    return open_pair(max_message_size=max_message_size)[1]


def misuse(call: Callable[[], object]) -> LocalCause:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    return caught.value.cause


SPLITS = {"whole": whole, "single bytes": single_bytes} | {
    f"seed {seed}": at_random(seed) for seed in range(5)
}
splits = pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS.keys())


# The opening handshake


def test_the_clients_request_asks_for_a_websocket() -> None:
    client = WebSocketLink.client(URL, headers=[("X-Trace", "7")])
    assert client.state is WebSocketState.CONNECTING
    lines = client.bytes_to_send().lower().split(b"\r\n")
    assert lines[0] == b"get /dial?ticket=t http/1.1"
    assert lines[1] == b"host: relay.example:8080"
    for line in (
        b"upgrade: websocket",
        b"connection: upgrade",
        b"sec-websocket-version: 13",
        b"x-trace: 7",
    ):
        assert line in lines
    assert not any(line.startswith(b"sec-websocket-extensions") for line in lines)
    assert not any(line.startswith(b"sec-websocket-protocol") for line in lines)
    assert client.bytes_to_send() == b""


def test_each_client_has_a_key_of_its_own() -> None:
    assert WebSocketLink.client(URL).bytes_to_send() != WebSocketLink.client(URL).bytes_to_send()


def test_a_parsed_url_serves_as_well() -> None:
    client = WebSocketLink.client(parse_websocket_url("wss://[::1]/x"))
    assert client.bytes_to_send().startswith(b"GET /x HTTP/1.1\r\nhost: [::1]\r\n")


def test_a_bad_url_is_refused() -> None:
    with pytest.raises(UrlError):
        WebSocketLink.client("http://relay.example/")


@pytest.mark.parametrize(
    "name", ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol"]
)
def test_headers_of_the_handshake_are_the_links_own(name: str) -> None:
    assert misuse(lambda: WebSocketLink.client(URL, headers=[(name, "x")])) is (
        LocalCause.BAD_ARGUMENT
    )


def test_a_limit_below_one_byte_is_refused() -> None:
    assert misuse(lambda: WebSocketLink.client(URL, max_message_size=0)) is LocalCause.BAD_ARGUMENT


@splits
def test_messages_go_both_ways_in_order(split: Split) -> None:
    client, server = open_pair(split, max_message_size=70_000)
    messages = [b"", b"a", bytes(range(256)), b"x" * 125, b"y" * 126, b"z" * 66_000, b"end"]
    for sender, receiver in ((client, server), (server, client)):
        for message in messages:
            sender.send_message(message)
        carry(sender, receiver, split)
        assert receiver.messages() == messages
        assert receiver.messages() == []


def accept_response(client: WebSocketLink) -> bytes:
    connection = HttpServerConnection()
    connection.receive_bytes(client.bytes_to_send())
    assert connection.next_request() is not None
    return connection.accept_websocket().bytes_to_send()


@splits
def test_frames_behind_the_servers_answer_are_not_lost(split: Split) -> None:
    client = WebSocketLink.client(URL)
    answer = accept_response(client) + frame(BINARY, b"early", masked=False)
    for piece in split(answer + frame(PING, b"p", masked=False)):
        client.receive_bytes(piece)
    assert client.state is WebSocketState.OPEN
    assert client.messages() == [b"early"]
    assert len(client.bytes_to_send()) == 2 + 4 + 1


def test_eof_at_every_byte_of_the_servers_answer() -> None:
    size = len(accept_response(WebSocketLink.client(URL)))
    for cut in range(size + 1):
        client = WebSocketLink.client(URL)
        client.receive_bytes(accept_response(client)[:cut])
        assert (client.state is WebSocketState.OPEN) is (cut == size)
        assert client.failure is None
        client.receive_eof()
        assert client.should_close_transport
        assert client.close_code == 1006
        assert client.failure is not None
        assert client.failure.cause is WebSocketCause.UNCLEAN_EOF
        assert client.bytes_to_send() == b""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n"),
        (b"Connection: Upgrade\r\n", b""),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"),
        (b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Accept: "),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: \xff\r\n\r\n"),
        (b"HTTP/1.1 101", b"SSH/1.1 101"),
        (b"\r\n\r\n", b"\r\nX: " + b"y" * 20_000),
    ],
)
def test_a_wrong_answer_to_the_handshake_is_refused(old: bytes, new: bytes) -> None:
    client = WebSocketLink.client(URL)
    answer = accept_response(client)
    assert old in answer
    client.receive_bytes(answer.replace(old, new) + frame(BINARY, b"x", masked=False))
    assert client.state is WebSocketState.CLOSED
    assert client.failure is not None
    assert client.failure.cause is WebSocketCause.BAD_HANDSHAKE
    assert client.messages() == []


@splits
@pytest.mark.parametrize(
    ("framing", "body", "kept", "eof"),
    [
        (b"Content-Length: 7\r\n", b"go away", b"go away", False),
        (b"", b"go away", b"go away", True),
        (b"Content-Length: 99\r\n", b"go away", b"go away", True),
        (b"", b"x" * 5000, b"x" * MAX_REJECTION_BODY, False),
    ],
)
def test_a_rejection_is_told_with_its_body(
    split: Split, framing: bytes, body: bytes, kept: bytes, eof: bool
) -> None:
    client = WebSocketLink.client(URL)
    client.bytes_to_send()
    for piece in split(b"HTTP/1.1 403 No\r\nX-Why: w\r\n" + framing + b"\r\n" + body):
        client.receive_bytes(piece)
    if eof:
        assert client.state is WebSocketState.CONNECTING
        client.receive_eof()
    assert client.state is WebSocketState.CLOSED
    assert client.failure is not None
    assert client.failure.cause is WebSocketCause.REJECTED
    assert "403" in client.failure.message
    response = client.failure.response
    assert response is not None
    assert (response.status, response.headers.get("x-why")) == (403, "w")
    assert response.body == kept


def test_a_server_that_refuses_is_understood() -> None:
    client = WebSocketLink.client(URL)
    connection = HttpServerConnection()
    connection.receive_bytes(client.bytes_to_send())
    assert connection.next_request() is not None
    connection.respond(
        HttpResponse(status=503, headers=Headers([("Retry-After", "1")]), body=b"later")
    )
    client.receive_bytes(connection.bytes_to_send())
    assert client.failure is not None
    assert client.failure.response is not None
    assert client.failure.response.text == "later"
    assert not connection.should_close_transport


# Receiving


@splits
def test_fragments_are_joined_around_control_frames(split: Split) -> None:
    link = server_link()
    wire = (
        frame(BINARY, b"one ", fin=False)
        + frame(PING, b"p")
        + frame(CONTINUATION, b"", fin=False)
        + frame(PONG, b"unasked")
        + frame(CONTINUATION, b"two", fin=False)
        + frame(CONTINUATION, b"", fin=True)
        + frame(BINARY, b"next")
    )
    for piece in split(wire):
        link.receive_bytes(piece)
    assert link.messages() == [b"one two", b"next"]
    assert link.bytes_to_send() == frame(PONG, b"p", masked=False)
    assert link.pongs() == []


def test_a_message_appears_only_when_it_is_whole() -> None:
    link = server_link()
    link.receive_bytes(frame(BINARY, b"abc")[:-1])
    assert link.messages() == []
    link.receive_bytes(b"c")
    assert link.messages() == [b"abc"]


@splits
@pytest.mark.parametrize(
    ("wire", "excess"),
    [
        (frame(BINARY, b"x" * 101), 1),
        (frame(BINARY, b"x" * 100_000), 99_900),
        (frame(BINARY, b"x" * 60, fin=False) + frame(CONTINUATION, b"y" * 41, fin=False), 1),
        (
            frame(BINARY, b"x" * 60, fin=False)
            + frame(CONTINUATION, b"y" * 40, fin=False)
            + frame(CONTINUATION, b"z", fin=True),
            1,
        ),
    ],
)
def test_a_message_over_the_limit_is_refused_while_it_arrives(
    split: Split, wire: bytes, excess: int
) -> None:
    link = server_link(max_message_size=100)
    link.receive_bytes(frame(BINARY, b"fits" * 25))
    fed = 0
    for piece in split(wire):
        link.receive_bytes(piece)
        fed += len(piece)
        if link.state is not WebSocketState.OPEN:
            break
    if split is single_bytes:
        assert fed == len(wire) - excess + 1
    assert link.failure is not None
    assert link.failure.cause is WebSocketCause.MESSAGE_TOO_BIG
    assert link.close_code == 1009
    assert link.should_close_transport
    assert link.messages() == [b"fits" * 25]
    sent = link.bytes_to_send()
    assert sent[0] == 0x80 | CLOSE
    assert sent[2:4] == struct.pack("!H", 1009)
    link.receive_bytes(frame(BINARY, b"more"))
    assert link.messages() == []


def test_fragments_that_add_up_to_the_limit_are_taken() -> None:
    link = server_link(max_message_size=100)
    link.receive_bytes(frame(BINARY, b"", fin=False))
    for _ in range(50):
        link.receive_bytes(frame(CONTINUATION, b"ab", fin=False))
    link.receive_bytes(frame(CONTINUATION, b"", fin=True))
    assert link.messages() == [b"ab" * 50]


@splits
@pytest.mark.parametrize(
    ("wire", "cause", "code"),
    [
        (frame(TEXT, b"{}"), WebSocketCause.TEXT_MESSAGE, 1003),
        (frame(TEXT, b"{", fin=False), WebSocketCause.TEXT_MESSAGE, 1003),
        (frame(TEXT, b"\xff"), WebSocketCause.PROTOCOL_ERROR, 1007),
        (frame(3), WebSocketCause.PROTOCOL_ERROR, 1002),
        (frame(CONTINUATION, b"x"), WebSocketCause.PROTOCOL_ERROR, 1002),
        (
            frame(BINARY, b"x", fin=False) + frame(BINARY, b"y"),
            WebSocketCause.PROTOCOL_ERROR,
            1002,
        ),
        (frame(BINARY, b"x", masked=False), WebSocketCause.PROTOCOL_ERROR, 1002),
        (frame(BINARY | 0x40, b"x"), WebSocketCause.PROTOCOL_ERROR, 1002),
        (frame(PING, b"x" * 126), WebSocketCause.PROTOCOL_ERROR, 1002),
        (frame(PING, b"x", fin=False), WebSocketCause.PROTOCOL_ERROR, 1002),
        (frame(CLOSE, b"x"), WebSocketCause.PROTOCOL_ERROR, 1002),
        (closing(1006), WebSocketCause.PROTOCOL_ERROR, 1002),
        (closing(999), WebSocketCause.PROTOCOL_ERROR, 1002),
        (closing(1000, b"\xff"), WebSocketCause.PROTOCOL_ERROR, 1007),
    ],
)
def test_a_fault_of_the_peer_ends_the_link(
    split: Split, wire: bytes, cause: WebSocketCause, code: int
) -> None:
    link = server_link()
    for piece in split(frame(BINARY, b"before") + wire + frame(BINARY, b"after") + wire):
        link.receive_bytes(piece)
    assert link.messages() == [b"before"]
    assert link.state is WebSocketState.CLOSED
    assert link.should_close_transport
    assert link.failure is not None
    assert link.failure.cause is cause
    assert link.failure.message
    assert link.close_code == code
    sent = link.bytes_to_send()
    assert sent[0] == 0x80 | CLOSE
    assert sent[2:4] == struct.pack("!H", code)
    assert len(sent) == 2 + sent[1]


def test_a_masked_frame_from_a_server_is_a_fault() -> None:
    client, _ = open_pair()
    client.receive_bytes(frame(BINARY, b"x", masked=True))
    assert client.failure is not None
    assert client.failure.cause is WebSocketCause.PROTOCOL_ERROR


def test_a_text_message_is_refused_although_a_close_frame_is_right_behind_it() -> None:
    link = server_link()
    link.receive_bytes(frame(TEXT, b"{}") + closing(1000))
    assert link.failure is not None
    assert link.failure.cause is WebSocketCause.TEXT_MESSAGE
    assert link.bytes_to_send()[2:4] == struct.pack("!H", 1003)


@pytest.mark.parametrize("partial", [b"", frame(BINARY, b"abc")[:-1], frame(BINARY, fin=False)])
def test_eof_without_a_close_frame_is_unclean(partial: bytes) -> None:
    link = server_link()
    link.receive_bytes(frame(BINARY, b"whole") + partial)
    link.receive_eof()
    link.receive_eof()
    assert link.messages() == [b"whole"]
    assert (link.state, link.close_code) == (WebSocketState.CLOSED, 1006)
    assert link.failure is not None
    assert link.failure.cause is WebSocketCause.UNCLEAN_EOF
    assert link.bytes_to_send() == b""


def test_garbage_never_raises() -> None:
    source = random.Random(3)
    causes = set()
    for _ in range(300):
        link = server_link()
        wire = bytearray(
            frame(BINARY, b"message") + frame(PING, b"p") + closing(1000, b"bye, all") * 2
        )
        for _ in range(source.randint(0, 3)):
            wire[source.randrange(len(wire))] = source.randrange(256)
        for piece in at_random(source.randrange(100))(bytes(wire)):
            link.receive_bytes(piece)
        link.receive_eof()
        assert link.state is WebSocketState.CLOSED
        causes.add(link.failure and link.failure.cause)
    assert {None, WebSocketCause.PROTOCOL_ERROR, WebSocketCause.UNCLEAN_EOF} <= causes


# Pings


@splits
def test_a_ping_is_answered_and_its_pong_matched(split: Split) -> None:
    client, server = open_pair(split)
    for asker, answerer in ((client, server), (server, client)):
        asker.ping(b"one")
        carry(asker, answerer, split)
        assert asker.pongs() == []
        carry(answerer, asker, split)
        assert asker.pongs() == [b"one"]
        assert asker.pongs() == []
        assert answerer.pongs() == answerer.messages() == []


@pytest.mark.parametrize(
    ("pongs", "settled"),
    [
        ([b"a", b"b", b"c"], [b"a", b"b", b"c"]),
        ([b"c"], [b"c"]),
        ([b"b", b"a", b"c"], [b"b", b"c"]),
        ([b"x"], []),
        ([b"a", b"a"], [b"a"]),
    ],
)
def test_a_pong_settles_its_ping_and_those_before(pongs: list[bytes], settled: list[bytes]) -> None:
    link = server_link()
    for payload in (b"a", b"b", b"c"):
        link.ping(payload)
    for payload in pongs:
        link.receive_bytes(frame(PONG, payload))
    assert link.pongs() == settled


def test_a_flood_of_pings_leaves_one_pong() -> None:
    link = server_link()
    link.send_message(b"first")
    for number in range(1000):
        link.receive_bytes(frame(PING, b"%d" % number))
        if number == 500:
            link.send_message(b"m")
    first, pong, second = (
        frame(BINARY, b"first", masked=False),
        frame(PONG, b"999", masked=False),
        frame(BINARY, b"m", masked=False),
    )
    assert link.bytes_to_send() == first + pong + second
    link.receive_bytes(frame(PING, b"again"))
    assert link.bytes_to_send() == frame(PONG, b"again", masked=False)


def test_a_ping_payload_has_its_limit() -> None:
    link = server_link()
    assert misuse(lambda: link.ping(b"x" * (MAX_PING_PAYLOAD + 1))) is LocalCause.BAD_ARGUMENT
    assert link.bytes_to_send() == b""
    link.ping(b"x" * MAX_PING_PAYLOAD)
    assert len(link.bytes_to_send()) == 2 + MAX_PING_PAYLOAD


# Closing


@splits
@pytest.mark.parametrize("closer_is_client", [True, False])
def test_the_closing_handshake(split: Split, closer_is_client: bool) -> None:
    client, server = open_pair(split)
    closer, other = (client, server) if closer_is_client else (server, client)
    closer.send_message(b"last")
    closer.close(4001, "done")
    assert (closer.state, closer.should_close_transport) == (WebSocketState.CLOSING, False)
    assert closer.close_code is None
    closer.close(1000)
    other.send_message(b"crossing")
    carry(closer, other, split)
    assert other.messages() == [b"last"]
    assert (other.state, other.should_close_transport) == (WebSocketState.CLOSED, True)
    carry(other, closer, split)
    assert closer.messages() == [b"crossing"]
    for link in (closer, other):
        assert (link.state, link.should_close_transport) == (WebSocketState.CLOSED, True)
        assert (link.close_code, link.close_reason, link.failure) == (4001, "done", None)
        link.receive_eof()
        assert (link.close_code, link.failure) == (4001, None)


def test_close_frames_that_cross_close_both_ends() -> None:
    client, server = open_pair()
    client.close(4001)
    server.close(4002)
    from_client, from_server = client.bytes_to_send(), server.bytes_to_send()
    client.receive_bytes(from_server)
    server.receive_bytes(from_client)
    assert client.bytes_to_send() == server.bytes_to_send() == b""
    assert (client.state, client.close_code) == (WebSocketState.CLOSED, 4002)
    assert (server.state, server.close_code) == (WebSocketState.CLOSED, 4001)


def test_a_close_frame_without_a_code_is_1005() -> None:
    link = server_link()
    link.receive_bytes(frame(PING, b"p") + frame(CLOSE))
    assert (link.state, link.close_code, link.failure) == (WebSocketState.CLOSED, 1005, None)
    assert link.bytes_to_send() == frame(CLOSE, masked=False)


@pytest.mark.parametrize(
    ("wire", "cause"),
    [
        (frame(TEXT, b"{}"), WebSocketCause.TEXT_MESSAGE),
        (frame(BINARY, b"x" * 1001), WebSocketCause.MESSAGE_TOO_BIG),
        (frame(3), WebSocketCause.PROTOCOL_ERROR),
    ],
)
def test_nothing_follows_our_own_close_frame(wire: bytes, cause: WebSocketCause) -> None:
    link = server_link()
    link.close()
    link.bytes_to_send()
    link.receive_bytes(frame(PING, b"p") + frame(BINARY, b"late") + wire)
    assert link.messages() == [b"late"]
    assert link.bytes_to_send() == b""
    assert link.failure is not None
    assert link.failure.cause is cause


def test_eof_after_our_own_close_is_no_failure() -> None:
    link = server_link()
    link.close(1001, "going away")
    link.receive_eof()
    assert (link.state, link.close_code, link.failure) == (WebSocketState.CLOSED, 1006, None)
    assert closing(1001, b"going away", masked=False) == link.bytes_to_send()


def test_a_client_that_closes_while_connecting_is_closed_at_once() -> None:
    client = WebSocketLink.client(URL)
    client.close()
    assert (client.state, client.close_code, client.failure) == (WebSocketState.CLOSED, 1006, None)
    assert client.bytes_to_send() == b""
    client.receive_bytes(b"HTTP/1.1 403 No\r\n\r\n")
    client.receive_eof()
    assert client.failure is None


def test_a_close_reason_is_cut_between_characters() -> None:
    client, server = open_pair()
    server.close(1000, "\ud800" + "\u20ac" * 50)
    carry(server, client)
    assert client.close_reason == "?" + "\u20ac" * 40


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    link = server_link()
    assert misuse(lambda: link.close(code)) is LocalCause.BAD_ARGUMENT
    assert link.state is WebSocketState.OPEN


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1013, 3000, 4999])
def test_a_close_code_that_may_be_sent_is_understood(code: int) -> None:
    client, server = open_pair()
    server.close(code)
    carry(server, client)
    assert (client.close_code, client.failure) == (code, None)


# Sending


def test_sending_before_the_link_is_open_or_after_is_misuse() -> None:
    connecting = WebSocketLink.client(URL)
    closing_link, closed = server_link(), server_link()
    closing_link.close()
    closed.receive_eof()
    for link in (connecting, closing_link, closed):
        before = link.state
        assert misuse(partial(link.send_message, b"x")) is LocalCause.NOT_OPEN
        assert misuse(link.ping) is LocalCause.NOT_OPEN
        assert link.state is before


def test_text_can_not_be_sent() -> None:
    link = server_link()
    assert misuse(lambda: link.send_message("text")) is LocalCause.BAD_ARGUMENT  # type: ignore[arg-type]
    assert link.bytes_to_send() == b""


# An independent peer: the websockets library, with compression on offer


def check_against(link: WebSocketLink, peer: Protocol) -> None:
    """Messages, a ping and a close in both directions, from an open link on."""

    def carry_both_ways() -> list[bytes]:
        received: list[bytes] = []
        for _ in range(3):
            peer.receive_data(link.bytes_to_send())
            received += [
                bytes(event.data)
                for event in peer.events_received()
                if isinstance(event, Frame) and event.opcode == BINARY
            ]
            for piece in peer.data_to_send():
                link.receive_bytes(piece)
        return received

    link.send_message(b"hello" * 1000)
    link.ping(b"are you there")
    peer.send_binary(b"start ", fin=False)
    peer.send_ping(b"and you")
    peer.send_continuation(b"end", fin=True)
    assert carry_both_ways() == [b"hello" * 1000]
    assert link.messages() == [b"start end"]
    assert link.pongs() == [b"are you there"]
    link.close(4000, "bye")
    carry_both_ways()
    assert (link.state, link.close_code) == (WebSocketState.CLOSED, 4000)
    peer.receive_eof()
    assert (peer.close_code, peer.close_reason) == (4000, "bye")


def test_our_client_against_a_foreign_server() -> None:
    link = WebSocketLink.client(URL)
    peer = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()])
    peer.receive_data(link.bytes_to_send())
    [request] = peer.events_received()
    assert isinstance(request, Request)
    peer.send_response(peer.accept(request))
    for piece in peer.data_to_send():
        link.receive_bytes(piece)
    assert link.state is WebSocketState.OPEN
    check_against(link, peer)


def test_our_server_against_a_foreign_client() -> None:
    peer = ClientProtocol(
        parse_uri(URL),
        extensions=[ClientPerMessageDeflateFactory()],
        subprotocols=[Subprotocol("chat")],
    )
    peer.send_request(peer.connect())
    connection = HttpServerConnection()
    for piece in peer.data_to_send():
        connection.receive_bytes(piece)
    request = connection.next_request()
    assert request is not None
    assert request.headers.get("sec-websocket-extensions") is not None
    link = connection.accept_websocket()
    peer.receive_data(link.bytes_to_send())
    peer.events_received()
    assert peer.handshake_exc is None
    assert peer.extensions == []
    check_against(link, peer)
