"""What the vendors' own clients read through the real Envoy is what the judge reads: whole, redacted, blind, scored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from extproc.cli.known import unit_hash
from extproc.demo import stand
from extproc.demo.changes import by_hand, judged
from extproc.demo.envoy import Envoy
from extproc.demo.processes import Processes
from extproc.domain import Arm, Sample
from extproc.store import open_store
from extproc.store.samples import SampleReader
from tests.support.envoy_stand import PATIENT_MESSAGE, patient

USERS = 40
SECRET = "sk-proj-" + "Zq81" * 11
MAIL = "jane.doe@example.com"


@dataclass
class Court:
    """Two models, a judge, extproc and Envoy."""

    processes: Processes
    ports: stand.Ports
    models: dict[str, stand.ModelHandle]
    judge: stand.ModelHandle
    http: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.listener}"

    @property
    def store(self) -> str:
        return f"sqlite:{self.processes.directory}/extproc.db"

    def samples(self) -> list[tuple[Sample, float | None, str]]:
        reader = SampleReader(Path(f"{self.processes.directory}/extproc.db.samples"))
        try:
            return reader.latest("gpt-5-mini", 1000)
        finally:
            reader.close()

    async def until(self, condition: Callable[[list[tuple[Sample, float | None, str]]], bool], patience: float = 120.0) -> list[Any]:
        deadline = time.monotonic() + patience
        while True:
            found = self.samples()
            if condition(found):
                return found
            assert time.monotonic() < deadline, (len(found), [(one.ending, one.purpose, value) for one, value, _ in found])
            await asyncio.sleep(0.2)


def _half(document: dict[str, Any]) -> None:
    """Half of everybody, for as long as the test takes; every answer of both arms is judged."""
    judged(document)
    by_hand(document)
    document["judge"]["sample"] = "100%"
    for rollout in document["rollouts"].values():
        rollout["start"] = "automatic"
        rollout["match"] = {"paths": ["/v1/"]}
        half = next(phase for phase in rollout["phases"] if phase["share"] == "50%")
        rollout["phases"] = [half, rollout["phases"][-1]]


@asynccontextmanager
async def court() -> AsyncIterator[Court]:
    async with Processes() as processes:
        document = stand.template()
        _half(document)
        ports = stand.Ports.free(processes.directory)
        models = {}
        for number, (name, quality) in enumerate((("gpt-5", 0.9), ("gpt-5-mini", 0.3))):
            models[name] = await stand.ModelHandle.start(processes, name, number, {"quality": quality, "output_tokens": 80.0})
        judge = await stand.ModelHandle.judge(processes, 1)
        stand.fill(document, ports, {**{name: one.port for name, one in models.items()}, stand.JUDGE: judge.port})
        spec = stand.write_spec(document, processes.directory)
        await stand.start_serve(processes, spec, ports, 1)
        config = await stand.render_envoy(processes, spec, ports, 1)
        # A busy machine must not look like a wrong answer.
        config.write_text(patient(config.read_text(), PATIENT_MESSAGE))
        await Envoy.start(processes, config, ports.admin)
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as http:
            yield Court(processes, ports, models, judge, http)


async def _read_openai(client: AsyncOpenAI, user: str, stream: bool, question: str) -> tuple[str, str]:
    """(model, text) as OpenAI's client gives them."""
    asked: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": question}], "extra_headers": {"x-user-id": user}}
    if not stream:
        completion = await client.chat.completions.create(**asked)
        return completion.model, completion.choices[0].message.content or ""
    text, model = "", ""
    async for chunk in await client.chat.completions.create(**asked, stream=True):
        model = chunk.model
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return model, text


async def _read_anthropic(client: AsyncAnthropic, user: str, stream: bool, question: str) -> tuple[str, str]:
    """The same of Anthropic's."""
    asked: Any = {"model": "gpt-5", "max_tokens": 500, "messages": [{"role": "user", "content": question}]}
    asked["extra_headers"] = {"x-user-id": user}
    if not stream:
        message = await client.messages.create(**asked)
    else:
        async with client.messages.stream(**asked) as events:
            message = await events.get_final_message()
    return message.model, "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.timeout(400)
def test_what_clients_read_is_what_is_judged() -> None:
    """Both vendors' clients, JSON and streams, canary and control: each text arrives whole and redacted, with the score that its quality
    earns; the judge sees neither model nor arm; and a person who asks for it is forgotten."""
    asyncio.run(_what_clients_read())


async def _what_clients_read() -> None:
    async with court() as one:
        question = f"My key is {SECRET} and I am {MAIL}. How far is the moon?"
        read = await _read_by_all(one, question)
        texts = {text: model for model, text in read}
        assert all(texts), "every client got an answer"
        found = await one.until(lambda samples: sum(value is not None for _, value, _ in samples) >= USERS - 4)
        assert {sample.ending for sample, _, _ in found} == {"whole"}
        for sample, value, _ in found:
            if sample.turns[-1] == ("user", "?"):
                continue
            assert sample.answer in texts, "whole, to the letter"
            assert texts[sample.answer] == ("gpt-5-mini" if sample.arm is Arm.CANARY else "gpt-5")
            assert SECRET not in repr(sample)
            assert MAIL not in repr(sample)
            assert sample.turns[-1] == ("user", "My key is [key] and I am [email]. How far is the moon?")
            assert value is None or 0 <= value <= 1
        arms = {arm: [value for sample, value, _ in found if sample.arm is arm and value is not None] for arm in (Arm.CANARY, Arm.CONTROL)}
        assert all(len(values) > 5 for values in arms.values())
        means = {arm: sum(values) / len(values) for arm, values in arms.items()}
        assert means[Arm.CANARY] + 0.3 < means[Arm.CONTROL]
        control = f"http://{one.judge.control}"
        prompt = (await one.http.get(f"{control}/last")).text
        for word in ("gpt-5", "canary", "control", SECRET, MAIL, "user-1"):
            assert word not in prompt
        await _forget(one, found)


async def _read_by_all(one: Court, question: str) -> list[tuple[str, str]]:
    """What each user read, and of which model, once the rollout has begun."""
    read: list[tuple[str, str]] = []
    async with (
        AsyncOpenAI(base_url=f"{one.url}/v1", api_key="client-key", max_retries=0) as openai,
        AsyncAnthropic(base_url=one.url, api_key="client-key", max_retries=0) as anthropic,
    ):
        begun = time.monotonic()
        while not await _meets_canary(openai):
            assert time.monotonic() - begun < 90, "the rollout has not begun"
        for number in range(USERS):
            user, stream = f"user-{number}", number % 2 == 0
            if number % 4 < 2:
                read.append(await _read_openai(openai, user, stream, question))
            else:
                read.append(await _read_anthropic(anthropic, user, stream, question))
    return read


async def _meets_canary(client: AsyncOpenAI) -> bool:
    """True once somebody of twenty does."""
    return "gpt-5-mini" in {(await _read_openai(client, f"early-{number}", False, "?"))[0] for number in range(20)}


async def _forget(one: Court, found: list[Any]) -> None:
    opened = open_store(one.store)
    try:
        key = opened.unit_key()
    finally:
        opened.close()
    mine = unit_hash(key, b"user-3")
    assert any(sample.unit == mine for sample, _, _ in found)
    process = await asyncio.create_subprocess_exec(
        *stand.EXTPROC, "forget", "user-3", "--store", one.store, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said
    assert b"1 samples" in said
    assert not any(sample.unit == mine for sample, _, _ in one.samples())
