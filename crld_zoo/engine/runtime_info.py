"""What MMEngine logs of every step, without a wait for the GPU in every step."""

from __future__ import annotations

import math

import mmengine.hooks
import torch
from mmengine.runner import Runner
from torch import Tensor

from crld_zoo.registry import HOOKS


def log_interval(runner: Runner) -> int:
    """How many iterations lie between two that are logged; 0 if none is."""
    return math.gcd(*(hook.interval for hook in runner.hooks if isinstance(hook, mmengine.hooks.LoggerHook)))


@HOOKS.register_module()
class RuntimeInfoHook(mmengine.hooks.RuntimeInfoHook):
    """MMEngine's, which keeps the losses on the device until somebody looks.

    MMEngine 0.10.7 reads every loss after every step, and each reading makes the CPU wait for the GPU. This one notes
    the losses down as they are and reads them all at once before they are logged, at the end of an epoch and before a
    checkpoint. Then every value of every step is in the history, in the order of the steps, as it is without it.
    """

    def before_train(self, runner: Runner) -> None:
        """Find out when the losses are looked at."""
        super().before_train(runner)
        self._interval = log_interval(runner)
        self._noted: list[dict] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        """Note the step's losses down."""
        if outputs is not None:
            self._noted.append(
                {name: value.detach() if isinstance(value, Tensor) else value for name, value in outputs.items()}
            )
        if self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._read(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """A checkpoint holds the history of every step."""
        if getattr(self, '_noted', None):
            self._read(runner)
            checkpoint['message_hub'] = runner.message_hub.state_dict()

    def after_train(self, runner: Runner) -> None:
        """Leave nothing unread."""
        self._read(runner)
        super().after_train(runner)

    def _read(self, runner: Runner) -> None:
        tensors = [value for step in self._noted for value in step.values() if isinstance(value, Tensor)]
        values = iter(
            torch.stack([tensor.reshape(()).to(tensors[0].device) for tensor in tensors]).tolist() if tensors else ()
        )
        for step in self._noted:
            for name, value in step.items():
                runner.message_hub.update_scalar(f'train/{name}', next(values) if isinstance(value, Tensor) else value)
        self._noted = []
