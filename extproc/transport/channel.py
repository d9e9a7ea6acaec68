"""A client's way to a server of ours: a Unix socket, loopback, or mutual TLS."""

from __future__ import annotations

from pathlib import Path

import grpc

from extproc.transport.address import Address
from extproc.transport.security import PRIVATE, Security, beyond

_OPTIONS = (("grpc.max_send_message_length", 16 << 20), ("grpc.max_receive_message_length", 16 << 20))


def open_channel(address: Address, security: Security = PRIVATE) -> grpc.aio.Channel:
    """Connects when it is first used. Beyond this machine, and with a `client_ca`, the server's certificate has to be signed by it and to
    name the host that we ask for, and we show our own; raises OSError where a file cannot be read."""
    security = beyond(address, security)
    if not security.client_ca:
        return grpc.aio.insecure_channel(str(address), options=_OPTIONS)
    authorities, key, chain = (Path(name).read_bytes() for name in (security.client_ca, security.key, security.certificate))
    return grpc.aio.secure_channel(str(address), grpc.ssl_channel_credentials(authorities, key, chain), options=_OPTIONS)
