"""The table: what is measured, beside what, and the floor for it."""

from collections.abc import Callable

from sansrelay import ProfilePolicy, Role

from .core import LARGE, SMALL, per_frame_with_streams, per_frame_with_unacknowledged, pump
from .measure import Contestant, Effort, Row
from .memory import asyncio_memory, core_memory, trio_memory
from .peers import aioquic_pump, aioquic_waste, h2_pump, kcp_pump
from .simulated import (
    idle_cost,
    rearm_cost,
    recovery,
    transfer_cost,
    transfer_time,
    transfer_waste,
)

__all__ = ["ROWS"]

_SIZES = {SMALL: "200 B", LARGE: "64 KiB"}
_STREAMS = {1: "1 stream", 64: "64 streams"}

_H2 = (
    "a DATA frame per message, windows of 16 MiB, frames of up to 128 KiB, header checks, "
    "normalization and decoding off"
)
_AIOQUIC = (
    "AES-128-GCM, stream windows of 16 MiB, 64 MiB for the connection, default congestion control"
)
_KCP = (
    "turbo mode (nodelay 1, interval 10, resend 2, no congestion control), windows of 1024 "
    "packets, MTU 1400; a conversation per stream"
)

Make = Callable[..., Callable[[Effort], float]]


def _pumps(
    name: str, make: Make, full: dict[int, int], *, setup: str, needs: tuple[str, ...] = ()
) -> dict[tuple[int, int], Contestant]:
    """A contestant for each message size and number of streams; `full`: messages per sample."""
    return {
        (size, streams): Contestant(
            name=f"{name}, {_SIZES[size]}, {_STREAMS[streams]}",
            sample=make(size, full[size], streams),
            setup=setup,
            needs=needs,
        )
        for size in full
        for streams in _STREAMS
    }


def _jumbo(size: int, messages: int, streams: int) -> Callable[[Effort], float]:
    return aioquic_pump(size, messages, streams, datagram_size=9000)


def _basic(size: int, messages: int, streams: int) -> Callable[[Effort], float]:
    return pump(size, messages, streams, profile=ProfilePolicy.BASIC)


_CORE = _pumps("core", pump, {SMALL: 10_000, LARGE: 512}, setup="default RelayConfig, reliable")
_CORE_BASIC = _pumps("core, basic profile", _basic, {SMALL: 10_000}, setup="profile=basic")
_PEERS = [
    (
        "h2",
        _pumps("h2", h2_pump, {SMALL: 10_000, LARGE: 256}, setup=_H2, needs=("h2",)),
        {(SMALL, 1): 2.0, (SMALL, 64): 2.0, (LARGE, 1): 5.0, (LARGE, 64): 5.0},
    ),
    (
        "aioquic",
        _pumps(
            "aioquic",
            aioquic_pump,
            {SMALL: 10_000, LARGE: 64},
            setup=f"{_AIOQUIC}, datagrams of 1200 B (its default)",
            needs=("aioquic",),
        ),
        {(SMALL, 1): 1.3, (SMALL, 64): 3.0, (LARGE, 1): 80.0, (LARGE, 64): 80.0},
    ),
    (
        "aioquic, jumbo datagrams",
        _pumps(
            "aioquic, jumbo",
            _jumbo,
            {SMALL: 10_000, LARGE: 128},
            setup=f"{_AIOQUIC}, datagrams of 9000 B (no path outside a machine room takes them)",
            needs=("aioquic",),
        ),
        {},
    ),
    (
        "KCP (C)",
        _pumps("KCP", kcp_pump, {SMALL: 50_000, LARGE: 1024}, setup=_KCP, needs=("kcp",)),
        {(LARGE, 1): 0.8, (LARGE, 64): 0.8},
    ),
]


def _beside_peers(number: int, size: int, streams: int) -> list[Row]:
    return [
        Row(
            name=f"{number}. {_SIZES[size]}, {_STREAMS[streams]}: {peer}",
            says=f"messages per CPU second, core / {peer}",
            subject=_CORE[size, streams],
            rival=contestants[size, streams],
            at_least=floors.get((size, streams)),
        )
        for peer, contestants, floors in _PEERS
    ]


_LOSS = 0.05


def _transfer(what: str, make: Make, loss: float, *, exact: bool) -> Contestant:
    return Contestant(
        name=f"core, {what}, {loss:.0%} loss",
        sample=make(loss),
        setup="one stream, 32 MiB as 64 KiB messages, round trip 50 ms, frames lost both ways",
        exact=exact,
    )


def _small_transfer(loss: float) -> Contestant:
    return Contestant(
        name=f"core, time of 200 B, {loss:.0%} loss",
        sample=transfer_time(loss, SMALL, 4_000),
        setup="one stream, 4,000 messages of 200 B, round trip 50 ms, frames lost both ways",
        exact=True,
    )


