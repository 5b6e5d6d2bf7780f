"""What a distiller is: predictions of both networks in, a dict of losses out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from numbers import Real
from typing import NamedTuple

from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .functional import cross_entropy


class Prediction(NamedTuple):
    """What a network says about one view of a batch.

    Attributes:
        logits: Class scores before the softmax, ``(N, K)``.
        features: The backbone's feature maps, for distillers with ``needs_features``; empty otherwise.
    """

    logits: Tensor
    features: tuple[Tensor, ...] = ()


class Distiller(nn.Module, ABC):
    """Maps per-view predictions of the student and the teacher to losses.

    A subclass says what it needs in class attributes. Its own learnable parts are ordinary parameters and are trained
    with the student.

    Attributes:
        views: Names of the views that the networks run on.
        needs_teacher: Whether the teacher runs at all; ``teacher`` is an empty dict otherwise.
        needs_features: Whether predictions carry features.
    """

    views: tuple[str, ...] = ('weak',)
    needs_teacher: bool = True
    needs_features: bool = False

    def __init__(self) -> None:  # nn.Module's takes any keyword, so a wrong option would pass for a right one
        super().__init__()

    @abstractmethod
    def forward(self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor) -> dict:
        """Compute the losses of a batch.

        Args:
            student: The student's prediction of each view.
            teacher: The teacher's prediction of each view.
            target: Class indices ``(N,)``; where a method allows it, class probabilities ``(N, K)``.

        Returns:
            Scalars by name. MMEngine sums every one whose name contains ``loss``; the others are logged.
        """

    def label_loss(self, student: dict[str, Prediction], target: Tensor) -> Tensor:
        """Cross-entropy with the labels, summed over the views, averaged over the batch."""
        return sum(cross_entropy(student[view].logits, target).mean() for view in self.views)


class PairDistiller(Distiller):
    """A distiller defined by a loss between one student and one teacher prediction; decorators take any of these.

    Args:
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.

    Attributes:
        per_sample: Whether a sample's loss depends on that sample alone. Then a batch may be split or stacked.
    """

    per_sample: bool = True

    def __init__(self, *, ce_weight: float, kd_weight: float) -> None:
        super().__init__()
        require_nonnegative(self, ce_weight=ce_weight, kd_weight=kd_weight)
        self.ce_weight = ce_weight
        self.kd_weight = kd_weight

    @abstractmethod
    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        """The loss of each sample, ``(N,)``: unweighted, with the method's own schedule applied."""

    def distill(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> dict[str, Tensor]:
        """The weighted terms that come from the teacher; a method of several views or terms overrides this."""
        return dict(loss_kd=self.kd_weight * self.pair_loss(student['weak'], teacher['weak'], target).mean())

    def forward(
        self, student: dict[str, Prediction], teacher: dict[str, Prediction], target: Tensor
    ) -> dict[str, Tensor]:
        return dict(loss_ce=self.ce_weight * self.label_loss(student, target), **self.distill(student, teacher, target))


def build_pair_distiller(distiller: dict | Distiller, decorator: str) -> PairDistiller:
    """Build what a decorator holds and check that it can be decorated.

    Raises:
        InputError: It is no :class:`PairDistiller`: there is no loss between two predictions to decorate.
    """
    if isinstance(distiller, dict):
        distiller = DISTILLERS.build(distiller)
    if not isinstance(distiller, PairDistiller):
        name = type(distiller).__name__
        why = (
            'it is no distiller'
            if not isinstance(distiller, Distiller)
            else 'it learns from no teacher'
            if not distiller.needs_teacher
            else 'it combines several views itself and must be the outermost'
            if len(distiller.views) > 1
            else 'it has no loss between one student and one teacher prediction'
        )
        raise InputError(
            f'{decorator} cannot decorate {name}: {why}. {decorator}(distiller=…) takes a distiller with '
            f'a pair loss, such as KD or DKD (a subclass of PairDistiller).'
        )
    return distiller


def require_positive(distiller: Distiller, **options: float) -> None:
    """Refuse options that are not finite numbers above 0."""
    for name, value in options.items():
        if not (_is_finite(value) and value > 0):
            raise InputError(f'{type(distiller).__name__}: {name} must be a number above 0, not {value!r}.')


def require_nonnegative(distiller: Distiller, **options: float) -> None:
    """Refuse options that are not finite numbers of at least 0."""
    for name, value in options.items():
        if not (_is_finite(value) and value >= 0):
            raise InputError(f'{type(distiller).__name__}: {name} must be a number of at least 0, not {value!r}.')


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)  # the command line may bring text
