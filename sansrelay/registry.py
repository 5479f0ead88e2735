"""The registry's HTTP messages, without I/O: build them, parse them, judge them.

An executor asks a registry where to dial (register), and a harness may do so too (connect); the
answer names a WebSocket URL that carries its own authorisation. These are the messages of Codex's
registry in its plaintext profile, in both spellings: `/cloud/executor/` of Codex 0.131 and 0.132,
`/cloud/environment/` of 0.133 and later. Members that other profiles add are ignored.

Both sides are here. Asking: `register_request` or `connect_request` makes the request,
`parse_http_url` tells where to send it, `HttpClientConnection` carries it, and
`parse_register_response` judges the answer. Serving: `parse_route`, `bearer_token`,
`registration_response` and `error_response`.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

from sansrelay.errors import clean_reason
from sansrelay.http import (
    Headers,
    HttpRequest,
    HttpResponse,
    UrlError,
    WebSocketUrl,
    parse_http_url,
    parse_websocket_url,
)

__all__ = [
    "MAX_ERROR_CODE_LENGTH",
    "MAX_ERROR_MESSAGE_LENGTH",
    "MAX_ID_LENGTH",
    "MAX_TOKEN_LENGTH",
    "CallKind",
    "Registration",
    "RegistryArgument",
    "RegistryCall",
    "RegistryCause",
    "RegistryError",
    "RegistryFailure",
    "RouteRefusal",
    "Spelling",
    "bearer_token",
    "connect_request",
    "error_response",
    "parse_failure",
    "parse_register_response",
    "parse_route",
    "register_request",
    "registration_response",
    "validate_id",
]

MAX_ID_LENGTH = 256
"""Longest id of an executor or environment, in characters."""

MAX_TOKEN_LENGTH = 8192
"""Longest bearer token, in characters."""

MAX_ERROR_CODE_LENGTH = 64
"""How much is kept of the code in a registry's error, in characters."""

MAX_ERROR_MESSAGE_LENGTH = 512
"""How much is kept of the message in a registry's error, in characters."""


class RegistryArgument(Enum):
    """Which argument of a registry call is not valid."""

    ID = "the id is not letters, digits, '-' and '_', or is empty or too long"
    TOKEN = "the token holds what a bearer token can't, or is empty or too long"


class RegistryError(ValueError):
    """An argument that can't go into a registry message. `cause` says which one, as data."""

    def __init__(self, cause: RegistryArgument, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class Spelling(Enum):
    """The two spellings of the contract; the value is the word in the path and in the answer."""

    EXECUTOR = "executor"
    """Codex 0.131 and 0.132: `/cloud/executor/ID`, `executor_id`."""
    ENVIRONMENT = "environment"
    """Codex 0.133 and later: `/cloud/environment/ID`, `environment_id`."""

    @property
    def id_member(self) -> str:
        """The member of the answer that holds the id."""
        return f"{self.value}_id"


class CallKind(Enum):
    """What is asked of a registry; the value is the last word of the path."""

    REGISTER = "register"
    """An executor asks where to wait for harnesses."""
    CONNECT = "connect"
    """A harness asks where to reach an executor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCall:
    """A request's path, understood by `parse_route`."""

    kind: CallKind
    spelling: Spelling
    id: str


class RouteRefusal(Enum):
    """A path of the registry that can't be served; the value is the HTTP status to answer with."""

    BAD_ID = 400
    """The id is not valid; see `validate_id`."""
    METHOD_NOT_ALLOWED = 405
    """The method is not POST. The answer should hold the header `Allow: POST`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A registry's answer: where to dial. `repr` hides the URL's query, which authorises."""

    id: str
    url: WebSocketUrl


class RegistryCause(Enum):
    """Why a registry gave no URL."""

    UNAUTHORIZED = "the registry does not accept the token (401, 403)"
    NOT_FOUND = "the registry does not know the id, or the base URL is wrong (404)"
    UNAVAILABLE = "the registry can't answer now (429, 5xx)"
    REFUSED = "the registry refused the request (another 4xx)"
    REDIRECT = "the registry answered with a redirect, which is never followed (3xx)"
    BAD_RESPONSE = "the registry's answer is not what the contract says"
    WRONG_ID = "the registry answered for another id"
    BAD_URL = "the registry's answer holds a URL that can't be dialled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryFailure:
    """A registry's answer that gives no URL."""

    cause: RegistryCause
    status: int
    """The HTTP status."""
    code: str
    """The code in the registry's error, cut and cleaned of control characters; may be empty."""
    message: str
    """The registry's own message, cut and cleaned likewise, or a sentence of ours."""

    @property
    def final(self) -> bool:
        """Whether asking again is pointless. Only 429 and 5xx may be tried again."""
        return self.cause is not RegistryCause.UNAVAILABLE


_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_ID_LENGTH}}}")
_TOKEN = re.compile(rf"[\x21-\x7e]{{1,{MAX_TOKEN_LENGTH}}}")
_BEARER = re.compile(rf"bearer +({_TOKEN.pattern})", re.IGNORECASE)
_ROUTE = re.compile(r"/cloud/(executor|environment)/([^/]*)/(register|connect)")


