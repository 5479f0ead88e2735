"""Rows about many things at once."""

from collections.abc import Iterator
from typing import Any

from adapters.table import Relay, behaviour

STREAMS = 1000


async def echo(stream: Any) -> None:
    async for message in stream:
        await stream.send(message)


@behaviour(steps=[True, (0, 0), (1, 1)])
def a_thousand_streams_share_a_link(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(handler=echo), relay.harness()
    received: dict[int, bytes] = {}

    async def talk(number: int) -> None:
        async with await harness.raw.open_stream() as stream:
            await stream.send(b"%d" % number)
            received[number] = await stream.receive()

    async def talk_on_all() -> None:
        await harness.loop.gather(*[lambda i=i: talk(i) for i in range(STREAMS)])

    harness.loop.run(talk_on_all)
    yield received == {i: b"%d" % i for i in range(STREAMS)}
    yield harness.streams_live, executor.wait_for_streams(0)
    yield harness.links_opened, executor.links_opened
