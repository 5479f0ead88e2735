"""The two adapters offer the same names."""

import inspect

import pytest

import sansrelay_asyncio
import sansrelay_trio

NATIVE = {
    "task_status": "on_started",
    "handler_nursery": "handler_group",
}
"""Arguments that belong to a loop, and their counterparts."""


def test_the_names_are_the_same() -> None:
    assert sansrelay_asyncio.__all__ == sansrelay_trio.__all__


@pytest.mark.parametrize("name", ["open_harness", "serve_executor", "serve_http"])
def test_so_are_the_arguments(name: str) -> None:
    ours = inspect.signature(getattr(sansrelay_asyncio, name)).parameters
    theirs = inspect.signature(getattr(sansrelay_trio, name)).parameters
    assert list(ours) == [NATIVE.get(each, each) for each in theirs]
    for each in theirs.values():
        if each.name not in NATIVE:
            assert ours[each.name].kind is each.kind
            assert ours[each.name].default == each.default


@pytest.mark.parametrize("name", ["Harness", "ServerConnection", "WebSocketConnection"])
def test_so_are_the_methods(name: str) -> None:
    def public(kind: object) -> set[str]:
        return {each for each in dir(kind) if not each.startswith("_")}

    assert public(getattr(sansrelay_asyncio, name)) == public(getattr(sansrelay_trio, name))


def test_streams_have_the_same_methods() -> None:
    ours = {each for each in vars(sansrelay_asyncio.RelayStream) if not each.startswith("_")}
    theirs = {each for each in vars(sansrelay_trio.RelayStream) if not each.startswith("_")}
    assert ours == theirs
