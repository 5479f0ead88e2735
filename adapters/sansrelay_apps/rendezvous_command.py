"""`sansrelay rendezvous`."""

import errno
import secrets
import socket
import ssl
from pathlib import Path

import click

import trio
from sansrelay.http import HttpUrl, UrlError, parse_http_url

from .errors import USAGE, CliError
from .options import duration
from .rendezvous import (
    MIN_KEY_SIZE,
    AnyToken,
    ListenAddress,
    PrivateFileError,
    PublicBase,
    RendezvousServer,
    ServerConfig,
    TicketSigner,
    TokenTable,
    parse_listen_address,
    read_ticket_key,
    read_token_file,
)
from .service import announce, serve_until_signal
from .verbosity import verbose_option

__all__ = ["command"]

_STOP_SECONDS = 5.0
"""After which a rendezvous that was told to stop is ended, however far it got."""


def _listen_address(text: str) -> ListenAddress:
    try:
        return parse_listen_address(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no address: {error}") from None


def _public_url(text: str) -> HttpUrl:
    try:
        return parse_http_url(text)
    except UrlError as error:
        raise click.BadParameter(f"the URL can't be used: {error}") from None


@click.command("rendezvous")
@click.option(
    "--listen",
    type=_listen_address,
    metavar="HOST:PORT",
    default="127.0.0.1:8700",
    show_default=True,
    help="Where to listen; port 0 picks a free one.",
)
@click.option(
    "--dev",
    is_flag=True,
    help="For trials on this machine: let any token in, and listen on loopback only.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Who is let in: lines of a role (executor or harness), a token, and maybe a pattern of "
    "executor ids. Mode 0600.",
)
@click.option(
    "--public-url",
    type=_public_url,
    metavar="URL",
    help="What the URLs that are handed out start with, http:// or https://. By default the host "
    "that the request names.",
)
@click.option("--tls-cert", metavar="FILE", help="Certificate chain in PEM form, to serve TLS.")
@click.option("--tls-key", metavar="FILE", help="Its private key in PEM form, not encrypted.")
@click.option(
    "--behind-proxy",
    is_flag=True,
    help="Allow other addresses than loopback without TLS, since a proxy does it, and trust the "
    "proxy's X-Forwarded-Proto.",
)
@click.option(
    "--ticket-key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Key of the tickets in the URLs, {MIN_KEY_SIZE} random bytes or more, mode 0600. URLs "
    "then stay good across a restart. By default each start makes a key of its own.",
)
@click.option(
    "--max-ttl",
    type=duration,
    metavar="TIME",
    default="7d",
    show_default=True,
    help="Longest life of a URL, whatever is asked for.",
)
@verbose_option
def command(
    listen: ListenAddress,
    dev: bool,
    token_file: Path | None,
    public_url: HttpUrl | None,
    tls_cert: str | None,
    tls_key: str | None,
    behind_proxy: bool,
    ticket_key_file: Path | None,
    max_ttl: int,
) -> None:
    """Serve a registry and a rendezvous, where executors and harnesses meet.

    Prints one line to standard output once it accepts connections: `ready URL`. SIGTERM ends it in
    good order, with status 0.

    The address, the certificate or the key being unusable gives status 1; a command line or another
    file that can't be used, status 2.
    """
    secure = tls_cert is not None
    if dev and token_file is not None:
        raise CliError("--dev lets any token in: leave out --token-file, or --dev", status=USAGE)
    if dev and not listen.is_loopback:
        raise CliError(
            f"--dev lets any token in, so it may not listen on {listen.host}: use 127.0.0.1, or "
            "--token-file FILE in the place of --dev",
            status=USAGE,
        )
    if secure != (tls_key is not None):
        raise CliError("give --tls-cert and --tls-key together, or neither", status=USAGE)
    if not (listen.is_loopback or secure or behind_proxy):
        raise CliError(
            f"others could read tokens on their way to {listen.host}: give --tls-cert and "
            "--tls-key, or --behind-proxy if a proxy in front of it speaks TLS",
            status=USAGE,
        )
    try:
        access = AnyToken() if dev else _read_tokens(token_file)
        key = read_ticket_key(ticket_key_file) if ticket_key_file else secrets.token_bytes(32)
    except PrivateFileError as error:
        raise CliError(str(error), status=USAGE) from None
    ssl_context = _ssl_context(tls_cert, tls_key) if tls_cert and tls_key else None

    async def run() -> int:
        listeners = await _open_listeners(listen)
        port = listeners[0].socket.getsockname()[1]
        listening = ListenAddress(listen.host, port).url(secure=secure)
        server = RendezvousServer(
            access=access,
            signer=TicketSigner(key),
            base=PublicBase(
                public_url, listening=parse_http_url(listening), trust_proxy=behind_proxy
            ),
            config=ServerConfig(max_ttl=max_ttl, refuse_web_pages=dev),
        )

        async def serve() -> None:
            # The kernel has accepted connections since the listeners were opened.
            announce(f"ready {listening}")
            await server.serve(listeners, ssl_context=ssl_context)

        return await serve_until_signal(serve, stop=server.stop, seconds=_STOP_SECONDS)

    click.get_current_context().exit(trio.run(run))


def _read_tokens(path: Path | None) -> TokenTable:
    if path is None:
        raise CliError(
            "nobody could be let in: give --token-file FILE, with lines like `executor TOKEN` and "
            "`harness TOKEN`, or --dev for a trial on this machine",
            status=USAGE,
        )
    return read_token_file(path)


def _ssl_context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password at hand, OpenSSL would ask for that of an encrypted key.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        detail = f" ({error.reason.replace('_', ' ').lower()})" if error.reason else ""
        raise CliError(
            f"no TLS with the certificate {cert} and the key {key}{detail}: both have to be in "
            "PEM form and belong together, and the key must not be encrypted",
            status=1,
        ) from None
    except OSError as error:
        raise CliError(f"can't read {cert} or {key}: {error.strerror}", status=1) from None
    return context


async def _open_listeners(address: ListenAddress) -> list[trio.SocketListener]:
    try:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
    except OSError as error:
        raise CliError(_why_not(address, error), status=1) from None
    if address.port == 0:
        # A name may stand for several addresses, and each has got a port of its own.
        for each in listeners[1:]:
            await each.aclose()
        del listeners[1:]
    return listeners


def _why_not(address: ListenAddress, error: OSError) -> str:
    where = f"can't listen on {address.host} port {address.port}"
    if isinstance(error, socket.gaierror):
        return f"{where}: the host name has no address"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where}: another program does. Choose another port with --listen"
        case errno.EACCES:
            return f"{where}: not permitted. Choose a port above 1023 with --listen"
        case errno.EADDRNOTAVAIL:
            return f"{where}: this machine has no such address. Choose another with --listen"
    return f"{where}: {error.strerror}"
