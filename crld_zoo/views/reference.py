"""The same views made the usual way, one image at a time with Pillow: what the batched operations are measured against.

Nothing of the package uses this but its tests and its benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor
from torchvision.transforms import functional as transforms

from .base import PoolOperation
from .randaugment import RandAugment

CIFAR100_MEAN, CIFAR100_STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # on the scale 0 to 1


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


PIL_OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = dict(
    AutoContrast=lambda image, magnitude: ImageOps.autocontrast(image),
    Brightness=lambda image, magnitude: ImageEnhance.Brightness(image).enhance(magnitude),
    Color=lambda image, magnitude: ImageEnhance.Color(image).enhance(magnitude),
    Contrast=lambda image, magnitude: ImageEnhance.Contrast(image).enhance(magnitude),
    Equalize=lambda image, magnitude: ImageOps.equalize(image),
    Identity=lambda image, magnitude: image,
    Posterize=lambda image, magnitude: ImageOps.posterize(image, int(magnitude)),
    Rotate=lambda image, magnitude: image.rotate(magnitude),
    Sharpness=lambda image, magnitude: ImageEnhance.Sharpness(image).enhance(magnitude),
    ShearX=lambda image, magnitude: _affine(image, 1, magnitude, 0, 0, 1, 0),
    ShearY=lambda image, magnitude: _affine(image, 1, 0, 0, magnitude, 1, 0),
    Solarize=lambda image, magnitude: ImageOps.solarize(image, math.ceil(magnitude)),
    TranslateX=lambda image, magnitude: _affine(image, 1, 0, magnitude * image.width, 0, 1, 0),
    TranslateY=lambda image, magnitude: _affine(image, 1, 0, 0, 0, 1, magnitude * image.height),
)
"""The fourteen operations of the FixMatch pool with Pillow, by the names they have in ``VIEWS``."""


def pil_cutout(
    image: Image.Image, share: float, center_x: float, center_y: float, fill: tuple[int, int, int] = (125, 123, 114)
) -> Image.Image:
    """Cover a square as FixMatch's public implementations do; see :func:`crld_zoo.views.cutout`.

    Example:
        >>> from PIL import Image
        >>> pil_cutout(Image.new('RGB', (4, 4)), 0.5, 2.0, 2.0).getpixel((2, 2))
        (125, 123, 114)
    """
    if share <= 0:
        return image
    width, height = image.size
    side = share * width
    left, top = int(max(0, center_x - side / 2)), int(max(0, center_y - side / 2))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((left, top, min(width, left + side), min(height, top + side)), fill)
    return image


def _crop_and_flip(image: Image.Image, rng: Random, size: int, padding: int) -> Image.Image:
    image = ImageOps.expand(image, padding)
    left, top = rng.randrange(image.width - size + 1), rng.randrange(image.height - size + 1)
    image = image.crop((left, top, left + size, top + size))
    return ImageOps.mirror(image) if rng.random() < 0.5 else image


_POOL = [
    (PIL_OPERATIONS[type(operation).__name__], operation.low, operation.high)
    for operation in RandAugment().pool
    if isinstance(operation, PoolOperation)
]


def pil_weak_strong(
    image: Image.Image,
    rng: Random,
    *,
    size: int = 32,
    padding: int = 4,
    mean: Sequence[float] = CIFAR100_MEAN,
    std: Sequence[float] = CIFAR100_STD,
) -> tuple[Tensor, Tensor]:
    """CRLD's weak and strong view of one image, normalized.

    Weak: crop and flip. Strong: its own crop and flip, two operations of the pool, Cutout.

    Args:
        image: An RGB image.
        rng: Where the random numbers come from.
        size: Side of the views.
        padding: Width of the black border before the crop.
        mean: Mean of each channel on the scale 0 to 1.
        std: Standard deviation, likewise.

    Returns:
        Two float tensors ``(3, size, size)``.
    """
    weak, strong = (_crop_and_flip(image, rng, size, padding) for _ in range(2))
    for operation, low, high in rng.choices(_POOL, k=2):
        strong = operation(strong, rng.uniform(low, high))
    strong = pil_cutout(strong, rng.uniform(0, 0.5), rng.uniform(0, size), rng.uniform(0, size))
    return tuple(transforms.normalize(transforms.to_tensor(view), mean, std, inplace=True) for view in (weak, strong))


def pil_batch(images: Sequence[Image.Image], rng: Random, **options) -> dict[str, Tensor]:
    """Both views of several images, stacked as a data loader's collate function does: float ``(N, 3, h, w)`` each."""
    weak, strong = zip(*(pil_weak_strong(image, rng, **options) for image in images), strict=True)
    return dict(weak=torch.stack(weak), strong=torch.stack(strong))
