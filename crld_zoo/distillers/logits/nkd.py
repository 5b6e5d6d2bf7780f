"""Normalized knowledge distillation (Yang et al., arXiv 2208.10139; ICCV 2023 as part of NKD and USKD)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import at_target, other_logits, per_row, soft_target


@soft_target
def nkd_loss(
    logits_s: Tensor, logits_t: Tensor, target: Tensor, *, gamma: float, temperature: float | Tensor
) -> Tensor:
    """``-p_t[y] log p_s[y] - gamma T^2 sum_{k != y} q_t[k] log q_s[k]``.

    ``p`` is the softmax at temperature 1, ``q`` the softmax over the non-target logits divided by ``T``.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        gamma: Weight of the non-target term.
        temperature: ``T`` of the non-target term, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([0])
        >>> nkd_loss(logits, 2 * logits, target, gamma=1.5, temperature=1.0).round(decimals=3)
        tensor([0.2520])
    """
    target_term = at_target(logits_t.softmax(1), target) * at_target(logits_s.log_softmax(1), target)
    divisor = per_row(temperature)
    others_s = (other_logits(logits_s, target) / divisor).log_softmax(1)
    others_t = (other_logits(logits_t, target) / divisor).softmax(1)
    return -target_term - gamma * temperature**2 * (others_t * others_s).sum(1)


@DISTILLERS.register_module()
class NKD(PairDistiller):
    """Target probability as a weight, non-target probabilities normalized to sum to 1 (Yang et al., 2208.10139).

    Args:
        gamma: Weight of the non-target term.
        temperature: ``T`` of the non-target term, above 0.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> NKD(temperature=2.0).gamma
        1.5
    """

    has_temperature = True

    def __init__(
        self, gamma: float = 1.5, temperature: float = 1.0, ce_weight: float = 1.0, kd_weight: float = 1.0, **options
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        require_nonnegative(self, gamma=gamma)
        self.gamma = gamma
        self.temperature = temperature

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return nkd_loss(student.logits, teacher.logits, target, gamma=self.gamma, temperature=temperature)
