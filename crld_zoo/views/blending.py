"""Operations that blend an image with a degenerate copy of itself: without color, or smoothed.

Blending is Pillow's: ``degenerate + factor * (image - degenerate)`` in float32, truncated to whole values. A factor of
0 gives the degenerate image, 1 the image itself, larger ones go beyond it.
"""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import VIEWS

from .base import PoolOperation, as_bytes, check_range, per_image


def blend(degenerate: Tensor, image: Tensor, factor: Tensor) -> Tensor:
    """Blend whole values held as float32; the result is uint8."""
    return as_bytes((image - degenerate).mul(factor.float()).add_(degenerate).clamp_(0, 255))


def gray(images: Tensor) -> Tensor:
    """Luma as Pillow's mode L has it, from whole values as float32 ``(N, 3, H, W)``: whole values ``(N, 1, H, W)``.

    Pillow weighs with 16-bit fractions. All sums stay below 2^24, so float32 holds them exactly.
    """
    red, green, blue = images.split(1, 1)
    luma = (red * 19595).add_(green, alpha=38470).add_(blue, alpha=7471).add_(0x8000)
    return luma.mul_(2.0 ** -16).floor_()


def color(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Color`` with a factor for each image, ``(N,)``."""
    values = images.float()
    return blend(gray(values), values, per_image(factor))


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Sharpness`` with a factor for each image, ``(N,)``; the outermost pixels stay as they are."""
    values = images.float()
    rows = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    inner = values[..., 1:-1, 1:-1]
    weighted = (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :]).add_(inner, alpha=4)
    # (s + 6.5) / 13 is at least 1/26 away from a whole number for every whole s, so rounding errors never show
    smooth = weighted.add_(6.5).mul_(1 / 13).floor_()
    result = images.clone()
    result[..., 1:-1, 1:-1] = blend(smooth, inner, per_image(factor))
    return result


@VIEWS.register_module()
class Color(PoolOperation):
    """Take color away: magnitude 0 is the grayscale image, 1 the image itself."""

    def __init__(self, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__(*check_range(self, 'factor', (low, high), 0))

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return color(images, magnitude)


@VIEWS.register_module()
class Sharpness(PoolOperation):
    """Take sharpness away: magnitude 0 is the smoothed image, 1 the image itself."""

    def __init__(self, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__(*check_range(self, 'factor', (low, high), 0))

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return sharpness(images, magnitude)