_WITH_STREAMS = {
    streams: Contestant(
        name=f"core, per frame, {streams:,} streams",
        sample=per_frame_with_streams(streams),
        setup="200 B messages, by turns on all streams",
    )
    for streams in (1, 10, 100, 1_000, 10_000)
}
_WITH_UNACKNOWLEDGED = {
    segments: Contestant(
        name=f"core, per frame, {segments:,} unacknowledged",
        sample=per_frame_with_unacknowledged(segments),
        setup="200 B messages on one stream, windows of 20,000 segments",
    )
    for segments in (1, 10, 100, 1_000, 10_000)
}


def _growth(number: int, contestants: dict[int, Contestant], what: str) -> list[Row]:
    return [
        Row(
            name=f"{number}. cost per frame: {count:,} {what}",
            says=f"CPU time per frame, {count:,} {what} / 1",
            subject=contestants[1],
            rival=contestants[count],
            at_most=1.5,
        )
        for count in contestants
        if count > 1
    ]


def _memory(what: str, sample: Callable[[Effort], float], most: float) -> Row:
    return Row(
        name=f"7. idle stream: {what}",
        says="memory of one idle open stream at one end, by tracemalloc",
        subject=Contestant(
            name=f"memory, {what}", sample=sample, exact=True, setup="1,000 streams", most_rounds=1
        ),
        unit="B",
        at_most=most,
    )


ROWS = [
    *_beside_peers(1, SMALL, 1),
    *_beside_peers(2, SMALL, 64),
    *_beside_peers(3, LARGE, 1),
    *_beside_peers(3, LARGE, 64),
    *[
        Row(
            name=f"4. {_SIZES[size]}: 64 streams",
            says="messages per CPU second, 64 streams / 1 stream",
            subject=_CORE[size, 64],
            rival=_CORE[size, 1],
            at_least=0.8,
        )
        for size in _SIZES
    ],
    Row(
        name="5. 5 % loss: waste",
        says="bytes on the wire, both ways, per byte of payload",
        subject=_transfer("waste", transfer_waste, _LOSS, exact=True),
        at_most=1.10,
    ),
    Row(
        name="5. 5 % loss: waste of aioquic",
        says="the same for aioquic, 2 MiB at 1 ms",
        subject=Contestant(
            name="aioquic, waste, 5% loss",
            sample=aioquic_waste(_LOSS),
            setup=_AIOQUIC,
            needs=("aioquic",),
            exact=True,
        ),
    ),
    Row(
        name="5. 5 % loss: goodput",
        says="messages per simulated second, with loss / without",
        subject=_transfer("time", transfer_time, _LOSS, exact=True),
        rival=_transfer("time", transfer_time, 0.0, exact=True),
        at_least=0.6,
    ),
    Row(
        name="5. 5 % loss: goodput of 200 B",
        says="the same with 4,000 messages of 200 B: a window of many segments",
        subject=_small_transfer(_LOSS),
        rival=_small_transfer(0.0),
        at_least=0.6,
    ),
    Row(
        name="5. 5 % loss: CPU",
        says="messages per CPU second, with loss / without, the simulated link included",
        subject=_transfer("cost", transfer_cost, _LOSS, exact=False),
        rival=_transfer("cost", transfer_cost, 0.0, exact=False),
        at_least=0.6,
    ),
    *[
        Row(
            name=f"6. reliable against basic: {_STREAMS[streams]}",
            says="200 B messages per CPU second, reliable / basic",
            subject=_CORE[SMALL, streams],
            rival=_CORE_BASIC[SMALL, streams],
            at_least=0.7,
        )
        for streams in _STREAMS
    ],
    _memory("core", core_memory(1_000), 1024.0),
    *[
        _memory(f"{loop}, {role.value}", make(role, 1_000), 6 * 1024.0)
        for loop, make in (("trio", trio_memory), ("asyncio", asyncio_memory))
        for role in Role
    ],
    Row(
        name="8. 10,000 idle streams",
        says="CPU time per simulated second and end, heartbeats included",
        subject=Contestant(
            name="core, idle",
            sample=idle_cost(10_000, 10.0),
            setup="default RelayConfig: a heartbeat after 30 s",
            most_rounds=3,
        ),
        unit="ms",
        at_most=5.0,
    ),
    Row(
        name="8. moving a deadline",
        says="CPU time to move a deadline among 10,000, either way",
        subject=Contestant(name="core, deadlines", sample=rearm_cost(10_000, 50_000)),
        unit="us",
        at_most=2.0,
    ),
    *_growth(9, _WITH_STREAMS, "streams"),
    *_growth(9, _WITH_UNACKNOWLEDGED, "unacknowledged"),
    Row(
        name="10. a cut of 1 s",
        says="time lost beyond the second itself, in round trips of 50 ms",
        subject=Contestant(name="core, recovery", sample=recovery, exact=True),
        unit="RTT",
        at_most=3.0,
    ),
]
