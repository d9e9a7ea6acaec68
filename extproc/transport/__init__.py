"""gRPC over HTTP/2 for ext_proc: bytes in, bytes out."""

from extproc.transport.address import Address, parse_address
from extproc.transport.grpcio import GrpcioServer, start_on

__all__ = ["Address", "GrpcioServer", "parse_address", "start_on"]
