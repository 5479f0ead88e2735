"""Generate sansrelay/_pb from proto/. `make proto` runs it, in an environment of its own."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = "codex/exec_server/relay/v1/relay.proto"


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--proto_path={ROOT / 'proto'}",
                f"--python_out={out}",
                f"--mypy_out={out}",
                PROTO,
            ],
            check=True,
        )
        made = Path(out) / Path(PROTO).parent
        for name in ("relay_pb2.py", "relay_pb2.pyi"):
            shutil.copy(made / name, ROOT / "sansrelay" / "_pb" / name)
            print(f"sansrelay/_pb/{name}")


if __name__ == "__main__":
    main()
