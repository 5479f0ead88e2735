"""Links whose frames go through real WebSocket bytes: `sansrelay.websocket` at both ends."""

from sansrelay.http_server import HttpServerConnection
from sansrelay.websocket import WebSocketLink, WebSocketState

from .lanes import Hub, Link, LinkPeer, Spoiled, Weather
from .stage import Stage

__all__ = ["SocketLink"]

_PING_CHANCE = 0.05
"""Chance of a ping before what a lane delivers; its pong goes with the next bytes back."""
_CHUNKS = 3
"""Pieces that the bytes of one delivery arrive in, at most."""


class SocketLink(Link):
    """A link that begins with an HTTP upgrade and carries each frame as one binary message."""

    __slots__ = ("_client", "_server", "_stage")

    def __init__(
        self,
        stage: Stage,
        weather: tuple[Weather, Weather],
        spoiled: Spoiled,
        number: int,
        peer: LinkPeer,
        hub: Hub,
        *,
        capacity: int,
    ) -> None:
        super().__init__(stage, weather, spoiled, number, peer, hub, capacity=capacity)
        self._stage = stage
        self._client = WebSocketLink.client(f"ws://relay.example/?link={number}")
        http = HttpServerConnection()
        for chunk in self._chunks(self._client.bytes_to_send()):
            http.receive_bytes(chunk)
        http.next_request()
        self._server = http.accept_websocket()
        self._carry(self._server, self._client)
        if self._client.state is not WebSocketState.OPEN:
            raise AssertionError(f"the opening handshake failed: {self._client.failure}")

    def arrived_at_hub(self, frames: list[bytes]) -> None:
        """Send the frames from the client's end to the server's, and hand on what comes out."""
        if self.hub_open:
            self._send(self._client, frames)
            self.hub.receive(self, self._carry(self._client, self._server))

    def arrived_at_peer(self, frames: list[bytes]) -> None:
        """The other way round."""
        if self.peer_open:
            self._send(self._server, frames)
            self.peer.receive(self, self._carry(self._server, self._client))

    def tell_peer(self) -> None:
        """The peer's connection ends, perhaps within a message."""
        if self.peer_open and self.down.broken:
            self._break(self._server, self._client)
        super().tell_peer()

    def tell_hub(self) -> None:
        """The hub's connection ends, perhaps within a message."""
        if self.hub_open and self.up.broken:
            self._break(self._client, self._server)
        super().tell_hub()

    def _send(self, sender: WebSocketLink, frames: list[bytes]) -> None:
        if self._stage.dice.chance(_PING_CHANCE):
            sender.ping()
        for frame in frames:
            sender.send_message(frame)

    def _carry(self, sender: WebSocketLink, receiver: WebSocketLink) -> list[bytes]:
        for chunk in self._chunks(sender.bytes_to_send()):
            receiver.receive_bytes(chunk)
        return receiver.messages()

    def _break(self, sender: WebSocketLink, receiver: WebSocketLink) -> None:
        if sender.state is WebSocketState.OPEN:
            sender.send_message(b"cut off before its end")
            data = sender.bytes_to_send()
            receiver.receive_bytes(data[: self._stage.dice.whole(0, len(data) - 1)])
        receiver.receive_eof()
        if receiver.messages():
            raise AssertionError("a WebSocket message was received that did not arrive whole")

    def _chunks(self, data: bytes) -> list[bytes]:
        dice = self._stage.dice
        chunks: list[bytes] = []
        for _ in range(_CHUNKS - 1):
            cut = dice.whole(0, len(data))
            chunks.append(data[:cut])
            data = data[cut:]
        return [*chunks, data]
