"""The parts of the exec-server that do no I/O."""

import os
from typing import Any

import pytest
import trio.testing

import trio
from sansrelay_apps.execserver import ExecServerConfig
from sansrelay_apps.execserver.environment import build_environment
from sansrelay_apps.execserver.protocol import (
    EnvPolicy,
    Inherit,
    OutputChunk,
    OutputStream,
    RpcFailure,
    parse_path,
)
from sansrelay_apps.execserver.streams import RetainedOutput


def output_chunk(seq: int, size: int) -> OutputChunk:
    return OutputChunk(seq=seq, stream=OutputStream.STDOUT, chunk=bytes(size))


def seqs_of(output: RetainedOutput, after_seq: int = 0, **limits: Any) -> list[int]:
    return [chunk.seq for chunk in output.read(after_seq, limits.pop("max_bytes", None), **limits)]


def test_output_that_is_not_settled_is_kept_beyond_the_limit() -> None:
    output = RetainedOutput(limit=1000)
    for seq in range(1, 6):
        output.add(output_chunk(seq, 900))
    assert seqs_of(output) == [1, 2, 3, 4, 5]
    output.settle_up_to(3)
    assert seqs_of(output) == [4, 5]
    assert not output.is_settled
    output.settle_up_to(5)
    assert output.read(0, None) == ()
    assert output.is_settled
    assert not output.has_after(0)


def test_settled_output_goes_in_the_order_in_which_it_was_settled() -> None:
    output = RetainedOutput(limit=3 * (256 + 100))
    for seq in range(1, 4):
        output.add(output_chunk(seq, 100))
    for seq in (3, 2, 3, 9):  # 3 again and one that never was: harmless
        output.settle(seq)
    assert seqs_of(output) == [1, 2, 3]
    output.add(output_chunk(4, 100))
    assert seqs_of(output) == [1, 2, 4]
    output.add(output_chunk(5, 100))
    assert seqs_of(output) == [1, 4, 5]
    output.add(output_chunk(6, 100))
    assert seqs_of(output) == [1, 4, 5, 6]
    output.settle_up_to(4)
    assert seqs_of(output) == [4, 5, 6]
    assert output.has_after(5)
    assert not output.has_after(6)


def test_reading_is_bounded_by_bytes_and_by_cost() -> None:
    output = RetainedOutput(limit=1_000_000)
    for seq in range(1, 6):
        output.add(output_chunk(seq, 100))
    assert seqs_of(output, 1) == [2, 3, 4, 5]
    assert seqs_of(output, 1, max_bytes=200) == [2, 3]
    assert seqs_of(output, 1, max_bytes=0) == [2]
    assert seqs_of(output, 1, max_cost=3 * 356) == [2, 3, 4]
    assert seqs_of(output, 1, max_cost=0) == [2]


@pytest.mark.trio
async def test_room_comes_with_what_is_settled() -> None:
    output = RetainedOutput(limit=1000)
    output.add(output_chunk(1, 743))
    with trio.fail_after(0):
        await output.wait_for_room()
    output.add(output_chunk(2, 0))
    with trio.move_on_after(0) as scope:
        await output.wait_for_room()
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.wait_for_room)
        await trio.testing.wait_all_tasks_blocked()
        output.settle(2)


def test_small_chunks_count_for_more_than_their_bytes() -> None:
    output = RetainedOutput(limit=100_000)
    for seq in range(1, 2001):
        output.add(output_chunk(seq, 1))
        output.settle(seq)
    assert len(output.read(0, None)) < 500


OWN = {"PATH": "/bin", "HOME": "/h", "API_KEY": "k", "secret_x": "s", "MyToken": "t", "X[1]": "b"}


def test_the_executors_own_token_is_never_inherited() -> None:
    own = {"SANSRELAY_TOKEN": "secret", "OTHER_TOKEN": "theirs"}
    policy = EnvPolicy(inherit=Inherit.ALL, ignore_default_excludes=True)
    assert build_environment(own, {}, policy) == {"OTHER_TOKEN": "theirs"}
    assert (
        build_environment(own, {"SANSRELAY_TOKEN": "given"}, policy)["SANSRELAY_TOKEN"] == "given"
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, {}),
        (EnvPolicy(inherit=Inherit.NONE), {}),
        (EnvPolicy(inherit=Inherit.CORE), {"PATH", "HOME"}),
        (EnvPolicy(inherit=Inherit.ALL), {"PATH", "HOME", "X[1]"}),
        (EnvPolicy(inherit=Inherit.ALL, ignore_default_excludes=True), set(OWN)),
        (EnvPolicy(inherit=Inherit.ALL, exclude=("p?th", "x[1]")), {"HOME"}),
        (EnvPolicy(inherit=Inherit.ALL, exclude=("at",)), {"PATH", "HOME", "X[1]"}),
        (EnvPolicy(inherit=Inherit.ALL, include_only=("*h", "h*")), {"PATH", "HOME"}),
        (EnvPolicy(inherit=Inherit.NONE, set={"API_KEY": "mine"}), {"API_KEY"}),
        (EnvPolicy(inherit=Inherit.NONE, set={"A": "1", "B": "2"}, include_only=("a",)), {"A"}),
    ],
)
def test_environment_policies(policy: EnvPolicy | None, expected: set[str]) -> None:
    assert build_environment(OWN, {}, policy).keys() == set(expected)
    given = {"HOME": "/mine", "GIVEN_KEY": "g"}
    result = build_environment(OWN, given, policy)
    assert result.keys() == {*expected, *given}
    assert result["HOME"] == "/mine"


def test_what_a_policy_sets_beats_what_is_inherited() -> None:
    policy = EnvPolicy(inherit=Inherit.ALL, exclude=("path",), set={"PATH": "/set", "HOME": "/set"})
    result = build_environment(OWN, {"HOME": "/env"}, policy)
    assert (result["PATH"], result["HOME"]) == ("/set", "/env")


def test_a_uri_may_name_bytes_that_are_no_text() -> None:
    assert os.fsencode(parse_path("file:///tmp/%FF")) == b"/tmp/\xff"
    with pytest.raises(RpcFailure):
        parse_path("file:///tmp/%00")


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"max_processes": 0}, "max_processes must be finite and at least 1"),
        ({"chunk_size": -1}, "chunk_size"),
        ({"kill_grace": -0.1}, "kill_grace must be finite and at least 0"),
        ({"drain_grace": float("inf")}, "drain_grace"),
        ({"closed_retention": float("nan")}, "closed_retention"),
        ({"retain_bytes": -1}, "retain_bytes"),
        ({"detached_retention": float("inf")}, "detached_retention"),
        ({"max_detached_sessions": -1}, "max_detached_sessions must be finite and at least 0"),
        ({"max_waiting_writes": 0}, "max_waiting_writes"),
    ],
)
def test_limits_that_make_no_sense(limits: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ExecServerConfig(**limits)
