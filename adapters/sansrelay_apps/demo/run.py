"""The demo itself: starts every part by its own command, cuts two links, counts at the end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from sansrelay_apps.demo.proxy import CuttingProxy
from sansrelay_apps.demo.show import Row, Show

__all__ = ["DemoFailed", "Result", "run_demo"]

LAST_NUMBER = 6_000_000
"""Agent 1 has the executor count this far: 46,888,896 bytes of output, all known beforehand."""
EXECUTOR_CUT_AT = 12_000_000
HARNESS_CUT_AT = 30_000_000
SECONDS = 60.0
"""The whole demo is given up after this long."""
_STOP_SECONDS = 10.0


class DemoFailed(Exception):
    """Something did not check out, or a part would not start. The message says what."""


@dataclass
class Result:
    """What the demo saw."""

    total: int = 0
    digest: str = ""
    expected_digest: str = ""
    status: int | None = None
    small_commands: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    lost_seconds: dict[str, float] = field(default_factory=dict)
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """The closing table."""
        both = [self.stats.get("agent 1", {}), self.stats.get("executor", {})]

        def total(name: str) -> str:
            return f"{sum(stats.get(name, 0) for stats in both):,}"

        return [
            Row("bytes of output, checked by SHA-256", f"{self.total:,}"),
            Row("frames sent by agent 1 and executor", total("frames_sent")),
            Row("segments retransmitted", total("segments_retransmitted")),
            Row("duplicates dropped", total("duplicates_dropped")),
            Row("streams resumed on a new link", total("resumes")),
            *(
                Row(f"time without output, cut of {whose}", f"{seconds:.2f} s")
                for whose, seconds in self.lost_seconds.items()
            ),
            Row("commands run by agent 2 meanwhile", f"{self.small_commands}"),
            Row("commands that ran twice", f"{sum(n > 1 for n in self.runs.values())}"),
        ]


async def run_demo(show: Show) -> Result:
    """Run the whole show. Raises `DemoFailed` if a part won't start or nothing moves on."""
    result = Result()
    with tempfile.TemporaryDirectory(prefix="sansrelay-demo-") as folder:
        with trio.move_on_after(SECONDS) as scope:
            await _Demo(show, result, Path(folder)).run()
        if scope.cancelled_caught:
            raise DemoFailed(f"not done after {SECONDS:.0f} s; {result.total:,} bytes had arrived")
    return result


