"""Grouped knowledge distillation (GKD; Zhao et al., CVPR 2023, arXiv 2304.04462)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_choice, require_count, require_nonnegative, require_positive
from ..functional import MASKED, kl_divergence, per_row, put_at_target, soft_target


@soft_target
def gkd_loss(
    logits_s: Tensor,
    logits_t: Tensor,
    target: Tensor,
    *,
    alpha: float,
    beta: float,
    lambda_: float,
    temperature: float | Tensor,
    hcm_n: int,
    select: str,
) -> Tensor:
    """``T^2 (alpha KL(b_t || b_s) + beta KL(q_t || q_s) + lambda KL(r_t || r_s))`` of two groups of classes.

    The primary group is the label and the ``hcm_n - 1`` highest other classes, the secondary one all others. ``b`` is
    the split of the softmax into the two, ``q`` and ``r`` the softmax over either alone.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        target: Class indices ``(N,)``.
        alpha: Weight of the split into groups.
        beta: Weight of the primary group.
        lambda_: Weight of the secondary group.
        temperature: ``T``, above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        hcm_n: Size of the primary group; all classes, if there are fewer.
        select: Whose logits choose it: ``'student'`` or ``'teacher'``.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The target holds no class indices.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([0])
        >>> options = dict(alpha=1.0, beta=8.0, lambda_=0.0, temperature=4.0, hcm_n=2, select='teacher')
        >>> gkd_loss(logits, logits, target, **options).abs() < 1e-6
        tensor([True])
    """
    chooser = put_at_target(logits_t if select == 'teacher' else logits_s.detach(), target, torch.inf)
    index = chooser.topk(min(hcm_n, chooser.shape[1]), 1).indices
    primary = torch.zeros_like(chooser, dtype=torch.bool).scatter(1, index, True)
    divisor = per_row(temperature)

    def split(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = logits / divisor
        groups = logits.gather(1, index), logits.masked_fill(primary, MASKED)
        two_way = torch.stack([group.logsumexp(1) for group in groups], 1).log_softmax(1)
        return two_way, groups[0].log_softmax(1), groups[1].log_softmax(1)

    two_way, of_primary, of_secondary = map(kl_divergence, split(logits_t), split(logits_s))
    return temperature**2 * (alpha * two_way + beta * of_primary + lambda_ * of_secondary)


@DISTILLERS.register_module()
class GKD(PairDistiller):
    """The classes in two groups, and the split between them (GKD; Zhao et al., CVPR 2023, for faces).

    The defaults are those of the published code (WisonZ/GKD), which has 10,000 primary classes of 85,000 identities:
    how many there are of other classes is for the user to say.

    Args:
        hcm_n: Size of the primary group, the label among it.
        temperature: ``T``, above 0.
        alpha: Weight of the split into groups.
        beta: Weight of the primary group.
        lambda_: Weight of the secondary group.
        select: Whose logits choose the primary group: ``'student'``, as the published training does, or ``'teacher'``.
        warmup: Epochs over which the pair loss grows linearly to its full weight.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> GKD(hcm_n=10).temperature
        4.0
    """

    has_temperature = True

    def __init__(
        self,
        hcm_n: int,
        temperature: float = 4.0,
        alpha: float = 1.0,
        beta: float = 8.0,
        lambda_: float = 0.0,
        select: str = 'student',
        warmup: int = 10,
        ce_weight: float = 1.0,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, warmup=warmup, **options)
        require_positive(self, temperature=temperature)
        require_count(self, hcm_n=hcm_n)
        require_nonnegative(self, alpha=alpha, beta=beta, lambda_=lambda_)
        require_choice(self, select=(select, ('student', 'teacher')))
        self.temperature = temperature
        self.alpha, self.beta, self.lambda_, self.hcm_n, self.select = alpha, beta, lambda_, hcm_n, select

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return gkd_loss(
            student.logits,
            teacher.logits,
            target,
            temperature=temperature,
            alpha=self.alpha,
            beta=self.beta,
            lambda_=self.lambda_,
            hcm_n=self.hcm_n,
            select=self.select,
        )
