"""What happened and what to do, in one sentence for each way in which a relay can fail."""

from sansrelay.errors import ResetReason, clean_reason
from sansrelay.events import StreamReset
from sansrelay_trio import ConnectCause, ConnectError

__all__ = ["explain_connect_error", "explain_reset"]

_CONNECT_HINTS = {
    ConnectCause.BAD_URL: "the registry's configuration has to be put right",
    ConnectCause.INSECURE: "on the command line, --insecure says that it is",
    ConnectCause.UNKNOWN_HOST: "check --registry",
    ConnectCause.REFUSED: "check --registry, and that the rendezvous is running",
    ConnectCause.UNREACHABLE: "check --registry and the network",
    ConnectCause.TIMED_OUT: "check --registry and the network between",
    ConnectCause.BROKEN_OFF: "try again; if it stays so, look at what is between, a proxy maybe",
    ConnectCause.TLS: "check the certificate; SSL_CERT_FILE names a file with CAs of your own",
    ConnectCause.UNAUTHORIZED: "check the token, and that it is good for this id and this end",
    ConnectCause.DENIED: "check --registry and --id",
    ConnectCause.UNAVAILABLE: "try again later, or wait longer",
    ConnectCause.BAD_ANSWER: "check that --registry leads to a registry, and not past it",
}

_ENDS = {
    ResetReason.CLOSED: "{executor} closed the stream",
    ResetReason.CANCELLED: "{executor} gave the stream up: look at its log",
    ResetReason.TIMEOUT: "nothing came from {executor} for too long: check that it is still there",
    ResetReason.UNKNOWN_STREAM: "{executor} does not know the stream: it has restarted",
    ResetReason.PEER_RESTARTED: "{executor} has restarted",
    ResetReason.LINK_LOST: "a connection broke, and {executor} can't resume (Codex never can)",
    ResetReason.GAP: "a message got lost on the way, and {executor} can't ask for it again",
    ResetReason.PROTOCOL_ERROR: "the relay's rules were broken: update both ends to one version",
    ResetReason.PROFILE_REFUSED: "one end asks for a reliable peer, which the other is not",
    ResetReason.MESSAGE_TOO_LARGE: "a message was too large for the other end",
    ResetReason.TOO_MANY_STREAMS: "{executor} has as many streams as it takes: try again later",
    ResetReason.SLOW_CONSUMER: "output came faster than it was read, and {executor} can't be "
    "slowed down (Codex never can): write it to a file there",
    ResetReason.EXECUTOR_UNAVAILABLE: "no executor is connected as {executor}: start one, check "
    "--id, or wait longer with --wait",
    ResetReason.HARNESS_DISCONNECTED: "this end was without a connection for longer than the "
    "rendezvous waits",
    ResetReason.GOING_AWAY: "the other end is shutting down: try again later",
    ResetReason.UNAUTHORIZED: "the stream is not allowed: check the token",
    ResetReason.SEQUENCE_EXHAUSTED: "the stream has no sequence numbers left",
}


def explain_connect_error(error: ConnectError) -> str:
    """One line about a link that did not come about."""
    return f"{clean_reason(str(error), 500)}; {_CONNECT_HINTS[error.cause]}"


def explain_reset(reset: StreamReset, *, executor: str) -> str:
    """One line about the end of a stream to the executor with this id."""
    reason = reset.known_reason
    if reason is None:
        return f"{executor} ended the stream and says: {clean_reason(reset.reason)}"
    return _ENDS[reason].format(executor=executor)
