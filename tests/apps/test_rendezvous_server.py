"""The rendezvous server on loopback: its answers to plain requests."""

import json
import re
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from rendezvous_kit import (
    DAY,
    dial,
    serving,
)
from sansrelay_apps.rendezvous import (
    TokenTable,
)
from sansrelay_apps.rendezvous.tokens import read_token_file

pytestmark = pytest.mark.trio


@pytest.mark.parametrize(
    ("path", "member", "role", "ttl"),
    [
        ("/cloud/executor/box-1/register", "executor_id", "executor", DAY),
        ("/cloud/environment/box-1/register", "environment_id", "executor", DAY),
        ("/cloud/environment/box-1/connect", "environment_id", "harness", DAY // 2),
    ],
)
async def test_the_registry_says_where_to_dial(path: str, member: str, role: str, ttl: int) -> None:
    async with serving() as place:
        response = await place.ask("POST", path)
        answer = json.loads(response.body)
        url = answer.pop("url")
        assert answer == {member: "box-1", "expires_in": ttl}
        assert re.fullmatch(
            rf"ws://127\.0\.0\.1:{place.port}/relay/box-1\?role={role}&ticket=[A-Za-z0-9._-]+", url
        )
        assert response.headers.get("content-type") == "application/json"
        assert response.headers.get("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("body", "expires_in"),
    [
        (b"", DAY // 2),
        (b"{}", DAY // 2),
        (b'{"other": 1}', DAY // 2),
        (b'{"ttl": 60}', 60),
        (b'{"ttl": 90.9}', 90),
        (b'{"ttl": 0.001}', 1),
        (b'{"ttl": 604799}', 7 * DAY - 1),
        (b'{"ttl": 604801}', 7 * DAY),
        (b'{"ttl": 1e999}', 7 * DAY),
    ],
)
async def test_a_request_may_name_the_life_of_its_ticket(body: bytes, expires_in: int) -> None:
    async with serving() as place:
        response = await place.ask("POST", "/cloud/environment/box1/connect", body=body)
        answer = json.loads(response.body)
        assert answer["expires_in"] == expires_in
        place.clock[0] += expires_in - 1
        async with dial(answer["url"]):
            pass
        place.clock[0] += 1
        with pytest.raises(InvalidStatus) as refused:
            async with dial(answer["url"]):
                pass
        assert refused.value.response.status_code == 401
        assert b"expired" in refused.value.response.body


async def test_the_greatest_life_bounds_the_default_too() -> None:
    async with serving(max_ttl=100) as place:
        response = await place.ask("POST", "/cloud/environment/box1/register")
        assert json.loads(response.body)["expires_in"] == 100


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"nonsense", "bad_body"),
        (b"\xff", "bad_body"),
        (b"[]", "bad_body"),
        (b"1", "bad_body"),
        (b"[" * 50_000, "bad_body"),
        (b'{"ttl": 0}', "bad_ttl"),
        (b'{"ttl": -1}', "bad_ttl"),
        (b'{"ttl": NaN}', "bad_ttl"),
        (b'{"ttl": true}', "bad_ttl"),
        (b'{"ttl": "60"}', "bad_ttl"),
        (b'{"ttl": null}', "bad_ttl"),
        (b'{"security_profile": "noise_hybrid_ik_v1"}', "unsupported_security_profile"),
        (b'{"harness_public_key": {}}', "unsupported_security_profile"),
    ],
)
async def test_a_bad_body_is_refused(body: bytes, code: str) -> None:
    async with serving() as place:
        for verb in ("register", "connect"):
            response = await place.ask("POST", f"/cloud/environment/box1/{verb}", body=body)
            assert response.status == 400
            assert json.loads(response.body)["error"]["code"] == code


@pytest.mark.parametrize(
    ("method", "path", "status", "header"),
    [
        ("POST", "/", 404, None),
        ("GET", "/nowhere", 404, None),
        ("POST", "/cloud/environment/box1/validate", 404, None),
        ("POST", "/cloud/executor/box1/connect", 404, None),
        ("POST", "/cloud/environment/box1/register/", 404, None),
        ("GET", "/cloud/environment/box1/register", 405, ("allow", "POST")),
        ("PUT", "/cloud/executor/box1/register", 405, ("allow", "POST")),
        ("POST", "/cloud/environment//register", 400, None),
        ("POST", "/cloud/environment/b%2Fx/register", 400, None),
        ("POST", f"/cloud/environment/{'x' * 257}/register", 400, None),
        ("POST", "/healthz", 405, ("allow", "GET, HEAD")),
        ("DELETE", "/readyz", 405, ("allow", "GET, HEAD")),
        ("GET", "/healthz", 200, None),
        ("HEAD", "/healthz", 200, None),
        ("GET", "/readyz", 200, None),
        ("GET", "/readyz?verbose", 200, None),
        ("POST", "/relay/box1", 405, ("allow", "GET")),
        ("GET", "/relay/box1", 426, ("upgrade", "websocket")),
        ("GET", "/relay/", 404, None),
        ("GET", "/relay/a/b", 404, None),
    ],
)
async def test_each_path_has_its_answer(
    method: str, path: str, status: int, header: tuple[str, str] | None
) -> None:
    async with serving() as place:
        response = await place.ask(method, path)
        assert response.status == status
        if header is not None:
            assert response.headers.get(header[0]) == header[1]


async def test_a_large_body_is_refused() -> None:
    async with serving() as place:
        async with await place.open() as stream:
            head = (
                "POST /cloud/environment/box1/register HTTP/1.1\r\nHost: h\r\n"
                "Authorization: Bearer token\r\nContent-Length: 65537\r\n\r\n"
            )
            await stream.send_all(head.encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_token"),
        ([("Authorization", "Basic e-token")], "missing_token"),
        ([("Authorization", "Bearer")], "missing_token"),
        ([("Authorization", "Bearer e-token"), ("Authorization", "Bearer x")], "missing_token"),
        ([("Authorization", "Bearer wrong")], "unknown_token"),
    ],
)
async def test_a_token_that_is_missing_or_unknown_gets_401(
    tokens: TokenTable, headers: list[tuple[str, str]], code: str
) -> None:
    async with serving(access=tokens) as place:
        for verb in ("register", "connect"):
            response = await place.ask("POST", f"/cloud/environment/b-1/{verb}", headers=headers)
            assert response.status == 401
            assert response.headers.get("www-authenticate") == "Bearer"
            assert json.loads(response.body)["error"]["code"] == code
            assert "wrong" not in json.loads(response.body)["error"]["message"]


