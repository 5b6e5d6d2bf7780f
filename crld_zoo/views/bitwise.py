"""Operations on the bits of each value. Lookup tables would do as well, but bits need no index in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import VIEWS

from .base import PoolOperation, check_range


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """``PIL.ImageOps.posterize`` with 1 to 8 bits for each image, ``(N,)``; fractions are cut off.

    Example:
        >>> import torch
        >>> images = torch.tensor([90, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> posterize(images, torch.tensor([1]))[0, 0]
        tensor([[  0, 128]], dtype=torch.uint8)
    """
    dropped = (8 - bits.to(torch.uint8)).view(-1, 1, 1, 1)
    return images >> dropped << dropped


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """``PIL.ImageOps.solarize`` with a threshold of 0 to 256 for each image, ``(N,)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([90, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> solarize(images, torch.tensor([128]))[0, 0]
        tensor([[90, 55]], dtype=torch.uint8)
    """
    threshold = threshold.ceil().to(torch.int16).view(-1, 1, 1, 1)
    # The sign of the difference, spread over all bits: several times as fast as a comparison of bytes
    below = images.to(torch.int16).sub_(threshold).bitwise_right_shift_(15).to(torch.uint8)
    return below.bitwise_xor_(images).bitwise_not_()


@VIEWS.register_module()
class Posterize(PoolOperation):
    """Keep the highest bits of each value; the magnitude's integer part says how many, 1 to 8.

    The published range of 4 to 8 gives 4, 5, 6 or 7 bits with equal probability: 8 itself has probability 0.
    """

    def __init__(self, low: float = 4, high: float = 8) -> None:
        super().__init__(*check_range(self, 'bits', (low, high), 1, 8))

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return posterize(images, magnitude)


@VIEWS.register_module()
class Solarize(PoolOperation):
    """Invert the values from the magnitude, 0 to 256, upwards."""

    def __init__(self, low: float = 0, high: float = 256) -> None:
        super().__init__(*check_range(self, 'threshold', (low, high), 0, 256))

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return solarize(images, magnitude)
