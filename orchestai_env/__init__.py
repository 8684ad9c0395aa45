"""OrchestAI: choose which AI worker model runs each step of a workflow.

Importing the package registers the Gymnasium environments `OrchestAI-v0` and, with a vector
reward, `OrchestAI-MO-v0`.
"""

import gymnasium

from orchestai_env.dataset import Dataset
from orchestai_env.env import OrchestAIEnv
from orchestai_env.errors import OrchestAIError
from orchestai_env.execution_result import ExecutionResult, SubtaskResult
from orchestai_env.mo_env import OrchestAIMOEnv, OrchestAIMOVectorEnv
from orchestai_env.reward import RewardWeights, compute_reward
from orchestai_env.vector_env import OrchestAIVectorEnv
from orchestai_env.workers import WorkerPool, WorkerSpec
from orchestai_env.workflow import Subtask, Workflow, is_valid_dag

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "ExecutionResult",
    "OrchestAIEnv",
    "OrchestAIError",
    "OrchestAIMOEnv",
    "OrchestAIMOVectorEnv",
    "OrchestAIVectorEnv",
    "RewardWeights",
    "Subtask",
    "SubtaskResult",
    "WorkerPool",
    "WorkerSpec",
    "Workflow",
    "compute_reward",
    "is_valid_dag",
]

gymnasium.register(
    id="OrchestAI-v0",
    entry_point="orchestai_env.make:make_env",
    vector_entry_point="orchestai_env.vector_env:OrchestAIVectorEnv",
)

gymnasium.register(
    id="OrchestAI-MO-v0",
    entry_point="orchestai_env.mo_env:OrchestAIMOEnv",
    vector_entry_point="orchestai_env.mo_env:OrchestAIMOVectorEnv",
    disable_env_checker=True,  # it wants a scalar reward
)
