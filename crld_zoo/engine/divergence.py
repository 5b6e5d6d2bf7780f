"""Losses that are no longer numbers: the run stops before anything bad is saved."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .distiller import shared_buffers


class DivergenceError(InputError):
    """A loss term or a weight became NaN or infinite."""


class StepSkipped(Exception):
    """Tells the training loop that this step had a bad loss and was not made."""


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Stops the run when a loss term is NaN or infinite, and names term, iteration and the last good checkpoint.

    It looks at the losses as they leave the model, before they are propagated back. On the CPU every step is looked
    at, so the bad one is never made. On a GPU the first bad iteration of each term is noted down on the device, without
    waiting for it, and read every ``interval`` iterations and before every checkpoint. Weights are looked at before
    every checkpoint as well: a gradient may overflow where the loss did not. So a bad state is never saved.

    Args:
        max_skips: So many steps with a bad loss are left out, with a warning each, before the run stops: neither
            weights nor optimizer nor batch statistics change in them. Every step then waits for its losses, and for
            those of the other processes; gradients must not be accumulated over steps.
        interval: Iterations between two looks on a GPU.

    Raises:
        DivergenceError: A loss term or a weight is not finite.
    """

    priority = 'HIGH'  # before the hooks that log, average and save

    def __init__(self, max_skips: int = 0, interval: int = 50) -> None:
        if max_skips < 0 or interval < 1:
            raise InputError(
                f'DivergenceHook: max_skips must be 0 or more and interval 1 or more, not {max_skips} and {interval}.'
            )
        self.max_skips = max_skips
        self.interval = interval
        self._terms: tuple[str, ...] = ()
        self._first_bad: Tensor | None = None  # iteration by term, -1 where all was well

    def before_run(self, runner) -> None:
        """Begin to count; a resume puts the former run's count in its place."""
        runner.message_hub.update_info('skipped_steps', 0)

    def before_train(self, runner) -> None:
        """Start to look at the model's losses."""
        if self.max_skips and getattr(runner.optim_wrapper, '_accumulative_counts', 1) > 1:
            raise InputError(
                'DivergenceHook: steps cannot be skipped while gradients are accumulated: set max_skips=0 '
                'or accumulative_counts=1.'
            )
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        handles = [model.register_forward_hook(lambda module, _, losses: self._look(runner, module, losses))]
        if self.max_skips:
            handles.append(model.register_forward_pre_hook(self._keep_buffers))
        self._handles = handles

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Read what was noted down on a GPU."""
        if self.every_n_inner_iters(batch_idx, self.interval):
            self._read(runner)

    def after_train_epoch(self, runner) -> None:
        """Read what was noted down on a GPU."""
        self._read(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Let nothing bad be saved."""
        self._read(runner)
        named = [(name, weight) for name, weight in runner.model.named_parameters() if weight.is_floating_point()]
        finite = torch.stack([weight.detach().isfinite().all() for _, weight in named])
        if not finite.all():
            name = named[finite.tolist().index(False)][0]
            raise DivergenceError(
                f'the weight {name} is not finite after iteration {checkpoint["meta"]["iter"]}: {self._remedy(runner)}'
            )

    def after_train(self, runner) -> None:
        """Stop to look."""
        for handle in self._handles:
            handle.remove()

    def _look(self, runner, module: nn.Module, losses) -> None:
        if not module.training or not isinstance(losses, dict):
            return
        values = {name: value for name, value in losses.items() if 'loss' in name}  # what MMEngine sums
        with torch.no_grad():
            means = torch.stack([_mean(value) for value in values.values()])
            bad = ~means.isfinite()
            if self._terms != tuple(values):
                self._read(runner)
                self._terms, self._first_bad = tuple(values), bad.new_full(bad.shape, -1, dtype=torch.long)
            if self.max_skips:
                self._skip(runner, module, bad)
            self._first_bad = torch.where((self._first_bad < 0) & bad, runner.iter, self._first_bad)
        if self._at_once(means.device):
            self._read(runner)

    def _at_once(self, device: torch.device) -> bool:
        return self.max_skips > 0 or device.type == 'cpu'

    def _skip(self, runner, module: nn.Module, bad: Tensor) -> None:
        anywhere = bad.any().int()
        all_reduce(anywhere, 'max')  # the processes make or skip a step together
        if not anywhere:
            return
        hub = runner.message_hub
        skipped = hub.get_info('skipped_steps') + 1
        if skipped > self.max_skips:
            return
        hub.update_info('skipped_steps', skipped)
        for buffer, kept in zip(shared_buffers(module), self._buffers, strict=True):
            buffer.copy_(kept)
        terms = [term for term, is_bad in zip(self._terms, bad.tolist(), strict=True) if is_bad]
        runner.logger.warning(
            f'{", ".join(terms) or "a loss of another process"} is not finite at iteration '
            f'{runner.iter + 1} of epoch {runner.epoch + 1}: this step is skipped '
            f'({skipped} of {self.max_skips}).'
        )
        raise StepSkipped

    def _keep_buffers(self, module: nn.Module, _) -> None:
        if module.training:
            self._buffers = [buffer.clone() for buffer in shared_buffers(module)]

    def _read(self, runner) -> None:
        if self._first_bad is None:
            return
        first = {
            term: iteration
            for term, iteration in zip(self._terms, self._first_bad.tolist(), strict=True)
            if iteration >= 0
        }
        if first:
            earliest = min(first.values())
            terms = ', '.join(term for term, iteration in first.items() if iteration == earliest)
            raise DivergenceError(
                f'{terms} is not finite at iteration {earliest + 1} (epoch {runner.epoch + 1}): {self._remedy(runner)}'
            )

    @staticmethod
    def _remedy(runner) -> str:
        note = Path(runner.work_dir, 'last_checkpoint')
        last = (
            f'the last good checkpoint is {note.read_text()}'
            if note.is_file()
            else 'there is no checkpoint from before'
        )
        return (
            f'the run stops and saves nothing more; {last}; lower the learning rate, clip the gradients, or let '
            'DivergenceHook skip such steps (max_skips).'
        )


def _mean(loss: Tensor | list[Tensor]) -> Tensor:
    if isinstance(loss, Tensor):
        return loss.detach().float().mean()
    return sum(part.detach().float().mean() for part in loss)
