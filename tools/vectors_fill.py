"""Fill in what the scripted exchanges of tests/vectors/ expect.

    python tools/vectors_fill.py (--check | --write)

The inputs of a script are written by hand; this tool replays them and writes down what our
implementation does. That proves nothing by itself: read the difference against docs/protocol.md
before it is committed. With --check nothing is written; exits with 1 if a file would change.
"""

import argparse
import sys
from difflib import unified_diff
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from vectorkit import Json, check_file, dump, expectations, load, scripted_files, with_hex  # noqa: E402


def filled(content: Json) -> Json:
    """The file with all expectations as our implementation gives them, and bytes for all frames."""
    vectors = []
    for vector in map(with_hex, content["vectors"]):
        try:
            expects = list(expectations(vector))
        except Exception as error:
            error.add_note(f"in the vector {vector['name']!r}")
            raise
        steps = [
            {name: value for name, value in step.items() if name != "expect"} | {"expect": expect}
            for step, expect in zip(vector["steps"], expects, strict=True)
        ]
        vectors.append(vector | {"steps": steps})
    return content | {"vectors": vectors}


def main() -> int:
    """0 if the files are, or were made, as they should be."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="show what would change")
    mode.add_argument("--write", action="store_true", help="write the files")
    write = parser.parse_args().write
    changed = False
    for path in scripted_files():
        content = filled(load(path))
        check_file(content)
        old, new = path.read_text("utf-8"), dump(content)
        if old == new:
            continue
        changed = True
        if write:
            path.write_text(new, "utf-8")
            print(f"written: {path.relative_to(ROOT)}")
        else:
            name = str(path.relative_to(ROOT))
            sys.stdout.writelines(
                unified_diff(
                    old.splitlines(keepends=True), new.splitlines(keepends=True), name, name
                )
            )
    return 1 if changed and not write else 0


if __name__ == "__main__":
    sys.exit(main())
