"""How a call was refused, as a value."""

from collections.abc import Callable

from sansrelay.errors import LocalCause, LocalProtocolError

__all__ = ["refusal"]


def refusal(call: Callable[[], object]) -> LocalCause | None:
    """Make a call; why it was refused, or None. Any other exception passes."""
    try:
        call()
    except LocalProtocolError as refused:
        return refused.cause
    return None
