"""Class attention transfer (Guo et al., CVPR 2023, arXiv 2304.12777)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .maps import MapDistiller, over_maps, unit


@over_maps(same_channels=True)
def catkd_loss(
    maps_s: Sequence[Tensor], maps_t: Sequence[Tensor], *, cam_resolution: int, normalize: bool, binarize: bool
) -> Tensor:
    """``mean (phi(A_s) - phi(A_t))^2`` of class activation maps ``A``, averaged to ``r x r`` positions (eq. 5).

    Args:
        maps_s: The student's class maps, ``(N, K, h, w)`` each; their mean over the positions is the logits.
        maps_t: The teacher's class maps; a constant. The size may differ.
        cam_resolution: ``r``.
        normalize: Whether each class map is scaled to length 1 after that.
        binarize: Whether the teacher's map is 1 where it is above the mean of its absolute values, and 0 elsewhere,
            before it is averaged.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the classes do not fit.

    Example:
        >>> import torch
        >>> maps = torch.rand(2, 10, 8, 8)
        >>> catkd_loss([maps], [3 * maps], cam_resolution=2, normalize=True, binarize=False).max() < 1e-6
        tensor(True)
    """

    def averaged(maps: Tensor) -> Tensor:
        flat = F.adaptive_avg_pool2d(maps, cam_resolution).flatten(2)
        return unit(flat) if normalize else flat

    def distance(map_s: Tensor, map_t: Tensor) -> Tensor:
        if binarize:
            map_t = (map_t > map_t.abs().mean((2, 3), keepdim=True)).to(map_t.dtype)
        return (averaged(map_s) - averaged(map_t)).square().mean((1, 2))

    return functools.reduce(torch.add, map(distance, maps_s, maps_t))


@DISTILLERS.register_module()
class CATKD(MapDistiller):
    """The student's class activation maps become the teacher's (Guo et al., CVPR 2023).

    The published code replaces the classifier by a convolution without a bias, the teacher's bias being dropped. Here
    both networks keep their classifiers, the student's with a bias, and the maps are compared without it. Networks
    whose logits are not the mean of their class maps (transformers, VGG with hidden linear layers, MobileNetV3) are
    refused when built.

    The defaults are those of the published code; its recipes choose ``kd_weight``, ``cam_resolution`` and ``normalize``
    for each pair.

    Args:
        cam_resolution: The side of the maps that are compared, in positions.
        normalize: Whether each map is scaled to length 1.
        binarize: Whether the teacher's maps are made 0 and 1.
        taps: The student's class maps.
        kd_weight: Weight of the class maps.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> CATKD().teacher_taps
        ('class_maps:nobias',)
    """

    def __init__(
        self,
        cam_resolution: int = 2,
        normalize: bool = True,
        binarize: bool = False,
        taps: Sequence[str] = ('class_maps:nobias',),
        kd_weight: float = 400.0,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        if not isinstance(cam_resolution, int) or cam_resolution < 1:
            raise InputError(f'CATKD: cam_resolution must be a whole number of at least 1, not {cam_resolution!r}.')
        self.cam_resolution, self.normalize, self.binarize = cam_resolution, normalize, binarize

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        return catkd_loss(
            maps_s,
            maps_t,
            cam_resolution=self.cam_resolution,
            normalize=self.normalize,
            binarize=self.binarize,
        )
