"""The requests that the table is made of."""

import base64

from interop.differential import Ask, Closed, Output, Post, Row, Step
from sansrelay.jsonrpc import JsonValue

PATH: JsonValue = {"PATH": "/usr/bin:/bin"}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def initialize(**params: JsonValue) -> Ask:
    return Ask("initialize", {"clientName": "t", "resumeSessionId": None, **params})


def start_params(*argv: str, **params: JsonValue) -> dict[str, JsonValue]:
    return {
        "processId": "p",
        "argv": list(argv),
        "cwd": "{root}",
        "env": PATH,
        "tty": False,
        "pipeStdin": False,
        "arg0": None,
        **params,
    }


def start(*argv: str, **params: JsonValue) -> Ask:
    return Ask("process/start", start_params(*argv, **params))


def shell(script: str, **params: JsonValue) -> Ask:
    return start("sh", "-c", script, **params)


def read(**params: JsonValue) -> Ask:
    members = {"processId": "p", "afterSeq": None, "maxBytes": None, "waitMs": None, **params}
    return Ask("process/read", members)


def write(data: bytes, **params: JsonValue) -> Ask:
    members = {"processId": "p", "chunk": encoded(data), **params}
    return Ask("process/write", members)


def terminate(process_id: str = "p") -> Ask:
    return Ask("process/terminate", {"processId": process_id})


def post(ask: Ask) -> Post:
    return Post(ask.method, ask.params)


def each(name: str, asks: dict[str, Ask], *after: Step) -> tuple[Row, ...]:
    """A row for each of several ways to ask one thing."""
    return tuple(Row(name=f"{name}: {what}", steps=(ask, *after)) for what, ask in asks.items())


SLOW_CAT: tuple[Step, ...] = (shell("echo on; exec cat", pipeStdin=True), Output("on\n"))
"""Begins a process that lives until it is ended, and waits until it is there."""

ENDED: tuple[Step, ...] = (shell("echo out"), Closed())
"""Begins a process and waits until it is closed."""
