"""Who may come to the API, and what he may: the file of people, every role at every door, and what a refused attempt leaves behind."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from extproc import contract
from extproc.cli import token as command
from extproc.controller.access import OPERATOR_ACTS, Role, digest, needed_for, read_access, read_people
from extproc.controller.access.people import names_in
from extproc.controller.api import Api
from extproc.controller.console.routes import CSRF_HEADER
from extproc.controller.talk import ACTIONS
from extproc.domain import Status
from extproc.errors import SettingsError
from extproc.runtime.http import CERTIFICATE
from tests.unit.test_api import NAME, TOKEN, Served

TOKENS = {role: f"token-of-the-{role}-{'x' * 20}" for role in Role}
CERTIFIED = {"subject": ((("commonName", "nobody"),),), "subjectAltName": (("DNS", "carl.internal"),)}
OURS = {CSRF_HEADER: "1", "host": "127.0.0.1:9970"}


def written(path: Path, **roles: Role) -> str:
    """A file of one person of each role, with tokens, and one operator with a certificate."""
    roles = roles or {"vera": Role.VIEWER, "otto": Role.OPERATOR, "ada": Role.ADMIN}
    lines = [f'  {name}: {{role: {role}, token_sha256: "{digest(TOKENS[role]).hex()}"}}' for name, role in roles.items()]
    path.write_text("\n".join(["people:", *lines, "  carl: {role: operator, certificate: carl.internal}", ""]))
    return str(path)


class Peopled(Served):
    """An API with a file of people."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = path / "access.yaml"
        self.made = Api(self.client, self.journal, TOKEN, written(self.file))
        self.certificate: dict[str, Any] | None = None

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await self.made.app()({**scope, CERTIFICATE: self.certificate}, receive, send)

        self._app = app  # type: ignore[assignment]

    def as_(self, role: Role, method: str, path: str, **arguments: Any) -> Any:
        return self.ask(method, path, TOKENS[role], **arguments)

    def session(self, role: Role, name: str = "somebody else") -> dict[str, str]:
        """Headers of somebody who has logged in at the console."""
        answer = self.ask("POST", "/console/v1/login", None, OURS, json={"name": name, "token": TOKENS[role]})
        assert answer.status_code == 200, answer.text
        return {**OURS, "cookie": answer.headers["set-cookie"].partition(";")[0]}

    def close(self) -> None:
        self.made.close()
        super().close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Peopled]:
    with closing(Peopled(tmp_path)) as served:
        yield served


# ----------------------------------------------------------------------------------------------------------------------- roles
READS = [("GET", "/v1/status"), ("GET", "/v1/journal"), ("GET", f"/v1/rollouts/{NAME}/verdict")]
PERSONAL = [("GET", f"/v1/exposures?rollout={NAME}"), ("GET", f"/console/v1/exposures?rollout={NAME}")]
PERSONAL += [("GET", f"/console/v1/samples?rollout={NAME}"), ("POST", "/console/v1/label")]
ACTS = [("POST", f"{at}/{act}") for at in (f"/v1/rollouts/{NAME}", f"/console/v1/rollouts/{NAME}") for act in ACTIONS]


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        (None, [*READS, *PERSONAL, *ACTS, ("POST", "/v1/explain")]),
        (Role.VIEWER, [*PERSONAL, *ACTS, ("POST", "/v1/explain"), ("POST", "/console/v1/explain")]),
        (Role.OPERATOR, [*PERSONAL, *((method, path) for method, path in ACTS if path.endswith("/override"))]),
        (Role.ADMIN, []),
    ],
    ids=["nobody", *Role],
)
def test_every_door_has_its_role(api: Peopled, role: Role | None, refused: list[tuple[str, str]]) -> None:
    """By token at /v1 and by cookie at the console: what is refused is refused before anything is read or done, the rest is not."""
    session = api.session(role) if role is not None else OURS
    for method, path in [*READS, *PERSONAL, *ACTS, ("POST", "/v1/explain"), ("POST", "/console/v1/explain")]:
        console = path.startswith("/console")
        token = None if console or role is None else TOKENS[role]
        answer = api.ask(method, path, token, session if console else {}, json={} if method == "POST" else None)
        if (method, path) in refused:
            assert answer.status_code == (401 if role is None else 403), (path, answer.text)
            assert answer.json()["problems"][0]["id"] in ("api.role", "api.token", "console.login")
        else:
            assert answer.status_code not in (401, 403) or (role is None and console), (path, answer.text)
    assert api.loop.state.rollouts[NAME].status is Status.PENDING
    assert {entry.actor for entry in api.store.journal(NAME, 10)} == {"extproc"}


