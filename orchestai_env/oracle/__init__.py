"""Experts and bounds: what is worth doing, for those who know the outcomes or their odds."""

from orchestai_env.oracle.exact import MAX_NODES, HindsightOptimum, hindsight_optimum
from orchestai_env.oracle.lookahead import NUM_SAMPLES, Lookahead
from orchestai_env.oracle.per_call import CallOutcomes, hindsight_utility, peek

__all__ = [
    "MAX_NODES",
    "NUM_SAMPLES",
    "CallOutcomes",
    "HindsightOptimum",
    "Lookahead",
    "hindsight_optimum",
    "hindsight_utility",
    "peek",
]
