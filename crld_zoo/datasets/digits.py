"""Handwritten digits: real images that arrive with scikit-learn, so that everything can be tried offline."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .in_memory import InMemoryDataset
from .subset import balanced_subset

_TEST_IMAGES_PER_CLASS, _VAL_IMAGES_PER_CLASS = 50, 30


@DATASETS.register_module()
class Digits(InMemoryDataset):
    """scikit-learn's handwritten digits: 1,797 grey images of 8x8 in ten classes.

    The UCI set `Optical Recognition of Handwritten Digits <https://archive.ics.uci.edu/dataset/80>`_, its 17 grey
    levels stretched to 0-255 and repeated over RGB. The split is fixed: 50 test images of each class (500), the other
    1,297 are for training; no picture occurs twice. To choose hyperparameters, train on ``'fit'`` and look at
    ``'val'``, 30 images of each class: both are parts of the training images. Digits have a direction: do not flip
    them.

    Args:
        split: ``'train'`` (1,297 images), ``'test'`` (500), ``'fit'`` (997) or ``'val'`` (300).
        size: Side of the images; other sizes than 8 are interpolated bilinearly.
        **options: ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and ``device`` of
            :class:`InMemoryDataset`.

    Raises:
        InputError: Unknown split, impossible size, and what :class:`InMemoryDataset` refuses.
    """

    def __init__(self, split: str, *, size: int = 8, **options) -> None:
        from sklearn.datasets import load_digits  # half a second that other datasets need not pay

        if split not in ('train', 'test', 'fit', 'val'):
            raise InputError(f"Digits: split must be 'train', 'test', 'fit' or 'val', not {split!r}.")
        if size < 1:
            raise InputError(f'Digits: size must be at least 1 pixel, not {size}.')
        digits = load_digits()
        gray, labels = np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target
        classes = [str(name) for name in digits.target_names]
        chosen, rest = _drawn(np.arange(len(labels)), gray, labels, classes, _TEST_IMAGES_PER_CLASS)
        if split != 'test':
            chosen = rest
        if split in ('fit', 'val'):
            val, fit = _drawn(chosen, gray, labels, classes, _VAL_IMAGES_PER_CLASS)
            chosen = val if split == 'val' else fit
        images = torch.from_numpy(gray[chosen])[:, None].expand(-1, 3, -1, -1)
        if size != images.shape[-1]:
            images = transforms.resize(images, [size, size], antialias=True)
        super().__init__(images, labels[chosen], classes, **options)


def _drawn(indices: np.ndarray, gray: np.ndarray, labels: np.ndarray, classes: list[str], count: int) -> tuple:
    """So many images of each class out of those of ``indices``, and the others; both in order."""
    images = (image.tobytes() for image in gray[indices])
    drawn = balanced_subset(labels[indices], images, classes, labels_per_class=count, seed=0)
    return indices[drawn], np.delete(indices, drawn)
