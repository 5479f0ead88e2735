"""Every limit and pace of an exec-server, in one frozen object."""

from dataclasses import dataclass, fields

__all__ = ["ExecServerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecServerConfig:
    """Limits and paces, of each session unless it says otherwise. Sizes are in bytes, times in
    seconds unless named.

    Raises `ValueError` where a value makes no sense, naming the field.
    """

    # -- processes
    max_processes: int = 64
    """Processes of a session: those that run, those that closed less than `closed_retention` ago,
    and those that left others running in their session. A new one takes the place of the oldest
    that has closed, left nothing, and whose output the client has; where there is none,
    `process/start` fails with -32600."""
    closed_retention: float = 30.0
    """Seconds for which a closed process can still be read (Codex behaviour). Its id is free
    again afterwards."""
    kill_grace: float = 2.0
    """Seconds from the SIGTERM of `process/terminate` to the SIGKILL."""
    drain_grace: float = 2.0
    """Seconds without output after which a process that has exited is closed, though something
    that it left behind still holds its output open. What comes later is lost."""

    # -- output
    chunk_size: int = 64 * 1024
    """Bytes that are read from a process at once, and so the most of one output notification.
    At most one chunk of each of its outputs waits to be sent."""
    retain_bytes: int = 1024 * 1024
    """Bytes of output that are kept for `process/read`, per process, bookkeeping included. Beyond
    them the oldest that the client is known to have are dropped. What it may not have is never
    dropped: when that alone reaches the limit, nothing is read from the process, which then waits
    at its full pipe. One chunk of each of its outputs may pass the limit."""
    max_wait_ms: int = 60_000
    """Milliseconds for which `process/read` waits at most. A longer wait is cut to it."""

    # -- input
    stdin_queue_bytes: int = 1024 * 1024
    """Bytes of input that wait for a process to read them. `process/write` waits for room; one
    write always fits in an empty queue."""
    max_waiting_writes: int = 64
    """Writes and `process/closeStdin` that wait for such room, per process. They do not count as
    requests in flight. A further one fails with -32600, and nothing of it is written."""
    max_waiting_write_bytes: int = 4 * 1024 * 1024
    """Bytes of the writes that wait, per process, with the same outcome. One of any size may."""

    max_write_ids: int = 1024
    """The latest ids of `process/write` that are remembered, per process. One that was forgotten
    is written again when it comes again."""

    # -- requests
    max_requests_in_flight: int = 256
    """Requests without an answer. No message is received until one is answered."""
    max_request_bytes_in_flight: int = 4 * 1024 * 1024
    """Bytes of the requests without an answer, and of answers that were not taken over yet, with
    the same outcome. The last request to be received, and what is answered then, may pass it."""
    max_answer_size: int = 16 * 1024 * 1024
    """Bytes of one answer, as JSON. In place of a larger one the request fails with -32603;
    `process/read` gives less at once instead. It must not be larger than
    `RelayConfig.max_message_size`."""

    # -- sessions without a stream
    detached_retention: float = 60.0
    """Seconds for which a session lives on without a stream, to be resumed. After them it ends,
    and its processes with it."""
    max_detached_sessions: int = 32
    """Sessions without a stream, of all clients together. One more ends the one that has been
    without a stream for longest. With 0 each session ends with its stream."""

    # -- files
    max_file_size: int = 12_000_000
    """Bytes of a file that `fs/readFile` and `fs/writeFile` take; -32600 for a larger one. In
    base64, 16 MB, it just fits in the largest message of the relay. `fs/copy` has no such limit."""
    max_directory_entries: int = 100_000
    """Names that `fs/readDirectory` gives; -32600 for a larger directory."""

    # -- HTTP
    max_http_requests: int = 32
    """Requests of `http/request` under way, those whose body is still being streamed included. A
    further one fails with -32600."""
    max_http_body_size: int = 12_000_000
    """Bytes of an answer's body without `streamResponse`. The request fails with -32603 when there
    are more. In base64 it just fits in the largest message of the relay."""
    http_buffer_size: int = 48_000_000
    """Bytes of bodies that all requests under way keep in memory: what they send, and what is
    being collected to be answered. The request that would pass it fails: with -32600 before
    anything was sent, with -32603 after."""

    # -- the end of a session
    kill_grace_on_session_end: float = 0.5
    """Seconds from SIGTERM to SIGKILL for processes that outlive their session."""
    cleanup_timeout: float = 5.0
    """Seconds for which the end of a session waits on killed processes and on its channel. What
    is left then (a process in an uninterruptible wait) is logged and given up."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.type is float or field.name in _MAY_BE_ZERO else 1
            if not lowest <= value < float("inf"):
                raise ValueError(f"{field.name} must be finite and at least {lowest}, not {value}")


_MAY_BE_ZERO = frozenset({"retain_bytes", "max_wait_ms", "max_detached_sessions"})
