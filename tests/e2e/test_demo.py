"""The demo, as a newcomer runs it."""

import subprocess

from apps_kit import SANSRELAY, environment


def test_the_demo_checks_out() -> None:
    done = subprocess.run(
        [*SANSRELAY, "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "Nothing lost, nothing run twice."
    assert sum("CUT:" in line for line in lines) == 2
    assert "\x1b" not in done.stdout
    figures = {
        line.split("│")[1].strip(): line.split("│")[2].strip() for line in lines if "│" in line
    }
    assert figures["bytes of output, checked by SHA-256"] == "46,888,896"
    assert figures["commands that ran twice"] == "0"
    assert int(figures["streams resumed on a new link"]) >= 2
