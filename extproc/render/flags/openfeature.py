"""An OpenFeature program that asks the rendered flag."""

from __future__ import annotations

from extproc.domain import FlagVendor, Rollout
from extproc.flags import seed_of


def example(rollout: Rollout, attributes: list[str]) -> str:
    """Python source; it runs as it is, beside the rendered flagd document."""
    given = "".join(f'        "{name}": "...",\n' for name in attributes)
    context = f"{{\n{given}    }}" if attributes else "{}"
    return f'''"""Ask the flag of rollout {rollout.name} through OpenFeature: pip install openfeature-sdk openfeature-provider-flagd

The file is the flagd document that `extproc render flags` wrote; for another vendor only the provider's line changes.
"""

import sys

from openfeature import api
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext

FLAG = "{seed_of(FlagVendor.FLAGD, rollout.salt)}"


def variant(user: str) -> str:
    """canary or stable for one {rollout.unit.kind}; stable where the flag cannot be read."""
    attributes = {context}
    return api.get_client().get_string_value(FLAG, "stable", EvaluationContext(user, attributes))


if __name__ == "__main__":
    document, *users = sys.argv[1:]
    api.set_provider(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=document))
    for user in users:
        print(user, variant(user))
    api.shutdown()
'''
