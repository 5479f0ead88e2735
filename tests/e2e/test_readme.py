"""The README's examples run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trio
from apps_kit import PATIENCE, Place, environment, rendezvous

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
EXECUTOR, HARNESS, EMBEDDING = EXAMPLES


def test_the_examples_are_as_short_as_they_are_said_to_be() -> None:
    counts = [len([line for line in text.splitlines() if line.strip()]) for text in EXAMPLES]
    assert counts[0] <= 15
    assert counts[1] <= 15
    assert counts[2] <= 23


def test_the_state_machine_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDING], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert "executor DataReceived(stream_id='stream-1', data=b'hello')" in done.stdout
    assert "harness StreamOpened" in done.stdout


@pytest.mark.trio
async def test_harness_and_executor() -> None:
    async with rendezvous() as place:
        shout = await trio.lowlevel.open_process(
            [sys.executable, "-c", _at(place, EXECUTOR)], env=environment()
        )
        try:
            with trio.fail_after(PATIENCE):
                while True:
                    done = await trio.run_process(
                        [sys.executable, "-c", _at(place, HARNESS)],
                        capture_stdout=True,
                        capture_stderr=True,
                        check=False,
                    )
                    # The executor takes a moment to attach; until then its id has nobody.
                    if b"executor_unavailable" not in done.stderr:
                        break
            assert (done.returncode, done.stdout) == (0, b"b'HELLO'\n"), done.stderr.decode()
        finally:
            shout.kill()
            with trio.CancelScope(shield=True):
                await shout.wait()


def _at(place: Place, example: str) -> str:
    assert "http://127.0.0.1:8700" in example
    return example.replace("http://127.0.0.1:8700", place.url)
