"""Operations that choose what part of an image is seen: crops, flips, resizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import ViewOperation, as_mask, check_number, check_range, check_size, cut_rows, pick
from .resampling import resized_crop


def crop(images: Tensor, top: Tensor, left: Tensor, size: tuple[int, int], padding: int = 0) -> Tensor:
    """Cut a window of one size out of each image, after adding a black border.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        top: First row of each window, counted in the bordered image, ``(N,)``.
        left: First column of each window, likewise.
        size: Height and width of the windows, which must lie inside the bordered images.
        padding: Width of the border on every side.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> crop(images, torch.tensor([1]), torch.tensor([0]), (1, 4), padding=1)[0, 0]
        tensor([[ 0, 10, 20, 30]], dtype=torch.uint8)
    """
    images = functional.pad(images, (padding,) * 4).contiguous()
    width, (rows, columns) = images.shape[3], size
    lines = torch.arange(0, rows * width, width, device=images.device)
    return cut_rows(images, lines + (top * width + left).unsqueeze(1), columns)


def flip(images: Tensor, chosen: Tensor) -> Tensor:
    """Mirror the images that are chosen, boolean ``(N,)``, left to right.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> flip(images, torch.tensor([True]))[0, 0]
        tensor([[40, 30, 20, 10]], dtype=torch.uint8)
    """
    return images.flip(3).bitwise_xor_(images).bitwise_and_(as_mask(chosen).view(-1, 1, 1, 1)).bitwise_xor_(images)


@VIEWS.register_module()
class RandomCrop(ViewOperation):
    """Add a black border and cut out a window at a random place.

    Args:
        size: Side of the window, or ``(height, width)``.
        padding: Width of the border on every side.

    Raises:
        InputError: Impossible size or padding; when it runs, a window larger than the bordered images.
    """

    draws = 2
    output_size: tuple[int, int]

    def __init__(self, size: int | tuple[int, int], padding: int = 0) -> None:
        super().__init__()
        self.output_size = check_size(self, size)
        if not isinstance(padding, int) or isinstance(padding, bool) or padding < 0:
            raise InputError(f'RandomCrop: padding must be a whole number of pixels, at least 0, not {padding!r}.')
        self.padding = padding

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        rows, columns = (
            side + 2 * self.padding - window + 1
            for side, window in zip(images.shape[2:], self.output_size, strict=True)
        )
        if rows < 1 or columns < 1:
            height, width = images.shape[2:]
            raise InputError(
                f'RandomCrop: images of {height}x{width} with a padding of {self.padding} are smaller '
                f'than the window of {self.output_size[0]}x{self.output_size[1]}: give a smaller size, '
                'more padding, or a Resize before.'
            )
        return crop(images, pick(uniform[0], rows), pick(uniform[1], columns), self.output_size, self.padding)

    def extra_repr(self) -> str:
        return f'size={self.output_size}, padding={self.padding}'


@VIEWS.register_module()
class RandomFlip(ViewOperation):
    """Mirror an image left to right with a probability.

    Args:
        prob: The probability.

    Raises:
        InputError: It is not from 0 to 1.
    """

    draws = 1

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = check_number(self, 'prob', prob, 0, 1)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        return flip(images, uniform[0] < self.prob)

    def extra_repr(self) -> str:
        return f'prob={self.prob:g}'


def _check_interpolation(owner: object, interpolation: str) -> str:
    if interpolation not in ('bilinear', 'bicubic'):
        raise InputError(
            f"{type(owner).__name__}: interpolation must be 'bilinear' or 'bicubic', not {interpolation!r}."
        )
    return interpolation


@VIEWS.register_module()
class Resize(ViewOperation):
    """Resize to one size, with antialiasing, as torchvision does.

    Args:
        size: Side of the result, or ``(height, width)``.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Raises:
        InputError: Impossible size, unknown interpolation.
    """

    output_size: tuple[int, int]

    def __init__(self, size: int | tuple[int, int], interpolation: str = 'bilinear') -> None:
        super().__init__()
        self.output_size = check_size(self, size)
        self.interpolation = _check_interpolation(self, interpolation)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        return transforms.resize(images, list(self.output_size), InterpolationMode(self.interpolation), antialias=True)

    def extra_repr(self) -> str:
        return f'size={self.output_size}, interpolation={self.interpolation!r}'


@VIEWS.register_module()
class RandomResizedCrop(ViewOperation):
    """Cut out a window of random area and shape at a random place and resize it, as torchvision does.

    Ten windows are drawn for each image and the first that fits is taken; where none fits, the largest window in the
    middle whose shape is allowed.

    Args:
        size: Side of the result, or ``(height, width)``.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height; its logarithm is uniform.
        interpolation: ``'bilinear'`` or ``'bicubic'``, with antialiasing.

    Raises:
        InputError: Impossible size or range, unknown interpolation.
    """

    attempts = 10
    draws = 2 * attempts + 2
    output_size: tuple[int, int]

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: str = 'bilinear',
    ) -> None:
        super().__init__()
        self.output_size = check_size(self, size)
        self.scale = check_range(self, 'scale', scale, 1e-6, 1)
        self.ratio = check_range(self, 'ratio', ratio, 1e-3, 1e3)
        self.interpolation = _check_interpolation(self, interpolation)

    def windows(self, uniform: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Top, left, height and width of the windows, integers ``(N,)``."""
        (low, high), (narrow, wide) = self.scale, self.ratio
        area = (low + (high - low) * uniform[: self.attempts]) * (height * width)
        shape = (math.log(narrow) + (math.log(wide) - math.log(narrow)) * uniform[self.attempts : -2]).exp()
        columns, rows = (area * shape).sqrt().round().long(), (area / shape).sqrt().round().long()
        fits = (columns > 0) & (columns <= width) & (rows > 0) & (rows <= height)
        first = fits.to(torch.uint8).argmax(0, keepdim=True)
        fitting = fits.gather(0, first)[0]
        shape_of_all = min(max(width / height, narrow), wide)
        middle_columns = min(width, max(1, round(height * shape_of_all)))
        middle_rows = min(height, max(1, round(width / shape_of_all)))
        columns = columns.gather(0, first)[0].where(fitting, middle_columns)
        rows = rows.gather(0, first)[0].where(fitting, middle_rows)
        top = pick(uniform[-2], height - rows + 1).where(fitting, (height - middle_rows) // 2)
        left = pick(uniform[-1], width - columns + 1).where(fitting, (width - middle_columns) // 2)
        return top, left, rows, columns

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        windows = self.windows(uniform, *images.shape[2:])
        return resized_crop(images, *windows, self.output_size, self.interpolation)

    def extra_repr(self) -> str:
        return f'size={self.output_size}, scale={self.scale}, ratio={self.ratio}, interpolation={self.interpolation!r}'