def test_an_act_that_nobody_has_thought_of_is_an_admins() -> None:
    """What is new is open to nobody by accident; and every act that there is has been thought of."""
    assert needed_for("new") is needed_for("off") is needed_for("on") is Role.ADMIN
    assert {act for act in ACTIONS if needed_for(act) is Role.ADMIN} == {"override"}
    assert set(ACTIONS) >= OPERATOR_ACTS


def test_the_journal_names_who_has_the_credential(api: Peopled) -> None:
    """Whatever name is claimed, by token, by cookie and by certificate."""
    body = {"why": "because", "actor": "mallory"}
    assert api.as_(Role.OPERATOR, "POST", f"/v1/rollouts/{NAME}/start", json=body).status_code == 200
    assert api.ask("POST", f"/console/v1/rollouts/{NAME}/pause", "", api.session(Role.OPERATOR), json=body).status_code == 200
    api.certificate = CERTIFIED
    assert api.ask("POST", f"/v1/rollouts/{NAME}/resume", None, json=body).status_code == 200
    assert [entry.actor for entry in api.store.journal(NAME, 3)] == ["carl", "otto", "otto"]
    answer = api.ask("GET", "/console/v1/session", None, api.session(Role.VIEWER, "mallory"))
    assert (answer.json()["name"], answer.json()["role"], answer.json()["people"]) == ("carl", "operator", True), "the certificate first"


def test_with_people_the_token_beside_the_store_opens_nothing(api: Peopled) -> None:
    """Nobody acts without a name of his own; without the file it is an admin's, as ever."""
    assert api.ask("GET", "/v1/status", TOKEN).status_code == 401
    login = api.ask("POST", "/console/v1/login", "", OURS, json={"name": "x", "token": TOKEN})
    assert login.status_code == 401
    api._app = Api(api.client, api.journal, TOKEN).app()
    assert api.ask("GET", f"/v1/exposures?rollout={NAME}").status_code != 403
    assert api.act("start").status_code == 200
    assert api.store.journal(NAME, 1)[0].actor == "ann"


# ---------------------------------------------------------------------------------------------------------------- certificates
def test_a_certificate_is_no_excuse_for_a_wrong_token_or_another_sites_page(api: Peopled) -> None:
    """A browser shows it for every page, so what a page asks at /v1 wants what no other site can send."""
    api.certificate = CERTIFIED
    start = f"/v1/rollouts/{NAME}/start"
    assert api.ask("POST", start, "wrong", json={"why": "x"}).status_code == 401
    for headers in (
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", CSRF_HEADER: "1"},
    ):
        answer = api.ask("POST", start, None, headers, json={"why": "x"})
        assert (answer.status_code, answer.json()["problems"][0]["id"]) == (403, "console.csrf")
    assert api.ask("POST", f"/console{start}", None, json={"why": "x"}).status_code == 403
    assert api.loop.state.rollouts[NAME].status is Status.PENDING


def test_who_has_a_certificate_of_nobody_is_nobody(api: Peopled) -> None:
    """It was signed by the right authority and names no one of the file: Envoy's own, for example."""
    api.certificate = {"subject": ((("commonName", "envoy"),),), "subjectAltName": (("DNS", "envoy.internal"),)}
    assert api.ask("GET", "/v1/status", None).status_code == 401


def test_names_of_a_certificate() -> None:
    """Common name and alternative names; two people in one certificate are nobody."""
    both = {"subject": ((("countryName", "DE"),), (("commonName", "a"),)), "subjectAltName": (("URI", "spiffe://x/b"), ("DirName", "c"))}
    assert names_in(both) == {"a", "spiffe://x/b"}
    assert names_in(None) == names_in({}) == frozenset()
    people = read_people("f", "people: {a: {role: viewer, certificate: a}, b: {role: admin, certificate: 'spiffe://x/b'}}")
    assert people.by_certificate(names_in(both)) is None
    found = people.by_certificate(frozenset({"a"}))
    assert found is not None
    assert found.name == "a"


