"""Training on the labels alone: the baseline of every comparison."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Predictions


@DISTILLERS.register_module()
class CrossEntropy(Distiller):
    """No teacher: cross-entropy with the labels. Trains baselines and teachers.

    Args:
        **options: Those of :class:`~crld_zoo.distillers.Distiller`.

    Example:
        >>> CrossEntropy(label_smoothing=0.1).needs_teacher
        False
    """

    needs_teacher = False

    def __init__(self, **options) -> None:
        super().__init__(**options)

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        return dict(loss_ce=self.label_loss(student, target))