@pytest.mark.parametrize(
    ("token", "path", "status", "code"),
    [
        ("e-token", "/cloud/environment/b-1/register", 200, None),
        ("e-token", "/cloud/executor/b-1/register", 200, None),
        ("e-token", "/cloud/environment/a-1/register", 403, "wrong_id"),
        ("e-token", "/cloud/environment/b-1/connect", 403, "wrong_role"),
        ("h-token", "/cloud/environment/a-1/connect", 200, None),
        ("h-token", "/cloud/environment/b-1/register", 403, "wrong_role"),
    ],
)
async def test_a_token_gives_what_its_line_says(
    tokens: TokenTable, token: str, path: str, status: int, code: str | None
) -> None:
    async with serving(access=tokens) as place:
        response = await place.ask("POST", path, headers=[("Authorization", f"Bearer {token}")])
        assert response.status == status
        assert json.loads(response.body).get("error", {}).get("code") == code


@pytest.fixture
def tokens(tmp_path: Any) -> TokenTable:
    path = tmp_path / "tokens"
    path.write_text("executor e-token b-*\nharness h-token\nharness h-token-2\n")
    path.chmod(0o600)
    return read_token_file(path)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("http://localhost.evil.example", 403),
    ],
)
async def test_web_pages_of_elsewhere_are_not_let_in(origin: str | None, status: int) -> None:
    headers = [("Authorization", "Bearer token")]
    if origin is not None:
        headers.append(("Origin", origin))
    async with serving(refuse_web_pages=True) as place:
        response = await place.ask("POST", "/cloud/environment/box1/connect", headers=headers)
        assert response.status == status
    async with serving(refuse_web_pages=False) as place:
        response = await place.ask("POST", "/cloud/environment/box1/connect", headers=headers)
        assert response.status == 200
