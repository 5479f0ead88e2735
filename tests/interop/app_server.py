"""`codex app-server`: a Codex harness that stays, for several turns on one stream."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from interop.codex import TURN_PATIENCE


@dataclass
class AppServer:
    """Speaks JSON lines with it."""

    process: trio.Process
    _received: bytes = b""
    _requests: int = 0

    async def start_thread(self, cwd: Path) -> str:
        """Say hello and begin a conversation; returns its id."""
        await self._ask("initialize", clientInfo={"name": "test", "version": "1"})
        await self._send({"method": "initialized"})
        answer = await self._ask("thread/start", cwd=str(cwd))
        thread_id: str = answer["thread"]["id"]
        return thread_id

    async def turn(self, thread_id: str) -> str:
        """One turn, to its end; returns its status."""
        words = [{"type": "text", "text": "go on"}]
        await self._ask("turn/start", threadId=thread_id, input=words)
        with trio.fail_after(TURN_PATIENCE):
            while True:
                message = await self._receive()
                if message.get("method") == "turn/completed":
                    status: str = message["params"]["turn"]["status"]
                    return status

    async def _ask(self, method: str, **params: Any) -> Any:
        self._requests += 1
        await self._send({"id": self._requests, "method": method, "params": params})
        with trio.fail_after(TURN_PATIENCE):
            while True:
                message = await self._receive()
                if message.get("id") == self._requests and "method" not in message:
                    return message["result"]

    async def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(json.dumps(message).encode() + b"\n")

    async def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while b"\n" not in self._received:
            data = await self.process.stdout.receive_some()
            assert data, "the app server has ended"
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message
