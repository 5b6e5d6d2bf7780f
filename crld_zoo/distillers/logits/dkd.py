"""Decoupled knowledge distillation (Zhao et al., CVPR 2022, arXiv 2203.08679)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import at_target, kl_divergence, other_logits, per_row, soft_target


def decoupled_divergences(logits_s: Tensor, logits_t: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """``KL(b_t || b_s)`` and ``KL(q_t || q_s)``, ``(N,)`` each, of logits that are scaled already (eq. 7).

    ``b`` is the two-way split of the softmax into target and rest, ``q`` the softmax over the other classes alone.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([0])
        >>> decoupled_divergences(logits, 2 * logits, target)[0].round(decimals=3)
        tensor([0.0330])
    """

    def split(logits: Tensor) -> tuple[Tensor, Tensor]:
        others = other_logits(logits, target)
        two_way = torch.stack([at_target(logits, target), others.logsumexp(1)], dim=1)
        return two_way.log_softmax(1), others.log_softmax(1)

    (two_way_s, others_s), (two_way_t, others_t) = split(logits_s), split(logits_t)
    return kl_divergence(two_way_t, two_way_s), kl_divergence(others_t, others_s)


@soft_target
def dkd_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, alpha: float, beta: float, temperature: float | Tensor
) -> Tensor:
    """``T^2 (alpha KL(b_t || b_s) + beta KL(q_t || q_s))``: target-class and non-target-class knowledge apart.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        alpha: Weight of the two-way split (target, rest).
        beta: Weight of the softmax over the non-target classes.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([0])
        >>> dkd_loss(logits, 2 * logits, target, alpha=1.0, beta=8.0, temperature=4.0).round(decimals=3)
        tensor([3.7560])
        >>> dkd_loss(logits, logits + 3, target, alpha=1.0, beta=8.0, temperature=4.0).abs() < 1e-5
        tensor([True])
    """
    divisor = per_row(temperature)
    of_target, of_rest = decoupled_divergences(logits_s / divisor, logits_t / divisor, target)
    return temperature**2 * (alpha * of_target + beta * of_rest)


@DISTILLERS.register_module()
class DKD(PairDistiller):
    """Target-class and non-target-class knowledge, weighted apart, with a linear warm-up (Zhao et al., CVPR 2022).

    The defaults are those of CIFAR-100; ImageNet's ResNet34 -> ResNet18 uses ``beta=0.5, temperature=1, warmup=1``.

    Args:
        temperature: ``T``, above 0.
        alpha: Weight of the target-class term.
        beta: Weight of the non-target-class term; the paper tunes it for each pair.
        warmup: Epochs over which the pair loss grows linearly to its full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> DKD(beta=2.0).warmup
        20
    """

    has_temperature = True

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        warmup: int = 20,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, warmup=warmup, **options)
        require_positive(self, temperature=temperature)
        require_nonnegative(self, alpha=alpha, beta=beta)
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return dkd_loss(
            student.logits, teacher.logits, target, alpha=self.alpha, beta=self.beta, temperature=temperature
        )
