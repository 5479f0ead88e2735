"""What `sansrelay rendezvous` does not start with. In this process, since nothing is served."""

import errno
import re
import socket
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import trio
from sansrelay_apps.cli import cli


def refusal(*arguments: str) -> tuple[int, str]:
    """The exit status, and the one line on standard error."""
    result = CliRunner().invoke(cli, ["rendezvous", *arguments])
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return result.exit_code, lines[0]


@pytest.mark.usefixtures("root_log")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "nobody could be let in: give --token-file FILE, .* or --dev"),
        (("--dev", "--token-file", "x"), "--dev lets any token in: leave out --token-file"),
        (("--dev", "--listen", "0.0.0.0:0"), "--dev .* may not listen on 0.0.0.0: use 127.0.0.1"),
        (("--dev", "--listen", "[::]:0"), "may not listen on ::"),
        (("--dev", "--listen", "box.example:0"), "may not listen on box.example"),
        (
            ("--dev", "--listen", "0.0.0.0:0", "--behind-proxy"),
            "may not listen on 0.0.0.0",
        ),
        (
            ("--token-file", "x", "--listen", "0.0.0.0:0"),
            "others could read tokens .* give --tls-cert and --tls-key, or --behind-proxy",
        ),
        (("--dev", "--tls-cert", "x"), "give --tls-cert and --tls-key together, or neither"),
        (("--dev", "--tls-key", "x"), "give --tls-cert and --tls-key together, or neither"),
        (("--dev", "--listen", "8700"), "'8700' is no address: write HOST:PORT"),
        (("--dev", "--listen", "127.0.0.1:99999"), "is no address: write HOST:PORT"),
        (("--dev", "--public-url", "ws://x"), "start the URL with http:// or https://"),
        (("--dev", "--max-ttl", "0"), "use at least 1s"),
        (("--dev", "--nonsense"), "No such option"),
        (("--dev", "surplus"), "unexpected extra argument"),
        (("--token-file", "/nonexistent/file"), "can't read /nonexistent/file: No such file"),
        (("--dev", "--ticket-key-file", "/nonexistent/file"), "can't read /nonexistent/file"),
    ],
)
def test_a_command_line_that_makes_no_sense_gives_status_2(
    arguments: tuple[str, ...], line: str
) -> None:
    status, said = refusal(*arguments)
    assert status == 2
    assert said.startswith("sansrelay: ")
    assert re.search(line, said), said


@pytest.mark.usefixtures("root_log")
def test_a_file_of_tokens_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("executor s3cret\n")
    path.chmod(0o644)
    assert refusal("--token-file", str(path)) == (
        2,
        f"sansrelay: {path} has mode 0644, and holds secrets: run `chmod 600 {path}`",
    )
    assert refusal("--dev", "--ticket-key-file", str(path))[0] == 2


@pytest.mark.usefixtures("root_log")
@pytest.mark.parametrize("case", ["missing", "no PEM", "of another key", "encrypted"])
def test_a_certificate_or_key_that_can_not_be_used_gives_status_1(
    tmp_path: Path, case: str
) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)
    match case:
        case "missing":
            key = tmp_path / "missing"
        case "no PEM":
            key.write_text("nonsense")
        case "of another key":
            authority.issue_cert("other.test").private_key_pem.write_to_path(key)
        case "encrypted":
            plain = load_pem_private_key(key.read_bytes(), None)
            key.write_bytes(
                plain.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
                )
            )
    status, line = refusal(
        "--dev", "--listen", "127.0.0.1:0", "--tls-cert", str(chain), "--tls-key", str(key)
    )
    assert status == 1
    assert str(key) in line
    assert ("can't read" if case == "missing" else "must not be encrypted") in line


@pytest.mark.usefixtures("root_log")
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EADDRINUSE, "x"), "another program does. Choose another port"),
        (OSError(errno.EACCES, "x"), "not permitted. Choose a port above 1023"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "this machine has no such address"),
        (OSError(errno.EIO, "x y z"), "x y z"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "the host name has no address"),
    ],
)
def test_an_address_that_can_not_be_listened_on_gives_status_1(
    monkeypatch: pytest.MonkeyPatch, error: OSError, line: str
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(trio, "open_tcp_listeners", fail)
    status, said = refusal("--dev", "--listen", "localhost:80")
    assert status == 1
    assert said.startswith("sansrelay: can't listen on localhost port 80: ")
    assert line in said
