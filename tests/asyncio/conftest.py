"""Loops and fixtures for the asyncio adapter's tests."""

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest
import pytest_asyncio

from asyncio_net import Relay, VirtualTimeLoop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories() -> Mapping[str, LoopFactory]:
    """A module names those it runs on in its `asyncio` mark."""
    factories: dict[str, LoopFactory] = {
        "virtual": VirtualTimeLoop,
        "plain": asyncio.new_event_loop,
    }
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest_asyncio.fixture
async def complaints() -> AsyncGenerator[list[dict[str, Any]]]:
    """What the loop complains about, such as exceptions never retrieved: nothing, in the end."""
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    yield said
    assert said == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest_asyncio.fixture
async def relay(complaints: list[dict[str, Any]]) -> AsyncGenerator[Relay]:
    """A relay in this process whose server is up, without executor and harness."""
    relay = Relay()
    await relay.start_server()
    yield relay
    await relay.stop()
