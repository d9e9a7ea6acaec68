"""Who may talk to a router: Unix sockets, TLS, mutual TLS, rotation; on both transports, on real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from extproc import contract
from extproc.demo.processes import free_port
from extproc.transport import PRIVATE, Security, TransportName, make_server, parse_address, problems
from tests.integration.test_router import EXAMPLE
from tests.support import certificates
from tests.support.certificates import Files

TRANSPORTS = pytest.mark.parametrize("transport", list(TransportName))


@asynccontextmanager
async def serving(transport: TransportName, address: str, security: Security) -> AsyncIterator[None]:
    server = make_server(transport, parse_address(address), lambda message: b"re:" + message, security)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0.2)


def channel(port: int, trusts: Files, shows: Files | None) -> grpc.aio.Channel:
    """A new connection: it trusts one authority and shows the certificate of one."""
    own = (shows.client_key.read_bytes(), shows.client.read_bytes()) if shows is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(trusts.ca.read_bytes(), *own)
    # Without its own subchannel pool, a second channel would share the first one's connection.
    return grpc.aio.secure_channel(f"localhost:{port}", credentials, options=(("grpc.use_local_subchannel_pool", 1),))


async def ask(one: grpc.aio.Channel) -> bytes:
    """One decision; raises AioRpcError."""
    call = one.stream_stream(contract.PROCESS_METHOD)(iter([b"x"]), timeout=60)
    return b"".join([reply async for reply in call])


async def answered(port: int, trusts: Files, shows: Files | None) -> bool:
    """Whether a new connection is served."""
    async with channel(port, trusts, shows) as one:
        try:
            return await ask(one) == b"re:x"
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False


@TRANSPORTS
def test_mutual_tls_lets_in_who_shows_a_certificate_of_our_authority(transport: TransportName, tmp_path: Path) -> None:
    """Not who shows none, not who shows one of somebody else; and the client finds out if we are not who we say."""
    ours, theirs = certificates.write(tmp_path / "ours"), certificates.write(tmp_path / "theirs")
    port = free_port()

    async def run() -> list[bool]:
        async with serving(transport, f"127.0.0.1:{port}", ours.security):
            return [await answered(port, trusts, shows) for trusts, shows in ((ours, ours), (ours, None), (ours, theirs), (theirs, ours))]

    assert asyncio.run(run()) == [True, False, False, False]


@TRANSPORTS
def test_certificates_are_rotated_without_a_drop(transport: TransportName, tmp_path: Path) -> None:
    """New files count for new connections, authorities included; the old connection lives on; unusable files change nothing."""
    files, before = certificates.write(tmp_path / "files"), certificates.write(tmp_path / "before")
    for old in before.directory.iterdir():
        old.write_bytes((files.directory / old.name).read_bytes())
    port = free_port()

    async def until(expected: bool, trusts: Files) -> None:
        async with asyncio.timeout(60):
            while await answered(port, trusts, trusts) != expected:
                await asyncio.sleep(0.05)

    async def run() -> None:
        async with serving(transport, f"127.0.0.1:{port}", files.security), channel(port, before, before) as old:
            assert await ask(old) == b"re:x"
            certificates.write(files.directory)
            await until(True, files)
            await until(False, before)
            assert await ask(old) == b"re:x"
            files.server_key.write_bytes(b"a key that was only half written")
            await asyncio.sleep(1.2)
            assert await answered(port, files, files)
            after = certificates.write(files.directory)
            await until(True, after)

    asyncio.run(run())


@TRANSPORTS
@pytest.mark.parametrize(
    ("change", "served"),
    [({}, True), ({"alpn": "http/1.1"}, False), ({"alpn": ""}, False), ({"old": True}, False)],
    ids=["h2", "http/1.1", "no ALPN", "TLS 1.1"],
)
def test_only_h2_over_modern_tls_is_spoken(transport: TransportName, change: dict[str, object], served: bool, tmp_path: Path) -> None:
    """A client that agreed on another protocol, or on none, gets nothing."""
    files = certificates.write(tmp_path / "files")
    port = free_port()
    context = ssl.create_default_context(cafile=str(files.ca))
    context.load_cert_chain(files.client, files.client_key)
    if protocol := change.get("alpn", "h2"):
        context.set_alpn_protocols([str(protocol)])
    if change.get("old"):
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1

    async def run() -> bytes:
        async with serving(transport, f"127.0.0.1:{port}", files.security):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
                writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                async with asyncio.timeout(60):
                    got = await reader.read(9)
                writer.close()
            except (ssl.SSLError, ConnectionError):
                return b""
            return got

    assert (asyncio.run(run())[3:4] == b"\x04") == served  # SETTINGS


@TRANSPORTS
def test_a_socket_belongs_to_whom_we_say(transport: TransportName, tmp_path: Path) -> None:
    """Mode 0660 and the group that was asked for."""
    group = 4242 if os.geteuid() == 0 else os.getgid()
    path = tmp_path / "r.sock"

    async def run() -> os.stat_result:
        async with serving(transport, f"unix:{path}", Security(socket_owner=f":{group}")):
            return path.stat()

    found = asyncio.run(run())
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o660, os.geteuid(), group)


def test_a_peer_that_does_not_greet_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing are closed after a few seconds; those beyond the limit at once; others are served."""
    monkeypatch.setattr("extproc.transport.native.server.GREETING", 1)
    monkeypatch.setattr("extproc.transport.native.server.CONNECTIONS", 3)
    path = tmp_path / "r.sock"

    async def run() -> None:
        async with serving(TransportName.NATIVE, f"unix:{path}", PRIVATE):
            silent = [await asyncio.open_unix_connection(str(path)) for _ in range(3)]
            reader, writer = await asyncio.open_unix_connection(str(path))
            async with asyncio.timeout(60):
                assert await reader.read() == b""
            writer.close()
            async with asyncio.timeout(60):
                for reader, writer in silent:
                    assert (await reader.read())[3:4] == b"\x04"  # our SETTINGS, then the end
                    writer.close()
            async with grpc.aio.insecure_channel(f"unix:{path}") as one:
                assert await ask(one) == b"re:x"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "security", "found"),
    [
        ("0.0.0.0:9000", PRIVATE, ["settings.open"]),
        ("router.internal:9000", PRIVATE, ["settings.open"]),
        ("0.0.0.0:9000", Security(plaintext=True), []),
        ("127.0.0.1:9000", PRIVATE, []),
        ("[::1]:9000", PRIVATE, []),
        ("localhost:9000", PRIVATE, []),
        ("unix:/run/r.sock", PRIVATE, []),
        ("unix:/run/r.sock", Security(certificate="c"), ["settings.tls"]),
        ("unix:/run/r.sock", Security(key="k"), ["settings.tls"]),
        ("0.0.0.0:9000", Security(client_ca="ca", socket_owner="nobody-knows-him"), ["settings.tls", "settings.owner"]),
        ("unix:/run/r.sock", Security(certificate="/no/such", key="/no/such"), ["settings.tls"]),
    ],
)
def test_settings_that_are_not_safe_are_refused(address: str, security: Security, found: list[str]) -> None:
    """All at once, each with a next step."""
    problems_found = problems(parse_address(address), security)
    assert [problem.id for problem in problems_found] == found
    assert all(problem.hint for problem in problems_found)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    """A service has no terminal."""
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

    files = certificates.write(tmp_path / "files")
    key = load_pem_private_key(files.server_key.read_bytes(), None)
    files.server_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    (problem,) = problems(parse_address("127.0.0.1:9000"), files.security)
    assert "password" in problem.message


def test_the_command_refuses_an_open_port() -> None:
    """Before a worker starts."""
    port = free_port()
    command = [sys.executable, "-m", "extproc", "router", "--spec", str(EXAMPLE), "--listen", f"0.0.0.0:{port}", "--phase", "5%"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "[settings.open]" in done.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