# -------------------------------------------------------------------------------------------------------------------- sessions
def test_a_session_is_worth_what_its_person_is_worth_today(api: Peopled) -> None:
    """Made less: less at once. Another token, or gone from the file: no session."""
    session = api.session(Role.ADMIN)
    personal = f"/console/v1/samples?rollout={NAME}"
    assert api.ask("GET", personal, "", session).status_code != 403
    file = api.file.read_text()
    api.file.write_text(file.replace("ada: {role: admin", "ada: {role: viewer"))
    api.made.gate.access = read_access(str(api.file))
    assert api.ask("GET", personal, "", session).status_code == 403
    for changed in (file.replace(digest(TOKENS[Role.ADMIN]).hex(), "0" * 64), file.replace("ada:", "eve:")):
        api.file.write_text(changed)
        api.made.gate.access = read_access(str(api.file))
        assert api.ask("GET", personal, "", session).status_code == 401


# ------------------------------------------------------------------------------------------------------------------------ file
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["access.yaml"]),
        ("people: [", ["access.yaml"]),
        ("people: {a: {role: viewer, certificate: x}, a: {role: admin, certificate: y}}", ["access.yaml"]),
        ("people: {}", ["access.shape"]),
        ("persons: {a: {role: viewer, certificate: x}}", ["access.shape"]),
        ("people: {a: 1}", ["access.shape"]),
        ("people: {a: {role: root, certificate: x, tokn: y}}", ["access.unknown-key", "access.role"]),
        ("people: {a: {role: viewer}}", ["access.credential"]),
        ("people: {a: {role: viewer, token_sha256: secret-itself}}", ["access.digest"]),
        ("people: {a: {role: viewer, certificate: 7}}", ["access.certificate"]),
        ("people: {extproc: {role: viewer, certificate: x}}", ["access.name"]),
        ("people: {a: {role: viewer, certificate: x}, b: {role: admin, certificate: x}}", ["access.twice"]),
    ],
)
def test_a_bad_file_is_refused_with_everything_that_is_wrong(text: str, found: list[str], tmp_path: Path) -> None:
    """Each with a next step, and without what may be a secret."""
    file = tmp_path / "access.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_access(str(file))
    assert [problem.id for problem in caught.value.problems] == found
    assert all(problem.hint for problem in caught.value.problems)
    assert "secret-itself" not in str(caught.value)


def test_a_file_that_turns_bad_leaves_the_last_good_people(api: Peopled) -> None:
    """It is read again when it changes; /metrics says whether it is in force."""

    async def until(problem: bool) -> None:
        """The gate has looked, and found it so."""
        following = asyncio.create_task(api.made.gate.follow())
        async with asyncio.timeout(60):
            while bool(api.made.gate.state.problems) != problem:
                await asyncio.sleep(0.05)
        following.cancel()

    good = api.file.read_text()
    api.file.write_text("people: nonsense")
    api.run(until(True))
    assert api.as_(Role.ADMIN, "GET", "/v1/status").status_code == 200
    assert f"{contract.METRIC_ACCESS_PROBLEM} 1.0" in api.ask("GET", "/metrics").text
    api.file.write_text(good.replace("ada:", "eve:"))
    api.run(until(False))
    assert f"{contract.METRIC_ACCESS_PROBLEM} 0.0" in api.ask("GET", "/metrics").text
    assert api.made.gate.access.named("eve") is not None
    assert api.made.gate.access.named("ada") is None


def test_an_api_that_begins_with_a_bad_file_lets_nobody_in(api: Peopled) -> None:
    """The controller does not start with one; its API process may be replaced while there is one, and must not fall back to the token."""
    api.file.write_text("people: nonsense")
    api._app = Api(api.client, api.journal, TOKEN, str(api.file)).app()
    for token in (TOKEN, *TOKENS.values()):
        assert api.ask("GET", "/v1/status", token).status_code == 401
    assert api.ask("GET", "/healthz").status_code in (200, 503)


