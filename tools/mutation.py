"""Mutation tests of the core's machines: how many small faults do the tests notice?

    python tools/mutation.py [MODULE...]

mutmut plants the faults and runs the tests that come by. This adds three things: tests are
collected once instead of once a mutant, mutants of message texts are left out, and each module has
to reach a score. `python -m mutmut show NAME` shows a survivor. `docs/mutation.md` explains those
that are known.
"""

import argparse
import ast
import os
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from _pytest.config import _prepareconfig
from _pytest.runner import runtestprotocol
from mutmut.__main__ import _run
from mutmut.mutation.data import SourceFileMutationData
from mutmut.runners.harness import PytestRunner
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import change_cwd, walk_mutatable_files
from mutmut.workers import isolation
from mutmut.workers.isolation import run_in_fork

MINIMUM = 90.0
"""Per cent of each module's mutants that the tests have to notice."""

_KILLERS = Path("mutants", "killers").absolute()
_PATIENCE = 10
"""Seconds of processor time after which one test counts as endless; the slowest needs 1."""
_MEMORY = 2 * 1024**3
"""Bytes of address space for the tests of one mutant: an endless loop may also grow."""

# Exit codes that mutmut knows.
_TIMEOUT = 36
_SKIPPED = 34
_BROKEN = 35  # "suspicious": it is this tool that failed, not a test
_NOTICED = frozenset({"killed", "timeout"})


class Runner(PytestRunner):
    """Collects the tests once, and runs them for each mutant in a process forked from there."""

    def __init__(self) -> None:
        super().__init__()
        self._items: dict[str, pytest.Item] = {}
        self._texts: set[str] = set()

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Run `tests`, all if there are none, up to the first that fails; 1 if one did.

        Without a mutant mutmut makes sure that the tests pass, and that they can fail. Else it has
        forked already.
        """
        if mutant_name is None:
            if not self._items:
                self._prepare()
            return run_in_fork(lambda: int(self._first_to_fail(tests or self._items) is not None))
        if mutant_name in self._texts:
            return _SKIPPED
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        signal.signal(signal.SIGVTALRM, lambda *_: os._exit(_TIMEOUT))
        try:
            return self._hunt(mutant_name.partition("__mutmut_")[0], tests)
        except Exception:
            return _BROKEN

    def _prepare(self) -> None:
        # Without capturing, which leaves files of its own unclosed in the forked processes.
        args = ["--rootdir=.", "-q", "-s", *self._pytest_add_cli_args]
        with change_cwd("mutants"):
            pytest_config = _prepareconfig([*args, *self._pytest_add_cli_args_test_selection])
            pytest_config._do_configure()
            session = pytest.Session.from_config(pytest_config)
            pytest_config.hook.pytest_sessionstart(session=session)
            pytest_config.hook.pytest_collection(session=session)
        self._items = {item.nodeid: item for item in session.items}
        _KILLERS.mkdir(exist_ok=True)
        for path in walk_mutatable_files():
            self._texts |= text_mutants(path)

    def _hunt(self, function: str, tests: Iterable[str]) -> int:
        """Run `tests`, those first that have found other mutants of the same function."""
        found = _KILLERS / function
        killers = set(found.read_text("utf-8").splitlines()) if found.exists() else set()
        order = sorted(tests, key=lambda test: test not in killers)  # else the quick ones first
        failed = self._first_to_fail(order)
        if failed is None:
            return 0
        with found.open("a", encoding="utf-8") as file:
            file.write(f"{failed}\n")
        return 1

    def _first_to_fail(self, tests: Iterable[str]) -> str | None:
        items = [self._items[test] for test in tests]
        with change_cwd("mutants"):
            for item, following in zip(items, [*items[1:], None], strict=True):
                signal.setitimer(signal.ITIMER_VIRTUAL, _PATIENCE)
                reports = runtestprotocol(item, log=False, nextitem=following)
                if any(report.failed for report in reports):
                    return item.nodeid
        return None


def text_mutants(path: Path) -> set[str]:
    """The mutants of a module that change nothing but a text for people."""
    tree = ast.parse((Path("mutants") / path).read_text("utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    module = ".".join(path.with_suffix("").parts)
    found = set()
    for name, mutant in functions.items():
        original, mark, number = name.partition("__mutmut_")
        if number.isdecimal():
            before = functions[f"{original}{mark}orig"]
            if _same([before.args, before.body], [mutant.args, mutant.body]):
                found.add(f"{module}.{name}")
    return found


def _same(before: object, after: object) -> bool:
    """Whether two trees differ at most in texts: f-strings, and literals of several words."""
    match before:
        case ast.JoinedStr():
            return True
        case ast.Constant(value=str(text)) if " " in text:
            return True
        case list():
            return (
                isinstance(after, list)
                and len(before) == len(after)
                and all(map(_same, before, after))
            )
        case ast.AST():
            return type(before) is type(after) and all(
                _same(getattr(before, field), getattr(after, field)) for field in before._fields
            )
        case _:
            return before == after


def report(modules: Sequence[str]) -> bool:
    """Print a table of the modules, and the names of the survivors; whether all scores are met."""
    survivors: list[str] = []
    enough = True
    print(f"{'module':12} {'mutants':>8} {'texts':>6} {'noticed':>8} {'score':>7}")
    for path in sorted(walk_mutatable_files()):
        if modules and path.stem not in modules:
            continue
        data = SourceFileMutationData(path=path)
        data.load()
        status = {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}
        counts = Counter(status.values())
        texts = counts.pop("skipped", 0)
        noticed = sum(counts[each] for each in _NOTICED)
        score = 100 * noticed / max(1, counts.total())
        enough = enough and score >= MINIMUM
        print(f"{path.stem:12} {counts.total():8} {texts:6} {noticed:8} {score:6.1f}%")
        survivors += (
            f"{name}: {each}"
            for name, each in status.items()
            if each not in _NOTICED and each != "skipped"
        )
    print(*survivors, sep="\n")
    return enough


def main() -> int:
    """Exit status: 0 if every module reaches `MINIMUM`."""
    parser = argparse.ArgumentParser(description="Plant small faults: do the tests notice?")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as rtt (default: all)")
    modules: list[str] = parser.parse_args().modules
    known = sorted(path.stem for path in walk_mutatable_files())
    if unknown := sorted(set(modules) - set(known)):
        parser.error(f"no such module: {', '.join(unknown)}; there are {', '.join(known)}")
    os.environ["CI"] = "1"  # Hypothesis then tries the same examples each time
    setattr(isolation, "PytestRunner", Runner)  # noqa: B010
    if not modules:  # mutmut would let old results stand, whatever happened to the tests
        shutil.rmtree("mutants", ignore_errors=True)
    started = time.monotonic()
    _run([f"sansrelay.{module}.*" for module in modules], int(os.environ.get("JOBS", "2")))
    print(f"{(time.monotonic() - started) / 60:.0f} minutes")
    return 0 if report(modules) else 1


if __name__ == "__main__":
    sys.exit(main())
