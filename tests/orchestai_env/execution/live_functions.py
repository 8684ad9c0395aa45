"""Functions that stand for workers in commands of other processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

from orchestai_env.execution.workers.worker import Answer, CallRequest, Usage


def good(request: CallRequest) -> Answer:
    """Answers soon."""
    time.sleep(0.002)
    return Answer(text=f"did {request.subtask}", usage=Usage(input_tokens=1000, output_tokens=10))


def bad(request: CallRequest) -> Answer:
    """Never answers."""
    raise RuntimeError("out of order")


def slow(request: CallRequest) -> Answer:
    """Answers after a while, so that a collection can be met at work."""
    time.sleep(0.03)
    return good(request)


def where(request: CallRequest) -> Answer:
    """Answers after a while with the machine of a Ray cluster that it runs on."""
    ray = sys.modules.get("ray")  # not in a process of another engine
    machine = ray.get_runtime_context().get_node_id() if ray else "here"
    return dataclasses.replace(slow(request), text=machine)


def fatal(request: CallRequest) -> Answer:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def fatal_once(request: CallRequest) -> Answer:
    """Kills its process, the first time that a file named in the environment is not there."""
    try:
        Path(os.environ["ORCHESTAI_TEST_KILLED"]).touch(exist_ok=False)
    except FileExistsError:
        return good(request)
    return fatal(request)
