"""The model of every run: a student, a frozen teacher, a distiller."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar, cast

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmpretrain.models.classifiers import BaseClassifier
from torch import Tensor, nn

from crld_zoo.compat import corrupts_memory_in_channels_last
from crld_zoo.distillers import Distiller, Networks, Prediction
from crld_zoo.errors import InputError
from crld_zoo.evaluation.predictions import BatchPrediction
from crld_zoo.networks import Taps, build_network, count_classes
from crld_zoo.networks.classifiers import LibraryNames, put_versions_in, take_versions_out
from crld_zoo.networks.compilation import GRAPH_MODES, compiled
from crld_zoo.registry import DISTILLERS, MODELS
from crld_zoo.views import DrawnViews, SampleKeys, ViewPreprocessor, check_normalization, targets

from .cache import TeacherCache
from .ema_teacher import EMATeacher
from .graph import LossGraphs
from .teacher import Teacher

Views = Mapping[str, Tensor]
Held = TypeVar('Held')


class _Outside(Generic[Held]):
    """Holds a module outside of the module tree that it serves.

    Optimizers, gradient sync, EMA and checkpoints walk the tree, so none of them meets what is held here. A deep copy
    of the owner (EMA makes one) shares it.
    """

    def __init__(self, module: Held) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict) -> _Outside[Held]:
        return self


@MODELS.register_module()
class Distillation(BaseModel):
    """Trains a student classifier with a distiller; evaluates as the student alone.

    The teacher is frozen (an :class:`EMATeacher` follows the student), always in eval mode, and runs once over all
    views of one size together (in eval mode that is exact). It stands outside of the module tree: no optimizer, EMA
    copy, gradient sync or state dict holds it.

    A checkpoint *is* the student's: its keys are those of the plain classifier, which mmpretrain loads strictly. What a
    distiller learns or remembers is trained with the student and saved beside it, as ``checkpoint['distiller']``.

    Student, teacher and distiller each start from a random stream of their own, made from torch's seed and their name:
    at one seed the student's first weights are the same under every method.

    Args:
        student: The classifier: a config dict or a name (see :mod:`crld_zoo.networks.sources`), a dict of
            :func:`build_network`'s arguments, or the module.
        distiller: Config of a distiller, or the module.
        teacher: Arguments of a :class:`Teacher` (or another ``type`` with its interface), a classifier's config dict or
            name alone, or the module. Only training needs it, and only with a distiller that learns from one. A
            ``cache`` among the arguments, a folder or the arguments of a :class:`~crld_zoo.models.TeacherCache`, keeps
            its logits for this run and others; it then runs on the views that are not kept yet.
        data_preprocessor: Config of the preprocessor, normally a :class:`~crld_zoo.views.ViewPreprocessor`.
        student_forward: ``'separate'`` runs the student on each view by itself, as the papers do: batch statistics are
            those of a view. ``'concat'`` runs all views of one size at once: faster, other statistics, not to be
            compared with ``'separate'``.
        compile: Whether the student's forward pass in training is compiled, or the arguments of ``torch.compile``. The
            teacher has an option of the same name.
        graph: Whether training replays the views, both networks and the distiller, forward and backward, from CUDA
            graphs (:class:`~crld_zoo.models.LossGraphs`). Steps are equal to those without but for rounding. It needs a
            GPU and one process; gradients must not be accumulated over steps.

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
        graph: bool = False,
    ) -> None:
        if isinstance(data_preprocessor, dict):  # BaseModel would look it up among mmengine's where no scope is set
            data_preprocessor = MODELS.build(data_preprocessor)
        super().__init__(data_preprocessor=data_preprocessor)
        _check_normalization(self.data_preprocessor)
        if student_forward not in ('separate', 'concat'):
            raise InputError(f"Distillation: student_forward must be 'separate' or 'concat', not {student_forward!r}.")
        with _random_stream('student'):
            self.student = _build_student(student)
        _compare_normalization(self.student, self.data_preprocessor)
        with _random_stream('distiller'):
            distiller = DISTILLERS.build(distiller) if isinstance(distiller, dict) else distiller
        with _random_stream('teacher'):
            teacher, cache = _take_cache(teacher, distiller)
            self._teacher_cache = _Outside(cache)
            self._teacher = _Outside(self._build_teacher(teacher, distiller))
        if self._average is not None and distiller.fixed_teacher:
            raise InputError(
                f'{type(distiller).__name__} takes something of the teacher before the training that must not change, '
                'and EMATeacher changes with every step: give it a trained teacher.'
            )
        if compile and (distiller.student_taps or distiller.needs_images):
            raise InputError(
                f'{type(distiller).__name__} looks inside of the student, which a compiled network does not allow: '
                'leave model.compile out.'
            )
        if graph:
            self._check_graph(distiller, compile, teacher)
            self.data_preprocessor.deferred = True
        self.student_forward = student_forward
        self._compiled = _Outside(compiled(self.student, compile)) if compile else None
        self._taps = _Outside(Taps(self.student, ()))
        self._seen: tuple[dict[str, Prediction], dict[str, Prediction], Tensor] | None = None
        if isinstance(self.data_preprocessor, ViewPreprocessor):
            self.data_preprocessor.needed_views = tuple(
                dict.fromkeys((*distiller.student_views, *(distiller.teacher_views if distiller.needs_teacher else ())))
            )
        if self.teacher is not None or not distiller.needs_teacher:  # else it is tested, without its distiller
            with _random_stream('setup'):
                self._setup(distiller)
        if self.teacher is not None:
            self.teacher.optimize()
        if getattr(self.data_preprocessor, 'channels_last', False) and any(
            corrupts_memory_in_channels_last(network) for network in (self.student, self.teacher) if network
        ):
            self.data_preprocessor.channels_last = False
        if not distiller.trains_student:
            self.student.requires_grad_(False)
        # Last, so that the buffers of an EMA copy, which has no distiller, stand in the order of this model's.
        self.distiller = distiller
        # A table or queue follows its own rule, the same in every process: DDP leaves it alone.
        self._ddp_params_and_buffers_to_ignore = [f'distiller.{name}' for name, _ in distiller.named_buffers()]
        self._graphs = _Outside(LossGraphs(self.losses_of_tensors, self.student, distiller) if graph else None)
        if getattr(self.data_preprocessor, 'channels_last', False):
            self.to(memory_format=torch.channels_last)  # else each convolution converts its weights
        self.register_state_dict_post_hook(_keep_the_student_alone)
        self.register_load_state_dict_pre_hook(_accept_the_student_alone)

    @property
    def teacher(self) -> Teacher | None:
        """The frozen teacher; None where there is none."""
        return self._teacher.module

    @property
    def _average(self) -> EMATeacher | None:
        """The teacher, where it is the student's average."""
        return self.teacher if isinstance(self.teacher, EMATeacher) else None

    @property
    def teacher_cache(self) -> TeacherCache | None:
        """Where the teacher's logits are kept; None where they are not."""
        return self._teacher_cache.module

    def forward(
        self,
        inputs: Any,
        data_samples: Any = None,
        mode: str = 'tensor',
        keys: SampleKeys | None = None,
    ):
        """Run in one of MMEngine's three modes.

        Args:
            inputs: Normalized images ``(N, 3, H, W)``; to train, a dict of them by view name (one tensor counts as
                the weak view), or views that are drawn and not made.
            data_samples: The labels of the batch, in any form that :func:`crld_zoo.views.targets` takes; to predict,
                class indices ``(N,)`` or mmpretrain's ``DataSample`` of each image.
            mode: ``'loss'`` gives the distiller's losses; ``'predict'`` gives one record a sample; ``'tensor'`` gives
                the student's logits.
            keys: The :class:`~crld_zoo.views.SampleKeys` of the batch, for methods that know samples by their numbers.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples, keys)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.student(inputs, mode='tensor')
        raise InputError(f"Distillation: mode must be 'loss', 'predict' or 'tensor', not {mode!r}.")

    def loss(
        self, inputs: Tensor | Views | DrawnViews, data_samples: list | Tensor, keys: SampleKeys | None = None
    ) -> dict[str, Tensor]:
        """The distiller's losses and statistics of one batch; ``top1`` is the student's accuracy on its labels in %."""
        target = targets(data_samples, unlabeled=True)
        average, observes = self._average, self.distiller.overrides('observe')
        if self._seen is not None and self.training:
            raise InputError(
                f'{type(self.distiller if observes else average).__name__} keeps what it saw of each step, and was not '
                'shown the last one: call model.observe() after every step, as DistillerHook does.'
            )
        if average is not None:
            average.begin()
        samples = None if keys is None else keys.samples
        if self.teacher_cache is not None and (keys is None or target.is_floating_point()):
            raise InputError(
                "the teacher's cache keeps what it says of a sample, but "
                + ('the batch has no sample numbers' if keys is None else 'the batch mixes its samples')
                + ': leave model.teacher.cache out.'
            )
        if isinstance(inputs, DrawnViews):
            return self._losses_of_drawn(inputs, target, samples, keys)
        views = self._needed_views(inputs)
        if self.distiller.needs_images:
            views = {name: view.detach().requires_grad_() for name, view in views.items()}
        teacher = self.teacher_predictions(views, samples, keys)  # first: the student's activations are kept
        student = self.student_predictions(views, samples)
        losses = self._distill(student, teacher, target)
        if observes or average is not None:
            self._seen = (_detached(student), _detached(teacher), target)
        return losses

    def losses_of_tensors(self, batch: Mapping) -> dict[str, Tensor]:
        """The losses as a function of tensors alone, which a CUDA graph can hold.

        Args:
            batch: ``images`` and ``numbers``, the parts of :class:`~crld_zoo.views.DrawnViews`; ``target``; where they
                are known, the ``samples``' numbers and the teacher's ``logits`` of each view.
        """
        views = self._needed_views(self.data_preprocessor.render(batch['images'], batch['numbers']))
        samples, logits = batch.get('samples'), batch.get('logits')
        teacher = self.teacher_predictions(views, samples) if logits is None else _of_logits(logits, samples)
        return self._distill(self.student_predictions(views, samples), teacher, batch['target'])

    def _losses_of_drawn(
        self, drawn: DrawnViews, target: Tensor, samples: Tensor | None, keys: SampleKeys | None
    ) -> dict[str, Tensor]:
        batch = dict(drawn._asdict(), target=target)
        if samples is not None:
            batch['samples'] = samples
        if self.teacher_cache is not None and keys is not None:
            batch['logits'] = self._kept_logits(lambda: self.data_preprocessor.render(*drawn), keys)
        graphs = self._graphs.module
        return graphs(batch) if graphs is not None and self.training else self.losses_of_tensors(batch)

    def _distill(self, student: dict, teacher: dict, target: Tensor) -> dict[str, Tensor]:
        _check_target(student, target)
        with torch.autocast(target.device.type, enabled=False):
            losses = self.distiller(student, teacher, target)
        if target.dim() == 1 and self.distiller.trains_student:  # a curve beside the losses, of logits that are there
            view = (self.distiller.label_views or self.distiller.student_views)[0]
            hits, labeled = student[view].logits.argmax(1) == target, target >= 0
            losses['top1'] = 100 * hits.sum() / labeled.sum().clamp(min=1)
        return losses

    def student_predictions(self, views: Views, samples: Tensor | None = None) -> dict[str, Prediction]:
        """The student's prediction of each view that the distiller reads of it."""
        views = {name: views[name] for name in self.distiller.student_views}
        call = self._compiled.module if self._compiled and self.training else self.student
        taps = self._taps.module
        return self._predict(
            lambda images: taps.run(call, images), views, samples, together=self.student_forward == 'concat'
        )

    def teacher_predictions(
        self, views: Views, samples: Tensor | None = None, keys: SampleKeys | None = None
    ) -> dict[str, Prediction]:
        """The teacher's prediction of each view that the distiller reads of it; none where it needs no teacher."""
        if not self.distiller.needs_teacher:
            return {}
        if self.teacher is None:
            raise InputError(
                f'{type(self.distiller).__name__} learns from a teacher, but model.teacher is None: '
                'give one, or train with CrossEntropy.'
            )
        if self.teacher_cache is not None and keys is not None:
            return _of_logits(self._kept_logits(lambda: views, keys), samples)
        views = {name: views[name] for name in self.distiller.teacher_views}
        with torch.set_grad_enabled(self.distiller.needs_images):
            return self._predict(self.teacher.extract, views, samples, together=True)

    def _kept_logits(self, views: Callable[[], Views], keys: SampleKeys) -> dict[str, Tensor]:
        """The teacher's logits of each view; it runs on those that the cache does not hold."""
        teacher, cache = cast(Teacher, self.teacher), cast(TeacherCache, self.teacher_cache)  # asked for with both
        kept = {view: cache.find(view, keys) for view in self.distiller.teacher_views}
        if any(logits is None for logits in kept.values()):
            images = views()
            missing = {view: images[view] for view, logits in kept.items() if logits is None}
            for view, prediction in self._predict(teacher.extract, missing, None, together=True).items():
                kept[view] = cache.keep(view, keys, prediction.logits)
        return cast(dict[str, Tensor], kept)

    def observe(self, skipped: bool = False, accumulated: bool = False) -> None:
        """Let the distiller bring its tables and queues up to date with the last step, and an :class:`EMATeacher` its
        average; called after every step.

        Args:
            skipped: The step was not made, so nothing is learned from it.
            accumulated: Its gradients wait for those of the next one, so the weights are what they were.
        """
        seen, self._seen = self._seen, None
        if seen is not None and not skipped:
            if self.distiller.overrides('observe'):
                with torch.no_grad():
                    self.distiller.observe(*seen)
            if self._average is not None and not accumulated:
                self._average.update()

    def predict(self, inputs: Tensor, data_samples: list | Tensor | None = None) -> list:
        """The student's class probabilities; see :meth:`forward`."""
        if isinstance(data_samples, Tensor):
            scores = self.student(inputs, mode='tensor').float().softmax(1)
            return BatchPrediction(scores, data_samples).samples()
        return self.student(inputs, data_samples, mode='predict')

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor | dict[str, Tensor], dict[str, Tensor]]:
        """The sum to minimize and what is logged; a sum for each group where the distiller has groups."""
        total, logged = super().parse_losses(losses)
        groups = self.distiller.groups
        if not groups:
            return total, logged
        sums: dict[str, Tensor] = {}
        for name, loss in losses.items():
            if 'loss' in name:
                sums[groups[name]] = sums.get(groups[name], 0) + loss.mean()
        return sums, logged

    def train(self, mode: bool = True) -> Distillation:
        """Set the mode; a student that is not trained stays in eval mode."""
        super().train(mode)
        if 'distiller' in self._modules and not self.distiller.trains_student:
            self.student.eval()
        return self

    def init_weights(self) -> None:
        """Initialize what asks for it, from the student's own random stream."""
        with _random_stream('weights'):
            super().init_weights()

    def _setup(self, distiller: Distiller) -> None:
        """Show the distiller a probe batch, so that it builds what depends on shapes, and find the taps."""
        names = (distiller.student_taps, distiller.teacher_taps)
        if any(names) or distiller.overrides('setup'):
            probe = {
                view: torch.zeros(2, 3, *self._image_size(view)).normal_()
                for view in dict.fromkeys((*distiller.student_views, *distiller.teacher_views))
            }
            with torch.no_grad(), _evaluating(self.student):
                first = probe[distiller.student_views[0]]
                taps = Taps(self.student, distiller.student_taps, first)
                self._taps = _Outside(taps)
                student = self._predict(
                    lambda images: taps.run(self.student, images),
                    {view: probe[view] for view in distiller.student_views},
                    None,
                )
                teacher = {}
                if self.teacher is not None:
                    self.teacher.tap(distiller.teacher_taps, probe[distiller.teacher_views[0]])
                    views = {view: probe[view] for view in distiller.teacher_views}
                    teacher = self._predict(self.teacher.peek, views, None)
            read = (
                ()
                if self.teacher is None or self._average
                else (self.teacher.network, self.teacher.norms, self.teacher.classifier)
            )
            distiller.setup(student, teacher, Networks(self.student, *read))

    def _check_graph(self, distiller: Distiller, compile: bool | dict | None, teacher) -> None:
        """Refuse what the graphs of :class:`LossGraphs` do not hold."""
        name, compiles = type(distiller).__name__, [compile]
        if isinstance(teacher, Mapping):
            compiles.append(teacher.get('compile'))
        reasons = {
            f'{name} keeps what it saw of each step': distiller.overrides('observe'),
            f'{name} takes gradients to the images within a step': distiller.needs_images,
            f'{name} has a backward pass for each group of losses': bool(distiller.groups),
            f'{type(self.teacher).__name__} changes between the steps': self._average is not None,
            'there are several processes, which exchange gradients during the backward pass': get_world_size() > 1,
            'a compiled network captures graphs of its own (compile.mode)': any(
                isinstance(each, Mapping) and each.get('mode') in GRAPH_MODES for each in compiles
            ),
            'the preprocessor mixes the samples of a batch': getattr(self.data_preprocessor, 'mixing', None)
            is not None,
            'the views are made by another preprocessor than ViewPreprocessor': not isinstance(
                self.data_preprocessor, ViewPreprocessor
            ),
        }
        for reason, holds in reasons.items():
            if holds:
                raise InputError(f'model.graph captures a whole step, but {reason}: leave model.graph out.')

    def _image_size(self, view: str) -> tuple[int, int]:
        size = self.data_preprocessor.size_of(view) if isinstance(self.data_preprocessor, ViewPreprocessor) else None
        if size is None:
            raise InputError(
                f"the distiller looks inside of the networks, and nobody says how large the view '{view}' is: "
                'set data_preprocessor.image_size, or end the view with a crop or a resize.'
            )
        return size

    def _predict(
        self, run: Callable, views: Views, samples: Tensor | None, together: bool = False
    ) -> dict[str, Prediction]:
        """One prediction a view, from one pass over all views of a size or from one pass each."""
        images = self._needs_images
        if together:
            parts: dict[object, list[str]] = {}
            for name, view in views.items():
                parts.setdefault(tuple(view.shape[1:]), []).append(name)
        else:
            parts = {name: [name] for name in views}
        predictions = {}
        for names in parts.values():
            batch = views[names[0]] if len(names) == 1 else torch.cat([views[name] for name in names])
            logits, features = run(batch)
            lengths = [len(views[name]) for name in names]
            split = {tap: _wide(feature).split(lengths) for tap, feature in features.items()}
            for index, (name, own) in enumerate(zip(names, _wide(logits).split(lengths), strict=True)):
                predictions[name] = Prediction(
                    own,
                    {tap: feature[index] for tap, feature in split.items()},
                    views[name] if images else None,
                    _of_each_image(samples, own),
                )
        return {name: predictions[name] for name in views}

    @property
    def _needs_images(self) -> bool:
        return 'distiller' in self._modules and self.distiller.needs_images

    def _build_teacher(self, teacher: Any, distiller: Distiller) -> Teacher | None:
        if teacher is None:
            return None
        if not distiller.needs_teacher:
            print_log(
                f'{type(distiller).__name__} learns from no teacher: model.teacher is left out.',
                logger='current',
                level=logging.WARNING,
            )
            return None
        if not isinstance(teacher, nn.Module):
            if isinstance(teacher, str) or _is_a(BaseClassifier, teacher):
                teacher = dict(model=teacher)
            own = dict(student=self.student) if _is_a(EMATeacher, teacher) else {}
            teacher = MODELS.build({'type': 'Teacher', **teacher, **own})
        teacher.check_classes(count_classes(self.student))
        teacher.match_input(*(getattr(self.data_preprocessor, name, None) for name in ('mean', 'std')))
        return teacher

    def _needed_views(self, inputs: Tensor | Views) -> Views:
        views = inputs if isinstance(inputs, Mapping) else {'weak': inputs}
        needed = dict.fromkeys(self.distiller.student_views)
        if self.distiller.needs_teacher:
            needed |= dict.fromkeys(self.distiller.teacher_views)
        missing = [name for name in needed if name not in views]
        if missing:
            raise InputError(
                f'{type(self.distiller).__name__} needs the views {", ".join(needed)}, but '
                f'the data has only {", ".join(views)}: define {", ".join(missing)} in '
                'model.data_preprocessor.views or with MultiView in the training pipeline.'
            )
        return {name: views[name] for name in needed}

    def _apply(self, fn, recurse: bool = True) -> Distillation:
        """Moves and casts (``to``, ``cuda``, ``half``) take the teacher along."""
        if self.teacher is not None:
            self.teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> Distillation:
        """A copy predicts, as an average does, and has no distiller; who wants to train it gives it one."""
        clone = memo[id(self)] = type(self).__new__(type(self))
        modules = {name: module for name, module in self._modules.items() if name != 'distiller'}
        clone.__dict__.update(copy.deepcopy(dict(self.__dict__, _modules=modules), memo))
        clone._taps, clone._compiled = _Outside(self._taps.module.on(clone.student)), None
        clone._graphs = _Outside(None)
        return clone


