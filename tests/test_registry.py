import json

import pytest

from sansrelay.http import (
    Headers,
    HttpClientConnection,
    HttpRequest,
    HttpResponse,
    UrlCause,
    UrlError,
)
from sansrelay.http_server import HttpServerConnection
from sansrelay.registry import (
    MAX_ERROR_CODE_LENGTH,
    MAX_ERROR_MESSAGE_LENGTH,
    MAX_ID_LENGTH,
    MAX_TOKEN_LENGTH,
    CallKind,
    Registration,
    RegistryArgument,
    RegistryCall,
    RegistryCause,
    RegistryError,
    RegistryFailure,
    RouteRefusal,
    Spelling,
    bearer_token,
    connect_request,
    error_response,
    parse_failure,
    parse_register_response,
    parse_route,
    register_request,
    registration_response,
    validate_id,
)

BASE = "https://registry.example/prefix/"
URL = "wss://relay.example/dial?ticket=secret"
GOOD_IDS = ["a", "Z9-_", "0" * MAX_ID_LENGTH]
BAD_IDS = ["", "a/b", "a.b", "%41", "a b", "a\n", "\u00e9", "\u0661", "0" * (MAX_ID_LENGTH + 1)]


def answer(value: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, body=json.dumps(value).encode())


def failure_of(response: HttpResponse) -> RegistryFailure:
    result = parse_register_response(response, "box-1")
    assert isinstance(result, RegistryFailure)
    return result


@pytest.mark.parametrize("text", GOOD_IDS)
def test_good_ids_are_taken_as_they_are(text: str) -> None:
    assert validate_id(text) == text


@pytest.mark.parametrize("text", BAD_IDS)
def test_bad_ids_are_refused(text: str) -> None:
    for call in (
        lambda: validate_id(text),
        lambda: register_request(BASE, text, "t"),
        lambda: connect_request(BASE, text, "t"),
    ):
        with pytest.raises(RegistryError) as caught:
            call()
        assert caught.value.cause is RegistryArgument.ID


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (register_request(BASE, "b", "t"), "/prefix/cloud/environment/b/register"),
        (
            register_request(BASE, "b", "t", spelling=Spelling.EXECUTOR),
            "/prefix/cloud/executor/b/register",
        ),
        (connect_request(BASE, "b", "t"), "/prefix/cloud/environment/b/connect"),
        (register_request("https://registry.example", "b", "t"), "/cloud/environment/b/register"),
    ],
)
def test_a_request_is_what_the_contract_says(request_: HttpRequest, target: str) -> None:
    assert (request_.method, request_.target, request_.body) == ("POST", target, b"")
    assert request_.headers.get("host") == "registry.example"
    assert request_.headers.get("authorization") == "Bearer t"


def test_a_request_shows_no_token() -> None:
    assert "secret" not in repr(register_request(BASE, "box-1", "secret"))


@pytest.mark.parametrize(
    "token", ["", "two words", "line\n", "caf\u00e9", "x" * (MAX_TOKEN_LENGTH + 1)]
)
def test_a_bad_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(RegistryError) as caught:
        register_request(BASE, "box-1", token)
    assert caught.value.cause is RegistryArgument.TOKEN
    assert not token or token not in str(caught.value)


