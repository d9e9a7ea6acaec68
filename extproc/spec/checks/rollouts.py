"""One rollout: its models, unit, conversation and phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from extproc.domain import SourceKind
from extproc.spec.checks.tools import Found, block, blocks, known, mapping, not_reserved, unverified
from extproc.spec.document.gates import PhaseBlock
from extproc.spec.document.rollout import ConversationBlock, CookieBlock, OverridesBlock, SourceBlock
from extproc.spec.gating import MODEL_LAYER
from extproc.spec.resolve import USUAL_SOURCES
from extproc.spec.units import show_share
from extproc.spec.yamltext import Path


def check(document: Mapping[str, Any], path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    """Rules over one rollout, its cohorts apart."""
    models, stable, canary = mapping(document.get("models")), rollout.get("stable"), rollout.get("canary")
    if models and rollout.get("layer", MODEL_LAYER) == MODEL_LAYER:
        yield from known("spec.unknown-model", "model", (*path, "stable"), stable, list(models))
        yield from known("spec.unknown-model", "model", (*path, "canary"), canary, list(models))
    if isinstance(stable, str) and stable == canary:
        yield "spec.same-model", (*path, "canary"), f"stable and canary are both {canary!r}", "a rollout goes from one model to another"
    yield from _unit(path, rollout.get("unit"))
    yield from _by_hand(path, rollout)
    yield from _claims(document, path, rollout)
    phases = blocks(PhaseBlock, rollout.get("phases"))
    yield from _ramp(path, phases)
    for index, phase in enumerate(phases):
        if phase is not None:
            yield from _phase((*path, "phases", index), phase)


def _by_hand(path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    overrides, conversation = block(OverridesBlock, rollout.get("overrides", {})), block(ConversationBlock, rollout.get("conversation"))
    if overrides is not None and overrides.qa is not None:
        yield from not_reserved((*path, "overrides", "qa", "header"), overrides.qa.header)
    if conversation is not None:
        for key, header in (("header", conversation.header), ("id", conversation.id.header if conversation.id is not None else None)):
            if header is not None:
                yield from not_reserved((*path, "conversation", key), header)
        if conversation.cookie is not None and conversation.cookie in _cookies(rollout.get("unit")):
            message = f"cookie {conversation.cookie!r} is already that of the unit"
            yield "spec.same-cookie", (*path, "conversation", "cookie"), message, "a token would take the place of the id: choose another"


def _cookies(unit: Any) -> list[str]:
    """Cookies that a unit's id may come from."""
    kind, written = (unit, None) if isinstance(unit, str) else (mapping(unit).get("kind", "user"), mapping(unit).get("sources"))
    if written is None:
        return [source.name for source in USUAL_SOURCES.get(kind, ()) if source.kind is SourceKind.COOKIE]
    return [source.cookie for source in blocks(SourceBlock, written) if source is not None and source.cookie is not None]


def _claims(document: Mapping[str, Any], path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    for index, source in enumerate(blocks(SourceBlock, mapping(rollout.get("unit")).get("sources"))):
        if source is not None and source.claim is not None:
            yield from unverified(document, (*path, "unit", "sources", index))


def _unit(path: Path, written: Any) -> Iterator[Found]:
    unit: Mapping[str, Any] = {"kind": written} if isinstance(written, str) else mapping(written)
    kind = unit.get("kind", "user")
    if unit and "sources" not in unit and isinstance(kind, str) and kind not in USUAL_SOURCES:
        message = f"nobody knows where the id of a {kind!r} comes from"
        yield "spec.no-sources", (*path, "unit"), message, f"add sources, or take one of {', '.join(USUAL_SOURCES)}"
    sources = blocks(SourceBlock, unit.get("sources"))
    sound = [source for source in sources if source is not None]
    cookies = _cookies(written) if "sources" in unit else []
    if len(cookies) > 1:
        message = f"{len(cookies)} cookies are named: {', '.join(cookies)}"
        yield "spec.two-cookies", (*path, "unit", "sources"), message, "Envoy sets one cookie for the anonymous: keep one"
    if "cookie" in unit and block(CookieBlock, unit["cookie"]) and sources and len(sound) == len(sources) and not cookies:
        hint = "add {cookie: llm_uid} to the sources, or delete this block"
        yield "spec.cookie-without-source", (*path, "unit", "cookie"), "describes a cookie, but no source is a cookie", hint
    for index, source in enumerate(sources):
        header = (source.header or source.api_key) if source is not None else None
        if header is not None:
            yield from not_reserved((*path, "unit", "sources", index), header)


def _ramp(path: Path, phases: Sequence[PhaseBlock | None]) -> Iterator[Found]:
    names: set[str] = set()
    before: PhaseBlock | None = None
    for index, phase in enumerate(phases):
        if phase is None:
            continue
        here = (*path, "phases", index)
        name = phase.name or show_share(phase.share)
        if before is not None and phase.share <= before.share:
            message = f"{show_share(phase.share)} does not rise above {show_share(before.share)} of an earlier phase"
            yield "spec.shares-not-rising", (*here, "share"), message, "a ramp only ever adds users: order the phases by share"
        elif name in names:
            yield "spec.duplicate-phase", (*here, "name"), f"phase {name!r} is there twice", "commands go by name: choose another"
        names.add(name)
        before = phase
    last = phases[-1] if phases else None
    if last is not None and last.share != 1.0:
        message = f"the last phase ends at {show_share(last.share)}"
        yield "spec.no-last-phase", (*path, "phases", len(phases) - 1, "share"), message, "add a last phase with share: 100%"


def _phase(here: Path, phase: PhaseBlock) -> Iterator[Found]:
    if phase.min_dwell > phase.max_dwell:
        message = f"the least dwell ({phase.min_dwell:g} s) is longer than the longest ({phase.max_dwell:g} s)"
        written = "min_dwell" if "min_dwell" in phase.model_fields_set else "max_dwell"
        yield "spec.dwell-order", (*here, written), message, "lower min_dwell (10m by default) or raise max_dwell (24h by default)"
