"""`sansrelay decode`: frames in readable form, whatever is wrong with them."""

import base64
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from sansrelay.codec import encode_frame
from sansrelay.frames import (
    AckFrame,
    DataFrame,
    Frame,
    HandshakeFrame,
    HeartbeatFrame,
    ResetFrame,
    ResumeFrame,
)
from sansrelay_apps.decode import PREVIEW, describe, is_valid, read_notation
from sansrelay_apps.decode_command import command

FRAME = encode_frame(DataFrame("abc", 5, 0b1011, 7, 1, 3, b'{"id":1}'))
HEAD = b"\x08\x01\x12\x03abc"
"""Version 1 and the stream id abc."""


def lines(data: bytes) -> list[str]:
    return list(describe(data))


# -- valid frames


def test_a_data_frame_in_full() -> None:
    assert lines(FRAME) == [
        f"valid frame, {len(FRAME)} bytes",
        "  version     1",
        '  stream_id   "abc"',
        "  ack         5",
        "  ack_bits    0xb: received 6-7, 9",
        "data",
        "  seq         7",
        "  segment     index 1 of 3",
        "  payload     8 bytes, JSON",
        '              {"id":1}',
    ]


@pytest.mark.parametrize(
    ("frame", "body"),
    [
        (
            ResumeFrame("s", 0, 0, 4, 0xA1, 0, True),
            [
                "resume",
                "  next_seq    4",
                "  incarnation 0x00000000000000a1",
                "  peer        none",
                "  answer      yes",
            ],
        ),
        (ResetFrame("s", 0, 0, "clo\x1bsed"), ["reset", '  reason      "clo\\x1bsed"']),
        (AckFrame("s", 0, 0), ["ack_frame"]),
        (HeartbeatFrame("s", 0, 0), ["heartbeat"]),
        (
            HandshakeFrame("s", 0, 0, b"\xff"),
            ["handshake", "  payload     1 byte, binary", "              ff"],
        ),
    ],
)
def test_each_body(frame: Frame, body: list[str]) -> None:
    assert lines(encode_frame(frame))[5:] == body


@pytest.mark.parametrize(
    ("bits", "shown"),
    [
        (0, "none"),
        (1, "0x1: received 11"),
        (0xFFFF_FFFF, "0xffffffff: received 11-42"),
        (0x8000_0000, "0x80000000: received 42"),
    ],
)
def test_ack_bits_are_segments(bits: int, shown: str) -> None:
    frame = encode_frame(AckFrame("s", 10, bits))
    assert f"  ack_bits    {shown}" in lines(frame)


@pytest.mark.parametrize(
    ("payload", "kind", "shown"),
    [
        (b'{"a":"\xc3\xa9"}', "JSON", '{"a":"\\xe9"}'),
        (b"no json", "text", '"no json"'),
        (b"line\n\x1b[2J", "binary", "6c 69 6e 65 0a 1b 5b 32 4a"),
        (b"[" * 10_000, "text", '"' + "[" * PREVIEW + '…"'),
        (b"\xff" * 1000, "binary", "ff " * (PREVIEW // 2 - 1) + "ff…"),
    ],
)
def test_payloads_are_cut_and_escaped(payload: bytes, kind: str, shown: str) -> None:
    shown_lines = lines(encode_frame(DataFrame("s", 0, 0, 1, 0, 1, payload)))
    assert shown_lines[-2] == f"  payload     {len(payload)} bytes, {kind}"
    assert shown_lines[-1].strip() == shown


# -- invalid frames


@pytest.mark.parametrize(
    ("data", "cause", "shown"),
    [
        (b"", "BAD_VERSION", None),
        (b"\x08\x02\x12\x03abc\x32\x00", "BAD_VERSION", "  at 0: version = 2"),
        (b"\x08\x01\x32\x00", "NO_STREAM_ID", "  ack_frame"),
        (HEAD, "NO_BODY", '  at 2: stream_id = 3 bytes, text: "abc"'),
        (HEAD + b"\x32\x00\x4a\x00", "SEVERAL_BODIES", "  heartbeat"),
        (HEAD + b"\x2a\x04\x08\x09\x18\x01", "EMPTY_PAYLOAD", "    at 9: seq = 9"),
        (
            HEAD + b"\x2a\x07\x10\x02\x18\x01\x22\x01x",
            "BAD_SEGMENT",
            "    at 11: segment_count = 1",
        ),
        (HEAD + b"\x42\x00", "EMPTY_REASON", "  reset"),
        (HEAD + b"\x42\x03\x0a\x01 ", "EMPTY_REASON", '    at 9: reason = 1 byte, text: " "'),
        (HEAD + b"\x18\x80\x80\x80\x80\x10\x32\x00", "OUT_OF_RANGE", "  at 7: ack = 4294967296"),
        (HEAD + b"\x2a\xff", "NOT_PROTOBUF", "  at 7: ? = the bytes end within a number"),
        (HEAD + b"\x2a\x05x", "NOT_PROTOBUF", "  at 7: ? = 5 bytes are announced, 1 are left"),
        (HEAD + b"\x07", "NOT_PROTOBUF", "  at 7: ? = wire type 7 is not in use here"),
        (b"\xff" * 20, "NOT_PROTOBUF", "  at 0: ? = a number has more than 10 bytes"),
        (
            HEAD + b"\x8d\x06\x01\x00\x00\x00",
            "NO_BODY",
            "  at 7: field 97 = 1",
        ),
    ],
)
def test_invalid_frames_show_what_can_be_read(data: bytes, cause: str, shown: str | None) -> None:
    described = lines(data)
    assert described[0].startswith("invalid frame, ")
    assert described[1].startswith(f"  cause       {cause}: ")
    assert shown is None or shown in described


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda tail: HEAD + tail))
def test_nothing_raises_or_reaches_the_terminal_raw(data: bytes) -> None:
    for line in describe(data):
        assert line.replace("…", "").isascii()
        assert line.isprintable()


