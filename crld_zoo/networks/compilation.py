"""Compiled forward passes, which run uncompiled where the compiler cannot."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.errors import InputError

GRAPH_MODES = ('reduce-overhead', 'max-autotune')
"""Those of ``torch.compile`` that capture CUDA graphs."""


class ForwardPass:
    """Calls a network, through ``torch.compile`` if asked to.

    The network itself stays as it is: its module tree, its checkpoints, and how it runs when somebody else calls it.
    Where the first call fails (no C++ compiler for the CPU, code that cannot be captured), the log says why, and the
    network runs uncompiled from then on. A deep copy belongs to the copy of the network and compiles anew.

    Args:
        network: Takes images ``(N, 3, H, W)`` and gives logits ``(N, K)``.
        name: What the log calls it.
        options: None or False to call it as it is; True for ``torch.compile``'s defaults, or a dict of its arguments.
            ``dict(mode='reduce-overhead')`` replays CUDA graphs, which pays where a small network's kernels are
            shorter than their launches; each batch size is captured by itself.

    Raises:
        InputError: ``torch.compile`` has no such argument, mode or backend.
    """

    def __init__(self, network: nn.Module, name: str, options: bool | Mapping | None = None) -> None:
        self.network = network
        self.name = name
        self.options = {} if options is True else dict(options) if isinstance(options, Mapping) else None
        if self.options is None and options not in (None, False):
            raise InputError(
                f'compile={options!r} of the {name}: true, false, or a dict of the arguments of torch.compile'
            )
        self._compiled = None
        self._works = False
        if self.options is not None:
            self._compile()
            if self.options.get('mode') in GRAPH_MODES and not torch.cuda.is_available():
                print_log(
                    f'the {name} is compiled without CUDA graphs, which need a GPU',
                    logger='current',
                    level=logging.WARNING,
                )

    def __call__(self, images: Tensor) -> Tensor:
        if self.options is None:
            return self.network(images)
        if self._compiled is None:
            self._compile()
        try:
            logits = self._compiled(images).clone()  # the next replay of a graph overwrites what this one gave
            self._works = True
            return logits
        except Exception as error:
            if self._works or isinstance(error, torch.OutOfMemoryError):
                raise
            logits = self.network(images)  # raises its own error where the compiler was not at fault
            self.options = self._compiled = None
            print_log(
                f'the {self.name} runs uncompiled, since compiling it failed: {_reason(error)}',
                logger='current',
                level=logging.WARNING,
            )
            return logits

    def __getstate__(self) -> dict:
        return dict(vars(self), _compiled=None, _works=False)

    def _compile(self) -> None:
        """Wrap the network; its first call compiles it."""
        options = dict(self.options)
        if options.get('mode') in GRAPH_MODES:
            options.setdefault('dynamic', False)  # a graph has one size
        try:
            self._compiled = torch.compile(self.network, **options)
        except (TypeError, RuntimeError, AssertionError) as error:
            raise InputError(
                f'compile={self.options} of the {self.name} is not what torch.compile takes: {_reason(error)}'
            ) from error


def _reason(error: BaseException) -> str:
    """The beginning: the compiler's errors are pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ' '.join((f'{type(error).__name__}:', *lines[:2]))[:250]
