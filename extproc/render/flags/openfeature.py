"""An OpenFeature program that asks the rendered flag."""

from __future__ import annotations

import json

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of


def example(rollout: Rollout, attributes: list[str]) -> str:
    """Python source; it runs as it is, beside the rendered flagd document."""
    flag = json.dumps(seed_of(FlagVendor.FLAGD, rollout.salt))
    usage = " ".join([f"{rollout.name}.flagd.json ID", *(f"{name}=..." for name in attributes)])
    return f'''"""Ask the flag of rollout {rollout.name} through OpenFeature.

    pip install openfeature-sdk openfeature-provider-flagd
    python {rollout.name}.openfeature.py {usage}

{rollout.name}.flagd.json is the document that `extproc render flags` wrote; for another vendor only the provider's line changes.
"""

import sys

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

FLAG = {flag}


def variant(unit: str, attributes: dict[str, str]) -> str:
    """`canary` or `stable` for one {rollout.unit.kind}; `stable` where the flag cannot be read."""
    return api.get_client().get_string_value(FLAG, "stable", EvaluationContext(unit, attributes))


if __name__ == "__main__":
    document, unit, *given = sys.argv[1:]
    # Without waiting, the first answer may come before the flags are there: it would be stable for everybody.
    api.set_provider_and_wait(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=document))
    print(variant(unit, dict(one.split("=", 1) for one in given)))
    api.shutdown()
'''
