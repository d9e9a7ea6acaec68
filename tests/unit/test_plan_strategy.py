"""PLAN.md says what this Spec says, and no more: each fact of the application changes the lines that follow from it; pictures are sound."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import mermaidx
import pytest

from extproc import spec
from extproc.domain import (
    Alerts,
    Application,
    ApplicationType,
    Deploy,
    Email,
    Infrastructure,
    Overlay,
    Receiver,
    Sla,
    Spec,
    StartMode,
    Tokens,
    Webhook,
)
from extproc.measures import MEASURES
from extproc.plan import playbook, strategy
from extproc.plan.strategy import mermaid, svg
from extproc.plan.strategy.architecture import architecture
from extproc.plan.strategy.context import NOTICED
from extproc.release.plan import plan

ROOT = Path(__file__).parents[2]
EXAMPLE, SHOP = (spec.read(str(path)) for path in (ROOT / "envoy" / "release.yaml", ROOT / "tests" / "support" / "shop.yaml"))
BOTH = pytest.mark.parametrize("given", [EXAMPLE, SHOP], ids=["example", "shop"])
(NAME,) = EXAMPLE.rollouts
NS = "{http://www.w3.org/2000/svg}"


def lines(text: str) -> dict[str, str]:
    """`section / label` -> line: a table's row by its first cell, a point by its bold words, other lines by their first ones."""
    found, section = {}, ""
    for line in text.split("\n"):
        if line.startswith("#"):
            section = line.lstrip("# ")
        label = re.match(r"\| (.*?) \||\* \*\*(.*?):?\*\*|(\S+ \S+)", line)
        if label:
            found[f"{section} / {next(one for one in label.groups() if one is not None).strip('*')}"] = line
    return found


def changed(one: Spec, other: Spec) -> set[str]:
    before, after = lines(strategy.files(one)[strategy.PLAN]), lines(strategy.files(other)[strategy.PLAN])
    return {label for label in before | after if before.get(label) != after.get(label)}


def application(**changes: Any) -> Spec:
    return replace(EXAMPLE, application=replace(EXAMPLE.application, **changes))


def sla(**changes: Any) -> Spec:
    return application(sla=replace(EXAMPLE.application.sla, **changes))


def rollout(**changes: Any) -> Spec:
    return replace(EXAMPLE, rollouts={NAME: replace(EXAMPLE.rollouts[NAME], **changes)})


def model(name: str, key: str) -> Spec:
    """Another model in one role."""
    models = {name: replace(EXAMPLE.models[EXAMPLE.rollouts[NAME].stable], name=name), **EXAMPLE.models}
    return replace(rollout(**{key: name}), models=models)


A, PHASES, FAILS, ROW = "The application / ", "Phases / ", "If the canary fails / ", ("1%", "5%", "25%", "50%")
FACTS: dict[str, tuple[Spec, set[str]]] = {
    "name": (application(name="shop"), {"Release plan of shop / # Release", "Release plan of chat / # Release", f"{A}Application"}),
    "type": (application(type=ApplicationType.SEARCH), {f"{A}Application", f"{A}Noticed first", f"{A}Tokens"}),
    "peak": (application(peak=5.0), {f"{A}Busiest"}),
    "tokens": (application(tokens=Tokens(input=9_000)), {f"{A}Tokens"}),
    "daily_requests": (
        application(daily_requests=400_000),
        {
            f"{A}Traffic",
            f"{A}Busiest",
            f"{A}Units",
            f"{A}Uptime",
            f"Rollout {NAME} / From `gpt-4o`",
            *(f"{PHASES}{one}" for one in (*ROW, "100%")),
            *(f"{FAILS}{one}" for one in ROW),
        },
    ),
    "daily_units": (
        application(daily_units=80_000),
        {f"{A}Units", *(f"{PHASES}{one}" for one in (*ROW, "100%")), *(f"{FAILS}{one}" for one in ROW)},
    ),
    "infrastructure": (application(infrastructure=Infrastructure.CLOUD_RUN), {f"{A}Runs on"}),
    "watch_lease": (application(watch_lease=30.0), {f"{A}Watch"}),
    "latency_p99": (sla(latency_p99=20.0), {f"{A}Latency"}),
    "ttft": (sla(ttft=1.0), {f"{A}First token"}),
    "uptime": (sla(uptime=0.99), {f"{A}Uptime", *(f"{FAILS}{one}" for one in ROW)}),
    "stable": (
        model("other", "stable"),
        {f"{A}Tokens", "Models / `other`", "Models / `gpt-4o`", f"Rollout {NAME} / From `other`", f"Rollout {NAME} / From `gpt-4o`"},
    ),
    "canary": (model("other", "canary"), {f"{A}Tokens", "Models / `other`", f"Models / `{NAME}`", f"Rollout {NAME} / From `gpt-4o`"}),
}


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_of_the_application_changes_what_follows_from_it(fact: str) -> None:
    """These lines of PLAN.md, and no others."""
    other, expected = FACTS[fact]
    assert changed(EXAMPLE, other) == expected


