"""The teacher's own accuracy, measured once, before a training builds on it."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from crld_zoo.datasets.labels import UnknownLabelsError, labels_of
from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS
from crld_zoo.views import targets

from .unwrapped import unwrapped


@HOOKS.register_module()
class TeacherAccuracyHook(Hook):
    """Measures the teacher's top-1 on the validation set before training, and holds it against ``expected_top1``.

    Most ways to spoil a teacher leave no error: another normalization, blue first, classes in another order. They all
    show here, the worst of them also where nothing is expected: a teacher of ``K`` classes that a binomial test (1 %,
    one-sided) cannot tell from one that guesses, right with probability ``1/K``, is refused. That of several teachers
    holds for each, and for none whose config asks for random weights.

    The accuracy is measured through the model's own preprocessor, so the teacher sees what it will see in training,
    without augmentation. The checkpoints keep it: a resumed run measures again only where teacher or data are others.
    An ``EMATeacher``, which knows nothing yet, is not measured.

    Args:
        tolerance: How many points below the teacher's ``expected_top1`` are let pass.

    Raises:
        InputError: The teacher is further below, or no better than chance.
    """

    def __init__(self, tolerance: float = 5.0) -> None:
        if tolerance < 0:
            raise InputError(f'tolerance={tolerance} of TeacherAccuracyHook: percentage points, 0 or more')
        self.tolerance = tolerance

    def before_train(self, runner: Runner) -> None:
        """Measure, or take what was measured before, and compare."""
        model = unwrapped(runner.model)
        teacher = getattr(model, 'teacher', None)
        if teacher is None:
            return
        if getattr(teacher, 'is_average', False):
            runner.logger.info(f'the accuracy of {teacher.name} is not checked: it begins as the student')
            return
        if runner.val_loop is None:
            runner.logger.warning('the accuracy of the teacher is not checked: there is no val_dataloader')
            return
        loader = runner.val_loop.dataloader
        measured = dict(runner.message_hub.get_info('teacher_top1', {}))
        for judged in (teacher, *getattr(teacher, 'teachers', ())):
            key, how = _digest(judged, loader.dataset), 'measured before'
            if key not in measured:
                measured[key], how = measure_accuracy(model, judged, loader), 'measured'
                runner.message_hub.update_info('teacher_top1', measured)
            accuracy = measured[key]
            expected = '' if judged.expected_top1 is None else f', expected {judged.expected_top1:.2f}'
            runner.logger.info(f'teacher {judged.name}: top-1 {accuracy:.2f} on the validation set ({how}{expected})')
            self._judge(judged, accuracy, len(loader.dataset))

    def _judge(self, teacher: Any, accuracy: float, images: int) -> None:
        if teacher.expected_top1 is not None and accuracy < teacher.expected_top1 - self.tolerance:
            found = f'far below the {teacher.expected_top1:.2f} that its config expects'
            remedy = 'if the figure is right, correct expected_top1'
        elif not getattr(teacher, 'is_random', False) and guesses(
            round(accuracy * images / 100), images, teacher.num_classes
        ):
            found = f'which {images} images cannot tell from guessing among {teacher.num_classes} classes'
            remedy = 'if that is meant, leave this check out (default_hooks.teacher_accuracy=None)'
        else:
            return
        raise InputError(
            f'the teacher {teacher.name} has a top-1 of {accuracy:.2f} on the validation set, {found}; the usual '
            'causes: its normalization (mean and std), the order of the channels (bgr), the order of the classes '
            f'(classes), the size of its images (size), a checkpoint of another data set; {remedy}'
        )


def guesses(right: int, images: int, classes: int, level: float = 0.01) -> bool:
    """Whether so many right answers are no evidence that somebody does better than to guess.

    The answer to a one-sided binomial test: ``P(X >= right)`` of ``X ~ B(images, 1 / classes)`` is above ``level``. It
    is no where even only right answers would be no evidence: too few images say nothing about anybody.

    >>> guesses(110, 1000, classes=10), guesses(130, 1000, classes=10)
    (True, False)
    """
    if classes**-images > level:
        return False
    chance = torch.distributions.Binomial(images, torch.tensor(1 / classes, dtype=torch.float64))
    tail = chance.log_prob(torch.arange(right, images + 1, dtype=torch.float64)).exp().sum()
    return tail.item() > level


@torch.no_grad()
def measure_accuracy(model: Any, teacher: nn.Module, loader: Any) -> float:
    """Top-1 of a teacher in percent, over every sample of a loader, on all processes together.

    Args:
        model: The model whose preprocessor makes the teacher's input of a batch.
        teacher: A teacher that knows how that preprocessor normalizes.
        loader: A ``DataLoader`` of images with labels, sharded as MMEngine's ``DefaultSampler`` does.
    """
    correct = []
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed, which a run that measures nothing would not
        for batch in loader:
            batch = model.data_preprocessor(batch, False)
            logits = teacher(batch['inputs'])
            correct.append((logits.argmax(1) == targets(batch['data_samples']).to(logits.device)).cpu())
    shards = all_gather_object(torch.cat(correct))
    length = min(len(shard) for shard in shards)
    in_order = torch.stack([shard[:length] for shard in shards], 1).flatten()  # the last ones fill up the shards
    return 100.0 * in_order[: len(loader.dataset)].double().mean().item()


def _digest(teacher: Any, dataset) -> str:
    """What the accuracy depends on: the teacher and the labelled images, which their number and labels stand for."""
    digest = hashlib.sha256(f'{teacher.fingerprint()} {len(dataset)}'.encode())
    with contextlib.suppress(UnknownLabelsError):
        digest.update(labels_of(dataset).tobytes())
    return digest.hexdigest()
