"""What costs are computed from, as written -> the nouns of `domain`."""

from __future__ import annotations

from extproc.domain import Serving, Tokens
from extproc.spec.document.serving import ServingBlock, TokensBlock


def tokens(block: TokensBlock) -> Tokens:
    """Of a mean request; what is not written is not known here."""
    return Tokens(block.input, block.cached_share, block.output, block.reasoning, block.uncertainty)


def serving(block: ServingBlock | None) -> Serving | None:
    """GPUs of one's own; None where there are none."""
    if block is None:
        return None
    return Serving(
        gpu_hour=block.gpu_hour,
        concurrency=block.concurrency,
        tokens_per_second=block.tokens_per_second,
        gpus_per_replica=block.gpus_per_replica,
        replicas=block.replicas,
        spare=block.spare,
        utilization=block.utilization,
    )
