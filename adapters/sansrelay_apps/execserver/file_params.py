"""The messages of the `fs/*` methods. Names and meaning are Codex's (0.131 to 0.169).

`sandbox`, which every one of them may hold, is among the ignored members: files are reached with
the rights of the executor.
"""

from .protocol import Message

__all__ = [
    "CopyParams",
    "CreateDirectoryParams",
    "DirectoryEntry",
    "MetadataResult",
    "PathParams",
    "PathResult",
    "ReadDirectoryResult",
    "ReadFileResult",
    "RemoveParams",
    "WriteFileParams",
]


class PathParams(Message, frozen=True, kw_only=True):
    """A path here is absolute, or a `file://` URI."""

    path: str


class WriteFileParams(PathParams, frozen=True, kw_only=True):
    data_base64: str


class CreateDirectoryParams(PathParams, frozen=True, kw_only=True):
    recursive: bool | None = None


class RemoveParams(PathParams, frozen=True, kw_only=True):
    recursive: bool | None = None
    force: bool | None = None


class CopyParams(Message, frozen=True, kw_only=True):
    source_path: str
    destination_path: str
    recursive: bool = False


class ReadFileResult(Message, frozen=True, kw_only=True):
    data_base64: bytes


class MetadataResult(Message, frozen=True, kw_only=True):
    is_directory: bool
    is_file: bool
    is_symlink: bool
    size: int
    created_at_ms: int
    modified_at_ms: int


class PathResult(Message, frozen=True, kw_only=True):
    path: str


class DirectoryEntry(Message, frozen=True, kw_only=True):
    file_name: str
    is_directory: bool
    is_file: bool


class ReadDirectoryResult(Message, frozen=True, kw_only=True):
    entries: tuple[DirectoryEntry, ...]
