"""docs/tracing.md says what is so: its block is of a Spec, its tables name the tags and clusters that are rendered, its tests are there."""

from __future__ import annotations

import re

import orjson
import yaml

from extproc import contract, spec
from extproc.domain import Arm, Reason, Spec
from extproc.render import EnvoySettings, envoy_document
from tests.support.envoy_stand import ROOT, a_rollout, document
from tests.unit.test_assignment_guide import DOCS, blocks

GUIDE = (DOCS / "tracing.md").read_text(encoding="utf-8")


def shown() -> Spec:
    """A Spec with the listener of the guide."""
    (text,) = blocks(GUIDE, "yaml")
    models = {name: {"endpoint": {"host": "api.openai.com", "port": 443, "tls": True}} for name in ("old", "new")}
    rollouts = {"chat": a_rollout("50%", {"paths": ["/v1/"]})}
    return spec.load(orjson.dumps(document(yaml.safe_load(text)["listener"], models, rollouts)).decode())


def test_its_block_is_the_default_share() -> None:
    """What it says of the default is so."""
    said = shown().listener.tracing
    assert said is not None
    assert (said.host, said.port, said.share) == ("otel-collector", 4317, 0.01)


def test_its_table_has_every_tag_that_is_ours() -> None:
    """And the arms and reasons that it names are the code's."""
    manager = envoy_document(shown(), EnvoySettings())["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    rendered = {one["tag"] for one in manager["tracing"]["custom_tags"]}
    named = set(re.findall(r"`((?:extproc|gen_ai)\.[a-z_.]+)`", GUIDE))
    assert named == {tag for tag in rendered if tag.startswith(("extproc.", "gen_ai."))}
    assert {tag for tag in rendered if not tag.startswith(("extproc.", "gen_ai."))} == {"peer.address", "http.url"}
    (arms,) = re.findall(r"^\| `extproc\.arm` \| (.*) \|$", GUIDE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", arms)) == set(Arm)
    (reasons,) = re.findall(r"^\| `extproc\.reason` \| (.*) \|$", GUIDE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", reasons)) <= set(Reason)


def test_clusters_and_files_that_it_names_are_there() -> None:
    """The sampler's cluster, and the test that tried what a stranger can send."""
    assert set(re.findall(r"`(extproc_\w+)`", GUIDE)) == {contract.SAMPLER_CLUSTER}
    for path in re.findall(r"`(tests/[\w/.]+)`", GUIDE):
        assert (ROOT / path).exists(), path
