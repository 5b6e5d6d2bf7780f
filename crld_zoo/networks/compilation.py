"""Compiled forward passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError

GRAPH_MODES = ('reduce-overhead', 'max-autotune')
"""Those of ``torch.compile`` that capture CUDA graphs."""


def compiled(network: nn.Module, options: bool | Mapping | None) -> Callable[[Tensor], Tensor]:
    """A network's call, through ``torch.compile`` if asked to; the network itself stays as it is.

    Args:
        network: Takes images ``(N, 3, H, W)`` and gives logits ``(N, K)``.
        options: None or False for the network as it is; True for ``torch.compile``'s defaults, or its arguments.

    Raises:
        InputError: ``torch.compile`` has no such argument, mode or backend.
    """
    if not options:
        return network
    if options is not True and not isinstance(options, Mapping):
        raise InputError(f'compile={options!r}: true, false, or a dict of the arguments of torch.compile')
    options = {} if options is True else dict(options)
    graphs = options.get('mode') in GRAPH_MODES
    if graphs:
        options.setdefault('dynamic', False)  # a graph has one size
    try:
        call = torch.compile(network, **options)
    except (TypeError, RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f'compile={options} is not what torch.compile takes: {reason}') from error
    # The next replay of a graph overwrites what this one gave.
    return (lambda images: call(images).clone()) if graphs else call
