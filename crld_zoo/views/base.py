"""What an operation on a batch of images is.

An operation is a deterministic function of the images and of random numbers that are drawn beforehand. So its picture
can be checked against another library's on the same parameters, and the part that computes can be compiled or captured
in a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS


class ViewOperation(nn.Module):
    """One step of a view; subclasses are registered in ``VIEWS``.

    A subclass writes :meth:`transform` and says in ``draws`` how many uniform numbers it uses for each image. On a
    GPU it must neither wait for a result (``.item()``, ``.tolist()``) nor make shapes depend on values (boolean
    indexing, ``nonzero``).

    Attributes:
        draws: Uniform random numbers used for each image.
        images: How many images it makes of each one, which follow one another in the result.
        output_size: ``(height, width)`` of the result where the operation fixes it, None where it keeps the input's.
    """

    draws: int = 0
    images: int = 1
    output_size: tuple[int, int] | None = None

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        """The result for given random numbers.

        Args:
            images: uint8 ``(N, 3, H, W)``, which must not be changed in place.
            uniform: Independent numbers in [0, 1), float64 ``(draws, N)``, on the images' device.

        Returns:
            uint8 ``(N * self.images, 3, h, w)``.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, uniform: Tensor) -> Tensor:
        """:meth:`transform`."""
        return self.transform(images, uniform)


class PoolOperation(ViewOperation):
    """An operation with one magnitude, uniform in a range: what a RandAugment pool holds.

    A subclass writes :meth:`prepare`, which may simply give the changed images. Those that are a lookup table, an
    affine map of coordinates or a blend with another image derive from
    :class:`~crld_zoo.views.TableOperation`, :class:`~crld_zoo.views.AffineOperation` or
    :class:`~crld_zoo.views.BlendOperation`: there each operation prepares a row for each of its images, and all
    operations of the kind are rendered in one pass.

    Args:
        low: Smallest magnitude.
        high: Largest magnitude.

    Raises:
        InputError: No finite range.
    """

    draws = 1

    def __init__(self, low: float = 0.0, high: float = 0.0) -> None:
        super().__init__()
        self.low, self.high = check_range(self, 'magnitude', (low, high))

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        return self.at(images, self.low + (self.high - self.low) * uniform[0])

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        """The result for given magnitudes, float64 ``(N,)``."""
        return self.render(images, self.prepare(images, magnitude), magnitude)

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        """What :meth:`render` needs, one row for each image."""
        raise NotImplementedError

    @staticmethod
    def neutral(images: Tensor) -> Tensor:
        """What makes :meth:`render` return the images as they are, broadcastable to what :meth:`prepare` gives."""
        return images

    @staticmethod
    def render(images: Tensor, prepared: Tensor, magnitude: Tensor) -> Tensor:
        """The images changed as prepared. Operations with the same ``render`` are of one kind."""
        return prepared

    def extra_repr(self) -> str:
        return f'low={self.low:g}, high={self.high:g}'


@VIEWS.register_module()
class Identity(PoolOperation):
    """The image itself; it has no magnitude."""

    def __init__(self) -> None:
        super().__init__()

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return images


def piece_size(images: Tensor, values: int) -> int:
    """How many images to work on at a time: on the CPU about so many values, which stay in its cache, else all."""
    return max(1, values // images[0].numel()) if images.device.type == 'cpu' else len(images)


def as_mask(chosen: Tensor) -> Tensor:
    """Booleans as bytes of all zeros or all ones: selecting by bits is many times faster than ``torch.where``.

    Example:
        >>> import torch
        >>> as_mask(torch.tensor([True, False]))
        tensor([255,   0], dtype=torch.uint8)
    """
    return chosen.view(torch.uint8).neg()


def as_bytes(values: Tensor) -> Tensor:
    """Floats in [0, 256) truncated to uint8; by way of int16, since the direct conversion is not vectorized.

    Example:
        >>> import torch
        >>> as_bytes(torch.tensor([1.9, 254.2]))
        tensor([  1, 254], dtype=torch.uint8)
    """
    return values.to(torch.int16).to(torch.uint8)


def cut_rows(images: Tensor, begin: Tensor, columns: int) -> Tensor:
    """Cut rows out of each image, the same ones of all channels, as runs of bytes in memory.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        begin: Place of each row's first pixel in a channel, ``row * W + column``, integers ``(N, h)``.
        columns: Pixels in a row.

    Returns:
        uint8 ``(N, 3, h, columns)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> cut_rows(images, torch.tensor([[1]]), 2)[0, 0]
        tensor([[20, 30]], dtype=torch.uint8)
    """
    images, (count, channels, height, width) = images.contiguous(), images.shape
    # Every run of ``columns`` bytes in memory is a row of this overlapping view: whole rows are copied by index
    runs = images.as_strided((images.numel() - columns + 1, columns), (1, 1))
    planes = torch.arange(0, images.numel(), height * width, device=images.device).view(count, channels, 1)
    rows = runs.index_select(0, (planes + begin.unsqueeze(1)).flatten())
    return rows.view(count, channels, begin.shape[1], columns)


def pick(uniform: Tensor, count: int | Tensor) -> Tensor:
    """Integers from 0 to ``count - 1`` with equal probability, from uniform numbers in [0, 1).

    Example:
        >>> import torch
        >>> pick(torch.tensor([0.0, 0.5, 0.99]), 4)
        tensor([0, 2, 3])
    """
    return (uniform * count).long()


def check_range(
    owner: object, name: str, values: Sequence[float], low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """``values`` as two floats, in order and within ``low`` and ``high``.

    Raises:
        InputError: They are not.
    """
    try:
        first, second = (float(value) for value in values)
    except (TypeError, ValueError):
        first = second = math.nan
    if not (math.isfinite(first) and math.isfinite(second) and low <= first <= second <= high):
        limits = f' from {low:g} to {high:g}' if math.isfinite(low) else ''
        raise InputError(
            f'{type(owner).__name__}: {name} must be two numbers{limits}, the smaller first, not {values!r}.'
        )
    return first, second


def check_number(owner: object, name: str, value: float, low: float, high: float) -> float:
    """``value`` as a float from ``low`` to ``high``.

    Raises:
        InputError: It is not.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f'{type(owner).__name__}: {name} must be a number from {low:g} to {high:g}, not {value!r}.')
    return float(value)


def check_size(owner: object, size: int | tuple[int, int]) -> tuple[int, int]:
    """``size`` as ``(height, width)`` in pixels.

    Raises:
        InputError: It is neither a positive integer nor two.
    """
    pair = (size, size) if isinstance(size, int) else size
    try:
        height, width = pair
        fine = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (height, width))
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise InputError(
            f'{type(owner).__name__}: size must be one or two positive whole numbers of pixels '
            f'(height, width), not {size!r}.'
        )
    return height, width
