"""Who may talk to a server: the owner of a Unix socket, or the certificates of mutual TLS.

Certificates are read again when one of the files changes; a change that cannot be used keeps the last good ones. Connections that
exist keep what they were made with: nothing is dropped by a rotation.
"""

from __future__ import annotations

import grp
import ipaddress
import logging
import os
import pwd
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from extproc.errors import Problem, SettingsError
from extproc.transport.address import Address

SOCKET_MODE: Final = 0o660
"""Of a Unix socket: its owner and group, nobody else."""
ALPN: Final = "h2"
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption, none of those that RFC 9113 (appendix A) forbids."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Security:
    """Files are PEM. Certificate and key belong together; with `client_ca`, a client needs a certificate that it signed (mutual TLS)."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    socket_owner: str = ""
    """`USER`, `USER:GROUP` or `:GROUP` (names or numbers) of a Unix socket; empty: whoever runs us."""
    plaintext: bool = False
    """Listen beyond loopback without mutual TLS: somebody else (a service mesh) protects this port."""


PRIVATE: Final = Security()
"""A Unix socket of our own, or a port on loopback."""
_ASKED: Final = "whoever reaches it could ask which model a user meets"


def is_open(address: Address) -> bool:
    """True for what others than this machine can reach."""
    return not address.path and not is_loopback(address.host)


def beyond(address: Address, security: Security) -> Security:
    """`security` where a network reaches the address; Unix sockets and loopback stay as they are: opening one port changes no other."""
    return security if is_open(address) else PRIVATE


def problems(address: Address, security: Security, flag: str = "--listen", harm: str = _ASKED) -> list[Problem]:
    """Everything that keeps a server with these settings from being safe, or from starting; `harm`: what an open port would let happen."""
    found = []
    if bool(security.certificate) != bool(security.key):
        missing = "--tls-key" if security.certificate else "--tls-cert"
        found.append(Problem("settings.tls", missing, "certificate and key belong together", f"add {missing}"))
    if security.client_ca and not security.certificate:
        hint = "add --tls-cert and --tls-key: clients are checked inside TLS"
        found.append(Problem("settings.tls", "--tls-client-ca", "there is no TLS", hint))
    if is_open(address) and not security.client_ca and not security.plaintext:
        message = f"{address} is open to the network, and {harm}"
        hint = (
            "listen on unix:PATH or loopback, add --tls-cert, --tls-key and --tls-client-ca, or say --plaintext if a mesh protects the port"
        )
        found.append(Problem("settings.open", flag, message, hint))
    if not found and security.certificate:
        try:
            make_context(security)
        except (OSError, ssl.SSLError) as error:
            hint = "PEM files: the certificate with its chain, its key without a password, the authority of the clients"
            found.append(Problem("settings.tls", security.certificate, f"certificates cannot be used: {error}", hint))
    if security.socket_owner:
        try:
            owner(security.socket_owner)
        except LookupError as error:
            found.append(Problem("settings.owner", "--socket-owner", str(error).strip("'"), "write USER, USER:GROUP or :GROUP"))
    return found


def is_loopback(host: str) -> bool:
    """True for what only this machine can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def owner(text: str) -> tuple[int, int]:
    """(user id, group id) of `USER:GROUP`, -1 for what is not said; raises LookupError for a name that is not there."""
    user, _, group = text.partition(":")
    uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid if user else -1
    gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid if group else -1
    return uid, gid


def guard_socket(path: Path, security: Security) -> None:
    """Mode and owner of a socket that was just bound; raises OSError where we may not give it away."""
    path.chmod(SOCKET_MODE)
    if security.socket_owner:
        os.chown(path, *owner(security.socket_owner))


def make_context(security: Security, protocol: str = ALPN) -> ssl.SSLContext:
    """A server's context from the files as they are now, for this protocol (ALPN); raises OSError or ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols([protocol])
    context.options |= ssl.OP_NO_RENEGOTIATION
    # A ticket would let a client come back without showing its certificate to the authority of today.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(security.certificate, security.key, password=_no_password)
    if security.client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(security.client_ca)
    return context


def _no_password() -> str:
    raise ssl.SSLError("the key is protected by a password")


class Watched:
    """Files that are looked at from time to time."""

    def __init__(self, security: Security) -> None:
        self._paths = [path for path in (security.certificate, security.key, security.client_ca) if path]
        self._seen = self._stamps()

    def changed(self) -> bool:
        """True where a file is not what it was when this was last asked."""
        before, self._seen = self._seen, self._stamps()
        return self._seen != before

    def _stamps(self) -> list[tuple[int, int, int]]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, int, int]:
    """What changes when a file is written, replaced, or its symbolic link (a Kubernetes secret) is moved; zeros where it is gone."""
    try:
        found = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


class Certificates:
    """The TLS context of a server, made again when its files change."""

    def __init__(self, security: Security, protocol: str = ALPN) -> None:
        """Raises SettingsError where the files cannot be used."""
        self._security, self._protocol = security, protocol
        self._watched = Watched(security)
        try:
            self._current = make_context(security, protocol)
            self.context = make_context(security, protocol)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(Problem("settings.tls", security.certificate, f"certificates cannot be used: {error}")) from error
        # OpenSSL asks this in every handshake, whether the client names a server or not. (Seen: chain, key and authorities change.)
        self.context.sni_callback = self._choose
        self.failures = 0
        """Changes that could not be used."""

    def _choose(self, handshake: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        handshake.context = self._current

    def refresh(self) -> None:
        """Read changed files again; what cannot be used is logged, counted and not used."""
        if not self._watched.changed():
            return
        try:
            self._current = make_context(self._security, self._protocol)
        except (OSError, ssl.SSLError) as error:
            self.failures += 1
            log.error(
                "%s changed and cannot be used (%s); the last good certificates stay: look at the files", self._security.certificate, error
            )
        else:
            log.info("certificates were read again from %s", self._security.certificate)
