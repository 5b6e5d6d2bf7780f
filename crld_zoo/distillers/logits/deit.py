"""DeiT's distillation token (Touvron et al., ICML 2021, arXiv 2012.12877)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_choice, require_positive
from ..functional import soft_target
from .kd import kd_loss


@soft_target
def deit_loss(logits_s: Tensor, logits_t: Tensor, *, kind: str, temperature: float) -> Tensor:
    """The teacher's word as a label, ``CE(z_s, argmax z_t)`` (hard), or ``T^2 KL(p_t || p_s)`` at ``T`` (soft).

    Args:
        logits_s: Logits of the student's distillation head ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant, no gradient reaches them.
        kind: ``'hard'`` or ``'soft'``.
        temperature: ``T``, above 0; only the soft one has it.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> deit_loss(torch.zeros(1, 2), torch.tensor([[1., 2.]]), kind='hard', temperature=1.0).exp()
        tensor([2.])
    """
    if kind == 'soft':
        return kd_loss(logits_s, logits_t, temperature=temperature)
    return F.cross_entropy(logits_s, logits_t.argmax(1), reduction='none')


@DISTILLERS.register_module()
class DeiT(PairDistiller):
    """A student of two heads: that of the class token learns from the labels, the other from the teacher (ICML 2021).

    ``ce_weight CE(z_class, y) + kd_weight deit_loss(z_dist, z_t)``. The student is one whose logits are the mean of two
    linear layers, as it is tested: timm's ``deit_*_distilled_*``, mmpretrain's ``DistilledVisionTransformer`` with a
    ``DeiTClsHead``. Their mean itself has no part in the loss; in a :class:`~crld_zoo.distillers.Sum` it is what the
    labels judge.

    The defaults are the paper's of hard distillation; its soft one is ``kind='soft', ce_weight=0.9, kd_weight=0.1``.
    There the published code (facebookresearch/deit) divides by the number of classes besides, which the paper does not:
    ``kd_weight=0.1 / K`` is what it does.

    Args:
        kind: ``'hard'`` takes the class that the teacher is surest of, ``'soft'`` its probabilities.
        temperature: ``T`` of the soft one, above 0.
        ce_weight: Weight of the cross-entropy of the class head with the labels.
        kd_weight: Weight of the distillation head's loss.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Raises:
        InputError: The student has no second head.

    Example:
        >>> DeiT().student_taps
        ('class_head', 'dist_head')
    """

    reads_logits = False  # the student's are the mean of the two that it reads

    def __init__(
        self,
        kind: str = 'hard',
        temperature: float = 3.0,
        ce_weight: float = 0.5,
        kd_weight: float = 0.5,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_choice(self, kind=(kind, ('hard', 'soft')))
        require_positive(self, temperature=temperature)
        self.kind = kind
        self.temperature = temperature

    @property
    def student_taps(self) -> tuple[str, ...]:
        return ('class_head', 'dist_head')

    def label_logits(self, student: Prediction) -> Tensor:
        return student.features['class_head']

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        own = student.features['dist_head']
        return deit_loss(own, teacher.logits, kind=self.kind, temperature=self.temperature)