# -- notations


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        (FRAME, "binary"),
        (FRAME.hex().encode(), "hex"),
        (FRAME.hex().upper().encode() + b"\n", "hex"),
        (b"0x" + FRAME.hex(" ").encode(), "hex"),
        (FRAME.hex(":").encode(), "hex"),
        (FRAME.hex("\n", 16).encode() + b"\n\n", "hex"),
        (base64.b64encode(FRAME), "base64"),
        (base64.encodebytes(FRAME), "base64"),
        (base64.urlsafe_b64encode(FRAME).rstrip(b"="), "base64"),
    ],
)
def test_the_notation_is_found_out(text: bytes, notation: str) -> None:
    assert read_notation(text) == (notation, FRAME)


def test_both_alphabets_of_base64() -> None:
    frame = encode_frame(DataFrame("s", 0, 0, 1, 0, 1, b"\xfb\xff\xfe" * 3))
    assert {b"+", b"/"} & {bytes([c]) for c in base64.b64encode(frame)}
    for text in (base64.b64encode(frame), base64.urlsafe_b64encode(frame)):
        assert read_notation(text) == ("base64", frame)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"abcd", ("hex", b"\xab\xcd")), (b"abc", ("base64", b"i\xb7")), (b"a!", ("binary", b"a!"))],
)
def test_what_is_no_frame_has_a_notation_too(text: bytes, expected: tuple[str, bytes]) -> None:
    assert read_notation(text) == expected


@given(st.binary(max_size=100))
def test_any_input_has_a_notation(text: bytes) -> None:
    _, data = read_notation(text)
    assert is_valid(data) in (True, False)


# -- the command


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments, input=FRAME.hex())
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [*lines(FRAME), "read as hex"]
    assert result.stderr == ""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "frame"
    path.write_bytes(FRAME)
    result = CliRunner().invoke(command, [str(path)])
    assert (result.exit_code, result.stdout.splitlines()) == (0, lines(FRAME))


def test_an_invalid_frame_has_status_1() -> None:
    result = CliRunner().invoke(command, [], input=HEAD)
    assert (result.exit_code, result.stdout.splitlines()) == (1, lines(HEAD))


def test_what_is_not_there_has_status_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_too_much_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sansrelay_apps.decode_command.MAX_INPUT", 10)
    assert CliRunner().invoke(command, [], input=b"0" * 10).exit_code == 1
    result = CliRunner().invoke(command, [], input=b"0" * 11)
    assert (result.exit_code, result.stderr) == (
        2,
        "sansrelay: the input is larger than 10 bytes: give one frame\n",
    )
