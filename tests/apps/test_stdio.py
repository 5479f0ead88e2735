"""The standard streams, on real descriptors."""

import os
import pty
import socket
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

import trio
from sansrelay_apps.stdio import FdSink, FdSource

pytestmark = pytest.mark.trio


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        try:
            os.close(fd)
        except OSError:
            pass  # the test closed it


# -- the end that is known without reading


@pytest.mark.parametrize(("content", "at_end"), [(b"", True), (b"x", False)])
async def test_a_file_ends_where_nothing_is_left(
    tmp_path: Path, content: bytes, at_end: bool
) -> None:
    path = tmp_path / "input"
    path.write_bytes(content)
    with path.open("rb", buffering=0) as file:
        assert FdSource(file.fileno()).at_end() == at_end
        file.read()
        assert FdSource(file.fileno()).at_end()


@pytest.mark.parametrize(("path", "at_end"), [("/dev/null", True), ("/dev/zero", False)])
async def test_devices(path: str, at_end: bool) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        assert FdSource(fd).at_end() == at_end
    finally:
        os.close(fd)


async def test_a_pipe_ends_when_its_writer_has_left_and_it_is_empty(pipe: tuple[int, int]) -> None:
    read, write = pipe
    source = FdSource(read)
    assert not source.at_end()
    os.write(write, b"x")
    assert not source.at_end()
    os.close(write)
    assert not source.at_end()
    assert await source.receive(10) == b"x"
    assert source.at_end()


async def test_a_socket_ends_likewise() -> None:
    here, there = socket.socketpair()
    with here, there:
        source = FdSource(here.fileno())
        assert not source.at_end()
        there.send(b"x")
        there.shutdown(socket.SHUT_WR)
        assert not source.at_end()
        assert await source.receive(10) == b"x"
        assert source.at_end()


async def test_a_terminal_never_ends_beforehand() -> None:
    master, slave = pty.openpty()
    try:
        assert not FdSource(slave).at_end()
        os.write(master, b"\x04")
        assert not FdSource(slave).at_end()
        assert await FdSource(slave).receive(10) == b""
    finally:
        os.close(master)
        os.close(slave)


# -- reading


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"abcdefg")
    with path.open("rb", buffering=0) as file:
        source = FdSource(file.fileno())
        assert [await source.receive(4) for _ in range(3)] == [b"abcd", b"efg", b""]


async def test_a_terminal_gives_lines() -> None:
    master, slave = pty.openpty()
    try:
        os.write(master, b"one\ntwo\n")
        assert await FdSource(slave).receive(100) == b"one\n"
        assert await FdSource(slave).receive(100) == b"two\n"
    finally:
        os.close(master)
        os.close(slave)


async def test_a_cancelled_read_takes_nothing(pipe: tuple[int, int]) -> None:
    read, write = pipe
    with trio.move_on_after(0):
        await FdSource(read).receive(10)
    os.write(write, b"later")
    assert await FdSource(read).receive(10) == b"later"


async def test_the_mode_of_the_descriptor_stays_as_it_was(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.write(write, b"x")
    await FdSource(read).receive(10)
    await FdSink(write).write(b"x")
    assert os.get_blocking(read)
    assert os.get_blocking(write)


async def test_a_descriptor_that_somebody_made_non_blocking(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    data = os.urandom(1_000_000)
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(FdSink(write).write, data)
        while len(received) < len(data):
            received += await FdSource(read).receive(65536)
    assert received == data


async def test_what_can_not_be_read_raises(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            await FdSource(directory).receive(10)
    finally:
        os.close(directory)


# -- writing


async def test_all_of_it_is_written(pipe: tuple[int, int]) -> None:
    read, write = pipe
    data = os.urandom(500_000)
    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(FdSink(write).write, data)
        while len(received) < len(data):
            received += await FdSource(read).receive(65536)
    assert received == data


async def test_a_reader_that_has_left(pipe: tuple[int, int]) -> None:
    read, write = pipe
    os.close(read)
    with pytest.raises(BrokenPipeError):
        await FdSink(write).write(b"x")


async def test_a_write_that_is_stuck_can_be_left_behind(pipe: tuple[int, int]) -> None:
    read, write = pipe
    async with trio.open_nursery() as nursery:
        nursery.start_soon(FdSink(write).write, b"x" * 1_000_000)
        assert await FdSource(read).receive(1) == b"x"
        nursery.cancel_scope.cancel()
    os.close(read)  # which ends the thread


async def test_a_raw_terminal_passes_bytes() -> None:
    master, slave = pty.openpty()
    try:
        tty.setraw(slave)
        await FdSink(slave).write(b"\x00\xff\n")
        assert await FdSource(master).receive(10) == b"\x00\xff\n"
    finally:
        os.close(master)
        os.close(slave)


# -- descriptors that are closed from the start


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
async def test_closed_descriptors_become_the_null_device(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    report = tmp_path / "report"
    program = (
        "import os, sys\n"
        f"for fd in {closed}: os.close(fd)\n"
        "from sansrelay_apps.stdio import open_missing_descriptors\n"
        "open_missing_descriptors()\n"
        "names = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)]\n"
        f"open({str(report)!r}, 'w').write('\\n'.join(names))\n"
    )
    await trio.run_process(
        [sys.executable, "-c", program], stdin=b"", capture_stdout=True, capture_stderr=True
    )
    names = report.read_text().split("\n")
    assert [number for number in range(3) if names[number] == "/dev/null"] == list(closed)
