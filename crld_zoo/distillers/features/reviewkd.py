"""Distilling knowledge via knowledge review (Chen et al., CVPR 2021, arXiv 2104.09044)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.registry import DISTILLERS

from ..base import Networks, Predictions
from .maps import STAGES, MapDistiller, mean_square, over_maps

BEFORE_ACTIVATION = tuple(f'{stage}:pre' for stage in STAGES)
WIDEST = 512
"""The most channels that the fusion has, as in the published code."""


@over_maps(pool=True, same_channels=True)
def hcl_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
    """``sum over levels of (D_h + sum_l w_l D_l) / (1 + sum_l w_l)``: hierarchical context loss (section 3.4).

    ``D_l`` is the mean squared distance of the maps averaged to ``l x l`` positions, for ``l`` of 4, 2 and 1 that are
    below the height ``h``, ``w_l`` 1/2, 1/4, 1/8 in the order of those that are used.

    Args:
        maps_s: The student's fused maps, ``(N, C, h, w)`` each. Of two sizes, the larger is averaged to the smaller.
        maps_t: The teacher's maps, of as many channels; a constant.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the channels do not fit.

    Example:
        >>> hcl_loss([torch.ones(2, 3, 8, 8)], [torch.zeros(2, 3, 8, 8)])
        tensor([1., 1.])
    """

    def of_pyramid(map_s: Tensor, map_t: Tensor) -> Tensor:
        loss, weight, weights = mean_square(map_s, map_t), 1.0, 1.0
        for side in (4, 2, 1):
            if side < map_s.shape[2]:
                weight /= 2
                loss = loss + weight * mean_square(*(F.adaptive_avg_pool2d(each, side) for each in (map_s, map_t)))
                weights += weight
        return loss / weights

    return functools.reduce(torch.add, map(of_pyramid, maps_s, maps_t))


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class AttentionFusion(nn.Module):
    """Fuses a stage with the deeper ones (section 3.3), and brings the result to the teacher's channels and size."""

    def __init__(self, channels_s: int, width: int, channels_t: int, deepest: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(channels_s, width, 1)
        self.conv2 = _convolution(width, channels_t, 3)
        self.attention = None if deepest else nn.Conv2d(2 * width, 2, 1)

    def forward(self, feature: Tensor, deeper: Tensor | None, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The fused map, which goes on to the next stage, and what is compared with the teacher's."""
        fused = self.conv1(feature)
        if self.attention is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:], mode='nearest')
            share = self.attention(torch.cat([fused, deeper], 1)).sigmoid()
            fused = fused * share[:, :1] + deeper * share[:, 1:]
        if fused.shape[2:] != tuple(size):
            fused = F.interpolate(fused, tuple(size), mode='nearest')
        return fused, self.conv2(fused)


@DISTILLERS.register_module()
class ReviewKD(MapDistiller):
    """Each stage of the teacher teaches the student's stage and the deeper ones, fused from above (CVPR 2021).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller, which counts the epochs of the warm-up from 1;
    the authors' code counts from 0. The student is tapped after the activation, the teacher before it. The batch norms
    of the fusion see the batch of their own process. A transformer's tokens count as maps.

    Args:
        taps: The student's maps, the deepest last; networks for ImageNet have a ``'stage4'`` as well.
        teacher_taps: The teacher's, in the same order.
        warmup: Epochs over which the loss grows linearly to its full weight.
        kd_weight: Weight of the loss; published from 0.6 to 8, by the pair.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> ReviewKD().teacher_taps
        ('stage1:pre', 'stage2:pre', 'stage3:pre', 'embedding')
    """

    per_sample = False

    def __init__(
        self,
        taps: Sequence[str] = (*STAGES, 'embedding'),
        teacher_taps: Sequence[str] = (*BEFORE_ACTIVATION, 'embedding'),
        warmup: int = 20,
        kd_weight: float = 1.0,
        **options,
    ) -> None:
        super().__init__(taps=taps, teacher_taps=teacher_taps, warmup=warmup, kd_weight=kd_weight, **options)

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        maps_s, maps_t = self.maps(student[self.student_view], teacher[self.teacher_view])
        width, last = min(WIDEST, maps_s[-1].shape[1]), len(maps_s) - 1
        self.projections = nn.ModuleList(
            AttentionFusion(map_s.shape[1], width, map_t.shape[1], deepest=number == last)
            for number, (map_s, map_t) in enumerate(zip(maps_s, maps_t, strict=True))
        )

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        fusions = reversed(self.built())
        fused: Tensor | None = None
        compared: list[Tensor] = []
        for fusion, map_s, map_t in zip(fusions, reversed(maps_s), reversed(maps_t), strict=True):
            fused, out = fusion(map_s, fused, map_t.shape[2:])
            compared.append(out)
        return hcl_loss(compared[::-1], maps_t)
