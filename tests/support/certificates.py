"""Throw-away authorities and certificates for loopback."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509

from extproc.transport import Security


@dataclass
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


class Turning(Files):
    """Files that are replaced all at once, as Kubernetes replaces those of a Secret: `..data` is a link to a directory, and it is moved."""

    issuer: trustme.CA
    """Who has issued those of now."""

    def turn(self, issuer: trustme.CA, trusted: Sequence[trustme.CA], person: str = "ann.people") -> None:
        """New certificates of this authority, among them one of a person; believed are all of `trusted`."""
        self.directory.mkdir(exist_ok=True)
        self.issuer = issuer
        turn = self.directory / f"..{len(list(self.directory.iterdir()))}-{time.monotonic_ns()}"
        made = write(turn, issuer)
        made.ca.write_bytes(b"".join(one.cert_pem.bytes() for one in trusted))
        own = issuer.issue_cert(person)
        (turn / "person.pem").write_bytes(b"".join(pem.bytes() for pem in own.cert_chain_pems))
        (turn / "person.key").write_bytes(own.private_key_pem.bytes())
        link = self.directory / "..new"
        link.symlink_to(turn.name)
        link.rename(self.directory / "..data")
        for file in turn.iterdir():
            if not (self.directory / file.name).is_symlink():
                (self.directory / file.name).symlink_to(f"..data/{file.name}")

    @property
    def now(self) -> Path:
        """Where those of now are: from there all of them are of one turn, whoever turns meanwhile."""
        return (self.directory / "..data").resolve()

    person = property(lambda self: self.directory / "person.pem")
    person_key = property(lambda self: self.directory / "person.key")


def serial(chain: Path) -> int:
    """Of the first certificate of a file."""
    return x509.load_pem_x509_certificate(chain.read_bytes()).serial_number
