"""Similarity-preserving knowledge distillation (Tung and Mori, ICCV 2019, arXiv 1907.09682)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.registry import DISTILLERS

from .maps import MapDistiller, over_maps, require_two, unit


@over_maps()
def similarity_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
    """``sum over stages of 1/N^2 ||n(G_s) - n(G_t)||_F^2``, ``G = F F^T`` of flat maps (eq. 4).

    ``n`` scales each row of the ``N x N`` similarities to length 1.

    Args:
        maps_s: The student's maps, ``(N, C, h, w)`` each.
        maps_t: The teacher's maps; a constant. Channels and sizes may differ.

    Returns:
        The loss of the batch, expanded to ``(N,)``.

    Raises:
        InputError: The lists do not fit, or the batch has one sample, which is similar to nothing.

    Example:
        >>> import torch
        >>> maps = torch.rand(4, 3, 4, 4)
        >>> similarity_loss([maps], [maps.flip(1)]).max() < 1e-6  # the order of the channels does not count
        tensor(True)
    """
    require_two('SP', maps_s[0])

    def similarity(feature: Tensor) -> Tensor:
        # The order of the numbers is the same for all samples and does not count: the one in memory needs no copy.
        flat = (feature if feature.is_contiguous() else feature.permute(0, 2, 3, 1)).flatten(1)
        return unit(flat @ flat.T)

    losses = (
        (similarity(map_s) - similarity(map_t)).square().mean() for map_s, map_t in zip(maps_s, maps_t, strict=True)
    )
    return functools.reduce(torch.add, losses).expand(len(maps_s[0]))


@DISTILLERS.register_module()
class SP(MapDistiller):
    """Samples that are similar to the teacher are similar to the student (Tung and Mori, ICCV 2019).

    The defaults are those of CIFAR-100 in megvii-research/mdistiller and HobbitLong/RepDistiller. The batch is that of
    its own process. A transformer's tokens count as a map, and embeddings can be compared as well.

    Args:
        taps: The student's maps; networks for ImageNet end with ``'stage4'``.
        kd_weight: Weight of the similarities.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> SP(taps=['embedding']).teacher_taps
        ('embedding',)
    """

    needs_two = True
    per_sample = False

    def __init__(self, taps: Sequence[str] = ('stage3',), kd_weight: float = 3000.0, **options) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return similarity_loss(maps_s, maps_t)
