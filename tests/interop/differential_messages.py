"""What is asked about messages and sessions: a part of the table."""

import json

from interop.differential import Ask, Closed, NewStream, Output, Raw, Resume, Row, Tell
from interop.differential_asks import initialize, read, start, terminate, write
from sansrelay.jsonrpc import JsonValue

_HUGE = 10**30


def message(**members: JsonValue) -> bytes:
    return json.dumps(members).encode()


def _raw(name: str, messages: dict[str, bytes], *, begun: bool = True) -> tuple[Row, ...]:
    return tuple(
        Row(name=f"{name}: {what}", steps=(Raw(message),), begun=begun)
        for what, message in messages.items()
    )


_DEEP = b'{"id":9,"method":"x","params":' + b"[" * 500 + b"]" * 500 + b"}"

MESSAGES = (
    *_raw(
        "message",
        {
            "not JSON": b"hello",
            "cut off": b'{"id":9,"method":"process/re',
            "not UTF-8": b'{"id":9,"method":"\xff"}',
            "blank": b"  ",
            "a number": b"7",
            "null": b"null",
            "an empty object": b"{}",
            "an empty list": b"[]",
            "a batch": b'[{"id":9,"method":"process/read","params":{}}]',
            "NaN": b'{"id":9,"method":"x","params":NaN}',
            "a number beyond a double": b'{"id":9,"method":"x","params":1e999}',
            "half a surrogate pair": b'{"id":9,"method":"x","params":"\\ud800"}',
            "nested deeply": _DEEP,
            "a member twice": b'{"id":9,"id":10,"method":"x","params":{}}',
            "with white space": b' \n{"id" : 9, "method" : "x", "params" : {}}\n',
            "a byte order mark": b'\xef\xbb\xbf{"id":9,"method":"x","params":{}}',
            "something after it": b'{"id":9,"method":"x","params":{}}{}',
            "with jsonrpc": message(jsonrpc="2.0", id=9, method="x", params={}),
            "with an unknown jsonrpc": message(jsonrpc="3", id=9, method="x", params={}),
            "with a foreign member": message(id=9, method="x", params={}, colour="red"),
        },
    ),
    *_raw(
        "id",
        {
            "text": message(id="nine", method="x", params={}),
            "empty text": message(id="", method="x", params={}),
            "zero": message(id=0, method="x", params={}),
            "negative": message(id=-5, method="x", params={}),
            "the largest": message(id=2**63 - 1, method="x", params={}),
            "larger than 64 bits": message(id=2**63, method="x", params={}),
            "huge": message(id=_HUGE, method="x", params={}),
            "a fraction": message(id=1.5, method="x", params={}),
            "a whole fraction": b'{"id":9.0,"method":"x","params":{}}',
            "true": message(id=True, method="x", params={}),
            "null": message(id=None, method="x", params={}),
            "a list": message(id=[9], method="x", params={}),
            "long": message(id="x" * 300, method="x", params={}),
        },
    ),
    Row(
        name="id: the same one again",
        steps=(
            Raw(message(id=50, method="process/terminate", params={"processId": "q"})),
            Raw(message(id=50, method="process/terminate", params={"processId": "q"})),
        ),
    ),
    *_raw(
        "method",
        {
            "unknown": message(id=9, method="process/fly", params={}),
            "empty": message(id=9, method="", params={}),
            "in capitals": message(id=9, method="PROCESS/READ", params={}),
            "with a space": message(id=9, method="process/read ", params={"processId": "q"}),
            "a number": message(id=9, method=7, params={}),
            "null": message(id=9, method=None, params={}),
            "not there": message(id=9, params={}),
        },
    ),
    *_raw(
        "params",
        {
            "not there": message(id=9, method="process/terminate"),
            "null": message(id=9, method="process/terminate", params=None),
            "a list": message(id=9, method="process/terminate", params=["q"]),
            "a list of too few": message(id=9, method="process/terminate", params=[]),
            "text": message(id=9, method="process/terminate", params="q"),
            "a member twice": b'{"id":9,"method":"process/terminate",'
            b'"params":{"processId":"q","processId":"r"}}',
            "a foreign member": message(
                id=9, method="process/terminate", params={"processId": "q", "colour": "red"}
            ),
            "a member in another case": message(
                id=9, method="process/terminate", params={"processid": "q"}
            ),
        },
    ),
    *_raw(
        "no request",
        {
            "a notification that is known": message(method="initialized", params={}),
            "the same without params": message(method="initialized"),
            "a notification that is unknown": message(method="hello", params={}),
            "a method without an id": message(
                method="process/terminate", params={"processId": "q"}
            ),
            "an answer to nothing": message(id=9, result={}),
            "an error to nothing": message(id=9, error={"code": -1, "message": "no"}),
            "an error without an id": message(error={"code": -1, "message": "no"}),
            "an answer and an error": message(id=9, result={}, error={"code": -1, "message": "no"}),
        },
    ),
)

