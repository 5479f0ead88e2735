"""The options that commands share."""

from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sansrelay_apps.options import (
    RegistryAccess,
    duration,
    duration_or_zero,
    plaintext_option,
    registry_options,
)

GIVEN = ("--registry", "http://127.0.0.1:8700", "--id", "box1")
TOKEN = {"SANSRELAY_TOKEN": "secret-token"}


@click.command()
@registry_options
@click.option("--more", default="")
@plaintext_option
def probe(access: RegistryAccess, more: str) -> None:
    click.echo(f"{access.base_url} {access.id} {access.token} {more}")


def call(*arguments: str, env: Mapping[str, str | None] = TOKEN) -> Result:
    unset: dict[str, str | None] = dict.fromkeys(
        ("SANSRELAY_REGISTRY", "SANSRELAY_ID", "SANSRELAY_TOKEN", "SANSRELAY_INSECURE")
    )
    return CliRunner().invoke(probe, arguments, env={**unset, **env})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43200), ("1d", 86400), ("0", 0), ("0h", 0)],
)
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert duration_or_zero(text) == seconds
    if seconds:
        assert duration(text) == seconds
    else:
        with pytest.raises(click.BadParameter, match="at least 1s"):
            duration(text)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1.5h", "1w", "1H", " 1", "1 h", "1h30m", "inf", "٣", "1" * 10]
)
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(click.BadParameter, match="use 90, 90s, 15m, 12h or 1d"):
        duration(text)


def test_everything_on_the_command_line() -> None:
    result = call(*GIVEN, "--more", "x", "--plaintext")
    assert result.output == "http://127.0.0.1:8700 box1 secret-token x\n"


def test_everything_from_the_environment() -> None:
    env = {"SANSRELAY_REGISTRY": "https://r.example/p", "SANSRELAY_ID": "box2", **TOKEN}
    assert call(env=env).output == "https://r.example/p box2 secret-token \n"
    assert call(*GIVEN, env=env).output.startswith("http://127.0.0.1:8700 box1 ")


def test_a_token_file_goes_before_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-file\n")
    assert call(*GIVEN, "--token-file", str(path)).output.split()[2] == "from-file"
    assert call(*GIVEN, "--token-file", str(path), env={}).output.split()[2] == "from-file"


@pytest.mark.parametrize(
    ("arguments", "env", "line"),
    [
        (("--id", "box1"), TOKEN, "no registry: give --registry URL or set SANSRELAY_REGISTRY"),
        (("--registry", "http://h"), TOKEN, "no executor id: give --id ID or set SANSRELAY_ID"),
        (GIVEN, {}, "no token: set SANSRELAY_TOKEN or give --token-file FILE"),
        (GIVEN, {"SANSRELAY_TOKEN": ""}, "no token: set SANSRELAY_TOKEN or give --token-file FILE"),
        (
            ("--registry", "127.0.0.1:8700", "--id", "x"),
            TOKEN,
            "the registry's URL can't be used: start the URL with http:// or https://",
        ),
        (
            ("--registry", "http://h?q", "--id", "x"),
            TOKEN,
            (
                "the registry's URL can't be used: remove the query ('?' and what follows) from "
                "the base URL"
            ),
        ),
        (
            ("--registry", "http://h", "--id", "a/b"),
            TOKEN,
            (
                "the executor's id can't be used: use an id of 1 to 256 ASCII letters, digits, '-' "
                "or '_'"
            ),
        ),
        (
            ("--registry", "http://10.0.0.5:8700", "--id", "x"),
            {**TOKEN, "SANSRELAY_INSECURE": "0"},
            (
                "others could read the token on its way to 10.0.0.5: use https:// in the "
                "registry's URL, or --insecure if the network between is trusted"
            ),
        ),
        (
            GIVEN,
            {"SANSRELAY_TOKEN": "with space"},
            (
                "the token in SANSRELAY_TOKEN can't be used: use a token of 1 to 8192 visible "
                "ASCII characters without spaces (look for a newline at the end of the file it "
                "came from)"
            ),
        ),
    ],
)
def test_what_is_missing_or_wrong(
    arguments: tuple[str, ...], env: dict[str, str], line: str
) -> None:
    result = call(*arguments, env=env)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"sansrelay: {line}\n")


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", b"x" * 9000])
def test_a_token_file_without_a_good_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    result = call(*GIVEN, "--token-file", str(path))
    assert result.exit_code == 2
    assert result.stderr.startswith("sansrelay: the token in the token file can't be used: ")
    assert content.decode("latin-1").strip() == "" or content.decode("latin-1") not in result.stderr


@pytest.mark.parametrize(
    ("name", "detail"), [("none", "No such file or directory"), (".", "Is a directory")]
)
def test_a_token_file_that_can_not_be_read(tmp_path: Path, name: str, detail: str) -> None:
    path = tmp_path / name
    result = call(*GIVEN, "--token-file", str(path))
    assert (result.exit_code, result.stderr) == (
        2,
        f"sansrelay: the token file {path} can't be read: {detail}\n",
    )


@pytest.mark.parametrize(
    ("arguments", "env"), [(("--insecure",), {}), ((), {"SANSRELAY_INSECURE": "1"})]
)
def test_plain_http_to_another_machine_is_asked_for(
    arguments: tuple[str, ...], env: dict[str, str]
) -> None:
    given = ("--registry", "http://10.0.0.5:8700", "--id", "x")
    result = call(*given, *arguments, env={**TOKEN, **env})
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_token_is_not_shown_by_accident() -> None:
    access = RegistryAccess(base_url="http://h", id="x", token="secret")
    assert "secret" not in repr(access)
