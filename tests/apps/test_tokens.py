"""Token files, and what a token gives."""

from pathlib import Path

import pytest

from sansrelay import Role
from sansrelay.registry import MAX_TOKEN_LENGTH
from sansrelay_apps.rendezvous.private_file import PrivateFileError
from sansrelay_apps.rendezvous.tokens import AnyToken, TokenTable, Verdict, read_token_file

FILE = """
# role     token     ids
executor   e-token   build-*
harness    h-token

  # a token may have several lines
harness    both      a
executor   both      a
harness    both      [xy]?
harness    #hash     !*
"""


def table(path: Path, text: str) -> TokenTable:
    path.write_text(text)
    path.chmod(0o600)
    return read_token_file(path)


@pytest.mark.parametrize(
    ("token", "role", "executor_id", "verdict"),
    [
        ("e-token", Role.EXECUTOR, "build-1", Verdict.GRANTED),
        ("e-token", Role.EXECUTOR, "build", Verdict.WRONG_ID),
        ("e-token", Role.EXECUTOR, "BUILD-1", Verdict.WRONG_ID),
        ("e-token", Role.HARNESS, "build-1", Verdict.WRONG_ROLE),
        ("h-token", Role.HARNESS, "anything", Verdict.GRANTED),
        ("h-token", Role.EXECUTOR, "anything", Verdict.WRONG_ROLE),
        ("both", Role.EXECUTOR, "a", Verdict.GRANTED),
        ("both", Role.EXECUTOR, "x1", Verdict.WRONG_ID),
        ("both", Role.HARNESS, "a", Verdict.GRANTED),
        ("both", Role.HARNESS, "x1", Verdict.GRANTED),
        ("both", Role.HARNESS, "z1", Verdict.WRONG_ID),
        ("#hash", Role.HARNESS, "a", Verdict.WRONG_ID),
        ("h-toke", Role.HARNESS, "a", Verdict.UNKNOWN_TOKEN),
        ("h-token ", Role.HARNESS, "a", Verdict.UNKNOWN_TOKEN),
        ("H-TOKEN", Role.HARNESS, "a", Verdict.UNKNOWN_TOKEN),
        ("", Role.HARNESS, "a", Verdict.UNKNOWN_TOKEN),
    ],
)
def test_what_a_token_gives(
    tmp_path: Path, token: str, role: Role, executor_id: str, verdict: Verdict
) -> None:
    assert table(tmp_path / "tokens", FILE).judge(token, role, executor_id) is verdict


@pytest.mark.parametrize("role", Role)
def test_for_development_any_token_gives_anything(role: Role) -> None:
    assert AnyToken().judge("whatever", role, "box1") is Verdict.GRANTED


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "s3cret",
            "line 3: write a role, a token and maybe a pattern of executor ids, not 1 words",
        ),
        ("harness s3cret a b", "line 3: .*, not 4 words"),
        ("s3cret harness", "line 3: begin it with `executor` or `harness`"),
        ("Harness s3cret", "line 3: begin it with `executor` or `harness`"),
        ("harness s3cret\x7f", f"line 3: use a token of 1 to {MAX_TOKEN_LENGTH} visible ASCII"),
        ("harness s3crét", "line 3: use a token of"),
        (f"harness s3cret{'x' * MAX_TOKEN_LENGTH}", "line 3: use a token of"),
        ("harness s3cret a/b", "line 3: use only letters, .* in the pattern of executor ids"),
        ("harness s3cret {a,b}", "line 3: use only letters"),
    ],
)
def test_a_bad_line_is_named_and_its_token_is_not(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "tokens"
    with pytest.raises(PrivateFileError, match=f"^{path}, {message}") as caught:
        table(path, f"# comment\nharness good\n{line}\n")
    assert "s3cr" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "# harness token\n"])
def test_a_file_without_a_token_says_what_to_write(tmp_path: Path, text: str) -> None:
    with pytest.raises(PrivateFileError, match="holds no token: write lines like `executor TOKEN`"):
        table(tmp_path / "tokens", text)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(b"harness \xff\n")
    path.chmod(0o600)
    with pytest.raises(PrivateFileError, match="not text in UTF-8"):
        read_token_file(path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("harness token\n")
    path.chmod(0o640)
    with pytest.raises(PrivateFileError, match="chmod 600"):
        read_token_file(path)


def test_no_token_is_kept_or_shown(tmp_path: Path) -> None:
    tokens = table(tmp_path / "tokens", "harness s3cret\n")
    kept = [tokens.__dict__, *tokens.__dict__["_rights"]]
    assert "s3cret" not in repr(kept)
    assert not any(b"s3cret" in right.token_hash for right in tokens.__dict__["_rights"])
