"""Operations that map each value of a channel to another: 256-entry lookup tables, one for each image and channel.

The tables are Pillow's, entry by entry, so the pictures are Pillow's bit by bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import VIEWS

from .base import PoolOperation, as_bytes, check_range
from .blending import blend, gray


def look_up(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value ``v`` of image ``n``, channel ``c`` by ``table[n, c, v]``.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        table: uint8 ``(N, 3, 256)``, or ``(N, 1, 256)`` for one table for all channels.
    """
    table = table.expand(len(images), 3, 256)
    return table.gather(2, images.flatten(2).long()).view_as(images)


def _levels(images: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.arange(256, dtype=dtype, device=images.device)


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch each channel's darkest to brightest value over 0 to 255, ``(N, 3, 256)``; a constant channel stays."""
    pixels = images.flatten(2)
    low, high = pixels.amin(2, keepdim=True).double(), pixels.amax(2, keepdim=True).double()
    span = (high - low).clamp_(min=1)
    scale = torch.full_like(span, 255).div_(span)  # 255 / span would multiply by a rounded reciprocal
    levels = _levels(images, torch.float64)
    stretched = (levels * scale + -low * scale).clamp_(0, 255)
    return torch.where(high > low, as_bytes(stretched), levels.to(torch.uint8))


def brightness_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black, ``(N, 1, 256)``."""
    levels = _levels(images, torch.float32)
    return blend(torch.zeros_like(levels), levels, factor.view(-1, 1, 1))


def contrast_table(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean of the grayscale image, ``(N, 1, 256)``."""
    height, width = images.shape[2:]
    mean = gray(images.float()).sum((2, 3), dtype=torch.float64) / (height * width)
    mean = (mean + 0.5).floor_().float().view(-1, 1, 1)
    return blend(mean, _levels(images, torch.float32), factor.view(-1, 1, 1))


def equalize_table(images: Tensor) -> Tensor:
    """Spread each channel's histogram evenly, ``(N, 3, 256)``; a channel with too few values to spread stays."""
    pixels = images.flatten(2).long()
    one = torch.ones((), dtype=torch.float64, device=images.device)
    counts = torch.zeros((len(images), 3, 256), dtype=torch.float64, device=images.device)
    counts.scatter_add_(2, pixels, one.expand(pixels.shape))
    # Pillow counts the pixels below the brightest value; a channel of one value has none, so its step is 0 as well.
    # Whole numbers in float64 are divided exactly here, and faster than integers.
    step = (pixels.shape[2] - counts.gather(2, pixels.amax(2, keepdim=True))).div_(255).floor_()
    below = counts.cumsum(2).sub_(counts)
    table = below.add_((step / 2).floor_()).div_(step).floor_().clamp_(max=255)
    return torch.where(step > 0, table, _levels(images, torch.float64)).to(torch.uint8)


def posterize_table(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest ``bits`` (1 to 8) of the eight, ``(N, 1, 256)``."""
    mask = 256 - (1 << (8 - bits.long()))
    return (_levels(images, torch.int64) & mask.view(-1, 1, 1)).to(torch.uint8)


def solarize_table(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from ``threshold`` (0 to 256) upwards, ``(N, 1, 256)``."""
    levels = _levels(images, torch.float64)
    return torch.where(levels < threshold.view(-1, 1, 1), levels, 255 - levels).to(torch.uint8)


def autocontrast(images: Tensor) -> Tensor:
    """``PIL.ImageOps.autocontrast``."""
    return look_up(images, autocontrast_table(images))


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Brightness`` with a factor for each image, ``(N,)``."""
    return look_up(images, brightness_table(images, factor))


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Contrast`` with a factor for each image, ``(N,)``."""
    return look_up(images, contrast_table(images, factor))


def equalize(images: Tensor) -> Tensor:
    """``PIL.ImageOps.equalize``."""
    return look_up(images, equalize_table(images))


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """``PIL.ImageOps.posterize`` with 1 to 8 bits for each image, ``(N,)``; fractions are cut off."""
    return look_up(images, posterize_table(images, bits))


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """``PIL.ImageOps.solarize`` with a threshold of 0 to 256 for each image, ``(N,)``."""
    return look_up(images, solarize_table(images, threshold))


class TableOperation(PoolOperation):
    """A pool operation that is one lookup table for each image; a subclass writes :meth:`table`."""

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        """uint8 ``(N, 3, 256)`` or ``(N, 1, 256)``."""
        raise NotImplementedError

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return look_up(images, self.table(images, magnitude))

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return self.table(images, magnitude).expand(-1, 3, -1)

    @staticmethod
    def neutral(images: Tensor) -> Tensor:
        return _levels(images, torch.uint8)

    render = staticmethod(look_up)


@VIEWS.register_module()
class AutoContrast(TableOperation):
    """Stretch each channel to the full range; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return autocontrast_table(images)


@VIEWS.register_module()
class Brightness(TableOperation):
    """Darken: magnitude 0 is black, 1 the image itself."""

    def __init__(self, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__(*check_range(self, 'factor', (low, high), 0))

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return brightness_table(images, magnitude)


@VIEWS.register_module()
class Contrast(TableOperation):
    """Take contrast away: magnitude 0 is the mean gray, 1 the image itself."""

    def __init__(self, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__(*check_range(self, 'factor', (low, high), 0))

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return contrast_table(images, magnitude)


@VIEWS.register_module()
class Equalize(TableOperation):
    """Spread each channel's histogram evenly; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return equalize_table(images)


@VIEWS.register_module()
class Identity(PoolOperation):
    """The image itself; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return images


@VIEWS.register_module()
class Posterize(TableOperation):
    """Keep the highest bits of each value; the magnitude's integer part says how many, 1 to 8.

    The published range of 4 to 8 gives 4, 5, 6 or 7 bits with equal probability: 8 itself has probability 0.
    """

    def __init__(self, low: float = 4, high: float = 8) -> None:
        super().__init__(*check_range(self, 'bits', (low, high), 1, 8))

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return posterize_table(images, magnitude)


@VIEWS.register_module()
class Solarize(TableOperation):
    """Invert the values from the magnitude, 0 to 256, upwards."""

    def __init__(self, low: float = 0, high: float = 256) -> None:
        super().__init__(*check_range(self, 'threshold', (low, high), 0, 256))

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return solarize_table(images, magnitude)
