"""The same requests to an executor of ours and to one of a real Codex."""

import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

import trio
from apps_kit import TOKEN, Place, first_line, rendezvous, started
from interop.codex import binary, codex_home, needs
from interop.differential import Row, Seen, observe
from interop.differential_compare import Apart, Extras, compare
from interop.differential_known import DIFFERENCES, EXTRAS, listed
from interop.differential_page import PAGE, page
from interop.differential_rows import ROWS, VERSION
from interop.differential_server import serve
from interop.ours import our_harness

Executor: TypeAlias = Callable[[Place, Mapping[str, str]], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _codex(place: Place, env: Mapping[str, str]) -> AsyncGenerator[None]:
    process = await trio.lowlevel.open_process(
        [
            str(binary(VERSION).resolve()),
            "exec-server",
            "--remote",
            place.url,
            "--environment-id",
            place.executor_id,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=env,
    )
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


@asynccontextmanager
async def _ours(place: Place, env: Mapping[str, str]) -> AsyncGenerator[None]:
    token = Path(env["HOME"], "token")
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = (*place.options, "--token-file", str(token))
    async with started("executor", *options, env=dict(env)) as own:
        await first_line(own)
        yield


async def _observe_both(folder: Path) -> tuple[Seen, Seen]:
    """What Codex makes of the rows, and what we do, at the same time."""
    async with codex_home() as home, rendezvous() as place, trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        server = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        home.log_in()
        env = home.environment(LANG="C.UTF-8", DIFF_A="1", DIFF_B="2", DIFF_KEY="3")
        seen: dict[str, Seen] = {}

        async def ask(name: str, executor: Executor) -> None:
            end = Place(place.url, place.server, name)
            async with executor(end, env), our_harness(end) as harness:
                async with harness.session():
                    pass  # it is there now
                seen[name] = await observe(ROWS, harness.harness, folder / name, server)

        async with trio.open_nursery() as both:
            both.start_soon(ask, "codex", _codex)
            both.start_soon(ask, "ours", _ours)
        nursery.cancel_scope.cancel()
    return seen["codex"], seen["ours"]


@dataclass(frozen=True, slots=True)
class Found:
    """What came out: by rows, where the two differ; and the members that only we have."""

    apart: Mapping[str, Apart]
    extras: Extras


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("differential")
    codex, ours = trio.run(_observe_both, folder)
    extras = Extras(EXTRAS)
    apart = {row.name: compare(row, codex[row.name], ours[row.name], extras) for row in ROWS}
    return Found(apart, extras)


@pytest.mark.interop
@needs(VERSION)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_we_answer_as_codex_does_or_differ_as_listed(row: Row, found: Found) -> None:
    assert found.apart[row.name] == listed(row.name)


@pytest.mark.interop
@needs(VERSION)
def test_the_members_that_only_we_have(found: Found) -> None:
    listed_extras = {(where, name) for where, names in EXTRAS.items() for name in names}
    assert found.extras.seen == listed_extras


def test_the_table_and_the_list_fit() -> None:
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    known = {name for each in DIFFERENCES for group in each.rows for name in group}
    assert known <= set(names)
    assert sum(row.requests for row in ROWS) >= 200


def test_the_page_is_made_from_the_list() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "make it anew: see differential_page.py"