def _wide(tensor: Tensor) -> Tensor:
    """In fp32, whatever the network computes in; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _of_logits(logits: Mapping[str, Tensor], samples: Tensor | None) -> dict[str, Prediction]:
    return {view: Prediction(own, samples=_of_each_image(samples, own)) for view, own in logits.items()}


def _of_each_image(samples: Tensor | None, logits: Tensor) -> Tensor | None:
    """The sample of each image of a view, which may hold several images of a sample."""
    return None if samples is None else samples.repeat_interleave(len(logits) // len(samples))


def _detached(predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
    return {
        view: Prediction(
            prediction.logits.detach(),
            {tap: feature.detach() for tap, feature in prediction.features.items()},
            samples=prediction.samples,
        )
        for view, prediction in predictions.items()
    }


@contextlib.contextmanager
def _random_stream(name: str) -> Iterator[None]:
    """Draw from a stream of its own, made from torch's seed and a name, and leave torch's as it was."""
    seed = torch.initial_seed()
    digest = hashlib.blake2b(f'{seed} {name}'.encode(), digest_size=8).digest()
    with torch.random.fork_rng():
        torch.manual_seed(int.from_bytes(digest, 'little') >> 1)
        yield


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """In eval mode, without a change to any buffer."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _check_target(student: Mapping[str, Prediction], target: Tensor) -> None:
    for prediction in student.values():
        rows, classes = prediction.logits.shape[:2]
        if rows % max(len(target), 1):
            raise InputError(f'the batch has {rows} images, but {len(target)} labels.')
        if target.is_floating_point() and target.shape[1] != classes:
            raise InputError(
                f'the labels are probabilities of {target.shape[1]} classes, but the student has {classes} outputs.'
            )


