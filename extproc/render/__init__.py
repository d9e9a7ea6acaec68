"""Files made from a Spec. Pure: the same Spec and settings always give the same text."""

from extproc.render.envoy import envoy_document, envoy_snippet, envoy_yaml, lost_features
from extproc.render.peers import secret_files
from extproc.render.settings import EnvoySettings, Profile, RenderError, RouterTls

__all__ = [
    "EnvoySettings",
    "Profile",
    "RenderError",
    "RouterTls",
    "envoy_document",
    "envoy_snippet",
    "envoy_yaml",
    "lost_features",
    "secret_files",
]
