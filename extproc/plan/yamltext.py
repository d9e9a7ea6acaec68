"""YAML for people: what is the same is written again, and a text of several lines is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml


class _Plain(yaml.CSafeDumper):
    """Without anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.CSafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def yaml_text(*comment: str, documents: Sequence[object]) -> str:
    """The documents of one file, with a comment at its head; the first line of it says what the file is."""
    head = "".join(f"# {line}\n" for line in comment)
    return head + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True)
