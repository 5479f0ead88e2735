"""Measure sansrelay beside its peers: `make bench`, or `python -m bench` from `tests/`.

Prints a table of ratios. Peers that are not installed are skipped, and the table says so.
"""

import argparse
import json
import sys
from pathlib import Path

from .measure import Effort, Row, run
from .report import about, as_data, plot, regressions, setups, table, write_json
from .rows import ROWS


def main() -> int:
    options = _options()
    if options.sample:
        contestants = {c.name: c for row in ROWS for c in row.contestants}
        sample = contestants[options.sample].sample(Effort(options.scale, options.seed))
        sys.stdout.write(json.dumps(sample))
        return 0
    rows = [row for row in ROWS if _is_chosen(row, options.only)]
    if not rows:
        sys.stderr.write("no row has such a name; the names are in tests/bench/rows.py\n")
        return 2
    rounds, scale = (3, 0.2) if options.quick else (options.rounds, options.scale)
    results = run(
        rows,
        rounds=rounds,
        scale=scale,
        say=lambda line: sys.stderr.write(f"{line}\n"),
    )
    facts = about(rounds=rounds, scale=scale)
    if options.json:
        write_json(as_data(results, facts), options.json)
    if options.json != "-":
        heads = [f"{name}: {value}" for name, value in facts.items()]
        parts = ["\n".join(heads), table(results), setups(results)]
        sys.stdout.write("\n\n".join(parts) + "\n")
    if options.plot:
        plot(results, options.plot)
    for result in results:
        if result.skipped:
            sys.stderr.write(f"SKIPPED {result.row.name}: {result.skipped}\n")
    if options.check:
        worse = regressions(results, json.loads(options.check.read_text()))
        for line in worse:
            sys.stderr.write(f"WORSE {line}\n")
        return 1 if worse else 0
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", action="append", metavar="ROW", help="rows that contain this")
    parser.add_argument("--quick", action="store_true", help="3 rounds of a fifth of the work")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the work of each sample")
    parser.add_argument("--json", metavar="FILE", help="all samples as JSON; - for stdout")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="the ratios as SVG")
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="fail where ratios are worse than in this JSON"
    )
    parser.add_argument("--sample", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _is_chosen(row: Row, only: list[str] | None) -> bool:
    return not only or any(text in row.name for text in only)


if __name__ == "__main__":
    sys.exit(main())
