"""The rendezvous server: registry, tickets, and the router behind WebSockets."""

from .addresses import ListenAddress, PublicBase, parse_listen_address
from .private_file import PrivateFileError
from .server import RendezvousServer, ServerConfig
from .tickets import MIN_KEY_SIZE, TicketSigner, read_ticket_key
from .tokens import AnyToken, TokenTable, read_token_file

__all__ = [
    "MIN_KEY_SIZE",
    "AnyToken",
    "ListenAddress",
    "PrivateFileError",
    "PublicBase",
    "RendezvousServer",
    "ServerConfig",
    "TicketSigner",
    "TokenTable",
    "parse_listen_address",
    "read_ticket_key",
    "read_token_file",
]
