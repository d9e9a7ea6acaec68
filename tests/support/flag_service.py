"""A flag service over HTTP, as the four vendors' APIs answer: each at its own path, with its own key, ETags, and bad moods."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from extproc.domain import FlagVendor

KEY = "s3cret-k3y"
PATHS = {
    FlagVendor.UNLEASH: "/api/client/features",
    FlagVendor.LAUNCHDARKLY: "/sdk/latest-all",
    FlagVendor.GROWTHBOOK: "/api/features/sdk-abc123",
    FlagVendor.FLAGD: "/flags.json",
}
AUTHORIZED = frozenset((FlagVendor.UNLEASH, FlagVendor.LAUNCHDARKLY))
"""Whoever asks these without the key is told 401."""
LARGE = 17 << 20


@dataclass
class Service:
    """What it answers, and what it was asked."""

    documents: dict[FlagVendor, Any] = field(default_factory=dict)
    mood: dict[FlagVendor, str] = field(default_factory=dict)
    """`500`, `html`, `list`, `large`, `redirect`, `silent`, `drip`, `latin`; none: well."""
    asked: list[tuple[FlagVendor, str | None, int]] = field(default_factory=list)
    """Vendor, If-None-Match, status."""
    key: str = KEY
    port: int = 0

    def url(self, vendor: FlagVendor) -> str:
        return f"http://127.0.0.1:{self.port}{PATHS[vendor]}"

    def statuses(self, vendor: FlagVendor) -> list[int]:
        return [status for one, _, status in self.asked if one is vendor]


@contextmanager
def flag_service(documents: dict[FlagVendor, Any]) -> Iterator[Service]:
    """Serves until the end of the block."""
    service = Service(dict(documents))
    server = _Server(("127.0.0.1", 0), _handler(service))
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are what we test."""


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            vendor = next((one for one, path in PATHS.items() if self.path.split("?")[0] == path), None)
            if vendor is None:
                return self._send(404, b"{}")
            if vendor in AUTHORIZED and self.headers.get("authorization") != service.key:
                return self._told(vendor, 401, b'{"error": "unauthorized"}')
            body = orjson.dumps(service.documents[vendor])
            mood = service.mood.get(vendor, "")
            match mood:
                case "500":
                    return self._told(vendor, 500, b"oops")
                case "redirect":
                    return self._told(vendor, 302, b"", location="https://login.example/")
                case "html":
                    return self._told(vendor, 200, b"<html>please log in</html>")
                case "list":
                    return self._told(vendor, 200, b"[1]")
                case "latin":
                    return self._told(vendor, 200, b'{"a": "\xe9"}')
                case "large":
                    return self._told(vendor, 200, b'{"a": "' + b"x" * LARGE + b'"}')
                case "silent":
                    time.sleep(3)
                    return self._told(vendor, 200, body)
                case "drip":
                    return self._drip(vendor, body)
            etag = f'"{sha256(body).hexdigest()[:12]}"'
            if self.headers.get("if-none-match") == etag:
                return self._told(vendor, 304, b"", etag=etag)
            return self._told(vendor, 200, body, etag=etag)

        def _drip(self, vendor: FlagVendor, body: bytes) -> None:
            """A byte now and then: no single read takes long."""
            service.asked.append((vendor, self.headers.get("if-none-match"), 200))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            for byte in body[:60]:
                self.wfile.write(bytes((byte,)))
                self.wfile.flush()
                time.sleep(0.1)

        def _told(self, vendor: FlagVendor, status: int, body: bytes, **headers: str) -> None:
            service.asked.append((vendor, self.headers.get("if-none-match"), status))
            self._send(status, body, **headers)

        def _send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            if status != 304:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            """What SDKs tell of themselves."""
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self._send(202, b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handler