def _check_normalization(preprocessor: nn.Module) -> None:
    """Of any preprocessor that normalizes; the zoo's own has looked at it already."""
    if isinstance(getattr(preprocessor, 'mean', None), Tensor) and (given := _normalization(preprocessor)):
        check_normalization(*given, type(preprocessor).__name__)


def _compare_normalization(student: nn.Module, preprocessor: nn.Module) -> None:
    """Say so where a student's weights or its config want another one than the preprocessor's, which counts."""
    own, given = getattr(student, 'normalized_with', None), _normalization(preprocessor)
    if own is None or given is None:
        return
    if not all(
        torch.allclose(torch.tensor(a), torch.tensor(b), rtol=0, atol=1) for a, b in zip(own, given, strict=True)
    ):
        print_log(
            f'the student states the normalization mean={list(own[0])}, std={list(own[1])}, but its images get '
            f'mean={given[0]}, std={given[1]}: if its weights were trained with its own, set it as mean and std of '
            'model.data_preprocessor',
            logger='current',
            level=logging.WARNING,
        )


def _normalization(preprocessor: nn.Module) -> tuple[list[float], list[float]] | None:
    """The mean and std of a preprocessor, R, G, B; None if it does not normalize."""
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return None
    mean, std = (torch.as_tensor(values, dtype=torch.float64).flatten().tolist() for values in (mean, std))
    return mean * 3 if len(mean) == 1 else mean, std * 3 if len(std) == 1 else std


