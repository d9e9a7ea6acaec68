"""Files made from a Spec. Pure: text out, the caller writes it."""

from extproc.render import envoy
from extproc.render.settings import EnvoySettings, Profile, lost

__all__ = ["EnvoySettings", "Profile", "envoy", "lost"]
