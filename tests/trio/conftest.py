"""Fixtures for the trio adapter's tests."""

import pytest_trio  # type: ignore[import-untyped]

import trio
from trio_net import Relay


@pytest_trio.trio_fixture  # type: ignore[untyped-decorator]
async def relay(nursery: trio.Nursery) -> Relay:
    """A relay in memory whose server is up, without executor and harness."""
    relay = Relay(nursery)
    await relay.start()
    return relay
