"""Averaged weights beside a distiller."""

from __future__ import annotations

import mmengine.hooks

from crld_zoo.registry import HOOKS


@HOOKS.register_module()
class EMAHook(mmengine.hooks.EMAHook):
    """MMEngine's hook, with averaged and running tensors paired by name.

    MMEngine pairs them by their order, which the parameters and buffers of a distiller, whom the average lacks, would
    shift.
    """

    def _swap_ema_parameters(self) -> None:
        averaged = self.ema_model.module
        pairs = [(averaged.named_parameters(), dict(self.src_model.named_parameters()))]
        if self.ema_model.update_buffers:
            pairs.append((averaged.named_buffers(), dict(self.src_model.named_buffers())))
        for tensors, running in pairs:
            for name, average in tensors:
                kept = average.data.clone()
                average.data.copy_(running[name].data)
                running[name].data.copy_(kept)
