"""Blocks of a rollout."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from extproc.domain import Bucketing, OnFailure, RollbackPolicy, StartMode
from extproc.spec.document.base import (
    COOKIE_PATTERN,
    KEY_PATTERN,
    Block,
    Claim,
    Duration,
    Header,
    Name,
    Percent,
    Text,
    Texts,
    listed,
)
from extproc.spec.document.cohorts import CohortBlock
from extproc.spec.document.gates import FreezeBlock, GatingBlock, PhaseBlock, WindowBlock
from extproc.spec.document.shadow import ShadowBlock


class MatchBlock(Block):
    """Which requests a rollout is about; what does not match keeps its own route."""

    hosts: Annotated[Texts | None, Field(description="Exact host names.")] = None
    paths: Annotated[Texts | None, Field(description="Path prefixes.")] = None
    models: Annotated[Texts | None, Field(description="Values of `model` in the request body.")] = None


class SourceBlock(Block):
    """Where a unit's id comes from: exactly one key."""

    header: Annotated[Header | None, Field(description="Request header.")] = None
    api_key: Annotated[Header | None, Field(description="Header with an API key; it is hashed first.")] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Cookie; Envoy sets it for the anonymous.")] = None
    claim: Annotated[Claim | None, Field(description="JWT claim (dotted path), such as sub.")] = None

    @model_validator(mode="after")
    def _one_kind(self) -> SourceBlock:
        if sum(one is not None for one in (self.header, self.api_key, self.cookie, self.claim)) != 1:
            raise ValueError("name exactly one of header, api_key, cookie and claim")
        return self


class CookieBlock(Block):
    """Attributes of the anonymous cookie."""

    max_age: Annotated[Duration, Field(gt=0, description="Lifetime.", json_schema_extra={"default": "365d"})] = 365 * 86400.0
    secure: Annotated[bool, Field(description="Send over TLS only.")] = True
    same_site: Annotated[Literal["Strict", "Lax", "None"], Field(description="Strict, Lax or None.")] = "Lax"


