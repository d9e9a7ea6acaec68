"""Sources of feature flags: their files can be read, what they look at is there, and every flag that a cohort names can be evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from extproc import flags
from extproc.domain import FlagVendor
from extproc.spec.checks.cohorts import flag_blocks
from extproc.spec.checks.tools import Found, block, known, mapping, not_reserved, unverified
from extproc.spec.document.flags import FlagSourceBlock
from extproc.spec.yamltext import Path


def check(document: Mapping[str, Any], contents: Mapping[str, str]) -> Iterator[Found]:
    """Everything about flags that is known before a service has been asked."""
    written = mapping(document.get("flags"))
    documents: dict[str, tuple[FlagVendor, Mapping[str, Any]]] = {}
    for name, value in written.items():
        source, here = block(FlagSourceBlock, value), ("flags", name)
        if source is None:
            continue
        yield from _attributes(document, here, source)
        yield from _address(here, source)
        if source.file is not None and source.file in contents:
            found = _parsed(contents[source.file])
            if isinstance(found, str):
                yield "spec.flag-file", (*here, "file"), f"file {source.file!r} {found}", "export the flags again"
            else:
                documents[name] = source.vendor, found
    for path, flag in flag_blocks(document):
        yield from known("spec.unknown-flag-source", "source of flags", (*path, "source"), flag.source, list(written))
        if flag.source in documents:
            yield from _flag(*documents[flag.source], flag.key, path)


def _parsed(content: str) -> Mapping[str, Any] | str:
    """The document, or what is wrong with it."""
    try:
        found = orjson.loads(content)
    except ValueError as error:
        return f"is no JSON: {error}"
    return found if isinstance(found, dict) else "holds JSON that is no object"


def _flag(vendor: FlagVendor, document: Mapping[str, Any], key: str, path: Path) -> Iterator[Found]:
    try:
        flags.compile_flag(vendor, document, key)
    except flags.FlagError as error:
        for problem in error.problems:
            yield problem.id, (*path, "key"), f"{problem.path}: {problem.message}", problem.hint


def _attributes(document: Mapping[str, Any], here: Path, source: FlagSourceBlock) -> Iterator[Found]:
    for name, attribute in source.attributes.items():
        path = (*here, "attributes", name)
        if attribute.header is not None:
            yield from not_reserved((*path, "header"), attribute.header)
        if attribute.claim is not None:
            yield from unverified(document, (*path, "claim"))


def _address(here: Path, source: FlagSourceBlock) -> Iterator[Found]:
    """A Spec is published, and its text shown to whoever asks."""
    if source.poll is None:
        return
    path = (*here, "poll", "url")
    try:
        parts = urlsplit(source.poll.url)
        host, secret = parts.hostname, parts.username is not None or parts.password is not None
        _ = parts.port
    except ValueError as error:
        yield "spec.flag-url", path, f"is no address: {error}", "write it as https://HOST/PATH"
        return
    if not host:
        yield "spec.flag-url", path, "names no host", "write it as https://HOST/PATH"
    if secret:
        yield "spec.flag-url", path, "holds a name or a password", "give it by reference: poll.credential with env or file"
