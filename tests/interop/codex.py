"""Starts real Codex binaries, as executor and as harness, in a place that they can't leave."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

import trio
from apps_kit import Place, rendezvous, run
from interop.capture import RecordingProxy, recording
from interop.fake_model import FakeModel

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sansrelay"
TURN_PATIENCE = 90.0
"""Seconds that a whole run of a Codex harness may take before a test fails."""

EXEC = ("exec", "--skip-git-repo-check")

_CONFIG = """
model = "fake-model"
model_provider = "fake"
approval_policy = "never"
sandbox_mode = "{sandbox}"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
apps = false
plugins = false
[model_providers.fake]
name = "fake"
base_url = "http://127.0.0.1:{port}/v1"
wire_api = "responses"
requires_openai_auth = false
request_max_retries = 0
stream_max_retries = 0
"""


def binary(version: str) -> Path:
    """Where `tools/fetch_codex.sh` puts a version."""
    return CACHE / f"codex-{version}" / "codex"


def needs(*versions: str) -> pytest.MarkDecorator:
    """Skips a test, and says so loudly, where binaries could not be fetched."""
    missing = [str(binary(version)) for version in versions if not binary(version).exists()]
    return pytest.mark.skipif(
        bool(missing),
        reason=f"NO CODEX BINARY at {', '.join(missing)}: run tools/fetch_codex.sh, which needs "
        "npm's registry",
    )


@dataclass
class Outside:
    """A proxy for everything that is not loopback. It refuses, and remembers who was asked for."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._refuse, listeners)

    async def _refuse(self, stream: trio.SocketStream) -> None:
        async with stream:
            self.asked.append(bytes(await stream.receive_some()).partition(b"\r\n")[0])


@dataclass
class Home:
    """A Codex home with nothing in it to call out for, and a watch that it does not."""

    path: Path
    outside: Outside
    model: FakeModel

    def environment(self, **more: str) -> dict[str, str]:
        proxy = f"http://127.0.0.1:{self.outside.port}"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "CODEX_HOME": str(self.path),
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1",
            **more,
        }

    def log_in(self) -> None:
        """What an executor of 0.133 and later asks for: a login, which it does not check."""
        claims = {
            "email": "nobody@localhost",
            "exp": 4_000_000_000,
            "https://api.openai.com/auth": {
                "chatgpt_plan_type": "pro",
                "chatgpt_account_id": "account",
                "chatgpt_user_id": "user",
            },
        }
        tokens = {
            "id_token": _unsigned(claims),
            "access_token": _unsigned(claims),
            "refresh_token": "refresh",
            "account_id": "account",
        }
        login = {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": tokens,
            "last_refresh": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        (self.path / "auth.json").write_text(json.dumps(login))


def _unsigned(claims: object) -> str:
    parts = [json.dumps({"alg": "none", "typ": "JWT"}).encode(), json.dumps(claims).encode(), b"no"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@asynccontextmanager
async def codex_home(*, sandbox: str = "danger-full-access") -> AsyncGenerator[Home]:
    """A new home. Fails in the end if a Codex in it wanted to reach anything but loopback."""
    # It refuses helper files below /tmp.
    CACHE.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="codex-home-", dir=CACHE))
    try:
        async with trio.open_nursery() as nursery:
            home = Home(path, Outside(), FakeModel())
            await nursery.start(home.outside.serve)
            await nursery.start(home.model.serve)
            (path / "config.toml").write_text(_CONFIG.format(port=home.model.port, sandbox=sandbox))
            yield home
            assert home.outside.asked == []
            nursery.cancel_scope.cancel()
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Executor:
    """A Codex executor and the proxy that it dials through."""

    place: Place
    proxy: RecordingProxy
    version: str
    home: Home
    process: trio.Process

    async def restart(self) -> None:
        """Kill it, and start another under the same id."""
        await _kill(self.process)
        self.process = await _start_executor(self.version, self.home, self.proxy, self.place)


@asynccontextmanager
async def codex_executor(version: str, place: Place | None = None) -> AsyncGenerator[Executor]:
    """A real Codex as executor, at a rendezvous of ours, by default one of its own."""
    if place is None:
        async with rendezvous() as place, codex_executor(version, place) as executor:
            yield executor
        return
    async with codex_home() as home, recording(place.port) as proxy:
        home.log_in()
        process = await _start_executor(version, home, proxy, place)
        executor = Executor(place, proxy, version, home, process)
        try:
            yield executor
        finally:
            await _kill(executor.process)


def executor_command(version: str, registry: str, executor_id: str) -> list[str]:
    """How an executor is started."""
    id_option = "--executor-id" if version == "0.131.0" else "--environment-id"
    program = str(binary(version).resolve())
    return [program, "exec-server", "--remote", registry, id_option, executor_id]


async def _start_executor(
    version: str, home: Home, proxy: RecordingProxy, place: Place
) -> trio.Process:
    return await trio.lowlevel.open_process(
        executor_command(version, f"http://127.0.0.1:{proxy.port}", place.executor_id),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=home.environment(CODEX_EXEC_SERVER_REMOTE_BEARER_TOKEN="codex"),
    )


async def _kill(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        process.kill()
        await process.wait()


@dataclass
class Harness:
    """A Codex harness to be: its home, its model, and the proxy that it dials through."""

    version: str
    home: Home
    proxy: RecordingProxy
    url: str

    @property
    def model(self) -> FakeModel:
        return self.home.model

    def environment(self) -> dict[str, str]:
        return self.home.environment(CODEX_EXEC_SERVER_URL=self.url)

    async def exec(self, cwd: Path) -> str:
        """`codex exec`, to its end; returns the model's last message."""
        async with self.started(*EXEC, "-C", str(cwd), "go on") as process:
            assert process.stdout is not None
            with trio.fail_after(TURN_PATIENCE):
                printed = b"".join([chunk async for chunk in process.stdout])
                assert await process.wait() == 0, printed
        return printed.decode().rstrip("\n")

    @asynccontextmanager
    async def started(
        self, *arguments: str, stdin: int = subprocess.DEVNULL
    ) -> AsyncGenerator[trio.Process]:
        """A Codex command that runs until the end of the block."""
        process = await trio.lowlevel.open_process(
            [str(binary(self.version).resolve()), *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            env=self.environment(),
            cwd=self.home.path,
        )
        try:
            yield process
        finally:
            await _kill(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()


@asynccontextmanager
async def codex_harness(
    version: str, place: Place, *, sandbox: str = "danger-full-access"
) -> AsyncGenerator[Harness]:
    """A real Codex as harness of a rendezvous, with a model that says what the test wants."""
    async with codex_home(sandbox=sandbox) as home, recording(place.port) as proxy:
        registry = f"http://127.0.0.1:{proxy.port}"
        answer = await run("url", "--registry", registry, "--id", place.executor_id)
        assert answer.status == 0, answer.err
        yield Harness(version, home, proxy, answer.out.decode().strip())
