"""Asks an executor of ours and one of a real Codex the same, and tells what each made of it.

A `Row` is what happens on a stream or two: files that are there before, and steps. Each step leaves
one observation, which is JSON. What can't be alike in two runs is left out of it: ids of sessions,
times, the place of the files, how output was cut into chunks, the order of a directory, and, unless
the row asks for them, the texts of errors.
"""

import base64
import json
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import trio
from interop.differential_tree import OLD_MS, Files, contents, make_files, readable, short, unlock
from sansrelay.jsonrpc import JsonValue
from sansrelay_trio import Harness, RelayStream

STEP_PATIENCE = 60.0
"""Seconds that a step may take before the test fails; long, since machines can be busy."""

FENCE_PATIENCE = 1.0
"""Seconds after which a fence is put up again. The first may have been lost with its session, never
in between: requests are answered in order."""

_FENCE: dict[str, JsonValue] = {"processId": "fence"}
"""Asked of `process/terminate`, its answer shows that what was sent before it gets none any more,
and whether the session is still there."""


# -- a row


class Step(Protocol):
    """Something that is done, or looked at."""

    async def run(self, asker: "Asker") -> JsonValue:
        """Do it, and tell what was observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing to try. `{root}` in any string of a step is the directory of the row's files,
    `{server}` the URL of an HTTP server, `{session}` the id of the latest session."""

    name: str
    steps: tuple[Step, ...]
    files: Files = field(default_factory=dict)
    begun: bool = True
    """Whether `initialize` and `initialized` come first by themselves."""
    texts: bool = False
    """Whether the texts of errors are compared, too."""
    next_seq: bool = False
    """Whether `nextSeq` is compared. It depends on what came first, the output or the exit."""

    @property
    def requests(self) -> int:
        """How many messages it sends, `begun` and fences aside."""
        return sum(isinstance(step, Ask | Post | Raw | Tell | Resume) for step in self.steps)