def validate_id(text: str) -> str:
    """Return an id as it is, or raise `RegistryError` (ID).

    An id is one component of a URL's path: ASCII letters, digits, '-' and '_', at most
    `MAX_ID_LENGTH` of them.
    """
    if not _ID.fullmatch(text):
        raise RegistryError(
            RegistryArgument.ID,
            f"use an id of 1 to {MAX_ID_LENGTH} ASCII letters, digits, '-' or '_'",
        )
    return text


def register_request(
    base_url: str, executor_id: str, token: str, *, spelling: Spelling = Spelling.ENVIRONMENT
) -> HttpRequest:
    """The request with which an executor asks where to dial.

    `base_url` may have a path prefix. Raises `UrlError` for a bad `base_url`, `RegistryError` for
    a bad id or token.
    """
    return _request(
        base_url, RegistryCall(kind=CallKind.REGISTER, spelling=spelling, id=executor_id), token
    )


def connect_request(base_url: str, executor_id: str, token: str) -> HttpRequest:
    """The request with which a harness asks where to dial. Errors as in `register_request`."""
    call = RegistryCall(kind=CallKind.CONNECT, spelling=Spelling.ENVIRONMENT, id=executor_id)
    return _request(base_url, call, token)


def _request(base_url: str, call: RegistryCall, token: str) -> HttpRequest:
    validate_id(call.id)
    if not _TOKEN.fullmatch(token):
        raise RegistryError(
            RegistryArgument.TOKEN,
            f"use a token of 1 to {MAX_TOKEN_LENGTH} visible ASCII characters without spaces "
            "(look for a newline at the end of the file it came from)",
        )
    base = parse_http_url(base_url)
    return HttpRequest(
        method="POST",
        target=f"{base.target}/cloud/{call.spelling.value}/{call.id}/{call.kind.value}",
        headers=Headers(
            [
                ("Host", base.host_header),
                ("Authorization", f"Bearer {token}"),
                ("Accept", "application/json"),
            ]
        ),
    )


def parse_register_response(
    response: HttpResponse, executor_id: str
) -> Registration | RegistryFailure:
    """Judge the answer to `register_request` or `connect_request`; both have the same shape.

    The answer must be for the id that was asked for, in either spelling (Codex behaviour). Never
    raises, whatever the response holds.
    """
    if not 200 <= response.status <= 299:
        return parse_failure(response)
    answer = _json_object(response.body)
    if answer is None:
        return _bad(response, RegistryCause.BAD_RESPONSE, "the answer is not a JSON object")
    ids = [answer[spelling.id_member] for spelling in Spelling if spelling.id_member in answer]
    if not ids:
        return _bad(
            response,
            RegistryCause.BAD_RESPONSE,
            "the answer has neither environment_id nor executor_id",
        )
    if any(answered != executor_id for answered in ids):
        return _bad(response, RegistryCause.WRONG_ID, "the answer is for another id")
    url = answer.get("url")
    if not isinstance(url, str):
        return _bad(response, RegistryCause.BAD_RESPONSE, "the answer has no url")
    try:
        return Registration(id=executor_id, url=parse_websocket_url(url))
    except UrlError as error:
        return _bad(response, RegistryCause.BAD_URL, f"the answer's url can't be dialled: {error}")


