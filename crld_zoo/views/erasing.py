"""Cutout: a square of one color over a random place (DeVries and Taylor, 2017, arXiv 1708.04552)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import ViewOperation, as_mask, check_number


def cutout(
    images: Tensor, share: Tensor, center_x: Tensor, center_y: Tensor, fill: Sequence[int] = (125, 123, 114)
) -> Tensor:
    """Cover a square, as FixMatch's public implementations draw it with Pillow.

    The square's first row and column are cut off at the border and its side is counted from there, so one that reaches
    over the left or upper border is moved inside, while one that reaches over the right or lower border is clipped.
    Both ends are drawn: a side of ``s`` covers ``floor(s) + 1`` pixels.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        share: Side of each square as a share of the width, float64 ``(N,)``; 0 changes nothing.
        center_x: Center of each square in pixels from the left border, float64 ``(N,)``.
        center_y: Center of each square in pixels from the upper border, float64 ``(N,)``.
        fill: Red, green and blue of the square.

    Example:
        >>> import torch
        >>> images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
        >>> center = torch.tensor([2.0], dtype=torch.float64)
        >>> cutout(images, torch.tensor([0.25]).double(), center, center)[0, 0]
        tensor([[  0,   0,   0,   0],
                [  0, 125, 125,   0],
                [  0, 125, 125,   0],
                [  0,   0,   0,   0]], dtype=torch.uint8)
    """
    height, width = images.shape[2:]
    side = share * width
    first = (torch.stack((center_y, center_x)) - side / 2).clamp_(min=0).floor_()
    position = torch.arange(max(height, width), dtype=first.dtype, device=images.device)
    # Pillow draws both ends of a rectangle
    inside = (position >= first[..., None]) & (position <= (first + side)[..., None]) & (side > 0)[:, None]
    rows, columns = as_mask(inside).unbind()
    mask = rows[:, None, :height, None] & columns[:, None, None, :width]
    color = torch.stack([images.new_full((1, 1), value) for value in fill])  # without a transfer to the device
    return (images ^ color).bitwise_and_(mask).bitwise_xor_(images)


@VIEWS.register_module()
class Cutout(ViewOperation):
    """Cover a square whose side is uniform up to a share of the width and whose center is uniform over the image.

    Args:
        max_share: Largest side as a share of the width.
        fill: Red, green and blue of the square, 0 to 255.

    Raises:
        InputError: A share outside 0 to 1, a fill that is no color.
    """

    draws = 3

    def __init__(self, max_share: float = 0.5, fill: Sequence[int] = (125, 123, 114)) -> None:
        super().__init__()
        self.max_share = check_number(self, 'max_share', max_share, 0, 1)
        if len(fill) != 3 or not all(isinstance(value, int) and 0 <= value <= 255 for value in fill):
            raise InputError(f'Cutout: fill must be red, green and blue as whole numbers from 0 to 255, not {fill!r}.')
        self.fill = tuple(fill)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return cutout(images, uniform[0] * self.max_share, uniform[1] * width, uniform[2] * height, self.fill)

    def extra_repr(self) -> str:
        return f'max_share={self.max_share:g}, fill={self.fill}'
