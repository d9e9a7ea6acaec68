"""Throw-away authorities and certificates for loopback."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from extproc.transport import Security


@dataclass(frozen=True)
class Files:
    """PEM files in one directory: a server's chain and key, a client's, and the authority of both."""

    directory: Path

    @property
    def security(self) -> Security:
        """Mutual TLS with these files."""
        return Security(str(self.server), str(self.server_key), str(self.ca))

    server = property(lambda self: self.directory / "server.pem")
    server_key = property(lambda self: self.directory / "server.key")
    client = property(lambda self: self.directory / "client.pem")
    client_key = property(lambda self: self.directory / "client.key")
    ca = property(lambda self: self.directory / "ca.pem")


def write(directory: Path, authority: trustme.CA | None = None, name: str = "localhost") -> Files:
    """A server (a DNS name or an address) and a client of an authority, by default a new one; replaces what is there."""
    directory.mkdir(exist_ok=True)
    files, authority = Files(directory), authority or trustme.CA()
    authority.cert_pem.write_to_path(str(files.ca))
    for certificate, key, identity in ((files.server, files.server_key, name), (files.client, files.client_key, "envoy.internal")):
        made = authority.issue_cert(identity)
        certificate.write_bytes(b"".join(pem.bytes() for pem in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())
    return files
