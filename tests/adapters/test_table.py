"""One table of behaviours: the same events, errors and outcomes on both adapters and across them.

The rows stand in `streams`, `endings`, `links`, `connecting` and `many`, the columns in `table`.
"""

from itertools import product

import pytest

from adapters import connecting, endings, links, many, streams
from adapters.table import COLUMNS, ROWS, Column, Row, record_of

SHORT = next(
    row for row in ROWS if row.scenario is links.a_stream_goes_on_after_the_harness_lost_its_link
)
MIXES = [
    Column(harness=harness, executor=executor, server=server)
    for harness, executor, server in product(["trio", "asyncio", "uvloop"], repeat=3)
]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_it_is_the_same_everywhere(row: Row, column: Column) -> None:
    assert record_of(row, column) == row.record


@pytest.mark.parametrize("column", [each for each in MIXES if each not in COLUMNS], ids=str)
def test_so_it_is_in_every_other_mix_of_loops(column: Column) -> None:
    assert record_of(SHORT, column) == SHORT.record


def test_no_row_is_left_out() -> None:
    modules = (connecting, endings, links, many, streams)
    assert {row.scenario.__module__ for row in ROWS} == {each.__name__ for each in modules}
