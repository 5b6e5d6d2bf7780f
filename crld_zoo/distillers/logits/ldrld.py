"""Local dense relational logit distillation (LDRLD; Xu et al., ICCV 2025, arXiv 2507.15911)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_count, require_nonnegative, require_positive
from ..functional import kl_divergence, log_softmax_among, per_row, soft_target


@soft_target
def ldrld_loss(
    logits_s: Tensor, logits_t: Tensor, *, alpha: float, beta: float, k: int, temperature: float | Tensor
) -> Tensor:
    """``T^2 (alpha [KL_k + sum_{i<j} w_ij KL_ij] / (C(k, 2) + 1) + beta KL_rest)``.

    The student's ``k`` highest classes are compared as a group and pair by pair, all others as a group; each KL
    divergence is of the softmax over its classes alone. ``w_ij = 2 exp(-0.05 (i + j)) / (1.5 + |i - j|)`` with ranks
    counted from 1.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        alpha: Weight of the highest classes.
        beta: Weight of the rest.
        k: How many classes are the highest ones, from 2 to ``K``.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: ``k`` is larger than the number of classes.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1., 2., 4.]])
        >>> ldrld_loss(logits, logits, alpha=10.5, beta=7.0, k=2, temperature=4.0).abs() < 1e-6
        tensor([True])
    """
    if k > logits_s.shape[1]:
        raise InputError(f'ldrld_loss compares the k={k} highest classes, but there are {logits_s.shape[1]}: lower k.')
    divisor = per_row(temperature)
    logits_s, logits_t = logits_s / divisor, logits_t / divisor
    index = logits_s.detach().topk(k, 1).indices
    top_s, top_t = logits_s.gather(1, index), logits_t.gather(1, index)
    i, j = torch.triu_indices(k, k, 1, device=index.device)
    weight = 2 * torch.exp(-0.05 * (i + j + 2).to(top_s.dtype)) / (1.5 + (j - i))
    pairs_s, pairs_t = (torch.stack([top[:, i], top[:, j]], -1).log_softmax(-1) for top in (top_s, top_t))
    local = kl_divergence(top_t.log_softmax(1), top_s.log_softmax(1))
    local = local + (weight * kl_divergence(pairs_t, pairs_s)).sum(1)
    rest = torch.ones_like(logits_s, dtype=torch.bool).scatter(1, index, False)
    of_rest = kl_divergence(log_softmax_among(logits_t, rest), log_softmax_among(logits_s, rest))
    return temperature**2 * (alpha * local / (math.comb(k, 2) + 1) + beta * of_rest)


@DISTILLERS.register_module()
class LDRLD(PairDistiller):
    """The student's highest classes, pair by pair (LDRLD; Xu et al., ICCV 2025).

    The weights are those of the published code (yema-web/LDRLD) for ResNet32x4 -> ResNet8x4.

    Args:
        k: How many classes are the highest ones, at least 2.
        temperature: ``T``, above 0.
        alpha: Weight of the highest classes.
        beta: Weight of the rest.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> LDRLD(k=3).alpha
        10.5
    """

    has_temperature = True

    def __init__(
        self,
        k: int = 7,
        temperature: float = 4.0,
        alpha: float = 10.5,
        beta: float = 7.0,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        require_count(self, k=k)
        require_nonnegative(self, alpha=alpha, beta=beta)
        self.temperature, self.alpha, self.beta, self.k = temperature, alpha, beta, k

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return ldrld_loss(
            student.logits, teacher.logits, alpha=self.alpha, beta=self.beta, k=self.k, temperature=temperature
        )
