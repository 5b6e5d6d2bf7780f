"""Losses that are no longer numbers: the run stops before anything bad is saved."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .distiller import shared_buffers
from .unwrapped import unwrapped


class DivergenceError(InputError):
    """A loss term, a weight, a buffer or a state of the optimizer became NaN or infinite."""


class CheckedOptimWrapper:
    """What a ``train_step`` takes as its optimizer wrapper: it makes no step that a :class:`DivergenceHook` refuses.

    Attributes:
        skipped: Whether the step was refused.
    """

    def __init__(self, runner) -> None:
        self._runner, self._wrapper, self.skipped = runner, runner.optim_wrapper, False

    def __getattr__(self, name: str):
        return getattr(self._wrapper, name)

    def update_params(self, *losses, **options) -> None:
        """Make the step."""
        hooks = [hook for hook in self._runner.hooks if isinstance(hook, DivergenceHook)]
        self.skipped = any(hook.refuses_step(self._runner) for hook in hooks)
        if not self.skipped:
            self._wrapper.update_params(*losses, **options)


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Stops the run when a loss term is NaN or infinite, and names term, iteration and the last good checkpoint.

    The zoo's loops ask it for each step when the losses are known, before they are propagated back. On the CPU every
    step is looked at, so the bad one is never made. On a GPU the first bad iteration of each term is noted down on the
    device, without waiting for it, and read every ``interval`` iterations and before every checkpoint. Weights,
    buffers, the distiller's included, and the optimizer's state are looked at before every checkpoint as well: a
    gradient may overflow where the loss did not. So a bad state is never saved.

    Args:
        max_skips: So many steps with a bad loss are left out, with a warning each, before the run stops: neither
            weights nor optimizer nor batch statistics change in them. Every step then waits for its losses, and for
            those of the other processes; gradients must not be accumulated over steps.
        interval: Iterations between two looks on a GPU.

    Raises:
        DivergenceError: A loss term, a weight, a buffer or the optimizer's state is not finite.
    """

    priority = 'HIGH'  # before the hooks that log, average and save

    def __init__(self, max_skips: int = 0, interval: int = 50) -> None:
        if max_skips < 0 or interval < 1:
            raise InputError(
                f'DivergenceHook: max_skips must be 0 or more and interval 1 or more, not {max_skips} and {interval}.'
            )
        self.max_skips = max_skips
        self.interval = interval
        self._losses: dict[str, Tensor] = {}  # of the running step, until it was judged
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
        model = unwrapped(runner.model)
        self._constants = {name for name, buffer in model.named_buffers() if not buffer.isfinite().all()}  # masks
        handles = [model.register_forward_hook(self._keep_losses)]
        if self.max_skips:
            handles.append(model.register_forward_pre_hook(self._keep_buffers))
        self._handles = handles

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Read what was noted down on a GPU."""
        if self._losses:  # a loop of somebody else's, which asks for no step
            self._note(runner)
        if self.every_n_inner_iters(batch_idx, self.interval):
            self._read(runner)

    def after_train_epoch(self, runner) -> None:
        """Read what was noted down on a GPU."""
        self._read(runner)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Let nothing bad be saved."""
        self._read(runner)
        model = unwrapped(runner.model)
        states = {
            'the weight': model.named_parameters(),
            'the buffer': (pair for pair in model.named_buffers() if pair[0] not in self._constants),
            'the state of the optimizer,': _named_tensors(checkpoint.get('optimizer', {})),
        }
        for what, tensors in states.items():
            named = [(name, tensor) for name, tensor in tensors if tensor.is_floating_point()]
            finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in named]) if named else torch.ones(1)
            if not finite.all():
                raise DivergenceError(
                    f'{what} {named[finite.tolist().index(False)][0]} is not finite after iteration '
                    f'{checkpoint["meta"]["iter"]}: {self._remedy(runner)}'
                )

    def after_train(self, runner) -> None:
        """Stop to look."""
        for handle in self._handles:
            handle.remove()

    def refuses_step(self, runner) -> bool:
        """Whether the running step is to be left out.

        Raises:
            DivergenceError: Its losses are bad, and no more steps may be left out.
        """
        if not self._losses:
            return False
        if self.max_skips and self._skip(runner):
            self._losses = {}
            return True
        if self._at_once(self._note(runner).device):
            self._read(runner)
        return False

    def _keep_losses(self, module: nn.Module, _, losses) -> None:
        if module.training and isinstance(losses, dict):  # 'loss' is what MMEngine sums
            self._losses = {name: _mean(value) for name, value in losses.items() if 'loss' in name}

    def _note(self, runner) -> Tensor:
        bad = ~torch.stack(tuple(self._losses.values())).isfinite()
        if self._terms != tuple(self._losses):
            self._read(runner)
            self._terms, self._first_bad = tuple(self._losses), None
        before = bad.new_full(bad.shape, -1, dtype=torch.long) if self._first_bad is None else self._first_bad
        self._first_bad = torch.where((before < 0) & bad, runner.iter, before)
        self._losses = {}
        return bad

    def _at_once(self, device: torch.device) -> bool:
        return self.max_skips > 0 or device.type == 'cpu'

    def _skip(self, runner) -> bool:
        terms = [name for name, mean in self._losses.items() if not mean.isfinite()]
        anywhere = torch.tensor(int(bool(terms)), device=next(iter(self._losses.values())).device)
        all_reduce(anywhere, 'max')  # the processes make or skip a step together
        skipped = runner.message_hub.get_info('skipped_steps') + 1
        if not anywhere or skipped > self.max_skips:
            return False
        runner.message_hub.update_info('skipped_steps', skipped)
        for buffer, kept in zip(shared_buffers(runner.model), self._buffers, strict=True):
            buffer.copy_(kept)
        runner.logger.warning(
            f'{", ".join(terms) or "a loss of another process"} is not finite at iteration '
            f'{runner.iter + 1} of epoch {runner.epoch + 1}: this step is skipped '
            f'({skipped} of {self.max_skips}).'
        )
        return True

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
    return functools.reduce(torch.add, (part.detach().float().mean() for part in loss))


def _named_tensors(part, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested dicts and lists, by dotted name."""
    if isinstance(part, Tensor):
        yield name[1:], part
    elif isinstance(part, dict | list | tuple):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _named_tensors(value, f'{name}.{key}')
