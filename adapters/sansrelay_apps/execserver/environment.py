"""The environment variables of a process."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate

from .protocol import EnvPolicy, Inherit

__all__ = ["build_environment"]

# Codex's list for Unix.
_CORE = frozenset(
    {
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LOGNAME",
        "PATH",
        "SHELL",
        "TEMP",
        "TMP",
        "TMPDIR",
        "USER",
    }
)
_OWN_TOKEN = "SANSRELAY_TOKEN"
"""What lets the executor register; no process ever needs it."""
_DEFAULT_EXCLUDES = ("*KEY*", "*SECRET*", "*TOKEN*")


def build_environment(
    own: Mapping[str, str], env: Mapping[str, str], policy: EnvPolicy | None
) -> dict[str, str]:
    """The variables of a process, in Codex's order of steps.

    Without a policy they are `env` and nothing else (Codex 0.131). With one: what it inherits from
    the executor's `own`, less the default excludes and its own excludes, with `set` laid over, of
    that only what `includeOnly` names where it names anything; and `env` laid over last. Patterns
    know `*` and `?` and no case. The executor's own token is never inherited.
    """
    if policy is None:
        return dict(env)
    excludes = (*(() if policy.ignore_default_excludes else _DEFAULT_EXCLUDES), *policy.exclude)
    is_excluded = _matcher(excludes)
    result = {
        name: value
        for name, value in own.items()
        if policy.inherit is Inherit.ALL or (policy.inherit is Inherit.CORE and name in _CORE)
        if name != _OWN_TOKEN and not is_excluded.fullmatch(name)
    }
    result.update(policy.set)
    if policy.include_only:
        is_included = _matcher(policy.include_only)
        result = {name: value for name, value in result.items() if is_included.fullmatch(name)}
    return {**result, **env}


def _matcher(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for any of the patterns; for none of them, one that matches no name."""
    # fnmatch would take brackets for a set of characters.
    globs = (translate(pattern.replace("[", "[[]")) for pattern in patterns)
    return re.compile("|".join(globs) or r"(?!)", re.IGNORECASE)
