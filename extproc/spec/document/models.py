"""Blocks about models and the way to them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from extproc.domain import AffinityPolicy
from extproc.spec.document.base import Block, Dollars, Duration, Header, Name, Port, Text, printable
from extproc.spec.document.serving import ServingBlock, TokensBlock


def _tls(value: Any) -> Any:
    if isinstance(value, bool):
        return TlsBlock() if value else None
    if not isinstance(value, dict):
        raise ValueError("must be true, false, or a block with sni and ca_file")
    return value


def _true_or_block(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "boolean"} if one == {"type": "null"} else one for one in schema["anyOf"]]
    schema["default"] = False


class TlsBlock(Block):
    """TLS towards a model, or a collector of traces."""

    sni: Annotated[Text | None, Field(description="Server name; the host by default.")] = None
    ca_file: Annotated[Text | None, Field(description="PEM bundle of authorities; the system's by default.")] = None


class EndpointBlock(Block):
    """Where a model answers."""

    host: Annotated[Text, Field(description="Host name or address.")]
    port: Annotated[Port, Field(description="Port.")]
    tls: Annotated[
        TlsBlock | None,
        BeforeValidator(_tls),
        Field(description="true, or a block with sni and ca_file.", json_schema_extra=_true_or_block),
    ] = None


class SlicesBlock(Block):
    """Kubernetes EndpointSlices in a file on the controller's machine; Envoy is told over xDS."""

    file: Annotated[Text, Field(description="JSON or YAML, as kubectl get endpointslices writes it; read again when it changes.")]
    port: Annotated[Text | None, Field(description="Name of the port; needed where the slices have several.")] = None
    tls: Annotated[
        TlsBlock | None,
        BeforeValidator(_tls),
        Field(description="A block with sni, and ca_file where it is not the system's.", json_schema_extra=_true_or_block),
    ] = None

    @model_validator(mode="after")
    def _named(self) -> SlicesBlock:
        if self.tls is not None and self.tls.sni is None:
            raise ValueError("addresses have no name: write tls with sni")
        return self


class ProbeBlock(Block):
    """How the controller finds out whether a replica is well."""

    path: Annotated[Text, Field(pattern="^/", description="Path of a GET; any answer below 400 is well.")] = "/health"
    every: Annotated[Duration, Field(ge=0.1, le=3600, description="Time between two probes.", json_schema_extra={"default": "2s"})] = 2.0
    timeout: Annotated[
        Duration, Field(ge=0.01, le=60, description="Time that an answer may take.", json_schema_extra={"default": "1s"})
    ] = 1.0


class PathRewriteBlock(Block):
    """Replace a path prefix on the way to the model."""

    prefix: Annotated[Text, Field(pattern="^/", description="Prefix to replace.")]
    to: Annotated[Text, Field(pattern="^/", description="What to put there.")]


class CredentialBlock(Block):
    """A secret by reference: exactly one of file and env."""

    header: Annotated[Header, Field(description="Header that carries it.")] = "authorization"
    prefix: Annotated[str, BeforeValidator(printable), Field(description="Text before the secret.")] = "Bearer "
    file: Annotated[Text | None, Field(description="File that holds the secret, on Envoy's machine.")] = None
    env: Annotated[Text | None, Field(description="Environment variable of Envoy that holds the secret.")] = None

    @model_validator(mode="after")
    def _one_reference(self) -> CredentialBlock:
        if (self.file is None) == (self.env is None):
            raise ValueError("name exactly one of file and env")
        return self


class PricesBlock(Block):
    """USD per million tokens."""

    input: Annotated[Dollars, Field(description="Input tokens.")]
    cached_input: Annotated[Dollars | None, Field(description="Cached input tokens; the input price by default.")] = None
    output: Annotated[Dollars, Field(description="Output tokens.")]


def _one_place(endpoint: object, endpoints: object, slices: object) -> None:
    if endpoint is not None and endpoints is not None:
        raise ValueError("name endpoint or endpoints, not both")
    if slices is not None and (endpoint is not None or endpoints is not None):
        raise ValueError("name endpoints or endpoint_slices, not both")


class BackendBlock(Block):
    """One cluster of a pool."""

    cluster: Annotated[Name, Field(description="Envoy cluster.")]
    weight: Annotated[float, Field(gt=0, le=1e6, strict=False, description="Its share of units is weight / sum of weights.")] = 1.0
    endpoint: Annotated[EndpointBlock | None, Field(description="Where it answers.")] = None
    endpoints: Annotated[list[EndpointBlock] | None, Field(min_length=1, description="Where it answers, several.")] = None
    endpoint_slices: Annotated[SlicesBlock | None, Field(description="Where it answers, in a file.")] = None
    host_rewrite: Annotated[Text | None, Field(description="Host header to send; the endpoint's host where TLS is on.")] = None

    @model_validator(mode="after")
    def _one_form(self) -> BackendBlock:
        _one_place(self.endpoint, self.endpoints, self.endpoint_slices)
        return self


class AffinityBlock(Block):
    """Keep a conversation on the replica that holds its KV cache."""

    policy: Annotated[AffinityPolicy, Field(strict=False, description="Envoy's load balancer: ring_hash or maglev.")]
    header: Annotated[Header | None, Field(description="Request header with the conversation's id; the unit by default.")] = None


class ModelBlock(Block):
    """A model and the way to it."""

    cluster: Annotated[Name | None, Field(description="Envoy cluster; the model's name by default.")] = None
    endpoint: Annotated[EndpointBlock | None, Field(description="Where it answers.")] = None
    endpoints: Annotated[list[EndpointBlock] | None, Field(min_length=1, description="Where it answers, several.")] = None
    endpoint_slices: Annotated[SlicesBlock | None, Field(description="Where it answers, in a file.")] = None
    pool: Annotated[
        list[BackendBlock] | None, Field(min_length=1, description="Several clusters with weights; a unit stays on one of them.")
    ] = None
    affinity: Annotated[AffinityBlock | None, Field(description="Keep conversations on a replica.")] = None
    host_rewrite: Annotated[Text | None, Field(description="Host header to send; the endpoint's host where TLS is on.")] = None
    path_rewrite: Annotated[PathRewriteBlock | None, Field(description="Path prefix to replace.")] = None
    credential: Annotated[CredentialBlock | None, Field(description="Secret to send, by reference.")] = None
    send_model: Annotated[Text | None, Field(description="Model name to write into request bodies; bodies are untouched without it.")] = (
        None
    )
    probe: Annotated[ProbeBlock | None, Field(description="As a canary it gets no traffic while no endpoint is well.")] = None
    prices: Annotated[PricesBlock | None, Field(description="Prices per million tokens.")] = None
    serving: Annotated[ServingBlock | None, Field(description="The GPUs that it runs on, where you host it yourself.")] = None
    tokens: Annotated[TokensBlock, Field(description="Tokens of a mean request to this model; the application's by default.")] = (
        TokensBlock()
    )

    @model_validator(mode="after")
    def _one_form(self) -> ModelBlock:
        _one_place(self.endpoint, self.endpoints, self.endpoint_slices)
        if self.pool is not None and any((self.cluster, self.endpoint, self.endpoints, self.endpoint_slices, self.host_rewrite)):
            raise ValueError("with a pool, its members have cluster, endpoint and host_rewrite; the model itself has none")
        return self
