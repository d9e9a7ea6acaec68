"""The console's files, read once when the process starts: nothing that is asked for is ever a path."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

TYPES: Final = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "svg": "image/svg+xml",
        "txt": "text/plain; charset=utf-8",
    }
)
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No inline script or style, nothing from elsewhere, no frame; and no text ever becomes markup (trusted types)."""
HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
        "cache-control": "no-cache",
    }
)
INDEX: Final = "index.html"


class Files:
    """By their names below `/console/`."""

    def __init__(self) -> None:
        self._files = dict(_all(resources.files("extproc").joinpath("console"), ""))
        self._tags = {name: f'"{hashlib.sha256(data).hexdigest()[:16]}"' for name, data in self._files.items()}

    @property
    def names(self) -> Mapping[str, bytes]:
        """All of them."""
        return self._files

    async def answer(self, request: Request) -> Response:
        """One file, or 304 where the browser has it."""
        name = request.path_params.get("name", "") or INDEX
        data = self._files.get(name)
        if data is None:
            return Response("there is no such page; the console is at console/\n", 404, dict(HEADERS), "text/plain; charset=utf-8")
        headers = {**HEADERS, "etag": self._tags[name]}
        if request.headers.get("if-none-match") == self._tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=TYPES[name.rpartition(".")[2]])


def _all(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for one in folder.iterdir():
        if one.is_dir():
            found += _all(one, f"{prefix}{one.name}/")
        elif one.name.rpartition(".")[2] in TYPES:
            found.append((prefix + one.name, one.read_bytes()))
    return found