def test_a_bad_base_url_is_refused() -> None:
    with pytest.raises(UrlError) as caught:
        connect_request("registry.example", "box-1", "t")
    assert caught.value.cause is UrlCause.BAD_SCHEME


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(
    "members",
    [
        {"environment_id": "box-1"},
        {"executor_id": "box-1"},
        {"executor_id": "box-1", "environment_id": "box-1"},
        {
            "environment_id": "box-1",
            "security_profile": "noise_hybrid_ik_v1",
            "executor_registration_id": "r",
            "executor_public_key": {"suite": "s"},
        },
    ],
)
def test_an_answer_names_where_to_dial(status: int, members: dict[str, object]) -> None:
    registration = parse_register_response(answer({**members, "url": URL}, status), "box-1")
    assert isinstance(registration, Registration)
    assert registration.id == "box-1"
    assert (registration.url.secure, registration.url.host) == (True, "relay.example")
    assert registration.url.target == "/dial?ticket=secret"
    assert "secret" not in repr(registration)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", RegistryCause.BAD_RESPONSE),
        (b"<html>", RegistryCause.BAD_RESPONSE),
        (b"\xff", RegistryCause.BAD_RESPONSE),
        (b"[]", RegistryCause.BAD_RESPONSE),
        (b"null", RegistryCause.BAD_RESPONSE),
        (b"[" * 100_000, RegistryCause.BAD_RESPONSE),
        (b"1" * 10_000, RegistryCause.BAD_RESPONSE),
        (b'{"url": "ws://h/"}', RegistryCause.BAD_RESPONSE),
        (b'{"environment_id": "box-1"}', RegistryCause.BAD_RESPONSE),
        (b'{"environment_id": "box-1", "url": 7}', RegistryCause.BAD_RESPONSE),
        (b'{"environment_id": "box-2", "url": "ws://h/"}', RegistryCause.WRONG_ID),
        (b'{"executor_id": "BOX-1", "url": "ws://h/"}', RegistryCause.WRONG_ID),
        (b'{"executor_id": null, "url": "ws://h/"}', RegistryCause.WRONG_ID),
        (
            b'{"executor_id": "box-1", "environment_id": "box-2", "url": "ws://h/"}',
            RegistryCause.WRONG_ID,
        ),
        (b'{"environment_id": "box-1", "url": "http://h/"}', RegistryCause.BAD_URL),
        (b'{"environment_id": "box-1", "url": "ws://u:secret@h/"}', RegistryCause.BAD_URL),
        (b'{"environment_id": "box-1", "url": "ws://h/\\u0000"}', RegistryCause.BAD_URL),
    ],
)
def test_an_answer_outside_the_contract_is_final(body: bytes, cause: RegistryCause) -> None:
    failure = failure_of(HttpResponse(status=200, body=body))
    assert (failure.cause, failure.status, failure.final) == (cause, 200, True)
    assert failure.message
    assert "secret" not in failure.message


@pytest.mark.parametrize(
    ("status", "cause", "final"),
    [
        (400, RegistryCause.REFUSED, True),
        (401, RegistryCause.UNAUTHORIZED, True),
        (403, RegistryCause.UNAUTHORIZED, True),
        (404, RegistryCause.NOT_FOUND, True),
        (409, RegistryCause.REFUSED, True),
        (429, RegistryCause.UNAVAILABLE, False),
        (500, RegistryCause.UNAVAILABLE, False),
        (503, RegistryCause.UNAVAILABLE, False),
        (599, RegistryCause.UNAVAILABLE, False),
        (307, RegistryCause.REDIRECT, True),
        (101, RegistryCause.BAD_RESPONSE, True),
        (600, RegistryCause.BAD_RESPONSE, True),
    ],
)
def test_a_status_tells_whether_to_try_again(
    status: int, cause: RegistryCause, final: bool
) -> None:
    response = answer({"error": {"code": "c", "message": "m"}}, status)
    failure = failure_of(response)
    assert (failure.cause, failure.status, failure.final) == (cause, status, final)
    assert (failure.code, failure.message) == ("c", "m")
    assert parse_failure(response) == failure


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error": {"code": "c", "message": "m", "more": 1}}', "c", "m"),
        (b'{"detail": {"code": "c", "message": "m"}}', "c", "m"),
        (b'{"detail": "gone"}', "", "gone"),
        (b'{"error": "gone"}', "", "gone"),
        (b'{"error": {"code": 7, "message": ["m"]}}', "", None),
        (b'{"error": null}', "", None),
        (b"{}", "", None),
        (b"<html>no</html>", "", None),
        (b"\xff\xfe", "", None),
        (b'{"error": {"message": "a\\u001b[31m\\nb"}}', "", "a\ufffd[31m\ufffdb"),
    ],
)
def test_an_error_is_read_as_far_as_it_can_be(body: bytes, code: str, message: str | None) -> None:
    failure = failure_of(HttpResponse(status=409, body=body))
    assert failure.code == code
    assert failure.message == (message or "the registry answered with HTTP status 409")


def test_a_long_error_is_cut() -> None:
    failure = failure_of(answer({"error": {"code": "c" * 9999, "message": "m" * 9999}}, 400))
    assert failure.code == "c" * MAX_ERROR_CODE_LENGTH + "\u2026"
    assert failure.message == "m" * MAX_ERROR_MESSAGE_LENGTH + "\u2026"


