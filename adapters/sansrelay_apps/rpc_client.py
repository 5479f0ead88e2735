"""The calling side of a JSON-RPC session on one relay stream."""

import logging
from collections.abc import Callable
from typing import TypeAlias

import trio
from sansrelay.errors import clean_reason
from sansrelay.jsonrpc import (
    ErrorCode,
    InvalidMessage,
    JsonRpcSession,
    JsonValue,
    NotificationReceived,
    RequestReceived,
    ResponseReceived,
    RpcError,
    UnmatchedResponse,
)

__all__ = ["BadMessage", "OnAnswer", "RpcClient"]

_log = logging.getLogger(__name__)

OnAnswer: TypeAlias = Callable[[ResponseReceived], None]
"""Called with the answer to a request, inside `step`, out of which comes what it raises."""


class BadMessage(Exception):
    """What came is no JSON-RPC message. It may have been anything, so the session is not sound."""


class RpcClient:
    """Requests and notifications on a channel.

    Any task may send; one task at a time receives, by `step`, and nothing is answered unless it
    does. The errors of the channel come out of every method as they are.
    """

    def __init__(self, channel: trio.abc.Channel[bytes]) -> None:
        self._channel = channel
        self._session = JsonRpcSession()
        self._on_answer: dict[int, OnAnswer] = {}
        self.messages_sent = 0
        """How many messages the channel has taken."""

    async def request(self, method: str, params: JsonValue, on_answer: OnAnswer) -> None:
        """Send a request; does not wait for the answer."""
        request_id, data = self._session.call(method, params)
        self._on_answer[request_id] = on_answer
        await self._send(data)

    async def call(self, method: str, params: JsonValue) -> ResponseReceived:
        """Send a request and wait for its answer, while another task receives."""
        answered = trio.Event()
        answers: list[ResponseReceived] = []

        def keep(answer: ResponseReceived) -> None:
            answers.append(answer)
            answered.set()

        await self.request(method, params, keep)
        await answered.wait()
        return answers[0]

    async def notify(self, method: str, params: JsonValue) -> None:
        """Send a notification."""
        await self._send(self._session.notification(method, params))

    async def step(self) -> NotificationReceived | None:
        """Receive one message; returns it if it is a notification.

        An answer is handed to the request's `on_answer`, an answer to nothing is logged and
        dropped, a request is refused, for this side serves none. Raises `BadMessage`.
        """
        event = self._session.receive(await self._channel.receive())
        match event:
            case NotificationReceived():
                return event
            case ResponseReceived():
                assert isinstance(event.id, int)
                self._on_answer.pop(event.id)(event)
            case RequestReceived():
                refusal = RpcError(
                    code=ErrorCode.METHOD_NOT_FOUND, message="a client serves no requests"
                )
                await self._send(self._session.error(event.id, refusal))
            case InvalidMessage():
                raise BadMessage(event.cause.value)
            case UnmatchedResponse(error=RpcError() as error):
                _log.info("the other side reports an error: %s", clean_reason(error.message))
            case _:
                _log.info("dropped an answer to no request: %r", event)
        return None

    async def _send(self, data: bytes) -> None:
        await self._channel.send(data)
        self.messages_sent += 1
