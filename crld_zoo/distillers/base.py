"""What a distiller is: predictions of both networks in, a dict of losses out."""

from __future__ import annotations

import functools
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .functional import binary_cross_entropy, cross_entropy, labeled_mean

UNLABELED = -1
"""The class index of a sample that has no label."""


class Progress(NamedTuple):
    """Where a training stands.

    Attributes:
        epoch: The running epoch, counted from 1 as the papers do.
        iteration: Steps made since the start of the training, counted from 0.
        epochs: Epochs of the whole training.
        iterations: Steps of the whole training.
    """

    epoch: int
    iteration: int
    epochs: int
    iterations: int


class Prediction(NamedTuple):
    """What a network says about one view of a batch.

    Attributes:
        logits: Class scores before the softmax, ``(N, K)``.
        features: Tensors inside of the network by tap, for distillers that name ``taps``.
        images: The images ``(N, 3, H, W)`` themselves, which require grad, for distillers with ``needs_images``.
        samples: The number of each sample in its data set, int64 ``(N,)``; None where nobody knows it.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = MappingProxyType({})
    images: Tensor | None = None
    samples: Tensor | None = None


Predictions = Mapping[str, Prediction]
"""The predictions of one network by view."""


class Networks(NamedTuple):
    """The networks themselves, to read and not to change: a teacher's batch norms or its classifier, say.

    Attributes:
        student: The student, before training.
        teacher: The teacher's network, before anything is folded into it; None where there is none that stays as it
            is.
        teacher_norms: Finds the batch norm behind each of the teacher's taps ``'stageN:pre'``, in the order of the
            stages; an error where a stage ends with none.
        teacher_classifier: Finds the weight ``(K, C)`` and the bias ``(K,)`` of the teacher's last linear layer, of the
            student's classes; an error where its logits are no linear layer's.
    """

    student: nn.Module
    teacher: nn.Module | None = None
    teacher_norms: Callable[[], Sequence[nn.BatchNorm2d]] = tuple
    teacher_classifier: Callable[[], tuple[Tensor, ...]] = tuple


class TrainingData(NamedTuple):
    """What a distiller may know of the training set.

    Attributes:
        size: One more than the largest sample number there can be.
        num_classes: How many classes there are.
        labels: The label of each sample number, int64 ``(size,)``; :data:`UNLABELED` where there is none.
    """

    size: int
    num_classes: int
    labels: Tensor


class Distiller(nn.Module, ABC):
    """Maps per-view predictions of the student and the teacher to losses.

    A subclass says what it needs in class attributes. What it learns (projections, temperatures) and what it remembers
    (tables, queues) are ordinary parameters and buffers: they are trained with the student, saved beside it, and never
    part of its checkpoint.

    Args:
        ce_weight: Weight of the cross-entropy with the labels.
        label_smoothing: Share of the labels' mass that is spread evenly over all classes, 0 to 1.
        class_weight: A weight for each class of the cross-entropy; all 1, if None.
        bce: Whether the cross-entropy is the binary one of each class by itself, averaged over the classes, as timm and
            DeiT III have it. It is smaller than the other one by about the number of classes; its name is ``loss_ce``
            all the same.
        bce_threshold: What smoothed or mixed labels must exceed to count as 1, else as 0 (0 in DeiT III); they count as
            they are, if None.

    Attributes:
        views: Names of the views that the networks run on.
        student_views: Those that the student runs on.
        teacher_views: Those that the teacher runs on.
        label_views: Views whose cross-entropy counts; None for all that the student sees.
        taps: Names of the tensors that predictions carry as features, see :mod:`crld_zoo.networks.taps`.
        student_taps: Those of the student, where they differ.
        teacher_taps: Those of the teacher, where they differ.
        needs_teacher: Whether the teacher runs at all; ``teacher`` is an empty dict otherwise.
        trains_student: Whether the student is trained; else it is frozen and in eval mode, and only what is the
            distiller's own is trained.
        needs_images: Whether predictions carry the images, with gradients through the student and the teacher.
        reads_logits: Whether it compares logits; what does not cannot be held by a decorator of logits.
        per_sample: Whether a sample's loss depends on that sample alone. Then a batch may be split or stacked.
        needs_two: Whether it compares the samples of a batch with each other, so that a batch of one is refused.
        fixed_teacher: Whether it takes something of the teacher in ``setup`` that must not change: a teacher that is
            trained beside the student is refused then.
        groups: Group of each loss by name, for methods with a gradient of its own for each; empty for one backward
            pass over the sum.
    """

    views: tuple[str, ...] = ('weak',)
    label_views: tuple[str, ...] | None = None
    taps: tuple[str, ...] = ()
    needs_teacher: bool = True
    trains_student: bool = True
    needs_images: bool = False
    reads_logits: bool = True
    per_sample: bool = True
    needs_two: bool = False
    fixed_teacher: bool = False
    groups: ClassVar[Mapping[str, str]] = MappingProxyType({})
    class_weight: Tensor | None

    def __init__(
        self,
        *,
        ce_weight: float = 1.0,
        label_smoothing: float = 0.0,
        class_weight: Sequence[float] | None = None,
        bce: bool = False,
        bce_threshold: float | None = None,
    ) -> None:
        super().__init__()
        require_nonnegative(self, ce_weight=ce_weight)
        require_share(self, label_smoothing=label_smoothing)
        if bce_threshold is not None:
            require_share(self, bce_threshold=bce_threshold)
            if not bce:
                raise InputError(f'{type(self).__name__}: bce_threshold={bce_threshold} needs bce=True.')
        self.ce_weight = ce_weight
        self.label_smoothing = label_smoothing
        self.bce = bce
        self.bce_threshold = bce_threshold
        weights = None
        if class_weight is not None:
            require_nonnegative(self, **{f'class_weight[{index}]': value for index, value in enumerate(class_weight)})
            weights = torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', weights, persistent=False)

    @property
    def student_views(self) -> tuple[str, ...]:
        return self.views

    @property
    def teacher_views(self) -> tuple[str, ...]:
        return self.views

    @property
    def student_taps(self) -> tuple[str, ...]:
        return self.taps

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        return self.taps

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        """Build what depends on shapes: called once, before the optimizer is made.

        Args:
            student: The student's predictions of a probe batch of two images, without gradient.
            teacher: The teacher's.
            networks: The networks, to read.
        """

    def connect(self, data: TrainingData) -> None:
        """Make the buffers that depend on the training set: called once before a run, and before a resume loads."""

    def begin(self, progress: Progress) -> None:
        """Take note of where the training stands: called before every step."""

    @abstractmethod
    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            student: The student's prediction of each view.
            teacher: The teacher's prediction of each view.
            target: Class indices ``(N,)``, -1 where a sample has no label; where a method allows it, class
                probabilities ``(N, K)``.

        Returns:
            Scalars by name. MMEngine sums every one whose name contains ``loss``; the others are logged.
        """

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        """Bring tables, queues and running means up to date: called once after every step, without gradient."""

    def overrides(self, method: str) -> bool:
        """Whether it does anything in ``'setup'``, ``'connect'`` or ``'observe'``."""
        return getattr(type(self), method) is not getattr(Distiller, method)

    def label_logits(self, student: Prediction) -> Tensor:
        """The logits that the labels judge: the student's, unless it has a head of its own for them."""
        return student.logits

    def label_loss(self, student: Predictions, target: Tensor) -> Tensor:
        """Weighted cross-entropy with the labels, summed over the views, averaged over the labeled samples."""
        views = self.student_views if self.label_views is None else self.label_views
        options: dict[str, Any] = dict(label_smoothing=self.label_smoothing, class_weight=self.class_weight)
        loss = functools.partial(binary_cross_entropy, threshold=self.bce_threshold) if self.bce else cross_entropy
        losses = (labeled_mean(loss(self.label_logits(student[view]), target, **options), target) for view in views)
        return self.ce_weight * functools.reduce(torch.add, losses)


