"""The application as the plan sees it: what was said of it, and what follows from that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from extproc import contract
from extproc.cost.tokens import load
from extproc.domain import ApplicationType, ListenerKind, Model, Spec
from extproc.domain.seconds import DAY
from extproc.measures import MEASURES
from extproc.plan.kubernetes.capacity import peak
from extproc.plan.markdown import code, prose, table
from extproc.plan.said import all_of
from extproc.plan.strategy import placed
from extproc.release.scales import MINUTE
from extproc.release.sentences import percent

TYPES: Final[Mapping[ApplicationType, str]] = {
    ApplicationType.CHATBOT: "a chatbot",
    ApplicationType.SEARCH: "a search",
    ApplicationType.CONTENT_GENERATION: "a content generator",
    ApplicationType.CODE_ASSISTANT: "a code assistant",
}
NOTICED: Final[Mapping[ApplicationType, tuple[str, tuple[str, ...]]]] = {
    ApplicationType.CHATBOT: (
        "people wait for the first word, and leave a conversation that disappoints them",
        ("ttft_p95", "judge", "thumbs", "session_length"),
    ),
    ApplicationType.SEARCH: (
        "an answer that comes late is not read, and who finds nothing asks again",
        ("latency_p95", "retries", "abandons", "judge"),
    ),
    ApplicationType.CONTENT_GENERATION: (
        "answers are long: what they cost and how good they are decides",
        ("judge", "regenerates", "output_tokens", "cost", "tripwires"),
    ),
    ApplicationType.CODE_ASSISTANT: (
        "code that is cut off or does not parse is worth nothing, however fast",
        ("tripwires", "judge", "abandons", "retries"),
    ),
}
"""What users of each type notice first, and the measures that tell of it."""


def parts(spec: Spec) -> list[str]:
    """The sections about the application and its models."""
    rows = [(f"**{label}**", said) for label, said in _rows(spec)]
    models = [_model(spec, model) for model in spec.models.values()]
    return [
        "## The application",
        table(("", "this application"), rows),
        "## Models",
        table(("model", "role", "where", "served by", "key", "prices, USD per million tokens"), models),
    ]


def _rows(spec: Spec) -> Iterator[tuple[str, str]]:
    application = spec.application
    yield "Application", f"{code(application.name)}, {TYPES[application.type]}"
    yield "Noticed first", _noticed(spec)
    rate, busiest = application.daily_requests / DAY, peak(spec)
    yield "Traffic", f"{application.daily_requests:,} requests a day, {rate:,.3g} a second on average"
    each = application.daily_requests / application.daily_units
    yield "Units", f"{application.daily_units:,} distinct {all_of(spec)} a day, with {each:,.3g} request{'s' if each != 1 else ''} each"
    yield (
        "Busiest",
        f"{busiest:,.3g} requests a second, {application.peak:g} times the average: capacity is for that",
    )
    yield "Tokens", _tokens(spec)
    yield from _service_levels(spec)
    yield "Runs on", placed.place(spec)
    yield from placed.rows(spec)
    yield "Listener", _listener(spec)
    yield "Identity", _identity(spec)
    yield (
        "Watch",
        f"without a watcher, or with too few outcomes, for {application.watch_lease:g} s, canary traffic goes to stable by itself",
    )


def _tokens(spec: Spec) -> str:
    """Of a mean request to each model."""
    loads = {name: load(spec.application, model) for name, model in spec.models.items()}
    each = (f"{code(name)} reads {one.input:,.0f} and writes {one.output:,.0f}, {one.known.value}" for name, one in loads.items())
    return f"of a mean request: {'; '.join(each)}"


def _service_levels(spec: Spec) -> Iterator[tuple[str, str]]:
    application, sla = spec.application, spec.application.sla
    counts = MINUTE.seconds + sla.latency_p99
    yield (
        "Latency",
        f"99 of 100 requests end within {sla.latency_p99:g} s. One that is still open then has failed; a request counts as evidence of "
        f"safety {counts:g} s after it began",
    )
    told = ", ".join(code(name) for name in _gated(spec) if name.startswith("ttft"))
    yield (
        "First token",
        f"within {sla.ttft:g} s; compared with stable by {told}" if told else f"within {sla.ttft:g} s; not compared with stable",
    )
    budget = (1 - sla.uptime) * application.daily_requests
    yield "Uptime", f"{sla.uptime * 100:.6g}% of requests: {budget:,.4g} may fail a day (the error budget below)"


def _noticed(spec: Spec) -> str:
    why, names = NOTICED[spec.application.type]
    gated = _gated(spec)
    watched = ", ".join(code(name) for name in names if name in gated) or "none of them"
    missed = ", ".join(f"{code(name)} ({MEASURES[name].sentence})" for name in names if name not in gated)
    said = f"{why}. Of what tells of that, compared here: {watched}"
    return f"{said}; not compared: {missed}" if missed else said


def _gated(spec: Spec) -> list[str]:
    """Measures that any phase of any rollout compares."""
    return list(dict.fromkeys(gate.measure for rollout in spec.rollouts.values() for phase in rollout.phases for gate in phase.gates))


def _listener(spec: Spec) -> str:
    listener = spec.listener
    kind = "clients are strangers" if listener.kind is ListenerKind.EDGE else "clients are trusted"
    hops = f", trusted proxies in front: {listener.trusted_hops}" if listener.trusted_hops else ""
    otherwise = "get 404" if listener.default_model is None else f"go to {code(listener.default_model)}"
    where = code(f"{listener.address}:{listener.port}")
    return f"{where}, {listener.kind.value}: {kind}{hops}; requests that match no rollout {otherwise}"


def _identity(spec: Spec) -> str:
    listener = spec.listener
    said = [f"{code(header)} is set by {prose(who)}" for header, who in sorted(listener.set_by.items())]
    if listener.geoip is not None:
        databases = (listener.geoip.country, listener.geoip.city, listener.geoip.asn)
        said.append(f"countries, regions and networks by {', '.join(code(one) for one in databases if one)}")
    if listener.jwt is not None:
        said.append(f"claims of verified tokens of {code(listener.jwt.issuer)}")
    if listener.kind is ListenerKind.INTERNAL:
        said.append("headers are believed as clients send them" if not said else "all others are believed as clients send them")
    return "; ".join(said) or "no identity header is believed"


def _model(spec: Spec, model: Model) -> tuple[str, ...]:
    roles = [
        f"{role} of {code(rollout.name)}"
        for rollout in spec.rollouts.values()
        if rollout.layer == contract.MODEL_LAYER
        for role, name in (("stable", rollout.stable), ("canary", rollout.canary))
        if name == model.name
    ]
    where = [
        f"{code(backend.cluster)} at {', '.join(code(f'{one.host}:{one.port}') for one in backend.endpoints) or 'your own Envoy'}"
        for backend in model.backends
    ]
    if len(model.backends) > 1:
        total = sum(backend.weight for backend in model.backends)
        where = [f"{percent(backend.weight / total)} {said}" for backend, said in zip(model.backends, where, strict=True)]
    key = (
        "none" if model.credential is None else f"{model.credential.place.rsplit(' ', 1)[0]} {code(model.credential.place.split(' ')[-1])}"
    )
    prices = model.prices
    cost = "not known" if prices is None else f"{prices.input} in, {prices.cached_input} cached, {prices.output} out"
    return code(model.name), "; ".join(roles) or "other traffic", "; ".join(where), placed.served(spec, model), key, cost
