"""Neuron selectivity transfer (Huang and Wang, 2017, arXiv 1707.01219)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from .maps import STAGES, MapDistiller, over_maps, unit


@over_maps(pool=True)
def nst_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
    """``sum over stages of mean k(t, t) + mean k(s, s) - 2 mean k(s, t)``, ``k(x, y) = <x, y>^2``: a squared MMD.

    The vectors are the channels of a sample over the positions, scaled to length 1 (eq. 3 with the polynomial kernel of
    eq. 8, d = 2, c = 0). A channel that is 0 everywhere has gradient 0.

    Args:
        maps_s: The student's maps, ``(N, C, h, w)`` each. Of two sizes, the larger map is averaged to the smaller.
        maps_t: The teacher's maps; a constant. The channels may differ.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists do not fit.

    Example:
        >>> import torch
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> nst_loss([maps], [maps.flip(1)]).abs().max() < 1e-6  # the order of the channels does not count
        tensor(True)
    """

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.mT).square().mean((1, 2))

    def discrepancy(map_s: Tensor, map_t: Tensor) -> Tensor:
        s, t = unit(map_s.flatten(2)), unit(map_t.flatten(2))
        return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)

    return functools.reduce(torch.add, map(discrepancy, maps_s, maps_t))


@DISTILLERS.register_module()
class NST(MapDistiller):
    """The student's channels are distributed as the teacher's: maximum mean discrepancy (Huang and Wang, 2017).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. A transformer's
    tokens count as a map.

    Args:
        taps: The student's maps; networks for ImageNet have a ``'stage4'`` as well.
        kd_weight: Weight of the discrepancy.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> NST().student_taps
        ('stage1', 'stage2', 'stage3')
    """

    compares_positions = True

    def __init__(self, taps: Sequence[str] = STAGES, kd_weight: float = 50.0, **options) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return nst_loss(maps_s, maps_t)
