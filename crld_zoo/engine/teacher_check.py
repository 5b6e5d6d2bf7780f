"""The teacher's own accuracy, measured once, before a training builds on it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from crld_zoo.errors import InputError
from crld_zoo.files import write_atomically
from crld_zoo.registry import HOOKS
from crld_zoo.views import targets

RECORDS = 'teacher_accuracy.json'
"""The file in the work dir that keeps what was measured."""

SAMPLED = 64
"""How many items tell one data set from another."""


@HOOKS.register_module()
class TeacherAccuracyHook(Hook):
    """Measures the teacher's top-1 on the validation set before training, and holds it against ``expected_top1``.

    Most ways to spoil a teacher leave no error: another normalization, blue first, classes in another order. They all
    show here, the worst of them also where nothing is expected: a teacher of ``K`` classes that a binomial test (1 %,
    one-sided) cannot tell from one that guesses, right with probability ``1/K``, is refused. That of several teachers
    holds for each, and for none whose config asks for random weights.

    The accuracy is measured through the model's own preprocessor, so the teacher sees what it will see in
    training, without augmentation. It is kept in the work dir by the teacher's weights and the data, so a resumed or
    repeated run does not measure again.

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
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        teacher = getattr(model, 'teacher', None)
        if teacher is None:
            return
        if runner.val_loop is None:
            runner.logger.warning('the accuracy of the teacher is not checked: there is no val_dataloader')
            return
        loader = runner.val_loop.dataloader
        path = Path(runner.work_dir, RECORDS)
        data = _data_digest(loader.dataset)
        for judged in (teacher, *getattr(teacher, 'teachers', ())):
            key = hashlib.sha256(f'{judged.fingerprint()} {data}'.encode()).hexdigest()
            accuracy = _recall(path, key)
            how = 'measured before'
            if accuracy is None:
                accuracy, how = measure_accuracy(model, judged, loader), 'measured'
                if is_main_process():
                    _remember(path, key, judged.name, accuracy, len(loader.dataset))
            expected = '' if judged.expected_top1 is None else f', expected {judged.expected_top1:.2f}'
            runner.logger.info(f'teacher {judged.name}: top-1 {accuracy:.2f} on the validation set ({how}{expected})')
            self._judge(judged, accuracy, len(loader.dataset))

    def _judge(self, teacher: nn.Module, accuracy: float, images: int) -> None:
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
def measure_accuracy(model: nn.Module, teacher: nn.Module, loader: DataLoader) -> float:
    """Top-1 of a teacher in percent, over every sample of a loader, on all processes together.

    Args:
        model: The model whose preprocessor makes the teacher's input of a batch.
        teacher: A teacher that knows how that preprocessor normalizes.
        loader: Images with labels, sharded as MMEngine's ``DefaultSampler`` does.
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


def _data_digest(dataset) -> str:
    """A digest of a data set: its kind and size, all its labels where it tells them, and some of its items."""
    digest = hashlib.sha256(f'{type(dataset).__name__} {len(dataset)}'.encode())
    labels = dataset.get_gt_labels() if hasattr(dataset, 'get_gt_labels') else getattr(dataset, 'labels', ())
    digest.update(torch.as_tensor(labels).cpu().numpy().tobytes())
    for index in torch.linspace(0, len(dataset) - 1, min(len(dataset), SAMPLED)).long().tolist():
        item = dataset[index]
        label = item['data_samples'] if isinstance(item['data_samples'], Tensor) else item['data_samples'].gt_label
        for part in (item['inputs'], label):
            digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _recall(path: Path, key: str) -> float | None:
    """What the main process finds in the records: processes on other machines may not see the file."""
    found = [None]
    if is_main_process():
        found = [_read(path).get(key, {}).get('top1')]
    broadcast_object_list(found)
    return found[0]


def _remember(path: Path, key: str, name: str, accuracy: float, images: int) -> None:
    records = {**_read(path), key: dict(teacher=name, top1=accuracy, images=images)}
    write_atomically(json.dumps(records, indent=1).encode(), path)


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # nothing is lost but the time to measure again
        return {}
