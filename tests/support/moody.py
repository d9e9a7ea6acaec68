"""A recording model that fails as it is told to."""

from __future__ import annotations

import time
from enum import StrEnum

from tests.support.envoy_stand import Arrived, Model, _Handler, _Server


class Mood(StrEnum):
    WELL = "well"
    FAILS = "fails"
    """503 at once."""
    THROTTLES = "throttles"
    """429."""
    REFUSES = "refuses"
    """400: the request is wrong."""
    DROPS = "drops"
    """Closes the connection without an answer."""
    HANGS = "hangs"
    """Takes the request and answers nothing for `Moody.patience` seconds, then well."""
    BREAKS = "breaks"
    """Begins an answer and closes the connection in its middle."""


STATUS = {Mood.FAILS: 503, Mood.THROTTLES: 429, Mood.REFUSES: 400}


class Moody(Model):
    """Its mood may change between requests."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mood = Mood.WELL
        self.patience = 0.0
        self._server.RequestHandlerClass = _MoodyHandler


class _MoodyHandler(_Handler):
    server: _Server

    def do_POST(self) -> None:
        model = self.server.model
        assert isinstance(model, Moody)
        if model.mood is Mood.WELL:
            super().do_POST()
            return
        headers = [(key.lower(), value) for key, value in self.headers.items()]
        model.requests.append(Arrived(self.path, headers, self._body()))
        if model.mood is Mood.HANGS:
            time.sleep(model.patience)
            self._say(200, b'{"model":"%b"}' % model.name.encode())
        elif model.mood in STATUS:
            self._say(STATUS[model.mood], b'{"error":{}}')
        else:
            if model.mood is Mood.BREAKS:
                self._say(200, b'{"model":', 1_000)
            self.close_connection = True
            self.connection.close()

    def _say(self, status: int, body: bytes, promised: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(promised or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
