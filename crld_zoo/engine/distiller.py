"""What a distiller needs of a run: to be told where it stands, to see each step, to be saved beside the student."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from crld_zoo.datasets import labels_of, numbers_of
from crld_zoo.datasets.subset import UNLABELED
from crld_zoo.distillers import Progress, TrainingData
from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .unwrapped import unwrapped

STATE = 'distiller'
"""Its key in a checkpoint."""

TEACHER = 'teacher'
"""That of a teacher which is the student's average."""


def shared_buffers(model: Any) -> Iterator[Tensor]:
    """The buffers that all processes take from the main one: all but the tables of a distiller."""
    plain = unwrapped(model)
    own = set(getattr(plain, '_ddp_params_and_buffers_to_ignore', ()))
    return (buffer for name, buffer in plain.named_buffers() if name not in own)


@HOOKS.register_module()
class DistillerHook(Hook):
    """Calls a distiller's ``connect``, ``begin`` and ``observe``, and keeps its state as ``checkpoint['distiller']``.

    An :class:`~crld_zoo.models.EMATeacher` is updated with ``observe``, and kept as ``checkpoint['teacher']``.

    Both are in the checkpoints that a run can go on from; the best and the published ones hold the student alone.
    """

    priority = 'ABOVE_NORMAL'  # before the hooks that save

    def before_run(self, runner) -> None:
        """Tell it of the training set, before a resume loads what it kept of it."""
        distiller = _distiller(runner)
        if distiller is None:
            return
        takes_groups = getattr(runner.optim_wrapper, 'takes_groups', False)
        if distiller.groups and not takes_groups:
            raise InputError(
                f'{type(distiller).__name__} has a gradient of its own for each group of losses: set '
                "optim_wrapper.type='GroupedOptimWrapper'."
            )
        if takes_groups:
            runner.optim_wrapper.check_groups(distiller.groups.values(), type(distiller).__name__)
        dataset = runner.train_dataloader.dataset
        if distiller.overrides('connect'):
            labels = labels_by_number(dataset)
            classes = dataset.metainfo.get('classes') or ()
            distiller.connect(TrainingData(len(labels), len(classes), labels))
            model = unwrapped(runner.model)
            distiller.to(next(model.parameters()).device)
            model._ddp_params_and_buffers_to_ignore = [f'distiller.{name}' for name, _ in distiller.named_buffers()]

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Tell it where the training stands."""
        distiller = _distiller(runner)
        if distiller is not None:
            length = len(runner.train_dataloader)
            iterations = runner.max_iters
            distiller.begin(Progress(runner.iter // length + 1, runner.iter, -(-iterations // length), iterations))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Let it see the step, unless the step was skipped."""
        model = unwrapped(runner.model)
        if hasattr(model, 'observe'):
            model.observe(skipped=outputs is None, accumulated=not runner.optim_wrapper.should_update())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save its state, if the checkpoint is one to go on from."""
        distiller, average = _distiller(runner), _average(runner)
        if average is not None and 'optimizer' in checkpoint:
            checkpoint[TEACHER] = average.saved()
        if distiller is not None and 'optimizer' in checkpoint and (state := distiller.state_dict()):
            checkpoint[STATE] = {name: value.detach().cpu() for name, value in state.items()}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Take its state up again.

        Raises:
            InputError: The checkpoint has none, or another distiller's, or not the student's average.
        """
        distiller, average = _distiller(runner), _average(runner)
        if average is not None and runner._resume:
            average.resume(checkpoint.get(TEACHER, {}))
        if distiller is None or not runner._resume or not distiller.state_dict():
            return
        try:
            distiller.load_state_dict(checkpoint.get(STATE, {}))
        except RuntimeError as error:
            raise InputError(
                f'the checkpoint does not hold the state of {type(distiller).__name__}: go on with the config that it '
                f'was trained with ({str(error).splitlines()[-1].strip()}).'
            ) from error


def labels_by_number(dataset) -> Tensor:
    """The label of each sample number, -1 where the training set has none, int64."""
    numbers, _, size = numbers_of(dataset)
    table = torch.full((size,), UNLABELED)
    table[numbers] = torch.as_tensor(labels_of(dataset), dtype=torch.int64)
    return table


def _distiller(runner):
    model = unwrapped(runner.model)
    return getattr(model, 'distiller', None)


def _average(runner):
    teacher = getattr(unwrapped(runner.model), 'teacher', None)
    return teacher if getattr(teacher, 'is_average', False) else None