_GOOD_OPENINGS: dict[str, JsonValue] = {
    "good": {"clientName": "t", "resumeSessionId": None},
    "without a session to resume": {"clientName": "t"},
    "an empty name": {"clientName": ""},
    "a foreign member": {"clientName": "t", "colour": "red"},
}

_BAD_OPENINGS: dict[str, JsonValue] = {
    "no name": {},
    "a number for a name": {"clientName": 7},
    "null for a name": {"clientName": None},
    "null": None,
    "a session that is none": {"clientName": "t", "resumeSessionId": "none"},
    "an empty session": {"clientName": "t", "resumeSessionId": ""},
    "a number for a session": {"clientName": "t", "resumeSessionId": 7},
    "a session that never was": {
        "clientName": "t",
        "resumeSessionId": "00000000-0000-4000-8000-000000000000",
    },
}

SESSIONS = (
    *_raw(
        "before initialize",
        {
            "a request": message(id=9, method="process/terminate", params={"processId": "q"}),
            "a bad request": message(id=9, method="process/terminate", params={}),
            "a file": message(id=9, method="fs/getMetadata", params={"path": "/"}),
            "a relative file": message(id=9, method="fs/getMetadata", params={"path": "x"}),
            "HTTP": message(id=9, method="http/request", params={}),
            "an unknown method": message(id=9, method="x", params={}),
            "not JSON": b"hello",
        },
        begun=False,
    ),
    *(
        Row(
            name=f"initialize: {what}",
            steps=(Ask("initialize", params), Tell("initialized", {}), terminate()),
            begun=False,
        )
        for what, params in _GOOD_OPENINGS.items()
    ),
    *(
        Row(name=f"initialize: {what}", steps=(Ask("initialize", params), terminate()), begun=False)
        for what, params in _BAD_OPENINGS.items()
    ),
    Row(name="initialize: twice", steps=(initialize(),)),
    Row(
        name="initialize: twice, without initialized",
        steps=(initialize(), initialize(), Tell("initialized", {}), terminate()),
        begun=False,
    ),
    Row(
        name="initialize: again after a refusal",
        steps=(Ask("initialize", {}), initialize(), Tell("initialized", {}), terminate()),
        begun=False,
    ),
    Row(
        name="initialized: left out",
        steps=(initialize(), terminate()),
        begun=False,
    ),
    Row(
        name="initialized: said twice",
        steps=(Tell("initialized", {}), terminate()),
    ),
    Row(
        name="session: resumed while another stream has it",
        steps=(NewStream(), initialize(resumeSessionId="{session}")),
    ),
    Row(
        name="session: two at once have their own processes",
        steps=(
            start("cat", pipeStdin=True),
            NewStream(),
            initialize(),
            Tell("initialized", {}),
            read(),
            start("cat", pipeStdin=True),
            terminate(),
        ),
    ),
    Row(
        name="session: resumed after its stream was lost",
        steps=(
            start("cat", pipeStdin=True),
            NewStream(lose=True),
            Resume(),
            read(),
            write(b"x\n"),
            Output("x\n"),
            terminate(),
            Closed(),
        ),
    ),
    Row(
        name="session: resumed on the stream that has it",
        steps=(initialize(resumeSessionId="{session}"),),
    ),
)


ROWS = (*MESSAGES, *SESSIONS)
