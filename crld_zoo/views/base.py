"""What an operation on a batch of images is.

An operation is a deterministic function of the images and of random numbers that are drawn beforehand. So its picture
can be checked against another library's on the same parameters, and the part that computes can be compiled or captured
in a CUDA graph while the generator stays outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError


SMALL, LARGE = 250_000, 4_000_000


class ViewOperation(nn.Module):
    """One step of a view; subclasses are registered in ``VIEWS``.

    A subclass writes :meth:`transform` and says in ``draws`` how many uniform numbers it uses for each image. On a
    GPU it must neither wait for a result (``.item()``, ``.tolist()``) nor make shapes depend on values (boolean
    indexing, ``nonzero``).

    Attributes:
        draws: Uniform random numbers used for each image.
        output_size: ``(height, width)`` of the result where the operation fixes it, None where it keeps the input's.
    """

    draws: int = 0
    output_size: tuple[int, int] | None = None

    def draw(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The random numbers for one batch, float64 ``(draws, N)`` in [0, 1), on the images' device."""
        return torch.rand((self.draws, len(images)), generator=generator, dtype=torch.float64, device=images.device)

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        """The result for given random numbers.

        Args:
            images: uint8 ``(N, 3, H, W)``, which must not be changed in place.
            uniform: What :meth:`draw` gave.

        Returns:
            uint8 ``(N, 3, h, w)``.
        """
        raise NotImplementedError

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw and transform; without a generator, from torch's global stream."""
        return self.transform(images, self.draw(images, generator))


class PoolOperation(ViewOperation):
    """An operation with one magnitude, uniform in a range: what a RandAugment pool holds.

    A subclass writes :meth:`at`. Those that are a lookup table or an affine map of coordinates derive from
    :class:`~crld_zoo.views.TableOperation` or :class:`~crld_zoo.views.AffineOperation` instead, whose
    members share the passes over the pixels.

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
        raise NotImplementedError

    # What follows is how several operations of a kind share one pass: each prepares something for every image, then
    # the kind renders all images at once. Here, where nothing is known about the operation, that is the result itself.

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        """What :meth:`render` needs, one row for each image."""
        return self.at(images, magnitude)

    @staticmethod
    def neutral(images: Tensor) -> Tensor:
        """What makes :meth:`render` return the images as they are, broadcastable to :meth:`prepare`'s result."""
        return images

    @staticmethod
    def render(images: Tensor, prepared: Tensor) -> Tensor:
        """The images changed as prepared. Operations with the same ``render`` are of one kind."""
        return prepared

    def extra_repr(self) -> str:
        return f'low={self.low:g}, high={self.high:g}'


def in_pieces(function: Callable[..., Tensor], images: Tensor, *rows: Tensor, limit: int) -> Tensor:
    """Call a function on the CPU with a few images at a time, so that what it allocates stays in the cache.

    Args:
        function: Takes images and the rows that belong to them and gives one result a row.
        images: ``(N, 3, H, W)``.
        *rows: Tensors of ``N`` rows.
        limit: Values of the images in one piece.
    """
    count = max(1, limit // images[0].numel())
    if images.device.type != 'cpu' or count >= len(images):
        return function(images, *rows)
    pieces = zip(*(tensor.split(count) for tensor in (images, *rows)), strict=True)
    return torch.cat([function(*piece) for piece in pieces])


def per_image(values: Tensor) -> Tensor:
    """``(N,)`` as ``(N, 1, 1, 1)``."""
    return values.view(-1, 1, 1, 1)


def as_mask(chosen: Tensor) -> Tensor:
    """Booleans as bytes of all zeros or all ones: selecting by bits is many times faster than ``torch.where``."""
    return chosen.to(torch.uint8).neg_()


def as_bytes(values: Tensor) -> Tensor:
    """Floats in [0, 256) truncated to uint8; by way of int16, since the direct conversion is not vectorized."""
    return values.to(torch.int16).to(torch.uint8)


def pick(uniform: Tensor, count: int | Tensor) -> Tensor:
    """Integers from 0 to ``count - 1`` with equal probability, from uniform numbers in [0, 1)."""
    return (uniform * count).long()


def check_range(owner: object, name: str, values: tuple[float, float], low: float = -math.inf,
                high: float = math.inf) -> tuple[float, float]:
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
        raise InputError(f'{type(owner).__name__}: {name} must be two numbers{limits}, the smaller first, '
                         f'not {values!r}.')
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
        raise InputError(f'{type(owner).__name__}: size must be one or two positive whole numbers of pixels '
                         f'(height, width), not {size!r}.')
    return height, width
