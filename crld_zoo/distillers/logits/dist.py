"""DIST: relations instead of exact values (Huang et al., NeurIPS 2022, arXiv 2205.10536)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_nonnegative, require_positive
from ..functional import pearson, per_row, soft_target


@soft_target
def dist_loss(logits_s: Tensor, logits_t: Tensor, *, beta: float, gamma: float, tau: float | Tensor) -> Tensor:
    """``tau^2 (beta (1 - r_inter) + gamma mean_k (1 - r_intra))``, correlations of ``p = softmax(z / tau)``.

    ``r_inter`` is Pearson's correlation over the classes of a sample, ``r_intra`` that over the batch of a class. The
    latter belongs to the batch and is added to every sample.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        beta: Weight of the correlation over the classes.
        gamma: Weight of the correlation over the batch.
        tau: The temperature, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1., 2., 0.], [3., 1., 0.]])
        >>> dist_loss(logits, logits, beta=1.0, gamma=1.0, tau=1.0).abs() < 1e-4
        tensor([True, True])
    """
    divisor = per_row(tau)
    p_s, p_t = (logits_s / divisor).softmax(1), (logits_t / divisor).softmax(1)
    return tau**2 * (beta * (1 - pearson(p_s, p_t)) + gamma * (1 - pearson(p_s.mT, p_t.mT)).mean())


@DISTILLERS.register_module()
class DIST(PairDistiller):
    """Correlation of the probabilities, over classes and over the batch (Huang et al., NeurIPS 2022).

    The defaults are those of ImageNet (hunto/image_classification_sota); the recipes for CIFAR-100 have
    ``beta=2, gamma=2, tau=4``. On several processes the batch is that of each process.

    Args:
        beta: Weight of the correlation over the classes.
        gamma: Weight of the correlation over the batch.
        tau: The temperature, above 0.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> DIST(tau=4.0).temperature
        4.0
    """

    has_temperature = True
    per_sample = False

    def __init__(
        self,
        beta: float = 1.0,
        gamma: float = 1.0,
        tau: float = 1.0,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, tau=tau)
        require_nonnegative(self, beta=beta, gamma=gamma)
        self.beta, self.gamma, self.temperature = beta, gamma, tau

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return dist_loss(student.logits, teacher.logits, beta=self.beta, gamma=self.gamma, tau=temperature)
