"""One request to a registry over a blocking socket, for commands that do nothing else."""

import math
import socket
import ssl
import time

from sansrelay.http import HttpClientConnection, HttpRequest, HttpResponse, HttpUrl

__all__ = ["NoAnswer", "exchange"]

TIMEOUT = 30.0
"""Seconds for all of it."""


class NoAnswer(Exception):
    """There is no HTTP answer. The message says why, and what to do."""


def exchange(base: HttpUrl, request: HttpRequest) -> HttpResponse:
    """Send the request to the host of `base` and return the answer. Raises `NoAnswer`."""
    where = f"the registry at {base.host}:{base.port}"
    deadline = time.monotonic() + TIMEOUT
    try:
        with _connect(base, deadline) as connection:
            return _converse(connection, request, deadline, where)
    except socket.gaierror as error:
        detail = f"the host name of {where} has no address: {error.strerror}; check --registry"
    except ConnectionRefusedError:
        detail = (
            f"{where} refused the connection: nothing listens there; check --registry, and that "
            "the rendezvous is running"
        )
    except TimeoutError:
        detail = f"no answer from {where} within {TIMEOUT:g} seconds; check --registry"
    except ssl.SSLError as error:
        detail = (
            f"no TLS connection to {where}: {error}; check the certificate; SSL_CERT_FILE names a "
            "file with CAs of your own"
        )
    except OSError as error:
        detail = f"{where} can't be reached: {error.strerror or error}; check --registry"
    raise NoAnswer(detail)


def _connect(base: HttpUrl, deadline: float) -> socket.socket:
    connection = socket.create_connection((base.host, base.port), _left(deadline))
    if not base.secure:
        return connection
    with connection:
        # Wrapping detaches the plain socket, so leaving the block closes it only after a failure.
        return ssl.create_default_context().wrap_socket(connection, server_hostname=base.host)


def _converse(
    connection: socket.socket, request: HttpRequest, deadline: float, where: str
) -> HttpResponse:
    http = HttpClientConnection(request)
    connection.settimeout(_left(deadline))
    connection.sendall(http.bytes_to_send())
    while http.response is None and http.failure is None:
        connection.settimeout(_left(deadline))
        data = connection.recv(65536)
        if data:
            http.receive_bytes(data)
        else:
            http.receive_eof()
    if http.response is not None:
        return http.response
    assert http.failure is not None
    raise NoAnswer(f"no answer from {where}: {http.failure.message}; check --registry")


def _left(deadline: float) -> float:
    """Seconds until the deadline; never 0, which would mean not to wait at all."""
    return max(deadline - time.monotonic(), math.ulp(1.0))