class _Demo:
    def __init__(self, show: Show, result: Result, folder: Path) -> None:
        self._show = show
        self._result = result
        self._folder = folder
        self._ran = folder / "ran"
        self._done = trio.Event()

    async def run(self) -> None:
        say = self._show.say
        async with trio.open_nursery() as nursery:
            async with self._part("rendezvous", "--dev", "--listen", "127.0.0.1:0") as rendezvous:
                ready = await _first_line(rendezvous, "rendezvous")
                say(f"rendezvous: {ready}")
                port = int(ready.rpartition(":")[2])
                to_executor, to_agent_1, to_agent_2 = [
                    await CuttingProxy(port).start(nursery) for _ in range(3)
                ]
                say("proxies:    3 between them and the rendezvous, which nobody knows of")
                async with self._part(
                    "executor", *_where(to_executor), "--stats", str(self._folder / "executor")
                ) as executor:
                    say(f"executor:   {await _first_line(executor, 'executor')}, by proxy 1")
                    async with trio.open_nursery() as agents:
                        agents.start_soon(self._agent_1, to_executor, to_agent_1)
                        agents.start_soon(self._agent_2, to_agent_2)
            nursery.cancel_scope.cancel()
        self._check()

    async def _agent_1(self, to_executor: CuttingProxy, own: CuttingProxy) -> None:
        say, result = self._show.say, self._result
        command = f"echo big >> {self._ran}; exec seq 1 {LAST_NUMBER}"
        expected, size = _expected()
        result.expected_digest = expected
        say(f"agent 1:    runs `seq 1 {LAST_NUMBER:,}`, {size:,} bytes of output, by proxy 2")
        cuts = [(EXECUTOR_CUT_AT, "the executor", to_executor), (HARNESS_CUT_AT, "agent 1", own)]
        digest = hashlib.sha256()
        pending: tuple[str, float] | None = None
        arguments = ("exec", *_where(own), "--stats", str(self._folder / "agent 1"))
        async with self._part(*arguments, "--", "sh", "-c", command) as agent:
            assert agent.stdout is not None
            async for chunk in agent.stdout:
                digest.update(chunk)
                result.total += len(chunk)
                self._show.progress(result.total, size, result.small_commands)
                if pending is not None:
                    whose, since = pending
                    # What was under way below the proxy still trickles in: the gap ends with more
                    # than a pipe can hold.
                    result.lost_seconds[whose] = max(
                        result.lost_seconds.get(whose, 0.0), trio.current_time() - since
                    )
                    pending = (whose, trio.current_time())
                if cuts and result.total >= cuts[0][0]:
                    _, whose, proxy = cuts.pop(0)
                    ends = proxy.cut()
                    say(f"CUT:        the link of {whose}, {result.total:,} bytes in ({ends} ends)")
                    pending = (whose, trio.current_time())
            result.status = await agent.wait()
        result.digest = digest.hexdigest()
        say(f"agent 1:    {result.total:,} bytes, exit status {result.status}")
        self._done.set()

    async def _agent_2(self, own: CuttingProxy) -> None:
        result = self._result
        while not self._done.is_set():
            number = result.small_commands + 1
            command = f"echo small-{number} >> {self._ran}; echo {number}; exit 3"
            async with self._part("exec", *_where(own), "--", "sh", "-c", command) as agent:
                assert agent.stdout is not None
                output = b"".join([chunk async for chunk in agent.stdout])
                status = await agent.wait()
            if output != b"%d\n" % number or status != 3:
                result.problems.append(f"agent 2, command {number}: {output!r}, status {status}")
            result.small_commands = number
        self._show.say(f"agent 2:    {result.small_commands} commands meanwhile, by proxy 3")

    def _check(self) -> None:
        result = self._result
        if result.status != 0:
            result.problems.append(f"agent 1 ended with status {result.status}")
        if result.digest != result.expected_digest:
            result.problems.append("the output of agent 1 is not what was to come")
        result.runs.update(self._ran.read_text().split())
        wanted = {"big"} | {f"small-{n}" for n in range(1, result.small_commands + 1)}
        for name in sorted(wanted | set(result.runs)):
            if result.runs[name] != (name in wanted):
                result.problems.append(f"command {name} ran {result.runs[name]} times")
        for whose in ("agent 1", "executor"):
            path = self._folder / whose
            if path.exists():
                result.stats[whose] = json.loads(path.read_text())
        resumed = sum(stats.get("resumes", 0) for stats in result.stats.values())
        if not resumed:
            result.problems.append("no stream was resumed: the cuts hit nothing")

    @asynccontextmanager
    async def _part(self, *arguments: str) -> AsyncIterator[trio.Process]:
        """One `sansrelay` command as a process; it is told to stop at the end of the block."""
        environment = {**os.environ, "SANSRELAY_TOKEN": "demo"}
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "sansrelay_apps", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
        )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True):
                await _stop(process)


async def _stop(process: trio.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with trio.move_on_after(_STOP_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


async def _first_line(process: trio.Process, name: str) -> str:
    assert process.stdout is not None
    line = b""
    async for chunk in process.stdout:
        line += chunk
        if b"\n" in line:
            return line.split(b"\n")[0].decode()
    raise DemoFailed(f"the {name} did not start; what it says is above")


def _where(proxy: CuttingProxy) -> tuple[str, ...]:
    return "--registry", f"http://127.0.0.1:{proxy.port}", "--id", "demo"


def _expected() -> tuple[str, int]:
    """SHA-256 and size of what `seq 1 LAST_NUMBER` prints."""
    digest = hashlib.sha256()
    size = 0
    for start in range(1, LAST_NUMBER + 1, 100_000):
        numbers = range(start, min(start + 100_000, LAST_NUMBER + 1))
        block = ("\n".join(map(str, numbers)) + "\n").encode()
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size
