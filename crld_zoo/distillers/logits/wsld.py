"""Weighted soft labels (Zhou et al., ICLR 2021, arXiv 2102.00650)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import at_target, per_row, soft_target


@soft_target
def wsld_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, temperature: float | Tensor, alpha: float
) -> Tensor:
    """``alpha T^2 w H(p_t, p_s)`` with ``w = 1 - exp(-CE_s / CE_t)``: less where the student knows the label better.

    ``H`` is the cross-entropy of the softened probabilities, ``CE`` that with the labels at temperature 1. ``w`` is a
    constant: the gradient does not run through it.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        alpha: Weight of the whole.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0., 0.]])
        >>> wsld_loss(logits, logits, torch.tensor([0]), temperature=1.0, alpha=1.0)
        tensor([0.4382])
    """
    divisor = per_row(temperature)
    label_s, label_t = (-at_target(logits.detach().log_softmax(1), target) for logits in (logits_s, logits_t))
    weight = 1 - (-label_s / (label_t + 1e-7)).exp()  # the published code has this floor
    soft = -((logits_t / divisor).softmax(1) * (logits_s / divisor).log_softmax(1)).sum(1)
    return alpha * temperature**2 * weight * soft


@DISTILLERS.register_module()
class WSLD(PairDistiller):
    """Soft labels that count less where the student is ahead of the teacher (Zhou et al., ICLR 2021).

    The defaults are those of CIFAR-100 (bellymonster/Weighted-Soft-Label-Distillation); ImageNet uses
    ``temperature=2, alpha=2.5``.

    Args:
        temperature: ``T``, above 0.
        alpha: Weight of the soft labels.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> WSLD().alpha
        2.25
    """

    has_temperature = True

    def __init__(
        self, temperature: float = 4.0, alpha: float = 2.25, ce_weight: float = 1.0, kd_weight: float = 1.0, **options
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        require_nonnegative(self, alpha=alpha)
        self.temperature, self.alpha = temperature, alpha

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return wsld_loss(student.logits, teacher.logits, target, temperature=temperature, alpha=self.alpha)
