"""Handwritten digits: real images that arrive with scikit-learn, so that everything can be tried offline."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .in_memory import InMemoryDataset
from .subset import balanced_subset

_TEST_IMAGES_PER_CLASS = 50


@DATASETS.register_module()
class Digits(InMemoryDataset):
    """scikit-learn's handwritten digits: 1,797 grey images of 8x8 in ten classes.

    The UCI set `Optical Recognition of Handwritten Digits <https://archive.ics.uci.edu/dataset/80>`_, its 17 grey
    levels stretched to 0-255 and repeated over RGB. The split is fixed: 50 test images of each class (500), the other
    1,297 are for training; no picture occurs twice. Digits have a direction: do not flip them.

    Args:
        split: ``'train'`` or ``'test'``.
        size: Side of the images; other sizes than 8 are interpolated bilinearly.
        **options: ``labels_per_class``, ``fraction``, ``others``, ``subset_seed`` and ``device`` of
            :class:`InMemoryDataset`.

    Raises:
        InputError: Unknown split, impossible size, and what :class:`InMemoryDataset` refuses.
    """

    def __init__(self, split: str, *, size: int = 8, **options) -> None:
        from sklearn.datasets import load_digits  # half a second that other datasets need not pay

        if split not in ('train', 'test'):
            raise InputError(f"Digits: split must be 'train' or 'test', not {split!r}.")
        if size < 1:
            raise InputError(f'Digits: size must be at least 1 pixel, not {size}.')
        digits = load_digits()
        gray, labels = np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target
        classes = [str(name) for name in digits.target_names]
        in_test = np.zeros(len(labels), dtype=bool)
        in_test[
            balanced_subset(
                labels, (image.tobytes() for image in gray), classes, labels_per_class=_TEST_IMAGES_PER_CLASS, seed=0
            )
        ] = True
        chosen = in_test if split == 'test' else ~in_test
        images = torch.from_numpy(gray[chosen])[:, None].expand(-1, 3, -1, -1)
        if size != images.shape[-1]:
            images = transforms.resize(images, [size, size], antialias=True)
        super().__init__(images, labels[chosen], classes, **options)
