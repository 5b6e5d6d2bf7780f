"""Gaussian blur with a width of its own for each image (Chen et al., 2020, arXiv 2002.05709)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from crld_zoo.registry import VIEWS

from .base import ViewOperation, as_bytes, check_number, check_range


def gaussian_blur(images: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Blur each image, columns first and rows then, its border mirrored; values are rounded once.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        sigma: Standard deviation of each image's filter in pixels, above 0, ``(N,)``.
        reach: Pixels that the filters reach to each side, less than ``H`` and ``W``.

    Example:
        >>> import torch
        >>> images = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
        >>> gaussian_blur(images, torch.tensor([0.5, 2.0]), reach=3).unique()
        tensor([100], dtype=torch.uint8)
    """
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64, device=images.device)
    weight = (-0.5 * (distance / sigma.double().unsqueeze(1)) ** 2).exp()
    taps = (weight / weight.sum(1, keepdim=True)).float()[..., None, None, None].unbind(1)
    values = images.float()
    for side, padding in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        framed, length = functional.pad(values, padding, mode='reflect'), images.shape[side]
        values = torch.zeros_like(values)
        for tap, own in enumerate(taps):
            values.addcmul_(framed.narrow(side, tap, length), own)
    return as_bytes(values.add_(0.5).clamp_(0, 255))


@VIEWS.register_module()
class GaussianBlur(ViewOperation):
    """Blur an image with a probability; the filter's width is uniform in a range.

    The filter reaches two standard deviations of the widest, and never to the opposite border.

    Args:
        sigma: Smallest and largest standard deviation in pixels.
        prob: The probability.

    Raises:
        InputError: An impossible range or probability.
    """

    draws = 2

    def __init__(self, sigma: Sequence[float] = (0.1, 2.0), prob: float = 0.5) -> None:
        super().__init__()
        self.sigma = check_range(self, 'sigma', sigma, 1e-3, 100)
        self.prob = check_number(self, 'prob', prob, 0, 1)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        low, high = self.sigma
        reach = min(math.ceil(2 * high), min(images.shape[2:]) - 1)
        blurred = gaussian_blur(images, low + (high - low) * uniform[1], reach)
        return torch.where((uniform[0] < self.prob).view(-1, 1, 1, 1), blurred, images)

    def extra_repr(self) -> str:
        return f'sigma={self.sigma}, prob={self.prob:g}'
