"""JSON-RPC without I/O: what is understood, what is refused, and that nothing raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sansrelay.jsonrpc import (
    ErrorCode,
    Event,
    InvalidCause,
    InvalidMessage,
    JsonRpcSession,
    JsonValue,
    NotificationReceived,
    RequestId,
    RequestReceived,
    ResponseReceived,
    RpcError,
    UnmatchedCause,
    UnmatchedResponse,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_calls_have_the_wire_form_without_a_version_member() -> None:
    session = JsonRpcSession()
    assert session.call("initialize", {"clientName": "é"}) == (
        1,
        '{"id":1,"method":"initialize","params":{"clientName":"é"}}'.encode(),
    )
    assert session.call("ping") == (2, b'{"id":2,"method":"ping"}')
    assert session.pending_calls == 2


def test_answers_and_notifications_have_the_wire_form() -> None:
    session = JsonRpcSession()
    assert session.notification("initialized", {}) == b'{"method":"initialized","params":{}}'
    assert session.result("a", None) == b'{"id":"a","result":null}'
    assert session.error(7, RpcError(code=ErrorCode.NOT_FOUND, message="no such path")) == (
        b'{"id":7,"error":{"code":-32004,"message":"no such path"}}'
    )
    assert session.error(-1, RpcError(code=-32603, message="x", data={"errno": 2})) == (
        b'{"id":-1,"error":{"code":-32603,"message":"x","data":{"errno":2}}}'
    )


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b'{"id":1,"method":"m"}', RequestReceived(id=1, method="m", params=None)),
        (b'{"id":"","method":"m"}', RequestReceived(id="", method="m", params=None)),
        (
            b'{"jsonrpc":"2.0","id":-5,"method":"m","params":[1],"trace":{}}',
            RequestReceived(id=-5, method="m", params=[1]),
        ),
        (
            b' {"id":9223372036854775807,"method":"m"} ',
            RequestReceived(id=2**63 - 1, method="m", params=None),
        ),
        (
            b'{"method":"m","params":{"a":null}}',
            NotificationReceived(method="m", params={"a": None}),
        ),
        (
            rb'{"method":"m","params":"\ud83d\ude00"}',
            NotificationReceived(method="m", params="\N{GRINNING FACE}"),
        ),
    ],
)
def test_requests_and_notifications_are_understood(data: bytes, event: Event) -> None:
    assert JsonRpcSession().receive(data) == event


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", InvalidCause.NOT_JSON),
        (b"\xff\xfe", InvalidCause.NOT_UTF8),
        ('{"method":"m"}'.encode("utf-16"), InvalidCause.NOT_UTF8),
        ('{"method":"m"}'.encode("utf-16-le"), InvalidCause.NOT_JSON),
        (b'\xef\xbb\xbf{"method":"m"}', InvalidCause.NOT_JSON),
        (b'{"method":"m"', InvalidCause.NOT_JSON),
        (b'{"method":"m"}{"method":"m"}', InvalidCause.NOT_JSON),
        (b'{"method":"m","params":NaN}', InvalidCause.NOT_JSON),
        (b'{"method":"m","params":[-Infinity]}', InvalidCause.NOT_JSON),
        (b'{"method":"m","params":' + b"9" * 10_000 + b"}", InvalidCause.NOT_JSON),
        (b"[" * 200_000, InvalidCause.NOT_JSON),
        (b'{"a":' * 200_000, InvalidCause.NOT_JSON),
        (rb'{"method":"m","params":["\ud800"]}', InvalidCause.LONE_SURROGATE),
        (rb'{"method":"m","params":{"\uDFFF":1}}', InvalidCause.LONE_SURROGATE),
        (b"[]", InvalidCause.NOT_AN_OBJECT),
        (b'[{"id":1,"method":"m"}]', InvalidCause.NOT_AN_OBJECT),
        (b"null", InvalidCause.NOT_AN_OBJECT),
        (b'"method"', InvalidCause.NOT_AN_OBJECT),
        (b'{"id":true,"method":"m"}', InvalidCause.INVALID_ID),
        (b'{"id":null,"method":"m"}', InvalidCause.INVALID_ID),
        (b'{"id":1.0,"method":"m"}', InvalidCause.INVALID_ID),
        (b'{"id":"' + b"i" * 257 + b'","method":"m"}', InvalidCause.INVALID_ID),
        (b'{"id":{},"method":"m"}', InvalidCause.INVALID_ID),
        (b'{"id":9223372036854775808,"method":"m"}', InvalidCause.INVALID_ID),
        (b'{"method":null}', InvalidCause.INVALID_METHOD),
    ],
    ids=lambda value: repr(value[:32]) if isinstance(value, bytes) else value.name,
)
def test_bytes_that_are_no_message(data: bytes, cause: InvalidCause) -> None:
    assert JsonRpcSession().receive(data) == InvalidMessage(cause=cause)


def test_a_bad_method_keeps_the_id_for_the_answer() -> None:
    event = JsonRpcSession().receive(b'{"id":"x","method":3}')
    assert event == InvalidMessage(cause=InvalidCause.INVALID_METHOD, id="x", answerable=True)


@pytest.mark.parametrize(
    ("data", "cause", "request_id"),
    [
        (b"{}", InvalidCause.INVALID_RESPONSE, None),
        (b'{"id":1}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"result":1}', InvalidCause.INVALID_RESPONSE, None),
        (b'{"id":1,"error":null}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":1,"error":"x"}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":1,"result":1,"error":"x"}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":1,"error":{"code":1}}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":1,"error":{"code":true,"message":"x"}}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":1,"error":{"code":1,"message":2}}', InvalidCause.INVALID_RESPONSE, 1),
        (b'{"id":false,"result":1}', InvalidCause.INVALID_ID, None),
        (b'{"id":null,"error":{"code":1,"message":"x"}}', InvalidCause.INVALID_ID, None),
    ],
)
def test_a_bad_response_is_not_answerable_and_answers_no_call(
    data: bytes, cause: InvalidCause, request_id: RequestId | None
) -> None:
    session = JsonRpcSession()
    session.call("m")
    event = session.receive(data)
    assert event == InvalidMessage(cause=cause, id=request_id, answerable=False)
    assert session.pending_calls == 1


def test_a_response_finds_its_call_once() -> None:
    session = JsonRpcSession()
    session.call("first")
    session.call("second")
    good = session.result(2, {"a": 1})
    assert session.receive(good) == ResponseReceived(
        id=2, method="second", result={"a": 1}, error=None
    )
    assert session.receive(good) == UnmatchedResponse(
        id=2, cause=UnmatchedCause.NOT_PENDING, error=None
    )
    assert session.pending_calls == 1


@pytest.mark.parametrize("result", [b"", b',"result":null'])
def test_an_error_response_carries_the_error(result: bytes) -> None:
    session = JsonRpcSession()
    session.call("m")
    event = session.receive(b'{"error":{"code":-32603,"message":"x","data":[1]},"id":1%s}' % result)
    error = RpcError(code=-32603, message="x", data=[1])
    assert event == ResponseReceived(id=1, method="m", result=None, error=error)


@pytest.mark.parametrize("request_id", [0, -1, 2, "1"])
def test_a_response_to_no_call_is_an_event(request_id: RequestId) -> None:
    session = JsonRpcSession()
    session.call("m")
    error = RpcError(code=-32600, message="bad")
    assert session.receive(session.error(request_id, error)) == UnmatchedResponse(
        id=request_id, cause=UnmatchedCause.NEVER_CALLED, error=error
    )
    assert session.pending_calls == 1


def test_a_forgotten_call_is_not_answered() -> None:
    session = JsonRpcSession()
    request_id, _ = session.call("m")
    assert session.forget(request_id)
    assert not session.forget(request_id)
    assert session.receive(session.result(request_id, 1)) == UnmatchedResponse(
        id=request_id, cause=UnmatchedCause.NOT_PENDING, error=None
    )


def test_half_surrogate_pairs_leave_as_replacement_characters() -> None:
    data = JsonRpcSession().result(1, {"fileName": b"caf\xe9".decode("utf-8", "surrogateescape")})
    assert data == '{"id":1,"result":{"fileName":"caf\N{REPLACEMENT CHARACTER}"}}'.encode()


def test_a_call_that_can_not_be_written_changes_nothing() -> None:
    session = JsonRpcSession()
    with pytest.raises(ValueError, match="not JSON compliant"):
        session.call("m", [float("nan")])
    assert session.pending_calls == 0
    assert session.call("m")[0] == 1


@given(params=JSON_VALUES, result=JSON_VALUES)
def test_values_come_through_a_round_trip(params: JsonValue, result: JsonValue) -> None:
    client, server = JsonRpcSession(), JsonRpcSession()
    request_id, data = client.call("m", params)
    request = server.receive(data)
    assert request == RequestReceived(id=request_id, method="m", params=params)
    response = client.receive(server.result(request_id, result))
    assert response == ResponseReceived(id=request_id, method="m", result=result, error=None)


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON_VALUES,
        "method": JSON_VALUES,
        "params": JSON_VALUES,
        "result": JSON_VALUES,
        "error": JSON_VALUES,
    },
)


@given(data=st.binary() | MEMBERS.map(lambda members: json.dumps(members).encode()))
def test_no_bytes_make_a_session_raise(data: bytes) -> None:
    session = JsonRpcSession()
    session.call("m")
    assert isinstance(session.receive(data), Event)
