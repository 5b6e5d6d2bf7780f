"""Operations that blend an image with a degenerate copy of itself: black, gray, without color, or smoothed.

Blending is Pillow's: ``degenerate + factor * (image - degenerate)`` in float32, truncated to whole values. A factor of
0 gives the degenerate image, 1 the image itself, larger ones go beyond it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.registry import VIEWS

from .base import PoolOperation, ViewOperation, as_bytes, check_number, check_range


def blend(images: Tensor, degenerate: Tensor, factor: Tensor) -> Tensor:
    """``PIL.Image.blend`` of a degenerate copy and the image, with a factor for each image.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        degenerate: Whole values as float32, broadcastable to the images' shape.
        factor: Share of the image, ``(N,)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([100, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> blend(images, torch.zeros(()), torch.tensor([0.5]))[0, 0]
        tensor([[ 50, 100]], dtype=torch.uint8)
    """
    blended = (images.float() - degenerate).mul_(factor.float().view(-1, 1, 1, 1)).add_(degenerate)
    return as_bytes(blended.clamp_(0, 255))


def gray(images: Tensor) -> Tensor:
    """Luma as Pillow's mode L has it: whole values as float32 ``(N, 1, H, W)``.

    Pillow weighs with 16-bit fractions. All sums have 24 bits at most, so float32 holds them exactly.

    Example:
        >>> import torch
        >>> gray(torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)).item()  # pure red
        76.0
    """
    red, green, blue = images.float().split(1, 1)
    luma = (red * (19595 / 65536)).add_(green, alpha=38470 / 65536).add_(blue, alpha=7471 / 65536)
    return luma.add_(0.5).floor_()


def mean_gray(images: Tensor) -> Tensor:
    """Mean of :func:`gray`, rounded: whole values as float32 ``(N, 1, 1, 1)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([100, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> mean_gray(images).item()
        150.0
    """
    height, width = images.shape[2:]
    total = gray(images).sum((2, 3), keepdim=True, dtype=torch.float64)
    return total.div_(height * width).add_(0.5).floor_().float()


def smooth(images: Tensor) -> Tensor:
    """``PIL.ImageFilter.SMOOTH``, the 3x3 mean that counts the middle five times: whole values as float32.

    The outermost pixels stay as they are.

    Example:
        >>> import torch
        >>> images = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
        >>> images[:, :, 1, 1] = 130
        >>> smooth(images)[0, 0]
        tensor([[ 0.,  0.,  0.],
                [ 0., 50.,  0.],
                [ 0.,  0.,  0.]])
    """
    values = images.float()
    inner = values[..., 1:-1, 1:-1]
    rows = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    total = (rows[..., :-2, :] + rows[..., 1:-1, :]).add_(rows[..., 2:, :]).add_(inner, alpha=4)
    # (total + 6.5) / 13 is at least 1/26 away from a whole number for every whole total, so rounding errors never show
    inner.copy_(total.add_(6.5).mul_(1 / 13).floor_())
    return values


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Brightness`` with a factor for each image, ``(N,)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([100, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> brightness(images, torch.tensor([0.5]))[0, 0]
        tensor([[ 50, 100]], dtype=torch.uint8)
    """
    return blend(images, torch.zeros((), device=images.device), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Contrast`` with a factor for each image, ``(N,)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([100, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> contrast(images, torch.tensor([0.5]))[0, 0]
        tensor([[125, 175]], dtype=torch.uint8)
    """
    return blend(images, mean_gray(images), factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Color`` with a factor for each image, ``(N,)``.

    Example:
        >>> import torch
        >>> red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
        >>> color(red, torch.tensor([0.0])).flatten()
        tensor([76, 76, 76], dtype=torch.uint8)
    """
    return blend(images, gray(images), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """``PIL.ImageEnhance.Sharpness`` with a factor for each image, ``(N,)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([100, 200], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> sharpness(images, torch.tensor([2.0]))[0, 0]  # the border stays
        tensor([[100, 200]], dtype=torch.uint8)
    """
    return blend(images, smooth(images), factor)


class BlendOperation(PoolOperation):
    """A pool operation that blends with a degenerate image; its magnitude is the factor.

    A subclass writes :meth:`degenerate`.

    Args:
        low: Smallest factor, at least 0.
        high: Largest factor.
    """

    def __init__(self, low: float = 0.05, high: float = 0.95) -> None:
        super().__init__(*check_range(self, 'factor', (low, high), 0))

    def degenerate(self, images: Tensor) -> Tensor:
        """Whole values as float32, broadcastable to the images' shape."""
        raise NotImplementedError

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return self.degenerate(images).expand_as(images)

    @staticmethod
    def render(images: Tensor, prepared: Tensor, magnitude: Tensor) -> Tensor:
        return blend(images, prepared, magnitude)


@VIEWS.register_module()
class Brightness(BlendOperation):
    """Darken: factor 0 is black, 1 the image itself."""

    def degenerate(self, images: Tensor) -> Tensor:
        return torch.zeros((), device=images.device)


@VIEWS.register_module()
class Contrast(BlendOperation):
    """Take contrast away: factor 0 is the mean gray, 1 the image itself."""

    def degenerate(self, images: Tensor) -> Tensor:
        return mean_gray(images)


@VIEWS.register_module()
class Color(BlendOperation):
    """Take color away: factor 0 is the grayscale image, 1 the image itself."""

    def degenerate(self, images: Tensor) -> Tensor:
        return gray(images)


@VIEWS.register_module()
class Sharpness(BlendOperation):
    """Take sharpness away: factor 0 is the smoothed image, 1 the image itself."""

    def degenerate(self, images: Tensor) -> Tensor:
        return smooth(images)


@VIEWS.register_module()
class Grayscale(ViewOperation):
    """Take all color away with a probability.

    Args:
        prob: The probability.

    Raises:
        InputError: It is not from 0 to 1.
    """

    draws = 1

    def __init__(self, prob: float = 0.2) -> None:
        super().__init__()
        self.prob = check_number(self, 'prob', prob, 0, 1)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        return color(images, uniform[0] >= self.prob)

    def extra_repr(self) -> str:
        return f'prob={self.prob:g}'
