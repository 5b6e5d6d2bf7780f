"""Images made of seeded noise, for tests and for measuring without data."""

from __future__ import annotations

import torch

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .in_memory import InMemoryDataset


@DATASETS.register_module()
class SyntheticImages(InMemoryDataset):
    """Noise around a color pattern of its class, so that a network can learn it.

    Each class has a 2x2 pattern of random colors, each image is its class's pattern under uniform noise. The labels
    go round: 0, 1, …, K-1, 0, ….

    Args:
        num_images: How many images.
        num_classes: How many classes.
        size: Side of the images.
        seed: Of the noise; the class patterns are the same for every seed, so that two seeds make a training and a
            test set.
        **options: ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and ``device`` of
            :class:`InMemoryDataset`.

    Raises:
        InputError: A count or size below 1, and what :class:`InMemoryDataset` refuses.
    """

    def __init__(self, num_images: int, num_classes: int, size: int = 32, seed: int = 0, **options) -> None:
        if min(num_images, num_classes, size) < 1:
            raise InputError(
                'SyntheticImages: num_images, num_classes and size must be at least 1, '
                f'not {num_images}, {num_classes} and {size}.'
            )
        patterns = torch.randint(64, 192, (num_classes, 3, 2, 2), generator=torch.Generator().manual_seed(0))
        patterns = torch.nn.functional.interpolate(patterns.float(), (size, size)).short()
        labels = torch.arange(num_images) % num_classes
        images = torch.randint(
            -64, 65, (num_images, 3, size, size), dtype=torch.int16, generator=torch.Generator().manual_seed(seed)
        )
        images.add_(patterns[labels])
        super().__init__(images.to(torch.uint8), labels, [f'class {label}' for label in range(num_classes)], **options)
