"""Rows about links: lost, silent, stuck, slow, replaced, left."""

from collections.abc import Iterator
from typing import Any

from adapters.streams import KIB, MIB
from adapters.table import Relay, behaviour
from sansrelay import ProfilePolicy, RelayConfig, Role
from sansrelay.links import KeepAlive

BASIC = RelayConfig(profile=ProfilePolicy.BASIC)
IMPATIENT = RelayConfig(min_rto=0.05, initial_rto=0.05)
"""Asks soon what became of a frame that was under way when a link was lost."""


@behaviour(
    steps=[("done", b"one"), 1, ("done", b"two"), ("done", b"three"), ("done", "closed, by peer")],
    harness=["opened, reliable", "link lost", "resumed", "message", "ended: closed, by local"],
    executor=["opened, reliable", "message", "ended: closed, by peer"],
)
def a_stream_goes_on_after_the_harness_lost_its_link(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=IMPATIENT)
    yield ours.send(b"one"), theirs.receive()
    yield relay.wires[Role.HARNESS].cut()
    yield ours.send(b"two"), theirs.receive()
    yield theirs.send(b"three"), ours.receive()
    yield ours.aclose(), theirs.wait_ended()


@behaviour(
    steps=[("done", b"one"), 1, ("done", b"two"), ("done", b"three"), ("done", "closed, by peer")],
    harness=["opened, reliable", "message", "ended: closed, by local"],
    executor=[
        "opened, reliable",
        "message",
        "link lost",
        "resumed",
        "message",
        "ended: closed, by peer",
    ],
)
def a_stream_goes_on_after_the_executor_lost_its_link(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair(config=IMPATIENT)
    yield ours.send(b"one"), theirs.receive()
    yield relay.wires[Role.EXECUTOR].cut()
    yield ours.send(b"two"), theirs.receive()
    yield theirs.send(b"three"), ours.receive()
    yield ours.aclose(), theirs.wait_ended()


@behaviour(
    steps=[1, 1, ("done", b"one"), ("done", b"two")],
    harness=["opened, reliable", "link lost", "resumed", "message"],
    executor=["opened, reliable", "link lost", "resumed", "message"],
)
def a_stream_goes_on_after_the_connections_just_ended(relay: Relay) -> Iterator[object]:
    """End of file in place of a TCP reset."""
    ours, theirs = relay.pair()
    for role in Role:
        yield relay.wires[role].cut(reset=False)
    yield ours.send(b"one"), theirs.receive()
    yield theirs.send(b"two"), ours.receive()


@behaviour(steps=[(True, 8), [None, None], ("would wait", "would wait")])
def transfers_go_on_across_cuts(relay: Relay) -> Iterator[object]:
    """Both ways at once, with either link cut in the middle, again and again."""
    ours, theirs = relay.pair(config=IMPATIENT)
    messages = [b"%d " % i + bytes(30 * KIB) for i in range(100)]

    async def send(stream: Any) -> None:
        for message in messages:
            await stream.send(message)

    sending = [
        ours.loop.start(lambda: send(ours.raw)),
        theirs.loop.start(lambda: send(theirs.raw)),
    ]
    cuts, same = 0, True
    for i, message in enumerate(messages):
        same = same and theirs.receive() == message and ours.receive() == message
        if i % 25 == 10:
            ours.end.wait_for_links(1 + i // 25)
            cuts += relay.wires[Role.HARNESS].cut()
        if i % 25 == 20:
            theirs.end.wait_for_links(1 + i // 25)
            cuts += relay.wires[Role.EXECUTOR].cut()
    yield same, cuts
    yield [each.result() for each in sending]
    yield ours.receive_nowait(), theirs.receive_nowait()


@behaviour(
    steps=[("done", b"one"), ("done", b"two"), ("done", b"three")],
    harness=["opened, reliable", "link lost", "resumed", "message"],
    executor=["opened, reliable", "message", "link lost", "resumed", "message"],
)
def a_stream_goes_on_after_the_rendezvous_was_replaced(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield ours.send(b"one"), theirs.receive()
    relay.restart()
    yield ours.send(b"two"), theirs.receive()
    yield theirs.send(b"three"), ours.receive()


@behaviour(
    steps=[("UP", 1), "CONNECTING", ("UP", 2), "done", "DOWN"],
    harness=["link lost"],
    executor=[],
)
def the_link_status_follows(relay: Relay) -> Iterator[object]:
    wire = relay.wires[Role.HARNESS]
    harness = relay.harness()
    yield harness.link, harness.links_opened
    wire.go_down()
    yield harness.wait_for_link("CONNECTING")
    wire.come_up()
    yield harness.wait_for_link("UP"), harness.links_opened
    yield harness.leave()
    yield harness.link


@behaviour(
    steps=[
        "CONNECTING",
        "done",
        ("done", "done", "cancelled, by local, 1 never sent"),
        (b"one", "done"),
        b"two",
    ],
    harness=[
        "link lost",
        "ended: cancelled, by local, 1 never sent",
        "opened, reliable",
        "message",
    ],
    executor=["opened, reliable", "message"],
)
def without_a_link_streams_are_opened_used_and_ended_all_the_same(
    relay: Relay,
) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness()
    relay.wires[Role.HARNESS].go_down()
    yield harness.wait_for_link("CONNECTING")
    ours, given_up = harness.open_stream(), harness.open_stream()
    yield ours.send(b"one")
    yield given_up.send(b"never sent"), given_up.reset(), given_up.wait_ended()
    waiting = ours.later("receive")
    relay.wires[Role.HARNESS].come_up()
    theirs = executor.accept()
    yield theirs.receive(), theirs.send(b"two")
    yield waiting.outcome()


@behaviour(
    steps=["CONNECTING", ("done", "ended: timeout, by local, 1 never sent"), "timeout, by peer"],
    harness=["opened, reliable", "link lost", "ended: timeout, by local, 1 never sent"],
    executor=["opened, reliable", "ended: timeout, by peer"],
)
def a_stream_ends_when_there_is_no_link_for_too_long(relay: Relay) -> Iterator[object]:
    executor = relay.executor()
    harness = relay.harness(config=RelayConfig(resume_timeout=1))
    ours = harness.open_stream()
    ours.wait_opened()
    theirs = executor.accept()
    relay.wires[Role.HARNESS].go_down()
    yield harness.wait_for_link("CONNECTING")
    yield ours.send(b"never sent"), ours.receive()
    relay.wires[Role.HARNESS].come_up()
    yield theirs.wait_ended()


@behaviour(steps=[("done", b"one"), ("done", b"two"), True])
def a_link_on_which_all_gets_lost_is_dropped(relay: Relay) -> Iterator[object]:
    keepalive = KeepAlive(ping_interval=0.05, pong_timeout=0.3)
    executor, harness = relay.executor(), relay.harness(keepalive=keepalive)
    ours = harness.open_stream()
    ours.wait_opened()
    theirs = executor.accept()
    relay.wires[Role.HARNESS].lose()
    yield ours.send(b"one"), theirs.receive()
    yield theirs.send(b"two"), ours.receive()
    yield harness.links_opened >= 2


@behaviour(steps=["done", True, True])
def a_link_that_takes_nothing_is_dropped(relay: Relay) -> Iterator[object]:
    """The window of one stream is enough to notice: the system holds back little of it."""
    executor, harness = relay.executor(), relay.harness(keepalive=KeepAlive(write_timeout=0.3))
    ours = harness.open_stream()
    ours.wait_opened()
    theirs = executor.accept()
    relay.wires[Role.HARNESS].block()
    message = bytes(4 * MIB)
    yield ours.send(message)
    yield theirs.receive() == message
    yield harness.links_opened >= 2


@behaviour(
    steps=[("done", True), ("done", b"back"), [1, 1]],
    harness=["opened, reliable", "message"],
    executor=["opened, reliable", "message"],
)
def a_slow_wire_is_no_dead_one(relay: Relay) -> Iterator[object]:
    """One byte after the other, handshakes included."""
    for wire in relay.wires.values():
        wire.crumble()
    ours, theirs = relay.pair(keepalive=KeepAlive(ping_interval=0.02, pong_timeout=5))
    yield ours.send(b"slowly" * 20), theirs.receive() == b"slowly" * 20
    yield theirs.send(b"back"), ours.receive()
    yield [end.links_opened for end in (ours.end, theirs.end)]


@behaviour(
    steps=[
        "done",
        (b"one", "done", b"two"),
        1,
        "ended: link_lost, by local, 1 unknown",
        "ended: harness_disconnected, by peer, 1 unknown",
    ],
    harness=["opened, basic", "message", "link lost", "ended: link_lost, by local, 1 unknown"],
    executor=["opened, basic", "message", "ended: harness_disconnected, by peer, 1 unknown"],
)
def a_basic_stream_ends_with_its_link(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness(config=BASIC)
    ours = harness.open_stream()
    yield ours.send(b"one")
    theirs = executor.accept()
    yield theirs.receive(), theirs.send(b"two"), ours.receive()
    yield relay.wires[Role.HARNESS].cut()
    yield ours.receive()
    yield theirs.receive()


@behaviour(
    steps=["done", ("closed here", "closed here", "done"), "DOWN", "ended: cancelled, by peer"],
    harness=["opened, reliable", "ended: cancelled, by local", "link lost"],
    executor=["opened, reliable", "ended: cancelled, by peer"],
)
def leaving_a_harness_resets_its_streams(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    waiting = ours.later("receive")
    harness = ours.end
    yield harness.leave()
    yield waiting.outcome(), ours.send(b"x"), ours.aclose()
    yield harness.link
    yield theirs.receive()


@behaviour(
    steps=["cancelled", ("closed here", "closed here"), "ended: cancelled, by peer"],
    harness=["opened, reliable", "ended: cancelled, by local", "link lost"],
    executor=["opened, reliable", "ended: cancelled, by peer"],
)
def cancelling_a_harness_resets_its_streams(relay: Relay) -> Iterator[object]:
    executor, harness = relay.executor(), relay.harness()
    ours = harness.open_stream()
    ours.wait_opened()
    theirs = executor.accept()
    yield harness.cancel()
    yield ours.receive(), harness.open_later().outcome()
    yield theirs.receive()


@behaviour(
    steps=["cancelled", "ended: going_away, by peer", "closed here"],
    harness=["opened, reliable", "ended: going_away, by peer"],
    executor=["opened, reliable", "ended: going_away, by local", "link lost"],
)
def an_executor_that_leaves_says_so(relay: Relay) -> Iterator[object]:
    ours, theirs = relay.pair()
    yield theirs.end.leave()
    yield ours.receive()
    yield theirs.receive()


@behaviour(
    steps=["CONNECTING", "done", "cancelled, by local"],
    harness=["opened, reliable", "link lost", "ended: cancelled, by local"],
    executor=["opened, reliable"],
)
def leaving_takes_no_time_without_a_link(relay: Relay) -> Iterator[object]:
    ours, _ = relay.pair()
    relay.wires[Role.HARNESS].go_down()
    yield ours.end.wait_for_link("CONNECTING")
    yield ours.end.leave()
    yield ours.wait_ended()


@behaviour(
    steps=[("done", b"one"), "done", "ended: unknown_stream, by peer, 1 unknown", ("done", b"two")],
    harness=["opened, reliable", "ended: unknown_stream, by peer, 1 unknown", "opened, reliable"],
    executor=["opened, reliable", "message", "link lost", "opened, reliable", "message"],
)
def another_executor_takes_over(relay: Relay) -> Iterator[object]:
    """It knows nothing of the stream, so it is not handed what the first one may have run."""
    executor, harness = relay.executor(), relay.harness()
    ours = harness.open_stream()
    yield ours.send(b"one"), executor.accept().receive()
    ours.wait_acknowledged(1)
    relay.wires[Role.EXECUTOR].go_down()
    executor.wait_for_link("CONNECTING")
    yield ours.send(b"perhaps lost")
    second = relay.executor(f"{relay.scheme}://localhost:{relay.port}/executor")
    yield ours.receive()
    again = harness.open_stream()
    yield again.send(b"two"), second.accept().receive()


@behaviour(
    steps=[True, True, (None, "would wait")],
    harness=["opened, reliable"],
    executor=["opened, reliable", "message"],
)
def a_slow_reader_holds_back_its_sender(relay: Relay) -> Iterator[object]:
    """The sender gets rid of what both ends buffer, and of the rest once it is read."""
    ours, theirs = relay.pair()
    message = bytes(50_000)
    held = ours.fill(message)
    yield held == RelayConfig().send_buffer_size // len(message)

    async def send() -> None:
        for _ in range(50):
            await ours.raw.send(message)

    sending = ours.loop.start(send)
    yield [theirs.receive() for _ in range(held + 50)] == [message] * (held + 50)
    yield sending.result(), theirs.receive_nowait()


@behaviour(
    steps=["CONNECTING", ("done", "ended: timeout, by local, 1 never sent"), "UP"],
    harness=["link lost", "ended: timeout, by local, 1 never sent"],
)
def a_stream_opened_without_a_link_does_not_wait_for_ever(relay: Relay) -> Iterator[object]:
    harness = relay.harness(config=RelayConfig(resume_timeout=0.2))
    relay.wires[Role.HARNESS].go_down()
    yield harness.wait_for_link("CONNECTING")
    ours = harness.open_stream()
    yield ours.send(b"never sent"), ours.receive()
    relay.wires[Role.HARNESS].come_up()
    yield harness.wait_for_link("UP")
