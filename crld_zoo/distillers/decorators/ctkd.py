"""Curriculum temperature (CTKD; Li et al., AAAI 2023, arXiv 2211.16231)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, PairDecorator, Prediction, Progress, require_count, require_nonnegative, require_positive


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.saved_tensors[0].to(gradient.dtype) * gradient, None


def cosine_strength(epoch: int, *, decay_max: float, decay_min: float, decay_loops: int) -> float:
    """The factor of the temperature's gradient: from ``decay_max`` to ``decay_min`` by a cosine over the epochs.

    Example:
        >>> cosine_strength(5, decay_max=0.0, decay_min=-1.0, decay_loops=10)
        -0.5
    """
    angle = math.pi * min(epoch, decay_loops) / decay_loops
    return 0.5 * (1 + math.cos(angle)) * (decay_max - decay_min) + decay_min


@DISTILLERS.register_module()
class CTKD(PairDecorator):
    """A decorator: any pair loss with a temperature, which is learned against the student (CTKD; Li et al., AAAI 2023).

    ``T = t_start + t_end sigmoid(theta)`` takes the place of the held distiller's temperature. The gradient of
    ``theta`` is multiplied by a strength that goes from ``decay_max`` to ``decay_min`` by a cosine, the epoch counted
    from 1: below 0 the temperature makes the student's task harder. ``theta`` is trained by the student's optimizer.
    The defaults are the published ones (zhengli97/CTKD) around ``KD``; ImageNet uses ``decay_loops=5``.

    Args:
        distiller: Config of the distiller to decorate, or the distiller.
        t_start: The least temperature, above 0.
        t_end: How much a temperature can be above it.
        theta: Where the learned number starts.
        decay_max: The gradient's factor at first.
        decay_min: The gradient's factor at last.
        decay_loops: Epochs from the first to the last.

    Raises:
        InputError: The distiller has no temperature.

    Example:
        >>> round(CTKD(dict(type='KD')).learned_temperature().item(), 4)
        15.6212
    """

    strength: Tensor

    def __init__(
        self,
        distiller: dict | Distiller,
        t_start: float = 1.0,
        t_end: float = 20.0,
        theta: float = 1.0,
        decay_max: float = 0.0,
        decay_min: float = -1.0,
        decay_loops: int = 10,
    ) -> None:
        super().__init__(distiller)
        if not self.has_temperature:
            raise InputError(
                f'CTKD learns a temperature, but {type(self.distiller).__name__} has none that can be replaced: '
                'decorate KD, DKD or another distiller with a temperature.'
            )
        require_positive(self, t_start=t_start)
        require_nonnegative(self, t_end=t_end)
        require_count(self, decay_loops=decay_loops)
        self.has_temperature = False  # it has found its own
        self.t_start, self.t_end = t_start, t_end
        self.decay_max, self.decay_min, self.decay_loops = decay_max, decay_min, decay_loops
        # Two numbers in float64: the logits' type is kept, since they have no dimension.
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))
        self.register_buffer('strength', torch.tensor(decay_min, dtype=torch.float64), persistent=False)
        self._begun_decay = False

    def begin(self, progress: Progress) -> None:
        super().begin(progress)
        self._begun_decay = True
        strength = cosine_strength(
            progress.epoch, decay_max=self.decay_max, decay_min=self.decay_min, decay_loops=self.decay_loops
        )
        self.strength.fill_(strength)

    def learned_temperature(self) -> Tensor:
        """``T`` ``()``, with the gradient as the strength has it."""
        return self.t_start + self.t_end * _ScaledGradient.apply(self.theta, self.strength).sigmoid()

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        if self.training and not self._begun_decay:
            raise InputError(
                'CTKD follows a schedule and was never told the epoch: call distiller.begin(Progress(epoch, iteration, '
                'epochs, iterations)) before each step.'
            )
        return self.distiller.pair(student, teacher, target, temperature=self.learned_temperature())
