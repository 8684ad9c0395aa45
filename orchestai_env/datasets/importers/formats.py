"""FORMATS: every format that `orchestai convert` reads."""

from __future__ import annotations

from collections.abc import Mapping

from orchestai_env.datasets.importers.agbench import import_agbench
from orchestai_env.datasets.importers.conversion import Importer
from orchestai_env.datasets.importers.llmrouter import import_llmrouter
from orchestai_env.datasets.importers.routerbench import import_routerbench
from orchestai_env.datasets.importers.taskbench import import_taskbench

FORMATS: Mapping[str, Importer] = {
    "agbench": import_agbench,
    "llmrouter": import_llmrouter,
    "routerbench": import_routerbench,
    "taskbench": import_taskbench,
}
"""Name -> importer."""
