"""A training step's losses, replayed from CUDA graphs: a small network spends its step on launching kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from crld_zoo.errors import InputError

Losses = dict[str, Tensor]


class LossGraphs:
    """Replays a function of a batch, forward and backward; one pair of graphs for each size of batch.

    A graph repeats the kernels of the call that it was captured from, on the memory that they had then. So the batch is
    copied to where it was, weights and buffers are read and written where they stand, and whatever Python decided at
    the capture stays decided: what changes from step to step must be in a tensor. The optimizer's step, which reads its
    learning rate in Python, stays outside: a fused one is a handful of kernels.

    Each size is captured when it comes first. That takes some seconds, and runs the function several times; buffers and
    random numbers are afterwards what they were before. Each pair of graphs has memory of its own.

    Args:
        function: From a dict of tensors to a dict of scalars; it must not wait for a result (``.item()``), make shapes
            depend on values, or copy anything from the CPU.
        modules: Hold all parameters and buffers that it uses.
        record: Does what ``torch.cuda.make_graphed_callables`` does, which needs a GPU.
    """

    def __init__(
        self, function: Callable[[Mapping], Losses], *modules: nn.Module, record: Callable | None = None
    ) -> None:
        self._function, self._modules, self.record = function, modules, record
        self._graphs: dict[tuple, Callable[[Mapping], Losses]] = {}

    def __call__(self, batch: Mapping) -> Losses:
        """The losses of a batch: nested dicts of tensors on a GPU.

        Raises:
            InputError: There is no GPU, or the function does what a graph cannot hold.
        """
        tensors, form = tree_flatten(batch)
        size = (str(form), *((tensor.shape, tensor.dtype) for tensor in tensors))
        if size not in self._graphs:
            self._graphs[size] = self._capture(batch, tensors[0].device)
        return {name: loss.clone() for name, loss in self._graphs[size](batch).items()}  # the next replay overwrites it

    def _capture(self, batch: Mapping, device: torch.device) -> Callable[[Mapping], Losses]:
        if self.record is None and device.type != 'cuda':
            raise InputError('model.graph replays CUDA graphs, and the model is on the CPU: leave model.graph out.')
        function = _Function(self._function, self._modules)
        autocast = torch.autocast(
            device.type,
            torch.get_autocast_dtype(device.type),
            enabled=torch.is_autocast_enabled(device.type),
            cache_enabled=False,  # a weight that is converted once would be converted in the first replay alone
        )
        with _unchanged(function, device), autocast:
            try:
                record: Callable = self.record or torch.cuda.make_graphed_callables
                return record(function, (tree_map(torch.clone, batch),), allow_unused_input=True)
            except RuntimeError as error:
                raise InputError(
                    f'model.graph: a CUDA graph cannot hold this step ({str(error).strip().splitlines()[0]}): leave '
                    'model.graph out.'
                ) from error


class _Function(nn.Module):
    """A function as the module that ``make_graphed_callables`` takes, and changes."""

    def __init__(self, function: Callable, modules: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self._function, self._modules_used = function, nn.ModuleList(modules)

    def forward(self, batch: Mapping) -> Losses:
        return self._function(batch)


@contextmanager
def _unchanged(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave buffers (batch statistics, say) and random numbers as they are."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        yield
    for buffer, value in kept:
        buffer.copy_(value)