def test_no_fact_of_the_application_is_left_out() -> None:
    """A field that is added to the application gets a line of the plan."""
    assert {one.name for one in (*fields(Application), *fields(Sla))} - {"sla"} | {"stable", "canary"} == set(FACTS)


# What files need and an application does not say by itself: where it is deployed, who is told, who serves a model.
CHAT, CODE, SEARCH = (spec.read(str(ROOT / "tests" / "examples" / f"{name}.yaml")) for name in ("chatbot", "code-assistant", "search"))
DEPLOYED: dict[str, tuple[Spec, Any, str]] = {
    "image": (CHAT, "registry.acme.test/llm/extproc:0.2.0", "Images"),
    "envoy_image": (CHAT, "envoyproxy/envoy:v1.41.0", "Images"),
    "namespace": (CHAT, "chat-eu", "Runs on"),
    "domain": (SEARCH, "find.acme.test", "Reached at"),
    "overlays": (CHAT, (Overlay.SIDECAR,), "Runs on"),
    "secret": (CHAT, "other-keys", "Secrets and metrics"),
    "storage": (CHAT, "20Gi", "Storage"),
    "storage_class": (CHAT, "fast", "Storage"),
    "databases": (CHAT, "geo", "Storage"),
    "application_image": (CHAT, "registry.acme.test/chat/web:2", "Runs on"),
    "application_port": (CHAT, 3001, "Runs on"),
    "tls_secret": (CHAT, "chat-tls", "Reached at"),
    "router_tls": (CODE, "other-tls", "Runs on"),
    "gateway_class": (CHAT, "edge", "Runs on"),
    "monitoring_namespace": (CHAT, "observability", "Secrets and metrics"),
    "backup_bucket": (SEARCH, "other-bucket", "Storage"),
    "service_account": (SEARCH, "other@acme-search.iam.gserviceaccount.com", "Runs on"),
}
TOLD: dict[str, Any] = {
    "runbooks": "https://wiki.acme.test/elsewhere",
    "page": Receiver(webhook=Webhook("http://pager.acme.test/", None)),
    "ticket": Receiver(email=Email("team@acme.test", "alerts@acme.test", "mail.acme.test:25", None, None)),
    "alertmanager": "alertmanager.other.svc:9093",
    "datadog": "@slack-llm",
}


@pytest.mark.parametrize("field", DEPLOYED)
def test_where_it_is_deployed_is_in_its_line(field: str) -> None:
    """Each field of `deploy` changes one line of the application; `models` the line of the model."""
    given, value, label = DEPLOYED[field]
    assert given.deploy is not None
    other = replace(given, deploy=replace(given.deploy, **{field: value}))
    assert changed(given, other) == {f"{A}{label}"}
    assert set(DEPLOYED) | {"models"} == {one.name for one in fields(Deploy)}


@pytest.mark.parametrize("field", TOLD)
def test_who_is_told_is_in_its_line(field: str) -> None:
    """Pages, tickets, and where both are sent from."""
    assert CHAT.alerts is not None
    assert changed(CHAT, replace(CHAT, alerts=replace(CHAT.alerts, **{field: TOLD[field]}))) == {f"{A}Alerts"}
    assert set(TOLD) == {one.name for one in fields(Alerts)}


