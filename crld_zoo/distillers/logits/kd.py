"""Knowledge distillation (Hinton et al., 2015, arXiv 1503.02531)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_positive
from ..functional import kl_divergence, per_row, soft_target


@soft_target
def kd_loss(logits_s: Tensor, logits_t: Tensor, *, temperature: float | Tensor) -> Tensor:
    """``T^2 KL(p_t || p_s)`` with ``p = softmax(z / T)``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant, no gradient reaches them.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> kd_loss(torch.tensor([[1., 2.]]), torch.tensor([[1., 2.]]), temperature=4.0)
        tensor([0.])
    """
    divisor = per_row(temperature)
    log_s = (logits_s / divisor).log_softmax(1)
    log_t = (logits_t / divisor).log_softmax(1)
    return temperature**2 * kl_divergence(log_t, log_s)


@DISTILLERS.register_module()
class KD(PairDistiller):
    """KL divergence between softened class probabilities (Hinton et al., 2015).

    The defaults are those of CIFAR-100; ImageNet recipes use ``temperature=1, ce_weight=0.5, kd_weight=0.5``.

    Args:
        temperature: ``T``, above 0.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> KD(temperature=1.0).kd_weight
        0.9
    """

    has_temperature = True

    def __init__(self, temperature: float = 4.0, ce_weight: float = 0.1, kd_weight: float = 0.9, **options) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        self.temperature = temperature

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return kd_loss(student.logits, teacher.logits, temperature=temperature)
