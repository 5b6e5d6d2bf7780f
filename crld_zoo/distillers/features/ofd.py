"""A comprehensive overhaul of feature distillation (Heo et al., ICCV 2019, arXiv 1904.01866)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Networks, Predictions
from .maps import STAGES, MapDistiller, over_maps

BEFORE_ACTIVATION = tuple(f'{stage}:pre' for stage in STAGES)


@over_maps(same_channels=True)
def ofd_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor], margins: Sequence[Tensor]) -> Tensor:
    """``sum over stages of 2^-(n-1-i) sum (x - t)^2 [x > t or t > 0]``, ``t = max(F_t, m)``: a partial L2 distance.

    Where the teacher is not active, the student need only be below the margin (eqs. 4 to 6). A sum over channels and
    positions, as published; the weight is as small accordingly.

    Args:
        maps_s: The student's maps after the regressor, ``(N, C, h, w)`` each, before an activation.
        maps_t: The teacher's maps before the activation, of as many channels; a constant, brought to the size of the
            student's by adaptive averages.
        margins: ``m`` of each channel, ``(C,)`` a stage, see :func:`margin`.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the channels do not fit.

    Example:
        >>> s, t = torch.tensor([[[[-3.0, 1.0]]]]), torch.tensor([[[[-1.0, 3.0]]]])
        >>> ofd_loss([s], [t], [torch.tensor([-0.5])])  # the first position is below the margin
        tensor([4.])
    """

    def distance(map_s: Tensor, map_t: Tensor, least: Tensor) -> Tensor:
        wanted = F.adaptive_avg_pool2d(map_t, (map_s.shape[2], map_s.shape[3])).maximum(least[:, None, None])
        counts = (map_s > wanted) | (wanted > 0)
        return ((map_s - wanted).square() * counts).sum((1, 2, 3))

    distances = itertools.starmap(distance, zip(maps_s, maps_t, margins, strict=True))
    return functools.reduce(lambda shallower, deeper: shallower / 2 + deeper, distances)


def margin(norm: nn.BatchNorm2d) -> Tensor:
    """``E[x | x < 0]`` of each channel ``(C,)`` that a batch norm ends with, ``x ~ N(beta, gamma^2)`` (eq. 5).

    ``-3 |gamma|`` where a negative value has a probability below 0.001.

    Example:
        >>> margin(nn.BatchNorm2d(1))  # -sqrt(2 / pi)
        tensor([-0.7979])
    """
    deviation, mean = norm.weight.detach().double().abs().clamp_min(1e-12), norm.bias.detach().double()
    ratio = mean / deviation
    below_0 = torch.special.ndtr(-ratio)
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)
    expected = mean - deviation * density / below_0.clamp_min(1e-3)
    return torch.where(below_0 > 1e-3, expected, -3 * deviation).to(norm.weight.dtype)


@DISTILLERS.register_module()
class OFD(MapDistiller):
    """The student's maps before the activation imitate the teacher's, but for how negative they are (ICCV 2019).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller. The teacher stays in eval mode, as every teacher
    here; the published code trains with the teacher's batch statistics and lets its running statistics drift. The
    regressor's batch norm sees the batch of its own process. The margins come from the teacher's batch norms before
    the tapped activations, so a teacher without them (a transformer, a ConvNeXt) is refused when built.

    Args:
        taps: The student's maps before an activation; networks for ImageNet have a ``'stage4:pre'`` as well.
        kd_weight: Weight of the distance.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> OFD().teacher_taps
        ('stage1:pre', 'stage2:pre', 'stage3:pre')
    """

    per_sample = False
    fixed_teacher = True

    def __init__(
        self,
        taps: Sequence[str] = BEFORE_ACTIVATION,
        kd_weight: float = 1e-3,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)

    def projection(self, map_s: Tensor, map_t: Tensor) -> nn.Module:
        convolution = nn.Conv2d(map_s.shape[1], map_t.shape[1], 1, bias=False)
        nn.init.normal_(convolution.weight, std=math.sqrt(2 / map_t.shape[1]))
        return nn.Sequential(convolution, nn.BatchNorm2d(map_t.shape[1]))

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        super().setup(student, teacher, networks)
        norms = {f'stage{number}:pre': norm for number, norm in enumerate(networks.teacher_norms(), 1)}
        for number, tap in enumerate(self.teacher_taps):
            if tap not in norms:
                raise InputError(
                    f'OFD needs the batch norm before the activation of each map of the teacher: teacher_taps can be '
                    f"{', '.join(norms) or 'nothing of this teacher'}, not '{tap}'."
                )
            self.register_buffer(f'margin{number}', margin(norms[tap]), persistent=False)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        margins = [getattr(self, f'margin{number}') for number in range(len(self.built()))]
        return ofd_loss(self.project(maps_s), maps_t, margins)
