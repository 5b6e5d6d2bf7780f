"""Operations that map each value of a channel to another: 256-entry lookup tables, one for each image and channel.

The tables are Pillow's, entry by entry, so the pictures are Pillow's bit by bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import VIEWS

from .base import PoolOperation, as_bytes


def look_up(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value ``v`` of image ``n``, channel ``c`` by ``table[n, c, v]``.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        table: uint8 ``(N, 3, 256)``, or ``(N, 1, 256)`` for one table for all channels.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> table = torch.arange(256).flip(0).to(torch.uint8).expand(1, 3, 256)
        >>> look_up(images, table)[0, 0]
        tensor([[245, 235, 225, 215]], dtype=torch.uint8)
    """
    return table.expand(len(images), 3, 256).gather(2, images.flatten(2).long()).view_as(images)


def _levels(images: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.arange(256, dtype=dtype, device=images.device)


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch each channel's darkest to brightest value over 0 to 255, ``(N, 3, 256)``; a constant channel stays.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> autocontrast_table(images)[0, 0, [10, 20, 40]]
        tensor([  0,  85, 255], dtype=torch.uint8)
    """
    pixels, levels = images.flatten(2), _levels(images, torch.float64)
    low, high = pixels.amin(2, keepdim=True).double(), pixels.amax(2, keepdim=True).double()
    span = high - low
    scale = torch.full_like(span, 255).div_(span)  # 255 / span would multiply by a rounded reciprocal
    stretched = (levels * scale).sub_(low * scale).clamp_(0, 255)
    return as_bytes(torch.where(span > 0, stretched, levels))


def equalize_table(images: Tensor) -> Tensor:
    """Spread each channel's histogram evenly, ``(N, 3, 256)``; a channel with too few values to spread stays.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> tuple(equalize_table(images).shape)
        (1, 3, 256)
    """
    pixels = images.flatten(2)
    counts = torch.zeros((len(images), 3, 256), dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, pixels.long(), counts.new_ones(()).expand_as(pixels))
    # Pillow counts the pixels below the brightest value; a channel of one value has none, so its step is 0 as well
    step = (pixels.shape[2] - counts.gather(2, pixels.amax(2, keepdim=True).long())) // 255
    below = counts.cumsum(2, dtype=torch.int32).sub_(counts)
    # float64 divides whole numbers of this size exactly, and faster than integers
    spread = below.add_(step // 2).double().div_(step).clamp_(max=255)
    return as_bytes(torch.where(step > 0, spread, _levels(images, torch.float64)))


def autocontrast(images: Tensor) -> Tensor:
    """``PIL.ImageOps.autocontrast``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> autocontrast(images)[0, 0]
        tensor([[  0,  85, 170, 255]], dtype=torch.uint8)
    """
    return look_up(images, autocontrast_table(images))


def equalize(images: Tensor) -> Tensor:
    """``PIL.ImageOps.equalize``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 100, -1)
        >>> equalize(images)[0, 0, 0]
        tensor([  0, 100, 200, 255], dtype=torch.uint8)
    """
    return look_up(images, equalize_table(images))


class TableOperation(PoolOperation):
    """A pool operation that is one lookup table for each image; a subclass writes :meth:`table`."""

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        """uint8 ``(N, 3, 256)`` or ``(N, 1, 256)``."""
        raise NotImplementedError

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return self.table(images, magnitude).expand(-1, 3, -1)

    @staticmethod
    def neutral(images: Tensor) -> Tensor:
        return _levels(images, torch.uint8)

    @staticmethod
    def render(images: Tensor, prepared: Tensor, magnitude: Tensor) -> Tensor:
        return look_up(images, prepared)


@VIEWS.register_module()
class AutoContrast(TableOperation):
    """Stretch each channel to the full range; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return autocontrast_table(images)


@VIEWS.register_module()
class Equalize(TableOperation):
    """Spread each channel's histogram evenly; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def table(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return equalize_table(images)
