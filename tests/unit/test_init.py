"""`extproc init`: whatever the traffic, the Spec that it writes passes `check` and `timeline`, and says what is lost by that."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc import spec
from extproc.cli import app, write
from extproc.cli import plan as timeline
from extproc.cli.begin import Given, Hosting, begun
from extproc.domain import ApplicationType, Infrastructure, Spec
from extproc.errors import SettingsError, SpecError
from extproc.measures import ERRORS
from extproc.plan import files
from extproc.plan.proposal import LADDERS, LONGEST, MOST_MARGIN, propose
from extproc.release.plan import WIDEST, plan
from extproc.release.watched import is_guardrail

ROOT = Path(__file__).parents[2]
VOLUMES = (100, 450, 3_000, 20_000, 250_000, 2_000_000, 50_000_000)
UNITS = (1.0, 0.2, 0.025, 0.0)
"""Of the requests; 0: five tenants."""
GRID = [
    pytest.param(kind, requests, max(1, round(requests * part) or 5), id=f"{kind}-{requests}-{part}")
    for kind, requests, part in product(ApplicationType, VOLUMES, UNITS)
]
write.register(app)
timeline.register(app)


def loaded(**given: object) -> tuple[Spec, str, tuple[str, ...]]:
    text, lost = begun(Given(**given))  # type: ignore[arg-type]
    return spec.load(text), text, lost


@pytest.mark.parametrize(("kind", "requests", "units"), GRID)
def test_every_spec_passes_check_and_timeline(kind: ApplicationType, requests: int, units: int) -> None:
    """Types, from 100 requests a day to 50 million, from one user for each request to five tenants."""
    written, text, lost = loaded(kind=kind, daily_requests=requests, daily_units=units)
    (rollout,) = written.rollouts.values()
    made = plan(written.application, rollout)
    assert made.problems == ()
    assert made.seconds is not None
    assert all(phase.max_dwell <= LONGEST * 1.5 for phase in rollout.phases)
    assert written.application.type is kind
    assert written.application.daily_requests == requests
    assert tuple(phase.share for phase in rollout.phases) in LADDERS
    gates = [gate for phase in rollout.phases if phase.share < 1 for gate in phase.gates]
    assert all(gate.margin <= MOST_MARGIN for gate in gates)
    by_request = rollout.unit.kind == "request"
    assert written.application.daily_units == (requests if by_request else units)
    unguarded = not any(is_guardrail(gate) for gate in gates)
    assert unguarded == (rollout.approval_above < 1)
    # Whatever is not as usual is said, and nothing else is.
    said = " ".join(line.strip().removeprefix("# ") for line in text[text.index("    # windows") :].split("\n")[1:])
    for sentence in lost:
        assert sentence in said
    told = " ".join(lost)
    assert ("each request is a unit" in told) == by_request
    assert ("the first phase has" in told) == (rollout.phases[0].share > 0.01)
    assert ("harm alone" in told) == unguarded
    assert bool(lost) == ("Lost:" in text)


def test_a_large_business_gets_the_usual_plan() -> None:
    """The example, word for word; nothing is lost."""
    _, text, lost = loaded()
    assert text == (ROOT / "envoy" / "release.yaml").read_text(encoding="utf-8")
    assert lost == ()


def test_the_mildest_way_is_taken() -> None:
    """Users stay units as long as they are enough; margins widen before half of the users meet the canary at once."""
    two_thousand, _, lost = loaded(daily_requests=200_000, daily_units=2_000)
    (rollout,) = two_thousand.rollouts.values()
    assert rollout.unit.kind == "user"
    assert rollout.phases[0].share < 0.5
    margins = [gate.margin for phase in rollout.phases for gate in phase.gates if gate.measure == ERRORS.name]
    assert 0.01 < margins[1] <= 0.01 * WIDEST
    assert any("margins are wider" in one and "errors up to" in one for one in lost)
    tenants, text, _ = loaded(daily_requests=50_000, daily_units=40)
    (rollout,) = tenants.rollouts.values()
    assert (rollout.unit.kind, rollout.unit.sources) == ("request", ())
    assert [phase.share for phase in rollout.phases] == list(LADDERS[0])
    assert "40 users are too few" in text


def test_where_nothing_can_be_known_nothing_is_written(tmp_path: Path) -> None:
    """Ten requests a day; more users than requests; what is no time; names that cannot be."""
    for arguments, problem in (
        (("--daily-requests", "10"), "settings.too-little-traffic"),
        (("--daily-requests", "10", "--daily-units", "11"), "settings.units"),
        (("--latency-p99", "soon"), "settings.duration"),
        (("--uptime", "often"), "spec.value"),
        (("--stable", "same", "--canary", "same"), "settings.same-model"),
    ):
        with pytest.raises((SettingsError, SpecError)) as caught:
            CliRunner().invoke(app, ["init", str(tmp_path / "r.yaml"), *arguments], catch_exceptions=False)
        assert problem in {one.id for one in caught.value.problems}
    assert list(tmp_path.iterdir()) == []
    few, _, _ = loaded(daily_requests=100)
    (rollout,) = few.rollouts.values()
    assert propose(few.application, rollout) is not None


def test_each_answer_has_an_option(tmp_path: Path) -> None:
    """And is in the Spec; `timeline` ends with 0."""
    path = tmp_path / "r.yaml"
    options = {"--application": "shop", "--type": "search", "--stable": "old", "--canary": "new", "--daily-requests": "30000"}
    options |= {"--daily-units": "9000", "--latency-p99": "1m30s", "--ttft": "3s", "--uptime": "99.5%", "--infrastructure": "vm"}
    options |= {"--hosting": "self-hosted"}
    done = CliRunner().invoke(app, ["init", str(path), *(word for pair in options.items() for word in pair)], catch_exceptions=False)
    assert done.exit_code == 0
    written = spec.read(str(path))
    application, (rollout,) = written.application, written.rollouts.values()
    assert (application.name, application.type, application.infrastructure) == ("shop", ApplicationType.SEARCH, Infrastructure.VM)
    assert (application.daily_requests, application.daily_units) == (30_000, 9_000)
    assert (application.sla.latency_p99, application.sla.ttft, application.sla.uptime) == (90.0, 3.0, 0.995)
    assert (rollout.stable, rollout.canary) == ("old", "new")
    assert {ceiling.measure: ceiling.limit for ceiling in rollout.phases[0].ceilings} == {"errors": 0.05, "latency_p95": 67.5}
    endpoint = written.models["new"].backends[0].endpoints[0]
    assert (endpoint.host, endpoint.tls, written.models["new"].credential) == ("new.models.internal", None, None)
    assert "cost" not in {gate.measure for gate in rollout.phases[0].gates}, "nobody knows what a request costs there"
    assert CliRunner().invoke(app, ["timeline", str(path)], catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize(("requests", "hosting"), [(100, Hosting.CLOUD), (200_000, Hosting.SELF_HOSTED), (50_000_000, Hosting.CLOUD)])
def test_what_init_writes_makes_a_whole_folder(requests: int, hosting: Hosting) -> None:
    """A plan that can succeed, with the phases that were proposed."""
    written, _, _ = loaded(daily_requests=requests, hosting=hosting)
    text = files(written)["PLAN.md"]
    assert " at best**" in text
    assert "### What stands against it" not in text
    (rollout,) = written.rollouts.values()
    rows = text[text.index("### Phases") :].split("\n\n")[1].split("\n")[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [phase.name for phase in rollout.phases]


@pytest.mark.parametrize("infrastructure", Infrastructure)
def test_self_hosted_models_need_no_key(infrastructure: Infrastructure) -> None:
    """Wherever it runs."""
    written, text, _ = loaded(hosting=Hosting.SELF_HOSTED, infrastructure=infrastructure)
    assert "OPENAI" not in text
    assert all(model.prices is None for model in written.models.values())


def test_a_terminal_is_asked(tmp_path: Path) -> None:
    """Type, models, traffic, service levels, where it runs; what cannot be is asked again, and Enter takes the default."""
    ours, theirs = pty.openpty()
    answers = ("poem", "code_assistant", "old-model", "new-model", "1,200,000", "", "eight", "4s", "99.5%", "cloud_run", "self-hosted")
    command = [sys.executable, "-m", "extproc", "init", "asked.yaml"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"}
    with subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        said = b""
        try:
            while chunk := os.read(ours, 4096):
                said += chunk
        except OSError:  # how a terminal says that its other end is gone
            pass
        assert running.wait(60) == 0, said.decode()
    os.close(ours)
    written = spec.read(str(tmp_path / "asked.yaml"))
    application, (rollout,) = written.application, written.rollouts.values()
    assert application.type is ApplicationType.CODE_ASSISTANT
    assert (application.daily_requests, application.daily_units) == (1_200_000, 30_000)
    assert (application.sla.latency_p99, application.sla.ttft, application.sla.uptime) == (4.0, 1.0, 0.995)
    assert application.infrastructure is Infrastructure.CLOUD_RUN
    assert (rollout.stable, rollout.canary) == ("old-model", "new-model")
    assert written.models["old-model"].prices is None
    assert b"one of chatbot, search, content_generation, code_assistant" in said
    assert b"is no duration" in said
