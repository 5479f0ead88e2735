"""The exec-server's `fs/*` methods, on real files."""

import base64
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio
from execserver_client import Client, open_session, open_stream
from sansrelay.config import RelayConfig
from sansrelay_apps.execserver import ExecServerConfig, file_system
from sansrelay_apps.execserver.file_system import copy

pytestmark = pytest.mark.trio

INVALID_REQUEST, INVALID_PARAMS, INTERNAL, NOT_FOUND = -32600, -32602, -32603, -32004


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def read(client: Client, path: object) -> bytes:
    result = await client.call("fs/readFile", path=str(path), sandbox={"permissions": 1})
    assert result.keys() == {"dataBase64"}
    return base64.b64decode(result["dataBase64"], validate=True)


async def write(client: Client, path: object, data: bytes) -> None:
    params = {"path": str(path), "dataBase64": encoded(data), "sandbox": None}
    assert await client.call("fs/writeFile", **params) == {}


def tree(top: Path) -> dict[str, str]:
    """All that is below a directory: files with their content, links with what they say."""

    def tell(path: Path) -> str:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"-> {os.readlink(path)}"
        if stat.S_ISREG(mode):
            return path.read_text()
        return "directory" if stat.S_ISDIR(mode) else "special"

    return {str(path.relative_to(top)): tell(path) for path in sorted(top.rglob("*"))}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """One of everything."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "dir" / "sub" / "deep").write_text("deep")
    (tmp_path / "dir" / "inner").symlink_to("sub")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dirlink").symlink_to("dir")
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


# -- reading and writing


@pytest.mark.parametrize("data", [b"", b"\x00\xff\r\n", bytes(range(256)) * 4096])
async def test_a_file_comes_back_as_it_was_written(place: Path, data: bytes) -> None:
    async with open_session() as client:
        await write(client, place / "new", data)
        assert (place / "new").read_bytes() == data
        assert await read(client, place / "new") == data


async def test_writing_keeps_the_file_and_goes_through_a_link(place: Path) -> None:
    (place / "file").chmod(0o750)
    before = (place / "file").stat()
    async with open_session() as client:
        await write(client, place / "link", b"a")
        await write(client, place / "dangling", b"made")
    after = (place / "file").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert (place / "file").read_text() == "a"
    assert (place / "link").is_symlink()
    assert (place / "nothing").read_text() == "made"


@pytest.mark.parametrize(
    ("name", "in_uri"),
    [(b"a b#c%20?", "a%20b%23c%2520%3F"), ("é☃".encode(), "é☃"), (b"\xff\xfe", "%ff%FE")],
)
async def test_a_file_uri_names_any_file(tmp_path: Path, name: bytes, in_uri: str) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"found")
    async with open_session() as client:
        assert await read(client, f"file://{tmp_path}/{in_uri}") == b"found"
        await write(client, f"file://localhost{tmp_path}/{in_uri}", b"other")
        assert await read(client, f"file://{tmp_path}/{in_uri}") == b"other"


async def test_a_file_without_a_size_is_read_to_its_end() -> None:
    async with open_session() as client:
        assert await read(client, "/proc/sys/kernel/ostype") == b"Linux\n"
        assert await read(client, "/proc/self/status") != b""


async def test_dots_go_by_the_text(place: Path) -> None:
    """As in Codex: otherwise `inner/..` would be `dir/sub/..`, and that is `dir`."""
    (place / "dirlink2").symlink_to("dir/sub")
    async with open_session() as client:
        assert await read(client, place / "dirlink2" / ".." / "file") == b"old"
        assert await read(client, f"{place}/missing/../file/") == b"old"


@pytest.mark.parametrize("method", ["fs/readFile", "fs/writeFile"])
async def test_the_largest_file(tmp_path: Path, method: str) -> None:
    path = tmp_path / "f"
    async with open_session(max_file_size=1000) as client:
        if method == "fs/readFile":
            path.write_bytes(bytes(1000))
            assert await read(client, path) == bytes(1000)
            path.write_bytes(bytes(1001))
            error = await client.fail(method, path=str(path))
        else:
            await write(client, path, bytes(1000))
            error = await client.fail(method, path=str(path), dataBase64=encoded(b"x" * 1001))
            assert path.read_bytes() == bytes(1000)
    assert error.code == INVALID_REQUEST
    assert "the limit is 1000 bytes" in error.message


async def test_what_has_no_size_is_read_no_further_than_the_limit() -> None:
    async with open_session(max_file_size=10) as client:
        error = await client.fail("fs/readFile", path="/proc/self/status")
    assert (error.code, "the limit is 10" in error.message) == (INVALID_REQUEST, True)


async def test_the_default_limit_fits_in_a_message_of_the_relay(tmp_path: Path) -> None:
    size = ExecServerConfig().max_file_size
    (tmp_path / "f").write_bytes(bytes(size))
    async with open_session() as client:
        request_id = await client.post("fs/readFile", path=str(tmp_path / "f"))
        answer = await client.channel.receive()
        assert f'"id":{request_id}' in answer[:20].decode()
        assert size * 4 // 3 < len(answer) <= RelayConfig().max_message_size


# -- what goes wrong


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("fs/readFile", {"path": "~/missing"}, NOT_FOUND),
        ("fs/readFile", {"path": "~/dangling"}, NOT_FOUND),
        ("fs/readFile", {"path": "~/dir"}, INTERNAL),
        ("fs/readFile", {"path": "~/loop"}, INTERNAL),
        ("fs/readFile", {"path": "~/file/x"}, INTERNAL),
        ("fs/readFile", {"path": "~/" + "n" * 256}, INTERNAL),
        ("fs/readFile", {"path": "~/fifo"}, INVALID_REQUEST),
        ("fs/readFile", {"path": "/dev/zero"}, INVALID_REQUEST),
        ("fs/readFile", {"path": "file"}, INVALID_PARAMS),
        ("fs/readFile", {"path": ""}, INVALID_PARAMS),
        ("fs/readFile", {"path": "/a\0b"}, INVALID_PARAMS),
        ("fs/readFile", {"path": "file://other.example/tmp/x"}, INVALID_PARAMS),
        ("fs/readFile", {"path": "https://localhost/tmp/x"}, INVALID_PARAMS),
        ("fs/readFile", {"path": 5}, INVALID_PARAMS),
        ("fs/readFile", {}, INVALID_PARAMS),
        ("fs/writeFile", {"path": "~/missing/x", "dataBase64": ""}, NOT_FOUND),
        ("fs/writeFile", {"path": "~/dir", "dataBase64": ""}, INTERNAL),
        ("fs/writeFile", {"path": "~/fifo", "dataBase64": "eA=="}, INVALID_REQUEST),
        ("fs/writeFile", {"path": "/dev/full", "dataBase64": "eA=="}, INVALID_REQUEST),
        ("fs/writeFile", {"path": "~/file", "dataBase64": "eA"}, INVALID_REQUEST),
        ("fs/writeFile", {"path": "~/file", "dataBase64": "e A=="}, INVALID_REQUEST),
        ("fs/writeFile", {"path": "~/file", "dataBase64": "é"}, INVALID_REQUEST),
        ("fs/writeFile", {"path": "~/file"}, INVALID_PARAMS),
        ("fs/createDirectory", {"path": "~/file"}, INTERNAL),
        ("fs/createDirectory", {"path": "~/dir", "recursive": False}, INTERNAL),
        ("fs/createDirectory", {"path": "~/a/b", "recursive": False}, NOT_FOUND),
        ("fs/getMetadata", {"path": "~/missing"}, NOT_FOUND),
        ("fs/getMetadata", {"path": "~/dangling"}, NOT_FOUND),
        ("fs/getMetadata", {"path": "~/loop"}, INTERNAL),
        ("fs/getMetadata", {"path": "."}, INVALID_PARAMS),
        ("fs/canonicalize", {"path": "~/missing"}, NOT_FOUND),
        ("fs/canonicalize", {"path": "~/loop"}, INTERNAL),
        ("fs/canonicalize", {"path": "~/loop/x"}, INTERNAL),
        ("fs/readDirectory", {"path": "~/missing"}, NOT_FOUND),
        ("fs/readDirectory", {"path": "~/file"}, INTERNAL),
        ("fs/remove", {"path": "~/missing", "force": False}, NOT_FOUND),
        ("fs/remove", {"path": "~/file/x"}, INTERNAL),
        ("fs/remove", {"path": "~/dir", "recursive": False}, INTERNAL),
        # Not even the superuser may do that.
        ("fs/remove", {"path": "/proc/version"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "~/missing", "destinationPath": "~/new"}, NOT_FOUND),
        ("fs/copy", {"sourcePath": "~/file", "destinationPath": "~/missing/x"}, NOT_FOUND),
        ("fs/copy", {"sourcePath": "~/file", "destinationPath": "~/dir"}, INTERNAL),
        ("fs/copy", {"sourcePath": "~/file", "destinationPath": "~/file"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "~/file", "destinationPath": "~/link"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "~/file", "destinationPath": "~/fifo"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "~/fifo", "destinationPath": "~/new"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "~/link", "destinationPath": "~/file"}, INTERNAL),
        ("fs/copy", {"sourcePath": "~/dir", "destinationPath": "~/new"}, INVALID_REQUEST),
        ("fs/copy", {"sourcePath": "file", "destinationPath": "/tmp/x"}, INVALID_PARAMS),
        ("fs/copy", {"sourcePath": "~/file"}, INVALID_PARAMS),
    ],
)
async def test_errors(place: Path, method: str, params: dict[str, Any], code: int) -> None:
    before = tree(place)
    params = {
        name: str(place / value[2:]) if str(value).startswith("~/") else value
        for name, value in params.items()
    }
    async with open_session() as client:
        error = await client.fail(method, **params)
        assert error.code == code, error
    assert tree(place) == before


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOENT, NOT_FOUND),
        (errno.EACCES, INVALID_REQUEST),
        (errno.EPERM, INVALID_REQUEST),
        (errno.EINVAL, INVALID_REQUEST),
        (errno.ENOSPC, INTERNAL),
        (errno.ENOTDIR, INTERNAL),
    ],
)
async def test_what_becomes_of_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    def fail(path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(file_system, "canonicalize", fail)
    async with open_session() as client:
        error = await client.fail("fs/canonicalize", path="/tmp")
    assert (error.code, error.message) == (code, f"{os.strerror(number)} (os error {number})")
    assert error.data == {"errno": number, "errnoName": errno.errorcode[number]}


@pytest.mark.parametrize("method", ["fs/readFile", "fs/writeFile"])
async def test_a_pipe_that_comes_at_the_last_moment_is_no_trap(
    place: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """It was a file when it was looked at, and is none when it is opened."""
    regular = (place / "file").stat()
    writer = os.open(place / "fifo", os.O_RDWR) if method == "fs/writeFile" else None
    async with open_session() as client:
        monkeypatch.setattr(os, "stat", lambda path, **_: regular)
        error = await client.fail(method, path=str(place / "fifo"), dataBase64="eA==")
        monkeypatch.undo()
    if writer is not None:
        os.close(writer)
    assert (error.code, error.message) == (INVALID_REQUEST, "not a regular file")


# -- metadata


@pytest.mark.parametrize(
    ("name", "directory", "file", "link", "size"),
    [
        ("file", False, True, False, 3),
        ("link", False, True, True, 3),
        ("dir", True, False, False, None),
        ("dirlink", True, False, True, None),
        ("fifo", False, False, False, 0),
    ],
)
async def test_metadata(
    place: Path, name: str, directory: bool, file: bool, link: bool, size: int | None
) -> None:
    os.utime(place / name, ns=(0, 1_600_000_000_123_999_999))
    async with open_session() as client:
        result = await client.call("fs/getMetadata", path=str(place / name), sandbox=None)
    if size is not None:
        assert result["size"] == size
    assert result == {
        "isDirectory": directory,
        "isFile": file,
        "isSymlink": link,
        "size": (place / name).stat().st_size,
        "createdAtMs": 0,
        "modifiedAtMs": 1_600_000_000_123,
    }


async def test_a_time_before_1970_is_told_as_0(place: Path) -> None:
    os.utime(place / "file", ns=(0, -5_000_000_000))
    async with open_session() as client:
        result = await client.call("fs/getMetadata", path=str(place / "file"))
    assert result["modifiedAtMs"] == 0


async def test_a_canonical_path_has_the_form_of_the_question(place: Path) -> None:
    place = place.resolve()
    odd = place / os.fsdecode(b"b\xff d")
    odd.mkdir()
    (place / "odd").symlink_to(odd)
    async with open_session() as client:

        async def ask(path: str) -> object:
            return (await client.call("fs/canonicalize", path=path))["path"]

        assert await ask(f"{place}/dirlink/inner/deep") == f"{place}/dir/sub/deep"
        assert await ask(f"file://{place}/link") == f"file://{place}/file"
        assert await ask(f"file://{place}/odd") == f"file://{place}/b%FF%20d"
        error = await client.fail("fs/canonicalize", path=f"{place}/odd")
    assert (error.code, "file URI" in error.message) == (INVALID_REQUEST, True)


# -- directories


async def test_a_directory_tells_what_its_links_lead_to(place: Path) -> None:
    (place / os.fsdecode(b"\xff\xc3z")).touch()
    async with open_session() as client:
        result = await client.call("fs/readDirectory", path=str(place / "."), sandbox=None)
    kinds = {
        "dir": (True, False),
        "dirlink": (True, False),
        "empty": (True, False),
        "fifo": (False, False),
        "file": (False, True),
        "link": (False, True),
        "��z": (False, True),
    }
    assert result == {
        "entries": [
            {"fileName": name, "isDirectory": directory, "isFile": file}
            for name, (directory, file) in kinds.items()
        ]
    }


async def test_the_largest_directory(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).touch()
    async with open_session(max_directory_entries=3) as client:
        assert len((await client.call("fs/readDirectory", path=str(tmp_path)))["entries"]) == 3
        (tmp_path / "3").touch()
        error = await client.fail("fs/readDirectory", path=str(tmp_path))
    assert (error.code, "the limit is 3 entries" in error.message) == (INVALID_REQUEST, True)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("a", {"recursive": False}),
        ("a", {}),
        ("a/b/c", {"recursive": True}),
        ("a/b/c", {"recursive": None}),
        ("dir", {"recursive": True}),
        ("dirlink", {"recursive": True}),
        ("dirlink/a", {"recursive": False}),
    ],
)
async def test_a_directory_is_made(place: Path, path: str, params: dict[str, Any]) -> None:
    async with open_session() as client:
        assert await client.call("fs/createDirectory", path=str(place / path), **params) == {}
    assert (place / path).is_dir()
    assert (place / "dir/sub/deep").read_text() == "deep"


# -- removing


@pytest.mark.parametrize("params", [{}, {"recursive": None, "force": None, "sandbox": None}])
@pytest.mark.parametrize("name", ["file", "link", "dangling", "loop", "fifo", "empty", "dirlink"])
async def test_one_thing_is_removed(place: Path, name: str, params: dict[str, Any]) -> None:
    wanted = tree(place)
    del wanted[name]
    async with open_session() as client:
        assert await client.call("fs/remove", path=str(place / name), **params) == {}
        assert tree(place) == wanted
        assert await client.call("fs/remove", path=str(place / name), **params) == {}


async def test_a_directory_is_removed_but_nothing_that_it_links_to(place: Path) -> None:
    (place / "dir" / "out").symlink_to(place / "empty")
    async with open_session() as client:
        assert await client.call("fs/remove", path=str(place / "dir")) == {}
        assert await client.call("fs/remove", path=str(place / "empty"), recursive=False) == {}
    assert not (place / "dir").exists()


# -- copying


@pytest.mark.parametrize(
    ("source", "destination", "recursive", "wanted"),
    [
        ("file", "new", False, {"new": "old"}),
        ("file", "new", True, {"new": "old"}),
        ("file", "dir/sub/deep", False, {"dir/sub/deep": "old"}),
        ("file", "dangling", False, {"nothing": "old"}),
        ("link", "new", False, {"new": "-> file"}),
        ("dirlink", "new", True, {"new": "-> dir"}),
        ("dangling", "new", False, {"new": "-> nothing"}),
        ("loop", "new", True, {"new": "-> loop"}),
        (
            "dir",
            "a/new",
            True,
            {
                "a": "directory",
                "a/new": "directory",
                "a/new/inner": "-> sub",
                "a/new/sub": "directory",
                "a/new/sub/deep": "deep",
            },
        ),
        (
            "dir",
            "empty",
            True,
            {"empty/inner": "-> sub", "empty/sub": "directory", "empty/sub/deep": "deep"},
        ),
    ],
)
async def test_copying(
    place: Path, source: str, destination: str, recursive: bool, wanted: dict[str, str]
) -> None:
    os.mkfifo(place / "dir" / "pipe")
    before = tree(place)
    async with open_session() as client:
        result = await client.call(
            "fs/copy",
            sourcePath=str(place / source),
            destinationPath=str(place / destination),
            recursive=recursive,
            sandbox=None,
        )
    assert result == {}
    assert tree(place) == before | wanted


@pytest.mark.parametrize("destination", ["dir", "dir/new/er", "dirlink/x", "dir/inner/x", "dir/."])
async def test_a_directory_is_not_copied_into_itself(place: Path, destination: str) -> None:
    before = tree(place)
    async with open_session() as client:
        error = await client.fail(
            "fs/copy",
            sourcePath=str(place / "dir"),
            destinationPath=f"{place}/{destination}",
            recursive=True,
        )
    assert (error.code, tree(place)) == (INVALID_REQUEST, before)


async def test_a_directory_is_copied_beside_itself(place: Path) -> None:
    async with open_session() as client:
        ends = {"sourcePath": str(place / "dir"), "destinationPath": str(place / "directory")}
        await client.call("fs/copy", **ends, recursive=True)
    assert (place / "directory" / "sub" / "deep").read_text() == "deep"


async def test_a_copy_has_the_permissions_of_its_source(place: Path) -> None:
    (place / "file").chmod(0o751)
    async with open_session() as client:
        for name in ("new", "dir/sub/deep"):
            ends = {"sourcePath": str(place / "file"), "destinationPath": str(place / name)}
            await client.call("fs/copy", **ends)
            assert stat.S_IMODE((place / name).stat().st_mode) == 0o751


async def test_a_copy_may_be_larger_than_a_file_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(1_000_000))
    async with open_session(max_file_size=10) as client:
        ends = {"sourcePath": str(tmp_path / "large"), "destinationPath": str(tmp_path / "copy")}
        await client.call("fs/copy", **ends)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()


async def test_copying_can_be_stopped(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    (tmp_path / "large").write_bytes(bytes(10_000))
    with pytest.raises(Stop):
        copy(str(tmp_path / "large"), str(tmp_path / "copy"), recursive=False, check=stop)
    assert (tmp_path / "copy").read_bytes() == b""
    (tmp_path / "top" / "empty").mkdir(parents=True)
    with pytest.raises(Stop):
        copy(str(tmp_path / "top"), str(tmp_path / "other"), recursive=True, check=stop)
    assert not (tmp_path / "other" / "empty").exists()


async def test_directories_nested_too_deeply_are_an_error(tmp_path: Path) -> None:
    deep = str(tmp_path) + "/d" * 1500
    async with open_session() as client:
        error = await client.fail("fs/createDirectory", path=deep)
    assert (error.code, "nested too deeply" in error.message) == (INVALID_REQUEST, True)


# -- order, and the end of a session


class Gate:
    """Holds up some functions of `file_system`, in their threads, until it is opened."""

    def __init__(self) -> None:
        self.calls = 0
        self._called = trio.lowlevel.ParkingLot()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def until_called(self, times: int = 1) -> None:
        while self.calls < times:
            await self._called.park()

    def _count(self) -> None:
        self.calls += 1
        self._called.unpark_all()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held_up(*args: Any, **options: Any) -> Any:
            trio.from_thread.run_sync(self._count)
            assert self._open.wait(60)
            return function(*args, **options)

        return held_up


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    for name in ("read_file", "write_file", "remove"):
        monkeypatch.setattr(file_system, name, gate.before(getattr(file_system, name)))
    return gate


async def test_files_keep_their_order_and_stop_nothing_else(tmp_path: Path, gate: Gate) -> None:
    path = str(tmp_path / "f")
    async with open_session() as client:
        posted = [
            await client.post("fs/writeFile", path=path, dataBase64=encoded(b"first")),
            await client.post("fs/getMetadata", path=path),
            await client.post("fs/readFile", path=path),
            await client.post("fs/writeFile", path=path, dataBase64=encoded(b"second")),
        ]
        await gate.until_called()
        await client.fail("process/read", processId="none")
        gate.open()
        content = (await client.answer(posted[2])).result
        assert content == {"dataBase64": encoded(b"first")}
        assert (await client.answer(posted[3])).result == {}
        assert client.answer_order[-4:] == posted
    assert (tmp_path / "f").read_bytes() == b"second"


async def test_one_file_at_a_time_is_in_memory(tmp_path: Path, gate: Gate) -> None:
    gate.open()
    (tmp_path / "f").touch()
    async with open_session() as client:
        posted = [await client.post("fs/readFile", path=str(tmp_path / "f")) for _ in range(6)]
        await gate.until_called(2)
        await trio.testing.wait_all_tasks_blocked(0.05)
        # One waits in the channel, one to get there.
        assert gate.calls == 2
        for request_id in posted:
            await client.answer(request_id)
        assert gate.calls == 6


async def test_a_file_is_written_to_its_end_though_the_session_ends(
    tmp_path: Path, gate: Gate
) -> None:
    async with open_session() as client:
        params = {"path": str(tmp_path / "f"), "dataBase64": encoded(b"whole")}
        await client.post("fs/writeFile", **params)
        await gate.until_called()
        await client.channel.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert not client.server_end.closed.is_set()
        gate.open()
    assert (tmp_path / "f").read_bytes() == b"whole"


@pytest.mark.parametrize("method", ["fs/readFile", "fs/remove"])
async def test_a_session_that_ends_does_not_wait(tmp_path: Path, gate: Gate, method: str) -> None:
    async with open_session() as client:
        await client.post(method, path=str(tmp_path / "f"))
        await gate.until_called()
    gate.open()  # only now, when the session is over


async def test_files_need_a_session(tmp_path: Path) -> None:
    async with open_stream() as client:
        error = await client.fail("fs/readFile", path=str(tmp_path))
    assert error.code == INVALID_REQUEST
