"""The whole table of the differential test."""

from interop import (
    differential_files,
    differential_messages,
    differential_processes,
    differential_streams,
)
from interop.differential import Row

VERSION = "0.133.0"
"""The Codex that is asked."""

ROWS: tuple[Row, ...] = (
    *differential_messages.ROWS,
    *differential_processes.ROWS,
    *differential_streams.ROWS,
    *differential_files.ROWS,
)
