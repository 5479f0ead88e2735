"""A model that says what a test wants: a small fake of the Responses API, as Codex uses it."""

import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio
from sansrelay.http import Headers, HttpRequest, HttpResponse
from sansrelay_trio import ServerConnection, ServerLimits, serve_http

Item = dict[str, Any]

Say = Item | Callable[[str], Item]
"""What the model says; or how it makes that of the output of the last command."""

_LIMITS = ServerLimits(max_request_body=16 * 1024 * 1024, idle_timeout=600.0)


def shell(command: str, *, call_id: str, wait_ms: int = 30_000, tty: bool = False) -> Item:
    """What the model says to have a command run."""
    return _call("exec_command", call_id, cmd=command, yield_time_ms=wait_ms, tty=tty)


def write(text: str, *, call_id: str, wait_ms: int = 30_000) -> Callable[[str], Item]:
    """What it says to type something into the command that has just begun and still runs."""

    def to_running(output: str) -> Item:
        found = re.search(r"session ID (\d+)", output)
        assert found is not None, output
        number = int(found.group(1))
        return _call("write_stdin", call_id, session_id=number, chars=text, yield_time_ms=wait_ms)

    return to_running


def _call(name: str, call_id: str, **arguments: object) -> Item:
    encoded = json.dumps(arguments)
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": encoded}


def message(text: str) -> Item:
    """What the model says to end its turn."""
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "id": "message", "content": content}


@dataclass
class FakeModel:
    """Answers each request with the next item."""

    port: int = 0
    script: deque[Say] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def will_say(self, *items: Say) -> None:
        """Answer the next requests so; any beyond these are refused."""
        self.script.extend(items)

    def outputs(self) -> list[str]:
        """What the model was told of the commands it had run, in the last request."""
        told = self.requests[-1]["input"]
        return [item["output"] for item in told if item["type"] == "function_call_output"]

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Listen on a free loopback port until cancelled."""
        async with trio.open_nursery() as nursery:

            async def run(task_status: trio.TaskStatus[list[tuple[str, int]]]) -> None:
                await serve_http(self._serve, limits=_LIMITS, task_status=task_status)

            addresses = await nursery.start(run)
            self.port = addresses[0][1]
            task_status.started()

    async def _serve(self, connection: ServerConnection) -> None:
        while (request := await connection.next_request()) is not None:
            await connection.respond(self._answer(request))

    def _answer(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET" and request.path == "/v1/models":
            return HttpResponse(status=200, body=b'{"data":[],"models":[]}')
        if request.method == "POST" and request.path == "/v1/responses" and self.script:
            self.requests.append(json.loads(request.body))
            say = self.script.popleft()
            return HttpResponse(
                status=200,
                headers=Headers([("Content-Type", "text/event-stream")]),
                body=_events(len(self.requests), say(self.outputs()[-1]) if callable(say) else say),
            )
        return HttpResponse(status=404, body=request.target.encode())


def _events(number: int, item: Item) -> bytes:
    response = {"id": f"response-{number}", "output": [item], "usage": _USAGE}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": f"response-{number}"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response},
    ]
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


_USAGE = {
    "input_tokens": 1,
    "input_tokens_details": None,
    "output_tokens": 1,
    "output_tokens_details": None,
    "total_tokens": 2,
}
