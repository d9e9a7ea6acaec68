"""The four vendors' own clients, `(flag, attributes) -> FlagAnswer`: offline with a document, or reading from a service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from growthbook import GrowthBook
from ldclient.client import LDClient
from ldclient.config import Config
from ldclient.context import Context
from ldclient.evaluation import EvaluationDetail
from ldclient.integrations import Files
from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache
from UnleashClient.utils import InstanceAllowType

from extproc.domain import FlagVendor
from extproc.flags import FlagAnswer
from tests.support.flag_service import KEY, PATHS, Service

Ask = Callable[[str, Mapping[str, Any]], FlagAnswer]
"""(flag, attributes) -> what the client says; no answer at all is off, without variant and value."""
NOTHING = FlagAnswer(False, "", None)
Document = dict[str, Any]


@contextmanager
def sdk(vendor: FlagVendor, document: Document, directory: Path) -> Iterator[Ask]:
    """A client of the vendor that has read the document; `directory` is for its files."""
    with _CLIENTS[vendor](document, directory) as ask:
        yield ask


def merged(documents: list[Document]) -> Document:
    """One document with all their flags (their names differ)."""
    found: Document = {}
    for document in documents:
        for key, value in document.items():
            if isinstance(value, dict):
                found[key] = {**found.get(key, {}), **value}
            elif isinstance(value, list):
                found[key] = [*found.get(key, []), *value]
            else:
                found[key] = value
    return found


@contextmanager
def _unleash(document: Document, directory: Path) -> Iterator[Ask]:
    cache = FileCache("edge", directory=str(directory))
    cache.bootstrap_from_dict(document)
    # Nobody listens there, and nothing is asked.
    with _unleash_client("http://127.0.0.1:9/", cache, fetch=False) as ask:
        yield ask


@contextmanager
def _unleash_client(url: str, cache: FileCache, fetch: bool) -> Iterator[Ask]:
    client = UnleashClient(
        url=url,
        app_name="edge",
        environment="test",
        custom_headers={"Authorization": KEY},
        disable_metrics=True,
        disable_registration=True,
        cache=cache,
        multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
    )
    client.initialize_client(fetch_toggles=fetch)
    try:
        yield lambda key, attributes: _unleash_answer(client.get_variant(key, dict(attributes)))
    finally:
        client.destroy()


def _unleash_answer(variant: Mapping[str, Any]) -> FlagAnswer:
    on = variant["feature_enabled"]
    return FlagAnswer(on, variant["name"] if variant["enabled"] else "", on)


@contextmanager
def _launchdarkly(document: Document, directory: Path) -> Iterator[Ask]:
    path = directory / "flags.json"
    path.write_bytes(orjson.dumps(document))
    source = Files.new_data_source(paths=[str(path)])
    with _launchdarkly_client(Config("sdk-key", update_processor_class=source, send_events=False, diagnostic_opt_out=True)) as ask:
        yield ask


@contextmanager
def _launchdarkly_client(config: Config) -> Iterator[Ask]:
    log = logging.getLogger("ldclient")
    level = log.level
    log.setLevel(logging.ERROR)
    client = LDClient(config, start_wait=5)
    try:
        yield lambda key, attributes: _launchdarkly_answer(client.variation_detail(key, context_of(attributes), None))
    finally:
        log.setLevel(level)
        client.close()


def _launchdarkly_answer(detail: EvaluationDetail) -> FlagAnswer:
    return FlagAnswer(bool(detail.value), str(detail.variation_index), detail.value) if detail.variation_index is not None else NOTHING


def context_of(attributes: Mapping[str, Any]) -> Context:
    """LaunchDarkly's context of a user."""
    builder = Context.builder(attributes["key"])
    for name, value in attributes.items():
        if name != "key":
            builder.set(name, value)
    return builder.build()


@contextmanager
def _growthbook(document: Document, directory: Path) -> Iterator[Ask]:
    del directory
    # No client key, no host: nothing is asked.
    yield _growthbook_ask(GrowthBook(features=document["features"], savedGroups=document.get("savedGroups")))


def _growthbook_ask(client: GrowthBook) -> Ask:
    def ask(key: str, attributes: Mapping[str, Any]) -> FlagAnswer:
        client.set_attributes(dict(attributes))
        result = client.eval_feature(key)
        return FlagAnswer(result.on, result.experimentResult.key if result.source == "experiment" else "", result.value)

    return ask


@contextmanager
def _flagd(document: Document, directory: Path) -> Iterator[Ask]:
    path = directory / "flagd.json"
    path.write_bytes(orjson.dumps(document))
    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=60_000)
    api.set_provider_and_wait(provider)
    client = api.get_client()

    def ask(key: str, attributes: Mapping[str, Any]) -> FlagAnswer:
        """Of a flag whose variants are texts."""
        given = {name: value for name, value in attributes.items() if name != "targetingKey"}
        details = client.get_string_details(key, "", EvaluationContext(attributes.get("targetingKey"), given))
        return FlagAnswer(bool(details.value), details.variant, details.value) if details.variant is not None else NOTHING

    try:
        yield ask
    finally:
        api.shutdown()


_CLIENTS = {
    FlagVendor.UNLEASH: _unleash,
    FlagVendor.LAUNCHDARKLY: _launchdarkly,
    FlagVendor.GROWTHBOOK: _growthbook,
    FlagVendor.FLAGD: _flagd,
}


@contextmanager
def reading(vendor: FlagVendor, service: Service, directory: Path) -> Iterator[Ask]:
    """A client that has just read from the service, over HTTP; flagd's provider knows files and gRPC alone, so it gets the same JSON."""
    host = f"http://127.0.0.1:{service.port}"
    match vendor:
        case FlagVendor.UNLEASH:
            with _unleash_client(f"{host}/api", FileCache("edge", directory=str(directory)), fetch=True) as ask:
                yield ask
        case FlagVendor.LAUNCHDARKLY:
            with _launchdarkly_client(Config(KEY, base_uri=host, stream=False, send_events=False, diagnostic_opt_out=True)) as ask:
                yield ask
        case FlagVendor.GROWTHBOOK:
            client = GrowthBook(api_host=host, client_key=PATHS[vendor].rpartition("/")[2])
            client.load_features(force_refresh=True)
            yield _growthbook_ask(client)
        case FlagVendor.FLAGD:
            document = httpx.get(service.url(vendor), trust_env=False).json()
            with _flagd(document, directory) as ask:
                yield ask
