"""The files of `plan.monitoring` against the tools that read them: Prometheus and promtool, Grafana's and Datadog's own models, and a demo
stand that a real Prometheus watches."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from extproc import contract
from extproc import spec as spec_room
from extproc.demo.books import Belief
from extproc.domain import Spec
from extproc.plan import monitoring
from extproc.plan.monitoring.series import INTERVAL
from extproc.plan.monitoring.world import named
from tests.support.monitored import Watched, watched
from tests.unit.test_plan_monitoring import DOCUMENTS, load

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(400)
"""The first of these tests waits for the run."""
NEAR = 0.02
"""Share by which Prometheus may differ from the models' ledgers."""
SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$")
LABEL = re.compile(r'([a-zA-Z_]+)="')
DATADOG = re.compile(r"(?:sum|max|min|avg|p\d+):([a-zA-Z_][a-zA-Z0-9_.]*)\{")


def tool(name: str) -> str:
    """Debian's; `make tools` installs it."""
    program = shutil.which(name)
    if program is None:
        missing = f"{name} is missing: apt-get install prometheus"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return str(program)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One run of the demo's stand for all tests of this module."""
    with watched(tool("prometheus"), tmp_path_factory.mktemp("watched")) as seen:
        yield seen


def written(spec: Spec, directory: Path) -> Path:
    for name, text in monitoring.files(spec).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory / "monitoring"


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([tool("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------------------- alerts
def test_each_alert_fires_on_a_bad_series_and_stays_quiet_on_a_good_one(run: Watched, tmp_path: Path) -> None:
    """By promtool: of the stand's Spec, which has every kind of alert, and of one with two rollouts in two layers."""
    for spec in (run.spec, load(DOCUMENTS["two layers"])):
        prove(spec, tmp_path / spec.digest)


@pytest.mark.parametrize("example", ["code-assistant", "search"])
def test_the_alerts_of_examples_fire_and_stay_quiet(example: str, tmp_path: Path) -> None:
    """Of two that have little in common: models of one's own that few people ask, with the fewest alerts; a search on Cloud Run that many
    ask, and that looks at cost and first tokens."""
    prove(spec_room.read(str(ROOT / "tests" / "examples" / f"{example}.yaml")), tmp_path)


def prove(spec: Spec, directory: Path) -> None:
    """By promtool: each alert of a Spec fires in a test, and is quiet in another."""
    where = written(spec, directory) / "prometheus"
    assert "SUCCESS" in promtool("check", "rules", where / "rules.yaml")
    assert "SUCCESS" in promtool("test", "rules", where / "rules-test.yaml")
    tests = yaml.safe_load((where / "rules-test.yaml").read_text())["tests"]
    outcomes = [one for test in tests for one in test["alert_rule_test"]]
    fires = {one["alertname"] for one in outcomes if one["exp_alerts"]}
    quiet = {one["alertname"] for one in outcomes if not one["exp_alerts"]}
    assert fires == quiet == set(monitoring.alerts.names(spec))


def test_an_alert_with_two_reasons_fires_for_the_other_one_too(run: Watched, tmp_path: Path) -> None:
    """A router behind its controller, a controller that nobody can scrape, a rollout that waits for an approval."""
    where = written(run.spec, tmp_path) / "prometheus"
    made = yaml.safe_load((where / "rules-test.yaml").read_text())
    (rollout,) = run.spec.rollouts
    waits = named(contract.METRIC_STATUS, rollout=rollout, status="awaiting_approval")
    others: dict[str, tuple[str, str | None]] = {
        "SnapshotStale": (named(contract.METRIC_GENERATION, worker="0"), "6x120"),
        "ControllerSilent": (contract.METRIC_CONTROLLER_UP, None),
        "RolloutNeedsSomebody": (waits, "1x120"),
    }
    tests = []
    for name, (series, values) in others.items():
        test = deepcopy(next(one for one in made["tests"] if one["name"].endswith(f"{name} fires")))
        quiet = next(one for one in made["tests"] if one["name"] == test["name"].replace(f"{name} fires", "all is well"))
        kept = [one for one in quiet["input_series"] if one["series"] != series]
        assert len(kept) == len(quiet["input_series"]) - 1
        test["input_series"] = [*kept, *([{"series": series, "values": values}] if values is not None else [])]
        tests.append(test)
    (where / "others.yaml").write_text(yaml.safe_dump({**made, "tests": tests}))
    assert "SUCCESS" in promtool("test", "rules", where / "others.yaml")


def test_the_configuration_of_prometheus_is_valid(run: Watched, tmp_path: Path) -> None:
    """With its rules beside it. Debian's Prometheus has no Kubernetes: its service discovery is looked at in test_plan_published."""
    chat = spec_room.read(str(ROOT / "envoy" / "release.yaml"))
    for spec in (run.spec, chat):
        path = written(spec, tmp_path / spec.application.name) / "prometheus" / "scrape.yaml"
        config = yaml.safe_load(path.read_text())
        for job in config["scrape_configs"]:
            job.pop("kubernetes_sd_configs", None)
        path.write_text(yaml.safe_dump(config))
        assert "SUCCESS" in promtool("check", "config", path)


def test_alert_tests_use_series_that_a_running_release_has(run: Watched) -> None:
    """Names and labels: no alert is proven on a metric that nobody exposes."""
    tests = yaml.safe_load(run.files["monitoring/prometheus/rules-test.yaml"])["tests"]
    made = {one["series"] for test in tests for one in test["input_series"]}
    assert made
    known: dict[str, set[str]] = {}
    for series in run.get("series", **{"match[]": '{__name__=~".+"}', "start": run.begin, "end": run.end}):
        known.setdefault(series["__name__"], set()).update(series)
    for one in made:
        found = SERIES.match(one)
        assert found is not None, one
        assert found[1] in known, f"nobody exposes {found[1]}"
        assert set(LABEL.findall(found[2] or "")) <= known[found[1]], one


def test_every_recording_rule_records(run: Watched) -> None:
    """In the Prometheus that has the rules loaded; those of phases that never began have nothing to record."""
    groups = yaml.safe_load(run.files["monitoring/prometheus/rules.yaml"])["groups"]
    phase = next(iter(run.spec.rollouts.values())).phases[0].name
    recorded = [rule for group in groups for rule in group["rules"] if "record" in rule]
    met = [rule for rule in recorded if rule.get("labels", {}).get("phase", phase) == phase]
    assert len(met) > 5
    for rule in met:
        labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
        assert has_numbers(run.ask_range(f"{rule['record']}{{{labels}}}")), rule
    assert not run.ask('ALERTS{alertname="ControllerSilent",alertstate="firing"}')


# ------------------------------------------------------------------------------------------------------------------ dashboards
def panels(files: Any) -> list[tuple[str, dict[str, Any]]]:
    boards = [(name, json.loads(text)) for name, text in files.items() if name.startswith("monitoring/grafana/")]
    assert len(boards) == 2
    return [(name, panel) for name, board in boards for panel in board["panels"] if panel["type"] != "row"]


def has_numbers(series: list[dict[str, Any]]) -> bool:
    values = [value for one in series for _, value in one.get("values", [one.get("value")])]
    return any(not math.isnan(float(value)) for value in values)


def test_every_panel_has_data_of_a_running_release(run: Watched) -> None:
    """Each query of each panel, over the run; nothing is filled up with zeros."""
    empty = []
    asked = 0
    for name, panel in panels(run.files):
        for target in panel["targets"]:
            assert "vector(" not in target["expr"]
            query = target["expr"].replace(INTERVAL, "10s")
            asked += 1
            found = run.ask(query) if target["instant"] else run.ask_range(query)
            if not has_numbers(found):
                empty.append((name, panel["title"], query))
    assert asked > 60
    assert not empty


def test_counts_are_those_of_the_models_ledgers(run: Watched) -> None:
    """Requests, failures and tokens of the numbers on top, within 2 % of what the simulated models say they served."""
    (rollout,) = run.spec.rollouts.values()
    new, old = run.ledgers[rollout.canary], run.ledgers[rollout.stable]
    by_title = {panel["title"]: panel["targets"] for name, panel in panels(run.files) if "rollout-" in name and panel["type"] == "stat"}

    def shown(title: str, index: int) -> float:
        return float(run.ask(by_title[title][index]["expr"])[0]["value"][1])

    # What Envoy answered without a decision was served by stable, and is shown apart.
    asked = {one: run.ask(f'sum(extproc_undecided_requests_total{{result="{one}"}})') for one in ("ok", "failed")}
    beside = {one: float(found[0]["value"][1]) for one, found in asked.items()}
    assert new["requests"] > 100
    assert shown("Requests so far", 0) == pytest.approx(new["requests"], rel=NEAR)
    assert shown("Requests so far", 1) + sum(beside.values()) == pytest.approx(old["requests"], rel=NEAR)
    failed = shown("Failures so far", 0) + shown("Failures so far", 1) + beside["failed"]
    assert new["errors"] + old["errors"] > 10
    assert failed == pytest.approx(new["errors"] + old["errors"], rel=NEAR)
    counted = (by_title["Output tokens so far"][0]["expr"], 'sum by (model) (extproc_tokens_total{rollout="",type="output"})')
    tokens = Counter[str]()
    for query in counted:
        tokens.update({one["metric"]["model"]: int(one["value"][1]) for one in run.ask(query)})
    assert tokens == pytest.approx({rollout.canary: new["output_tokens"], rollout.stable: old["output_tokens"]}, rel=NEAR)
    # Cost is that of requests with a decision: each of them costs on average what its model's requests do.
    prices = {one.name: one.prices for one in run.spec.models.values()}
    for index, (ledger, name, alone) in enumerate(((new, rollout.canary, 0.0), (old, rollout.stable, sum(beside.values())))):
        price, share = prices[name], 1 - alone / ledger["requests"]
        assert price is not None
        owed = share * (ledger["input_tokens"] * float(price.input) + ledger["output_tokens"] * float(price.output)) / 1e6
        # Which requests had no decision is chance: their lengths differ from those of the others by a little.
        assert shown("USD so far", index) == pytest.approx(owed, rel=NEAR + (0.1 if alone else 0.0))


def test_the_demos_books_read_the_same_exposition(run: Watched) -> None:
    """However finely outcomes are counted: by model they are those of the ledgers, to the last one."""
    (rollout,) = run.spec.rollouts.values()
    belief = Belief.read(run.expositions["controller"])
    new, old = run.ledgers[rollout.canary], run.ledgers[rollout.stable]
    assert (belief.canary, belief.canary_failed) == (new["requests"], new["errors"])
    assert (belief.stable, belief.stable_failed) == (old["requests"], old["errors"])
    assert belief.output_tokens == {rollout.canary: new["output_tokens"], rollout.stable: old["output_tokens"]}


def test_grafana_marks_the_journal(run: Watched) -> None:
    """The mark stands at the instant that the Journal says, and says what was done in which phase."""
    board = json.loads(next(text for name, text in run.files.items() if "grafana/rollout-" in name))
    (marks,) = board["annotations"]["list"]
    assert marks["useValueForTime"]
    found = run.ask(marks["expr"])
    (rollout,) = run.spec.rollouts.values()
    start = next(one for one in found if one["metric"]["action"] == "start")
    assert start["metric"]["phase"] == rollout.phases[0].name
    assert run.begin - 60 < float(start["value"][1]) / 1000 <= run.end


# --------------------------------------------------------------------------------------------------------------------- datadog
def test_datadog_asks_only_for_what_is_exposed(run: Watched) -> None:
    """Each name in dashboard and monitors is one that the agent's OpenMetrics check makes, by the shipped mapping, of a scraped family."""
    config = yaml.safe_load(run.files["monitoring/datadog/openmetrics.yaml"])
    made: set[str] = set()
    for instance, page in zip(config["instances"], (run.expositions["controller"], run.expositions["router"]), strict=True):
        mapping = {key: value for one in instance["metrics"] for key, value in one.items()}
        for family in text_string_to_metric_families(page):
            if family.name in mapping:
                base = f"{instance['namespace']}.{mapping[family.name]}"
                suffixes = {"counter": (".count",), "histogram": ("", ".count", ".sum")}.get(family.type, ("",))
                made.update(f"{base}{suffix}" for suffix in suffixes)
    for name in ("dashboard", "monitors"):
        asked = set(DATADOG.findall(run.files[f"monitoring/datadog/{name}.json"]))
        assert asked
        assert asked <= made, asked - made
