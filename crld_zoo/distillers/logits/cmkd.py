"""Correlation matching by value and by rank (CMKD; arXiv 2410.06561)."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_choice, require_nonnegative, require_positive
from ..functional import pearson, soft_target, standardize


def soft_rank(values: Tensor, *, temperature: float) -> Tensor:
    """``1/2 + sum_j sigmoid((x_i - x_j) / T)``: the rank of each value in its row ``(N, K)``; 1 is the least.

    For ``T`` to 0 it is the rank itself, ties in the middle. Takes ``N K^2`` numbers of memory.

    Example:
        >>> import torch
        >>> soft_rank(torch.tensor([[3., 7., 5.]]), temperature=0.1)
        tensor([[1., 3., 2.]])
    """
    return 0.5 + ((values[:, :, None] - values[:, None, :]) / temperature).sigmoid().sum(2)


@soft_target
def cmkd_loss(
    logits_s: Tensor,
    logits_t: Tensor,
    *,
    pearson_weight: float,
    spearman_weight: float,
    rank_temperature: float,
    weighting: str,
) -> Tensor:
    """``w_p (1 - pearson(a, b)) + w_s (1 - spearman(a, b))`` of standardized logits, ranks by :func:`soft_rank`.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        pearson_weight: ``w_p``.
        spearman_weight: ``w_s``.
        rank_temperature: How soft the ranks are, in standard deviations of the logits, above 0.
        weighting: ``'constant'``, or ``'entropy'``: ``w_p`` is multiplied by ``2 (1 - h)`` and ``w_s`` by ``2 h``, with
            ``h`` from 0 to 1 the teacher's entropy divided by ``log K``.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> options = dict(pearson_weight=1.0, spearman_weight=1.0, rank_temperature=0.1, weighting='constant')
        >>> logits = torch.tensor([[1., 2., 4.]])
        >>> cmkd_loss(logits, 2 * logits + 1, **options).abs() < 1e-5
        tensor([True])
        >>> cmkd_loss(-logits, logits, **options).round(decimals=3)
        tensor([4.])
    """
    logits_s, scaled_t = standardize(logits_s), standardize(logits_t)
    by_value = 1 - pearson(logits_s, scaled_t)
    by_rank = 1 - pearson(*(soft_rank(logits, temperature=rank_temperature) for logits in (logits_s, scaled_t)))
    if weighting == 'entropy':
        log_t = logits_t.log_softmax(1)
        difficulty = -(log_t.exp() * log_t).sum(1) / math.log(logits_t.shape[1])
        by_value, by_rank = 2 * (1 - difficulty) * by_value, 2 * difficulty * by_rank
    return pearson_weight * by_value + spearman_weight * by_rank


@DISTILLERS.register_module()
class CMKD(PairDistiller):
    """The student's logits correlate with the teacher's, by value and by rank (CMKD, arXiv 2410.06561).

    A reading of the abstract: no code is public. Ours are the rank, which a pairwise sigmoid makes differentiable, its
    temperature, weights of 1, and what ``weighting='entropy'`` does; the paper weights by the difficulty of a sample,
    which it takes from the teacher's entropy.

    Args:
        pearson_weight: Weight of the correlation of values.
        spearman_weight: Weight of the correlation of ranks.
        rank_temperature: How soft the ranks are, in standard deviations of the logits.
        weighting: ``'constant'`` for the same weights for all samples; ``'entropy'``: values count for more where the
            teacher is sure, ranks where it is not.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> CMKD(spearman_weight=0.5).options['weighting']
        'constant'
    """

    def __init__(
        self,
        pearson_weight: float = 1.0,
        spearman_weight: float = 1.0,
        rank_temperature: float = 0.1,
        weighting: str = 'constant',
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_nonnegative(self, pearson_weight=pearson_weight, spearman_weight=spearman_weight)
        require_positive(self, rank_temperature=rank_temperature)
        require_choice(self, weighting=(weighting, ('constant', 'entropy')))
        self.options: dict[str, Any] = dict(
            pearson_weight=pearson_weight,
            spearman_weight=spearman_weight,
            rank_temperature=rank_temperature,
            weighting=weighting,
        )

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return cmkd_loss(student.logits, teacher.logits, **self.options)