class Asker:
    """A client of one executor, for one row. Every message that comes is kept until it is asked
    for, so that no step depends on what comes first."""

    def __init__(self, harness: Harness, row: Row, root: Path, server: str) -> None:
        self.row = row
        self.root = root
        self.before: dict[str, str] = {}
        """What lay in the directory at first."""
        self.unanswered: list[int] = []
        """Requests that no step has waited for yet."""
        self._harness = harness
        self._server = server
        self._session = "none"
        self._stream: RelayStream | None = None
        self._streams = AsyncExitStack()
        self._last_id = 0
        self._answers: list[dict[str, Any]] = []
        self._notices: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    async def run(self) -> list[JsonValue]:
        """One observation for each step."""
        make_files(self.root, self.row.files)
        self.before = contents(self.root)
        async with self._streams:
            self._streams.callback(unlock, self.root, self.row.files)
            await self.open_stream()
            if self.row.begun:
                await self.begin()
            seen = []
            for number, step in enumerate(self.row.steps):
                try:
                    with trio.fail_after(STEP_PATIENCE):
                        seen.append(await step.run(self))
                except Exception as error:
                    error.add_note(f"at step {number} of {self.row.name!r}")
                    raise
            return seen

    async def open_stream(self) -> None:
        """Open a stream; from now on everything is sent there."""
        stream = await self._harness.open_stream()
        self._streams.callback(stream.reset)
        self._stream = stream

    def drop_stream(self) -> None:
        """Give up the stream, with a reason that leaves its session alive."""
        assert self._stream is not None
        self._stream.reset("link_lost")

    async def begin(self) -> None:
        request_id = await self.request("initialize", {"clientName": "t", "resumeSessionId": None})
        assert "sessionId" in (await self.answer(request_id)).get("result", {})
        await self.tell("initialized", {})

    # -- sending

    async def send(self, data: bytes) -> None:
        assert self._stream is not None
        await self._stream.send(data)

    async def request(self, method: str, params: JsonValue) -> int:
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        await self.send(self._fill(json.dumps(message)).encode())
        return self._last_id

    async def tell(self, method: str, params: JsonValue) -> None:
        await self.send(json.dumps({"method": method, "params": params}).encode())

    def _fill(self, text: str) -> str:
        for mark, value in self._places():
            text = text.replace(mark, value)
        return text

    def _places(self) -> tuple[tuple[str, str], ...]:
        return (
            ("{root}", str(self.root)),
            ("{server}", self._server),
            ("{session}", self._session),
        )

    # -- receiving

    async def _receive(self) -> None:
        assert self._stream is not None
        message = json.loads(await self._stream.receive())
        if "method" in message:
            params = message["params"]
            key = params.get("processId", params.get("requestId"))
            self._notices[key].append(message)
        else:
            self._answers.append(message)

    async def answer(self, request_id: int) -> dict[str, Any]:
        """The answer to one request."""
        while not any(answer["id"] == request_id for answer in self._answers):
            await self._receive()
        found = next(answer for answer in self._answers if answer["id"] == request_id)
        self._answers.remove(found)
        result = found.get("result")
        if isinstance(result, dict) and "sessionId" in result:
            self._session = result["sessionId"]
        return found

    async def answers_before_fence(self) -> tuple[list[dict[str, Any]], bool]:
        """Everything that has been answered until nothing more can come, and whether there is a
        session afterwards."""
        fences: set[int] = set()
        while not any(answer["id"] in fences for answer in self._answers):
            fences.add(await self.request("process/terminate", _FENCE))
            with trio.move_on_after(FENCE_PATIENCE):
                while not any(answer["id"] in fences for answer in self._answers):
                    await self._receive()
        fence = next(answer for answer in self._answers if answer["id"] in fences)
        found = [answer for answer in self._answers if answer["id"] not in fences]
        self._answers.clear()
        return found, "result" in fence

    async def notices(self, key: str, until: "Until") -> list[dict[str, Any]]:
        """What was notified about a process or an HTTP request, as soon as something holds."""
        while not until(self._notices[key]):
            await self._receive()
        return self._notices[key]

    # -- observing

    def observe(self, answer: dict[str, Any]) -> JsonValue:
        """What is alike in each run of an answer."""
        error = answer.get("error")
        if error is None:
            return self.shown(answer["result"])
        if self.row.texts:
            return {"error": error["code"], "message": self._unfill(error["message"])}
        return {"error": error["code"]}

    def shown(self, value: JsonValue, *, name: str = "") -> JsonValue:
        """A value without what differs from run to run; `name` is that of the member it is."""
        match value:
            case dict():
                return {
                    key: self.shown(each, name=key)
                    for key, each in value.items()
                    if key != "nextSeq" or self.row.next_seq
                }
            case list() if name == "chunks":
                return self.output(value)
            case list() if name == "entries":
                return sorted(value, key=lambda entry: json.dumps(entry, sort_keys=True))
            case list():
                return [self.shown(each) for each in value]
            case int() if name in {"createdAtMs", "modifiedAtMs"} and value > OLD_MS:
                return "now"
            case str():
                return short(self._unfill(value))
        return value

    def output(self, chunks: list[Any]) -> JsonValue:
        """Output as text, by streams: where it was cut is chance."""
        return {name: self._unfill(readable(data)) for name, data in _merged(chunks).items()}

    def _unfill(self, text: str) -> str:
        for mark, value in self._places():
            text = text.replace(value, mark)
        return text


Seen: TypeAlias = dict[str, list[JsonValue]]
"""What was observed of each row, by its name."""


class Until(Protocol):
    def __call__(self, notices: list[dict[str, Any]], /) -> bool: ...


def _merged(chunks: list[Any]) -> dict[str, bytes]:
    output: defaultdict[str, bytes] = defaultdict(bytes)
    for chunk in sorted(chunks, key=lambda chunk: int(chunk["seq"])):
        output[chunk["stream"]] += base64.b64decode(chunk["chunk"], validate=True)
    return output


