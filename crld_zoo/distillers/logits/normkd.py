"""NormKD: a temperature for each sample (Chi et al., arXiv 2308.00520)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_positive
from ..functional import kl_divergence, soft_target


def normalized_logits(logits: Tensor, temperature_norm: float) -> tuple[Tensor, Tensor]:
    """Logits ``(N, K)`` over their own temperature ``tau = temperature_norm * std(logits)``, and ``tau`` ``(N, 1)``.

    The standard deviation over the classes is the unbiased one and keeps its gradient. Constant logits, as a head that
    starts at zero gives, have none: they stay as they are, and so does the size of their gradient.
    """
    tau = temperature_norm * logits.std(1, keepdim=True)
    return logits / torch.where(tau > 0, tau, 1), tau


@soft_target
def normkd_loss(logits_s: Tensor, logits_t: Tensor, *, temperature_norm: float) -> Tensor:
    """``tau_t^2 KL(softmax(z_t / tau_t) || softmax(z_s / tau_s))`` with ``tau = temperature_norm * std(z)``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.

    Returns:
        The loss of each sample, ``(N,)``.
    """
    scaled_s, _ = normalized_logits(logits_s, temperature_norm)
    scaled_t, tau_t = normalized_logits(logits_t, temperature_norm)
    return tau_t.squeeze(1) ** 2 * kl_divergence(scaled_t.log_softmax(1), scaled_s.log_softmax(1))


@DISTILLERS.register_module()
class NormKD(PairDistiller):
    """KL divergence with a temperature for each sample, from its logits' spread (Chi et al., 2308.00520).

    The defaults are those of CIFAR-100; ImageNet recipes use ``temperature_norm=1, ce_weight=0.5, kd_weight=0.5``.

    Args:
        temperature_norm: Multiple of the logits' standard deviation that serves as temperature, above 0.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
    """

    def __init__(self, temperature_norm: float = 2.0, ce_weight: float = 0.1, kd_weight: float = 0.9) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)
        require_positive(self, temperature_norm=temperature_norm)
        self.temperature_norm = temperature_norm

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return normkd_loss(student.logits, teacher.logits, temperature_norm=self.temperature_norm)