def _build_student(student: str | dict | nn.Module) -> nn.Module:
    if isinstance(student, dict) and 'type' not in student:
        return build_network(**student)
    return build_network(student)


def _take_cache(teacher: Any, distiller: Distiller) -> tuple[Any, TeacherCache | None]:
    """A teacher's config without its cache, and the cache."""
    if not isinstance(teacher, Mapping):
        return teacher, None
    teacher = dict(teacher)
    cache = teacher.pop('cache', None)
    if cache is None:
        return teacher, None
    if _is_a(EMATeacher, teacher):
        raise InputError("EMATeacher's answers change with every step, so none can be kept: leave cache out of it.")
    if distiller.teacher_taps or distiller.needs_images:
        raise InputError(
            f'{type(distiller).__name__} needs more of the teacher than its logits, which is all that a cache keeps: '
            'leave model.teacher.cache out.'
        )
    if not distiller.needs_teacher:
        return teacher, None
    return teacher, TeacherCache(**cache) if isinstance(cache, Mapping) else TeacherCache(cache)


def _is_a(base: type, config: Mapping) -> bool:
    kind = config.get('type')
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    return isinstance(kind, type) and issubclass(kind, base)


# The hooks below are what MMEngine's saver and loader run: they walk the module tree themselves and call no
# ``state_dict``. They take the student's name off its keys and put it on again, and leave the distiller out.

