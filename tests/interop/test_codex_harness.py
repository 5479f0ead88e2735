"""A real Codex as harness at our rendezvous, with an executor of ours or a real one."""

import json
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import trio
from apps_kit import Place, rendezvous
from interop.app_server import AppServer
from interop.capture import Captured, RecordingProxy
from interop.codex import EXEC, TURN_PATIENCE, codex_executor, codex_harness, needs
from interop.fake_model import message, shell, write
from interop.ours import our_executor
from sansrelay.frames import DataFrame, Frame, ResumeFrame

OURS = "ours"

pytestmark = [pytest.mark.trio, pytest.mark.interop]

EITHER_EXECUTOR = pytest.mark.parametrize(
    ("version", "executor"),
    [
        pytest.param("0.133.0", OURS, marks=needs("0.133.0")),
        pytest.param("0.133.0", "0.133.0", marks=needs("0.133.0")),
    ],
)

PATCH = """apply_patch <<'EOF'
*** Begin Patch
*** Add File: new.txt
+pear
*** Update File: old.txt
@@
-one
+uno
 two
*** End Patch
EOF
"""


@asynccontextmanager
async def _executor(which: str, place: Place) -> AsyncGenerator[RecordingProxy]:
    if which == OURS:
        async with our_executor(place) as proxy:
            yield proxy
    else:
        async with codex_executor(which, place) as codex:
            await codex.proxy.until(lambda: codex.proxy.websockets > 0)
            yield codex.proxy


def _workplace(folder: Path) -> Path:
    """A directory with what a Codex looks for when it begins."""
    skill = folder / ".agents/skills/fishing"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: fishing\ndescription: how to fish\n---\nslowly\n")
    (folder / "AGENTS.md").write_text("never catch a tuna")
    (folder / "old.txt").write_text("one\ntwo\n")
    return folder


def _stream_of(proxy: RecordingProxy) -> str:
    """The one stream of a harness. It opens it as a Codex does."""
    (stream_id,) = {frame.stream_id for frame in proxy.from_client()}
    assert proxy.from_client()[0] == ResumeFrame(stream_id, 0, 0, 0)
    return stream_id


def _check_routed(harness: RecordingProxy, executor: RecordingProxy) -> None:
    """That frames were passed on as they were, all of them, in order, and nothing else."""
    stream_id = _stream_of(harness)

    def wires(captured: Sequence[Captured], *, to_client: bool) -> list[bytes]:
        return [
            each.wire
            for each in captured
            if each.to_client == to_client and each.frame.stream_id == stream_id
        ]

    sent = wires(harness.captured, to_client=False)
    # After the last comes the reset that tells that the harness has gone.
    assert wires(executor.captured, to_client=True)[:-1] == sent
    received = wires(harness.captured, to_client=True)
    # What is said to a harness that has left reaches nobody.
    assert wires(executor.captured, to_client=False)[: len(received)] == received