class PairDistiller(Distiller):
    """A distiller defined by a loss between one student and one teacher prediction; decorators take any of these.

    Args:
        ce_weight: Weight of the cross-entropy with the labels.
        kd_weight: Weight of the pair loss.
        warmup: Epochs over which the pair loss grows linearly to its full weight: ``min(epoch / warmup, 1)`` with the
            epoch counted from 1. 0 for none.
        student_view: The view that the student sees. It may be of another size than the teacher's.
        teacher_view: The view that the teacher sees.
        unlabeled: What a sample without a label (class -1) counts as where the pair loss reads labels: ``'teacher'``
            for the class that the teacher's prediction of that pair is surest of, ``'refuse'`` for an error.
        **options: Those of :class:`Distiller`.

    Attributes:
        has_temperature: Whether ``pair_loss`` takes a ``temperature``, which a decorator may choose.
    """

    has_temperature: bool = False
    temperature: Any  # where it has one: a number or a tensor; None in a decorator, for that of the held distiller
    ramp: Tensor

    def __init__(
        self,
        *,
        ce_weight: float,
        kd_weight: float,
        warmup: int = 0,
        student_view: str = 'weak',
        teacher_view: str = 'weak',
        unlabeled: str = 'teacher',
        **options,
    ) -> None:
        super().__init__(ce_weight=ce_weight, **options)
        require_nonnegative(self, kd_weight=kd_weight, warmup=warmup)
        require_choice(self, unlabeled=(unlabeled, ('teacher', 'refuse')))
        self.kd_weight = kd_weight
        self.warmup = warmup
        self.student_view = student_view
        self.teacher_view = teacher_view
        self.unlabeled = unlabeled
        if self._of_one_view:
            self.views = tuple(dict.fromkeys((student_view, teacher_view)))
        elif (student_view, teacher_view) != ('weak', 'weak'):
            raise InputError(
                f'{type(self).__name__} learns from the views {", ".join(self.views)} itself: leave student_view and '
                'teacher_view out.'
            )
        self.register_buffer('ramp', torch.tensor(1.0), persistent=False)
        self._begun = False

    @property
    def _of_one_view(self) -> bool:
        return len(type(self).views) == 1

    @property
    def student_views(self) -> tuple[str, ...]:
        return (self.student_view,) if self._of_one_view else self.views

    @property
    def teacher_views(self) -> tuple[str, ...]:
        return (self.teacher_view,) if self._of_one_view else self.views

    @abstractmethod
    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor, *args: Any, **options: Any) -> Tensor:
        """The loss of each sample, ``(N,)``, unweighted.

        A method with a temperature sets ``has_temperature`` and takes ``*, temperature`` as well: a number, or a tensor
        ``()`` or ``(N,)`` with gradient.
        """

    def pair(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor | None = None
    ) -> Tensor:
        """The pair loss as it counts: labels filled in, the shape checked, the warm-up applied.

        Args:
            student: The student's prediction.
            teacher: The teacher's prediction.
            target: Class indices ``(N,)``, -1 where there is none, or class probabilities ``(N, K)``.
            temperature: Takes the place of the distiller's own: a number, ``()`` or ``(N,)``.

        Returns:
            The loss of each sample, ``(N,)``.

        Raises:
            InputError: The pair loss has another shape, or the warm-up was never told the epoch.
        """
        options = {}
        if self.has_temperature:
            options['temperature'] = self.temperature if temperature is None else temperature
        loss = self.pair_loss(student, teacher, self.labels_of(student, teacher, target), **options)
        if loss.shape != target.shape[:1]:  # what is averaged already cannot be masked, and would broadcast unnoticed
            raise InputError(
                f'{type(self).__name__}.pair_loss must return one value a sample, shape ({len(target)},), but its '
                f'shape is {tuple(loss.shape)}.'
            )
        return self.scheduled(loss)

    def scheduled(self, loss: Tensor) -> Tensor:
        """A loss under the warm-up."""
        if not self.warmup:
            return loss
        if not self._begun and self.training:
            raise InputError(
                f'{type(self).__name__} has a warm-up of {self.warmup} epochs and was never told the epoch: call '
                'distiller.begin(Progress(epoch, iteration, epochs, iterations)) before each step, or set warmup=0.'
            )
        return self.ramp * loss

    def begin(self, progress: Progress) -> None:
        if self.warmup:
            self._begun = True
            self.ramp.fill_(min(progress.epoch / self.warmup, 1.0))

    def distill(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        """The weighted terms that come from the teacher; a method of several views or terms overrides this."""
        loss = self.pair(student[self.student_view], teacher[self.teacher_view], target)
        return dict(loss_kd=self.kd_weight * loss.mean())

    def forward(self, student: Predictions, teacher: Predictions, target: Tensor) -> dict[str, Tensor]:
        return dict(loss_ce=self.label_loss(student, target), **self.distill(student, teacher, target))

    def labels_of(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        """The target as a pair loss reads it: filled in where a sample has no label."""
        if student.logits.shape[1] < 2:
            raise InputError(
                f'{type(self).__name__} compares probabilities of classes, but the student has one output: give it '
                'num_classes=2 or more.'
            )
        if target.dim() != 1 or target.is_floating_point():
            return target
        if self.unlabeled == 'teacher':
            return torch.where(target < 0, teacher.logits.argmax(1), target)
        if bool((target < 0).any()):
            raise InputError(
                f"{type(self).__name__}: the batch has samples without a label and unlabeled='refuse': leave them out, "
                "or take the teacher's classes for them with unlabeled='teacher'."
            )
        return target


class Decorator(Distiller):
    """A distiller that holds another one, and passes on all that the held one needs.

    Args:
        distiller: Config of the pair distiller to hold, or the distiller.
        **options: Those of :class:`Distiller`.

    Raises:
        InputError: It cannot be decorated, with the reason.
    """

    needs_logits: ClassVar[bool] = False
    """Whether it changes logits, and so can only hold what reads them."""
    distiller: PairDistiller

    def __init__(self, distiller: dict | Distiller, **options) -> None:
        held = check_held(self, DISTILLERS.build(distiller) if isinstance(distiller, dict) else distiller)
        super().__init__(**options)
        self.distiller = held
        for name in ('taps', 'needs_images', 'reads_logits', 'per_sample', 'needs_two', 'fixed_teacher'):
            setattr(self, name, getattr(held, name))

    @property
    def student_taps(self) -> tuple[str, ...]:
        return self.distiller.student_taps

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        return self.distiller.teacher_taps

    def label_logits(self, student: Prediction) -> Tensor:
        return self.distiller.label_logits(student)

    def transform(self, student: Predictions, teacher: Predictions) -> tuple[Predictions, Predictions]:
        """The predictions as the held distiller sees them; here as they are."""
        return student, teacher

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        self.distiller.setup(*self.transform(student, teacher), networks)

    def connect(self, data: TrainingData) -> None:
        self.distiller.connect(data)

    def begin(self, progress: Progress) -> None:
        super().begin(progress)
        self.distiller.begin(progress)

    def observe(self, student: Predictions, teacher: Predictions, target: Tensor) -> None:
        self.distiller.observe(*self.transform(student, teacher), target)

    def overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(Decorator, method) or self.distiller.overrides(method)


class PairDecorator(Decorator, PairDistiller):
    """A decorator that is a pair distiller itself, so that it can be held in turn.

    It takes weights, views and label options from the distiller that it holds, whose warm-up goes on. A subclass
    overrides :meth:`pair_loss`, and :meth:`transform` where it changes predictions.

    Args:
        distiller: Config of the pair distiller to hold, or the distiller.
    """

    needs_logits = True
    _warned = False

    def __init__(self, distiller: dict | Distiller) -> None:
        held = check_held(self, DISTILLERS.build(distiller) if isinstance(distiller, dict) else distiller)
        super().__init__(
            held,
            kd_weight=held.kd_weight,
            ce_weight=held.ce_weight,
            label_smoothing=held.label_smoothing,
            class_weight=None if held.class_weight is None else held.class_weight.tolist(),
            bce=held.bce,
            bce_threshold=held.bce_threshold,
            student_view=held.student_view,
            teacher_view=held.teacher_view,
            unlabeled=held.unlabeled,
        )
        self.label_views = held.label_views
        self.has_temperature = held.has_temperature
        self.temperature = None  # that of the held distiller

    def warn_of_two_classes(self, logits: Tensor) -> None:
        """Say once that logits ``(N, 2)`` on one scale leave nothing to learn."""
        if logits.shape[1] == 2 and not self._warned:
            self._warned = True
            print_log(
                f'{type(self).__name__} brings logits to one scale: of two classes always the same two numbers are '
                'left, and the teacher says no more than which class is the higher one. Take KD or DKD.',
                'current',
                logging.WARNING,
            )


def check_held(decorator: Decorator | PairDistiller, distiller: object) -> PairDistiller:
    """The distiller, if it can be held; what has no pair loss is refused with the reason."""
    name, own = type(distiller).__name__, type(decorator).__name__
    if not isinstance(distiller, Distiller):
        why = 'it is no distiller'
    elif not distiller.needs_teacher:
        why = 'it learns from no teacher'
    elif not isinstance(distiller, PairDistiller):
        why = (
            'it combines several views itself and must be the outermost'
            if len(distiller.views) > 1
            else 'it has no loss between one student and one teacher prediction'
        )
    elif distiller.groups:
        why = 'its losses have gradients of their own'
    elif decorator.needs_logits and not distiller.reads_logits:
        why = 'it compares no logits'
    elif decorator.needs_logits and distiller.needs_images:
        why = 'it differentiates the logits that the networks gave, not others made of them'
    else:
        return distiller
    raise InputError(
        f'{own} cannot decorate {name}: {why}. Give it a distiller with a pair loss, such as KD or DKD (a subclass of '
        'PairDistiller).'
    )


def require_positive(distiller: Distiller, **options: float) -> None:
    """Refuse options that are not finite numbers above 0."""
    _require(distiller, lambda value: value > 0, 'a number above 0', options)


def require_nonnegative(distiller: Distiller, **options: float) -> None:
    """Refuse options that are not finite numbers of at least 0."""
    _require(distiller, lambda value: value >= 0, 'a number of at least 0', options)


def require_count(distiller: Distiller, **options: int) -> None:
    """Refuse options that are no whole numbers of at least 1."""
    _require(distiller, lambda value: value >= 1 and value == int(value), 'a whole number of at least 1', options)


def require_share(distiller: Distiller, **options: float) -> None:
    """Refuse options that are no numbers from 0 to 1."""
    _require(distiller, lambda value: 0 <= value <= 1, 'a number from 0 to 1', options)


def require_choice(distiller: Distiller, **options: tuple[object, Sequence]) -> None:
    """Refuse options ``name=(value, choices)`` whose value is not among the choices."""
    for name, (value, choices) in options.items():
        if value not in choices:
            raise InputError(
                f'{type(distiller).__name__}: {name} must be {" or ".join(map(repr, choices))}, not {value!r}.'
            )


def _require(distiller: Distiller, holds, what: str, options: Mapping[str, float]) -> None:
    for name, value in options.items():
        if not (isinstance(value, Real) and math.isfinite(value) and holds(value)):  # the command line may bring text
            raise InputError(f'{type(distiller).__name__}: {name} must be {what}, not {value!r}.')
