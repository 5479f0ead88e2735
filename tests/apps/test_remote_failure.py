"""What the errors of a start mean."""

import pytest

from sansrelay.jsonrpc import JsonValue, RpcError
from sansrelay_apps.remote_failure import start_failure

ENOENT = "No such file or directory (os error 2)"
EACCES = "Permission denied (os error 13)"


@pytest.mark.parametrize(
    ("message", "data", "status", "line"),
    [
        (ENOENT, {"errno": 2, "what": "program"}, 127, "box1: no such program: foo"),
        (EACCES, {"errno": 13, "what": "program"}, 126, f"box1: can't run foo: {EACCES}"),
        ("bad format", {"errno": 8, "what": "program"}, 126, "box1: can't run foo: bad format"),
        (ENOENT, {"errno": 2, "what": "cwd"}, 255, f"box1: can't use the directory /d: {ENOENT}"),
        (EACCES, {"errno": 13, "what": "cwd"}, 255, f"box1: can't use the directory /d: {EACCES}"),
        ("too many files", {"errno": 24}, 255, "box1: can't start foo: too many files"),
        (ENOENT, None, 127, "box1: no such program: foo, or no such directory: /d"),
        (EACCES, None, 126, f"box1: can't run foo in /d: {EACCES}"),
        ("x (os error 8)", None, 126, "box1: can't run foo in /d: x (os error 8)"),
        ("x (os error 24)", None, 255, "box1: can't start foo: x (os error 24)"),
        ("bad params", None, 255, "box1: can't start foo: bad params"),
        (ENOENT, "data", 127, "box1: no such program: foo, or no such directory: /d"),
        ("two\nlines", None, 255, "box1: can't start foo: two\N{REPLACEMENT CHARACTER}lines"),
    ],
)
def test_start_failures(message: str, data: JsonValue, status: int, line: str) -> None:
    error = RpcError(code=-32603, message=message, data=data)
    failure = start_failure(error, executor="box1", program="foo", cwd="/d")
    assert (failure.status, str(failure)) == (status, line)
