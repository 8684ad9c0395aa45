"""OrchestAICudaEnv: in numba's simulator, as compiled for a GPU, and on one where there is one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from orchestai_env import cuda_env
from orchestai_env.cuda_env import OrchestAICudaEnv
from orchestai_env.datasets.builtin import builtin_dataset
from orchestai_env.dynamics import reset_row, step_row
from orchestai_env.errors import MissingPackageError, OrchestAIError
from orchestai_env.exact import product
from tests.orchestai_env.cuda_scenarios import SCENARIOS, host

ROOT = Path(__file__).resolve().parents[2]
IS_COMPILED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
HAS_GPU = IS_COMPILED and cuda_env.cuda.is_available()

needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="there is no NVIDIA GPU")
# Few rows leave most of a GPU idle, and numba says so.
few_rows = pytest.mark.filterwarnings("ignore:.*Grid size")


@pytest.fixture(scope="module")
def simulated() -> dict[str, str]:
    """Runs all scenarios in numba's simulator; returns the traceback of each that fails."""
    process = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.orchestai_env.cuda_scenarios"],
        cwd=ROOT,
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stderr == ""
    failures: dict[str, str] = json.loads(process.stdout)
    return failures


@pytest.mark.parametrize("name", SCENARIOS)
def test_simulated_gpu(name: str, simulated: dict[str, str]) -> None:
    assert simulated[name] == "", simulated[name]


@pytest.mark.skipif(cuda_env.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing() -> None:
    expected = re.escape('needs an NVIDIA GPU and pip install "orchestai-env[gpu]"; on a CPU use')
    with pytest.raises(MissingPackageError, match=expected) as caught:
        OrchestAICudaEnv(4)
    assert isinstance(caught.value, OrchestAIError)


@needs_gpu
@few_rows
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_gpu(scenario: Callable[[], None]) -> None:
    scenario()


@needs_gpu
@few_rows
def test_torch_reads_and_acts_without_a_copy() -> None:
    torch: Any = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    env: Any = OrchestAICudaEnv(64, builtin_dataset("validation", num_workflows=40))
    obs, info = env.reset(seed=0)
    address = obs["workers"].__cuda_array_interface__["data"][0]
    workers = torch.as_tensor(obs["workers"], device="cuda")
    mask = torch.as_tensor(info["action_mask"], device="cuda")
    expected = host(obs["workers"])
    del obs, info

    assert workers.data_ptr() == address
    for _ in range(8):
        obs, *_, info = env.step(mask.to(torch.int64).argmax(dim=1))
        mask = torch.as_tensor(info["action_mask"], device="cuda")
        assert obs["workers"].__cuda_array_interface__["data"][0] != address
    np.testing.assert_array_equal(workers.cpu().numpy(), expected)
    np.testing.assert_array_equal(mask.cpu().numpy() > 0, env.action_masks())


H100 = (9, 0)
"""The compute capability that the kernels are compiled for without a GPU."""


class _Device:
    compute_capability = H100


@pytest.fixture
def ptx_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Returns a function that compiles a kernel to the assembly of a GPU that need not be there."""
    if not IS_COMPILED:
        pytest.skip("NUMBA_DISABLE_JIT is set")
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    try:
        nvvm.NVVM()
    except Exception as error:
        pytest.skip(f"NVVM is not installed: {error}")
    monkeypatch.setattr(dispatcher, "get_current_device", _Device)

    def compile_ptx(kernel: Any, *types: Any) -> str:
        function = getattr(kernel, "py_func", kernel)
        ptx, _ = cuda_env.cuda.compile_ptx(function, types, cc=H100)
        return str(ptx)

    return compile_ptx


TABLE, ROW = numba.types.Array(numba.int64, 2, "C"), numba.types.Array(numba.int64, 1, "C")
KERNELS: dict[str, tuple[Any, ...]] = {
    "reset": (cuda_env._reset_kernel, TABLE, TABLE, ROW),
    "step": (cuda_env._step_kernel, TABLE, TABLE, TABLE, TABLE, ROW),
    "copy": (cuda_env._copy_kernel, TABLE, TABLE, numba.boolean),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_compiles_without_local_memory_or_calls(
    name: str, ptx_of: Callable[..., str]
) -> None:
    """Records of arrays are to live in registers: what spills costs more than the step itself."""
    ptx = ptx_of(*KERNELS[name])

    assert ".target sm_90" in ptx
    assert ".visible .entry" in ptx
    assert ".local" not in ptx
    assert ".extern .func" not in ptx


def test_products_of_the_state_are_rounded_by_themselves(ptx_of: Callable[..., str]) -> None:
    """A step makes at least 12: 4 terms, a price, a budget and its mask, and 5 of a simulation."""
    thaw = cuda_env._thaw_core

    def transition(core: Any, actions: Any) -> None:
        problem, _, state = thaw(core)
        step_row(problem, state, 0, actions[0])
        reset_row(problem, state, 0, actions[1])

    ptx = ptx_of(transition, TABLE, ROW)
    assert ptx.count("mul.rn.f64") >= 12
    assert "fma" not in ptx


def test_product_and_sum_are_not_fused(ptx_of: Callable[..., str]) -> None:
    def exact(x: Any) -> None:
        x[0] = x[1] + product(x[2], x[3])

    def fused(x: Any) -> None:
        x[0] = x[1] + x[2] * x[3]

    numbers = numba.types.Array(numba.float64, 1, "C")
    assert "fma" in ptx_of(fused, numbers)
    assert "fma" not in ptx_of(exact, numbers)
    assert "mul.rn.f64" in ptx_of(exact, numbers)
