"""Several teachers as one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .teacher import Teacher

AVERAGES = ('probabilities', 'logits')


@MODELS.register_module()
class TeacherEnsemble(nn.Module):
    """The mean of several teachers, with the interface of one :class:`~crld_zoo.models.Teacher`.

    With weights ``w_i`` that sum to one, and ``z_i`` the logits of teacher ``i``:

    - ``average='probabilities'`` gives ``log sum_i w_i softmax(z_i)``: logits whose softmax at temperature 1 is the
      mean of the teachers' probabilities. At another temperature they are softened after the mean.
    - ``average='logits'`` gives ``sum_i w_i z_i``, the geometric mean of the probabilities at every temperature.

    Args:
        teachers: The arguments of each :class:`~crld_zoo.models.Teacher`, or modules with its interface. Each sees
            images in its own way.
        average: What is averaged.
        weights: One positive number a teacher, in any scale; equal ones if None.
        expected_top1: The top-1 accuracy in percent that the mean should reach, if known.

    Raises:
        InputError: There is no teacher, the weights do not fit, or the teachers' classes differ.
    """

    def __init__(
        self,
        teachers: Sequence[Mapping | nn.Module],
        average: str = 'probabilities',
        weights: Sequence[float] | None = None,
        expected_top1: float | None = None,
    ):
        super().__init__()
        if not teachers:
            raise InputError('TeacherEnsemble needs at least one teacher')
        if average not in AVERAGES:
            raise InputError(f"average='{average}' of TeacherEnsemble: one of {', '.join(AVERAGES)}")
        weights = [1.0] * len(teachers) if weights is None else list(weights)
        if len(weights) != len(teachers) or not all(math.isfinite(weight) and weight > 0 for weight in weights):
            raise InputError(
                f'weights={weights} of TeacherEnsemble: one number above zero for each of its {len(teachers)} teachers'
            )
        built = nn.ModuleList(
            teacher if isinstance(teacher, nn.Module) else MODELS.build({'type': 'Teacher', **teacher})
            for teacher in teachers
        )
        self.teachers = cast(Sequence[Teacher], built)
        for other in self.teachers[1:]:
            other.check_classes(self.num_classes)
        self.average = average
        self.weights = [weight / sum(weights) for weight in weights]
        self.expected_top1 = expected_top1
        self.eval()

    @property
    def name(self) -> str:
        """How the log calls it."""
        return ' + '.join(teacher.name for teacher in self.teachers)

    @property
    def is_random(self) -> bool:
        """Whether the config asks for random weights of any."""
        return any(getattr(teacher, 'is_random', False) for teacher in self.teachers)

    @property
    def num_classes(self) -> int:
        """The number of its outputs."""
        return self.teachers[0].num_classes

    def match_input(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Say how the images that it will be given are normalized; see :meth:`crld_zoo.models.Teacher.match_input`."""
        for teacher in self.teachers:
            teacher.match_input(mean, std)

    def check_classes(self, num_classes: int) -> None:
        """See that the teachers have the student's number of classes; raises InputError if not."""
        for teacher in self.teachers:
            teacher.check_classes(num_classes)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """The mean ``(N, K)`` of the teachers, as logits, of images ``(N, 3, H, W)``."""
        logits = torch.stack([teacher(inputs).float() for teacher in self.teachers])
        weights = logits.new_tensor(self.weights).view(-1, 1, 1)
        if self.average == 'logits':
            return (weights * logits).sum(0)
        return (logits.log_softmax(-1) + weights.log()).logsumexp(0)

    def extract(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean and no features."""
        return self(inputs), {}

    peek = extract

    def tap(self, names: Sequence[str], probe: Tensor) -> None:
        """Refuse: the features of different networks have no mean.

        Raises:
            InputError: There are names.
        """
        if names:
            raise InputError(
                'the distiller asks for features of the teacher, which several teachers cannot give: name one teacher'
            )

    def optimize(self) -> None:
        """Fold and compile each teacher as its options say."""
        for teacher in self.teachers:
            teacher.optimize()

    def train(self, mode: bool = True) -> TeacherEnsemble:
        """Stay in eval mode, as each teacher does."""
        return super().train(False)

    def fingerprint(self) -> str:
        """A digest of all that decides its answers."""
        parts = [self.average, *map(repr, self.weights), *(teacher.fingerprint() for teacher in self.teachers)]
        return hashlib.sha256('\n'.join(parts).encode()).hexdigest()
