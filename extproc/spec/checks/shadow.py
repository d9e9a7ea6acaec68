"""The shadow of a rollout: a copy is made of what stable is sent, so that must be what the canary can be sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.spec.checks.judge import nobody_judges
from extproc.spec.checks.tools import Found, block, mapping
from extproc.spec.document.models import ModelBlock
from extproc.spec.document.shadow import ShadowBlock
from extproc.spec.gating import MODEL_LAYER
from extproc.spec.units import show_duration
from extproc.spec.yamltext import Path


def check(document: Mapping[str, Any], path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    """Rules over one rollout that has a shadow."""
    written = rollout.get("shadow")
    if written is None:
        return
    here = (*path, "shadow")
    shadow = block(ShadowBlock, written)
    if shadow is not None and shadow.min_dwell > shadow.max_dwell:
        message = f"the least dwell ({show_duration(shadow.min_dwell)}) is longer than the longest ({show_duration(shadow.max_dwell)})"
        yield "spec.dwell-order", here, message, "lower min_dwell (30m by default) or raise max_dwell (24h by default)"
    if shadow is not None and shadow.min_judged and "min_judged" in shadow.model_fields_set and nobody_judges(document):
        message = f"{shadow.min_judged:,} judged pairs are asked for, and judge.judges is empty: nobody judges"
        yield "spec.no-judge", (*here, "min_judged"), message, "name a judge there, or leave min_judged out"
    if rollout.get("layer", MODEL_LAYER) != MODEL_LAYER:
        yield "spec.shadow-of-variant", here, "a variant is no model that a request could be copied to", "only the layer model has shadows"
        return
    models = mapping(document.get("models"))
    stable, canary = (block(ModelBlock, models.get(str(rollout.get(role)))) for role in ("stable", "canary"))
    if stable is not None and stable.path_rewrite is not None:
        message = f"{rollout['stable']!r} has a path_rewrite, and a copy is made of what stable is sent: the canary would get that path"
        yield "spec.shadow-path", here, message, "let the model's own gateway rewrite its paths, or go without a shadow"
    if stable is not None and canary is not None and stable.send_model is not None and canary.send_model is None:
        message = f"stable's bodies name {stable.send_model!r}, and a copy is made of them: the canary would be asked for that model"
        hint = f"say what it is called: models.{rollout['canary']}.send_model"
        yield "spec.shadow-model", here, message, hint
