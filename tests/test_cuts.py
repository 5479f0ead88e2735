"""Every cut there is: after any frame of an exchange, on either side or on both, once and twice.

The process behind a link may die with it. When a stream has ended, both sides have to know why, and
of their messages all that the frames allow them to know.

A failure names its cuts; `run_script(LONG, Cut(side=..., after=...))` runs it again. The other
scripts have a `config` as well: see `config_of`.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest

from cut_net import CONFIG, Cut, Net, Notice, Script, Side, Talk, run_script
from sansrelay import RelayConfig, Role

EITHER_SIDE = [Side.HARNESS, Side.EXECUTOR]
NARROW = replace(CONFIG, send_window_segments=3, opening_window_segments=3)
"""Windows that a short exchange fills."""


def messages(name: bytes, number: int) -> list[bytes]:
    return [b"%s %d" % (name, n) for n in range(number)]


LONG: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(19)]),
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
        turns=[
            ([b"begin"], []),
            (
                [*messages(b"more", 4), bytes(2000), *messages(b"even more", 9)],
                [*messages(b"result", 8), bytes(2000), b"done"],
            ),
        ],
        cancel_after=6,
    ),
}
SHORT: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(3)]),
    "large": Talk(turns=[([bytes(250)], [bytes(range(250))])], closer=Role.EXECUTOR),
    "given up": Talk(
        turns=[
            ([b"go"], [b"on"]),
            ([bytes(800), b"the rest"], [b"result", bytes(700), b"done"]),
        ],
        cancel_after=2,
    ),
}
SHORTER: Script = {
    "turns": Talk(turns=[([b"ask %d" % n], [b"answer %d" % n]) for n in range(2)]),
    "large": Talk(turns=[([bytes(250)], [b"thanks"])], closer=Role.EXECUTOR),
}


def config_of(script: Script) -> RelayConfig:
    return CONFIG if script is LONG else NARROW


def cuts_in(script: Script, side: Side) -> range:
    """Every place for a cut: before the first frame, after it, and so on up to the last."""
    return range(run_script(script, config=config_of(script)).frames(side) + 1)


def every_cut(
    script: Script, side: Side, notice: Notice = Notice.AT_ONCE, *, dies: bool = False
) -> Iterator[Net]:
    """A run for each place."""
    for after in cuts_in(script, side):
        cut = Cut(side=side, after=after, notice=notice, dies=dies)
        net = run_script(script, cut, config=config_of(script))
        assert [frames[side] for frames in net.frames_at_cuts] == [after]
        yield net


def half_sent(net: Net) -> set[Role]:
    """The sides at which a stream has ended with a message of which only a part had left."""
    return {
        app.role
        for app in (net.harness, net.executor)
        for sid in app.ended
        if app.ledgers[sid].half_sent
    }


@pytest.mark.parametrize(
    ("script", "side", "least"),
    [
        (LONG, Side.HARNESS, 200),
        (LONG, Side.EXECUTOR, 200),
        (SHORT, Side.HARNESS, 32),
        (SHORT, Side.EXECUTOR, 32),
        (SHORTER, Side.BOTH, 30),
    ],
)
def test_the_scripts_have_the_size_they_should(script: Script, side: Side, least: int) -> None:
    net = run_script(script, config=config_of(script))
    assert least <= net.frames(side) <= least + 10
    assert not any(net.may_end_early.values())
    for app in (net.harness, net.executor):
        assert app.ended.keys() == script.keys()
        assert app.conn.stats().segments_retransmitted == 0


@pytest.mark.parametrize(
    ("side", "least"), [(Side.HARNESS, 201), (Side.EXECUTOR, 201), (Side.BOTH, 401)]
)
def test_a_cut_after_every_frame_of_a_long_exchange(side: Side, least: int) -> None:
    halves = [half_sent(net) for net in every_cut(LONG, side)]
    assert len(halves) >= least
    for role in Role:
        assert sum(role in half for half in halves) >= least // 2


@pytest.mark.parametrize(
    ("side", "survivor"), [(Side.HARNESS, Role.EXECUTOR), (Side.EXECUTOR, Role.HARNESS)]
)
def test_a_process_that_dies_after_every_frame_of_a_long_exchange(
    side: Side, survivor: Role
) -> None:
    halves = [half_sent(net) for net in every_cut(LONG, side, dies=True)]
    assert len(halves) >= 201
    assert sum(survivor in half for half in halves) >= 100


@pytest.mark.parametrize("notice", Notice)
@pytest.mark.parametrize("side", Side)
def test_a_cut_after_every_frame_whoever_notices_it(side: Side, notice: Notice) -> None:
    halves = [half_sent(net) for net in every_cut(SHORT, side, notice)]
    assert len(halves) >= (33 if side in EITHER_SIDE else 65)
    for role in Role:
        assert sum(role in half for half in halves) >= 20


@pytest.mark.parametrize("notice", [Notice.AT_ONCE, Notice.RENDEZVOUS_LATE])
@pytest.mark.parametrize("side", EITHER_SIDE)
def test_a_process_that_dies_after_every_frame_whoever_notices_it(
    side: Side, notice: Notice
) -> None:
    assert sum(1 for _ in every_cut(SHORT, side, notice, dies=True)) >= 33


@pytest.mark.parametrize(
    ("script", "first_side", "second_side", "dies", "least"),
    [
        (SHORT, Side.HARNESS, Side.HARNESS, False, 500),
        (SHORT, Side.HARNESS, Side.EXECUTOR, False, 600),
        (SHORT, Side.EXECUTOR, Side.HARNESS, False, 500),
        (SHORT, Side.EXECUTOR, Side.EXECUTOR, False, 400),
        (SHORT, Side.HARNESS, Side.EXECUTOR, True, 600),
        (SHORT, Side.EXECUTOR, Side.HARNESS, True, 500),
        (SHORTER, Side.BOTH, Side.BOTH, False, 600),
        (SHORTER, Side.RENDEZVOUS, Side.RENDEZVOUS, False, 800),
    ],
)
def test_a_cut_after_every_pair_of_frames(
    script: Script, first_side: Side, second_side: Side, dies: bool, least: int
) -> None:
    pairs = 0
    config = config_of(script)
    for after in cuts_in(script, first_side):
        first = Cut(side=first_side, after=after)
        at_first = run_script(script, first, config=config).frames_at_cuts[0][second_side]
        for after_that in count(at_first):
            second = Cut(side=second_side, after=after_that, dies=dies)
            net = run_script(script, first, second, config=config)
            if len(net.frames_at_cuts) < 2:
                break  # the script was over before
            assert net.frames_at_cuts[1][second_side] == after_that
            pairs += 1
    assert pairs >= least
