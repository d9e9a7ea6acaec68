"""What the rendering of an Envoy configuration needs beside the Spec: where extproc listens, and which extensions may be used."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from extproc import contract
from extproc.domain import Spec


class Profile(StrEnum):
    """`full`: Envoy 1.40 and its work-in-progress extensions. `core`: 1.36 or newer, without them."""

    FULL = "full"
    CORE = "core"


@dataclass(frozen=True, slots=True)
class EnvoySettings:
    """Addresses as Envoy reaches them: `unix:PATH` or `HOST:PORT`."""

    router: str = contract.DEFAULT_ROUTER_LISTEN
    workers: int = 2
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    profile: Profile = Profile.FULL


def lost(spec: Spec, settings: EnvoySettings) -> list[str]:
    """Features of this Spec that the profile leaves out, because Envoy has them only as work in progress."""
    if settings.profile is Profile.FULL:
        return []
    found = ["token counts of streamed answers (SSE); those of JSON answers are read"]
    for model in spec.models.values():
        if model.send_model is not None:
            found.append(f"send_model of {model.name}: its requests keep the model name they came with; rewrite it behind Envoy")
        if model.credential is not None and model.credential.file is not None and model.credential.prefix:
            value = f"{model.credential.prefix}<secret>"
            found.append(f"credential prefix of {model.name}: its file must hold the whole header value, `{value}`")
    if spec.listener.geoip_database is not None:
        found.append(f"geoip: nobody sets {spec.country_header}, so country cohorts match nobody; let a CDN set it and name it in set_by")
    return found
