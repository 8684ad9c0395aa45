"""TaskBench plans: JSONL, a line for each instruction with its gold graph.

Fields of microsoft/JARVIS, `taskbench/format_data.py`: id, user_request, task_steps, task_nodes
[{task, arguments}], task_links [{source, target}], n_tools; its copy on Hugging Face calls them
instruction, tool_steps, tool_nodes and tool_links, and stores the last three as JSON in text.
Where there is no gold graph, as before the requests were checked, sampled_nodes and sampled_links
have the one that the request was written for.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestai_env.datasets.importers.conversion import Converted, ConvertSettings, Workspace
from orchestai_env.datasets.importers.fields import text
from orchestai_env.datasets.importers.plans import PlanWriter
from orchestai_env.datasets.importers.reading import check_input, read_json, read_json_records
from orchestai_env.errors import DataError, OrchestAIError, shown
from orchestai_env.workflow import Subtask, Workflow

_GRAPHS = (
    ("task_nodes", "task_links"),
    ("tool_nodes", "tool_links"),
    ("sampled_nodes", "sampled_links"),
)
"""Fields of a graph, the best first."""

_REFERENCE = re.compile(r"<node-(\d{1,9})>")
"""How an argument names the result of another node, by index; a longer number is none."""


def import_taskbench(settings: ConvertSettings, workspace: Workspace, converted: Converted) -> None:
    """Reads `data.json` files, gzipped or not, as workflows.

    A node becomes a subtask: its type is the name in `task`, its text the step of the same index.
    """
    for path in settings.inputs:
        check_input(path)
        converted.inputs.append(path)
    num_without_steps = num_sampled = 0
    with PlanWriter(workspace.plans) as plans:
        for path in settings.inputs:
            for place, fields in read_json_records(path, workspace.left_out, workspace.tell):
                try:
                    nodes, links = _graph(fields)
                    workflow, has_steps = _parse(fields, nodes, links, settings.name)
                    plans.add(workflow)
                    num_without_steps += not has_steps
                    num_sampled += nodes == "sampled_nodes"
                except OrchestAIError as error:
                    workspace.left_out.add(place, str(error))
        converted.num_workflows, converted.task_types = len(plans), plans.task_types
    if num_without_steps:
        converted.notes.append(
            f"{num_without_steps} workflows have another number of steps than of nodes: their "
            "subtasks are named by type alone"
        )
    if num_sampled:
        converted.notes.append(
            f"{num_sampled} workflows have no gold graph: theirs is the sampled one, which the "
            "request was written for and may not keep to"
        )


def _graph(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the fields of the nodes and links.

    Raises:
        DataError: there is no graph.
    """
    for nodes, links in _GRAPHS:
        if fields.get(nodes) is not None:
            return nodes, links
    raise DataError(
        f"expected task_nodes (or tool_nodes), the gold graph of data.json; got only "
        f"{', '.join(fields)}"
    )


def _parse(
    fields: Mapping[str, Any], nodes_key: str, links_key: str, name: str
) -> tuple[Workflow, bool]:
    """Returns a workflow, and whether its subtasks have the texts of steps."""
    instruction = text(fields, "user_request" if "user_request" in fields else "instruction")
    nodes = [_node(node) for node in _list(fields, nodes_key)]
    links = [_link(link) for link in _list(fields, links_key)]
    steps = _list(fields, "tool_steps" if "tool_steps" in fields else "task_steps", default=[])
    types = [kind for kind, _ in nodes]
    has_steps = len(steps) == len(nodes) and all(isinstance(s, str) and s.strip() for s in steps)
    names = steps if has_steps else types
    workflow = Workflow(
        id=f"{name}/{_id(fields)}",
        instruction=instruction,
        subtasks=tuple(Subtask(name=n, type=t) for n, t in zip(names, types, strict=True)),
        links=tuple(sorted({end for link in links for end in _ends(link, nodes)})),
    )
    return workflow, has_steps


def _id(fields: Mapping[str, Any]) -> str:
    value = fields.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"id: expected text or a whole number, got {shown(value)}")
    return str(value)


def _list(fields: Mapping[str, Any], key: str, default: list[Any] | None = None) -> list[Any]:
    """Returns a list, read from text if need be; the default where there is none."""
    value = fields.get(key, default)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = read_json(value)
    if not isinstance(value, list):
        raise DataError(f"{key}: expected a list, got {shown(fields.get(key))}")
    return value


def _node(node: Any) -> tuple[str, frozenset[int]]:
    """Returns the type of a node and the indexes of the nodes that its arguments name."""
    if not isinstance(node, dict):
        raise DataError(f"nodes: expected {{task, arguments}}, got {shown(node)}")
    references = _REFERENCE.findall(json.dumps(node.get("arguments", [])))
    return text(node, "task"), frozenset(map(int, references))


def _link(link: Any) -> tuple[str, str]:
    if not isinstance(link, dict):
        raise DataError(f"links: expected {{source, target}}, got {shown(link)}")
    return text(link, "source"), text(link, "target")


def _ends(
    link: tuple[str, str], nodes: Sequence[tuple[str, frozenset[int]]]
) -> list[tuple[int, int]]:
    """Returns the pairs of nodes that a link between names stands for.

    Where a name stands at several nodes, those pairs count that arguments confirm.

    Raises:
        DataError: no node has such a name, or which of several is meant is not recorded.
    """
    ends = [[i for i, (kind, _) in enumerate(nodes) if kind == name] for name in link]
    for name, found in zip(link, ends, strict=True):
        if not found:
            known = ", ".join(sorted({kind for kind, _ in nodes}))
            raise DataError(f"links: {name!r} is no node of this graph; its nodes are {known}")
    pairs = [(i, j) for i, j in itertools.product(*ends) if i != j]
    if len(ends[0]) == len(ends[1]) == 1:
        return pairs or [(ends[0][0], ends[1][0])]
    confirmed = [(i, j) for i, j in pairs if i in nodes[j][1]]
    if not confirmed:
        raise DataError(
            f"links: {link[0]!r} -> {link[1]!r} could join several nodes of these names, and no "
            "argument says which"
        )
    return confirmed
