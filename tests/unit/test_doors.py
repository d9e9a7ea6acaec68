"""What a controller opens to a network: nothing without mutual TLS, and each of its services by it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from extproc import contract
from extproc.controller.api_process import ApiSettings
from extproc.controller.copies import CopyServer
from extproc.controller.doors import Doors
from extproc.controller.judging import JudgeSettings
from extproc.demo.processes import free_port
from extproc.errors import SettingsError
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Chances, Sampler
from extproc.transport import Security
from tests.support import certificates
from tests.support.certificates import Files
from tests.support.feedback import Service
from tests.unit.test_copies import Kept

UNIX = "unix:/run/x.sock"
HOME = "127.0.0.1:9972"
OPEN = "0.0.0.0:9000"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates.write(tmp_path_factory.mktemp("doors") / "files")


@pytest.mark.parametrize(
    ("addresses", "api", "found"),
    [
        ((UNIX, UNIX, HOME), "", []),
        ((OPEN, OPEN, OPEN), OPEN, ["--collector", "--sampler", "--feedback-listen", "--api-listen"]),
        (("controller.internal:9090", UNIX, HOME), "", ["--collector"]),
        ((UNIX, UNIX, HOME), "127.0.0.1:9000", []),
        ((UNIX, UNIX, HOME), "unix:/run/api.sock", ["--api-listen"]),
    ],
)
def test_every_open_port_is_refused_without_mutual_tls(
    addresses: tuple[str, str, str], api: str, found: list[str], files: Files, tmp_path: Path
) -> None:
    """All at once, each with its flag, what would happen and a next step; with certificates, or where a mesh is vouched for, none is."""
    with_tls_alone = Security(files.security.certificate, files.security.key)
    for security in (Security(), with_tls_alone):
        try:
            Doors(security, api).check(*addresses)
            problems = []
        except SettingsError as error:
            problems = list(error.problems)
        assert [problem.path for problem in problems] == found
        assert all(problem.hint for problem in problems)
    for security in (files.security, Security(plaintext=True)):
        if not api.startswith("unix:"):
            Doors(security, api).check(*addresses)
    with pytest.raises(SettingsError) as caught:
        Doors(files.security, "", str(files.ca), str(tmp_path / "nobody.yaml")).check(UNIX, UNIX, HOME)
    assert [problem.id for problem in caught.value.problems] == ["settings.tls", "access.file"]


def test_loopback_and_sockets_stay_as_they_are_and_the_api_may_have_its_own_authority(files: Files) -> None:
    """To open one port changes no other; and whose certificates may act need not be whose may send outcomes."""
    doors = Doors(files.security, "0.0.0.0:9000", "people.pem", "access.yaml")
    assert doors.api_security == Security(files.security.certificate, files.security.key, "people.pem")
    assert Doors(files.security, HOME).api_security == files.security
    assert Doors(Security(), HOME).api_security == Security()


def test_what_a_child_is_told_is_what_it_reads(files: Files) -> None:
    """Paths of certificates go with the rest; keys themselves are in no line."""
    judge = JudgeSettings("sqlite:/x", OPEN, "spec", files.security)
    assert JudgeSettings.read(judge.write()) == judge
    api = ApiSettings("sqlite:/x", "token", 3, (4,), Doors(files.security, OPEN, "ca.pem", "access.yaml"))
    assert ApiSettings.read(api.write()) == api


def refuses(ask: Callable[[ssl.SSLContext | None], object], files: Files, tmp_path: Path) -> None:
    """In the clear, without a certificate and with a foreign one there is no answer."""
    foreign = certificates.write(tmp_path / "foreign")
    bare, other = ssl.create_default_context(cafile=files.ca), ssl.create_default_context(cafile=files.ca)
    other.load_cert_chain(foreign.client, foreign.client_key)
    for context in (None, bare, other):
        with pytest.raises(httpx.TransportError):
            ask(context)


def test_feedback_is_taken_from_who_shows_envoys_certificate(files: Files, tmp_path: Path) -> None:
    """The service itself looks at posts as it did."""
    service = Service(tmp_path, security=files.security)
    url = f"localhost:{service.port}{contract.FEEDBACK_PATH}"

    def ask(context: ssl.SSLContext | None) -> httpx.Response:
        scheme, verify = ("http", True) if context is None else ("https", context)
        return httpx.post(f"{scheme}://{url}", json={}, verify=verify, trust_env=False, timeout=30.0)

    try:
        service.start()
        refuses(ask, files, tmp_path)
        ours = ssl.create_default_context(cafile=files.ca)
        ours.load_cert_chain(files.client, files.client_key)
        assert ask(ours).status_code == 422
    finally:
        service.close()


def test_copies_are_taken_from_who_shows_envoys_certificate(files: Files) -> None:
    """On a port that a network reaches; a stream without a copy is no sample, and no fault."""
    port = free_port()

    async def go() -> list[grpc.StatusCode]:
        server = CopyServer(Sampler(Redactor(), None), Kept(), Chances(None), 1000)  # type: ignore[arg-type]
        await server.start(f"0.0.0.0:{port}", files.security)
        own = files.client_key.read_bytes(), files.client.read_bytes()
        codes = []
        for shown in (own, (None, None)):
            credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), *shown)
            options = (("grpc.use_local_subchannel_pool", 1),)
            async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options=options) as channel:
                call = channel.stream_stream(contract.PROCESS_METHOD)(iter([b""]), timeout=30)  # type: ignore[call-arg]
                codes.append(await call.code())
        await server.stop()
        return codes

    assert asyncio.run(go()) == [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE]
