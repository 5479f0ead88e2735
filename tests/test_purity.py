"""The core does no I/O and asks for nothing: shown on its sources, its imports and its outputs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sansrelay

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(sansrelay.__file__).parent

# fmt: off
IMPURE = frozenset({
    "asyncio", "concurrent", "contextvars", "ctypes", "datetime", "fcntl", "glob", "http.client",
    "http.server", "importlib", "io", "logging", "multiprocessing", "os", "pathlib", "queue",
    "random", "sched", "secrets", "select", "selectors", "shutil", "signal", "smtplib", "socket",
    "socketserver", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "tracemalloc",
    "trio", "urllib.request", "uuid", "warnings", "weakref",
})
IMPURE_CALLS = frozenset({
    "__import__", "breakpoint", "compile", "eval", "exec", "hash", "input", "open", "print",
})
# fmt: on
OPT_IN = frozenset(
    f"sansrelay.{name}"
    for name in ("websocket", "http", "http_server", "registry", "network", "noise")
)
"""Modules that users import by name, and that stand on libraries of their own."""
OUTSIDE = frozenset(
    {"sansrelay.testing.soak", "sansrelay.testing.asyncio", "sansrelay.testing.trio"}
)
"""Tools that promise nothing."""
LIBRARIES = frozenset({"h11", "wsproto", "cryptography"})


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    name: path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "_pb" not in path.parts and (name := module_name(path)) not in OUTSIDE
}
CORE = sorted(name for name in SOURCES.keys() - OPT_IN if not name.startswith("sansrelay.testing"))


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[str]:
    """The absolute names of all that a module imports, wherever it does so."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def within(name: str, modules: frozenset[str]) -> bool:
    """Whether a dotted name is one of the modules or lies in one."""
    parts = name.split(".")
    return any(".".join(parts[:size]) in modules for size in range(1, len(parts) + 1))


def imported(module: str) -> set[str]:
    path = SOURCES[module]
    return set(imports_of(path.read_text(), module, is_package=path.name == "__init__.py"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", {"os.path"}),
        ("from os import path", {"os.path"}),
        ("def f():\n    import time as t", {"time"}),
        ("if True:\n    from random import (random, seed)", {"random.random", "random.seed"}),
        ("from . import codec", {"sansrelay.testing.codec"}),
        ("from .. import codec", {"sansrelay.codec"}),
        ("from ..codec import encode_frame", {"sansrelay.codec.encode_frame"}),
        ("x = 'import os'", set()),
    ],
)
def test_the_scanner_sees_every_form_of_import(source: str, expected: set[str]) -> None:
    assert set(imports_of(source, "sansrelay.testing._link", is_package=False)) == expected
    assert all(within(name, frozenset({"os", "time", "random", "sansrelay"})) for name in expected)


def test_the_sources_are_found() -> None:
    assert {"sansrelay", "sansrelay.connection", "sansrelay.testing._link"} <= SOURCES.keys()
    assert {"sansrelay.connection", "sansrelay.codec"} <= set(CORE)


@pytest.mark.parametrize("module", SOURCES)
def test_no_module_imports_anything_impure(module: str) -> None:
    assert {name for name in imported(module) if within(name, IMPURE)} == set()


@pytest.mark.parametrize("module", SOURCES)
def test_no_module_calls_what_does_input_or_output(module: str) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(SOURCES[module].read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & IMPURE_CALLS == set()


@pytest.mark.parametrize("module", SOURCES)
def test_no_module_imports_a_library_it_has_no_business_with(module: str) -> None:
    allowed = frozenset({"sansrelay"}) | sys.stdlib_module_names
    if module in OPT_IN:
        allowed |= LIBRARIES
    if module == "sansrelay.codec":
        allowed |= {"google.protobuf"}
    elif module.startswith("sansrelay.testing"):
        allowed |= {"hypothesis"}
    names = imported(module)
    assert {name for name in names if not within(name, allowed)} == set()
    if module != "sansrelay.codec":
        assert {name for name in names if within(name, frozenset({"sansrelay._pb"}))} == set()


@pytest.mark.parametrize("module", CORE)
def test_the_core_imports_nothing_that_is_opt_in(module: str) -> None:
    beyond = OPT_IN | OUTSIDE | {"sansrelay.testing"}
    assert {name for name in imported(module) if within(name, beyond)} == set()


def run_python(code: str, *arguments: str, hash_seed: str = "0") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


LOADED_BY_US = """
import runpy, sys
import google.protobuf.message
runpy.run_path(sys.argv[1])
before = set(sys.modules)
import sansrelay
import sansrelay.testing
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_core_loads_no_loop_no_socket_and_no_library() -> None:
    # What protobuf and its generated code load is their own business: they come first.
    loaded = run_python(LOADED_BY_US, str(PACKAGE / "_pb" / "relay_pb2.py")).split()
    assert "sansrelay.connection" in loaded
    unwanted = LIBRARIES | OPT_IN | OUTSIDE
    unwanted |= {"trio", "asyncio", "socket", "ssl", "hypothesis"}
    unwanted |= {"sansrelay_trio", "sansrelay_asyncio", "sansrelay_apps"}
    assert {name for name in loaded if within(name, unwanted)} == set()


OUTPUTS = """
import hashlib, random
from sansrelay.testing import LinkConditions, RelayPair, SimulatedLink

digest = hashlib.sha256()

class Recorded(SimulatedLink):
    def send(self, direction, frame, now):
        digest.update(b"%d %r %s" % (direction, now, frame))
        super().send(direction, frame, now)

faults = LinkConditions(loss=0.05, duplication=0.05, reordering=0.1, corruption=0.05)
pair = RelayPair(link=Recorded(faults, chance=random.Random(5).random))
for stream_id in ("one", "two", "three", "four"):
    pair.harness.conn.open_stream(stream_id)
    for size in (1, 100_000, 10):
        pair.harness.conn.send_data(stream_id, b"m" * size)
pair.run(3.0)
pair.cut()
pair.join()
pair.harness.conn.close_stream("two")
pair.harness.conn.reset_stream("three")
assert pair.run(until=lambda: len(pair.executor.received.get("one", ())) == 3)
digest.update(repr([end.events for end in pair.ends]).encode())
print(digest.hexdigest())
"""


def test_equal_inputs_give_equal_outputs_byte_for_byte() -> None:
    # Each process has another order of sets of strings and other addresses.
    outputs = {run_python(OUTPUTS, hash_seed=seed) for seed in ("0", "1", "2")}
    assert len(outputs) == 1


def test_the_import_contracts_are_kept() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
