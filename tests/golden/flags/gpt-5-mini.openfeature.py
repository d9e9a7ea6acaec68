"""Ask the flag of rollout gpt-5-mini through OpenFeature.

    pip install openfeature-sdk openfeature-provider-flagd
    python gpt-5-mini.openfeature.py gpt-5-mini.flagd.json ID claim_org_team=... country=... region=... tier=... x_plan=...

gpt-5-mini.flagd.json is the document that `extproc render flags` wrote; for another vendor only the provider's line changes.
"""

import sys

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

FLAG = "gpt-5-mini"


def variant(unit: str, attributes: dict[str, str]) -> str:
    """`canary` or `stable` for one user; `stable` where the flag cannot be read."""
    return api.get_client().get_string_value(FLAG, "stable", EvaluationContext(unit, attributes))


if __name__ == "__main__":
    document, unit, *given = sys.argv[1:]
    # Without waiting, the first answer may come before the flags are there: it would be stable for everybody.
    api.set_provider_and_wait(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=document))
    print(variant(unit, dict(one.split("=", 1) for one in given)))
    api.shutdown()
