"""The messages of `http/request`. Names and meaning are Codex's (0.131 to 0.169)."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from .protocol import Message

__all__ = [
    "HttpBodyDelta",
    "HttpHeader",
    "HttpRequestParams",
    "HttpResult",
    "RedirectPolicy",
]


class RedirectPolicy(StrEnum):
    """What becomes of an answer that redirects (later versions)."""

    FOLLOW = "follow"
    STOP = "stop"


class HttpHeader(Message, frozen=True, kw_only=True):
    name: str
    value: str


class HttpRequestParams(Message, frozen=True, kw_only=True):
    request_id: Annotated[str, Meta(max_length=256)]
    method: str
    url: str
    headers: tuple[HttpHeader, ...] = ()
    body_base64: bytes | None = None
    timeout_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    stream_response: bool = False
    redirect_policy: RedirectPolicy = RedirectPolicy.FOLLOW


class HttpResult(Message, frozen=True, kw_only=True):
    status: int
    headers: tuple[HttpHeader, ...]
    body_base64: bytes


class HttpBodyDelta(Message, frozen=True, kw_only=True):
    """A part of a streamed body; the last one, and only that, is `done`."""

    request_id: str
    seq: int
    delta_base64: bytes = b""
    done: bool = False
    error: str | None = None
