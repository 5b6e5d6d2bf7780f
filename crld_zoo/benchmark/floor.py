"""How fast a step could be: its convolutions and matrix products alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

_LAYERS = (nn.Conv2d, nn.Linear)


def convolutions_alone(
    student: Callable[[], object],
    teacher: Callable[[], object],
    model: Any,
    autocast: Callable[[], AbstractContextManager],
) -> Callable[[], None]:
    """The same convolutions and linear layers as in a step, on inputs of the same shape, type and layout.

    The student's run forward and backward, the teacher's forward; nothing else is done. The images themselves need no
    gradient.

    Args:
        student: One forward pass of the student, over every view.
        teacher: One forward pass of the teacher.
        model: Has ``student``, and ``teacher`` where there is one.
        autocast: The context of the forward passes.

    Returns:
        A function that does all of them once.
    """
    learned = _record(model.student, student)
    frozen = [] if getattr(model, 'teacher', None) is None else _record(model.teacher, teacher)
    with autocast(), torch.no_grad():
        gradients = [torch.randn_like(layer(x)) for layer, x in learned]

    def work() -> None:
        with autocast(), torch.no_grad():
            for layer, x in frozen:
                layer(x)
        for (layer, x), gradient in zip(learned, gradients, strict=True):
            with autocast():
                y = layer(x)
            y.backward(gradient)
            x.grad = None
            layer.zero_grad()

    return work


def _record(network: nn.Module, run: Callable[[], object]) -> list[tuple[nn.Module, Tensor]]:
    """Every call of a convolution or a linear layer in one run, with its input."""
    calls = []

    def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0].detach()
        calls.append((layer, torch.randn_like(x).requires_grad_(inputs[0].requires_grad)))

    handles = [layer.register_forward_pre_hook(note) for layer in network.modules() if isinstance(layer, _LAYERS)]
    try:
        with torch.compiler.set_stance('force_eager'):  # a compiled network calls no hook
            run()
    finally:
        for handle in handles:
            handle.remove()
    return calls