def parse_failure(response: HttpResponse) -> RegistryFailure:
    """Judge a response that refuses. Never raises.

    It fits a rendezvous that rejects a WebSocket too (`WebSocketFailure.response`): the statuses
    mean the same there.
    """
    code, message = _error_of(response.body)
    return RegistryFailure(
        cause=_cause_of(response.status),
        status=response.status,
        code=code,
        message=message or f"the registry answered with HTTP status {response.status}",
    )


def _bad(response: HttpResponse, cause: RegistryCause, message: str) -> RegistryFailure:
    return RegistryFailure(cause=cause, status=response.status, code="", message=message)


def _cause_of(status: int) -> RegistryCause:
    if status in (401, 403):
        return RegistryCause.UNAUTHORIZED
    if status == 404:
        return RegistryCause.NOT_FOUND
    if status == 429 or 500 <= status <= 599:
        return RegistryCause.UNAVAILABLE
    if 400 <= status <= 499:
        return RegistryCause.REFUSED
    if 300 <= status <= 399:
        return RegistryCause.REDIRECT
    return RegistryCause.BAD_RESPONSE


def _error_of(body: bytes) -> tuple[str, str]:
    """Code and message of an error's body, each empty if it isn't there."""
    answer = _json_object(body) or {}
    # Codex understands `detail` in the place of `error`, as some HTTP frameworks write it.
    error = answer.get("error", answer.get("detail"))
    if not isinstance(error, dict):
        error = {"message": error}
    return (
        _clean(error.get("code"), MAX_ERROR_CODE_LENGTH),
        _clean(error.get("message"), MAX_ERROR_MESSAGE_LENGTH),
    )


def _clean(text: object, limit: int) -> str:
    return clean_reason(text, limit) if isinstance(text, str) else ""


def _json_object(body: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_route(method: str, path: str, *, base: str = "") -> RegistryCall | RouteRefusal | None:
    """Understand the method and path of a request to a registry.

    `path` is `HttpRequest.path`; `base` is the path prefix under which the registry is served.
    None means that the path is none of the registry's.
    """
    prefix = base.rstrip("/")
    match = _ROUTE.fullmatch(path.removeprefix(prefix)) if path.startswith(prefix) else None
    if match is None:
        return None
    spelling, executor_id, kind = Spelling(match[1]), match[2], CallKind(match[3])
    if kind is CallKind.CONNECT and spelling is Spelling.EXECUTOR:
        return None
    if method != "POST":
        return RouteRefusal.METHOD_NOT_ALLOWED
    if not _ID.fullmatch(executor_id):
        return RouteRefusal.BAD_ID
    return RegistryCall(kind=kind, spelling=spelling, id=executor_id)


def bearer_token(request: HttpRequest) -> str | None:
    """The token of a request's one Authorization header (RFC 6750 section 2.1), or None."""
    values = request.headers.get_all("authorization")
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    return match[1] if match else None


def registration_response(call: RegistryCall, url: str) -> HttpResponse:
    """The answer to a call that is granted: where to dial, in the spelling of the call."""
    return _json_response(200, {call.spelling.id_member: call.id, "url": url})


def error_response(status: int, code: str, message: str) -> HttpResponse:
    """An error as a registry's clients read it. 401 and 405 get the header that HTTP asks for.

    To make clients try again, use 503 or 429: they take any other 4xx as final (Codex behaviour).
    """
    headers: tuple[tuple[str, str], ...] = ()
    if status == HTTPStatus.UNAUTHORIZED:
        headers = (("WWW-Authenticate", "Bearer"),)
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = (("Allow", "POST"),)
    return _json_response(status, {"error": {"code": code, "message": message}}, headers)


def _json_response(
    status: int, value: object, headers: tuple[tuple[str, str], ...] = ()
) -> HttpResponse:
    return HttpResponse(
        status=status,
        headers=Headers([("Content-Type", "application/json"), *headers]),
        body=json.dumps(value).encode(),
    )
