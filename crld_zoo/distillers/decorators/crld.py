"""CRLD: consistency between a weak and a strong view (Zhang et al., ACM MM 2024, arXiv 2412.16493)."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import (
    Decorator,
    Distiller,
    Prediction,
    Predictions,
    require_choice,
    require_nonnegative,
    require_share,
)
from ..functional import full_precision


@full_precision
def confident(logits_t: Tensor, threshold: float) -> Tensor:
    """``max softmax(z_t) >= threshold`` as 0 or 1, ``(N,)``, at temperature 1.

    Example:
        >>> import torch
        >>> confident(torch.tensor([[0., 9.], [0., 1.]]), 0.9)
        tensor([1., 0.])
    """
    return (logits_t.detach().softmax(1).amax(1) >= threshold).to(logits_t.dtype)


@DISTILLERS.register_module()
class CRLD(Decorator):
    """A decorator: any pair loss within and across a weak and a strong view, gated by the teacher's confidence.

    With the pair loss ``d``, the views ``w`` and ``s`` and the masks ``m = [max softmax(z_t) >= tau]``::

        loss_ce = ce_weight (CE(z_s^w, y) + CE(z_s^s, y))
        loss_wv = wv_weight mean(m_w (d(z_s^w, z_t^w, y) + d(z_s^s, z_t^s, y)))
        loss_cv = cv_weight mean(m_s (d(z_s^s, z_t^w, y) + d(z_s^w, z_t^s, y)))

    The mean divides by the batch size, not by the number kept. The decorated distiller gives its pair loss and its
    schedule; its own cross-entropy and weights do not apply. ``keep_weak`` and ``keep_strong`` are the shares kept.

    The defaults are those of CIFAR-100 (Zhang et al., ACM MM 2024).

    Args:
        distiller: Config of the distiller to decorate, or the distiller.
        ce_weight: Weight of the cross-entropy with the labels.
        wv_weight: Weight of the within-view terms.
        cv_weight: Weight of the cross-view terms.
        tau_w: Confidence, 0 to 1, from which the teacher's weak view counts.
        tau_s: Confidence, 0 to 1, from which the teacher's strong view counts.
        mask_by: ``'term'`` gates the within-view terms by the weak mask and the cross-view terms by the strong one, as
            the published code does; ``'target_view'`` gates each term by the teacher's view that is its target.
        **options: Those of :class:`~crld_zoo.distillers.Distiller`.

    Example:
        >>> import torch
        >>> from crld_zoo.distillers import DKD, Prediction
        >>> distiller = CRLD(DKD(warmup=0), tau_w=0.8)
        >>> views = {view: Prediction(torch.randn(4, 10)) for view in distiller.views}
        >>> sorted(distiller(views, views, torch.tensor([0, 1, 2, 3])))
        ['keep_strong', 'keep_weak', 'loss_ce', 'loss_cv', 'loss_wv']
    """

    views = ('weak', 'strong')

    def __init__(
        self,
        distiller: dict | Distiller,
        ce_weight: float = 1.0,
        wv_weight: float = 2.0,
        cv_weight: float = 0.5,
        tau_w: float = 0.9,
        tau_s: float = 0.2,
        mask_by: str = 'term',
        **options,
    ) -> None:
        super().__init__(distiller, ce_weight=ce_weight, **options)
        require_nonnegative(self, wv_weight=wv_weight, cv_weight=cv_weight)
        require_share(self, tau_w=tau_w, tau_s=tau_s)
        require_choice(self, mask_by=(mask_by, ('term', 'target_view')))
        self.wv_weight = wv_weight
        self.cv_weight = cv_weight
        self.tau_w = tau_w
        self.tau_s = tau_s
        self.mask_by = mask_by

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        weak, strong = confident(teacher['weak'].logits, self.tau_w), confident(teacher['strong'].logits, self.tau_s)
        d_ww, d_ss, d_sw, d_ws = self._pair_losses(student, teacher, target)
        if self.mask_by == 'term':
            within, across = weak * (d_ww + d_ss), strong * (d_sw + d_ws)
        else:
            within, across = weak * d_ww + strong * d_ss, weak * d_sw + strong * d_ws
        return dict(
            loss_ce=self.label_loss(student, target),
            loss_wv=self.wv_weight * within.mean(),
            loss_cv=self.cv_weight * across.mean(),
            keep_weak=weak.mean(),
            keep_strong=strong.mean(),
        )

    def _pair_losses(self, student: Predictions, teacher: Predictions, target: Tensor) -> tuple[Tensor, ...]:
        """``d`` of the pairs (student view, teacher view): weak-weak, strong-strong, strong-weak, weak-strong."""
        pairs = [
            (student[s], teacher[t])
            for s, t in (('weak', 'weak'), ('strong', 'strong'), ('strong', 'weak'), ('weak', 'strong'))
        ]
        if not self.per_sample or self.needs_images:  # stacked images are not those that the logits were made of
            return tuple(self.distiller.pair(s, t, target) for s, t in pairs)
        students, teachers = zip(*pairs, strict=True)
        # One call on four times the batch: as many kernels as one pair has.
        return self.distiller.pair(_stack(students), _stack(teachers), torch.cat([target] * 4)).chunk(4)


def _stack(predictions: tuple[Prediction, ...]) -> Prediction:
    samples = [p.samples for p in predictions if p.samples is not None]
    # Autocast only stacks its own type and fp32; a teacher may be of another.
    with torch.autocast(predictions[0].logits.device.type, enabled=False):
        return Prediction(
            logits=torch.cat([p.logits for p in predictions]),
            features={tap: torch.cat([p.features[tap] for p in predictions]) for tap in predictions[0].features},
            samples=torch.cat(samples) if samples else None,
        )
