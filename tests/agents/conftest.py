"""One thread of torch: small networks run fastest so, and tests share the cores."""

import torch

torch.set_num_threads(1)