# -- steps


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and its answer."""

    method: str
    params: JsonValue

    async def run(self, asker: Asker) -> JsonValue:
        return asker.observe(await asker.answer(await asker.request(self.method, self.params)))


@dataclass(frozen=True, slots=True)
class Post:
    """A request whose answer is waited for later."""

    method: str
    params: JsonValue

    async def run(self, asker: Asker) -> JsonValue:
        asker.unanswered.append(await asker.request(self.method, self.params))
        return None


@dataclass(frozen=True, slots=True)
class Collect:
    """The answers to everything that was posted, in the order of the requests."""

    async def run(self, asker: Asker) -> JsonValue:
        posted, asker.unanswered = asker.unanswered, []
        return [asker.observe(await asker.answer(each)) for each in posted]


@dataclass(frozen=True, slots=True)
class Raw:
    """A message as it is, and all that is answered, and whether the session survives."""

    message: bytes

    async def run(self, asker: Asker) -> JsonValue:
        await asker.send(self.message)
        answers, has_session = await asker.answers_before_fence()
        seen: dict[str, JsonValue] = {
            "answers": [[asker.shown(answer["id"]), asker.observe(answer)] for answer in answers]
        }
        if asker.row.begun:
            seen["session"] = "goes on" if has_session else "is over"
        return seen


@dataclass(frozen=True, slots=True)
class Tell:
    """A notification. Nobody may answer."""

    method: str
    params: JsonValue

    async def run(self, asker: Asker) -> JsonValue:
        await asker.tell(self.method, self.params)
        return None


@dataclass(frozen=True, slots=True)
class Output:
    """Wait until a process has written a text."""

    text: str
    process_id: str = "p"

    async def run(self, asker: Asker) -> JsonValue:
        def is_there(notices: list[dict[str, Any]]) -> bool:
            chunks = [each["params"] for each in notices if each["method"] == "process/output"]
            return any(self.text.encode() in data for data in _merged(chunks).values())

        await asker.notices(self.process_id, is_there)
        return None


@dataclass(frozen=True, slots=True)
class Exited:
    """Wait until a process has exited."""

    process_id: str = "p"

    async def run(self, asker: Asker) -> JsonValue:
        await asker.notices(self.process_id, lambda notices: _has(notices, "process/exited"))
        return None


@dataclass(frozen=True, slots=True)
class Closed:
    """All that was notified of a process, once it is closed and no seq is missing."""

    process_id: str = "p"

    async def run(self, asker: Asker) -> JsonValue:
        notices = await asker.notices(self.process_id, _is_whole)
        said = [each["params"] for each in notices]
        (exited,) = (each["params"] for each in notices if each["method"] == "process/exited")
        others = {name: exited[name] for name in exited if name not in {"processId", "seq"}}
        return {
            "output": asker.output([each for each in said if "chunk" in each]),
            **others,
        }


def _is_whole(notices: list[dict[str, Any]]) -> bool:
    """Whether all has come. Codex sends notifications out of the order of their seq at times."""
    seqs = {each["params"]["seq"] for each in notices}
    last = [each["params"]["seq"] for each in notices if each["method"] == "process/closed"]
    return bool(last) and seqs == set(range(1, last[0] + 1))


def _has(notices: list[dict[str, Any]], method: str) -> bool:
    return any(each["method"] == method for each in notices)


@dataclass(frozen=True, slots=True)
class Body:
    """The streamed body of an HTTP request, once it is whole."""

    request_id: str = "r"

    async def run(self, asker: Asker) -> JsonValue:
        notices = await asker.notices(
            self.request_id,
            lambda notices: any(each["params"]["done"] for each in notices),
        )
        said = [each["params"] for each in notices]
        body = b"".join(base64.b64decode(each["deltaBase64"]) for each in said)
        return {
            "body": readable(body),
            "failed": said[-1]["error"] is not None,
            "counted": [each["seq"] for each in said] == list(range(1, len(said) + 1)),
        }


@dataclass(frozen=True, slots=True)
class Look:
    """What has changed in the row's directory; None for what is gone."""

    async def run(self, asker: Asker) -> JsonValue:
        before, after = asker.before, contents(asker.root)
        return {
            name: after.get(name)
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        }


@dataclass(frozen=True, slots=True)
class NewStream:
    """Open another stream and go on there; before that, perhaps, lose the one there was."""

    lose: bool = False

    async def run(self, asker: Asker) -> JsonValue:
        if self.lose:
            asker.drop_stream()
        await asker.open_stream()
        return None


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume the latest session, as soon as the executor has noticed the end of its stream."""

    async def run(self, asker: Asker) -> JsonValue:
        params: JsonValue = {"clientName": "t", "resumeSessionId": "{session}"}
        answer: dict[str, Any] = {}
        while "result" not in answer:
            answer = await asker.answer(await asker.request("initialize", params))
        await asker.tell("initialized", {})
        return asker.observe(answer)


# -- two executors


async def observe(
    rows: tuple[Row, ...], harness: Harness, folder: Path, server: str, *, at_once: int = 16
) -> Seen:
    """What an executor makes of each row. Rows run at the same time, each on its own streams."""
    seen: Seen = {}
    limiter = trio.CapacityLimiter(at_once)

    async def one(row: Row, root: Path) -> None:
        async with limiter:
            root.mkdir(parents=True)
            seen[row.name] = await Asker(harness, row, root, server).run()

    async with trio.open_nursery() as nursery:
        for number, row in enumerate(rows):
            nursery.start_soon(one, row, folder / f"{number}")
    return seen
