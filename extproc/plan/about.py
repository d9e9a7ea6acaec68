"""What a file of the folder is, in its own first words: the README's table never says anything else than the file."""

from __future__ import annotations

import re
from typing import Final

import orjson

_COMMENTS: Final = {"md": r"# +", "mmd": "%% *", "py": '(?:"""|# *)', "js": "// *", "ts": "// *", "go": "// *", "groovy": "// *"}
"""How a first line begins that says what a file is; `# ` for all that are not here (YAML, shell, Dockerfile, HCL)."""
_TAGS: Final = re.compile(r"<title[^>]*>([^<]+)</title>")
_KEYS: Final = ("title", "description", "summary", "name", "kind")
"""Of a JSON document, the first that is a text."""
_FIRST: Final = 5
"""Lines in which a comment must begin."""
_VENDORS: Final = {"flagd": "flagd", "growthbook": "GrowthBook", "launchdarkly": "LaunchDarkly", "unleash": "Unleash"}
"""Whose documents have no place for a sentence: the end of the file's name says whom it is for."""
_ENTITIES: Final = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#x27;": "'", "&amp;": "&"}


def about(path: str, text: str) -> str:
    """One sentence, or a few words; the file's name where it says nothing of itself."""
    name, _, ending = path.rpartition("/")[2].rpartition(".")
    if ending == "json":
        return _json(text, name) or _flag(name)
    if ending in ("html", "svg"):
        found = _TAGS.search(text)
        return _plain(found[1]) if found else name
    begins = re.compile(_COMMENTS.get(ending, r"# *") + r"(.*\w.*)")
    for line in text.split("\n")[:_FIRST]:
        found = begins.fullmatch(line) if not line.startswith("#!") else None
        if found:
            return found[1].strip()
    return name or ending


def _flag(name: str) -> str:
    flag, _, vendor = name.rpartition(".")
    return f"the flag {flag} for {_VENDORS[vendor]}" if vendor in _VENDORS else name


def _json(text: str, name: str) -> str | None:
    document = orjson.loads(text)
    if not isinstance(document, dict):
        return f"{len(document)} {name}" if isinstance(document, list) and document else None
    return next((document[key] for key in _KEYS if isinstance(document.get(key), str)), None)


def _plain(text: str) -> str:
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text.strip()
