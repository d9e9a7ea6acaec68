"""Monitoring of a release: its files are the Spec's own, and are what Grafana's, Datadog's and Prometheus' models take."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelNormal, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard as DatadogDashboard
from datadog_api_client.v1.model.monitor import Monitor
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from extproc import spec as spec_room
from extproc.controller.ended import Ended
from extproc.demo import changes, stand
from extproc.domain import Spec
from extproc.plan import monitoring
from extproc.plan.monitoring.alert import anchor
from extproc.plan.monitoring.alerts import groups, names
from extproc.plan.monitoring.windows import look, written
from tests.support.outcomes import outcome
from tests.support.specs import PRICES

ROOT = Path(__file__).parents[2]
PLACEHOLDER = re.compile(r"TODO|CHANGEME|REPLACE|your-|example\.com|<[a-zA-Z][a-zA-Z _-]*>", re.IGNORECASE)
ALERTS = {
    "page": {
        "pagerduty": {"routing_key_file": "/etc/alertmanager/pagerduty"},
        "webhook": {"url": "http://pager.internal/alerts"},
        "email": {"to": "oncall@chat.internal", "from": "alerts@chat.internal", "smarthost": "mail.internal:25"},
    },
    "ticket": {"slack": {"channel": "#llm-releases", "webhook_file": "/etc/alertmanager/slack"}},
    "runbooks": "https://wiki.internal/chat/",
    "datadog": "@pagerduty-llm",
}


def _judged() -> dict[str, Any]:
    document = stand.template()
    changes.judged(document)
    changes.thumbs(document)
    return document | {"alerts": ALERTS}


def _unpriced() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "envoy" / "release.yaml").read_text())
    for model in document["models"].values():
        del model["prices"]
    return document


def _two() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "envoy" / "release.yaml").read_text())
    (first,) = document["rollouts"].values()
    first["phases"] = [first["phases"][0], first["phases"][-1]]
    prompt = {**deepcopy(first), "layer": "prompt", "stable": "plain", "canary": "polite", "match": {"paths": ["/v1/chat"]}}
    document["rollouts"]["prompt.v2"] = prompt
    return document


DOCUMENTS: dict[str, dict[str, Any]] = {
    "chat": yaml.safe_load((ROOT / "envoy" / "release.yaml").read_text()),
    "demo": stand.template(),
    "judge and feedback": _judged(),
    "without prices": _unpriced(),
    "two layers": _two(),
}


def load(document: dict[str, Any]) -> Spec:
    return spec_room.load(yaml.safe_dump(document, sort_keys=False))


@pytest.fixture(params=DOCUMENTS)
def spec(request: pytest.FixtureRequest) -> Spec:
    """Each of several Specs."""
    return load(DOCUMENTS[request.param])


def test_files_are_deterministic_and_hold_no_placeholder(spec: Spec) -> None:
    """The same Spec gives the same bytes, and nothing is left to be filled in."""
    files = monitoring.files(spec)
    assert files == monitoring.files(deepcopy(spec))
    rollouts = {f"monitoring/grafana/rollout-{name}.json" for name in spec.rollouts}
    assert rollouts <= files.keys()
    for name, text in files.items():
        assert not PLACEHOLDER.search(text), (name, PLACEHOLDER.search(text))
        assert text.endswith("\n")
        # The folder's README says of a file what its first line says.
        assert text.startswith("# ") or not name.endswith(".yaml")


def test_dashboards_are_what_grafanas_own_model_reads(spec: Spec) -> None:
    """Read by the Foundation SDK and written again, a dashboard is the same; every panel has a place of its own."""
    for name, text in monitoring.files(spec).items():
        if not name.startswith("monitoring/grafana/"):
            continue
        written_out = json.loads(text)
        again = json.loads(json.dumps(Dashboard.from_json(deepcopy(written_out)), cls=JSONEncoder))
        marks, seen = written_out.pop("annotations"), again.pop("annotations")
        assert again == written_out
        assert seen["list"][0].items() <= marks["list"][0].items()
        ids = [panel["id"] for panel in written_out["panels"]]
        places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in written_out["panels"]]
        assert len(set(ids)) == len(set(places)) == len(ids)
        assert len(written_out["uid"]) <= 40


def test_datadogs_own_models_take_dashboard_and_monitors(spec: Spec) -> None:
    """Nothing of them is left unparsed."""
    files = monitoring.files(spec)
    board = json.loads(files["monitoring/datadog/dashboard.json"])
    assert not unparsed(loaded(board, DatadogDashboard))
    monitors = json.loads(files["monitoring/datadog/monitors.json"])
    assert {one["name"].partition(":")[0] for one in monitors} == set(names(spec)) - {"SlaErrorBudgetBurnsSlowly"}
    for one in monitors:
        assert not unparsed(loaded(one, Monitor))


def loaded(document: dict[str, Any], model: type[ModelNormal]) -> Any:
    return validate_and_convert_types(document, (model,), ["received_data"], True, True, Configuration(spec_property_naming=True))


def unparsed(value: Any) -> bool:
    """Whether anything within a model was not understood."""
    if isinstance(value, list):
        return any(map(unparsed, value))
    if type(value).__name__ == "UnparsedObject" or getattr(value, "_unparsed", False):
        return True
    return any(map(unparsed, value._data_store.values())) if hasattr(value, "_data_store") else False


def test_a_document_that_datadog_does_not_know_is_found() -> None:
    """What the test above relies on."""
    board = {"title": "t", "layout_type": "ordered", "widgets": [{"definition": {"type": "no_such_widget"}}]}
    assert unparsed(loaded(board, DatadogDashboard))


def test_only_what_the_spec_has_is_shown() -> None:
    """No prices, no cost; no judge, no score, and no alert about either."""
    plain, full = (monitoring.files(load(DOCUMENTS[name])) for name in ("without prices", "judge and feedback"))
    for word in ("extproc_cost_usd", "extproc_rated_mean", "extproc_feedback", "JudgeSilent", "CanaryCostWorse"):
        assert not any(word in text for text in plain.values()), word
        assert any(word in text for text in full.values()), word


def test_thresholds_are_those_of_the_spec() -> None:
    """A gate's margin, a phase's number, the budget of the SLA, the lease."""
    document = deepcopy(DOCUMENTS["chat"])
    document["application"]["sla"]["uptime"] = "99.5%"
    document["application"]["watch_lease"] = "20s"
    document["rollouts"]["gpt-5-mini"]["gates"] = {"errors": {"margin": "1.5%"}, "latency_mean": {"margin": "15%"}}
    made = {(alert.name, alert.phase): alert for group in groups(load(document)) for alert in group.alerts}
    assert "ratio_rate1h > 0.072 " in made["SlaErrorBudgetBurnsFast", ""].expr
    assert made["NoWatcher", ""].expr.endswith("> 20")
    errors = made["CanaryErrorsWorseThanControl", "25%"].expr
    assert "> 0.015\n" in errors
    assert errors.endswith('extproc_phase{rollout="gpt-5-mini"} == 3')
    assert "> 1.15\n" in made["CanaryLatencyWorseThanControl", "5%"].expr
    # At 100 % nobody is left to compare with.
    assert ("CanaryErrorsWorseThanControl", "100%") not in made
    assert ("CanaryErrorBudgetBurn", "100%") in made


def test_a_phase_with_few_requests_is_looked_at_for_longer() -> None:
    """Until there can be twice as many as it asks for, but not longer than it is meant to be."""
    spec = load(DOCUMENTS["chat"])
    rollout = next(iter(spec.rollouts.values()))
    assert written(look(spec, rollout, 0).window) == "15m"
    assert written(look(spec, rollout, -1).window) == "5m"
    document = deepcopy(DOCUMENTS["chat"]) | {}
    document["application"]["daily_requests"] = 2000
    few = look(load(document), rollout, 0)
    assert (written(few.window), few.needed) == ("30m", 20)


def test_alerts_link_to_their_section_of_the_playbook() -> None:
    """The base is the Spec's; names are CamelCase once, and kebab-case there."""
    spec = load(DOCUMENTS["judge and feedback"])
    rules = yaml.safe_load(monitoring.files(spec)["monitoring/prometheus/rules.yaml"])["groups"]
    links = {rule["alert"]: rule["annotations"]["runbook_url"] for group in rules for rule in group["rules"] if "alert" in rule}
    assert links["NoWatcher"] == "https://wiki.internal/chat/PLAYBOOK.md#no-watcher"
    assert tuple(links) == names(spec)
    assert all(re.fullmatch(r"([A-Z][a-z]+)+", name) for name in links)
    assert len({anchor(name) for name in links}) == len(links)


