"""DKD on NormKD's logits (Chi et al., arXiv 2308.00520; Zhao et al., arXiv 2203.08679)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import soft_target
from .dkd import decoupled_divergence, warmup_factor
from .normkd import normalized_logits


@soft_target
def normkd_dkd_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, alpha: float, beta: float, temperature_norm: float
) -> Tensor:
    """``tau_t^2 (alpha KL(b_t || b_s) + beta KL(q_t || q_s))`` on logits over their own ``tau``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        alpha: Weight of the two-way split (target, rest).
        beta: Weight of the softmax over the non-target classes.
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.
    """
    scaled_s, _ = normalized_logits(logits_s, temperature_norm)
    scaled_t, tau_t = normalized_logits(logits_t, temperature_norm)
    return tau_t.squeeze(1) ** 2 * decoupled_divergence(scaled_s, scaled_t, target, alpha, beta)


@DISTILLERS.register_module()
class NormKDDKD(PairDistiller):
    """DKD with NormKD's temperature for each sample (Chi et al., 2308.00520).

    The defaults are those of CIFAR-100; ImageNet's ResNet34 -> ResNet18 uses
    ``temperature_norm=0.5, beta=1, warmup=1``.

    Args:
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.
        alpha: Weight of the target-class term.
        beta: Weight of the non-target-class term.
        warmup: Epochs over which the pair loss grows linearly to its full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
    """

    def __init__(
        self,
        temperature_norm: float = 2.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        warmup: int = 20,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)
        require_positive(self, temperature_norm=temperature_norm)
        require_nonnegative(self, alpha=alpha, beta=beta, warmup=warmup)
        self.temperature_norm = temperature_norm
        self.alpha = alpha
        self.beta = beta
        self.warmup = warmup

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return warmup_factor(self.warmup) * normkd_dkd_loss(
            student.logits,
            teacher.logits,
            target,
            alpha=self.alpha,
            beta=self.beta,
            temperature_norm=self.temperature_norm,
        )
