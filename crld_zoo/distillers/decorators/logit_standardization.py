"""Logit standardization (Sun et al., CVPR 2024, arXiv 2403.01427)."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, PairDecorator, Prediction, Predictions, require_choice
from ..functional import standardize
from ..logits.mlld import MLLD


@DISTILLERS.register_module()
class LogitStandardization(PairDecorator):
    """A decorator: any pair loss of logits, on logits of mean 0 and variance 1 (Sun et al., CVPR 2024).

    The labels' cross-entropy keeps the raw logits. Nothing else of the decorated distiller changes: its weights,
    views, temperature and schedule remain.

    Args:
        distiller: Config of the distiller to decorate, or the distiller. With KD the paper uses
            ``temperature=2, ce_weight=0.1, kd_weight=9``.
        level: ``'all'`` standardizes all that the distiller computes from logits; ``'instance'``, for MLLD alone, its
            instance level only, as the published code does.

    Example:
        >>> from crld_zoo.distillers import KD
        >>> LogitStandardization(KD(temperature=2.0, kd_weight=9.0)).kd_weight
        9.0
    """

    def __init__(self, distiller: dict | Distiller, level: str = 'all') -> None:
        super().__init__(distiller)
        require_choice(self, level=(level, ('all', 'instance')))
        if level == 'instance' and not isinstance(self.distiller, MLLD):
            raise InputError(
                f'LogitStandardization: {type(self.distiller).__name__} has no instance level apart from others, as '
                "MLLD has: leave level='instance' out."
            )
        self.level = level
        self.views = self.distiller.views

    @property
    def student_views(self) -> tuple[str, ...]:
        return self.distiller.student_views

    @property
    def teacher_views(self) -> tuple[str, ...]:
        return self.distiller.teacher_views

    def transform(self, student: Predictions, teacher: Predictions) -> tuple[Predictions, Predictions]:
        if self.level == 'instance':
            return student, teacher
        return _all_standardized(student), _all_standardized(teacher)

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor | None = None
    ) -> Tensor:
        self.warn_of_two_classes(teacher.logits)
        if isinstance(self.distiller, MLLD) and self.level == 'instance':
            temperature = self.distiller.temperature if temperature is None else temperature
            return self.distiller.scheduled(
                self.distiller.pair_loss(student, teacher, target, temperature=temperature, instance=standardize)
            )
        return self.distiller.pair(_standardized(student), _standardized(teacher), target, temperature=temperature)

    def distill(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        self.warn_of_two_classes(teacher[self.teacher_views[0]].logits)
        if isinstance(self.distiller, MLLD) and self.level == 'instance':
            return self.distiller.distill(student, teacher, target, instance=standardize)
        return self.distiller.distill(*self.transform(student, teacher), target)


def _standardized(prediction: Prediction) -> Prediction:
    return prediction._replace(logits=standardize(prediction.logits))


def _all_standardized(predictions: Predictions) -> Predictions:
    return {view: _standardized(prediction) for view, prediction in predictions.items()}
