"""Small words of Envoy's configuration that several modules need."""

from __future__ import annotations

from typing import Any


def typed(name: str, **fields: Any) -> dict[str, Any]:
    """A typed_config of this message."""
    return {"@type": f"type.googleapis.com/{name}", **fields}


def address(text: str) -> dict[str, Any]:
    """Envoy's address of `unix:PATH` or `HOST:PORT`."""
    if text.startswith("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
