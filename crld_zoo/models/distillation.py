"""The model of every run: a student, a frozen teacher, a distiller."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmpretrain.models.classifiers import BaseClassifier
from torch import Tensor, nn

from crld_zoo.compat import corrupts_memory_in_channels_last
from crld_zoo.distillers import Distiller, Prediction
from crld_zoo.errors import InputError
from crld_zoo.evaluation.predictions import BatchPrediction
from crld_zoo.networks.compilation import ForwardPass
from crld_zoo.networks.sources import build_network, count_classes, logits_and_features
from crld_zoo.registry import DISTILLERS, MODELS
from crld_zoo.views import ViewPreprocessor

from .teacher import Teacher


class _Outside:
    """Holds a module outside of the module tree that it serves.

    Optimizers, gradient sync, EMA and checkpoints walk the tree, so none of them meets what is held here. A deep copy
    of the owner (EMA makes one) shares it.
    """

    def __init__(self, module: nn.Module | None) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict) -> _Outside:
        return self


@MODELS.register_module()
class Distillation(BaseModel):
    """Trains a student classifier with a distiller; evaluates as the student alone.

    The teacher is frozen, always in eval mode, and runs once, without gradients, over all views together (in eval mode
    that is exact). It stands outside of the module tree: no optimizer, EMA copy, gradient sync or checkpoint holds it.

    A checkpoint *is* the student's: its keys are those of the plain classifier, which mmpretrain loads strictly. Where
    a distiller has parameters of its own, they stand beside them as ``distiller.*``.

    Args:
        student: The classifier: a config dict or a name (see :mod:`crld_zoo.networks.sources`), a dict of
            :func:`build_network`'s arguments, or the module.
        distiller: Config of a distiller, or the module.
        teacher: Arguments of a :class:`Teacher` (or another ``type`` with its interface), a classifier's config dict or
            name alone, or the module. Only training needs it, and only with a distiller that learns from one.
        data_preprocessor: Config of the preprocessor, normally a :class:`ViewPreprocessor`.
        student_forward: ``'separate'`` runs the student on each view by itself, as the papers do: batch statistics are
            those of a view. ``'concat'`` runs all views at once: faster, other statistics, not to be compared with
            ``'separate'``.
        compile: Whether or how to compile the student's forward pass in training, see
            :class:`~crld_zoo.networks.compilation.ForwardPass`. The teacher has an option of the same name.

    Raises:
        InputError: Teacher and student have different class counts, or an option is impossible.
    """

    def __init__(
        self,
        student: str | dict | nn.Module,
        distiller: dict | Distiller,
        teacher: str | dict | nn.Module | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        student_forward: str = 'separate',
        compile: bool | dict | None = None,
    ) -> None:
        if isinstance(data_preprocessor, dict):  # BaseModel would look it up among mmengine's where no scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor)
        if student_forward not in ('separate', 'concat'):
            raise InputError(f"Distillation: student_forward must be 'separate' or 'concat', not {student_forward!r}.")
        self.student = _build_student(student)
        self.distiller = DISTILLERS.build(distiller) if isinstance(distiller, dict) else distiller
        self.student_forward = student_forward
        self._call_student = ForwardPass(self.student, 'student', compile)
        if isinstance(self.data_preprocessor, ViewPreprocessor):
            self.data_preprocessor.needed_views = self.distiller.views
        self._teacher = _Outside(self._build_teacher(teacher))
        if self.distiller.needs_features and (compile or getattr(self.teacher, 'is_compiled', False)):
            raise InputError(
                f'{type(self.distiller).__name__} looks at features, which compiled networks do not give '
                'out: leave model.compile and model.teacher.compile out.'
            )
        if getattr(self.data_preprocessor, 'channels_last', False) and any(
            corrupts_memory_in_channels_last(network) for network in (self.student, self.teacher) if network
        ):
            self.data_preprocessor.channels_last = False
        if getattr(self.data_preprocessor, 'channels_last', False):
            self.to(memory_format=torch.channels_last)  # else each convolution converts its weights
        self.register_state_dict_post_hook(_name_student_keys_plainly)
        self.register_load_state_dict_pre_hook(_accept_plain_student_keys)

    @property
    def teacher(self) -> Teacher | None:
        """The frozen teacher; None where there is none."""
        return self._teacher.module

    def forward(
        self, inputs: Tensor | dict[str, Tensor], data_samples: list | Tensor | None = None, mode: str = 'tensor'
    ):
        """Run in one of MMEngine's three modes.

        Args:
            inputs: Normalized images ``(N, 3, H, W)``; to train, a dict of them by view name (one tensor counts as
                the weak view).
            data_samples: mmpretrain's ``DataSample`` of each image, or the labels of the batch: class indices ``(N,)``
                or class probabilities ``(N, K)``.
            mode: ``'loss'`` gives the distiller's losses; ``'predict'`` gives a ``DataSample`` for each image or,
                where the labels came as one tensor, a :class:`~crld_zoo.evaluation.predictions.Sample`;
                ``'tensor'`` gives the student's logits.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.student(inputs, mode='tensor')
        raise InputError(f"Distillation: mode must be 'loss', 'predict' or 'tensor', not {mode!r}.")

    def loss(self, inputs: Tensor | dict[str, Tensor], data_samples: list | Tensor) -> dict[str, Tensor]:
        """The distiller's losses and statistics of one batch."""
        views = self._needed_views(inputs)
        target = targets(data_samples)
        teacher = self.teacher_predictions(views)  # first: the student's activations are kept
        return self.distiller(self.student_predictions(views), teacher, target)

    def student_predictions(self, views: dict[str, Tensor]) -> dict[str, Prediction]:
        """The student's prediction of each view."""
        return _predict(self._run_student, views, together=self.student_forward == 'concat')

    @torch.no_grad()
    def teacher_predictions(self, views: dict[str, Tensor]) -> dict[str, Prediction]:
        """The teacher's prediction of each view; none where the distiller learns from no teacher."""
        if not self.distiller.needs_teacher:
            return {}
        if self.teacher is None:
            raise InputError(
                f'{type(self.distiller).__name__} learns from a teacher, but model.teacher is None: '
                'give one, or train with CrossEntropy.'
            )
        return _predict(self._run_teacher, views, together=True)

    def predict(self, inputs: Tensor, data_samples: list | Tensor | None = None) -> list:
        """The student's class probabilities; see :meth:`forward`."""
        if isinstance(data_samples, Tensor):
            scores = self.student(inputs, mode='tensor').float().softmax(1)
            return BatchPrediction(scores, data_samples).samples()
        return self.student(inputs, data_samples, mode='predict')

    def _run_student(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.distiller.needs_features:
            return logits_and_features(self.student, images)
        return self._call_student(images), ()

    def _run_teacher(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.teacher.extract(images, self.distiller.needs_features)

    def _build_teacher(self, teacher: str | dict | nn.Module | None) -> nn.Module | None:
        if teacher is None:
            return None
        if not self.distiller.needs_teacher:
            print_log(
                f'{type(self.distiller).__name__} learns from no teacher: model.teacher is left out.',
                logger='current',
                level=logging.WARNING,
            )
            return None
        if not isinstance(teacher, nn.Module):
            if isinstance(teacher, str) or _is_classifier(teacher):
                teacher = dict(model=teacher)
            teacher = MODELS.build({'type': 'Teacher', **teacher})
        teacher.check_classes(count_classes(self.student))
        teacher.match_input(*(getattr(self.data_preprocessor, name, None) for name in ('mean', 'std')))
        return teacher

    def _needed_views(self, inputs: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        views = inputs if isinstance(inputs, dict) else {'weak': inputs}
        missing = [name for name in self.distiller.views if name not in views]
        if missing:
            raise InputError(
                f'{type(self.distiller).__name__} needs the views {", ".join(self.distiller.views)}, but '
                f'the data has only {", ".join(views)}: define {", ".join(missing)} in '
                'model.data_preprocessor.views or with MultiView in the training pipeline.'
            )
        return {name: views[name] for name in self.distiller.views}

    def _apply(self, fn, recurse: bool = True) -> Distillation:
        """Moves and casts (``to``, ``cuda``, ``half``) take the teacher along."""
        if self.teacher is not None:
            self.teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)


def _build_student(student: str | dict | nn.Module) -> nn.Module:
    if isinstance(student, nn.Module):
        return student
    if isinstance(student, dict) and 'type' not in student:
        return build_network(**student)
    return build_network(student)


def _is_classifier(config: dict) -> bool:
    kind = MODELS.get(config['type']) if 'type' in config else None
    return kind is not None and issubclass(kind, BaseClassifier)


def _predict(run: Callable, views: dict[str, Tensor], together: bool) -> dict[str, Prediction]:
    """One prediction a view, from one pass over all views or from one pass each."""
    if not together or len(views) == 1:
        return {name: Prediction(*run(view)) for name, view in views.items()}
    sizes = {tuple(view.shape[1:]) for view in views.values()}
    if len(sizes) > 1:
        raise InputError(
            f'the views have different sizes ({", ".join(map(str, sorted(sizes)))}) and cannot run in '
            'one pass: crop or resize every view to one size.'
        )
    logits, features = run(torch.cat(tuple(views.values())))
    per_view = zip(logits.chunk(len(views)), *(feature.chunk(len(views)) for feature in features), strict=True)
    return {name: Prediction(own[0], own[1:]) for name, own in zip(views, per_view, strict=True)}


def targets(data_samples: list | Tensor) -> Tensor:
    """Labels of a batch, also from mmpretrain's data samples: class indices ``(N,)``, or mixed labels ``(N, K)``."""
    if isinstance(data_samples, Tensor):
        return data_samples
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])


# The hooks below are what MMEngine's saver and loader run: they walk the module tree themselves and call no
# ``state_dict``. They take the student's name off its keys and put it on again.

_STUDENT = 'student.'


def _name_student_keys_plainly(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    for keys, start in ((state_dict, prefix + _STUDENT), (getattr(state_dict, '_metadata', {}), prefix + _STUDENT)):
        for key in [key for key in keys if key.startswith(start)]:
            keys[prefix + key[len(start) :]] = keys.pop(key)


def _accept_plain_student_keys(module: nn.Module, state_dict: dict, prefix: str, *_) -> None:
    own = tuple(f'{prefix}{name}.' for name in module._modules)
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(own)]:
        state_dict[f'{prefix}{_STUDENT}{key[len(prefix) :]}'] = state_dict.pop(key)
