"""Several gradients in one step: each group of losses has its own backward pass and its own momentum."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, is_distributed
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import OPTIM_WRAPPERS

_BUFFER = 'momentum_buffer'


@OPTIM_WRAPPERS.register_module()
class GroupedOptimWrapper(OptimWrapper):
    r"""SGD with a momentum for each group of losses, for distillers with ``groups`` (DeepKD, say).

    The groups make their steps one after the other, in the order of ``momenta``; each is one of ``torch.optim.SGD``,
    with all of its options, on the gradient :math:`g` of its own losses and with its own momentum :math:`\mu`:

    .. math:: b_i \leftarrow \mu_i b_i + g_i, \qquad w \leftarrow w - \eta b_i

    The weight decay is the optimizer's, and counts once: it is added to the gradient of one group, at that group's
    turn. DeepKD's published code adds it to the target class's, which comes last. With equal momenta, and the group
    with the weight decay first, this is SGD on the sum of all losses.

    The momenta are part of the optimizer's state, and so of its checkpoint. Gradients are averaged over the processes
    here, by one all-reduce for each group and step, and not by ``DistributedDataParallel``, which reduces the first of
    several backward passes alone and says nothing. They are clipped by one factor, that of their sum.

    Args:
        momenta: The momentum of each group, 0 to less than 1, in the order of their steps; instead of the optimizer's.
        decayed: The group that the weight decay is added to; the last, if None.
        dtype: ``'bfloat16'`` for a forward pass under autocast, on every device.
        **options: Those of MMEngine's ``OptimWrapper``: the optimizer, ``accumulative_counts``, ``clip_grad``.

    Attributes:
        takes_groups: Whether ``update_params`` takes a dict of losses by group.
        gradients: What a step is made of: for each group, the gradient of each parameter that it has one of.

    Raises:
        InputError: An option is impossible; the optimizer is not SGD.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor(1.0))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> wrapper = GroupedOptimWrapper(momenta=dict(label=0.5, teacher=0.9), optimizer=optimizer)
        >>> for _ in range(2):
        ...     wrapper.update_params(dict(label=weight, teacher=2 * weight))
        >>> weight  # 1 - 0.1 (1 + 2) - 0.1 (1 + 0.5 * 1 + 2 + 0.9 * 2)
        Parameter containing:
        tensor(0.1700, requires_grad=True)
    """

    takes_groups = True

    def __init__(
        self, momenta: Mapping[str, float], decayed: str | None = None, dtype: str | None = None, **options
    ) -> None:
        super().__init__(**options)
        if not momenta or not all(isinstance(value, int | float) and 0 <= value < 1 for value in momenta.values()):
            raise InputError(
                'GroupedOptimWrapper: momenta must be a number from 0 to less than 1 for each group of losses, not '
                f'{momenta!r}.'
            )
        if decayed not in (None, *momenta):
            raise InputError(
                f'GroupedOptimWrapper: decayed must be one of the groups {", ".join(momenta)}, not {decayed!r}.'
            )
        if dtype not in (None, 'bfloat16', torch.bfloat16):
            raise InputError(
                f"GroupedOptimWrapper: dtype must be 'bfloat16' or None, not {dtype!r}: float16 needs its losses "
                'scaled, which several gradients would have to agree on.'
            )
        if not isinstance(self.optimizer, torch.optim.SGD):
            raise InputError(
                'GroupedOptimWrapper keeps momenta as SGD does, but the optimizer is '
                f"{type(self.optimizer).__name__}: set optim_wrapper.optimizer.type='SGD'."
            )
        if self.clip_grad_kwargs and self.grad_name != 'grad_norm':
            raise InputError(
                'GroupedOptimWrapper clips all gradients by one factor: set clip_grad.max_norm, not '
                "clip_grad.type='value'."
            )
        self.momenta = dict(momenta)
        self.decayed = decayed or list(momenta)[-1]
        self.dtype = None if dtype is None else torch.bfloat16
        self.gradients: dict[str, dict[nn.Parameter, Tensor]] = {}

    def check_groups(self, groups: Iterable[str], name: str) -> None:
        """Compare the groups of a distiller with those that have a momentum.

        Args:
            groups: Those of the distiller's losses.
            name: The distiller's.

        Raises:
            InputError: They are not the same.
        """
        groups = sorted(set(groups))
        if groups != sorted(self.momenta):
            has = f'has the groups {", ".join(groups)}' if groups else 'has one backward pass for all its losses'
            raise InputError(
                f'{name} {has}, but optim_wrapper.momenta names {", ".join(self.momenta)}: '
                + ('give each group its momentum.' if groups else "set optim_wrapper.type='OptimWrapper'.")
            )

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """The context of the forward pass: without a reduction of gradients by DDP, which happens here."""
        with contextlib.ExitStack() as stack:
            if hasattr(model, 'no_sync'):
                model.require_forward_param_sync = True  # no_sync takes it that the buffers need not be equal either
                stack.enter_context(model.no_sync())
            if self.dtype is not None:
                stack.enter_context(torch.autocast(next(model.parameters()).device.type, self.dtype))
            yield

    def update_params(self, loss: Mapping[str, Tensor], *args, **options) -> None:
        """Propagate each group's loss back, and make a step where it is time for one.

        Args:
            loss: A scalar for each group, as :meth:`crld_zoo.models.Distillation.parse_losses` gives them.
            *args: MMEngine's.
            **options: MMEngine's.

        Raises:
            InputError: There is a loss of another group, or one for all.
        """
        if not isinstance(loss, Mapping) or not loss.keys() <= self.momenta.keys():
            found = f'those of {", ".join(loss)}' if isinstance(loss, Mapping) else 'one for all'
            raise InputError(
                f'GroupedOptimWrapper takes a loss for each of the groups {", ".join(self.momenta)}, not {found}.'
            )
        super().update_params(loss, *args, **options)

    def scale_loss(self, loss: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses by group, each divided as MMEngine divides one where gradients are accumulated."""
        return {name: super(GroupedOptimWrapper, self).scale_loss(each) for name, each in loss.items()}

    def backward(self, loss: Mapping[str, Tensor], **options) -> None:
        """Add to the gradients of each group; ``.grad`` is left alone."""
        parameters = [each for each in self._parameters() if each.requires_grad]
        names = list(loss)
        for name in names:
            found = torch.autograd.grad(
                loss[name], parameters, retain_graph=name != names[-1], allow_unused=True, **options
            )
            kept = self.gradients.setdefault(name, {})
            for parameter, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    gradient = _laid_out(gradient, parameter)
                    kept[parameter] = kept[parameter] + gradient if parameter in kept else gradient
        self._inner_count += 1

    def zero_grad(self, **options) -> None:
        """Forget the gradients of all groups."""
        self.gradients = {}
        super().zero_grad(**options)

    @torch.no_grad()
    def step(self, **options) -> None:
        """Average the gradients over the processes, clip them, and make the step of each group."""
        if is_distributed():
            for kept in self.gradients.values():
                _average(kept)
        if self.clip_grad_kwargs:
            self._clip_grad()
        own = [(group['momentum'], group['weight_decay']) for group in self.optimizer.param_groups]
        try:
            for name, momentum in self.momenta.items():
                for group, (_, decay) in zip(self.optimizer.param_groups, own, strict=True):
                    group.update(momentum=momentum, weight_decay=decay if name == self.decayed else 0.0)
                self._step_of(name, **options)
        finally:
            for group, (momentum, decay) in zip(self.optimizer.param_groups, own, strict=True):
                group.update(momentum=momentum, weight_decay=decay)

    def _step_of(self, name: str, **options) -> None:
        """SGD's step on the gradients of a group, whose momenta stand where SGD looks for them meanwhile."""
        gradients, key = self.gradients.get(name, {}), f'{_BUFFER}_{name}'
        for parameter in self._parameters():
            parameter.grad = gradients.get(parameter)
        self._rename(key, _BUFFER)
        try:
            self.optimizer.step(**options)
        finally:
            self._rename(_BUFFER, key)

    def _rename(self, old: str, new: str) -> None:
        for state in self.optimizer.state.values():
            if old in state:
                state[new] = state.pop(old)

    def _clip_grad(self) -> None:
        options = dict(self.clip_grad_kwargs)
        largest = options.pop('max_norm')
        sums: dict[Tensor, Tensor] = {}
        for kept in self.gradients.values():
            for parameter, gradient in kept.items():
                sums[parameter] = sums[parameter] + gradient if parameter in sums else gradient
        norm = torch.nn.utils.get_total_norm(list(sums.values()), **options)
        factor = (largest / (norm + 1e-6)).clamp(max=1.0)  # as clip_grad_norm_ has it
        for kept in self.gradients.values():
            for parameter in kept:
                kept[parameter] = kept[parameter] * factor
        self.message_hub.update_scalar(f'train/{self.grad_name}', float(norm))

    def _parameters(self) -> Iterator[nn.Parameter]:
        return (each for group in self.optimizer.param_groups for each in group['params'])


def _laid_out(gradient: Tensor, parameter: Tensor) -> Tensor:
    """A gradient in the memory format of its parameter, which a fused step relies on."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, dtype=gradient.dtype).copy_(gradient)


def _average(gradients: dict[nn.Parameter, Tensor]) -> None:
    """The mean over all processes, in which the same parameters have gradients: they run the same graph."""
    if not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients.values()])
    all_reduce(flat, 'mean')
    parts = flat.split([gradient.numel() for gradient in gradients.values()])
    for (parameter, gradient), part in zip(list(gradients.items()), parts, strict=True):
        gradients[parameter] = torch.empty_like(gradient).copy_(part.view(gradient.shape))