@pytest.mark.parametrize(
    ("path", "kind", "spelling"),
    [
        ("/cloud/executor/box-1/register", CallKind.REGISTER, Spelling.EXECUTOR),
        ("/cloud/environment/box-1/register", CallKind.REGISTER, Spelling.ENVIRONMENT),
        ("/cloud/environment/box-1/connect", CallKind.CONNECT, Spelling.ENVIRONMENT),
    ],
)
@pytest.mark.parametrize("base", ["", "/", "/api/v1", "/api/v1/"])
def test_a_route_is_understood(path: str, kind: CallKind, spelling: Spelling, base: str) -> None:
    call = RegistryCall(kind=kind, spelling=spelling, id="box-1")
    full = base.rstrip("/") + path
    assert parse_route("POST", full, base=base) == call
    for method in ("GET", "PUT", "post"):
        assert parse_route(method, full, base=base) is RouteRefusal.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("text", [text for text in BAD_IDS if "/" not in text])
def test_a_bad_id_in_a_route_is_told_apart(text: str) -> None:
    assert parse_route("POST", f"/cloud/environment/{text}/register") is RouteRefusal.BAD_ID


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/", ""),
        ("/healthz", ""),
        ("/cloud/environment/box-1/validate", ""),
        ("/cloud/executor/box-1/connect", ""),
        ("/cloud/environment/a/b/register", ""),
        ("/cloud/environment/box-1/register/", ""),
        ("//cloud/environment/box-1/register", ""),
        ("/cloud/environment/box-1/register\n", ""),
        ("/api/cloud/environment/box-1/register", ""),
        ("/cloud/environment/box-1/register", "/api"),
        ("/apix/cloud/environment/box-1/register", "/api"),
    ],
)
def test_other_paths_are_none_of_the_registrys(path: str, base: str) -> None:
    assert parse_route("POST", path, base=base) is None


@pytest.mark.parametrize(
    ("values", "token"),
    [
        (["Bearer abc"], "abc"),
        (["bearer  a.b-c_d~e+f/g=="], "a.b-c_d~e+f/g=="),
        ([], None),
        (["Bearer"], None),
        (["Bearer "], None),
        (["Bearer a b"], None),
        (["Bearer caf\u00e9"], None),
        (["Basic abc"], None),
        (["abc"], None),
        (["Bearer one", "Bearer two"], None),
        (["Bearer " + "x" * (MAX_TOKEN_LENGTH + 1)], None),
    ],
)
def test_the_bearer_token_is_found(values: list[str], token: str | None) -> None:
    headers = Headers([("Authorization", value) for value in values])
    assert bearer_token(HttpRequest(method="POST", target="/", headers=headers)) == token


@pytest.mark.parametrize("spelling", Spelling)
def test_both_sides_understand_each_other(spelling: Spelling) -> None:
    request = register_request("http://[::1]:8080/api", "box-1", "t0ken", spelling=spelling)
    client = HttpClientConnection(request)
    server = HttpServerConnection()
    server.receive_bytes(client.bytes_to_send())

    received = server.next_request()
    assert received is not None
    assert received.headers.get("host") == "[::1]:8080"
    assert bearer_token(received) == "t0ken"
    call = parse_route(received.method, received.path, base="/api")
    assert isinstance(call, RegistryCall)
    server.respond(registration_response(call, URL))

    client.receive_bytes(server.bytes_to_send())
    assert client.response is not None
    assert client.response.headers.get("content-type") == "application/json"
    assert json.loads(client.response.body) == {f"{spelling.value}_id": "box-1", "url": URL}
    registration = parse_register_response(client.response, "box-1")
    assert isinstance(registration, Registration)
    assert registration.url.host_header == "relay.example"


@pytest.mark.parametrize(
    ("status", "header"),
    [(401, ("www-authenticate", "Bearer")), (405, ("allow", "POST")), (503, None)],
)
def test_an_error_is_what_clients_read(status: int, header: tuple[str, str] | None) -> None:
    response = error_response(status, "some_code", "do this")
    assert json.loads(response.body) == {"error": {"code": "some_code", "message": "do this"}}
    assert response.headers.get("content-type") == "application/json"
    assert [field for field in response.headers if field[0] != "content-type"] == (
        [header] if header else []
    )
    failure = parse_failure(response)
    assert (failure.status, failure.code, failure.message) == (status, "some_code", "do this")


def test_a_refused_route_names_its_status() -> None:
    assert (RouteRefusal.BAD_ID.value, RouteRefusal.METHOD_NOT_ALLOWED.value) == (400, 405)
