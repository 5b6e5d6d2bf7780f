"""What must be true of the data before a run begins."""

from __future__ import annotations

import contextlib
import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log

from crld_zoo.datasets.labels import UnknownLabelsError, check_labeled, has_labels
from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .unwrapped import unwrapped


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Refuses, before the first iteration, to evaluate images that have no label, and to learn from nothing.

    A training set without any label needs a trained teacher; with one, the log says that the cross-entropy is 0.
    """

    def before_run(self, runner) -> None:
        """Look at the data of the loops that are built.

        Raises:
            InputError: An image to evaluate on has no label, or no image to train on has one and there is no teacher.
        """
        for name in ('val', 'test'):
            loop = getattr(runner, f'_{name}_loop')
            if hasattr(loop, 'dataloader'):
                check_labeled(loop.dataloader.dataset, f'{name}_dataloader')
        model = unwrapped(runner.model)
        distiller = getattr(model, 'distiller', None)
        if distiller is None or not hasattr(runner._train_loop, 'dataloader'):
            return
        with contextlib.suppress(UnknownLabelsError, KeyError):
            if not has_labels(runner._train_loop.dataloader.dataset):
                self._check_unlabeled(distiller, getattr(model, 'teacher', None))

    @staticmethod
    def _check_unlabeled(distiller, teacher) -> None:
        name = type(distiller).__name__
        if getattr(teacher, 'is_average', False):
            raise InputError(
                f'no image of train_dataloader has a label, and {teacher.name} knows only what the student learned: '
                'there is nothing to learn from. Label some, or take a trained teacher.'
            )
        if not distiller.needs_teacher:
            raise InputError(
                f'no image of train_dataloader has a label, and {name} has no teacher: there is nothing to learn from. '
                'Label some, or take a distiller with a teacher.'
            )
        if distiller.ce_weight:
            print_log(
                f'no image of train_dataloader has a label: the cross-entropy of {name} is 0, say so with '
                'model.distiller.ce_weight=0',
                logger='current',
                level=logging.WARNING,
            )