def _by_word(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


class UnitBlock(Block):
    """What is kept on one side; `unit: user` alone takes the usual sources."""

    kind: Annotated[Name, Field(description="user, tenant, conversation, request, or another word for reports.")] = "user"
    sources: Annotated[
        list[SourceBlock] | None, Field(min_length=1, description="Tried in order; the usual ones of the kind by default.")
    ] = None
    cookie: Annotated[CookieBlock | None, Field(description="Attributes of the anonymous cookie; safe by default.")] = None


class ConversationIdBlock(Block):
    """What names a conversation: exactly one of header and cookie."""

    header: Annotated[Header | None, Field(description="Request header.")] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Cookie.")] = None

    @model_validator(mode="after")
    def _one_kind(self) -> ConversationIdBlock:
        if (self.header is None) == (self.cookie is None):
            raise ValueError("name exactly one of header and cookie")
        return self


class ConversationBlock(Block):
    """Keep an open conversation on its model while the rollout moves."""

    header: Annotated[
        Header | None, Field(description="Header of the token, in answers and requests; x-conversation-token by default.")
    ] = None
    cookie: Annotated[Text | None, Field(pattern=COOKIE_PATTERN, description="Cookie of the token, in place of the header.")] = None
    secure: Annotated[bool, Field(description="Send the cookie over TLS only.")] = True
    id: Annotated[ConversationIdBlock | None, Field(description="Names the conversation: a token is good for that one alone.")] = None
    lifetime: Annotated[
        Duration, Field(ge=1, le=30 * 86400, description="How long a conversation is kept.", json_schema_extra={"default": "4h"})
    ] = 4 * 3600.0
    on_quality_rollback: Annotated[
        RollbackPolicy,
        Field(strict=False, description="drain: conversations may end on the canary after a rollback for quality or cost. move: not."),
    ] = RollbackPolicy.MOVE
    state_fields: Annotated[
        list[Annotated[str, Field(pattern=KEY_PATTERN)]],
        BeforeValidator(listed),
        Field(description="Keys of the body that speak of state kept by the provider."),
    ] = ["previous_response_id", "conversation", "thread_id"]
    state_paths: Annotated[list[Text], BeforeValidator(listed), Field(description="Path prefixes that do.")] = ["/v1/threads/"]

    @model_validator(mode="after")
    def _one_place(self) -> ConversationBlock:
        if self.header is not None and self.cookie is not None:
            raise ValueError("name header or cookie, not both")
        return self


class SecretBlock(Block):
    """A secret by reference: exactly one of file and env, of the router."""

    file: Annotated[Text | None, Field(description="File that holds the secret.")] = None
    env: Annotated[Text | None, Field(description="Environment variable that holds the secret.")] = None

    @model_validator(mode="after")
    def _one_reference(self) -> SecretBlock:
        if (self.file is None) == (self.env is None):
            raise ValueError("name exactly one of file and env")
        return self


class QaBlock(Block):
    """Signed headers that put one request on a named arm."""

    header: Annotated[Header, Field(description="Request header.")] = "x-canary-qa"
    secret: Annotated[SecretBlock, Field(description="HMAC key, at least 16 bytes.")]


class OverridesBlock(Block):
    """Who is put on an arm by hand: counted apart, and no evidence."""

    qa: Annotated[QaBlock | None, Field(description="Signed headers.")] = None
    stable: Annotated[list[Text] | None, BeforeValidator(listed), Field(min_length=1, description="Units that always meet stable.")] = None
    stable_file: Annotated[Text | None, Field(description="The same, from a file with an id a line.")] = None
    canary: Annotated[
        list[Text] | None, BeforeValidator(listed), Field(min_length=1, description="Units that meet the canary while it is exposed.")
    ] = None
    canary_file: Annotated[Text | None, Field(description="The same, from a file with an id a line.")] = None


class RolloutBlock(GatingBlock):
    """From stable to canary, phase by phase."""

    layer: Annotated[Name, Field(description="Layer of experiments; `model` sets the cluster.")] = "model"
    match: Annotated[MatchBlock, Field(description="Which requests.")] = MatchBlock()
    stable: Annotated[Name, Field(description="Model (in other layers: variant) that serves today.")]
    canary: Annotated[Name, Field(description="Model (in other layers: variant) that shall serve.")]
    unit: Annotated[UnitBlock, BeforeValidator(_by_word), Field(description="What is kept on one side.")]
    conversation: Annotated[ConversationBlock | None, Field(description="Keep open conversations on their model.")] = None
    overrides: Annotated[OverridesBlock, Field(description="Who is put on an arm by hand.")] = OverridesBlock()
    cohorts: Annotated[list[CohortBlock], Field(min_length=1, description="Tried in order.")]
    shadow: Annotated[ShadowBlock | None, Field(description="Mirror requests to the canary before anybody meets it.")] = None
    phases: Annotated[list[PhaseBlock], Field(min_length=1, description="Rising shares, up to 100%.")]
    holdback: Annotated[Percent, Field(lt=0.5, description="Share kept on stable at 100%.", json_schema_extra={"default": "0%"})] = 0.0
    start: Annotated[StartMode, Field(strict=False, description="automatic, or manual by `extproc start`.")] = StartMode.AUTOMATIC
    salt: Annotated[Name | None, Field(description="Seed of the ring; the rollout's name by default.")] = None
    reuse_salt_of: Annotated[
        Name | None, Field(description="Another rollout whose users this one shall meet again: a deliberate re-run.")
    ] = None
    slot: Annotated[Name | None, Field(description="Exclusive slot of the layer.")] = None
    bucket: Annotated[
        Bucketing, Field(strict=False, description="Hash of the ring: extproc, or a flag vendor's, so that flags see the same people.")
    ] = Bucketing.EXTPROC
    on_canary_failure: Annotated[
        OnFailure, Field(strict=False, description="answer: clients see a canary's failure. stable: stable answers in its place.")
    ] = OnFailure.ANSWER
    alpha: Annotated[float, Field(gt=0, le=0.5, description="Probability of rolling back a harmless canary, over the whole release.")] = (
        0.05
    )
    approval_above: Annotated[
        Percent,
        Field(gt=0, description="A larger share waits for a person's approval.", json_schema_extra={"default": "100%"}),
    ] = 1.0
    windows: Annotated[list[WindowBlock], Field(description="When automation may raise the share; at any time by default.")] = []
    freezes: Annotated[list[FreezeBlock], Field(description="When it may not, whatever the windows say.")] = []