def test_pages_and_tickets_go_where_the_spec_says() -> None:
    """Secrets by reference; without receivers the file says by a name that nobody is told."""
    told = yaml.safe_load(monitoring.files(load(DOCUMENTS["judge and feedback"]))["monitoring/alertmanager.yaml"])
    receivers = {one["name"]: one for one in told["receivers"]}
    assert {route["matchers"][0]: route["receiver"] for route in told["route"]["routes"]} == {
        'severity="page"': "page",
        'severity="ticket"': "ticket",
    }
    assert receivers["page"]["pagerduty_configs"][0]["routing_key_file"] == "/etc/alertmanager/pagerduty"
    assert receivers["page"]["webhook_configs"][0]["url"] == "http://pager.internal/alerts"
    assert receivers["page"]["email_configs"][0]["from"] == "alerts@chat.internal"
    assert receivers["ticket"]["slack_configs"][0]["api_url_file"] == "/etc/alertmanager/slack"
    sent = yaml.safe_load(monitoring.files(load(DOCUMENTS["judge and feedback"]))["monitoring/prometheus/scrape.yaml"])
    assert sent["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["127.0.0.1:9093"]
    files = monitoring.files(load(DOCUMENTS["chat"]))
    assert "alerting" not in yaml.safe_load(files["monitoring/prometheus/scrape.yaml"])
    silent = yaml.safe_load(files["monitoring/alertmanager.yaml"])
    assert silent["receivers"] == [{"name": silent["route"]["receiver"]}]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_alertmanager_takes_its_configuration(name: str, tmp_path: Path) -> None:
    """amtool reads it, receivers and routes included."""
    amtool = shutil.which("amtool")
    assert amtool is not None, "`make tools` installs it: apt-get install prometheus-alertmanager"
    path = tmp_path / "alertmanager.yaml"
    path.write_text(monitoring.files(load(DOCUMENTS[name]))["monitoring/alertmanager.yaml"])
    done = subprocess.run([amtool, "check-config", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_ended_is_counted_by_cohort_arm_and_phase() -> None:
    """All results from the first outcome on; a bucket's end belongs to it; cost by the prices of the model that answered."""
    ended = Ended()
    made = outcome(1, 1.0, False, True)
    ended.count(made, {made.answered_by: PRICES["new"]})
    samples = {(one.name, tuple(sorted(one.labels.items()))): one.value for family in ended.collect() for one in family.samples}
    row = (("arm", made.arm.value), ("cohort", made.cohort), ("phase", made.phase), ("rollout", made.rollout))

    def value(name: str, **labels: str) -> float:
        return samples[name, tuple(sorted((*row, *labels.items())))]

    assert value("extproc_outcomes_total", result="ok") + value("extproc_outcomes_total", result="failed") == 1
    assert value("extproc_outcomes_total", result="throttled") == 0
    assert value("gen_ai_server_request_duration_seconds_count") == 1
    assert value("gen_ai_server_request_duration_seconds_sum") == made.duration
    assert value("gen_ai_server_request_duration_seconds_bucket", le="+Inf") == 1
    assert value("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == made.output_tokens


def test_the_guide_names_every_alert_and_shows_a_block_that_is_good() -> None:
    """docs/monitoring.md: no alert without its line, none that is gone, and the block can be copied."""
    guide = (ROOT / "docs" / "monitoring.md").read_text()
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if text.startswith("alerts:"))
    document = deepcopy(DOCUMENTS["judge and feedback"]) | yaml.safe_load(block)
    document["rollouts"]["gpt-5-mini"]["shadow"] = {}
    for phase in document["rollouts"]["gpt-5-mini"]["phases"]:
        phase["gates"] = phase.get("gates", {}) | {"ttft_mean": {}}
    known = set(names(load(document)))
    assert {name for row in re.findall(r"^\| (`[A-Z][^|]*)\|", guide, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)} == known