# ----------------------------------------------------------------------------------------------------------------------- audit
def test_who_looks_at_data_of_people_is_on_record(api: Peopled, caplog: pytest.LogCaptureFixture) -> None:
    """With the path, and without the query: ids of users may stand there."""
    caplog.set_level(logging.INFO)
    api.as_(Role.ADMIN, "GET", f"/v1/exposures?rollout={NAME}&cohort=of-somebody")
    said = [record.getMessage() for record in caplog.records if record.name.endswith("access.gate")]
    assert said == ["allowed: ada (admin), GET /v1/exposures"]


def test_a_refused_attempt_is_counted_and_told_without_a_secret(api: Peopled, caplog: pytest.LogCaptureFixture) -> None:
    """Who may not is named with what he wanted; of whoever is nobody, nothing is repeated. The Journal does not know of it."""
    caplog.set_level(logging.DEBUG)
    assert api.as_(Role.VIEWER, "GET", "/v1/status").status_code == 200, "the API knows the rollouts' names, which may be logged"
    api.as_(Role.VIEWER, "POST", f"/v1/rollouts/{NAME}/rollback", json={"why": "hush"})
    api.ask("POST", f"/v1/rollouts/{NAME}/rollback", "guessed-token", json={"why": "hush"})
    api.ask("POST", "/console/v1/login", "", OURS, json={"name": "x", "token": "another-guess"})
    api.ask("POST", f"/console/v1/rollouts/{NAME}/rollback", "", {**api.session(Role.ADMIN), "sec-fetch-site": "cross-site"})
    said = [record.getMessage() for record in caplog.records if record.name.endswith("access.gate")]
    assert f"refused: vera (viewer) may not POST /v1/rollouts/{NAME}/rollback, which is for operator" in said
    assert len(said) == 4
    metrics = api.ask("GET", "/metrics").text
    for reason, count in (("role", 1), ("credential", 2), ("site", 1)):
        assert f'{contract.METRIC_API_REFUSED}{{reason="{reason}"}} {count}.0' in metrics
    everything = metrics + caplog.text + api.as_(Role.ADMIN, "GET", "/v1/status").text + api.as_(Role.ADMIN, "GET", "/v1/journal").text
    digests = [digest(token).hex() for token in TOKENS.values()]
    for secret in ("guessed-token", "another-guess", "hush", *TOKENS.values(), *digests):
        assert secret not in everything
    assert {entry.actor for entry in api.store.journal(NAME, 10)} == {"extproc"}


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, to the end, by hmac.compare_digest: nothing says whose token was nearly it."""
    compared = []
    real = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return real(one, other)

    monkeypatch.setattr("extproc.controller.access.people.hmac.compare_digest", counting)
    text = "people:\n" + "".join(f'  p{n}: {{role: viewer, token_sha256: "{digest(f"t{n}").hex()}"}}\n' for n in range(5))
    people = read_people("f", text)
    for token in ("t0", "t4", "wrong", "", "ü" * 1000):
        people.by_token(token)
    assert compared == [32] * 25


# --------------------------------------------------------------------------------------------------------------------- command
def test_the_command_makes_a_token_and_its_lines(tmp_path: Path) -> None:
    """Shown once; the lines are good for the file as they are, for every name that there may be."""
    app = typer.Typer()
    command.register(app)
    runner = CliRunner()
    for name in ("ann", "no", "Zoë: x"):
        shown = runner.invoke(app, [name, "--role", "operator"]).stdout
        token, _, lines = shown.partition("\n")
        file = tmp_path / "access.yaml"
        file.write_text(f"people:\n{lines}")
        who = read_access(str(file)).by_token(token)
        assert who is not None
        assert (who.name, who.role) == (name, Role.OPERATOR)
        assert token not in lines
        assert len(token) >= 43
    with pytest.raises(SettingsError) as caught:
        runner.invoke(app, ["extproc", "--role", "root"], catch_exceptions=False)
    assert [problem.id for problem in caught.value.problems] == ["token.name", "token.role"]
