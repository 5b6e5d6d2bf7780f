"""Training on the labels alone: the baseline of every comparison."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Prediction


@DISTILLERS.register_module()
class CrossEntropy(Distiller):
    """No teacher: cross-entropy with the labels. Trains baselines and teachers."""

    needs_teacher = False

    def forward(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> dict[str, Tensor]:
        return dict(loss_ce=self.label_loss(student, target))
