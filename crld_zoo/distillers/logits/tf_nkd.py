"""Teacher-free NKD (Yang et al., arXiv 2208.10139 v1)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Predictions, require_nonnegative
from ..functional import full_precision, labeled_mean, labels_and_shares


@full_precision
def tf_nkd_loss(logits_s: Tensor, target: Tensor) -> Tensor:
    """``-w log p_s[y]`` with ``w = p_s[y] + 1 - mean(p_s[y])``, the mean over the batch; no gradient through ``w``.

    Mixed labels (Mixup, CutMix) give one such term for each of a sample's two labels, with ``v_i``, the share of the
    label, in place of 1, and none where ``v_i`` is 0; the mean is over the labels with a share. A sample without a
    label (class -1) has the loss 0 and no part in the mean.

    Args:
        logits_s: Student logits ``(N, K)``.
        target: Class indices ``(N,)``, or class probabilities ``(N, K)`` with at most two above 0 in a row.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[1., 2., 4.]]), torch.tensor([0])
        >>> tf_nkd_loss(logits, target).round(decimals=3)  # the batch's mean is its own: w = 1
        tensor([3.1700])
    """
    label, share = labels_and_shares(target, logits_s.dtype)
    counts = share > 0
    log_p = logits_s.log_softmax(1).gather(1, label)
    p = log_p.detach().exp()
    mean = (p * counts).sum(0) / counts.sum(0).clamp(min=1)
    return -((p + share - mean) * counts * log_p).sum(1)


@DISTILLERS.register_module()
class TfNKD(Distiller):
    """No teacher: the student's own probability of the target as its soft label (Yang et al., 2208.10139 v1).

    Args:
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the teacher-free term.
        **options: Those of :class:`~crld_zoo.distillers.Distiller`.

    Example:
        >>> TfNKD().needs_teacher
        False
    """

    needs_teacher = False
    per_sample = False  # the batch's mean probability is part of each weight

    def __init__(self, ce_weight: float = 1.0, kd_weight: float = 1.0, **options) -> None:
        super().__init__(ce_weight=ce_weight, **options)
        require_nonnegative(self, kd_weight=kd_weight)
        self.kd_weight = kd_weight

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        loss = labeled_mean(tf_nkd_loss(student['weak'].logits, target), target)
        return dict(loss_ce=self.label_loss(student, target), loss_kd=self.kd_weight * loss)
