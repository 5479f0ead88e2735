"""`RelayStream` and checkpoints: what holds for trio alone. tests/adapters has the rest."""

import pytest
import trio.testing

import trio
from trio_net import Relay, echo

pytestmark = pytest.mark.trio


async def test_every_operation_is_a_checkpoint(relay: Relay) -> None:
    await relay.start_executor(echo)
    async with relay.harness() as harness:
        with trio.testing.assert_checkpoints():
            stream = await harness.open_stream()
        with trio.testing.assert_checkpoints():
            await stream.send(b"x")
        await trio.testing.wait_all_tasks_blocked()
        with trio.testing.assert_checkpoints():
            await stream.receive()
        with trio.testing.assert_checkpoints():
            await stream.wait_opened()
        with trio.testing.assert_checkpoints():
            await stream.aclose()
        with trio.testing.assert_checkpoints():
            await stream.aclose()