def _messages(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    return [json.loads(frame.payload) for frame in frames if isinstance(frame, DataFrame)]


@pytest.mark.parametrize(
    ("version", "executor"),
    [
        pytest.param("0.133.0", OURS, marks=needs("0.133.0")),
        pytest.param("0.136.0", OURS, marks=needs("0.136.0")),
        pytest.param("0.133.0", "0.133.0", marks=needs("0.133.0")),
        pytest.param("0.136.0", "0.131.0", marks=needs("0.131.0", "0.136.0")),
        pytest.param("0.133.0", "0.136.0", marks=needs("0.133.0", "0.136.0")),
    ],
)
async def test_a_turn(version: str, executor: str, tmp_path: Path) -> None:
    place_of_work = _workplace(tmp_path)
    async with (
        rendezvous() as place,
        _executor(executor, place) as executor_proxy,
        codex_harness(version, place) as harness,
    ):
        harness.model.will_say(
            shell("echo begun; pwd; exit 3", call_id="1"),
            shell("seq 1 100000 | tail -1", call_id="2"),
            shell("read line; echo got $line", call_id="3", wait_ms=250, tty=True),
            write("this\n", call_id="4"),
            shell(PATCH, call_id="5"),
            message("all done"),
        )
        assert await harness.exec(place_of_work) == "all done"
        plain, long, _, typed, _ = harness.model.outputs()
        assert "Process exited with code 3" in plain
        assert plain.endswith(f"begun\n{tmp_path}\n")
        assert long.endswith("\n100000\n")
        assert typed.endswith("got this\r\n")
        assert (tmp_path / "new.txt").read_text() == "pear\n"
        assert (tmp_path / "old.txt").read_text() == "uno\ntwo\n"
        # Instructions and skills are looked for, and read, on the executor's machine.
        first = json.dumps(harness.model.requests[0])
        assert "never catch a tuna" in first
        assert "how to fish" in first

        reset = await executor_proxy.until_reset(_stream_of(harness.proxy))
        assert reset.reason == "harness_disconnected"
        harness.proxy.check_client()
        executor_proxy.check_client()
        _check_routed(harness.proxy, executor_proxy)


@EITHER_EXECUTOR
async def test_several_turns_on_one_stream(version: str, executor: str, tmp_path: Path) -> None:
    place_of_work = _workplace(tmp_path)
    async with (
        rendezvous() as place,
        _executor(executor, place) as executor_proxy,
        codex_harness(version, place) as harness,
        harness.started("app-server", stdin=subprocess.PIPE) as process,
    ):
        server = AppServer(process)
        thread_id = await server.start_thread(place_of_work)
        for number in range(3):
            harness.model.will_say(
                shell(f"echo {number} >> ran; cat ran", call_id=f"{number}"), message("done")
            )
            assert await server.turn(thread_id) == "completed"
            expected = "".join(f"{n}\n" for n in range(number + 1))
            assert harness.model.outputs()[-1].endswith(f"\n{expected}")
        methods = [each["method"] for each in _messages(harness.proxy.from_client())]
        assert methods.count("initialize") == 1
        assert methods.count("process/start") == 3
        assert {"fs/getMetadata", "fs/readFile", "fs/readDirectory"} <= set(methods)
        refused = [
            each["error"]
            for each in _messages(harness.proxy.to_client())
            if "error" in each and each["error"]["code"] != -32004
        ]
        # It asks for files below a file, too.
        assert {(each["code"], each["message"]) for each in refused} == {
            (-32603, "Not a directory (os error 20)")
        }
        harness.proxy.check_client()
        executor_proxy.check_client()
        _stream_of(harness.proxy)


@EITHER_EXECUTOR
@pytest.mark.parametrize("whose", ["harness", "executor"])
async def test_a_cut_is_told_to_the_model_and_runs_nothing_twice(
    version: str, executor: str, whose: str, tmp_path: Path
) -> None:
    async with (
        rendezvous() as place,
        _executor(executor, place) as executor_proxy,
        codex_harness(version, place) as harness,
    ):
        harness.model.will_say(
            shell("echo once >> ran; echo begun; exec sleep 600", call_id="1"),
            shell("echo again >> ran", call_id="2"),
            message("done"),
        )
        async with harness.started(*EXEC, "-C", str(tmp_path), "go on") as process:
            await harness.proxy.until(
                lambda: any(
                    each.get("method") == "process/output"
                    for each in _messages(harness.proxy.to_client())
                )
            )
            before = len(executor_proxy.to_client())
            websockets = executor_proxy.websockets
            (harness.proxy if whose == "harness" else executor_proxy).cut()
            with trio.fail_after(TURN_PATIENCE):
                assert await process.wait() == 0
        # It opens no other stream.
        assert ["disconnected" in told for told in harness.model.outputs()] == [True, True]
        if whose == "harness":
            reset = await executor_proxy.until_reset(_stream_of(harness.proxy))
            assert reset.reason == "harness_disconnected"
        else:
            reset = await harness.proxy.until_reset(_stream_of(harness.proxy))
            assert reset.reason == "executor_unavailable"
            # It dials again by itself, and hears nothing of what was.
            await executor_proxy.until(lambda: executor_proxy.websockets > websockets)
            harness.model.will_say(shell("cat ran", call_id="3"), message("done"))
            await harness.exec(tmp_path)
            assert harness.model.outputs()[-1].endswith("\nonce\n")
            news = {frame.stream_id for frame in executor_proxy.to_client()[before:]}
            assert reset.stream_id not in news
        assert (tmp_path / "ran").read_text() == "once\n"
        harness.proxy.check_client()
        executor_proxy.check_client()


@needs("0.133.0")
async def test_a_sandbox_is_a_program_on_the_machine_of_the_harness(tmp_path: Path) -> None:
    async with rendezvous() as place, our_executor(place) as executor_proxy:
        async with codex_harness("0.133.0", place, sandbox="workspace-write") as harness:
            harness.model.will_say(shell("echo hello", call_id="1"), message("done"))
            await harness.exec(tmp_path)
        (start,) = [
            each["params"]["argv"]
            for each in _messages(executor_proxy.to_client())
            if each["method"] == "process/start"
        ]
        assert Path(start[0]).is_relative_to(harness.home.path)
        assert Path(start[0]).name == "codex-linux-sandbox"
