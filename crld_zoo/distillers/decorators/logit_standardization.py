"""Logit standardization (Sun et al., CVPR 2024, arXiv 2403.01427)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Distiller, PairDistiller, Prediction, build_pair_distiller
from ..functional import full_precision


@full_precision
def standardize(logits: Tensor) -> Tensor:
    """``(z - mean) / (std + 1e-7)`` over the classes of each sample, with the unbiased standard deviation.

    Constant logits, as a head that starts at zero gives, become 0 without the gradient of 1e7 that the formula has.
    """
    std = logits.std(1, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / (torch.where(std > 0, std, 1) + 1e-7)


@DISTILLERS.register_module()
class LogitStandardization(PairDistiller):
    """A decorator: any pair distiller on logits of mean 0 and variance 1 (Sun et al., CVPR 2024).

    The labels' cross-entropy keeps the raw logits. Nothing else of the decorated distiller changes: its weights,
    views and schedule remain. All that it computes from logits sees the standardized ones; the published code for MLLD
    standardizes its instance level alone.

    Args:
        distiller: Config of the distiller to decorate, or the distiller. With KD the paper uses
            ``temperature=2, ce_weight=0.1, kd_weight=9``.
    """

    def __init__(self, distiller: dict | Distiller) -> None:
        base = build_pair_distiller(distiller, decorator='LogitStandardization')
        super().__init__(ce_weight=base.ce_weight, kd_weight=base.kd_weight)
        self.distiller = base
        self.views = base.views
        self.needs_features = base.needs_features
        self.per_sample = base.per_sample

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return self.distiller.pair_loss(_standardized(student), _standardized(teacher), target)

    def distill(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> dict[str, Tensor]:
        return self.distiller.distill(
            {view: _standardized(p) for view, p in student.items()},
            {view: _standardized(p) for view, p in teacher.items()},
            target,
        )


def _standardized(prediction: Prediction) -> Prediction:
    return prediction._replace(logits=standardize(prediction.logits))