_STUDENT, _DISTILLER = 'student.', 'distiller.'


def _keep_the_student_alone(module: nn.Module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
    for keys in (state_dict, getattr(state_dict, '_metadata', {})):
        for key in [key for key in keys if f'{key}.'.startswith(prefix + _DISTILLER)]:
            del keys[key]
        for key in [key for key in keys if key.startswith(prefix + _STUDENT)]:
            keys[prefix + key[len(prefix + _STUDENT) :]] = keys.pop(key)
    take_versions_out(getattr(state_dict, '_metadata', {}), prefix, 'student')


def _accept_the_student_alone(module: Any, state_dict: dict, prefix: str, *_) -> None:
    own = tuple(f'{prefix}{name}.' for name in module._modules)
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(own)]:
        state_dict[f'{prefix}{_STUDENT}{key[len(prefix) :]}'] = state_dict.pop(key)
    put_versions_in(getattr(state_dict, '_metadata', None), prefix, 'student')
    if isinstance(module.student, LibraryNames):  # mmengine's loader shows the versions to the outermost module alone
        put_versions_in(getattr(state_dict, '_metadata', None), prefix + _STUDENT, 'model')
    if 'distiller' in module._modules:  # not part of the file, and not missing in it
        for key, value in module.distiller.state_dict(prefix=prefix + _DISTILLER).items():
            state_dict.setdefault(key, value)