def test_a_model_of_our_own_says_what_serves_it() -> None:
    """In the cloud or by ourselves: the model's line says which, with replicas and GPUs; each infrastructure has its own words."""
    assert CODE.deploy is not None
    ours = CODE.deploy.models["coder-next"]
    bigger = replace(CODE.deploy, models={**CODE.deploy.models, "coder-next": replace(ours, gpus=8)})
    assert changed(CODE, replace(CODE, deploy=bigger)) == {"Models / `coder-next`"}
    serving = CODE.models["coder-next"].serving
    assert serving is not None
    dearer = replace(CODE.models["coder-next"], serving=replace(serving, gpu_hour=Decimal("4.10")))
    assert changed(CODE, replace(CODE, models={**CODE.models, "coder-next": dearer})) == {"Models / `coder-next`"}
    assert "somebody else" in lines(strategy.files(CHAT)[strategy.PLAN])["Models / `gpt-4o`"]
    runs = [
        lines(strategy.files(one)[strategy.PLAN])[f"{A}Runs on"] for one in (CHAT, SEARCH, application(infrastructure=Infrastructure.VM))
    ]
    assert ["one pod with Envoy" in runs[0], "one instance" in runs[1], "one machine" in runs[2]] == [True, True, True]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (rollout(alpha=0.01), "Gates / Canary and"),
        (rollout(holdback=0.05), "Stickiness / Holdback"),
        (rollout(salt="other"), "Stickiness / Ring"),
        (rollout(approval_above=0.25), "Who approves / Approval"),
        (rollout(start=StartMode.MANUAL), "Who approves / Start"),
        (rollout(layer="prompt"), "Isolation / Layer"),
        (rollout(cohorts=EXAMPLE.rollouts[NAME].cohorts[1:]), "Cohorts / 1"),
        (rollout(phases=EXAMPLE.rollouts[NAME].phases[1:]), "Phases / 1%"),
    ],
)
def test_what_a_rollout_says_is_in_its_line(other: Spec, expected: str) -> None:
    """Stickiness, isolation, gates, approvals."""
    assert expected in changed(EXAMPLE, other)


def test_where_each_request_is_a_unit_people_are_not_counted() -> None:
    """Forty tenants whose texts are the units: the plan and the playbook count requests, once, and nobody is said to stay on a side."""
    texts = spec.read(str(ROOT / "tests" / "examples" / "content-generation.yaml"))
    text = strategy.files(texts)[strategy.PLAN]
    section = text[text.index("### Phases") : text.index("### Isolation")]
    assert "| phase | share | canary requests a day | asks for |" in section
    assert "| 4 h, 300 requests |" in section
    assert "drawn anew each time" in section
    assert "The same people may meet both models" in section
    page = playbook.files(texts)["PLAYBOOK.md"]
    assert "`content` has 120,000 requests on a usual day" in page
    assert "at most 6,000 of 120,000 requests a day" in page
    assert "users.txt" not in page


@BOTH
def test_durations_are_those_of_timeline(given: Spec) -> None:
    """Of the whole and of each phase; a plan that cannot succeed says what stands against it."""
    text = strategy.files(given)[strategy.PLAN]
    for one in given.rollouts.values():
        made = plan(given.application, one)
        assert made.seconds is not None
        for phase in made.phases:
            assert f"| {phase.name} |" in text
            for gate in phase.gates:
                assert gate.units is not None
                assert f"{gate.units:,} at {phase.name}" in text
    assert "**19 h 30 min at best**" in strategy.files(EXAMPLE)[strategy.PLAN]
    few = strategy.files(application(daily_units=40))[strategy.PLAN]
    problems = plan(replace(EXAMPLE.application, daily_units=40), EXAMPLE.rollouts[NAME]).problems
    assert "**it cannot succeed as it is**" in few
    assert "never: too few" in few
    section = few[few.index("### What stands against it") : few.index("### Cohorts")]
    assert section.count("\n* ") == len(problems) > 3


def test_a_rich_spec_is_told_completely() -> None:
    """Pools, slots, conversations, overrides, metrics, windows, freezes: each where people look for it."""
    text = strategy.files(SHOP)[strategy.PLAN]
    said = lines(text[: text.index("## Rollout second")])
    for label, words in (
        ("Models / `old`", ("75% `old-a`", "25% `old-b`")),
        ("The application / Identity", ("`/etc/extproc/city.mmdb`", r"the API gateway \| edge \<b\>", "https://login.shop.test/")),
        ("Cohorts / 1", ("`eu`", "x-user-tier is enterprise", "| 0% | 20% | 95% |")),
        ("Metrics / tiny, wide, all", ("`refunds`", "at most 3", "rolled back")),
        ("Who approves / Windows", ("Mon, Tue 09:00 to 16:00 (Europe/Berlin)",)),
        ("Who approves / Freezes", ("2026-12-20 00:00 to 2027-01-04 00:00 UTC", r"holidays \*all\*")),
        ("Verdicts / wide", ("returns to the phase before",)),
    ):
        assert all(word in said[label] for word in words), said[label]
    text = strategy.files(SHOP)[strategy.PLAN]
    for words in (
        "Slot `left` has 40%",
        "keep their model for 4 h",
        "signed header `x-canary-qa`",
        "1 on stable",
        "5% stay on stable at 100%",
    ):
        assert words in text


