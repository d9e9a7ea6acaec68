"""The files in envoy/ are what the command writes, and what Envoy accepts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from extproc import cli
from extproc.cli import render
from extproc.demo.envoy import find_envoy
from extproc.errors import SettingsError
from extproc.render import EnvoySettings, Profile, lost_features
from loadtest.geography import write_country_database
from tests.support import certificates
from tests.support.envoy_stand import OLD_ENVOY

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "envoy" / "release.yaml"
FILES = {"static.yaml": [], "static-core.yaml": ["--profile", "core"], "snippet.yaml": ["--snippet"]}


@pytest.mark.parametrize("name", FILES)
def test_files_are_what_the_command_writes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first line says which command: run it again after a change, and read the difference."""
    monkeypatch.chdir(ROOT)
    arguments = ["render", "envoy", "envoy/release.yaml", *FILES[name]]
    render.register(cli.app)
    written = CliRunner().invoke(cli.app, arguments)
    assert written.exit_code == 0, written.output
    expected = (ROOT / "envoy" / name).read_text()
    assert written.stdout == expected, f"extproc {' '.join(arguments)} -o envoy/{name}"
    assert expected.startswith(f"# Made by `extproc {' '.join(arguments)}`")


XDS = "unix:/run/extproc/xds.sock"


def test_the_bootstrap_is_what_the_command_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And few lines: what depends on the Spec is not in it."""
    monkeypatch.chdir(ROOT)
    render.register(cli.app)
    arguments = ["render", "bootstrap", "envoy/release.yaml", "--xds", XDS]
    written = CliRunner().invoke(cli.app, arguments)
    assert written.exit_code == 0, written.output
    assert written.stdout == (ROOT / "envoy" / "bootstrap.yaml").read_text(), f"extproc {' '.join(arguments)} -o envoy/bootstrap.yaml"
    assert "gpt" not in written.stdout


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--sotw", "--node", "edge-1"],
        ["--xds", "controller.example:9973", "--xds-ca", "ca.pem", "--xds-cert", "client.pem", "--xds-key", "client.key"],
        ["--xds", "controller:9973", "--xds-ca", "ca.pem", "--xds-cert", "client.pem", "--xds-key", "client.key", "--secrets", "tls"],
    ],
)
def test_envoy_accepts_the_bootstrap(options: list[str], tmp_path: Path) -> None:
    """Over a Unix socket and over mutual TLS to a name, in both protocols."""
    files = certificates.write(tmp_path / "tls")
    named = {"ca.pem": files.ca, "client.pem": files.client, "client.key": files.client_key, "tls": files.directory}
    config = tmp_path / "bootstrap.yaml"
    render.register(cli.app)
    words = [str(named.get(one, one)) for one in ["--xds", XDS, *options]]
    done = CliRunner().invoke(cli.app, ["render", "bootstrap", str(EXAMPLE), *words, "-o", str(config)])
    assert done.exit_code == 0, done.output
    command = [str(find_envoy()), "--mode", "validate", "-c", str(config)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert said.returncode == 0, said.stderr
    # What is said of the file in docs/xds.md; without TLS it is a third shorter.
    assert len(config.read_text().splitlines()) <= 60


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--xds-cert", "c.pem"], ["--xds-key", "--xds-ca"]),
        (["--xds-ca", "ca.pem"], ["--xds-name"]),
        (["--secrets", "/etc/envoy"], ["--secrets"]),
    ],
)
def test_options_of_the_way_to_the_controller_belong_together(options: list[str], wrong: list[str]) -> None:
    """They are named as they are written."""
    render.register(cli.app)
    done = CliRunner().invoke(cli.app, ["render", "bootstrap", str(EXAMPLE), "--xds", XDS, *options])
    assert isinstance(done.exception, SettingsError)
    assert [problem.path for problem in done.exception.problems] == wrong


@pytest.mark.parametrize(("name", "envoy"), [("static.yaml", None), ("static-core.yaml", None), ("static-core.yaml", OLD_ENVOY)])
def test_envoy_accepts_them(name: str, envoy: Path | None, tmp_path: Path) -> None:
    """full on Envoy 1.40, core on 1.36.4 and 1.40; only the country database is put somewhere else."""
    database = write_country_database(tmp_path / "country.mmdb")
    config = tmp_path / name
    config.write_text((ROOT / "envoy" / name).read_text().replace("/etc/extproc/country.mmdb", str(database)))
    keys = {"OPENAI_API_KEY": "one", "OPENAI_CANARY_API_KEY": "two"}
    command = [str(envoy or find_envoy()), "--mode", "validate", "-c", str(config)]
    said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **keys}, timeout=150, check=False)
    assert said.returncode == 0, said.stderr
    # Envoy warns of extensions that it calls work in progress: the core profile uses none.
    assert ("work-in-progress" in said.stdout + said.stderr) == (name == "static.yaml")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--client-cert", "c.pem"], ["--client-key", "--router-ca"]),
        (["--router-ca", "ca.pem"], ["--router-name"]),
        (["--router-ca", "ca.pem", "--router-name", "r", "--client-key", "k.pem"], ["--client-cert"]),
        (["--router-ca", "ca.pem", "--router", "10.0.0.7:9000"], []),
    ],
)
def test_options_of_tls_belong_together(options: list[str], wrong: list[str]) -> None:
    """Half a mutual TLS is refused with what is missing; a whole one names the router by its address."""
    render.register(cli.app)
    done = CliRunner().invoke(cli.app, ["render", "envoy", str(EXAMPLE), *options])
    if wrong:
        assert isinstance(done.exception, SettingsError)
        assert [problem.path for problem in done.exception.problems] == wrong
    else:
        (router,) = (one for one in yaml.safe_load(done.stdout)["static_resources"]["clusters"] if one["name"] == "extproc_router")
        trusted = router["transport_socket"]["typed_config"]["common_tls_context"]["validation_context"]
        assert trusted["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "10.0.0.7"}


def test_a_missing_key_is_refused_at_the_start(tmp_path: Path) -> None:
    """Envoy does not come up and send requests without a key."""
    config = tmp_path / "static.yaml"
    database = write_country_database(tmp_path / "country.mmdb")
    config.write_text((ROOT / "envoy" / "static.yaml").read_text().replace("/etc/extproc/country.mmdb", str(database)))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    command = [str(find_envoy()), "--mode", "validate", "-c", str(config)]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=150, check=False)
    assert said.returncode != 0
    assert "OPENAI_API_KEY" in said.stderr


def test_comments_are_comments() -> None:
    """What a person reads is no part of what Envoy reads."""
    for name in FILES:
        text = (ROOT / "envoy" / name).read_text()
        assert "# Rollout gpt-5-mini." in text
        assert not any(word.startswith("# ") for word in _strings(yaml.safe_load(text)))


def test_the_core_profile_says_what_it_lacks() -> None:
    """In the file and by the command; the full profile lacks nothing."""
    lost = lost_features(EnvoySettings(profile=Profile.CORE))
    assert any("SSE" in feature for feature in lost)
    for feature in lost:
        assert f"#   * {feature}\n" in (ROOT / "envoy" / "static-core.yaml").read_text()
    assert lost_features(EnvoySettings()) == ()


def test_the_core_profile_uses_nothing_that_envoy_calls_alpha() -> None:
    """Neither an AI filter nor transform; only what was there in 1.36."""
    text = (ROOT / "envoy" / "static-core.yaml").read_text()
    for young in ("ai_protocol_manager", "filters.http.transform", "sse_to_metadata", "header_value_prefix", "COMMON_DURATION"):
        assert young not in text


@pytest.mark.parametrize("option", ["--router", "--collector"])
def test_an_address_that_is_none_is_refused(option: str) -> None:
    """Before a file is written that Envoy would refuse."""
    arguments = [sys.executable, "-m", "extproc", "render", "envoy", str(EXAMPLE), option, "nowhere"]
    said = subprocess.run(arguments, capture_output=True, text=True, timeout=150, check=False)
    assert said.returncode == 1
    assert said.stdout == ""
    assert "nowhere" in said.stderr
    assert "Traceback" not in said.stderr


def test_many_answers_may_be_open_at_once() -> None:
    """Answers take seconds: Envoy's default of 1,024 open requests per cluster would turn a busy hour into 503s."""
    written = yaml.safe_load((ROOT / "envoy" / "static.yaml").read_text())["static_resources"]["clusters"]
    for cluster in written:
        if not cluster["name"].startswith("extproc_"):
            assert cluster["circuit_breakers"]["thresholds"][0]["max_requests"] >= 10_000


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return [value] if isinstance(value, str) else []
