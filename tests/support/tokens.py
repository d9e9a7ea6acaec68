"""An issuer of signed tokens (JWT, ES256) and of the keys to verify them (JWKS), for loopback."""

from __future__ import annotations

import ssl
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """A key of its own; whoever believes its JWKS believes its tokens."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwks(self) -> bytes:
        """The public key, as Envoy reads it."""
        point = self._key.public_key().public_numbers()
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one"}
        return orjson.dumps({"keys": [key | {"x": _text(point.x.to_bytes(32)), "y": _text(point.y.to_bytes(32))}]})

    def token(self, claims: Mapping[str, Any], algorithm: str = "ES256") -> str:
        """Header, claims and signature; another algorithm is only written into the header."""
        parts = [_text(orjson.dumps(one)) for one in ({"alg": algorithm, "kid": "one", "typ": "JWT"}, claims)]
        r, s = decode_dss_signature(self._key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
        return ".".join([*parts, _text(r.to_bytes(32) + s.to_bytes(32))])


@contextmanager
def serving(jwks: bytes, context: ssl.SSLContext, port: int) -> Iterator[list[str]]:
    """The keys over HTTPS on this port; yields the paths that were asked for, as they come."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", str(len(jwks)))
            self.end_headers()
            self.wfile.write(jwks)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
