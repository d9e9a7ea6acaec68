"""gRPC over HTTP/2 for ext_proc. A transport moves bytes; it knows nothing of Envoy's messages or of rollouts."""

from extproc.transport.address import Address, parse_address
from extproc.transport.base import Process, Server, TransportName, make_server
from extproc.transport.security import PRIVATE, Certificates, Security, beyond, is_loopback, is_open, problems

__all__ = [
    "PRIVATE",
    "Address",
    "Certificates",
    "Process",
    "Security",
    "Server",
    "TransportName",
    "beyond",
    "is_loopback",
    "is_open",
    "make_server",
    "parse_address",
    "problems",
]