def test_what_each_type_notices_can_be_compared() -> None:
    """Every type has its measures, and these are measures."""
    assert set(NOTICED) == set(ApplicationType)
    assert {name for _, names in NOTICED.values() for name in names} <= set(MEASURES)


# -------------------------------------------------------------------------------------------------------------------- pictures
def shown(diagram: str) -> str:
    """All text of what Mermaid itself draws, without white space: it breaks lines as it likes."""
    return squeezed("".join(ElementTree.fromstring(mermaidx.render(diagram).svg()).itertext()))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


HOSTILE = 'a"]; b --> c %% <script>x</script> `d` #quot; | } end'


def test_mermaid_itself_draws_the_diagram() -> None:
    """Every box and every word on an arrow is in what it draws, whatever a tag, a host or a header is called."""
    made = architecture(SHOP)
    box = replace(made.way[0], title=HOSTILE, lines=(HOSTILE,))
    made = replace(made, way=(box, *made.way[1:]), place=HOSTILE)
    text = shown(mermaid.drawn(made))
    assert text.count(squeezed(HOSTILE)) == 3
    for words in [*(box.title for box in made.boxes), *(arrow.label for arrow in made.arrows)]:
        assert squeezed(words) in text, words


def test_what_is_no_diagram_is_refused() -> None:
    """The drawer is no yes-man: without its escapes a name breaks the diagram."""
    with pytest.raises(RuntimeError, match="Parse error"):
        shown(f'flowchart LR\n  a["{HOSTILE}"]\n')


def test_names_do_not_break_the_picture() -> None:
    """The whole of a name that does not fit is in its box's title."""
    made = architecture(SHOP)
    box = replace(made.way[0], title=HOSTILE, lines=(HOSTILE,))
    picture = ElementTree.fromstring(svg.drawn(replace(made, way=(box, *made.way[1:]))))
    assert any((title.text or "").split("\n") == [HOSTILE, HOSTILE] for title in picture.iter(f"{NS}title"))


def boxes(picture: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    found = [one.attrib for one in picture.iter(f"{NS}rect") if one.attrib.get("class", "").startswith("box")]
    return [tuple(float(one[key]) for key in ("x", "y", "width", "height")) for one in found]  # type: ignore[misc]


def many(count: int) -> Spec:
    """A Spec with so many models."""
    first = EXAMPLE.models[NAME]
    models = {f"{NAME}-{number}": replace(first, name=f"{NAME}-{number}") for number in range(count)}
    return replace(EXAMPLE, models=EXAMPLE.models | models, prometheus=SHOP.prometheus, judge=SHOP.judge, flags=SHOP.flags)


@pytest.mark.parametrize("given", [EXAMPLE, SHOP, many(9), replace(EXAMPLE, rollouts={})], ids=["example", "shop", "many", "none"])
def test_the_picture_is_sound(given: Spec) -> None:
    """Well-formed, a box for each thing, none over another one, all of them inside, words inside their boxes."""
    picture = ElementTree.fromstring(strategy.files(given)[strategy.PICTURE])
    _, _, width, height = (float(number) for number in picture.attrib["viewBox"].split())
    found = boxes(picture)
    assert len(found) == len(architecture(given).boxes)
    for index, (x, y, w, h) in enumerate(found):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in found[:index]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    for group in picture.iter(f"{NS}g"):
        box = next(one.attrib for one in group.iter(f"{NS}rect"))
        for text in group.iter(f"{NS}text"):
            letter = 9.2 if text.attrib["class"] == "title" else 7.2
            assert float(text.attrib["x"]) + letter * len(text.text or "") <= float(box["x"]) + float(box["width"]) + 4, text.text
            assert float(box["y"]) < float(text.attrib["y"]) < float(box["y"]) + float(box["height"])
    labels = {one.text for one in picture.iter(f"{NS}text") if one.attrib.get("class") == "label"}
    assert labels == {arrow.label for arrow in architecture(given).arrows}
    assert "prefers-color-scheme: dark" in svg.STYLE


def test_the_way_back_of_outcomes_is_drawn() -> None:
    """Load balancer, Envoy, router, models; from Envoy to the controller, to the store, to the router."""
    arrows = {(arrow.begin, arrow.end) for arrow in architecture(EXAMPLE).arrows}
    assert {("balancer", "envoy"), ("envoy", "router"), ("router", "envoy"), ("envoy", "model1"), ("envoy", "model2")} <= arrows
    assert {("envoy", "controller"), ("controller", "store"), ("store", "router")} <= arrows
