"""Hints for thin deep networks (Romero et al., ICLR 2015, arXiv 1412.6550)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crld_zoo.registry import DISTILLERS

from .maps import MapDistiller, mean_square, over_maps


@over_maps(pool=True, same_channels=True)
def fitnet_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
    """``sum over stages of mean (r(F_s) - F_t)^2`` (eq. 3): the squared distance to the teacher's maps.

    Args:
        maps_s: The student's maps after the regressor, ``(N, C, h, w)`` each. Of two sizes, the larger map is averaged
            to the smaller.
        maps_t: The teacher's maps, of as many channels; a constant.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the channels do not fit.

    Example:
        >>> import torch
        >>> fitnet_loss([torch.ones(2, 3, 4, 4)], [torch.zeros(2, 3, 4, 4)])
        tensor([1., 1.])
    """
    return functools.reduce(torch.add, map(mean_square, maps_s, maps_t))


def regressor(map_s: Tensor, map_t: Tensor) -> nn.Sequential:
    """Convolution, batch norm and ReLU from the student's map to the teacher's channels and, by its stride, size.

    A student's map of twice the size has a convolution of stride 2, one of half the size a transposed one, any other
    larger one a kernel that leaves the teacher's size. A smaller one stays: the loss averages the teacher's.
    """
    channels, (height_s, height_t) = (map_s.shape[1], map_t.shape[1]), (map_s.shape[2], map_t.shape[2])
    convolution: nn.Module
    if height_s == 2 * height_t:
        convolution = nn.Conv2d(*channels, 3, stride=2, padding=1)
    elif 2 * height_s == height_t:
        convolution = nn.ConvTranspose2d(*channels, 4, stride=2, padding=1)
    else:
        convolution = nn.Conv2d(*channels, 1 + max(height_s - height_t, 0))
    return nn.Sequential(convolution, nn.BatchNorm2d(channels[1]), nn.ReLU())


@DISTILLERS.register_module()
class FitNet(MapDistiller):
    """The student's map, through a trained regressor, imitates the teacher's (Romero et al., ICLR 2015).

    As in megvii-research/mdistiller and HobbitLong/RepDistiller, whose numbers are the published ones, it is trained
    together with the cross-entropy, not as a stage before it. The regressor's batch norm sees the batch of its own
    process. A transformer's tokens count as a map.

    Args:
        taps: The student's maps.
        kd_weight: Weight of the hint.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> FitNet(taps=['stage3']).student_taps
        ('stage3',)
    """

    per_sample = False

    def __init__(self, taps: Sequence[str] = ('stage2',), kd_weight: float = 100.0, **options) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)

    def projection(self, map_s: Tensor, map_t: Tensor) -> nn.Module:
        return regressor(map_s, map_t)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return fitnet_loss(self.project(maps_s), maps_t)
