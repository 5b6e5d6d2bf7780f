"""BKL (code: CKeyZhang/BKL): both directions of the KL divergence, small probabilities weighted up."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_positive, require_share
from ..functional import per_row, soft_target


@soft_target
def bkl_loss(logits_s: Tensor, logits_t: Tensor, *, alpha: float, beta: float, temperature: float | Tensor) -> Tensor:
    """``T^2 sum_k [alpha p_t log(p_t / p_s) + (1 - alpha) p_s log(p_s / p_t)] / rho``.

    ``rho = (p_s^2 + p_t^2)^((1 - beta) / 2) + 1e-12``, class by class and with its gradient: ``beta = 1`` leaves both
    divergences, ``beta = 0`` weighs every class as much as the surest one.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        alpha: Share of the divergence from the teacher to the student, 0 to 1.
        beta: How much the size of a probability counts, 0 to 1.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> bkl_loss(torch.tensor([[1., 2.]]), torch.tensor([[1., 2.]]), alpha=0.5, beta=0.5, temperature=4.0)
        tensor([0.])
    """
    divisor = per_row(temperature)
    log_s, log_t = (logits_s / divisor).log_softmax(1), (logits_t / divisor).log_softmax(1)
    log_rho = (1 - beta) / 2 * torch.logaddexp(2 * log_s, 2 * log_t)
    log_rho = torch.logaddexp(log_rho, torch.full_like(log_rho, math.log(1e-12)))
    gap = log_t - log_s
    terms = alpha * (log_t - log_rho).exp() * gap - (1 - alpha) * (log_s - log_rho).exp() * gap
    return temperature**2 * terms.sum(1)


@DISTILLERS.register_module()
class BKL(PairDistiller):
    """KL divergence in both directions, small probabilities weighted up (code: CKeyZhang/BKL).

    The published code leaves ``alpha`` and ``beta`` open; even shares are our choice. The weights are those of ``KD``.

    Args:
        alpha: Share of the divergence from the teacher to the student, 0 to 1.
        beta: How much the size of a probability counts, 0 to 1.
        temperature: ``T``, above 0.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> BKL(beta=1.0).alpha
        0.5
    """

    has_temperature = True

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        temperature: float = 4.0,
        ce_weight: float = 0.1,
        kd_weight: float = 0.9,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        require_share(self, alpha=alpha, beta=beta)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return bkl_loss(student.logits, teacher.logits, alpha=self.alpha, beta=self.beta, temperature=temperature)
