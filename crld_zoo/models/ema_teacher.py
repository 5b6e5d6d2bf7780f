"""A teacher that is the average of the student's own weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import broadcast, get_world_size
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .teacher import Teacher


@MODELS.register_module()
class EMATeacher(Teacher):
    """The mean teacher: the exponential moving average of the student (Tarvainen & Valpola, NeurIPS 2017).

    After step ``t = 1, 2, …``, with the student's weights ``theta_t`` (arXiv 1703.01780 and CuriousAI/mean-teacher):

        ``theta'_t = a_t theta'_(t-1) + (1 - a_t) theta_t``,  ``a_t = min(1 - 1 / (t + 1), decay)``

    so it is the plain mean of all weights at first. It begins as the student with its first weights, those of a
    checkpoint included; steps that are skipped do not count, and accumulated gradients count once, when they make a
    step. :meth:`Distillation.observe` updates it, which a loop of your own calls after every step.

    It answers in eval mode, as every teacher here, on the images as the student sees them. The running statistics of
    batch norms are averaged as the weights are, as timm's ``ModelEmaV2`` does; counters are copied. The published code
    averages the parameters alone, and its teacher takes the statistics of the batch. On several processes the
    statistics are those of the main one, as in the student's checkpoint.

    The student's checkpoint does not hold it; those to go on from have it as ``checkpoint['teacher']``.

    Args:
        student: What is averaged. A config leaves it out: it is the run's student.
        decay: The share of the average that stays in a step, from 0 to below 1: torch's and timm's ``decay``, and 1
            minus the ``momentum`` of MMEngine's ``ExponentialMovingAverage``.

    Raises:
        InputError: ``decay`` is no such share; there is no student.

    Example:
        >>> student = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
        >>> teacher = EMATeacher(student, decay=0.9)
        >>> with torch.no_grad():
        ...     moved = student[2].weight.add_(1.0)
        >>> teacher.update()  # the mean of the two
        >>> torch.allclose(next(teacher.parameters()), student[2].weight - 0.5)
        True
    """

    is_average = True  # for hooks, which judge teachers that are trained

    def __init__(self, student: nn.Module | None = None, decay: float = 0.999) -> None:
        if student is None:
            raise InputError('EMATeacher is the average of the student of its run: name it as model.teacher itself')
        if not 0 <= decay < 1:
            raise InputError(f'decay={decay} of EMATeacher: the share of the average that stays, from 0 to below 1')
        average = copy.deepcopy(student)
        super().__init__(average, fold=False)  # what is folded has no weights left to average
        self.name = type(self).__name__
        self.decay = decay
        self.steps = 0
        self._pair = [average, student]  # in a list: no part of the module tree
        self._begun = False

    def match_input(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Do nothing: it sees images as the student does."""

    @torch.no_grad()
    def begin(self) -> None:
        """Take the student's first weights, once they are final: called before the first step."""
        if not self._begun and not self.steps:
            own, current = map(_tensors, self._pair)
            for name, value in own.items():
                value.copy_(current[name])
        self._begun = True

    @torch.no_grad()
    def update(self) -> None:
        """Take the student's weights after a step into the average."""
        self.steps += 1
        own, current = map(_tensors, self._pair)
        averaged = [name for name, value in own.items() if value.is_floating_point()]
        average = get_ema_multi_avg_fn(min(1 - 1 / (self.steps + 1), self.decay))
        average([own[name] for name in averaged], [current[name] for name in averaged], None)
        for name in own.keys() - averaged:
            own[name].copy_(current[name])
        if get_world_size() > 1:
            self._share_statistics()

    def _share_statistics(self) -> None:
        buffers = [buffer for buffer in self.network.buffers() if buffer.is_floating_point()]
        if buffers:
            together = torch.cat([buffer.flatten() for buffer in buffers])
            broadcast(together)
            for buffer, value in zip(buffers, together.split([buffer.numel() for buffer in buffers]), strict=True):
                buffer.copy_(value.view_as(buffer))

    def saved(self) -> dict[str, Tensor]:
        """What a run needs to go on with it."""
        own = {f'network.{name}': value.detach().cpu() for name, value in _tensors(self.network).items()}
        return dict(steps=torch.tensor(self.steps), **own)

    @torch.no_grad()
    def resume(self, saved: Mapping[str, Tensor]) -> None:
        """Go on with what :meth:`saved` gave.

        Raises:
            InputError: It is empty, or of another network.
        """
        own = {f'network.{name}': value for name, value in _tensors(self.network).items()}
        if {name: value.shape for name, value in saved.items() if name != 'steps'} != {
            name: value.shape for name, value in own.items()
        }:
            raise InputError(
                "the checkpoint does not hold the average of this student, which the run's EMATeacher goes on from: go "
                'on with the config that it was trained with, or start a new run from its weights (load_from).'
            )
        for name, value in own.items():
            value.copy_(saved[name])
        self.steps = int(saved['steps'])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
