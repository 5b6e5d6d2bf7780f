"""Attention transfer (Zagoruyko and Komodakis, ICLR 2017, arXiv 1612.03928)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .maps import STAGES, MapDistiller, over_maps, unit


@over_maps(pool=True)
def attention_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor], *, p: int) -> Tensor:
    """``sum over stages of mean (a(F_s) - a(F_t))^2``, ``a(F) = vec(mean_c F^p)`` scaled to length 1.

    The squared distance is that of the authors' code (szagoruyko/attention-transfer); the paper's eq. 2 has its root.

    Args:
        maps_s: The student's maps, ``(N, C, h, w)`` each. Of two sizes, the larger map is averaged to the smaller.
        maps_t: The teacher's maps; a constant. The channels may differ.
        p: The power, at least 1; of an odd one, signs count.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists do not fit.

    Example:
        >>> import torch
        >>> maps = torch.rand(2, 3, 4, 4)
        >>> attention_loss([maps], [2 * maps], p=2).abs().max() < 1e-6  # a scale does not count
        tensor(True)
    """

    def attention(feature: Tensor) -> Tensor:
        # Not mean(1): its gradient is a whole contiguous map, which is slow beside one in channels_last.
        return unit((feature.pow(p).sum(1) / feature.shape[1]).flatten(1))

    losses = (
        (attention(map_s) - attention(map_t)).square().mean(1) for map_s, map_t in zip(maps_s, maps_t, strict=True)
    )
    return functools.reduce(torch.add, losses)


@DISTILLERS.register_module()
class AT(MapDistiller):
    """The student attends to where the teacher does: equal spatial maps of activity (Zagoruyko, ICLR 2017).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. A transformer's
    tokens count as a map.

    Args:
        p: The power of the activations, a whole number from 1.
        taps: The student's maps; networks for ImageNet have a ``'stage4'`` as well.
        kd_weight: Weight of the attention.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> AT(p=4).kd_weight
        1000.0
    """

    compares_positions = True

    def __init__(
        self,
        p: int = 2,
        taps: Sequence[str] = STAGES,
        kd_weight: float = 1000.0,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        if not isinstance(p, int) or p < 1:  # another power of a negative activation is not a number
            raise InputError(f'AT: p must be a whole number of at least 1, not {p!r}.')
        self.p = p

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return attention_loss(maps_s, maps_t, p=self.p)
