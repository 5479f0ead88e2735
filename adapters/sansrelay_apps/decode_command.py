"""`sansrelay decode`: show one relay frame."""

from typing import BinaryIO

import click

from sansrelay.config import RelayConfig

from .decode import describe, is_valid, read_notation
from .errors import USAGE, CliError

__all__ = ["command"]

MAX_INPUT = 4 * RelayConfig().max_frame_size
"""Bytes that are read at most: the largest frame in hex, with as many characters between."""


@click.command("decode", short_help="Show one relay frame, and what is wrong with it.")
@click.argument("file", type=click.File("rb"), default="-")
@click.pass_context
def command(ctx: click.Context, file: BinaryIO) -> None:
    """Show the one relay frame in FILE, or on standard input without FILE or with '-'.

    The frame may be in binary, hex or base64: that is found out.

    Exit status: 0 for a valid frame, 1 for an invalid one, 2 if nothing could be read.
    """
    try:
        text = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise CliError(f"{file.name} can't be read: {error.strerror}", status=USAGE) from None
    if len(text) > MAX_INPUT:
        raise CliError(f"the input is larger than {MAX_INPUT} bytes: give one frame", status=USAGE)
    notation, data = read_notation(text)
    for line in describe(data):
        click.echo(line)
    if notation != "binary":
        click.echo(f"read as {notation}")
    ctx.exit(0 if is_valid(data) else 1)
