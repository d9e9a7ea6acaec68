"""gRPC over HTTP/2 for ext_proc. A transport moves bytes; it knows nothing of Envoy's messages or of rollouts."""

from extproc.transport.address import Address, parse_address
from extproc.transport.base import Process, Server, TransportName, make_server
from extproc.transport.security import PRIVATE, Security, is_loopback, problems

__all__ = [
    "PRIVATE",
    "Address",
    "Process",
    "Security",
    "Server",
    "TransportName",
    "is_loopback",
    "make_server",
    "parse_address",
    "problems",
]
