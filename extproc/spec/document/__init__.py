"""The Spec as people write it: one pydantic model per block of the file. Unknown keys are refused.

From these come the parser's shape checks and the JSON Schema for editors; `resolve` turns them into the nouns of `domain`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from extproc.spec.document.alerts import AlertsBlock
from extproc.spec.document.application import ApplicationBlock, IdentityBlock, ListenerBlock
from extproc.spec.document.base import Block, Name, Percent
from extproc.spec.document.deploy import DeployBlock
from extproc.spec.document.feedback import FeedbackBlock
from extproc.spec.document.flags import FlagSourceBlock
from extproc.spec.document.gates import PrometheusBlock
from extproc.spec.document.judge import JudgeBlock
from extproc.spec.document.models import ModelBlock
from extproc.spec.document.rollout import RolloutBlock
from extproc.spec.document.signals import RetriesBlock, SessionsBlock


class LayerBlock(Block):
    """A layer of experiments that is split into exclusive slots."""

    slots: Annotated[dict[Name, Annotated[Percent, Field(gt=0)]], Field(min_length=1, description="Slot: its share of the layer's units.")]


class Document(Block):
    """An extproc Spec."""

    version: Annotated[int, Field(ge=1, le=1, description="Version of this format: 1.")]
    application: Annotated[ApplicationBlock, Field(description="The application.")]
    listener: Annotated[ListenerBlock, Field(description="The Envoy listener.")]
    identity: Annotated[IdentityBlock, Field(description="Identity headers.")] = IdentityBlock()
    models: Annotated[dict[Name, ModelBlock], Field(min_length=1, description="Models by name.")]
    layers: Annotated[dict[Name, LayerBlock], Field(description="Layers with slots; a layer without them needs no entry.")] = {}
    flags: Annotated[dict[Name, FlagSourceBlock], Field(description="Sources of feature flags.")] = {}
    prometheus: Annotated[PrometheusBlock | None, Field(description="Where the queries of metrics are asked.")] = None
    judge: Annotated[JudgeBlock | None, Field(description="LLM judges of sampled answers; without this block nothing is copied.")] = None
    feedback: Annotated[FeedbackBlock | None, Field(description="Who listens to users; without this block nobody does.")] = None
    sessions: Annotated[SessionsBlock | None, Field(description="Where session ids are; without this block nobody counts sessions.")] = None
    retries: Annotated[RetriesBlock | None, Field(description="What counts as asking again.")] = None
    deploy: Annotated[DeployBlock | None, Field(description="Where it runs; manifests are made from it.")] = None
    alerts: Annotated[AlertsBlock | None, Field(description="Who is told when something is wrong, for `extproc plan`.")] = None
    rollouts: Annotated[dict[Name, RolloutBlock], Field(description="Rollouts by name.")]
