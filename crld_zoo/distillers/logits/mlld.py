"""Multi-level logit distillation (Jin et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, Predictions, require_choice, require_positive
from ..functional import full_precision, kl_divergence, per_row, soft_target

FURTHER_TEMPERATURES = (3.0, 5.0, 2.0, 6.0)
"""Those of the published code, beside the one that a user chooses; their order matters to ``variant='reference'``."""


Transform = Callable[[Tensor], Tensor]


class Levels(NamedTuple):
    """The three levels, one row a temperature, before any mean.

    Attributes:
        instance: ``T^2 KL(p_t || p_s)``, ``(n, N)``.
        batch: A row's squared distance between the Gram matrices ``p p^T``, ``(n, N)``.
        classes: A row's squared distance between the Gram matrices ``p^T p``, ``(n, K)``.
    """

    instance: Tensor
    batch: Tensor
    classes: Tensor


@soft_target
def multi_level(
    logits_s: Tensor, logits_t: Tensor, temperatures: Sequence[float | Tensor], instance: Transform | None = None
) -> Levels:
    """All levels at all temperatures at once: a loop would launch several hundred small kernels."""

    def softened(logits: Tensor) -> Tensor:
        return torch.stack([logits / per_row(t) for t in temperatures]).log_softmax(-1)

    log_s, log_t = softened(logits_s), softened(logits_t)
    of_instance = (log_t, log_s) if instance is None else (softened(instance(logits_t)), softened(instance(logits_s)))
    kl = kl_divergence(*of_instance)
    p_s, p_t = log_s.exp(), log_t.exp()
    return Levels(
        instance=torch.stack([t**2 * row for t, row in zip(temperatures, kl.unbind(), strict=True)]),
        batch=(p_s @ p_s.mT - p_t @ p_t.mT).square().sum(-1),
        classes=_class_rows(p_s, p_t),
    )


def _class_rows(p_s: Tensor, p_t: Tensor) -> Tensor:
    """Each row's squared distance between the ``K x K`` Gram matrices ``p^T p`` of ``(n, N, K)``: ``(n, K)``.

    With many more classes than samples it is computed by ``N x N`` products alone. ``D = (M^T E + E^T M) / 2`` with
    ``M = p_s + p_t`` and ``E = p_s - p_t``, so nothing of the size of ``p^T p`` cancels where both networks agree.
    """
    n, k = p_s.shape[-2:]
    if k <= 3 * n:  # three N x N products of N K terms each, and as many back, against two K x K ones
        return (p_s.mT @ p_s - p_t.mT @ p_t).square().sum(-1)
    total, error = p_s + p_t, p_s - p_t
    mixed = error @ total.mT
    rows = total * (error @ error.mT @ total + 2 * mixed @ error) + error * (total @ total.mT @ error)
    return rows.sum(-2) / 4


@soft_target
def mlld_loss(
    logits_s: Tensor, logits_t: Tensor, *, temperatures: Sequence[float | Tensor], instance: Transform | None = None
) -> Tensor:
    """Instance, batch and class level of one pair of predictions, summed over the temperatures.

    Instance: ``T^2 KL(p_t || p_s)``. Batch: squared difference of the ``N x N`` Gram matrices, summed, over ``N``.
    Class: the same with the ``K x K`` Gram matrices, over ``K``. The last two belong to the batch as a whole and are
    added to every sample, so that a mask scales them by the share of samples that it keeps.

    Args:
        logits_s: Student logits ``(N, K)``.
        logits_t: Teacher logits ``(N, K)``; a constant.
        temperatures: Each above 0: a number, or a tensor ``()`` or ``(N,)`` with gradient.
        instance: Changes both logits for the instance level alone, as logit standardization does.

    Returns:
        The loss of each sample, ``(N,)``.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[1., 2., 4.], [3., 1., 0.]])
        >>> mlld_loss(logits, logits, temperatures=(2.0, 4.0)).abs() < 1e-6
        tensor([True, True])
    """
    levels = multi_level(logits_s, logits_t, temperatures, instance)
    return levels.instance.sum(0) + levels.batch.sum(0).mean() + levels.classes.sum(0).mean()


@full_precision
def least_confident(logits_t: Tensor) -> tuple[Tensor, Tensor]:
    """Masks ``(N,)`` of the samples and ``(K,)`` of the classes that the teacher is at most median sure of.

    Example:
        >>> import torch
        >>> least_confident(torch.tensor([[1., 2.], [0., 9.], [0., 0.]]))
        (tensor([1., 0., 1.]), tensor([1., 0.]))
    """
    probabilities = logits_t.detach().softmax(1)
    of_sample, of_class = probabilities.amax(1), probabilities.sum(0)
    return (
        (of_sample <= of_sample.quantile(0.5)).to(logits_t.dtype),
        (of_class <= of_class.quantile(0.5)).to(logits_t.dtype),
    )


@DISTILLERS.register_module()
class MLLD(PairDistiller):
    """Instance, batch and class level at five temperatures, on both views (Jin et al., CVPR 2023).

    By itself it trains on both views and, on the weak one, leaves out samples and classes that the teacher is more
    than median sure of. Under a decorator that pairs views itself, such as CRLD, it is the loss of one pair, and
    ``variant`` does not matter.

    ``variant='reference'`` computes what the published code does: the mask scales averaged losses, two strong instance
    terms read the weak logits, the strong view has no batch and class term. ``variant='paper'`` masks each sample and
    class, and gives each view its own logits and all three levels.

    The defaults are those of CIFAR-100; ImageNet recipes use ``temperature=1, ce_weight=0.5, kd_weight=0.5``.

    Args:
        temperature: The first temperature, above 0; 3, 5, 2 and 6 come with it.
        variant: ``'reference'`` or ``'paper'``.
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of every level.
        **options: Those of :class:`~crld_zoo.distillers.PairDistiller`.

    Example:
        >>> MLLD().views
        ('weak', 'strong')
    """

    views = ('weak', 'strong')
    per_sample = False
    has_temperature = True

    temperature: float

    def __init__(
        self,
        temperature: float = 4.0,
        variant: str = 'reference',
        ce_weight: float = 0.1,
        kd_weight: float = 0.9,
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        require_choice(self, variant=(variant, ('reference', 'paper')))
        self.temperature = temperature
        self.variant = variant

    def pair_loss(
        self,
        student: Prediction,
        teacher: Prediction,
        target: Tensor,
        *,
        temperature: float | Tensor,
        instance: Transform | None = None,
    ) -> Tensor:
        temperatures = (temperature, *FURTHER_TEMPERATURES)
        return mlld_loss(student.logits, teacher.logits, temperatures=temperatures, instance=instance)

    def distill(
        self, student: Predictions, teacher: Predictions, target: Tensor, *, instance: Transform | None = None
    ) -> dict[str, Tensor]:
        temperatures = (self.temperature, *FURTHER_TEMPERATURES)
        weak, strong = (
            multi_level(student[view].logits, teacher[view].logits, temperatures, instance)
            for view in ('weak', 'strong')
        )
        of_sample, of_class = least_confident(teacher['weak'].logits)
        terms = self._reference if self.variant == 'reference' else self._paper
        return {
            name: self.kd_weight * self.scheduled(loss)
            for name, loss in terms(weak, strong, of_sample, of_class).items()
        }

    @staticmethod
    def _reference(weak: Levels, strong: Levels, of_sample: Tensor, of_class: Tensor) -> dict[str, Tensor]:
        instance_weak, instance_strong = weak.instance.mean(1), strong.instance.mean(1)
        return dict(
            loss_kd=of_sample.mean() * instance_weak.sum() + instance_strong[:3].sum() + instance_weak[3:].sum(),
            loss_cc=of_class.mean() * weak.classes.sum(0).mean(),
            loss_bc=of_sample.mean() * weak.batch.sum(0).mean(),
        )

    @staticmethod
    def _paper(weak: Levels, strong: Levels, of_sample: Tensor, of_class: Tensor) -> dict[str, Tensor]:
        return dict(
            loss_kd=(of_sample * weak.instance.sum(0) + strong.instance.sum(0)).mean(),
            loss_cc=(of_class * weak.classes.sum(0) + strong.classes.sum(0)).mean(),
            loss_bc=(of_sample * weak.batch.sum(0) + strong.batch.sum(0)).mean(),
        )
