"""Matching logits by their squared difference (Kim et al., IJCAI 2021, arXiv 2105.08919)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction
from ..functional import soft_target


@soft_target
def logit_mse_loss(logits_s: Tensor, logits_t: Tensor) -> Tensor:
    """``mean_k (z_s - z_t)^2``: what ``T^2 KL`` grows into with ``T``, and the means of the logits besides.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> logit_mse_loss(torch.tensor([[1., 2.]]), torch.tensor([[1., 4.]]))
        tensor([2.])
    """
    return (logits_s - logits_t).square().mean(1)


@DISTILLERS.register_module()
class LogitMSE(PairDistiller):
    """Mean squared error of the logits, without a temperature (Kim et al., IJCAI 2021).

    The published code (jhoon-oh/kd_data) has no cross-entropy beside it; the paper's total of weight ``a`` is
    ``ce_weight=1 - a, kd_weight=a``. Its sequential distillation is two runs: this one, then ``KD`` with a small
    temperature whose student starts from the first one's checkpoint (``load_from``).

    Args:
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> LogitMSE().kd_weight
        1.0
    """

    def __init__(self, ce_weight: float = 0.0, kd_weight: float = 1.0, **options) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return logit_mse_loss(student.logits, teacher.logits)
