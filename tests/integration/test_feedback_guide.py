"""docs/feedback.md can be copied: what it shows for a browser, for Python and for a shell is run against the real service."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from extproc import contract
from extproc.controller.feedback.limits import Limits
from extproc.controller.feedback.settings import FeedbackSettings
from extproc.domain import FeedbackKind
from tests.support.feedback import FEEDBACK_KEY, Service, serving, token

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "feedback.md").read_text(encoding="utf-8")
BROWSER = """
import { readFileSync } from "node:fs";
const edge = process.env.EDGE, outside = globalThis.fetch, listeners = {}, sent = [];
globalThis.fetch = (path, more) => outside(edge + path, more);
globalThis.addEventListener = (name, what) => (listeners[name] = what);
Object.defineProperty(globalThis, "navigator", {
  configurable: true,
  value: { sendBeacon: (path, blob) => sent.push(outside(edge + path, { method: "POST", body: blob })) > 0 },
});
const page = new Function(readFileSync(0, "utf8") + "\\nreturn { ask, feedback };")();
listeners.pagehide();
const answer = await page.ask({ model: "gpt-4o", messages: [] });
const words = (await answer.json()).choices[0].message.content;
const statuses = [(await page.feedback("thumbs_up")).status, (await page.feedback("rating", 4)).status];
listeners.pagehide();
for (const one of sent) statuses.push((await one).status);
console.log(JSON.stringify({ words, statuses }));
"""


def block(language: str) -> str:
    """The one block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    assert isinstance(found, str)
    return found


@dataclass
class Edge:
    """One origin, as an Envoy makes it: a model that signs its answers, and the feedback service."""

    url: str
    service: Service


@contextmanager
def front(service: Service) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == contract.FEEDBACK_PATH:
                headers = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "authorization")}
                with httpx.Client(trust_env=False, timeout=60.0) as client:
                    answer = client.post(service.url, content=body, headers=headers)
                self._say(answer.status_code, answer.content, {})
                return
            message = {"role": "assistant", "content": "Good morning"}
            said = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            self._say(200, json.dumps({**said, "choices": choices}).encode(), {contract.FEEDBACK_HEADER: token()})

        def _say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    with serving(tmp_path) as service, front(service) as url:
        yield Edge(url, service)


def run(command: list[str], edge: Edge, text: str = "", **more: str) -> str:
    environment = {**os.environ, "EDGE": edge.url, "NO_PROXY": "*", **more}
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=150, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_browser_snippet(edge: Edge, tmp_path: Path) -> None:
    """Ten lines at most, run by node in a page's clothes: thumb, rating, and the end of the session as a beacon, of the answer's token."""
    node = shutil.which("node")
    assert node is not None, "node is needed to run docs/feedback.md: apt-get install nodejs (make tools)"
    snippet = block("js")
    assert snippet.count("\n") <= 10
    program = tmp_path / "page.mjs"
    program.write_text(BROWSER)
    said = json.loads(run([node, str(program)], edge, snippet))
    assert said == {"words": "Good morning", "statuses": [202, 202, 202]}
    lines = [one for _, one in edge.service.log()]
    assert [(one.kind, one.value) for one in lines] == [
        (FeedbackKind.THUMBS_UP, None),
        (FeedbackKind.RATING, 4.0),
        (FeedbackKind.SESSION_END, None),
    ]
    assert len({one.answer for one in lines}) == 1


def test_the_python_example(edge: Edge) -> None:
    """With the real openai client: the header is read from the raw response."""
    # The example's client lives as long as its process, and leaves its connection to the end of it.
    warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]
    assert run([sys.executable, *warnings, "-c", block("python")], edge, OPENAI_API_KEY="none") == "Good morning 1\n"
    ((_, one),) = edge.service.log()
    assert (one.kind, one.value, len(one.id)) == (FeedbackKind.RATING, 4.0, 32)


def test_the_curl_example(edge: Edge) -> None:
    """A server's, by request id and feedback key."""
    request = str(uuid.uuid4())
    said = run(["sh", "-e", "-c", block("sh")], edge, FEEDBACK_KEY=FEEDBACK_KEY, REQUEST_ID=request)
    assert json.loads(said) == {"accepted": 2, "duplicates": 0, "refused": []}
    assert [(one.kind, one.value, one.request_id) for _, one in edge.service.log()] == [
        (FeedbackKind.THUMBS_DOWN, None, request),
        (FeedbackKind.EDIT, 0.4, request),
    ]


def test_the_tables_are_what_there_is() -> None:
    """Kinds, and the limits that are preset."""
    assert set(re.findall(r"`(\w+)`", GUIDE.partition("## What can be said")[2].partition("An item is")[0])) == set(FeedbackKind)
    limits = Limits()
    for name, bucket in (("address", limits.address), ("key", limits.key), ("answer", limits.answer)):
        (row,) = [line.split("|") for line in GUIDE.splitlines() if line.endswith(f"| `limits.{name}` |")]
        assert int(row[2].replace(",", "")) == bucket.burst
        rate = row[3].strip().replace(",", "")
        assert bucket.rate == (1 / int(rate.split()[2]) if " in " in rate else int(rate))
    settings = FeedbackSettings("sqlite:/x", ("ab" * 32,))
    assert f"{settings.keep.seconds / 86_400:.0f} days" in GUIDE
    assert f"{settings.keep.size >> 20} MiB" in GUIDE
    assert settings.window == 86_400.0
