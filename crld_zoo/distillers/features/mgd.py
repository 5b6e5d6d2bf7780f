"""Masked generative distillation (Yang et al., ECCV 2022, arXiv 2205.01529)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crld_zoo.registry import DISTILLERS

from ..base import require_choice, require_share
from .maps import MapDistiller, over_maps, same_size


@over_maps(pool=True, same_channels=True)
def mgd_loss(maps_s: Sequence[Tensor], maps_t: Sequence[Tensor]) -> Tensor:
    """``sum over stages and entries of (G(m * align(F_s)) - F_t)^2``: what was masked is generated again (eq. 3).

    A sum, not a mean, as published; the weight is as small accordingly.

    Args:
        maps_s: What was generated from the student's masked maps, ``(N, C, h, w)`` each.
        maps_t: The teacher's maps, of as many channels; a constant.

    Returns:
        The loss of each sample, ``(N,)``.

    Raises:
        InputError: The lists or the channels do not fit.

    Example:
        >>> mgd_loss([torch.ones(2, 3, 4, 4)], [torch.zeros(2, 3, 4, 4)])
        tensor([48., 48.])
    """
    losses = ((map_s - map_t).square().sum((1, 2, 3)) for map_s, map_t in zip(maps_s, maps_t, strict=True))
    return functools.reduce(torch.add, losses)


class MaskedGenerator(nn.Module):
    """Aligns the channels where they differ, masks, and generates: 3x3 convolution, ReLU, 3x3 convolution."""

    def __init__(self, channels_s: int, channels_t: int) -> None:
        super().__init__()
        self.align = nn.Conv2d(channels_s, channels_t, 1) if channels_s != channels_t else nn.Identity()
        self.generation = nn.Sequential(
            nn.Conv2d(channels_t, channels_t, 3, padding=1), nn.ReLU(), nn.Conv2d(channels_t, channels_t, 3, padding=1)
        )

    def forward(self, feature: Tensor, kept: Callable[[Tensor], Tensor]) -> Tensor:
        aligned = self.align(feature)
        return self.generation(aligned * kept(aligned))


@DISTILLERS.register_module()
class MGD(MapDistiller):
    """The student generates the teacher's whole map from a part of its own (Yang et al., ECCV 2022).

    The defaults are those of its classifiers on ImageNet. The mask is drawn anew in each step from torch's random
    numbers; it is not rescaled. The published code takes maps of one size; here the larger one is averaged first. A
    transformer's tokens count as a map.

    Args:
        lambda_mgd: The share that is masked, 0 to 1.
        mask: ``'channel'`` masks channels of a sample, as published for classifiers, ``'spatial'`` positions, as
            published for detectors (with ``lambda_mgd=0.65, kd_weight=2e-5``).
        taps: The student's maps; networks for CIFAR end with ``'stage3'``.
        kd_weight: Weight of the generated maps, ``alpha_mgd``.
        **options: Those of :class:`~crld_zoo.distillers.MapDistiller`.

    Example:
        >>> MGD(taps=['stage3']).lambda_mgd
        0.15
    """

    per_sample = False

    def __init__(
        self,
        lambda_mgd: float = 0.15,
        mask: str = 'channel',
        taps: Sequence[str] = ('stage4',),
        kd_weight: float = 7e-5,
        **options,
    ) -> None:
        super().__init__(taps=taps, kd_weight=kd_weight, **options)
        require_share(self, lambda_mgd=lambda_mgd)
        require_choice(self, mask=(mask, ('channel', 'spatial')))
        self.lambda_mgd, self.mask = lambda_mgd, mask

    def projection(self, map_s: Tensor, map_t: Tensor) -> nn.Module:
        return MaskedGenerator(map_s.shape[1], map_t.shape[1])

    def kept(self, feature: Tensor) -> Tensor:
        """What is kept: 1 or 0 for each channel ``(N, C, 1, 1)``, or each position ``(N, 1, h, w)``."""
        n, c, h, w = feature.shape
        shape = (n, c, 1, 1) if self.mask == 'channel' else (n, 1, h, w)
        return (torch.rand(shape, device=feature.device) >= self.lambda_mgd).to(feature.dtype)

    def map_loss(self, maps_s: list[Tensor], maps_t: list[Tensor]) -> Tensor:
        pairs = list(map(same_size, maps_s, maps_t))
        return mgd_loss(self.project([map_s for map_s, _ in pairs], self.kept), [map_t for _, map_t in pairs])
