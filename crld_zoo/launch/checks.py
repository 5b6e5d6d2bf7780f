"""What must fit together once a run is built and before its first step: classes, outputs, the last batch."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from crld_zoo.checkpoint_files import read_classes
from crld_zoo.datasets.labels import UnknownLabelsError, labels_of
from crld_zoo.engine.randomness import SeededBatch
from crld_zoo.engine.unwrapped import unwrapped
from crld_zoo.errors import InputError

FURTHER = 'allow it where that is meant (--allow-other-classes, in a config allow_other_classes=True)'


def check_run(runner: Runner, splits: Sequence[str], checkpoint: str | Path | None = None) -> None:
    """Look at a run that is built.

    Args:
        runner: Before ``train`` or ``test``; the loops of the splits are built.
        splits: Of ``'train'``, ``'val'``, ``'test'``.
        checkpoint: The file that it goes on from, starts from, or tests.

    Raises:
        InputError: Class names differ; a network has fewer outputs than the data has classes; the last batch of an
            epoch is one image that a batch norm or the distiller cannot take.
    """
    loaders = dict(_loaders(runner, splits))
    named = {f'{split}_dataloader': _classes(loader) for split, loader in loaders.items()}
    if checkpoint is not None:
        named[str(checkpoint)] = read_classes(checkpoint)
    model = unwrapped(runner.model)
    by_library: dict[str, Sequence] = {}
    for place, names, of_library in _of_weights(model) if splits != ['test'] else ():
        (by_library if of_library else named)[place] = names
    check_classes(named, by_library, allow=runner.cfg.get('allow_other_classes', False))
    for split in loaders:
        if split != 'train':
            _check_metrics(getattr(runner, f'{split}_loop').evaluator, split, len(named[f'{split}_dataloader'] or ()))
    if hasattr(model, 'student'):
        _check_outputs(model.student, named, loaders)
        if 'train' in loaders:
            _check_last_batch(model, loaders['train'])


def load_student_weights(runner: Runner, path: str | Path) -> None:
    """Load a checkpoint of any layout into the student of a run, all of it into all of it."""
    from crld_zoo.networks.weights import load_weights  # models are looked up by name everywhere else in this room

    model = unwrapped(runner.model)
    load_weights(getattr(model, 'student', model), path)


def check_classes(
    named: Mapping[str, Sequence | None], by_library: Mapping[str, Sequence] = MappingProxyType({}), allow: bool = False
) -> None:
    """See that everything that names its classes names the same ones in the same order.

    Args:
        named: By where they stand, the names; None where there are none.
        by_library: The same of libraries, which may name the same classes otherwise: only a name that both know has to
            stand at the same place.
        allow: Say so in the log and go on.

    Raises:
        InputError: Two differ; it lists in what.

    >>> check_classes({'data': ['cat', 'dog'], 'old.pth': None, 'new.pth': ['cat', 'dog']})
    """
    known = {place: [str(name) for name in names] for place, names in named.items() if names is not None}
    first, expected = next(iter(known.items()), ('', []))
    for place, names in {**known, **by_library}.items():
        pairs = [*enumerate(itertools.zip_longest(expected, names, fillvalue='none'))]
        if place in by_library:
            both = set(names).intersection(expected)
            right = {a for _, (a, b) in pairs if a == b}  # ImageNet has two classes 'crane'
            pairs = [(number, (a, b)) for number, (a, b) in pairs if b in both - right]
        differ = [f"{number}: '{a}' or '{b}'" for number, (a, b) in pairs if a != b]
        if not differ:
            continue
        reason = (
            f'{first} and {place} name other classes ({len(differ)} differ: {", ".join(differ[:5])}'
            f'{", …" if len(differ) > 5 else ""})'
        )
        if not allow:
            raise InputError(
                f'{reason}: an output would mean one class here and another there. Correct one, or {FURTHER}.'
            )
        print_log(f'{reason}: allowed', logger='current', level=logging.WARNING)


def _loaders(runner: Runner, splits: Sequence[str]) -> Iterator[tuple[str, DataLoader]]:
    for split in splits:
        if getattr(runner, f'_{split}_loop') is not None:
            loader = getattr(getattr(runner, f'{split}_loop'), 'dataloader', None)
            if loader is not None:
                yield split, loader


def _classes(loader: DataLoader) -> list | None:
    return (getattr(loader.dataset, 'metainfo', None) or {}).get('classes')


def _of_weights(model: BaseModel) -> Iterator[tuple[str, list[str], bool]]:
    """Of each network that has weights from somewhere: what names its outputs, their names, whether a library does."""
    teacher = getattr(model, 'teacher', None)
    for network in (getattr(model, 'student', None), *getattr(teacher, 'teachers', (teacher,))):
        named = getattr(network, 'named_classes', None)
        if named is not None:
            yield named


def _check_outputs(student: nn.Module, named: Mapping, loaders: Mapping) -> None:
    from crld_zoo.networks.sources import count_classes  # as above

    outputs = count_classes(student)
    for split in loaders:
        place = f'{split}_dataloader'
        count = len(named[place] or ()) or _highest_label(loaders[split]) + 1
        if outputs < count:
            raise InputError(
                f'the data of {place} has {count} classes, the student {outputs} outputs: set its num_classes (and the '
                "teacher's) to those of the data."
            )
        if count and outputs > count:
            print_log(
                f'the student has {outputs} outputs for the {count} classes of {place}: the rest is never right',
                logger='current',
                level=logging.WARNING,
            )


def _check_metrics(evaluator: Evaluator, split: str, count: int) -> None:
    """See that metrics of other libraries can count the classes, which they find out after an epoch, or never."""
    for metric in evaluator.metrics if count else ():
        name, topk, classes = type(metric).__name__, getattr(metric, 'topk', None), getattr(metric, 'num_classes', None)
        highest = max(topk) if isinstance(topk, list | tuple) and topk else topk
        if isinstance(highest, int) and highest > count:
            raise InputError(
                f'{name} of {split}_evaluator: topk={highest} is more than the {count} classes of its data.'
            )
        if isinstance(classes, int) and classes < count:
            raise InputError(f'{name} of {split}_evaluator: num_classes={classes}, but its data have {count} classes.')


def _highest_label(loader: DataLoader) -> int:
    try:
        return int(labels_of(loader.dataset).max())
    except (UnknownLabelsError, KeyError):
        return -1


def _check_last_batch(model: BaseModel, loader: DataLoader) -> None:
    """Try the student on one image where the last batch of an epoch is that, and see that the distiller takes it."""
    batches = loader.batch_sampler
    sampler, size = getattr(batches, 'sampler', None), getattr(batches, 'batch_size', None)
    if sampler is None or size is None or isinstance(sampler, InfiniteSampler):
        return
    last = len(sampler) % size or size
    if last != 1 or getattr(getattr(batches, 'batches', batches), 'drop_last', False):
        return
    distiller = model.distiller
    if distiller.needs_two or any(isinstance(each, _BatchNorm) for each in distiller.modules()):
        raise InputError(
            f'the last batch of an epoch is one image ({len(sampler)} in batches of {size}), and '
            f'{type(distiller).__name__} needs two or more: set train_dataloader.drop_last=True, or another batch size.'
        )
    device = next(model.student.parameters()).device
    before = {name: buffer.clone() for name, buffer in model.student.named_buffers()}
    training = {module: module.training for module in model.student.modules()}
    with torch.random.fork_rng(devices=[device] if device.type == 'cuda' else []), torch.no_grad():
        one = [SeededBatch([0], seed=0, epoch=0, copies=np.zeros(1, np.int64))]
        batch = next(iter(DataLoader(loader.dataset, batch_sampler=one, collate_fn=loader.collate_fn)))
        inputs = model.data_preprocessor(batch, False)['inputs']
        image = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
        try:
            model.student.train()
            model.student(image[:1])
        except ValueError as error:
            if 'more than 1 value per channel' not in str(error):
                raise
            raise InputError(
                f'the last batch of an epoch is one image ({len(sampler)} in batches of {size}), and a batch norm of '
                'the student cannot take it: set train_dataloader.drop_last=True, or another batch size.'
            ) from error
        finally:
            for module, mode in training.items():
                module.training = mode
            for name, buffer in model.student.named_buffers():
                buffer.copy_(before[name])
