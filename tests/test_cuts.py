"""Every cut there is: after any frame of an exchange, on either side or on both, once and twice.

A failure names its cuts; `run_script(LONG, Cut(side=..., after=...))` runs it again.
"""

from itertools import count, product

import pytest

from cut_net import Cut, Notice, Script, Side, Talk, run_script
from sansrelay import Role

EITHER_SIDE = [Side.HARNESS, Side.EXECUTOR]


def messages(name: bytes, number: int) -> list[bytes]:
    return [b"%s %d" % (name, n) for n in range(number)]


LONG: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(18)]),
    "bulk": Talk(turns=[(messages(b"up", 24), []), ([], messages(b"down", 24))]),
    "large": Talk(turns=[([bytes(range(250)) * 10], []), ([], [bytes(range(200)) * 12])]),
    "both at once": Talk(
        turns=[
            (messages(b"left", 10), messages(b"right", 10)),
            (messages(b"left again", 6), messages(b"right again", 6)),
        ],
        closer=Role.EXECUTOR,
    ),
    "given up": Talk(
        turns=[([b"begin"], []), (messages(b"more", 20), messages(b"result", 10))], cancel_after=4
    ),
}
SHORT: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(3)]),
    "large": Talk(turns=[([bytes(250)], [bytes(range(250))])], closer=Role.EXECUTOR),
    "given up": Talk(turns=[(messages(b"more", 2), messages(b"result", 3))], cancel_after=2),
}
SHORTER: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(2)]),
    "large": Talk(turns=[([bytes(250)], [b"thanks"])], closer=Role.EXECUTOR),
}


@pytest.mark.parametrize(
    ("script", "side", "least", "most"),
    [
        (LONG, Side.HARNESS, 190, 210),
        (LONG, Side.EXECUTOR, 190, 210),
        (SHORT, Side.HARNESS, 30, 40),
        (SHORT, Side.EXECUTOR, 30, 40),
        (SHORTER, Side.BOTH, 30, 40),
    ],
)
def test_the_scripts_have_the_size_they_should(
    script: Script, side: Side, least: int, most: int
) -> None:
    net = run_script(script)
    assert least <= net.frames(side) <= most
    assert not net.may_end_early
    for app in (net.harness, net.executor):
        assert app.ended.keys() == script.keys()
        assert app.conn.stats().segments_retransmitted == 0


@pytest.mark.parametrize("side", [Side.HARNESS, Side.EXECUTOR, Side.BOTH])
def test_a_cut_after_every_frame_of_a_long_exchange(side: Side) -> None:
    for after in range(run_script(LONG).frames(side) + 1):
        run_script(LONG, Cut(side=side, after=after))


@pytest.mark.parametrize("notice", Notice)
@pytest.mark.parametrize("side", Side)
def test_a_cut_after_every_frame_whoever_notices_it(side: Side, notice: Notice) -> None:
    for after in range(run_script(SHORT).frames(side) + 1):
        run_script(SHORT, Cut(side=side, after=after, notice=notice))


@pytest.mark.parametrize(
    ("script", "first_side", "second_side"),
    [
        *((SHORT, first, second) for first, second in product(EITHER_SIDE, repeat=2)),
        (SHORTER, Side.BOTH, Side.BOTH),
        (SHORTER, Side.RENDEZVOUS, Side.RENDEZVOUS),
    ],
)
def test_a_cut_after_every_pair_of_frames(
    script: Script, first_side: Side, second_side: Side
) -> None:
    for after in range(run_script(script).frames(first_side) + 1):
        first = Cut(side=first_side, after=after)
        at_first = run_script(script, first).frames_at_cuts[0][second_side]
        for after_that in count(at_first):
            net = run_script(script, first, Cut(side=second_side, after=after_that))
            if len(net.frames_at_cuts) < 2:
                break  # the script was over before
