"""The last look at a request before it leaves for a model: filters of its cluster, after routing, so that nothing that Envoy itself adds
escapes them."""

from __future__ import annotations

from typing import Any, Final

from extproc import contract
from extproc.domain import Backend, Credential, Model, Spec
from extproc.render.body import send_model_script
from extproc.render.failover import as_sent, failing_over
from extproc.render.headers import kept_from_models
from extproc.render.lua import lua_filter, lua_string
from extproc.render.settings import EnvoySettings, Profile, routed_models
from extproc.render.yamltext import Block, typed

_PREFIX_SCRIPT: Final = """\
-- Envoy 1.36 puts no prefix before a key, and sends the newline at the end of a key file, which it then refuses itself.
function envoy_on_request(handle)
  local key = handle:headers():get({header})
  if key then handle:headers():replace({header}, {prefix} .. key:gsub('%s+$', '')) end
end
"""


def upstream_filters(spec: Spec, model: Model, backend: Backend, settings: EnvoySettings) -> list[Any]:
    """First what must not leave, which is also what an attempt at another model left behind: its key. Then what is this model's own."""
    prefixes = (contract.HEADER_PREFIX, "x-envoy-", "x-forwarded-")
    mutations: list[Block] = [{"remove_on_match": {"key_matcher": {"prefix": prefix}}} for prefix in prefixes]
    mutations += [{"remove": name} for name in kept_from_models(spec) if not name.startswith(prefixes)]
    filters: list[Any] = [_mutate("extproc.keep_from_model", mutations)]
    if model.name in failing_over(spec):
        filters.append(as_sent(model, backend))
        if model.send_model is not None:
            filters.append(lua_filter("extproc.send_model", send_model_script(model.send_model)))
    if model.credential is not None:
        filters += _inject(model, model.credential, settings.profile)
    filters.append(
        {"name": "envoy.filters.http.upstream_codec", "typed_config": typed("filters.http.upstream_codec.v3.UpstreamCodec")},
    )
    return filters


def secrets(spec: Spec) -> list[Block]:
    """The models' keys, by reference; Envoy reads each once, when it starts."""
    return [
        {"name": _secret_name(model), "generic_secret": {"secret": _source(model.credential)}}
        for model in routed_models(spec)
        if model.credential is not None and any(backend.ours for backend in model.backends)
    ]


def _inject(model: Model, credential: Credential, profile: Profile) -> list[Block]:
    generic = typed("http.injected_credentials.generic.v3.Generic", credential={"name": _secret_name(model)}, header=credential.header)
    if credential.prefix and profile is Profile.FULL:
        generic["header_value_prefix"] = credential.prefix
    injector = typed(
        "filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential={"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    )
    filters: list[Block] = [{"name": "envoy.filters.http.credential_injector", "typed_config": injector}]
    if profile is Profile.CORE:
        script = _PREFIX_SCRIPT.format(header=lua_string(credential.header), prefix=lua_string(credential.prefix))
        # Not called as the filter that writes the model's name: the route's script of that name would take this one's place (seen).
        filters.append(lua_filter("extproc.key_prefix", script))
    return filters


def _secret_name(model: Model) -> str:
    return f"{model.name}.key"


def _source(credential: Credential) -> Block:
    return {"filename": credential.file} if credential.file is not None else {"environment_variable": credential.env}


def _mutate(name: str, mutations: list[Block]) -> Block:
    config = typed("filters.http.header_mutation.v3.HeaderMutation", mutations={"request_mutations": mutations})
    return {"name": name, "typed_config": config}
