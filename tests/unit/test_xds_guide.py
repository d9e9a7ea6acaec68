"""docs/xds.md says what is so: its commands are there with these options, its blocks are Specs, its series and files exist."""

from __future__ import annotations

import re
import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
import yaml
from click import Command, Context, Group
from rich.console import Console
from rich.console import Group as Renderables

from extproc import contract
from extproc import spec as specs
from extproc.cli import processor, render, run
from extproc.cli.told import processor_picture, readiness_picture, xds_picture
from tests.support.envoy_stand import a_rollout, document

GUIDE = (Path(__file__).parents[2] / "docs" / "xds.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def commands() -> list[list[str]]:
    """The words of every `extproc` command of the guide."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True)) and words[0] == "extproc"]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_have_these_options(words: list[str]) -> None:
    """Each can be parsed as it is written; nothing is carried out."""
    app = typer.Typer()
    for room in (render, run, processor):
        room.register(app)
    command: Command = typer.main.get_command(app)
    while isinstance(command, Group):
        name, *words = words
        found = command.get_command(Context(command), name)
        assert found is not None, name
        command = found
    command.make_context(command.name, list(words))


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_blocks_are_specs(number: int) -> None:
    """A model as it is written there is one of a Spec that is accepted."""
    (model,) = yaml.safe_load(blocks("yaml")[number])["models"].values()
    models: dict[str, Any] = {"old": {"endpoint": {"host": "127.0.0.1", "port": 1}}, "new": model}
    written = document({"kind": "edge", "set_by": {"x-user-id": "us"}}, models, {"chat": a_rollout("50%", {"paths": ["/v1/"]})})
    loaded = specs.load(orjson.dumps(written).decode())
    new = loaded.models["new"]
    assert new.probe is not None or new.backends[0].slices is not None


def test_series_are_there() -> None:
    """Under the names that the guide gives them."""
    there = {value for name, value in vars(contract).items() if name.startswith("METRIC_")}
    assert set(re.findall(r"`(extproc_\w+)`", GUIDE)) <= there


def test_the_terminal_says_who_refused_and_who_switched_off() -> None:
    """In red, with the reason; nothing where no Envoy is told, and nothing where the processor is asked as usual."""
    node = {"node": "edge-1", "connected": True, "seconds": 7.0, "protocol": "delta", "spec_digest": "a", "versions": {}}
    refused = {"part": "listeners", "version": "1", "why": "no database", "at": 1.0}
    status = {"spec_digest": "b", "xds": {"problem": None, "nodes": [node | {"refused": refused}]}}
    console = Console(record=True, width=120, file=StringIO())
    console.print(
        Renderables(*xds_picture(status), *processor_picture({"processor": {"off": True, "since": 0.0, "actor": "ada", "why": "mad"}}))
    )
    text = console.export_text(clear=False)
    assert "edge-1 refuses listeners: no database" in text
    assert "OFF since 1970-01-01 00:00:00 UTC, by ada: mad" in text
    assert "\x1b[1;31m" in console.export_text(clear=False, styles=True)
    slices = {"new": {"path": "/run/new.json", "message": "cannot be used: it is empty"}}
    console.print(Renderables(*readiness_picture({"readiness": {"away": {}, "slices": slices}})))
    assert "new: /run/new.json cannot be used: it is empty" in console.export_text()
    assert readiness_picture({"readiness": {"away": {}, "slices": {}}}) == []
    assert xds_picture({"xds": None}) == []
    assert processor_picture({"processor": {"off": False}}) == []
    assert "none can be told" in processor.reached(None)
    assert "told now: 1;" in processor.reached({"nodes": [{"connected": True}, {"connected": False}]})
