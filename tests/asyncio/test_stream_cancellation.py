"""`RelayStream`, cancelled in asyncio's own ways. tests/adapters has the rest."""

import asyncio

import pytest

from asyncio_net import Idle, Relay

pytestmark = pytest.mark.asyncio(loop_factories=["virtual"])


async def test_a_timeout_bounds_aclose(relay: Relay) -> None:
    await relay.start_executor(Idle())
    async with relay.harness() as harness:
        stream = await harness.open_stream()
        await stream.send(b"not taken")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await stream.aclose()
        assert stream.ended is not None
