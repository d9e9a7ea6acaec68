"""Sources of feature flags: their files can be read, and every flag that a cohort names can be evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from extproc import flags
from extproc.domain import FlagVendor
from extproc.spec.checks.cohorts import flag_blocks
from extproc.spec.checks.tools import Found, block, known, mapping, not_reserved, unverified
from extproc.spec.document.flags import FlagSourceBlock


def check(document: Mapping[str, Any], contents: Mapping[str, str]) -> Iterator[Found]:
    """Everything about flags that is known before a service has been asked."""
    written = mapping(document.get("flags"))
    sources = {name: one for name, value in written.items() if (one := block(FlagSourceBlock, value)) is not None}
    yield from _attributes(document, sources)
    documents: dict[str, tuple[FlagVendor, Mapping[str, Any]]] = {}
    for name, source in sources.items():
        if source.file is not None and source.file in contents:
            try:
                found = orjson.loads(contents[source.file])
            except ValueError as error:
                yield "spec.flag-file", ("flags", name, "file"), f"file {source.file!r} is no JSON: {error}", "export the flags again"
                continue
            documents[name] = source.vendor, mapping(found)
    for path, flag in flag_blocks(document):
        yield from known("spec.unknown-flag-source", "source of flags", (*path, "source"), flag.source, list(written))
        if flag.source in documents:
            vendor, found = documents[flag.source]
            try:
                flags.compile_flag(vendor, found, flag.key)
            except flags.FlagError as error:
                for problem in error.problems:
                    yield problem.id, (*path, "key"), f"{problem.path}: {problem.message}", problem.hint


def _attributes(document: Mapping[str, Any], sources: Mapping[str, FlagSourceBlock]) -> Iterator[Found]:
    for name, source in sources.items():
        for attribute, one in source.attributes.items():
            here = ("flags", name, "attributes", attribute)
            if one.header is not None:
                yield from not_reserved((*here, "header"), one.header)
            if one.claim is not None:
                yield from unverified(document, (*here, "claim"))
