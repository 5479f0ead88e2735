"""Every limit and pace of an exec-server session, in one frozen object."""

from dataclasses import dataclass, fields

__all__ = ["ExecServerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecServerConfig:
    """Limits and paces of one session. Sizes are in bytes, times in seconds unless named.

    Raises `ValueError` where a value makes no sense, naming the field.
    """

    # -- processes
    max_processes: int = 64
    """Processes of a session: those that run, those that closed less than `closed_retention` ago,
    and those that left others running in their group. A new one takes the place of the oldest that
    has closed and left nothing; where there is none, `process/start` fails with -32600."""
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
    """Bytes of output that are kept for `process/read`, per process, bookkeeping included. The
    oldest are dropped, but none before its notification was sent."""
    max_wait_ms: int = 60_000
    """Milliseconds for which `process/read` waits at most. A longer wait is cut to it."""

    # -- input
    stdin_queue_bytes: int = 1024 * 1024
    """Bytes of input that wait for a process to read them. `process/write` waits for room; one
    write always fits in an empty queue."""

    # -- requests
    max_requests_in_flight: int = 64
    """Requests without an answer. No message is received until one is answered."""
    max_request_bytes_in_flight: int = 4 * 1024 * 1024
    """Bytes of the requests without an answer, and of answers that were not taken over yet, with
    the same outcome. The last request to be received, and what is answered then, may pass it."""

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


_MAY_BE_ZERO = frozenset({"retain_bytes", "max_wait_ms"})
