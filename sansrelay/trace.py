"""Events as JSON lines, for logs and for comparing runs.

One event is one JSON object: `at` (seconds, on the connection's clock), `event` (the type's name),
then the event's fields. Payloads are not written, only their sizes; texts of a peer are cleaned.
Equal events give equal lines.
"""

import json
from dataclasses import fields
from enum import Enum

from .errors import clean_reason
from .events import DataReceived, Event

__all__ = ["trace_line"]


def trace_line(event: Event, now: float) -> str:
    """The line for an event that was read at `now`, without a line end."""
    record: dict[str, object] = {"at": round(now, 6), "event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(event, DataReceived) and field.name == "data":
            record["size"] = len(value)
        else:
            record[field.name] = _plain(value)
    return json.dumps(record)


def _plain(value: object) -> object:
    match value:
        case str():  # ResetReason too: its value is the word on the wire
            return clean_reason(value)
        case Enum():
            return value.name.lower()
        case range():
            return [value.start, value.stop]
    return value
