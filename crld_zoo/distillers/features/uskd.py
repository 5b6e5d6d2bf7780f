"""Universal self-knowledge distillation (Yang et al., ICCV 2023, arXiv 2303.13005)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Networks, Prediction, Predictions, require_choice, require_nonnegative
from ..functional import full_precision, labeled_mean, labels_and_shares, log_softmax_among, ranks

VARIANTS = ('reference', 'paper')


@full_precision
def uskd_loss(
    logits_s: Tensor, logits_w: Tensor, target: Tensor, *, alpha: float, beta: float, mu: float, variant: str
) -> Tensor:
    """Soft labels of the student's own making for the target and for the other classes, and a weak head's labels.

    ``-alpha v log s_y - beta sum_(k != y) z_k log q_k + mu CE(w, 0.9 y + 0.1 / K)`` with the probabilities ``s`` of the
    student, ``w`` of the weak head and ``q`` of the student among the other classes:

    - ``v = s_y^2 + 1 - mean(s_y^2)``, the mean over the batch;
    - ``z`` follows Zipf's law: ``1 / rank`` among all classes, normalized over the other ones. The first is the class
      of the largest ``w / (1 - w_y + 1e-6) + s / (1 - s_y + 1e-6)``.

    No gradient reaches ``v`` and ``z``. Mixed labels (Mixup, CutMix) give a target term for each of a sample's two
    labels, with its share in place of 1; both have no part among the other classes. A sample without a label
    (class -1) has the loss 0 and no part in the mean.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_w: Logits of the weak head, ``(N, K)``.
        target: Class indices ``(N,)``, or class probabilities ``(N, K)`` with at most two above 0 in a row.
        alpha: Weight of the target term.
        beta: Weight of the other classes.
        mu: Weight of the weak head's labels.
        variant: ``'reference'`` ranks by ``log s`` in place of ``s``, as the published code does; ``'paper'`` by ``s``.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> logits, target = torch.tensor([[0., 0., 0.]]), torch.tensor([0])
        >>> uskd_loss(logits, logits, target, alpha=1, beta=0, mu=0, variant='paper').round(decimals=3)  # v = 1
        tensor([1.0990])
    """
    label, share = labels_and_shares(target, logits_s.dtype)
    counts = share > 0
    log_s, log_w = logits_s.log_softmax(1), logits_w.log_softmax(1)
    at_label = log_s.gather(1, label)
    square = at_label.detach().exp().square()
    soft = (square + share - (square * counts).sum(0) / counts.sum(0).clamp(min=1)) * counts
    of_target = -(soft * at_label).sum(1)

    with torch.no_grad():

        def scaled(values: Tensor) -> Tensor:
            return values / (1 - (values.gather(1, label) * counts).sum(1, keepdim=True) + 1e-6)

        scores = scaled(log_w.exp()) + scaled(log_s if variant == 'reference' else log_s.exp())
        others = torch.ones_like(log_s, dtype=torch.bool).scatter(1, label, ~counts)
        zipf = others / (ranks(scores) + 1).to(log_s.dtype)
        zipf = zipf / zipf.sum(1, keepdim=True).clamp(min=1e-12)
    of_others = -(zipf * log_softmax_among(logits_s, others)).sum(1)

    smooth = torch.full_like(log_w, 0.1 / log_w.shape[1]).scatter_add(1, label, 0.9 * share)
    of_weak = -(smooth * log_w).sum(1)
    return (alpha * of_target + beta * of_others + mu * of_weak) * counts.any(1)


@DISTILLERS.register_module()
class USKD(Distiller):
    """No teacher: soft labels from the student and from a weak head on a feature in its middle (Yang et al., 2023).

    The weak head, a linear layer on the feature's mean over the positions, is trained with the student and not part of
    it. Of a transformer's tokens it sees the class token or, where there is none, their mean, as the published code
    does. The weights are those of ImageNet.

    Args:
        tap: The feature of the weak head; in the published code the end of the last stage but one.
        alpha: Weight of the target's soft label.
        beta: Weight of the soft labels of the other classes.
        mu: Weight of the weak head's labels, which are smoothed by 0.1.
        variant: ``'reference'`` ranks the other classes as the published code does, ``'paper'`` as the paper says; see
            :func:`uskd_loss`.
        ce_weight: Weight of the cross-entropy with the labels.
        **options: Those of :class:`~crld_zoo.distillers.Distiller`.

    Raises:
        InputError: The student has one class.

    Example:
        >>> USKD(tap='stage2').student_taps
        ('stage2',)
    """

    needs_teacher = False
    per_sample = False  # the batch's mean is part of each soft label

    def __init__(
        self,
        tap: str = 'stage3',
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        variant: str = 'reference',
        ce_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, **options)
        require_nonnegative(self, alpha=alpha, beta=beta, mu=mu)
        require_choice(self, variant=(variant, VARIANTS))
        self.taps = (tap,)
        self.alpha, self.beta, self.mu, self.variant = alpha, beta, mu, variant
        self.register_module('head', None)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        classes = student['weak'].logits.shape[1]
        if classes < 2:
            raise InputError('USKD ranks classes, but the student has one output: give it num_classes=2 or more.')
        self.head = nn.Linear(self._middle(student['weak']).shape[1], classes)

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        if self.head is None:
            raise InputError(
                'USKD has a weak head whose size depends on the student: call distiller.setup(student, {}, networks) '
                'with predictions of a probe batch, before the optimizer is made.'
            )
        prediction = student['weak']
        loss = uskd_loss(
            prediction.logits,
            self.head(self._middle(prediction)),
            target,
            alpha=self.alpha,
            beta=self.beta,
            mu=self.mu,
            variant=self.variant,
        )
        return dict(loss_ce=self.label_loss(student, target), loss_kd=labeled_mean(loss, target))

    def _middle(self, prediction: Prediction) -> Tensor:
        """The tapped feature of each sample as a vector ``(N, C)``."""
        feature = prediction.features[self.taps[0]]
        if feature.dim() == 3:  # tokens; a square number of them and one more: a class token comes first
            has_class = math.isqrt(feature.shape[1] - 1) ** 2 == feature.shape[1] - 1
            return feature[:, 0] if has_class else feature.mean(1)
        return feature.mean((2, 3)) if feature.dim() == 4 else feature
