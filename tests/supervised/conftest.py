"""One thread for torch and for linear algebra: tests share the cores, and these are small."""

import sklearn.linear_model  # noqa: F401  its libraries are to be loaded when threads are limited
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

torch.set_num_threads(1)
threadpool_limits(limits=1)
