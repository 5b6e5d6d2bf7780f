"""Refined logit distillation (RLD; Sun et al., arXiv 2408.07703)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import (
    MASKED,
    at_target,
    kl_divergence,
    log_softmax_among,
    per_row,
    put_at_target,
    soft_target,
    standardize,
)


@soft_target
def rld_loss(
    logits_s: Tensor,
    logits_t: Tensor,
    target: Tensor,
    *,
    alpha: float,
    beta: float,
    temperature: float | Tensor,
    alpha_temperature: float,
    logit_stand: bool,
) -> Tensor:
    """``alpha T_a^2 KL(b_t || b_s) + beta T^2 KL(q_t || q_s)``: a teacher's wrong ranking is left out.

    ``b_t`` is the two-way split of the teacher's surest class against the rest, ``b_s`` that of the student's label
    against the rest, both at ``T_a``. ``q`` is the softmax over the classes whose teacher logit is below the label's;
    where there are none, the second term is 0.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        alpha: Weight of the two-way split.
        beta: Weight of the classes below the label.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        alpha_temperature: ``T_a``, above 0.
        logit_stand: Whether both logits are standardized first.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([2])
        >>> options = dict(alpha=1.0, beta=8.0, temperature=4.0, alpha_temperature=1.0, logit_stand=False)
        >>> rld_loss(logits, logits, target, **options).abs() < 1e-6
        tensor([True])
    """
    if logit_stand:
        logits_s, logits_t = standardize(logits_s), standardize(logits_t)

    def split(logits: Tensor, index: Tensor) -> Tensor:
        """Log-probabilities ``(N, 2)`` of a class and of all others."""
        scaled = logits / alpha_temperature
        rest = put_at_target(scaled, index, MASKED).logsumexp(1)
        return torch.stack([at_target(scaled, index), rest], 1).log_softmax(1)

    below = logits_t < at_target(logits_t, target)[:, None]
    divisor = per_row(temperature)
    log_s, log_t = (log_softmax_among(logits / divisor, below) for logits in (logits_s, logits_t))
    two_way = kl_divergence(split(logits_t, logits_t.argmax(1)), split(logits_s, target))
    return alpha * alpha_temperature**2 * two_way + beta * temperature**2 * kl_divergence(log_t, log_s)


@DISTILLERS.register_module()
class RLD(PairDistiller):
    """Distills only what agrees with the label (RLD; Sun et al., arXiv 2408.07703).

    The defaults are those of CIFAR-100 (zju-SWJ/RLD); ImageNet uses ``beta=0.5, temperature=1, warmup=1``.

    Args:
        temperature: ``T`` of the classes below the label, above 0; the one that a decorator chooses.
        alpha_temperature: ``T_a`` of the two-way split, above 0.
        alpha: Weight of the two-way split.
        beta: Weight of the classes below the label.
        logit_stand: Whether both logits are standardized first.
        warmup: Epochs over which the pair loss grows linearly to its full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> RLD(beta=0.5).warmup
        20
    """

    has_temperature = True

    def __init__(
        self,
        temperature: float = 4.0,
        alpha_temperature: float = 1.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        logit_stand: bool = False,
        warmup: int = 20,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, warmup=warmup, **options)
        require_positive(self, temperature=temperature, alpha_temperature=alpha_temperature)
        require_nonnegative(self, alpha=alpha, beta=beta)
        self.temperature = temperature
        self.alpha, self.beta, self.alpha_temperature, self.logit_stand = alpha, beta, alpha_temperature, logit_stand

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return rld_loss(
            student.logits,
            teacher.logits,
            target,
            temperature=temperature,
            alpha_temperature=self.alpha_temperature,
            alpha=self.alpha,
            beta=self.beta,
            logit_stand=self.logit_stand,
        )
