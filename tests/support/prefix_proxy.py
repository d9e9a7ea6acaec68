"""A reverse proxy as people put one before the console: it takes a prefix off, names itself, and passes pieces on as they come."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/ops/releases"


@contextmanager
def prefix_proxy(port: int) -> Iterator[str]:
    """Address of the prefix, before a server on a loopback port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(port: int) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def log_message(self, *_: object) -> None:
            pass

        def _pass_on(self) -> None:
            if not self.path.startswith(PREFIX):
                self.send_error(404)
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {**dict(self.headers.items()), "Host": f"127.0.0.1:{port}", "X-Forwarded-For": "10.1.2.3"}
                upstream.request(self.command, self.path.removeprefix(PREFIX), body, headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1(65_536):
                    self.wfile.write(piece)
                    self.wfile.flush()
            except (OSError, http.client.HTTPException):
                pass
            finally:
                upstream.close()

    return Handler
