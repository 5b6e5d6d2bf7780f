"""The parts of a training step, each by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from .floor import convolutions_alone

Work = Callable[[], object]


class StepParts:
    """A copy of a run's model and optimizer that does any part of the step, on one batch of its data.

    The copy shares the frozen teacher. What it does leaves the run as it was.

    Args:
        runner: A run that has done at least one iteration.
    """

    def __init__(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        memo: dict = {}  # one for both: a copy of the model alone, as an average is, has no distiller
        self.model, self.optimizer = copy.deepcopy((model, runner.optim_wrapper), memo)
        self.model.distiller = copy.deepcopy(model.distiller, memo)
        vars(self.optimizer).pop('step', None)  # the schedulers' counter, which would step the original
        self.model.train()
        self.model.data_preprocessor.deferred = False  # each part by itself is no graph's
        batch = next(iter(another_loader(runner.train_dataloader)))
        self.batch = self.model.data_preprocessor.cast_data(batch)
        self.seen = self.model.data_preprocessor(dict(self.batch), True)
        self.views = {name: self.seen['inputs'][name] for name in self.model.distiller.views}
        self.samples = None if self.seen.get('keys') is None else self.seen['keys'].samples

    def works(self) -> dict[str, Work]:
        """What :class:`~crld_zoo.benchmark.timing.Stages` times."""
        parts = dict(views=lambda: self.model.data_preprocessor(dict(self.batch), True))
        if self.model.distiller.needs_teacher:
            parts['teacher'] = self._teacher
        parts['student'] = self._student()
        parts['distiller'] = self._distiller()
        parts['optimizer'] = self._optimizer()
        parts['floor'] = convolutions_alone(self._forward_student, self._teacher, self.model, self._autocast)
        return parts

    def preprocessor_of_all_views(self) -> nn.Module:
        """The preprocessor, which makes every view even where the distiller looks at one only."""
        preprocessor = copy.deepcopy(self.model.data_preprocessor)
        preprocessor.needed_views = None
        return preprocessor

    def _autocast(self):
        return self.optimizer.optim_context(self.model)

    def _teacher(self) -> dict:
        with self._autocast():
            return self.model.teacher_predictions(self.views, self.samples)

    def _forward_student(self) -> dict:
        with self._autocast():
            return self.model.student_predictions(self.views, self.samples)

    def _student(self) -> Work:
        gradients = [torch.randn_like(prediction.logits) for prediction in self._forward_student().values()]

        def work() -> None:
            logits = [prediction.logits for prediction in self._forward_student().values()]
            torch.autograd.backward(logits, gradients)
            self.model.zero_grad()

        return work

    def _distiller(self) -> Work:
        student = {name: _leaves(prediction) for name, prediction in self._forward_student().items()}
        teacher = self._teacher() if self.model.distiller.needs_teacher else {}
        target = self.seen['data_samples']

        def work() -> None:
            with self._autocast():
                losses = self.model.distiller(student, teacher, target)
                loss, _ = self.model.parse_losses(losses)
            torch.autograd.backward(list(loss.values()) if isinstance(loss, dict) else loss)
            for prediction in student.values():
                for leaf in (prediction.logits, *prediction.features.values()):
                    leaf.grad = None
            self.model.zero_grad()

        return work

    def _optimizer(self) -> Work:
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gradients = [1e-4 * torch.randn_like(parameter) for parameter in parameters]

        def work() -> None:
            if getattr(self.optimizer, 'takes_groups', False):
                self.optimizer.gradients = {
                    group: dict(zip(parameters, gradients, strict=True)) for group in self.optimizer.momenta
                }
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            self.optimizer.step()
            self.optimizer.zero_grad()

        return work


def _leaves(prediction):
    return prediction._replace(
        logits=prediction.logits.detach().requires_grad_(),
        features={tap: feature.detach().requires_grad_() for tap, feature in prediction.features.items()},
    )


def another_loader(loader: DataLoader) -> DataLoader:
    """A second loader over a run's data set, so that reading from it leaves the run's own iterator where it stands."""
    return DataLoader(
        loader.dataset,
        batch_sampler=loader.batch_sampler,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )


class DataPath:
    """Loading alone: sampler, reading or indexing, collate, the move to the device.

    Args:
        loader: The run's loader. Another one like it is read.
        move: Brings a batch to the device.
        clock: Times it.
        seconds: How long one measurement should last at least.
    """

    def __init__(self, loader: DataLoader, move: Callable[[dict], dict], clock, seconds: float = 0.1) -> None:
        self.loader = loader
        self.move = move
        self.clock = clock
        self.seconds = seconds

    def measure(self) -> float:
        """Seconds of a batch.

        Workers begin to load before they are asked. So many batches as they may hold ready go untimed; then loading is
        as fast as the workers are.
        """
        batches = self._endless()
        for _ in range(1 + self.loader.num_workers * (self.loader.prefetch_factor or 0)):
            self.move(next(batches))
        start, count, elapsed = self.clock.now(), 0, 0.0
        while elapsed < self.seconds:
            self.move(next(batches))
            count, elapsed = count + 1, self.clock.now() - start
        return elapsed / count

    def _endless(self) -> Iterator[dict]:
        while True:
            yield from another_loader(self.loader)
