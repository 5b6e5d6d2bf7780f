"""Several distillers at once."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Networks, PairDistiller, Prediction, Predictions, Progress, TrainingData, check_held


def _union(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in names for name in each))


@DISTILLERS.register_module()
class Sum(PairDistiller):
    """The sum of several pair distillers, which decorators take as one.

    Each keeps its own ``kd_weight``, warm-up and views; there is one cross-entropy, with the options given here. The
    terms are named by their methods: ``loss_kd`` and ``loss_crd``, say; the second of a name is ``loss_kd_2``.

    Args:
        distillers: Configs of the pair distillers, or the distillers.
        ce_weight: Weight of the cross-entropy with the labels; those of the held distillers do not count.
        label_smoothing: Share of the labels' mass that is spread evenly over all classes.
        class_weight: A weight for each class of the cross-entropy.
        bce: Whether it is the binary one, see :class:`~crld_zoo.distillers.Distiller`.
        bce_threshold: What mixed labels must exceed there to count as 1.

    Raises:
        InputError: There are none, or one is no pair distiller.

    Example:
        >>> [type(each).__name__ for each in Sum([dict(type='KD'), dict(type='DKD')]).distillers]
        ['KD', 'DKD']
    """

    needs_logits = False

    def __init__(
        self,
        distillers: Sequence[dict | PairDistiller],
        ce_weight: float = 1.0,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        bce: bool = False,
        bce_threshold: float | None = None,
    ) -> None:
        held = [check_held(self, DISTILLERS.build(each) if isinstance(each, dict) else each) for each in distillers]
        if not held:
            raise InputError('Sum(distillers=[…]) takes at least one distiller.')
        super().__init__(
            ce_weight=ce_weight,
            kd_weight=1.0,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            bce=bce,
            bce_threshold=bce_threshold,
            unlabeled='refuse' if any(each.unlabeled == 'refuse' for each in held) else 'teacher',
        )
        self.distillers = cast(Sequence[PairDistiller], nn.ModuleList(held))
        self.views = _union(each.views for each in held)
        self.label_views = _union(each.label_views or each.student_views for each in held)
        self.needs_images = any(each.needs_images for each in held)
        self.reads_logits = all(each.reads_logits for each in held)
        self.per_sample = all(each.per_sample for each in held)
        self.needs_two = any(each.needs_two for each in held)
        self.fixed_teacher = any(each.fixed_teacher for each in held)
        self.has_temperature = any(each.has_temperature for each in held)
        self.temperature = None  # those of the held distillers
        seen: Counter[str] = Counter()
        self.names = []
        for each in held:
            name = type(each).__name__.lower()
            seen[name] += 1
            self.names.append(name if seen[name] == 1 else f'{name}_{seen[name]}')

    @property
    def student_views(self) -> tuple[str, ...]:
        return _union(each.student_views for each in self.distillers)

    @property
    def teacher_views(self) -> tuple[str, ...]:
        return _union(each.teacher_views for each in self.distillers)

    @property
    def student_taps(self) -> tuple[str, ...]:
        return _union(each.student_taps for each in self.distillers)

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        return _union(each.teacher_taps for each in self.distillers)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        for each in self.distillers:
            each.setup(student, teacher, networks)

    def connect(self, data: TrainingData) -> None:
        for each in self.distillers:
            each.connect(data)

    def begin(self, progress: Progress) -> None:
        for each in self.distillers:
            each.begin(progress)

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        for each in self.distillers:
            each.observe(student, teacher, target)

    def overrides(self, method: str) -> bool:
        return any(each.overrides(method) for each in self.distillers)

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor | None = None
    ) -> Tensor:
        losses = (
            each.kd_weight * each.pair(student, teacher, target, temperature=temperature) for each in self.distillers
        )
        return functools.reduce(torch.add, losses)

    def distill(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        return {
            f'loss_{name}' if term == 'loss_kd' else f'{term}_{name}': loss
            for name, each in zip(self.names, self.distillers, strict=True)
            for term, loss in each.distill(student, teacher, target).items()
        }
