"""CRLD: consistency between a weak and a strong view (Zhang et al., ACM MM 2024, arXiv 2412.16493)."""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, Prediction, build_pair_distiller, require_nonnegative
from ..functional import full_precision


@full_precision
def confident(logits_t: Tensor, threshold: float) -> Tensor:
    """``max softmax(z_t) >= threshold`` as 0 or 1, ``(N,)``, at temperature 1."""
    return (logits_t.detach().softmax(1).amax(1) >= threshold).to(logits_t.dtype)


@DISTILLERS.register_module()
class CRLD(Distiller):
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
    ) -> None:
        super().__init__()
        self.distiller = build_pair_distiller(distiller, decorator='CRLD')
        self.needs_features = self.distiller.needs_features
        require_nonnegative(self, ce_weight=ce_weight, wv_weight=wv_weight, cv_weight=cv_weight)
        for name, tau in dict(tau_w=tau_w, tau_s=tau_s).items():
            if not (isinstance(tau, Real) and 0 <= tau <= 1):
                raise InputError(f'CRLD: {name} is a confidence and must lie between 0 and 1, not {tau!r}.')
        if mask_by not in ('term', 'target_view'):
            raise InputError(f"CRLD: mask_by must be 'term' or 'target_view', not {mask_by!r}.")
        self.ce_weight = ce_weight
        self.wv_weight = wv_weight
        self.cv_weight = cv_weight
        self.tau_w = tau_w
        self.tau_s = tau_s
        self.mask_by = mask_by

    def forward(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> dict[str, Tensor]:
        weak, strong = confident(teacher['weak'].logits, self.tau_w), confident(teacher['strong'].logits, self.tau_s)
        d_ww, d_ss, d_sw, d_ws = self._pair_losses(student, teacher, target)
        if self.mask_by == 'term':
            within, across = weak * (d_ww + d_ss), strong * (d_sw + d_ws)
        else:
            within, across = weak * d_ww + strong * d_ss, weak * d_sw + strong * d_ws
        return dict(
            loss_ce=self.ce_weight * self.label_loss(student, target),
            loss_wv=self.wv_weight * within.mean(),
            loss_cv=self.cv_weight * across.mean(),
            keep_weak=weak.mean(),
            keep_strong=strong.mean(),
        )

    def _pair_losses(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> tuple[Tensor, ...]:
        """``d`` of the pairs (student view, teacher view): weak-weak, strong-strong, strong-weak, weak-strong."""
        pairs = [
            (student[s], teacher[t])
            for s, t in (('weak', 'weak'), ('strong', 'strong'), ('strong', 'weak'), ('weak', 'strong'))
        ]
        if not self.distiller.per_sample:
            return tuple(self._pair_loss(s, t, target) for s, t in pairs)
        students, teachers = zip(*pairs, strict=True)
        # One call on four times the batch: as many kernels as one pair has.
        return self._pair_loss(_stack(students), _stack(teachers), torch.cat([target] * 4)).chunk(4)

    def _pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        loss = self.distiller.pair_loss(student, teacher, target)
        if loss.shape != target.shape[:1]:  # what is averaged already cannot be masked, and would broadcast unnoticed
            raise InputError(
                f'CRLD: {type(self.distiller).__name__}.pair_loss must return one value a sample, shape '
                f'({len(target)},), but its shape is {tuple(loss.shape)}.'
            )
        return loss


def _stack(predictions: tuple[Prediction, ...]) -> Prediction:
    # Autocast only stacks its own type and fp32; a teacher may be of another.
    with torch.autocast(predictions[0].logits.device.type, enabled=False):
        return Prediction(
            torch.cat([p.logits for p in predictions]),
            tuple(map(torch.cat, zip(*(p.features for p in predictions), strict=True))),
        )
