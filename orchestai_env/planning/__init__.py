"""Planning: what turns an instruction into a workflow; free of torch."""

from orchestai_env.planning.fallback import FallbackPlanner
from orchestai_env.planning.language_model import LanguageModelPlanner
from orchestai_env.planning.planned import planned_dataset
from orchestai_env.planning.planner import Plan, Planner

__all__ = ["FallbackPlanner", "LanguageModelPlanner", "Plan", "Planner", "planned_dataset"]
