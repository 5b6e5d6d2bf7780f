"""Mixed precision that runs on every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from crld_zoo.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """MMEngine's ``OptimWrapper`` with the forward pass under bfloat16 autocast, on the CPU as well as on GPUs.

    bfloat16 has the range of float32: no loss scaling, nothing more to save. MMEngine's ``AmpOptimWrapper`` (float16
    with a scaler) asserts a GPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of the forward pass."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
